"""Renewal ledger: what became of every contract, recurring revenue rolled forward, and expansions (R1 to R15).

One set of facts: `features.revenue.settlement` settles terms, what follows what, payments and mergers once, day by day,
family of accounts by family; everything here is a view of it. The rows of the contracts may be versions
(`features.revenue.contract_lines`), and only what was known before `told_on` counts.

set       what the customer sees as one renewal: the contracts of an account with the same end.
booked    an outcome counts in the month of its due day, or in the earliest month that was still open when the outcome
          became known (R9): no final month ever changes.

Days are numbers since 1970-01-01 inside, dates in the tables; money is integer cents of the reporting currency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.contract_lines import OPEN_END, Line, PaymentShare, read_lines
from renewals.features.revenue.outcomes import (
    OUTCOMES,
    Entry,
    RenewalSet,
    booked_month_end,
    final_entry,
    pending_entry,
    renewal_sets,
)
from renewals.features.revenue.roll_forward import (
    MONEY_COLUMNS,
    MULTI_YEAR_COLUMNS,
    AccountMonth,
    RollForward,
    months_between,
)
from renewals.features.revenue.settlement import Merger, Settlement, SettlementRules, Term
from renewals.features.revenue.states import StateLog
from renewals.features.revenue.valuation import (
    CHANGE_COLUMNS,
    ROUNDING_CENTS,
    day_date,
    day_number,
    month_start,
    read_rates,
)

SUMMED_COLUMNS = (*MONEY_COLUMNS, *MULTI_YEAR_COLUMNS, "lost", "opening_customer", "closing_customer")
"""Columns of the account months that add up over accounts."""
Materialize = Callable[[ir.Table], ir.Table]
"""Function applied to a table that is used several times: the identity, or one that stores it."""


@dataclass
class FamilyStory:
    """What is told of one family of accounts."""

    settlement: Settlement
    entries: list[Entry]
    sets: dict[int, RenewalSet]
    months: list[AccountMonth]
    states: StateLog


@dataclass(frozen=True)
class RenewalLedger:
    """The story of all contracts, as known before `told_on`, and its tables, each computed once.

    Rows known on `known_until` or later are left out (default: `told_on`); time goes on until `told_on` without them.
    """

    contracts: ir.Table
    told_on: date
    policy: Policy
    rates: ir.Table | None = None
    accounts: ir.Table | None = None
    known_until: date | None = None

    @cached_property
    def _id_types(self) -> dict[str, pa.DataType]:
        schema = self.contracts.schema().to_pyarrow()
        return {name: schema.field(name).type for name in ("contract_id", "account_id")}

    @cached_property
    def _lines(self) -> list[Line]:
        return read_lines(self.contracts, day_number(self.known_until or self.told_on), self.policy)

    @cached_property
    def months(self) -> list[date]:
        """Months from that of the first start, or from which the records are complete, to that of the day."""
        if not self._lines:
            return []
        first = self.policy.contracts.complete_from or day_date(min(line.start for line in self._lines))
        return list(months_between(first, self.told_on))

    def stories(self) -> Iterator[FamilyStory]:
        """Stories of the families, one after the other; each is told once and not kept."""
        rules = SettlementRules(
            self.policy,
            read_rates(self.rates, self.policy.money.reporting_currency),
            PaymentShare(self._lines),
            day_number(self.told_on) - 1,
        )
        mergers = _read_mergers(self.accounts, day_number(self.known_until or self.told_on))
        for lines, merged in _families(self._lines, mergers):
            yield self._tell(lines, merged, rules)

    def _tell(self, lines: Sequence[Line], mergers: Sequence[Merger], rules: SettlementRules) -> FamilyStory:
        settlement = Settlement(lines, mergers, rules)
        states = StateLog(settlement)
        roll_forward = RollForward(settlement, self.months)
        entries: list[Entry] = []
        while (day := settlement.next_day()) is not None:
            roll_forward.close_months_before(day)
            settlement.settle_next_day()
            states.update()
            entries += [final_entry(settlement, term) for term in settlement.matured]
        roll_forward.close_rest()
        states.close()
        entries += [pending_entry(settlement, term) for term in settlement.terms if _is_pending(settlement, term)]
        return FamilyStory(settlement, entries, renewal_sets(settlement, entries), roll_forward.rows, states)

    @cached_property
    def _tables(self) -> dict[str, ir.Table]:
        """All tables, told in one pass; the rows of a few hundred families at a time are packed, to save memory."""
        types = _table_types(self._id_types)
        packed: dict[str, list[pa.Table]] = {name: [] for name in types}
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in types}
        reporting = self.policy.money.reporting_currency
        terms = 0

        def pack() -> None:
            for name, schema in types.items():
                packed[name].append(pa.Table.from_pylist(rows[name], schema=schema))
                rows[name].clear()

        for number, story in enumerate(self.stories(), start=1):
            for name, make in _ROWS.items():
                rows[name] += make(story, terms, reporting)
            terms += len(story.settlement.terms)
            if number % FAMILIES_A_BATCH == 0:
                pack()
        pack()
        return {name: ibis.memtable(pa.concat_tables(parts)) for name, parts in packed.items()}

    # --- tables --------------------------------------------------------------------------------

    @property
    def entries(self) -> ir.Table:
        """Outcome and amounts of each contract that came due before `told_on`, one row per term.

        For a renewed row `amount_kept = amount_due - contraction + min(0, price_change)`. Until `matured_at` the
        outcome is `pending` and the columns that depend on it are null, even if the follow-on is already known
        (`follow_on_id`): otherwise the decided rows would contain early renewals but no losses. `booked_month` is the
        month in whose rates and losses the outcome counts. A ramp is one row, with the id of its last step.
        """
        return self._tables["entries"]

    @property
    def pairs(self) -> ir.Table:
        """What continues what, with the rule that joined them, one row per (old term, new term)."""
        return self._tables["pairs"]

    @property
    def overlaps(self) -> ir.Table:
        """Contracts of one product that overlap without any other sign (R10 rule 6), one row per pair."""
        return self._tables["overlaps"]

    @property
    def expansions(self) -> ir.Table:
        """Purchases of customers beyond what they had, one row per expansion event.

        `kind` is `upsell` (a follow-on larger than what it continues by more than its price, an amendment, or a further
        term of a running product) or `cross_sell` (a product the account never had, while another runs). It happened
        when the term started and is known once that is settled. `voided_at` is set if it later turned out to be a
        replacement: the old contract was cancelled after the new one had started.
        """
        return self._tables["expansions"]

    @property
    def revenue_intervals(self) -> ir.Table:
        """Days [start_day, end_day) on which a term counts as recurring revenue, as known now, one row per term."""
        return self._tables["revenue_intervals"]

    @property
    def account_months(self) -> ir.Table:
        """Movements of recurring revenue, one row per (month, account_id) with any revenue or customer.

        opening + new + expansion + reactivation + contracted + paused + fx + correction - contraction - churn =
        closing, and closing(m) = opening(m + 1). `expansion` is the sum of `upsell`, `cross_sell` and `price` (rises
        only: a discount is contraction). `lost` is 1 if the account was a customer and is none any more;
        `opening_customer` and `closing_customer` are 1 if it had something running, pending or paused. `multi_year` is
        the part of the closing sold for more than a year, `multi_year_due` what of it ends within a year (R14).
        """
        return self._tables["account_months"]

    @property
    def term_states(self) -> ir.Table:
        """Terms as known on each day, one row per (term, stretch of days without change).

        A row holds for the days t with `seen_from <= t < seen_until` and rests on what was known before t.
        """
        return self._tables["term_states"]

    @property
    def term_outcomes(self) -> ir.Table:
        """Outcome of the renewal of each term, one row per term.

        A term that was amended, or is a step of a ramp, has the outcome of the term that took its place; one that was
        never paid has that of the term it would have continued.
        """
        return self._tables["term_outcomes"]

    def account_roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Rows of `account_months` for the given months."""
        return self.account_months.filter(_.month.isin([ibis.literal(month, "date") for month in months]))

    def roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Roll-forward of all accounts, one row per month, also for months without revenue."""
        sums = self.account_months.group_by("month").agg(
            **{name: _[name].sum().cast("int64") for name in SUMMED_COLUMNS}
        )
        calendar = ibis.memtable([{"month": month} for month in months], schema={"month": "date"})
        joined = calendar.left_join(sums, "month")
        return joined.select("month", **{name: joined[name].fill_null(0) for name in SUMMED_COLUMNS})


def renewals(entries: ir.Table) -> ir.Table:
    """Outcome and amounts of each renewal (set of contracts), one row per (account_id, end_date).

    A set is renewed if any of its contracts was; null until all of them matured. If contracts with this end are booked
    after the set matured, they form a further row with the `known_at` of their first contract, so that the first
    outcome never changes. `due_at` is the last day on which one of its contracts that came due so far ended;
    `amount_renewed` is the amount due of the contracts that were bought again, at any price. Rolling contracts are in
    no set (R15), and neither is a contract that became known only after it had matured. `start_date` is the start of
    its longest contract.
    """
    null = ibis.null("int64")
    return (
        entries.filter(_.set_known_at.notnull())
        .group_by("account_id", "end_date", known_at=_.set_known_at)
        .agg(
            plan=_.plan.max(),
            start_date=_.start_date.min(),
            closed=_.set_closed.all(),
            renewed=_.renewed.max(),
            contracts=_.count(),
            amount_due=_sum(_.amount_due),
            amount_renewed=_sum(_.amount_due, _.renewed == 1).fill_null(0),
            **{name: _sum(_[name]) for name in CHANGE_COLUMNS},
            due_at=_.due_at.max(),
            matured_at=_.set_matured_at.max(),
            booked_month=_.booked_month.max(),
        )
        .mutate(
            **{name: _.closed.ifelse(_[name], null) for name in ("renewed", "amount_renewed", *CHANGE_COLUMNS)},
            booked_month=_.closed.ifelse(_.booked_month, ibis.null("date")),
        )
        .mutate(renewed=_.renewed.cast("int8"), outcome=_set_outcome(_.closed, _.renewed == 1))
        .drop("closed")
    )


def _set_outcome(decided: ir.Value, renewed: ir.Value) -> ir.Value:
    balance = _.upsell + _.cross_sell - (_.amount_due - _.amount_kept)
    return ibis.cases(
        (~decided, OUTCOMES[4]),
        (~renewed, OUTCOMES[3]),
        (balance >= ROUNDING_CENTS, OUTCOMES[1]),
        (balance <= -ROUNDING_CENTS, OUTCOMES[2]),
        else_=OUTCOMES[0],
    )


def _sum(cents: ir.Value, where: ir.Value | None = None) -> ir.Value:
    """Sum of cents as int64; without the casts, engines widen it to a decimal."""
    return cents.sum(where=where).cast("decimal(18, 0)").cast("int64")


# --- families ----------------------------------------------------------------------------------


def _read_mergers(accounts: ir.Table | None, known_until: int) -> list[Merger]:
    """Mergers known before a day; an account names its heir in `merged_into_account_id`."""
    if accounts is None or "merged_into_account_id" not in accounts.columns:
        return []
    optional = [name for name in ("merged_at", "recorded_at", "created_at") if name in accounts.columns]
    merged = accounts.filter(
        _.merged_into_account_id.notnull(),
        _.merged_into_account_id != _.account_id.cast(_.merged_into_account_id.type()),
    )
    rows = merged.select("account_id", "merged_into_account_id", *optional).to_pyarrow().to_pylist()
    mergers = []
    for row in rows:
        times = {name: None if row.get(name) is None else day_number(row[name]) for name in optional}
        recorded = times.get("recorded_at")
        if recorded is None:
            recorded = times.get("created_at")
        at = times.get("merged_at")
        day = at if at is not None else recorded if recorded is not None else 0
        known = max(day, recorded if recorded is not None else day)
        if known < known_until:
            mergers.append(Merger(row["account_id"], row["merged_into_account_id"], day, known))
    return sorted(mergers, key=lambda merger: (merger.known, merger.merged, str(merger.account_id)))


def _families(lines: Sequence[Line], mergers: Sequence[Merger]) -> Iterator[tuple[list[Line], list[Merger]]]:
    """Lines and mergers of the accounts that belong together: merged, or joined by the ids of their contracts."""
    parent: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:
        found = key
        while (above := parent.get(found, found)) != found:
            found = above
        while parent.get(key, key) != found:
            parent[key], key = found, parent[key]
        return found

    def join(left: Hashable, right: Hashable) -> None:
        parent[root(left)] = root(right)

    for merger in mergers:
        join(("account", merger.account_id), ("account", merger.heir_id))
    for line in lines:
        account = ("account", line.versions[0].account_id)
        join(("contract", line.contract_id), account)
        for version in line.versions:
            join(("account", version.account_id), account)
            if version.replaces is not None:
                join(("contract", version.replaces), account)
            if version.subscription is not None:
                join(("subscription", version.subscription), account)
    grouped: dict[Hashable, tuple[list[Line], list[Merger]]] = defaultdict(lambda: ([], []))
    for line in lines:
        grouped[root(("account", line.versions[0].account_id))][0].append(line)
    for merger in mergers:
        key = root(("account", merger.account_id))
        if key in grouped:
            grouped[key][1].append(merger)
    yield from grouped.values()


def _is_pending(settlement: Settlement, term: Term) -> bool:
    due = settlement.due(term)
    return term.final is None and term.is_live and due is not None and due <= settlement.rules.last_day


# --- rows --------------------------------------------------------------------------------------

FAMILIES_A_BATCH = 200
"""Families whose rows are packed together."""


def _instant(day: int | None) -> datetime | None:
    return None if day is None else datetime.combine(day_date(day), time())


def _end_date(day: int | None) -> date | None:
    """Date of a day; None for an open end."""
    return None if day is None or day >= OPEN_END else day_date(day)


def _entry_rows(story: FamilyStory, _first_term: int, reporting_currency: str) -> Iterator[dict[str, Any]]:
    settlement = story.settlement
    for entry in story.entries:
        term, follow_on, version = entry.term, entry.follow_on, entry.version
        first, found = settlement.first_step(term), story.sets.get(term.number)
        loss = term.version
        is_reason_known = loss.loss_recorded is None or loss.loss_recorded <= settlement.rules.last_day
        has_reason = entry.renewed == 0 and is_reason_known
        booked = None if entry.renewed is None else month_start(booked_month_end(settlement, entry))
        yield {
            "contract_id": term.line.contract_id,
            "account_id": entry.account_id,
            "product": version.product,
            "plan": version.plan,
            "start_date": day_date(first.start),
            "end_date": _end_date(term.end),
            "due_at": day_date(entry.due),
            "currency": version.currency or reporting_currency,
            "outcome": entry.outcome,
            "renewed": entry.renewed,
            "rule": entry.rule,
            "follow_on_id": None if follow_on is None else follow_on.line.contract_id,
            "follow_on_start": None if follow_on is None else day_date(follow_on.start),
            "follow_on_end": None if follow_on is None else _end_date(follow_on.end),
            "follow_on_known_at": None if follow_on is None else _instant(follow_on.known),
            "amount_due": entry.amount_due,
            **entry.changes,
            "known_at": _instant(first.known),
            "matured_at": _instant(entry.matured),
            "booked_month": _end_date(booked),
            "rolling": settlement.is_rolling(term),
            "loss_reason": loss.loss_reason if has_reason else None,
            "lost_to": loss.lost_to if has_reason else None,
            "sold_by": version.sold_by,
            "set_known_at": None if found is None else _instant(found.known),
            "set_matured_at": None if found is None else _instant(found.matured),
            "set_closed": None if found is None else found.is_closed,
        }


def _pair_rows(story: FamilyStory, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for pair in story.settlement.pairs:
        if pair.voided is None:
            yield {
                "account_id": story.settlement.account(pair.new),
                "old_id": pair.old.line.contract_id,
                "old_start": day_date(pair.old.start),
                "new_id": pair.new.line.contract_id,
                "new_start": day_date(pair.new.start),
                "rule": pair.rule,
                "kind": pair.kind,
                "known_at": _instant(pair.known),
            }


def _overlap_rows(story: FamilyStory, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    settlement = story.settlement
    for old, new, replaces in settlement.overlaps:
        amounts = [term.holding(new.start, settlement.day, settlement.rules.rates).amount for term in (old, new)]
        yield {
            "account_id": settlement.account(new),
            "old_id": old.line.contract_id,
            "new_id": new.line.contract_id,
            "starts": day_date(new.start),
            "replaces": replaces,
            "old_amount": amounts[0],
            "new_amount": amounts[1],
        }


def _expansion_rows(story: FamilyStory, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for purchase in story.settlement.purchases:
        yield {
            "account_id": purchase.account_id,
            "contract_id": purchase.term.line.contract_id,
            "product": purchase.product,
            "kind": purchase.kind,
            "happened_at": day_date(purchase.happened),
            "known_at": _instant(purchase.known),
            "voided_at": _instant(purchase.voided),
            "amount": purchase.amount,
            "sold_by": purchase.term.version.sold_by,
            "signed_at": purchase.term.version.signed_at,
        }


def _interval_rows(story: FamilyStory, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    settlement = story.settlement
    for term in settlement.terms:
        end = settlement.revenue_end(term)
        if term.is_live and term.begin < end:
            yield {
                "contract_id": term.line.contract_id,
                "account_id": settlement.account(term),
                "product": term.version.product,
                "plan": term.version.plan,
                "start_day": term.begin,
                "end_day": end,
                "amount": term.holding(term.start, settlement.day, settlement.rules.rates).amount,
            }


def _month_rows(story: FamilyStory, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for row in story.months:
        yield {
            "month": row.month,
            "account_id": row.account_id,
            **row.money,
            **{name: getattr(row, name) for name in MULTI_YEAR_COLUMNS},
            "lost": int(row.is_lost),
            "opening_customer": int(row.was_customer),
            "closing_customer": int(row.is_customer),
            "opening_plan": row.opening_plan,
            "closing_plan": row.closing_plan,
        }


def _state_rows(story: FamilyStory, first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for term, first, until, state in story.states.rows:
        values = state._asdict()
        dates = ("start_date", "end_date", "renewal_date", "notice_given", "replaced_at")
        yield {
            "term": first_term + term.number,
            "seen_from": first,
            "seen_until": OPEN_END if until is None else until,
            **values,
            **{name: _end_date(values[name]) for name in dates},
        }


def _outcome_rows(story: FamilyStory, first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    entries = {entry.term.number: entry for entry in story.entries}
    for term in story.settlement.terms:
        entry = entries.get(_decisive_term(term).number)
        if not term.is_void:
            yield {
                "term": first_term + term.number,
                "renewed": None if entry is None else entry.renewed,
                "matured_at": None if entry is None else _instant(entry.matured),
            }


def _decisive_term(term: Term) -> Term:
    """The term whose outcome is that of a term: what took its place, or what it would have continued if paid."""
    while term.lapsed is not None or any(pair.kind != "renewal" for pair in term.new_pairs):
        if term.lapsed is not None:
            term = term.lapsed_from[0]
        else:
            places = [pair.new for pair in term.new_pairs if pair.kind != "renewal"]
            term = max(places, key=lambda new: (new.end, new.number))
    return term


_ROWS: dict[str, Callable[[FamilyStory, int, str], Iterator[dict[str, Any]]]] = {
    "entries": _entry_rows,
    "pairs": _pair_rows,
    "overlaps": _overlap_rows,
    "expansions": _expansion_rows,
    "revenue_intervals": _interval_rows,
    "account_months": _month_rows,
    "term_states": _state_rows,
    "term_outcomes": _outcome_rows,
}
"""Rows of each table that a family adds, given the number of its first term and the reporting currency."""


def _table_types(ids: dict[str, pa.DataType]) -> dict[str, pa.Schema]:
    """Schema of each table."""
    account, contract = ids["account_id"], ids["contract_id"]
    text, day, instant, integer, flag = pa.string(), pa.date32(), pa.timestamp("us"), pa.int64(), pa.bool_()
    schemas: dict[str, list[tuple[str, pa.DataType]]] = {
        "entries": [
            ("contract_id", contract), ("account_id", account), ("product", text), ("plan", text),
            ("start_date", day), ("end_date", day), ("due_at", day), ("currency", text), ("outcome", text),
            ("renewed", pa.int8()), ("rule", text), ("follow_on_id", contract), ("follow_on_start", day),
            ("follow_on_end", day), ("follow_on_known_at", instant), ("amount_due", integer),
            *((name, integer) for name in CHANGE_COLUMNS),
            ("known_at", instant), ("matured_at", instant), ("booked_month", day), ("rolling", flag),
            ("loss_reason", text), ("lost_to", text), ("sold_by", text),
            ("set_known_at", instant), ("set_matured_at", instant), ("set_closed", flag),
        ],
        "pairs": [
            ("account_id", account), ("old_id", contract), ("old_start", day), ("new_id", contract),
            ("new_start", day), ("rule", text), ("kind", text), ("known_at", instant),
        ],
        "overlaps": [
            ("account_id", account), ("old_id", contract), ("new_id", contract), ("starts", day), ("replaces", flag),
            ("old_amount", integer), ("new_amount", integer),
        ],
        "expansions": [
            ("account_id", account), ("contract_id", contract), ("product", text), ("kind", text),
            ("happened_at", day), ("known_at", instant), ("voided_at", instant), ("amount", integer),
            ("sold_by", text), ("signed_at", instant),
        ],
        "revenue_intervals": [
            ("contract_id", contract), ("account_id", account), ("product", text), ("plan", text),
            ("start_day", integer), ("end_day", integer), ("amount", integer),
        ],
        "account_months": [
            ("month", day), ("account_id", account), *((name, integer) for name in SUMMED_COLUMNS),
            ("opening_plan", text), ("closing_plan", text),
        ],
        "term_states": [
            ("term", integer), ("seen_from", pa.int32()), ("seen_until", pa.int32()), ("account_id", account),
            ("contract_id", contract), ("product", text), ("plan", text), ("start_date", day), ("end_date", day),
            ("renewal_date", day), ("arr", pa.float64()), ("currency", text), ("seats", integer),
            ("auto_renew", flag), ("signed_at", instant), ("paid_at", instant), ("cancelled_at", instant),
            ("notice_days", integer), ("notice_given", day), ("replaced_at", day), ("signed_ahead", flag),
            ("rolling", flag),
        ],
        "term_outcomes": [("term", integer), ("renewed", pa.int8()), ("matured_at", instant)],
    }  # fmt: skip
    return {name: pa.schema(fields) for name, fields in schemas.items()}
