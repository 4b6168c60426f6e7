"""Laws of settled contracts (domain R9, R10): what must hold of every company, whatever its contracts.

A law is a function of a company and of what settles it; it yields a sentence for each breach. A month is final
once the grace after its last day has passed, an outcome from the day of its `matured_at` on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from renewals.features.policy import Policy
from tests.properties.contract_companies import (
    FACTS,
    Company,
    relabel,
    split_in_half,
    splittable_contracts,
)
from tests.properties.settled_companies import REVENUE, Revenue, Row, SettledCompany, settle, with_known_times

LEDGER_DAY = date(2026, 6, 1)
EARLIER = (date(2023, 1, 15), date(2024, 7, 31), date(2025, 3, 1))
GRACE = timedelta(days=60)
GAINS = ("new", "expansion", "reactivation", "contracted", "paused", "fx", "correction")
LOSSES = ("contraction", "churn")
NEVER_NEGATIVE = ("opening", "closing", "new", "upsell", "cross_sell", "price", "reactivation", *LOSSES)
TOLERANCE = 2
"""Cents: the halves of a contract are rounded apart, at each rate."""


@dataclass
class Settler:
    """Settles one company, for each day once, and changed companies."""

    company: Company
    revenue: Revenue = REVENUE
    policy: Policy = field(default_factory=Policy)
    """Settings, but for the renamed products, which are those of the company."""
    _settled: dict[date, SettledCompany] = field(default_factory=dict)

    def __call__(
        self, company: Company, ledger_day: date = LEDGER_DAY, known_until: date | None = None
    ) -> SettledCompany:
        renamed = self.policy.contracts.model_copy(update={"renamed_products": company.renamed_products})
        policy = self.policy.model_copy(update={"contracts": renamed})
        if company is not self.company or known_until is not None:
            return settle(company, ledger_day, known_until, self.revenue, policy)
        if ledger_day not in self._settled:
            self._settled[ledger_day] = settle(company, ledger_day, None, self.revenue, policy)
        return self._settled[ledger_day]


Law = Callable[[Company, Settler], Iterator[str]]


def next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


def is_final(month: date, ledger_day: date) -> bool:
    """True if nothing of a month can change any more."""
    return next_month(month) - timedelta(days=1) + GRACE < ledger_day


def difference(left: Iterable[Any], right: Iterable[Any]) -> list[Any]:
    """Up to three things that are more often in `left` than in `right`."""
    return list((Counter(left) - Counter(right)).elements())[:3]


def frozen(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(row.items(), key=lambda item: item[0]))


# -- movements and months (R9) ----------------------------------------------------------------------------------------


def movements_add_up(company: Company, settler: Settler) -> Iterator[str]:
    """Opening, gains and losses make the closing of each account and month, and expansion is the sum of its kinds."""
    for row in settler(company).months:
        gained, lost = sum(row[name] for name in GAINS), sum(row[name] for name in LOSSES)
        if row["opening"] + gained - lost != row["closing"]:
            yield f"{row}"
        if row["expansion"] != row["upsell"] + row["cross_sell"] + row["price"]:
            yield f"{row}"


def each_month_opens_as_the_last_closed(company: Company, settler: Settler) -> Iterator[str]:
    """An account opens each month with what it closed the one before; one without a row has nothing."""
    closings = {(row["account_id"], row["month"]): row["closing"] for row in settler(company).months}
    openings = {(row["account_id"], row["month"]): row["opening"] for row in settler(company).months}
    for (account, month), closing in closings.items():
        following = next_month(month)
        if following <= LEDGER_DAY.replace(day=1) and openings.get((account, following), 0) != closing:
            yield f"{account} {month}: closing {closing}, then {openings.get((account, following), 0)}"
    for (account, month), opening in openings.items():
        before = (month - timedelta(days=1)).replace(day=1)
        if opening and closings.get((account, before), 0) != opening:
            yield f"{account} {month}: opening {opening} after {closings.get((account, before), 0)}"


def gains_and_losses_are_not_negative(company: Company, settler: Settler) -> Iterator[str]:
    """Only contracted, paused, fx and correction may be negative; a lost customer has nothing left."""
    for row in settler(company).months:
        for name in NEVER_NEGATIVE:
            if row[name] < 0:
                yield f"{row['account_id']} {row['month']}: {name} {row[name]}"
        if row["lost"] and (row["closing"] or row["is_customer"] or not row["was_customer"]):
            yield f"{row['account_id']} {row['month']}: lost, and closing {row['closing']}"


# -- final is final (R9) ----------------------------------------------------------------------------------------------


def final_months_stay(company: Company, settler: Settler) -> Iterator[str]:
    """A final month is the same in the ledger of every later day, and no row of one appears or vanishes."""
    for ledger_day in EARLIER:
        then = [frozen(row) for row in settler(company, ledger_day).months if is_final(row["month"], ledger_day)]
        now = [frozen(row) for row in settler(company).months if is_final(row["month"], ledger_day)]
        for row in difference(then, now):
            yield f"in the ledger of {ledger_day} and no longer: {dict(row)}"
        for row in difference(now, then):
            yield f"not yet in the ledger of {ledger_day}: {dict(row)}"


def final_entries_stay(company: Company, settler: Settler) -> Iterator[str]:
    """A final entry is the same in the ledger of every later day, and none is added that was final by then."""
    for ledger_day in EARLIER:
        then, now = (
            [
                frozen({name: value for name, value in row.items() if name not in LATER_COLUMNS})
                for row in settled.entries
                if row["renewed"] is not None and row["matured_at"].date() <= ledger_day
            ]
            for settled in (settler(company, ledger_day), settler(company))
        )
        for row in difference(then, now):
            yield f"in the ledger of {ledger_day} and no longer: {dict(row)}"
        for row in difference(now, then):
            yield f"not yet in the ledger of {ledger_day}: {dict(row)}"


LATER_COLUMNS = (
    *("set_matured_at", "set_closed", "loss_reason", "lost_to", "plan", "currency", "sold_by", "follow_on_end"),
)
"""Columns of an entry that may change after it is final: those of its set, the reason of a loss, and what describes the
contracts as known today."""


def closed_sets_stay(company: Company, settler: Settler) -> Iterator[str]:
    """A closed set of contracts keeps its members and the day on which it matured."""
    columns = ("contract_id", "start_date", "product", "account_id", "end_date", "set_known_at", "set_matured_at")
    now = [tuple(row[name] for name in columns) for row in settler(company).entries if row["set_closed"]]
    for ledger_day in EARLIER:
        closed = [row for row in settler(company, ledger_day).entries if row["set_closed"]]
        for row in difference([tuple(row[name] for name in columns) for row in closed], now):
            yield f"closed on {ledger_day} and no longer: {row}"


# -- a customer lost in one view is lost in all (R9) ------------------------------------------------------------------


def losses(settled: SettledCompany) -> dict[tuple[Any, date], list[Row]]:
    """Entries lost with their amount, by the heir of the account and the month in which they are booked."""
    found = defaultdict(list)
    for row in settled.entries:
        if row["renewed"] == 0 and row["amount_due"]:
            found[settled.heir(row["account_id"]), row["booked_month"]].append(row)
    return found


def customers(settled: SettledCompany, column: str) -> set[tuple[Any, date]]:
    """Heirs and months in which one of their accounts is, or was, a customer."""
    return {(settled.heir(row["account_id"]), row["month"]) for row in settled.months if row[column]}


def a_lost_customer_has_a_lost_contract(company: Company, settler: Settler) -> Iterator[str]:
    """Where the roll-forward loses a customer, the ledger has a loss of that customer in the same month.

    An unpaid renewal of what another account held is lost by the account that has it; the contract is the other's.
    """
    settled = settler(company)
    lost = losses(settled)
    others = defaultdict(set)
    for family in settled.families:
        for term in family.settlement.terms:
            for old in term.lapsed_from:
                others[settled.heir(term.version.account_id)].add(settled.heir(old.version.account_id))
    for row in settled.months:
        heir = settled.heir(row["account_id"])
        has_loss = any((account, row["month"]) in lost for account in (heir, *others[heir]))
        if row["lost"] and is_final(row["month"], LEDGER_DAY) and not has_loss:
            yield f"{row['account_id']} {row['month']}"


def a_customer_without_contracts_is_lost(company: Company, settler: Settler) -> Iterator[str]:
    """Where the ledger has a loss of a customer that had something and has nothing left, the roll-forward loses it.

    But not where another account continues what this one had.
    """
    settled = settler(company)
    handed_over = {
        settled.heir(pair.old.version.account_id)
        for family in settled.families
        for pair in family.settlement.pairs
        if pair.voided is None and pair.old.version.account_id != pair.new.version.account_id
    }
    had, has = customers(settled, "was_customer"), customers(settled, "is_customer")
    gone = {(settled.heir(row["account_id"]), row["month"]) for row in settled.months if row["lost"]}
    for key in losses(settled):
        if key in had - has and key not in gone and is_final(key[1], LEDGER_DAY) and key[0] not in handed_over:
            yield f"{key}"


def lost_money_has_a_loss(company: Company, settler: Settler) -> Iterator[str]:
    """Where revenue is lost, the ledger has a loss in the same month, or a renewal was never paid."""
    settled = settler(company)
    lost = losses(settled)
    lapsed = {
        settled.heir(term.version.account_id)
        for family in settled.families
        for term in family.settlement.terms
        if term.lapsed_from
    }
    for row in settled.months:
        heir = settled.heir(row["account_id"])
        if (
            row["churn"]
            and is_final(row["month"], LEDGER_DAY)
            and (heir, row["month"]) not in lost
            and heir not in lapsed
        ):
            yield f"{row['account_id']} {row['month']}: {row['churn']}"


def rates_by_count_and_by_revenue_agree(company: Company, settler: Settler) -> Iterator[str]:
    """What was due is kept, given up or lost, to the cent; a contract lost by count is lost by revenue."""
    sets = defaultdict(list)
    for row in settler(company).entries:
        due, kept = row["amount_due"] or 0, row["amount_kept"]
        if row["set_known_at"] is not None:
            sets[row["account_id"], row["end_date"], row["set_known_at"]].append(row)
        elif row["renewed"] is not None and not row["rolling"] and row["known_at"] <= row["matured_at"] - GRACE:
            yield f"in no set: {row}"
        if (row["renewed"] is None) != (row["outcome"] == "pending") or (row["booked_month"] is None) != (kept is None):
            yield f"half pending: {row}"
        if row["renewed"] is None:
            continue
        given_up = row["contraction"] - min(0, row["price_change"])
        if kept != (due - given_up if row["renewed"] else 0) or not 0 <= kept <= due:
            yield f"kept {kept} of {due}: {row}"
        if row["booked_month"] < row["due_at"].replace(day=1):
            yield f"booked before it was due: {row}"
    for key, rows in sets.items():
        closed = all(row["renewed"] is not None for row in rows)
        if {row["set_closed"] for row in rows} != {closed} and not any(row["set_closed"] is False for row in rows):
            yield f"{key} is closed although {[row['outcome'] for row in rows]}"


# -- labels are the ledger's outcomes ---------------------------------------------------------------------------------

AS_OF = (*(date(2021 + n // 4, 3 * (n % 4) + 1, 1) for n in range(1, 21)), date(2024, 2, 29), date(2023, 12, 31))
"""Days of observation."""
Label = tuple[int | None, datetime | None]


def observed_terms(settled: SettledCompany, as_of: date) -> dict[tuple[Any, date], list[Row]]:
    """States of the terms that run on a day and do not roll, by account and end of the renewal."""
    day = settled.revenue.valuation.day_number(as_of)
    found = defaultdict(list)
    for state in settled.states:
        is_seen = state["seen_from"] <= day < state["seen_until"] and state["start_date"] <= as_of
        is_over = any(state[name] is not None and state[name] <= as_of for name in ("end_date", "replaced_at"))
        if is_seen and not is_over and state["cancelled_at"] is None and not state["rolling"]:
            found[state["account_id"], state["renewal_date"]].append(state)
    return found


def labels(settled: SettledCompany, as_of: date) -> dict[tuple[Any, date], Label]:
    """Label of each observed renewal and the day on which it is final, as in `models.targets.renewal`."""
    outcomes = {row["term"]: row for row in settled.outcomes}
    found = {}
    for key, states in observed_terms(settled, as_of).items():
        rows = [outcomes.get(state["term"]) for state in states]
        values = [row and row["renewed"] for row in rows]
        matured = [row["matured_at"] for row in rows if row is not None and row["matured_at"] is not None]
        label = None if None in values else max(value for value in values if value is not None)
        found[key] = label, max(matured, default=None)
    return found


def final_labels_stay(company: Company, settler: Settler) -> Iterator[str]:
    """An observation and its label, once final, are the same by the ledger of every later day."""
    for ledger_day in EARLIER:
        for as_of in (day for day in AS_OF if day <= ledger_day):
            then, now = labels(settler(company, ledger_day), as_of), labels(settler(company), as_of)
            if then.keys() != now.keys():
                yield f"observed on {as_of}: {then.keys() ^ now.keys()} by the ledger of {ledger_day}"
            for key in then.keys() & now.keys():
                matured = now[key][1]
                is_final = now[key][0] is not None and matured is not None and matured.date() <= ledger_day
                if (is_final or then[key][0] is not None) and then[key] != now[key]:
                    yield f"{key} on {as_of}: {then[key]} by the ledger of {ledger_day}, then {now[key]}"


def labels_are_outcomes(company: Company, settler: Settler) -> Iterator[str]:
    """The label of a term is the ledger's outcome of it, or of what took its place.

    A renewal that lapsed and was paid later is two terms of one contract: lost with what it followed, and bought anew.
    """
    settled = settler(company)
    terms = {(state["contract_id"], state["start_date"], state["term"]) for state in settled.rows("term_states")}
    bought_anew = {key for key, count in Counter(term[:2] for term in terms).items() if count > 1}
    entries = {(row["contract_id"], row["product"], row["start_date"]): row for row in settled.entries}
    ramps = {(row["contract_id"], row["product"], row["end_date"]): row for row in settled.entries}
    places = {(row["old_id"], row["old_start"]): row for row in settled.rows("pairs") if row["kind"] != "renewal"}
    renewals = {(row["old_id"], row["old_start"]) for row in settled.rows("pairs") if row["kind"] == "renewal"}
    outcomes = {row["term"]: row["renewed"] for row in settled.outcomes}
    for as_of in AS_OF:
        for states in observed_terms(settled, as_of).values():
            for state in states:
                key = (state["contract_id"], state["start_date"])
                if key in places or key in bought_anew:
                    continue
                entry = entries.get((key[0], state["product"], key[1]))
                entry = entry or ramps.get((key[0], state["product"], state["end_date"]))
                label = outcomes.get(state["term"])
                if entry is not None and label != entry["renewed"]:
                    yield f"{key}: label {label}, ledger {entry['renewed']}"
                if label == 1 and entry is not None and entry["rule"] != "in_place" and key not in renewals:
                    yield f"{key}: labelled renewed, and nothing follows it"


# -- nothing else matters ---------------------------------------------------------------------------------------------

IDS = {"contract_id": "contracts", "follow_on_id": "contracts", "old_id": "contracts", "new_id": "contracts"}
OF_ONE_OF_SEVERAL = {"entries": ("follow_on_id", "rule"), "expansions": ("contract_id", "sold_by", "signed_at")}
"""Columns that name one of several equal contracts."""
TABLES = ("entries", "account_months", "pairs", "expansions", "overlaps")


def ids_and_order_do_not_matter(company: Company, settler: Settler) -> Iterator[str]:
    """Other ids and another order of the rows change nothing but the ids.

    Of several follow-ons of the same dates, size and price an entry or an expansion names any one; `pairs` has all of
    them with their rules. Where such contracts stand in two accounts, an expansion may count for either.
    """
    other, maps = relabel(company, 7)
    columns = dict.fromkeys(IDS, maps.contracts) | {"account_id": maps.accounts}
    settled, renamed = settler(company), settler(other)
    for name in TABLES:
        if name == "expansions" and has_equal_contracts_of_two_accounts(company):
            continue
        ambiguous = dict.fromkeys(OF_ONE_OF_SEVERAL.get(name, ()))
        rows = [
            frozen({c: columns[c].get(v, v) if c in columns else v for c, v in row.items()} | ambiguous)
            for row in settled.rows(name)
        ]
        now = [frozen(row | ambiguous) for row in renamed.rows(name)]
        for row in difference(rows, now):
            yield f"{name}, under the new ids no longer: {dict(row)}"
        for row in difference(now, rows):
            yield f"{name}, only under the new ids: {dict(row)}"


def has_equal_contracts_of_two_accounts(company: Company) -> bool:
    """True if two contracts of two accounts have the same dates, size and price."""
    columns = ("product", "plan", "start_date", "end_date", "arr", "currency", "seats")
    accounts = defaultdict(set)
    for row in company.tables["contracts"]:
        accounts[tuple(row[name] for name in columns)].add(row["account_id"])
    return any(len(found) > 1 for found in accounts.values())


def halves_are_the_whole(company: Company, settler: Settler) -> Iterator[str]:
    """A contract booked as two of half its amount moves the same revenue and the same customers.

    A contract that another names as replaced is left out: the name says which of the two halves is meant.
    """
    named = {row["replaces_contract_id"] for row in company.tables["contracts"]}
    for contract_id in [found for found in splittable_contracts(company) if found not in named][:3]:
        settled, halved = settler(company), settler(split_in_half(company, contract_id))
        before, after = movements(settled), movements(halved)
        for key in before.keys() | after.keys():
            if abs(before[key] - after[key]) > TOLERANCE:
                yield f"{contract_id} halved: {key} {before[key]} and {after[key]}"
        for column in ("lost", "was_customer", "is_customer"):
            counts = [sum(bool(row[column]) for row in one.months) for one in (settled, halved)]
            if counts[0] != counts[1]:
                yield f"{contract_id} halved: {column} {counts[0]} and {counts[1]}"
        kept = ("contract_id", "start_date", "due_at", "renewed", "booked_month", "rolling")
        halves = (contract_id, f"{contract_id}~2")
        others = [
            [tuple(row[name] for name in kept) for row in one.entries if row["contract_id"] not in halves]
            for one in (settled, halved)
        ]
        for row in difference(*others) + difference(*reversed(others)):
            yield f"{contract_id} halved: entry {row}"


def movements(settled: SettledCompany) -> Counter[tuple[Any, ...]]:
    """Amount of each movement of the company by month; a contract in two accounts may move the one or the other."""
    found: Counter[tuple[Any, ...]] = Counter()
    for row in settled.months:
        for name in ("opening", "closing", *GAINS, *LOSSES):
            found[row["month"], name] += row[name]
    return found


# -- nothing that became known later ----------------------------------------------------------------------------------


def later_rows_do_not_matter(company: Company, settler: Settler) -> Iterator[str]:
    """The ledger of a day is the same without the rows and facts that became known on that day or later."""
    for day in EARLIER:
        then = settler(known_before(company, day, masked=True), day)
        yield from compare(settler(company, day), then, f"known by {day}")
        later = day + timedelta(days=200)
        known = settler(known_before(company, day, masked=False), later)
        yield from compare(settler(company, later, day), known, f"known until {day}")


def compare(settled: SettledCompany, other: SettledCompany, what: str) -> Iterator[str]:
    for name in (*TABLES, "term_states", "term_outcomes"):
        rows, now = ([frozen(row) for row in numbered_by_content(one, name)] for one in (settled, other))
        for row in difference(rows, now):
            yield f"{name} {what}, only from all rows: {dict(row)}"
        for row in difference(now, rows):
            yield f"{name} {what}, only from the rows of then: {dict(row)}"


def numbered_by_content(settled: SettledCompany, name: str) -> list[Row]:
    """Rows of a table, with contract and start in place of the number of the term, which depends on other rows."""
    terms = {row["term"]: (row["contract_id"], row["start_date"]) for row in settled.states}
    return [row | {"term": terms.get(row["term"])} if "term" in row else row for row in settled.rows(name)]


def known_before(company: Company, day: date, *, masked: bool) -> Company:
    """The rows that were known before a day; `masked`: without the facts that were not known by then."""
    cut = datetime.combine(day, datetime.min.time())
    contracts = [row for row in with_known_times(company.tables["contracts"]) if row["known_at"] < cut]
    contracts = [{name: value for name, value in row.items() if name != "known_at"} for row in contracts]
    if masked:
        contracts = [mask(row, cut) for row in contracts]
    unmerged = {"merged_into_account_id": None, "merged_at": None}
    accounts = [row for row in company.tables["accounts"] if (row["recorded_at"] or row["created_at"]) < cut]
    accounts = [row | unmerged if row["merged_at"] and row["merged_at"] >= cut else row for row in accounts]
    tables = company.tables | {"contracts": contracts, "accounts": accounts}
    return Company(tables, company.traits, company.renamed_products)


def mask(row: Row, cut: datetime) -> Row:
    later = {name: None for name in FACTS if row[name] is not None and row[name] >= cut}
    if "loss_recorded_at" in later:
        later |= {"loss_reason": None, "lost_to": None}
    return row | later


LAWS: tuple[Law, ...] = (
    movements_add_up,
    each_month_opens_as_the_last_closed,
    gains_and_losses_are_not_negative,
    final_months_stay,
    final_entries_stay,
    closed_sets_stay,
    a_lost_customer_has_a_lost_contract,
    a_customer_without_contracts_is_lost,
    lost_money_has_a_loss,
    rates_by_count_and_by_revenue_agree,
    final_labels_stay,
    labels_are_outcomes,
    ids_and_order_do_not_matter,
    halves_are_the_whole,
    later_rows_do_not_matter,
)
