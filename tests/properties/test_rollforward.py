"""Properties of the ledger on random contracts: amounts add up to the cent, and matured rows never change.

The expected figures come from a second implementation of the rules in plain Python, contract by contract.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from renewals.features.revenue.due_groups import renewals
from renewals.features.revenue.expansions import EXPANSION_COLUMNS

from renewals.features.point_in_time import known_rows
from renewals.features.policy import Policy
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.revenue.valuation import CHANGE_COLUMNS

EARLIER, AT = date(2023, 7, 1), date(2024, 9, 1)
MONTHS = [date(2022 + n // 12, n % 12 + 1, 1) for n in range(32)]
POLICY = Policy()
BEFORE, AFTER = POLICY.grace.before_days, POLICY.grace.after_days
RATES = {"USD": 1.0, "EUR": 1.25, "CNY": 0.14}
FIRST = date(2022, 1, 1)
MIDNIGHT = datetime.min.time()

CONTRACTS = pa.schema(
    [
        *((name, pa.string()) for name in ("contract_id", "account_id", "product", "plan")),
        *((name, pa.timestamp("us")) for name in ("start_date", "end_date")),
        ("arr", pa.float64()),
        ("currency", pa.string()),
        ("seats", pa.int64()),
        *((name, pa.timestamp("us")) for name in ("signed_at", "paid_at", "cancelled_at")),
        ("auto_renew", pa.bool_()),
    ]
)
ACCOUNTS = pa.schema([("account_id", pa.string()), ("parent_account_id", pa.string())])


# -- random companies -----------------------------------------------------------------------------------------------

LENGTHS = (30, 31, 181, 365, 365, 366, 730)
GAPS = (-91, -90, -30, -1, 0, 0, 0, 0, 1, 30, 60, 61, 150)
SIGNED = (None, -100, -20, -1, 0, 5, 60, 61, 70)
PAID = (None, 0, 0, 0, 10, 40, 59, 60, 61, 100)
CANCELLED = (None, None, None, None, None, -5, 0, 1, 20, 100, 300)
AMOUNTS = (0.0, 99.99, 1000.0, 1000.0, 1070.0, 1234.56, 2500.0, 20000.0)


COMPANIES = 50
"""Number of unrelated companies per example: the query takes as long for one."""
CORNERS = (222, 1287, 1677, 1687, 2376, 2468, 2760, 9986, 20893, 32802)
"""Companies, among tens of thousands, that once broke a property: a fact known later changed matured rows."""


def company(seed: int) -> list[dict[str, Any]]:
    """Four accounts, two of them merged into others, with series of contracts that more or less follow each other."""
    pick = random.Random(seed)
    rows = []
    for line in range(pick.randint(1, 8)):
        account, product = pick.choice(["a0", "a1", "a2", "a3"]), pick.choice(["core", "core", "addon"])
        day = pick.randint(0, 500)
        for nth in range(pick.randint(1, 4)):
            rows.append(contract(pick, f"{seed}/{line}-{nth}", f"{seed}/{account}", product, day))
            ended = min(rows[-1]["cancelled_at"] or rows[-1]["end_date"], rows[-1]["end_date"])
            day = max(0, (ended.date() - FIRST).days + pick.choice(GAPS))
    return rows


def contract(pick: random.Random, name: str, account: str, product: str, day: int) -> dict[str, Any]:
    start = datetime.combine(FIRST + timedelta(days=day), MIDNIGHT)

    def after_start(choices: tuple[int | None, ...]) -> datetime | None:
        days = pick.choice(choices)
        return None if days is None else start + timedelta(days=days)

    return {
        "contract_id": name,
        "account_id": account,
        "product": product,
        "plan": pick.choice(["basic", "basic", "pro"]),
        "start_date": start,
        "end_date": start + timedelta(days=pick.choice(LENGTHS)),
        "arr": pick.choice(AMOUNTS),
        "currency": pick.choice([None, "USD", "EUR", "CNY"]),
        "seats": pick.choice([None, 5, 10, 10, 12]),
        "signed_at": after_start(SIGNED),
        "paid_at": after_start(PAID),
        "cancelled_at": after_start(CANCELLED),
        "auto_renew": None,
    }


def parent_of(account: str) -> str | None:
    return {"a1": "a0", "a3": "a2"}.get(account[-2:]) and account[:-1] + str(int(account[-1]) - 1)


# -- the project's answer ------------------------------------------------------------------------------------------


class CompiledLedger:
    """Expressions compiled once and run again on other contracts: compiling takes longer than running."""

    def __init__(self) -> None:
        self.con = ibis.duckdb.connect(threads=1)
        self.steps: list[tuple[str, str, Any]] = []
        self.contracts = self.con.create_table("contracts", pa.Table.from_pylist([], CONTRACTS))
        quoted = [{"currency": c, "date": datetime(2022, 1, 1), "rate": r} for c, r in RATES.items()]
        self.rates = self.con.create_table("rates", pa.Table.from_pylist(quoted))
        self.accounts = self.con.create_table("accounts", pa.Table.from_pylist([], ACCOUNTS))

    def keep(self, table: Any) -> Any:
        name = f"step_{len(self.steps)}"
        self.steps.append((name, str(ibis.to_sql(table, dialect="duckdb")), table))
        return self.con.create_table(name, table)

    def run(self, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        parents = {row["account_id"]: parent_of(row["account_id"]) for row in rows}
        merged = [{"account_id": child, "parent_account_id": parent} for child, parent in parents.items()]
        self.con.insert("contracts", pa.Table.from_pylist(rows, CONTRACTS), overwrite=True)
        self.con.insert("accounts", pa.Table.from_pylist(merged, ACCOUNTS), overwrite=True)
        for name, sql, _ in self.steps:
            self.con.raw_sql(f"CREATE OR REPLACE TABLE {name} AS {sql}")
        return {name: self.con.table(table).to_pyarrow().to_pylist() for name, table in self.wanted.items()}

    def build(self) -> CompiledLedger:
        known = {day: self.keep(known_rows("contracts", self.contracts, day)) for day in (EARLIER, AT)}
        then, now = (
            RenewalLedger(known[d], d, POLICY, True, self.rates, self.accounts, self.keep) for d in (EARLIER, AT)
        )
        wanted = {
            "known": known[AT],
            "ledger earlier": then.entries,
            "ledger now": now.entries,
            "renewals earlier": self.keep(renewals(then.entries)),
            "renewals now": self.keep(renewals(now.entries)),
            "expansions earlier": then.expansions,
            "expansions now": now.expansions,
            "accounts": now.account_roll_forward(MONTHS),
            "months": self.keep(now.roll_forward(MONTHS)),
        }
        self.wanted = {name: table.op().name for name, table in wanted.items()}
        return self


@pytest.fixture(scope="module")
def compiled_ledger() -> CompiledLedger:
    return CompiledLedger().build()


# -- the same in plain Python ---------------------------------------------------------------------------------------


@dataclass
class Term:
    """A contract that ran."""

    id: str
    account: str
    product: str
    start: date
    end: date
    cancelled: date | None
    known: date
    paid: date | None
    arr: float
    cents: int

    @property
    def due(self) -> date:
        return min(self.end, self.cancelled or self.end)

    @property
    def settled(self) -> date | None:
        return max(self.known, self.paid) if self.paid else None

    @property
    def last_day(self) -> date:
        return self.due + timedelta(days=AFTER)

    def end_known_on(self, day: date) -> date:
        """End as known on `day`."""
        return self.due if self.cancelled and self.cancelled <= day else self.end

    @property
    def group(self) -> tuple[Any, ...]:
        return (self.account, self.product, self.due, self.known > self.last_day)


def terms_of(known: list[dict[str, Any]]) -> list[Term]:
    terms = []
    for row in known:
        start, end = row["start_date"].date(), row["end_date"].date()
        cancelled = row["cancelled_at"] and row["cancelled_at"].date()
        term = Term(
            row["contract_id"],
            row["account_id"],
            row["product"],
            start,
            end,
            cancelled,
            (row["signed_at"] or row["start_date"]).date(),
            row["paid_at"] and row["paid_at"].date(),
            row["arr"],
            round(row["arr"] * RATES[row["currency"] or "USD"] * 100),
        )
        if term.due > start:
            terms.append(term)
    return sorted(terms, key=lambda t: (t.account, t.product, t.start, t.end, t.id))


def in_grace(start: date, due: date) -> bool:
    return -BEFORE <= (start - due).days <= AFTER


def follows(new: Term, old: Term) -> bool:
    in_time = new.settled is not None and new.settled <= old.last_day
    return in_time and new.start > old.start and in_grace(new.start, old.due) and new.due > old.due


def replaces(new: Term, old: Term) -> bool:
    seen = old.end_known_on(new.start)
    in_time = new.settled is not None and new.settled <= old.last_day
    return in_time and new.start > old.start and in_grace(new.start, seen) and new.end > seen and old.known <= new.start


class Company:
    """Follow-ons and running contracts of a company, computed from its terms."""

    def __init__(self, terms: list[Term]) -> None:
        self.terms = terms
        self.place = {term.id: n for n, term in enumerate(terms)}
        self.old_of = {new.id: self._old_of(new) for new in terms}
        self.home = {new.id: self._home(new) for new in terms}

    def _old_of(self, new: Term) -> list[Term]:
        related = [
            old for old in self.terms if old.product == new.product and (follows(new, old) or replaces(new, old))
        ]
        same_account = [old for old in related if old.account == new.account]
        if any(replaces(new, old) for old in same_account):
            return same_account
        return same_account + [old for old in related if parent_of(old.account) == new.account]

    def _home(self, new: Term) -> Term | None:
        def nearest(old: Term) -> tuple[Any, ...]:
            seen = old.end_known_on(new.start)
            if replaces(new, old):
                return (0, abs((new.start - seen).days), seen, self.place[old.id])
            return (1, (max(old.due, old.known) - FIRST).days, seen, self.place[old.id])

        return min(self.old_of[new.id], key=nearest, default=None)

    def followers(self, group: tuple[Any, ...]) -> list[Term]:
        return [new for new in self.terms if any(o.group == group and follows(new, o) for o in self.old_of[new.id])]

    def continued_by(self, group: tuple[Any, ...]) -> Term | None:
        """The largest follow-on assigned to the group or, if there is none, to the bundle that it belongs to."""
        taking = []
        for new in self.terms:
            home = self.home[new.id]
            if home and any(o.group == group and (replaces(new, o) or o is home) for o in self.old_of[new.id]):
                taking.append((home.group != group, new.settled, new.start, self.place[new.id], home.group, new))
        if not taking:
            return None
        bundle = min(taking)[4]
        claimed = [new for *_, home, new in taking if home == bundle and new in self.followers(group)]
        return min(claimed, key=lambda new: (-new.arr, new.start, self.place[new.id]), default=None)

    def running_period(self, term: Term) -> tuple[date, date] | None:
        following = any(follows(term, old) for old in self.old_of[term.id])
        if term.paid is None:
            return None
        late = term.paid > term.start + timedelta(days=AFTER) and not following
        begin = term.paid if late else term.start
        follow_on = self.continued_by(term.group)
        if follow_on and follow_on.start > term.start:
            return begin, follow_on.start
        pending = not self.followers(term.group) and term.last_day >= AT
        return begin, term.last_day + timedelta(days=1) if pending else term.due

    def revenue(self) -> dict[tuple[str, date], int]:
        """Recurring revenue in cents on the last day of each month, by the account that now holds the contract."""
        merged_accounts = {
            old.account
            for new in self.terms
            for old in self.old_of[new.id]
            if old.account != new.account and follows(new, old)
        }
        cents: dict[tuple[str, date], int] = defaultdict(int)
        for term in self.terms:
            days = self.running_period(term)
            holder = parent_of(term.account) if term.account in merged_accounts else term.account
            for month in MONTHS:
                last = (month + timedelta(days=32)).replace(day=1) - timedelta(days=1)
                if days and days[0] <= last < days[1]:
                    cents[holder, month] += term.cents
        return cents


# -- the properties -------------------------------------------------------------------------------------------------


Tables = dict[str, list[dict[str, Any]]]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_properties_of_the_ledger(compiled_ledger, seed):
    """Check every property below on random companies."""
    contracts = {n: company(n) for n in (*CORNERS, *range(seed, seed + COMPANIES))}
    tables = compiled_ledger.run([row for rows in contracts.values() for row in rows])
    companies = [Company(terms_of(rows)) for rows in by_company(tables["known"]).values()]
    check_roll_forward_adds_up(tables)
    check_closing_revenue(tables, companies)
    check_outcomes(tables, companies)
    check_matured_rows_never_change(tables)
    check_past_expansions_never_change(tables)


def by_company(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    by_name = defaultdict(list)
    for row in rows:
        by_name[row["account_id"].split("/")[0]].append(row)
    return by_name


def check_roll_forward_adds_up(tables: Tables) -> None:
    """opening + gains - losses = closing; each month opens as the last closed; accounts add up to the total."""
    months = sorted(tables["months"], key=lambda row: row["month"])
    assert [row["month"] for row in months] == MONTHS
    for row in [*months, *tables["accounts"]]:
        gains, losses = row["new"] + row["expansion"] + row["reactivation"], row["contraction"] + row["churn"]
        assert row["opening"] + gains - losses == row["closing"], row
        assert row["expansion"] == sum(row[name] for name in EXPANSION_COLUMNS), row
        assert min(value for name, value in row.items() if name not in ("month", "account_id")) >= 0, row
    assert all(before["closing"] == after["opening"] for before, after in pairwise(months))
    sums: dict[date, int] = defaultdict(int)
    for row in tables["accounts"]:
        sums[row["month"]] += row["closing"]
    assert {row["month"]: row["closing"] for row in months} == {month: sums[month] for month in MONTHS}


def check_closing_revenue(tables: Tables, companies: list[Company]) -> None:
    """Check the closing revenue contract by contract."""
    expected = {key: cents for company in companies for key, cents in company.revenue().items() if cents}
    closing = {(row["account_id"], row["month"]): row["closing"] for row in tables["accounts"] if row["closing"]}
    assert closing == expected


def check_outcomes(tables: Tables, companies: list[Company]) -> None:
    """Check that a due contract is renewed, churned or pending by the rules, and that not more is kept than was due."""
    ledger = {row["contract_id"]: row for row in tables["ledger now"]}
    assert len(ledger) == len(tables["ledger now"])
    assert sorted(ledger) == sorted(term.id for company in companies for term in company.terms if term.due < AT)
    for company in companies:
        for term in company.terms:
            if term.due < AT:
                renewed = None if term.last_day >= AT else int(bool(company.followers(term.group)))
                check_outcome(ledger[term.id], renewed, term)


def check_outcome(row: dict[str, Any], renewed: int | None, term: Term) -> None:
    assert row["renewed"] == renewed, row
    assert row["outcome"].split("_")[0] == {None: "pending", 0: "churned", 1: "renewed"}[renewed], row
    assert row["amount_due"] == term.cents, row
    if renewed is not None:
        lost = row["contraction"] - min(0, row["price_change"])
        assert row["amount_kept"] == (row["amount_due"] - lost if renewed else 0), row
        assert 0 <= row["amount_kept"] <= row["amount_due"], row


def check_matured_rows_never_change(tables: Tables) -> None:
    """Check that rows matured on the earlier day are unchanged by everything known later."""
    now = {row["contract_id"]: row for row in tables["ledger now"]}
    decided = (
        "outcome",
        "renewed",
        "amount_due",
        *CHANGE_COLUMNS,
        "due_at",
        "matured_at",
        "follow_on_id",
        "follow_on_start",
    )
    for row in tables["ledger earlier"]:
        if row["outcome"] != "pending":
            assert {n: now[row["contract_id"]][n] for n in decided} == {n: row[n] for n in decided}
    key = ("account_id", "end_date", "known_at")
    sets_now = {tuple(row[n] for n in key): row for row in tables["renewals now"]}
    for row in tables["renewals earlier"]:
        if row["outcome"] != "pending":
            assert sets_now[tuple(row[n] for n in key)] == row


def check_past_expansions_never_change(tables: Tables) -> None:
    """Check that expansions of the 180 days after a date, as known at their end, do not change later."""
    for days in range(0, (EARLIER - FIRST).days - 180, 15):
        as_of = FIRST + timedelta(days=days)
        assert expanded_accounts(tables["expansions earlier"], as_of) == expanded_accounts(
            tables["expansions now"], as_of
        ), as_of


def expanded_accounts(events: list[dict[str, Any]], as_of: date) -> set[tuple[str, str]]:
    end = datetime.combine(as_of + timedelta(days=180), MIDNIGHT)
    return {
        (event["account_id"], event["kind"])
        for event in events
        if as_of <= event["happened_at"] < end.date()
        and event["known_at"] < end
        and (event["voided_at"] is None or event["voided_at"] >= end)
    }
