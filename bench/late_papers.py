"""Late, back-dated and corrected papers planted in a company, and what each must book: used by `closed_months.py`.

The expected amounts are computed from the rows alone: nothing here is shared with `features/revenue` but the page
`docs/contracts.md`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa

GRACE, BEFORE, NEAR, PAYMENT_DAYS = 60, 90, 3, 90
"""Days of the page: grace after an end, before an end, between an end and a start that are adjacent, to pay."""
PLANTED_SHARE = 0.05
AMENDED_SHARE = 0.005
LARGEST_RATE_STEP = 0.03
SETTLED_DAYS = 95
"""Days before the end of the data on which the last paper is planted: the months that it moves are final by then."""
Row = dict[str, Any]
Key = tuple[Any, date, str]
"""Account, month and movement."""


# --- days --------------------------------------------------------------------------------------


def next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def last_day(day: date) -> date:
    """Last day of the month of a day."""
    return next_month(day) - timedelta(days=1)


def day_before(day: date) -> date:
    """Last day before the month of a day."""
    return day.replace(day=1) - timedelta(days=1)


def closing_day(day: date) -> date:
    """Last day of the grace after the month of a day: what became known until then is in the month."""
    return last_day(day) + timedelta(days=GRACE)


def first_open_month(known: date) -> date:
    """Earliest month that was not final when something became known."""
    month = (known - timedelta(days=200)).replace(day=1)
    while closing_day(month) < known:
        month = next_month(month)
    return month


# --- the company and its variant -----------------------------------------------------------------


@dataclass(frozen=True)
class Amendment:
    """New amount of a contract, the day on which it became known, and the day from which it holds."""

    arr: float
    known: date
    holds_from: date


@dataclass
class Contract:
    """A contract as its rows describe it, in days."""

    contract_id: Any
    account_id: Any
    product: str
    start: date
    end: date
    arr: float
    currency: str
    known: date
    paid: date | None
    cancelled: date | None
    cancellation_known: date | None = None
    amendment: Amendment | None = None
    begins_late: bool = False
    """True if it became known when what it followed was lost: revenue from the day on which it became known."""

    def stop(self, seen: date) -> date:
        """Day on which it ends, by what was known until `seen`."""
        is_cancelled = self.cancelled is not None and (self.cancellation_known or self.cancelled) <= seen
        return min(self.end, self.cancelled) if is_cancelled and self.cancelled is not None else self.end

    def amount(self, day: date, seen: date) -> float:
        """ARR in its currency on `day`, by what was known until `seen`."""
        new = self.amendment
        return new.arr if new is not None and new.known <= seen and new.holds_from <= day else self.arr


@dataclass
class Paper:
    """A planted paper, and what it must have booked."""

    kind: str
    contract: Contract
    known: date
    effect: str = "apart"
    expected: dict[Key, int] = field(default_factory=dict)


@dataclass
class Company:
    """Tables of a company, its contracts as the bench reads them, and the papers planted in it."""

    tables: dict[str, pa.Table]
    until: date
    contracts: list[Contract]
    papers: list[Paper] = field(default_factory=list)
    merger: tuple[Any, Any, date] | None = None
    """Account, its heir, and the day on which that became known."""


def read_company(tables: dict[str, pa.Table], until: date) -> Company:
    contracts = [
        Contract(
            row["contract_id"], row["account_id"], row["product"], row["start_date"].date(), row["end_date"].date(),
            row["arr"], row["currency"], row["signed_at"].date(),
            row["paid_at"].date() if row["paid_at"] else None,
            row["cancelled_at"].date() if row["cancelled_at"] else None,
        )
        for row in tables["contracts"].to_pylist()
    ]  # fmt: skip
    return Company(tables, until, contracts)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def make_variant(company: Company, seed: int) -> Company:
    """Plant the papers, one an account at most, and move the exchange rates; the given company is not changed."""
    planter = _Planter(company, Random(seed))
    count = len(company.contracts)
    planted, amended = round(PLANTED_SHARE * count), max(round(AMENDED_SHARE * count), 1)
    planter.plant("late paper", planted - 2 * (planted // 3), planter.record_late)
    planter.plant("back-dated", planted // 3, planter.sign_late)
    planter.plant("cancelled late", planted // 3, planter.cancel_late)
    planter.plant("amended", amended, planter.amend)
    planter.plant("amended from", amended, planter.amend_from_earlier)
    return planter.variant_with_merger()


class _Planter:
    """Plants papers in a copy of a company; each method that does so returns the day on which it is known, or None."""

    def __init__(self, company: Company, pick: Random) -> None:
        self._pick = pick
        self._tables = company.tables
        self._variant = read_company(company.tables, company.until)
        self._rows = {row["contract_id"]: row for row in company.tables["contracts"].to_pylist()}
        self._versions: list[Row] = []
        self._order = pick.sample(self._variant.contracts, len(self._variant.contracts))
        self._touched: set[Any] = set()
        self._latest = company.until - timedelta(days=SETTLED_DAYS)

    def plant(self, kind: str, count: int, make: Callable[[Contract], date | None]) -> None:
        for contract in self._order:
            if count and contract.account_id not in self._touched and (known := make(contract)) is not None:
                self._variant.papers.append(Paper(kind, contract, known))
                self._touched.add(contract.account_id)
                count -= 1

    def _days(self, first: int, last: int) -> timedelta:
        return timedelta(days=self._pick.randint(first, last))

    def record_late(self, contract: Contract) -> date | None:
        known = contract.start + self._days(20, 200)
        if known >= self._latest or contract.known > contract.start:
            return None
        self._rows[contract.contract_id]["recorded_at"] = midnight(known)
        contract.known = known
        return known

    def sign_late(self, contract: Contract) -> date | None:
        known = contract.start + self._days(30, 150)
        if known >= self._latest:
            return None
        self._rows[contract.contract_id]["signed_at"] = midnight(known)
        contract.known = known
        return known

    def cancel_late(self, contract: Contract) -> date | None:
        cancelled = contract.start + self._days(1, (contract.end - contract.start).days - 1)
        known = cancelled + self._days(30, 200)
        if contract.cancelled is not None or not contract.known < known < self._latest:
            return None
        self._add_version(contract, {"cancelled_at": midnight(cancelled), "recorded_at": midnight(known)})
        contract.cancelled, contract.cancellation_known = cancelled, known
        return known

    def amend(self, contract: Contract) -> date | None:
        return self._amend(contract, None)

    def amend_from_earlier(self, contract: Contract) -> date | None:
        return self._amend(contract, contract.start + self._days(10, 60))

    def _amend(self, contract: Contract, valid: date | None) -> date | None:
        known = contract.start + self._days(150, 300)
        if contract.cancelled is not None or not contract.known < known < min(contract.end, self._latest):
            return None
        arr = round(contract.arr * self._pick.choice([0.8, 1.3]), 2)
        contract.amendment = Amendment(arr, known, valid or known)
        valid_from = None if valid is None else midnight(valid)
        self._add_version(contract, {"arr": arr, "recorded_at": midnight(known), "valid_from": valid_from})
        return known

    def _add_version(self, contract: Contract, changed: Row) -> None:
        self._versions.append(self._rows[contract.contract_id] | changed)

    def variant_with_merger(self) -> Company:
        """The variant, with one merger added."""
        accounts = self._merge_accounts()
        times = dict.fromkeys(("recorded_at", "valid_from"))
        schema = self._tables["contracts"].schema
        for name in times:
            schema = schema.append(pa.field(name, pa.timestamp("us")))
        rows = [times | row for row in (*self._rows.values(), *self._versions)]
        contracts = pa.Table.from_pylist(rows, schema=schema)
        rates = _moving_rates(self._tables["rates"], self._pick)
        self._variant.tables = {"contracts": contracts, "accounts": accounts, "rates": rates}
        return self._variant

    def _merge_accounts(self) -> pa.Table:
        """Let one of two paying accounts go on in the other, in a month that is closed when that becomes known."""
        until, by_account = self._variant.until, contracts_by_account(self._variant)
        known = (until - timedelta(days=200)).replace(day=10)
        merged = known - timedelta(days=365)
        before = day_before(first_open_month(known))
        first, last = (before + sign * timedelta(days=BEFORE + NEAR) for sign in (-1, 1))

        def is_steady(account_id: Any) -> bool:
            """True if it pays at the merger and around the month that is moved, in which nothing begins or ends."""
            contracts = by_account[account_id]
            days = [day for c in contracts for day in (c.start, c.stop(until), c.known)]
            return (
                any(c.start <= first and c.stop(until) > last for c in contracts)
                and any(c.start < merged < c.stop(until) for c in contracts)
                and not any(first < day <= last for day in days)
            )

        steady = sorted(account for account in by_account if account not in self._touched and is_steady(account))
        account, heir = self._pick.sample(steady, 2)
        self._variant.merger = (account, heir, known)
        table = self._tables["accounts"]
        schema = table.schema.append(pa.field("merged_into_account_id", table.schema.field("account_id").type))
        rows = [{"merged_into_account_id": None, "merged_at": None} | row for row in table.to_pylist()]
        old = next(row for row in rows if row["account_id"] == account)
        times = {"merged_at": midnight(merged), "recorded_at": midnight(known)}
        rows.append(old | {"merged_into_account_id": heir} | times)
        return pa.Table.from_pylist(rows, schema=schema.append(pa.field("merged_at", pa.timestamp("us"))))


def _moving_rates(rates: pa.Table, pick: Random) -> pa.Table:
    """Monthly rates of the same currencies and days that move by up to 3 % a month; the one of 1.0 stays."""
    rows = sorted(rates.to_pylist(), key=lambda row: (row["currency"], row["date"]))
    newest: dict[str, float] = {}
    for row in rows:
        before = newest.get(row["currency"])
        if before is not None and row["rate"] != 1.0:
            row["rate"] = round(before * (1 + pick.uniform(-LARGEST_RATE_STEP, LARGEST_RATE_STEP)), 5)
        newest[row["currency"]] = row["rate"]
    return pa.Table.from_pylist(rows, schema=rates.schema)


def contracts_by_account(company: Company) -> dict[Any, list[Contract]]:
    by_account: dict[Any, list[Contract]] = defaultdict(list)
    for contract in company.contracts:
        by_account[contract.account_id].append(contract)
    return by_account


class RateBook:
    """Exchange rates by currency and day."""

    def __init__(self, rates: pa.Table) -> None:
        self._quotes: dict[str, list[tuple[date, float]]] = defaultdict(list)
        for row in sorted(rates.to_pylist(), key=lambda row: row["date"]):
            self._quotes[row["currency"]].append((row["date"].date(), row["rate"]))

    def cents(self, arr: float, currency: str, day: date) -> int:
        """Amount in cents at the rate of a day."""
        return math.floor(arr * self.rate(currency, day) * 100 + 0.5)

    def rate(self, currency: str, day: date) -> float:
        """Newest rate on or before a day, else the first."""
        quotes = self._quotes[currency]
        return quotes[max(bisect_right(quotes, day, key=lambda quote: quote[0]) - 1, 0)][1]


# --- what a planted paper must have booked (docs/contracts.md, 2, 11 and 20 to 23) --------------


def expect(company: Company, rates: RateBook) -> None:
    """Set the effect and the expected amounts of each planted paper."""
    by_account = contracts_by_account(company)
    find = {
        "late paper": _expect_of_start,
        "back-dated": _expect_of_start,
        "cancelled late": _expect_of_cancellation,
        "amended": _expect_of_amendment,
        "amended from": _expect_of_amendment,
    }
    for paper in company.papers:
        others = [c for c in by_account[paper.contract.account_id] if c is not paper.contract]
        find[paper.kind](paper, others, rates)


def _may_follow(old: Contract, new: Contract, seen: date) -> bool:
    """True if `new` starts in the window of `old` and goes on beyond it (rules 4 and 5)."""
    stop = old.stop(seen)
    first = stop - timedelta(days=min(BEFORE, (old.end - old.start).days // 2))
    goes_on = new.end > old.end or (stop < old.end and new.end > stop)
    return old.start < new.start and first <= new.start <= stop + timedelta(days=GRACE) and goes_on


def _expect_of_start(paper: Paper, others: Sequence[Contract], rates: RateBook) -> None:
    """A contract that became known late: `correction`, `reactivation`, or nothing where its month was still open."""
    new, known = paper.contract, paper.known
    same = [c for c in others if c.product == new.product]
    olds = [old for old in same if _may_follow(old, new, known)]
    overlaps = [c for c in same if c.start < new.start < c.stop(known) and new.end > c.end and c not in olds]
    opens = first_open_month(known)
    if overlaps or new.stop(known) <= new.start:
        return
    if all(known <= old.stop(known) + timedelta(days=GRACE) for old in olds):
        if known <= closing_day(new.start):
            paper.effect = "in time"
            return
        replacing = [c for c in same if new.start < c.start <= last_day(opens) and c.end > new.end]
        if not olds and not replacing and new.stop(closing_day(opens)) > last_day(opens):
            paper.effect = "correction"
            before = day_before(opens)
            paper.expected[new.account_id, opens, "correction"] = rates.cents(new.arr, new.currency, before)
        return
    month = known.replace(day=1)
    first = min(old.stop(known) for old in olds) - timedelta(days=BEFORE)
    is_alone = not any(first < c.start <= last_day(month) or known <= c.stop(known) <= last_day(month) for c in same)
    # What a lost customer buys of another product is a reactivation too: the two could not be told apart.
    is_alone &= not any(month <= c.start <= last_day(month) for c in others)
    is_late = all(known > old.stop(known) + timedelta(days=GRACE) for old in olds)
    runs = any(c.start < known and c.stop(known) > first + timedelta(days=BEFORE) and c not in olds for c in same)
    if is_late and is_alone and not runs and new.stop(closing_day(month)) > last_day(month):
        paper.effect = "reactivation"
        new.begins_late = True
        paper.expected[new.account_id, month, "reactivation"] = rates.cents(new.arr, new.currency, last_day(month))


def _expect_of_cancellation(paper: Paper, others: Sequence[Contract], rates: RateBook) -> None:
    """A contract that turned out to have been cancelled: `churn` where its month was open, else `correction`."""
    old, known, ended = paper.contract, paper.known, paper.contract.cancelled
    assert ended is not None
    opens = first_open_month(known)
    until = max(last_day(opens), last_day(ended), ended + timedelta(days=GRACE))
    near = [c for c in others if c.product == old.product and ended - timedelta(days=BEFORE) <= c.start <= until]
    if near or known >= old.end or old.start > day_before(ended) or old.known > closing_day(day_before(ended)):
        return
    if known <= closing_day(ended):
        paper.effect, month, movement, sign = "churn", ended.replace(day=1), "churn", 1
    else:
        paper.effect, month, movement, sign = "correction", opens, "correction", -1
    amount = rates.cents(old.arr, old.currency, day_before(month))
    leaves = [c for c in others if month <= c.stop(closing_day(month)) <= last_day(month)]
    if movement == "churn" and leaves:
        paper.effect = "apart"
        return
    paper.expected[old.account_id, month, movement] = sign * amount


def _expect_of_amendment(paper: Paper, others: Sequence[Contract], rates: RateBook) -> None:
    """A contract whose amount changed: in the month, or as `correction` for the days of closed months."""
    contract, known, amendment = paper.contract, paper.known, paper.contract.amendment
    assert amendment is not None
    month, opens = amendment.holds_from.replace(day=1), first_open_month(known)
    is_closed = closing_day(month) < known
    booked = opens if is_closed else month
    seen = closing_day(booked)
    replacing = [c for c in others if c.product == contract.product and _may_follow(contract, c, seen)]
    held_until = min([contract.stop(seen), *(c.start for c in replacing)])
    days = [day for c in others for day in (c.start, c.stop(seen))]
    if held_until <= last_day(booked) or any(booked <= day <= last_day(booked) for day in days):
        return
    rate_day = day_before(booked) if is_closed else last_day(booked)
    old, new = (rates.cents(arr, contract.currency, rate_day) for arr in (contract.arr, amendment.arr))
    paper.effect = "correction" if is_closed else "size"
    paper.expected[contract.account_id, booked, paper.effect] = new - old


def expect_of_merger(company: Company, rates: RateBook) -> dict[Key, int]:
    """ARR out of the one account and into the other, in the first month open when the merger became known."""
    if company.merger is None:
        return {}
    account, heir, known = company.merger
    opens = first_open_month(known)
    day = day_before(opens)
    amount = sum(
        rates.cents(c.arr, c.currency, day)
        for c in company.contracts
        if c.account_id == account and c.start <= day < c.stop(known)
    )
    return {(account, opens, "correction"): -amount, (heir, opens, "correction"): amount}


def apart(company: Company) -> set[Any]:
    """Accounts with a paper that changes what follows what in a way for which there is no short formula."""
    return {paper.contract.account_id for paper in company.papers if paper.effect == "apart"}


# --- fx by a plain reading of the rows ------------------------------------------------------------


class PlainReading:
    """What an account holds on the last day of a month, by the rows known when the month was closed.

    Follow-ons by rules 4 and 5 of the page only, within a product.
    """

    def __init__(self, contracts: Sequence[Contract], rates: RateBook) -> None:
        self._contracts = sorted(contracts, key=lambda c: (c.known, c.start, str(c.contract_id)))
        self._rates = rates

    def is_plain(self, seen: date) -> bool:
        """False if a contract overlaps another and ends later (rule 6), was not paid in time, or never ran."""
        for new in self._contracts:
            olds = [c for c in self._contracts if c is not new and c.product == new.product]
            is_follow_on = any(_may_follow(old, new, seen) for old in olds)
            deadline = new.start + timedelta(days=PAYMENT_DAYS)
            paid = new.paid is not None and max(new.paid, new.known) <= max(deadline, new.known)
            if (is_follow_on and not paid and deadline < seen) or new.stop(seen) <= new.start:
                return False
            for old in olds:
                overlaps = old.start < new.start < old.stop(seen) and new.end > old.end
                if (overlaps and not _may_follow(old, new, seen)) or (old.start == new.start and old.end != new.end):
                    return False
        return True

    def fx(self, month: date) -> int:
        """Cents by which the rates changed the opening of a month, without what is lost in the month."""
        before, last, seen = day_before(month), last_day(month), closing_day(month)
        known = [c for c in self._contracts if c.known <= seen]
        follow = self._follow_ons(known, seen)
        chain: dict[int, int] = {n: n for n in range(len(known))}

        def root(number: int) -> int:
            while chain[number] != number:
                number = chain[number]
            return number

        for old, new in follow:
            chain[root(old)] = root(new)

        def is_held(number: int, day: date) -> bool:
            contract = known[number]
            begin = contract.known if contract.begins_late else contract.start
            follow_ons = [known[new] for old, new in follow if old == number]
            # Of several follow-ons the largest takes over; those of the same dates count together.
            sizes: Counter[tuple[date, date]] = Counter()
            for c in follow_ons:
                sizes[c.start, c.end] += self._rates.cents(c.amount(c.start, seen), c.currency, c.start)
            dates = min(sizes, key=lambda d: (-sizes[d], d), default=None)
            return begin <= day < (contract.stop(seen) if dates is None else dates[0])

        goes_on = {root(number) for number in chain if is_held(number, last)}
        total = 0
        for number, contract in enumerate(known):
            if is_held(number, before) and root(number) in goes_on:
                arr = contract.amount(before, seen)
                total += self._rates.cents(arr, contract.currency, last)
                total -= self._rates.cents(arr, contract.currency, before)
        return total

    @staticmethod
    def _follow_ons(known: Sequence[Contract], seen: date) -> list[tuple[int, int]]:
        """Old and new contract of each pair, by their places: rule 4, else the nearest end of rule 5."""
        pairs: list[tuple[int, int]] = []
        for place, new in enumerate(known):
            if new.begins_late:
                continue
            olds = [
                (number, old)
                for number, old in enumerate(known)
                if old is not new
                and old.product == new.product
                and _may_follow(old, new, seen)
                and new.known <= max(old.stop(seen) + timedelta(days=GRACE), old.known)
            ]
            near = [number for number, old in olds if abs((new.start - old.stop(seen)).days) <= NEAR]
            if not near:
                followed = {
                    old for old, other in pairs if (known[other].start, known[other].end) != (new.start, new.end)
                }
                free = [(number, old) for number, old in olds if number not in followed]
                nearest = min((abs((new.start - old.stop(seen)).days) for _n, old in free), default=0)
                near = [number for number, old in free if abs((new.start - old.stop(seen)).days) == nearest]
            pairs += [(number, place) for number in near]
        return pairs
