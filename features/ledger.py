"""What became of every contract: the renewal ledger, recurring revenue rolled forward, and expansions (domain R1 to R6).

All functions take contracts that hold only what was known before `at` (`features.windows` masks them) and return Ibis
expressions made of equality joins, filters, windows and group-bys, so that they run on every engine.

Words used here:

term      a contract that ran: its cancellation, if any, came after its start. It is *due* at the earlier of its end and
          its cancellation, and *matures* the day after the grace has passed.
settled   when a term is known (signed, or else started) and, where payment is required, paid. An unsettled term follows nothing.
follows   a settled term of the same account and product that starts inside the grace of a due term and outlasts it (R2).
lot       the terms of one account and product that are due on the same day: they are renewed together.
replaces  the follow-on takes the place of the lot, as seen on the day it starts: a later cancellation cannot change it.
home      the one lot a follow-on mainly replaces: the nearest due. A follow-on's money is counted once, there.
bundle    the lots served by the follow-ons of one home: one consolidated contract may replace lots of several due days.
set       what the customer sees as one renewal: the contracts of an account with the same nominal end.

Days are integers since 1970-01-01, money is integer cents of the reporting currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import ibis
import ibis.expr.types as ir
from ibis import _

from features.policy import Policy

OUTCOMES = ("renewed_flat", "renewed_with_expansion", "renewed_with_contraction", "churned", "pending")
MOVEMENTS = ("new", "expansion", "reactivation", "contraction", "churn")

ROUNDING = 100
"""Cents: a difference below one unit of the reporting currency is rounding, neither expansion nor contraction."""

_EPOCH = date(1970, 1, 1)
_BEFORE = (None, -1)
_SO_FAR = (None, 0)


def ledger(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """What became of each contract due before `at`, one row per contract that came due.

    Money is int64 cents of the reporting currency, both sides at the newest rate dated on or before the due date.
    For a renewed row `amount_kept = amount_due - contraction + min(0, price_change)`, and what the customer pays now is
    `amount_due - contraction + price_change + upsell`. Until `matured_at` the outcome is `pending` and `renewed`,
    `amount_kept` and the changes are null, even where the follow-on is already known (`follow_on_id`).
    """
    return Book(contracts, at, policy, payments_given, rates, accounts).ledger


def renewals(ledger: ir.Table) -> ir.Table:
    """The outcome of each set of contracts, one row per (account_id, end_date).

    Renewed where any contract of the set was; null until all of them matured. A contract that was cancelled and booked
    anew to the *same* end was amended: the later contract speaks for it. Should a set be booked anew after it had
    matured, that is a second row of its own, known from its own `known_at`, so that the first never changes.
    """
    speaking = ledger.filter(~_.amended)
    return (
        speaking.group_by("account_id", "end_date", known_at=_.set_known_at)
        .agg(
            closed=_.set_closed.all(),
            any_renewed=_.renewed.max(),
            contracts=_.count(),
            amount_due=_.amount_due.sum(),
            **{name: _[name].sum() for name in _CHANGES},
            matured_at=_.set_matured_at.max(),
        )
        .mutate(renewed=_.closed.ifelse(_.any_renewed, ibis.null("int8")))
        .mutate(
            **{name: _.closed.ifelse(_[name], ibis.null("int64")) for name in _CHANGES},
            outcome=_outcome(_.closed, _.renewed == 1),
        )
        .drop("closed", "any_renewed")
    )


def roll_forward(
    contracts: ir.Table,
    months: Sequence[date],
    policy: Policy,
    at: date,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """Recurring revenue from one month's end to the next, in cents at one rate per currency, one row per month.

    opening + new + expansion + reactivation - contraction - churn = closing, and closing(m) = opening(m + 1).
    `expansion` is the sum of `upsell`, `cross_sell` and `price` (rises only: a discount is contraction).
    """
    moved = account_roll_forward(contracts, months, policy, at, payments_given, rates, accounts)
    sums = moved.group_by("month").agg(**{name: _[name].sum() for name in _MONEY})
    calendar = _calendar(months).filter(_.side == "opening").select("month")
    return calendar.left_join(sums, "month").select("month", **{name: _[name].fill_null(0) for name in _MONEY})


def account_roll_forward(
    contracts: ir.Table,
    months: Sequence[date],
    policy: Policy,
    at: date,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """Recurring revenue from one month's end to the next, one row per (month, account_id) with any revenue.

    An account whose contract was continued by its parent's counts as the parent from the beginning: a merger is no loss.
    """
    book = Book(contracts, at, policy, payments_given, rates, accounts)
    moved = _movements(_balances(book.carried, months), policy)
    return moved.group_by("month", "account_id").agg(**{name: _[name].sum() for name in _MONEY})


def carried(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """The days on which each contract is recurring revenue, [begin, until), one row per contract that ever is.

    A contract leaves on the day its follow-on starts (early or late within the grace), or at its due date where it
    churned; while pending it is carried. Where payment is required it begins once paid: from its start if paid within
    the grace, otherwise from the day of payment.
    """
    return Book(contracts, at, policy, payments_given, rates, accounts).carried


def running(
    contracts: ir.Table,
    day: date,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """Recurring revenue on `day` in cents, one row per (account_id, product)."""
    on = carried(contracts, at, policy, payments_given, rates, accounts)
    number = (day - _EPOCH).days
    return on.filter(_.begin <= number, _.until > number).group_by("account_id", "product").agg(amount=_.amount.sum())


def expansions(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """What customers bought beyond what they had, one row per expansion event.

    `kind` is `upsell` (a follow-on larger than what it replaces by more than price, or a further lot of a running
    product) or `cross_sell` (a product the account never had, while another runs). It happened when the term started
    and is known once that is settled. `voided_at` is set where it later turned out to be a replacement: the old
    contract was cancelled a little after the new one had started.
    """
    return Book(contracts, at, policy, payments_given, rates, accounts).expansions


def follow_ons(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    accounts: ir.Table | None = None,
) -> ir.Table:
    """The follow-on known so far of every contract, due or still running, one row per contract that has one."""
    book = Book(contracts, at, policy, payments_given, None, accounts)
    return book.terms.inner_join(book.successors, "lot").select(
        "contract_id", "account_id", "product", "end_date", *_FOLLOW_ON
    )


def payment_required(policy: Policy, payments_given: bool) -> bool:
    """Whether a follow-on counts only once paid (R1); `auto` asks it where any payment date is given at all."""
    return policy.renewal.payment == "required" or (policy.renewal.payment == "auto" and payments_given)


# -- the tables of the ledger -------------------------------------------------------------------------------------

_CHANGES = ("amount_kept", "upsell", "cross_sell", "price_change", "contraction")
_FOLLOW_ON = ("follow_on_id", "follow_on_start", "follow_on_known_at")
_MONEY = ("opening", "new", "expansion", "upsell", "cross_sell", "price", "reactivation", "contraction", "churn", "closing")


@dataclass(frozen=True)
class Book:
    """The contracts known before `at`, and the tables that follow from them, each built once."""

    contracts: ir.Table
    at: date
    policy: Policy
    payments_given: bool
    rates: ir.Table | None = None
    accounts: ir.Table | None = None

    @property
    def today(self) -> int:
        return (self.at - _EPOCH).days

    @cached_property
    def terms(self) -> ir.Table:
        return _terms(self.contracts, self.policy, payment_required(self.policy, self.payments_given))

    @cached_property
    def pairs(self) -> ir.Table:
        return _pairs(self.terms, self.accounts, self.policy)

    @cached_property
    def claims(self) -> ir.Table:
        return _claims(self.pairs)

    @cached_property
    def successors(self) -> ir.Table:
        return _successors(self.claims, self.terms)

    @cached_property
    def ledger(self) -> ir.Table:
        due = self._priced(self.terms, "currency", "due").mutate(amount=_cents(_.arr, _.rate)).drop("rate")
        lots = _settled_lots(_bundles(_lots(due), self.claims), self._claimed_money, self.successors, self.policy)
        rows = _allocated(due, lots).left_join(_cross_sold(self.terms, due, self.policy), "term").drop("term_right")
        return _decided(rows, self.today, self.policy)

    @cached_property
    def carried(self) -> ir.Table:
        newest = self._priced(self.terms.mutate(day=ibis.literal(self.today - 1, "int64")), "currency", "day")
        return _carried(newest, self.pairs, self.successors, self.today, self.policy, self._must_pay)

    @cached_property
    def expansions(self) -> ir.Table:
        raise NotImplementedError

    @property
    def _must_pay(self) -> bool:
        return payment_required(self.policy, self.payments_given)

    @property
    def _claimed_money(self) -> ir.Table:
        """What the follow-ons of each lot are worth at the lot's own rate, one row per lot that has any."""
        new = self.terms.select("currency", "arr", "seats", "plan", new_term=_.term)
        claimed = self.claims.filter(_.claimed).inner_join(new, "new_term")
        return _claimed_by_lot(self._priced(claimed, "currency", "due").mutate(amount=_cents(_.arr, _.rate)))

    def _priced(self, table: ir.Table, currency: str, day: str) -> ir.Table:
        return _priced(table, self.rates, self.policy.money.reporting_currency, currency, day)


def _day(when: ir.Value) -> ir.Value:
    return when.delta(_EPOCH, unit="day")


def _cents(arr: ir.Value, rate: ir.Value) -> ir.Value:
    return (arr * rate * 100).round().cast("int64")


def _terms(contracts: ir.Table, policy: Policy, must_pay: bool) -> ir.Table:
    """The contracts that ran, one row per contract."""
    after = policy.grace.after_days
    dated = contracts.select(
        "contract_id",
        "account_id",
        product=_.product.cast("string").fill_null("core"),
        plan=_.plan.cast("string"),
        arr=_.arr.cast("float64"),
        currency=_.currency.cast("string").fill_null(policy.money.reporting_currency),
        seats=_.seats.cast("int64").nullif(0),
        start_date=_.start_date.cast("timestamp").date(),
        end_date=_.end_date.cast("timestamp").date(),
        cancelled=_.cancelled_at.cast("timestamp").date(),
        known_at=ibis.coalesce(_.signed_at.cast("timestamp"), _.start_date.cast("timestamp")),
        paid_at=_.paid_at.cast("timestamp"),
    ).mutate(due_at=(_.cancelled < _.end_date).ifelse(_.cancelled, _.end_date))
    paid_too = _.paid_at.isnull().ifelse(ibis.null("timestamp"), (_.paid_at > _.known_at).ifelse(_.paid_at, _.known_at))
    numbered = (
        dated.filter(_.due_at > _.start_date)
        .mutate(
            settled_at=paid_too if must_pay else _.known_at,
            matured_at=(_.due_at + ibis.interval(days=after + 1)).cast("timestamp"),
            start=_day(_.start_date),
            end=_day(_.end_date),
            due=_day(_.due_at),
            cancel=_day(_.cancelled),
            term=ibis.row_number().over(
                order_by=["account_id", "product", "start_date", "end_date", "contract_id", "arr"]
            ),
        )
        .mutate(settled=_day(_.settled_at.date()))
    )
    return _with_sets(numbered.mutate(lot=_.term.min().over(group_by=["account_id", "product", "due"])))


def _with_sets(terms: ir.Table) -> ir.Table:
    """When the set of each contract was known and matures, one row per contract.

    A contract that becomes known only after all earlier known ones of the set matured begins a set of its own.
    """
    by_end = ["account_id", "end_date"]
    in_order = {"group_by": by_end, "order_by": ["known_at", "term"]}
    return (
        terms.mutate(earlier=_.matured_at.max().over(rows=_BEFORE, **in_order))
        .mutate(opens=(_.known_at >= _.earlier).ifelse(1, 0).fill_null(0))
        .mutate(episode=_.opens.sum().over(rows=_SO_FAR, **in_order))
        .mutate(
            set_known_at=_.known_at.min().over(group_by=[*by_end, "episode"]),
            set_matured_at=_.matured_at.max().over(group_by=[*by_end, "episode"]),
        )
        .drop("earlier", "opens")
    )


def _pairs(terms: ir.Table, accounts: ir.Table | None, policy: Policy) -> ir.Table:
    """Which term follows which, one row per (old_term, new_term)."""
    old = _heirs(terms, accounts).select(
        "owner", "product", "merged", "lot", "due", "cancel", "end", "account_id", old_term=_.term, old_start=_.start
    )
    new = terms.filter(_.settled.notnull()).select(
        "product", "settled", owner=_.account_id, new_term=_.term, new_start=_.start, new_due=_.due, new_end=_.end
    )
    # On the day the new term starts, a cancellation still to come is not known: the old term is seen to end as signed.
    seen = (_.cancel <= _.new_start).ifelse(_.due, _.end)
    nearest = [
        _.replaces.ifelse(0, 1),
        _.replaces.ifelse((_.new_start - _.seen).abs(), _.due),
        _.seen,
        _.old_term,
    ]
    return (
        old.inner_join(new, ["owner", "product"])
        .filter(_.new_start > _.old_start)
        .mutate(seen=seen)
        .mutate(
            follows=_within(_.due, policy) & (_.new_due > _.due),
            replaces=_within(_.seen, policy) & (_.new_end > _.seen),
        )
        .filter(_.follows | _.replaces)
        .mutate(own=(_.replaces & ~_.merged).any().over(group_by="new_term"))
        .filter(~_.merged | ~_.own)
        .mutate(nearest=ibis.row_number().over(group_by="new_term", order_by=nearest))
        .mutate(mainly=_.nearest == 0)
        .mutate(home=_.mainly.ifelse(_.lot, ibis.null("int64")).max().over(group_by="new_term"))
        .select("lot", "due", "account_id", "owner", "merged", "old_term", "new_term", "new_start", "follows", "home")
        .mutate()
        if False
        else old.inner_join(new, ["owner", "product"])
    )
