"""Renewal ledger: the outcome of every contract, the roll-forward of recurring revenue, and expansions (R1 to R6).

All functions take contracts that contain only what was known before `known_until` (masked by `features.point_in_time`)
and return Ibis expressions made of equality joins, filters, windows and group-bys, so that they run on every engine.

Terms used here:

term      a contract that ran: its cancellation, if any, is after its start. It is *due* at the earlier of its end and
          its cancellation, and *matures* the day after the grace has passed.
settled   known (signed, or else started) and, where payment is required, paid. An unsettled term follows nothing.
follows   is settled, of the same account and product, starts inside the grace of a due term and ends after it (R2).
due group the terms of one account and product that are due on the same day: they are renewed together.
replaces  takes the place of a due group, as seen on the day the new term starts: later knowledge cannot change it.
home      the one due group that a new term mainly replaces: the nearest due. Its money is counted once, there.
bundle    the due groups served from one home: a consolidated contract may replace groups of several due days.
set       what the customer sees as one renewal: the contracts of an account with the same nominal end.

Days are integers since 1970-01-01, money is integer cents of the reporting currency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.due_groups import (
    add_bundles,
    cross_sell_at_renewal,
    due_group_changes,
    extra_replaced_terms,
    follow_on_holdings,
    group_due_terms,
    hide_pending_outcomes,
    split_by_contract,
)
from renewals.features.revenue.expansions import (
    EVENT_COLUMNS,
    EVENT_TIME_TYPES,
    cumulative_new_terms,
    cumulative_old_terms,
    find_purchases,
    replacement_sizes,
    replacing_terms,
    upsell_events,
)
from renewals.features.revenue.roll_forward import (
    assign_current_owner,
    balances,
    build_intervals,
    movements,
    sum_by_month,
)
from renewals.features.revenue.terms import (
    FOLLOW_ON_COLUMNS,
    allocate_follow_ons,
    build_terms,
    find_consolidated_terms,
    find_successors,
    match_terms,
)
from renewals.features.revenue.valuation import (
    EPOCH,
    ROUNDING_CENTS,
    add_rate,
    left_join_columns,
    sum_cents,
)

Materialize = Callable[[ir.Table], ir.Table]
"""Function applied to a table that is used several times: the identity, or one that stores it (`Table.cache`)."""


def _return_unchanged(table: ir.Table) -> ir.Table:
    return table


def payment_required(policy: Policy, has_payment_dates: bool) -> bool:
    """True if a follow-on counts only once paid (R1); `auto` requires payment if any payment date is given."""
    return policy.renewal.payment == "required" or (policy.renewal.payment == "auto" and has_payment_dates)


@dataclass(frozen=True)
class RenewalLedger:
    """Contracts known before `known_until`, and the tables derived from them, each computed once."""

    contracts: ir.Table
    known_until: date
    policy: Policy
    has_payment_dates: bool
    rates: ir.Table | None = None
    accounts: ir.Table | None = None
    materialize: Materialize = _return_unchanged

    @property
    def requires_payment(self) -> bool:
        """True if a follow-on counts only once paid."""
        return payment_required(self.policy, self.has_payment_dates)

    @cached_property
    def terms(self) -> ir.Table:
        """Contracts that ran, one row per contract."""
        return self.materialize(build_terms(self.contracts, self.policy, self.requires_payment))

    @cached_property
    def term_matches(self) -> ir.Table:
        """Pairs of an old term and a new term that follows or replaces it, one row per (old term, new term)."""
        return self.materialize(match_terms(self.terms, self.accounts, self.policy))

    @cached_property
    def allocations(self) -> ir.Table:
        """New terms that follow or replace each due group, one row per (due group, new term)."""
        return self.materialize(allocate_follow_ons(self.term_matches, self.terms))

    @cached_property
    def consolidated_terms(self) -> ir.Table:
        """Old terms replaced by a follow-on of another due group, one row per old term."""
        return self.materialize(find_consolidated_terms(self.term_matches))

    @cached_property
    def successors(self) -> ir.Table:
        """The follow-on that continues each due group, one row per due group with a follow-on."""
        return find_successors(self.allocations)

    @cached_property
    def purchases(self) -> ir.Table:
        """Terms of existing customers that replace nothing, one row per term."""
        return self.materialize(find_purchases(self.terms, self.term_matches, self.policy))

    @cached_property
    def due_terms(self) -> ir.Table:
        """Terms with their amount at the rate of the due day, one row per contract."""
        return self.materialize(self.add_amount(self.terms, "due"))

    @cached_property
    def due_groups(self) -> ir.Table:
        """Amounts kept and changed of each due group, one row per due group."""
        groups = self.materialize(group_due_terms(self.due_terms))
        extra = self.add_amount(extra_replaced_terms(self.consolidated_terms, self.terms, groups, self.policy), "due")
        old = self.materialize(add_bundles(groups, self.allocations, extra))
        new = self.materialize(follow_on_holdings(self.add_amount(self.allocations.filter(_.claimed), "due")))
        return self.materialize(due_group_changes(old, new, self.successors, self.policy))

    @cached_property
    def entries(self) -> ir.Table:
        """Outcome and amounts of each contract that came due before `known_until`, one row per contract.

        Money is int64 cents of the reporting currency, both sides at the newest rate dated on or before the due date.
        For a renewed row `amount_kept = amount_due - contraction + min(0, price_change)`. Until `matured_at` the
        outcome is `pending` and the columns that depend on it are null, even if the follow-on is already known
        (`follow_on_id`): otherwise the decided rows would contain early renewals but no losses.
        """
        sold = self.add_amount(cross_sell_at_renewal(self.purchases, self.due_terms, self.policy), "due")
        sold = self.materialize(sold.group_by("term").agg(cross_sell=sum_cents(_.amount)))
        rows = self.materialize(split_by_contract(self.due_terms, self.due_groups))
        return self.materialize(
            hide_pending_outcomes(left_join_columns(rows, sold, "term", "cross_sell"), self.known_until)
        )

    @cached_property
    def revenue_intervals(self) -> ir.Table:
        """Days [start_day, end_day) on which a contract counts as recurring revenue, one row per contract that ever
        does.

        A contract ends on the day its follow-on starts (early or late within the grace), or at its due date if it
        churned; while pending it still counts. Where payment is required it starts once paid: from its start if paid
        within the grace, otherwise from the day of payment.
        """
        yesterday = ibis.literal((self.known_until - EPOCH).days - 1, "int64")
        newest = self.add_amount(self.terms.mutate(day=yesterday), "day")
        intervals = build_intervals(
            newest, self.term_matches, self.successors, self.known_until, self.policy, self.requires_payment
        )
        return self.materialize(assign_current_owner(intervals, self.term_matches))

    def account_roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Movements of recurring revenue by month, one row per (month, account_id) with any revenue.

        An account whose contract was continued by its parent's counts as the parent from the beginning: no loss.
        """
        return self.materialize(movements(self.materialize(balances(self.revenue_intervals, months)), self.policy))

    def roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Roll-forward of recurring revenue, in cents at one rate per currency, one row per month.

        opening + new + expansion + reactivation - contraction - churn = closing, and closing(m) = opening(m + 1).
        `expansion` is the sum of `upsell`, `cross_sell` and `price` (rises only: a discount is contraction).
        """
        return sum_by_month(self.account_roll_forward(months), months)

    def follow_ons(self) -> ir.Table:
        """Follow-on known so far of each contract, due or still running, one row per contract that has one."""
        followed = self.terms.inner_join(self.successors, "due_group")
        return followed.select("contract_id", "account_id", "product", "start_date", "end_date", *FOLLOW_ON_COLUMNS)

    @cached_property
    def expansions(self) -> ir.Table:
        """Purchases of customers beyond what they had, one row per expansion event.

        `kind` is `upsell` (a follow-on larger than what it replaces by more than its price, or a further term of a
        running product) or `cross_sell` (a product the account never had, while another runs). It happened when the
        term started and is known once that is settled. `voided_at` is set if it later turned out to be a replacement:
        the old contract was cancelled after the new one had started.
        """
        purchases = self.add_amount(self.purchases, "start")
        replacing = self.materialize(replacing_terms(self.term_matches, self.terms))
        replaced = self.add_amount(cumulative_old_terms(replacing, self.terms, self.consolidated_terms), "day")
        sizes = self.materialize(
            replacement_sizes(replacing, replaced, self.add_amount(cumulative_new_terms(replacing), "day"))
        )
        upsells = upsell_events(sizes, self.policy)
        events = (
            purchases.select(*EVENT_COLUMNS)
            .cast(EVENT_TIME_TYPES)
            .union(upsells.select(*EVENT_COLUMNS).cast(EVENT_TIME_TYPES))
        )
        return self.materialize(events.filter(_.amount >= ROUNDING_CENTS))

    def add_amount(self, table: ir.Table, day: str) -> ir.Table:
        """Add `amount`: `arr` converted to cents of the reporting currency at the rate of column `day`."""
        priced = add_rate(table, self.rates, self.policy.money.reporting_currency, day)
        return priced.mutate(amount=(_.arr * _.rate * 100).round().cast("int64")).drop("rate")
