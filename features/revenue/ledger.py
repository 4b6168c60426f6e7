"""Renewal ledger: what became of every contract, recurring revenue rolled forward, and expansions (R1 to R15).

One set of facts: `features.revenue.settlement` settles terms, what follows what, payments and mergers once, day by day,
family of accounts by family; everything here is a view of it. The rows of the contracts may be versions
(`features.revenue.contract_lines`), and only what was known before `as_of` counts.

set       what the customer sees as one renewal: the contracts of an account with the same end.
booked    an outcome counts in the month of its due day, or in the earliest month that was still open when the outcome
          became known (R9): no final month ever changes.

Days are numbers since 1970-01-01 inside, dates in the tables; money is integer cents of the reporting currency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.contract_lines import Line, PaymentShare, read_lines
from renewals.features.revenue.families import SettledFamily, group_families, read_mergers, settle_family
from renewals.features.revenue.ledger_tables import ROWS, SUMMED_COLUMNS, table_types
from renewals.features.revenue.outcomes import OUTCOMES
from renewals.features.revenue.roll_forward import months_between
from renewals.features.revenue.terms import SettlementRules
from renewals.features.revenue.valuation import CHANGE_COLUMNS, ROUNDING_CENTS, day_date, day_number, read_rates

FAMILIES_A_BATCH = 200
"""Families whose rows are packed together."""


@dataclass(frozen=True)
class RenewalLedger:
    """All contracts, settled as known before `as_of`, and the tables of what became of them, computed once.

    Rows known on `known_until` or later are left out (default: `as_of`); time goes on until `as_of` without them.
    """

    contracts: ir.Table
    as_of: date
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
        return read_lines(self.contracts, day_number(self.known_until or self.as_of), self.policy)

    @cached_property
    def months(self) -> list[date]:
        """Months from that of the first start, or from which the records are complete, to that of the day."""
        if not self._lines:
            return []
        first = self.policy.contracts.complete_from or day_date(min(line.start for line in self._lines))
        return list(months_between(first, self.as_of))

    def families(self) -> Iterator[SettledFamily]:
        """The families of accounts, settled one after the other and not kept."""
        rules = SettlementRules(
            self.policy,
            read_rates(self.rates, self.policy.money.reporting_currency),
            PaymentShare(self._lines),
            day_number(self.as_of) - 1,
        )
        mergers = read_mergers(self.accounts, day_number(self.known_until or self.as_of))
        for lines, merged in group_families(self._lines, mergers):
            yield settle_family(lines, merged, rules, self.months)

    @cached_property
    def _tables(self) -> dict[str, ir.Table]:
        """All tables, from one pass; the rows of a few hundred families at a time are packed, to save memory."""
        types = table_types(self._id_types)
        packed: dict[str, list[pa.Table]] = {name: [] for name in types}
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in types}
        reporting = self.policy.money.reporting_currency
        terms = 0

        def pack() -> None:
            for name, schema in types.items():
                packed[name].append(pa.Table.from_pylist(rows[name], schema=schema))
                rows[name].clear()

        for number, family in enumerate(self.families(), start=1):
            for name, make in ROWS.items():
                rows[name] += make(family, terms, reporting)
            terms += len(family.settlement.terms)
            if number % FAMILIES_A_BATCH == 0:
                pack()
        pack()
        return {name: ibis.memtable(pa.concat_tables(parts)) for name, parts in packed.items()}

    # --- tables --------------------------------------------------------------------------------

    @property
    def entries(self) -> ir.Table:
        """Outcome and amounts of each contract that came due before `as_of`, one row per term.

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
