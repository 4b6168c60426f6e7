"""What became of every contract: the renewal ledger, recurring revenue rolled forward, expansions (domain R1 to R6).

All functions take contracts that hold only what was known before `at` (`features.point_in_time` masks them) and return
Ibis expressions made of equality joins, filters, windows and group-bys, so that they run on every engine.

Words used here:

term      a contract that ran: its cancellation, if any, came after its start. It is *due* at the earlier of its end and
          its cancellation, and *matures* the day after the grace has passed.
settled   known (signed, or else started) and, where payment is required, paid. An unsettled term follows nothing.
follows   is settled, of the same account and product, starts inside the grace of a due term and outlasts it (R2).
lot       the terms of one account and product that are due on the same day: they are renewed together.
replaces  takes the place of a lot, as seen on the day the new term starts: what is learnt later cannot change it.
home      the one lot that a new term mainly replaces: the nearest due. Its money is counted once, there.
bundle    the lots served from one home: a consolidated contract may replace lots of several due days.
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
"""What is done with a table that is used more than once: nothing, or `Table.cache` where the engine is the own one."""


def _return_unchanged(table: ir.Table) -> ir.Table:
    return table


def payment_required(policy: Policy, has_payment_dates: bool) -> bool:
    """Whether a follow-on counts only once paid (R1); `auto` asks for it where any payment date is given at all."""
    return policy.renewal.payment == "required" or (policy.renewal.payment == "auto" and has_payment_dates)


@dataclass(frozen=True)
class RenewalLedger:
    """The contracts known before `at`, and the tables that follow from them, each made once."""

    contracts: ir.Table
    known_until: date
    policy: Policy
    has_payment_dates: bool
    rates: ir.Table | None = None
    accounts: ir.Table | None = None
    materialize: Materialize = _return_unchanged

    @property
    def requires_payment(self) -> bool:
        """Whether a follow-on counts only once paid."""
        return payment_required(self.policy, self.has_payment_dates)

    @cached_property
    def terms(self) -> ir.Table:
        """The contracts that ran, one row per contract."""
        return self.materialize(build_terms(self.contracts, self.policy, self.requires_payment))

    @cached_property
    def term_matches(self) -> ir.Table:
        """What may follow what, one row per (old term, new term)."""
        return self.materialize(match_terms(self.terms, self.accounts, self.policy))

    @cached_property
    def allocations(self) -> ir.Table:
        """Whose money goes where, one row per (lot, new term)."""
        return self.materialize(allocate_follow_ons(self.term_matches, self.terms))

    @cached_property
    def consolidated_terms(self) -> ir.Table:
        """What is replaced from elsewhere, one row per old term."""
        return self.materialize(find_consolidated_terms(self.term_matches))

    @cached_property
    def successors(self) -> ir.Table:
        """The follow-on that continues each lot, one row per lot that was followed."""
        return find_successors(self.allocations)

    @cached_property
    def purchases(self) -> ir.Table:
        """What was bought without replacing anything, one row per term."""
        return self.materialize(find_purchases(self.terms, self.term_matches, self.policy))

    @cached_property
    def due_terms(self) -> ir.Table:
        """The terms with their worth on the due day, one row per contract."""
        return self.materialize(self.add_amount(self.terms, "due"))

    @cached_property
    def due_groups(self) -> ir.Table:
        """What was kept of each lot and what changed, one row per lot."""
        lots = self.materialize(group_due_terms(self.due_terms))
        extra = self.add_amount(extra_replaced_terms(self.consolidated_terms, self.terms, lots, self.policy), "due")
        old = self.materialize(add_bundles(lots, self.allocations, extra))
        new = self.materialize(follow_on_holdings(self.add_amount(self.allocations.filter(_.claimed), "due")))
        return self.materialize(due_group_changes(old, new, self.successors, self.policy))

    @cached_property
    def entries(self) -> ir.Table:
        """What became of each contract that came due before `at`, one row per contract.

        Money is int64 cents of the reporting currency, both sides at the newest rate dated on or before the due date.
        For a renewed row `amount_kept = amount_due - contraction + min(0, price_change)`. Until `matured_at` the
        outcome is `pending` and what hangs on it is null, even where the follow-on is already known (`follow_on_id`):
        what is not renewed by then would be missing, and those who renew early would be all that is seen.
        """
        sold = self.add_amount(cross_sell_at_renewal(self.purchases, self.due_terms, self.policy), "due")
        sold = self.materialize(sold.group_by("term").agg(cross_sell=sum_cents(_.amount)))
        rows = self.materialize(split_by_contract(self.due_terms, self.due_groups))
        return self.materialize(
            hide_pending_outcomes(left_join_columns(rows, sold, "term", "cross_sell"), self.known_until)
        )

    @cached_property
    def revenue_intervals(self) -> ir.Table:
        """The days on which each contract is recurring revenue, [begin, until), one row per contract that ever is.

        A contract leaves on the day its follow-on starts (early or late within the grace), or at its due date where it
        churned; while pending it is carried. Where payment is required it begins once paid: from its start if paid
        within the grace, otherwise from the day of payment.
        """
        yesterday = ibis.literal((self.known_until - EPOCH).days - 1, "int64")
        newest = self.add_amount(self.terms.mutate(day=yesterday), "day")
        intervals = build_intervals(
            newest, self.term_matches, self.successors, self.known_until, self.policy, self.requires_payment
        )
        return self.materialize(assign_current_owner(intervals, self.term_matches))

    def account_roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Recurring revenue from one month's end to the next, one row per (month, account_id) with any revenue.

        An account whose contract was continued by its parent's counts as the parent from the beginning: no loss.
        """
        return self.materialize(movements(self.materialize(balances(self.revenue_intervals, months)), self.policy))

    def roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Recurring revenue from one month's end to the next, in cents at one rate per currency, one row per month.

        opening + new + expansion + reactivation - contraction - churn = closing, and closing(m) = opening(m + 1).
        `expansion` is the sum of `upsell`, `cross_sell` and `price` (rises only: a discount is contraction).
        """
        return sum_by_month(self.account_roll_forward(months), months)

    def follow_ons(self) -> ir.Table:
        """The follow-on known so far of contracts due or still running, one row per contract that has one."""
        followed = self.terms.inner_join(self.successors, "lot")
        return followed.select("contract_id", "account_id", "product", "start_date", "end_date", *FOLLOW_ON_COLUMNS)

    @cached_property
    def expansions(self) -> ir.Table:
        """What customers bought beyond what they had, one row per expansion event.

        `kind` is `upsell` (a follow-on larger than what it replaces by more than its price, or a further lot of a
        running product) or `cross_sell` (a product the account never had, while another runs). It happened when the
        term started and is known once that is settled. `voided_at` is set where it later proved to be a replacement:
        the old contract was cancelled after the new one had started.
        """
        bought = self.add_amount(self.purchases, "start")
        heads = self.materialize(replacing_terms(self.term_matches, self.terms))
        replaced = self.add_amount(cumulative_old_terms(heads, self.terms, self.consolidated_terms), "day")
        sizes = self.materialize(
            replacement_sizes(heads, replaced, self.add_amount(cumulative_new_terms(heads), "day"))
        )
        upsold = upsell_events(sizes, self.policy)
        events = (
            bought.select(*EVENT_COLUMNS)
            .cast(EVENT_TIME_TYPES)
            .union(upsold.select(*EVENT_COLUMNS).cast(EVENT_TIME_TYPES))
        )
        return self.materialize(events.filter(_.amount >= ROUNDING_CENTS))

    def add_amount(self, table: ir.Table, day: str) -> ir.Table:
        """`table` with `amount`: its `arr` in cents of the reporting currency at the rate of `day`."""
        priced = add_rate(table, self.rates, self.policy.money.reporting_currency, day)
        return priced.mutate(amount=(_.arr * _.rate * 100).round().cast("int64")).drop("rate")
