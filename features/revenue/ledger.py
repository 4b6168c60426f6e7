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
    _allocated,
    _bundled,
    _cross_sold,
    _decided,
    _extra,
    _lots,
    _new_side,
    _settled_lots,
)
from renewals.features.revenue.expansions import (
    _EVENT,
    _TIMES,
    _heads,
    _purchases,
    _replaced,
    _replacing,
    _sizes,
    _upsold,
)
from renewals.features.revenue.roll_forward import _balances, _intervals, _monthly, _movements, _regrouped
from renewals.features.revenue.terms import _FOLLOW_ON, _absorbed, _claims, _pairs, _successors, _terms
from renewals.features.revenue.valuation import (
    _EPOCH,
    ROUNDING,
    _priced,
    _total,
    _with,
)

Keep = Callable[[ir.Table], ir.Table]
"""What is done with a table that is used more than once: nothing, or `Table.cache` where the engine is the own one."""


def _as_it_is(table: ir.Table) -> ir.Table:
    return table


def payment_required(policy: Policy, payments_given: bool) -> bool:
    """Whether a follow-on counts only once paid (R1); `auto` asks for it where any payment date is given at all."""
    return policy.renewal.payment == "required" or (policy.renewal.payment == "auto" and payments_given)


@dataclass(frozen=True)
class Book:
    """The contracts known before `at`, and the tables that follow from them, each made once."""

    contracts: ir.Table
    at: date
    policy: Policy
    payments_given: bool
    rates: ir.Table | None = None
    accounts: ir.Table | None = None
    keep: Keep = _as_it_is

    @property
    def must_pay(self) -> bool:
        """Whether a follow-on counts only once paid."""
        return payment_required(self.policy, self.payments_given)

    @cached_property
    def terms(self) -> ir.Table:
        """The contracts that ran, one row per contract."""
        return self.keep(_terms(self.contracts, self.policy, self.must_pay))

    @cached_property
    def pairs(self) -> ir.Table:
        """What may follow what, one row per (old term, new term)."""
        return self.keep(_pairs(self.terms, self.accounts, self.policy))

    @cached_property
    def claims(self) -> ir.Table:
        """Whose money goes where, one row per (lot, new term)."""
        return self.keep(_claims(self.pairs, self.terms))

    @cached_property
    def absorbed(self) -> ir.Table:
        """What is replaced from elsewhere, one row per old term."""
        return self.keep(_absorbed(self.pairs))

    @cached_property
    def successors(self) -> ir.Table:
        """The follow-on that continues each lot, one row per lot that was followed."""
        return _successors(self.claims)

    @cached_property
    def purchases(self) -> ir.Table:
        """What was bought without replacing anything, one row per term."""
        return self.keep(_purchases(self.terms, self.pairs, self.policy))

    @cached_property
    def due(self) -> ir.Table:
        """The terms with their worth on the due day, one row per contract."""
        return self.keep(self.valued(self.terms, "due"))

    @cached_property
    def lots(self) -> ir.Table:
        """What was kept of each lot and what changed, one row per lot."""
        lots = self.keep(_lots(self.due))
        extra = self.valued(_extra(self.absorbed, self.terms, lots, self.policy), "due")
        old = self.keep(_bundled(lots, self.claims, extra))
        new = self.keep(_new_side(self.valued(self.claims.filter(_.claimed), "due")))
        return self.keep(_settled_lots(old, new, self.successors, self.policy))

    @cached_property
    def ledger(self) -> ir.Table:
        """What became of each contract that came due before `at`, one row per contract.

        Money is int64 cents of the reporting currency, both sides at the newest rate dated on or before the due date.
        For a renewed row `amount_kept = amount_due - contraction + min(0, price_change)`. Until `matured_at` the
        outcome is `pending` and what hangs on it is null, even where the follow-on is already known (`follow_on_id`):
        what is not renewed by then would be missing, and those who renew early would be all that is seen.
        """
        sold = self.valued(_cross_sold(self.purchases, self.due, self.policy), "due")
        sold = self.keep(sold.group_by("term").agg(cross_sell=_total(_.amount)))
        rows = self.keep(_allocated(self.due, self.lots))
        return self.keep(_decided(_with(rows, sold, "term", "cross_sell"), self.at))

    @cached_property
    def carried(self) -> ir.Table:
        """The days on which each contract is recurring revenue, [begin, until), one row per contract that ever is.

        A contract leaves on the day its follow-on starts (early or late within the grace), or at its due date where it
        churned; while pending it is carried. Where payment is required it begins once paid: from its start if paid
        within the grace, otherwise from the day of payment.
        """
        yesterday = ibis.literal((self.at - _EPOCH).days - 1, "int64")
        newest = self.valued(self.terms.mutate(day=yesterday), "day")
        intervals = _intervals(newest, self.pairs, self.successors, self.at, self.policy, self.must_pay)
        return self.keep(_regrouped(intervals, self.pairs))

    def account_roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Recurring revenue from one month's end to the next, one row per (month, account_id) with any revenue.

        An account whose contract was continued by its parent's counts as the parent from the beginning: no loss.
        """
        return self.keep(_movements(self.keep(_balances(self.carried, months)), self.policy))

    def roll_forward(self, months: Sequence[date]) -> ir.Table:
        """Recurring revenue from one month's end to the next, in cents at one rate per currency, one row per month.

        opening + new + expansion + reactivation - contraction - churn = closing, and closing(m) = opening(m + 1).
        `expansion` is the sum of `upsell`, `cross_sell` and `price` (rises only: a discount is contraction).
        """
        return _monthly(self.account_roll_forward(months), months)

    def follow_ons(self) -> ir.Table:
        """The follow-on known so far of contracts due or still running, one row per contract that has one."""
        followed = self.terms.inner_join(self.successors, "lot")
        return followed.select("contract_id", "account_id", "product", "start_date", "end_date", *_FOLLOW_ON)

    @cached_property
    def expansions(self) -> ir.Table:
        """What customers bought beyond what they had, one row per expansion event.

        `kind` is `upsell` (a follow-on larger than what it replaces by more than its price, or a further lot of a
        running product) or `cross_sell` (a product the account never had, while another runs). It happened when the
        term started and is known once that is settled. `voided_at` is set where it later proved to be a replacement:
        the old contract was cancelled after the new one had started.
        """
        bought = self.valued(self.purchases, "start")
        heads = self.keep(_heads(self.pairs, self.terms))
        replaced = self.valued(_replaced(heads, self.terms, self.absorbed), "day")
        sizes = self.keep(_sizes(heads, replaced, self.valued(_replacing(heads), "day")))
        upsold = _upsold(sizes, self.policy)
        events = bought.select(*_EVENT).cast(_TIMES).union(upsold.select(*_EVENT).cast(_TIMES))
        return self.keep(events.filter(_.amount >= ROUNDING))

    def valued(self, table: ir.Table, day: str) -> ir.Table:
        """`table` with `amount`: its `arr` in cents of the reporting currency at the rate of `day`."""
        priced = _priced(table, self.rates, self.policy.money.reporting_currency, day)
        return priced.mutate(amount=(_.arr * _.rate * 100).round().cast("int64")).drop("rate")
