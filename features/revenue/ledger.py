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
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy

OUTCOMES = ("renewed_flat", "renewed_with_expansion", "renewed_with_contraction", "churned", "pending")
CHANGES = ("amount_kept", "upsell", "cross_sell", "price_change", "contraction")
MOVEMENTS = ("opening", "new", "expansion", "reactivation", "contraction", "churn", "closing")
EXPANSIONS = ("upsell", "cross_sell", "price")

ROUNDING = 100
"""Cents: a difference below one unit of the reporting currency is rounding, neither expansion nor contraction."""

_EPOCH = date(1970, 1, 1)
_BEFORE: Any = (None, -1)
_SO_FAR: Any = (None, 0)


Keep = Callable[[ir.Table], ir.Table]
"""What is done with a table that is used more than once: nothing, or `Table.cache` where the engine is the own one."""


def _as_it_is(table: ir.Table) -> ir.Table:
    return table


def ledger(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
    keep: Keep = _as_it_is,
) -> ir.Table:
    """What became of each contract that came due before `at`, one row per contract.

    Money is int64 cents of the reporting currency, both sides at the newest rate dated on or before the due date.
    For a renewed row `amount_kept = amount_due - contraction + min(0, price_change)`. Until `matured_at` the outcome is
    `pending` and what hangs on it is null, even where the follow-on is already known (`follow_on_id`): what is not
    renewed by then would be missing, and those who renew early would be all that is seen.
    """
    return Book(contracts, at, policy, payments_given, rates, accounts, keep).ledger


def renewals(ledger: ir.Table) -> ir.Table:
    """The outcome of each set of contracts, one row per (account_id, end_date) and, should it recur, known_at.

    Renewed where any contract of the set was; null until all of them matured. A contract that was cancelled and booked
    anew to the *same* end was amended, and the later contract speaks for it. A set that is booked anew after it had
    matured is a row of its own, with the `known_at` of its first contract, so that the first outcome never changes.
    `due_at` is the day on which the last of its contracts that came due so far ended; `amount_renewed` is what was due
    of those contracts that were bought again, at whatever price. A contract learnt of only after it had matured is in
    the ledger, but in no set.
    """
    null = ibis.null("int64")
    return (
        ledger.filter(~_.amended, _.known_at < _.matured_at)
        .group_by("account_id", "end_date", known_at=_.set_known_at)
        .agg(
            plan=_.plan.max(),
            closed=_.set_closed.all(),
            renewed=_.renewed.max(),
            contracts=_.count(),
            amount_due=_total(_.amount_due),
            amount_renewed=_total(_.amount_due, _.renewed == 1).fill_null(0),
            **{name: _total(_[name]) for name in CHANGES},
            due_at=_.due_at.max(),
            matured_at=_.set_matured_at.max(),
        )
        .mutate(**{name: _.closed.ifelse(_[name], null) for name in ("renewed", "amount_renewed", *CHANGES)})
        .mutate(renewed=_.renewed.cast("int8"), outcome=_outcome(_.closed, _.renewed == 1))
        .drop("closed")
    )


def roll_forward(
    contracts: ir.Table,
    months: Sequence[date],
    policy: Policy,
    at: date,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
    keep: Keep = _as_it_is,
) -> ir.Table:
    """Recurring revenue from one month's end to the next, in cents at one rate per currency, one row per month.

    opening + new + expansion + reactivation - contraction - churn = closing, and closing(m) = opening(m + 1).
    `expansion` is the sum of `upsell`, `cross_sell` and `price` (rises only: a discount is contraction).
    """
    return Book(contracts, at, policy, payments_given, rates, accounts, keep).roll_forward(months)


def account_roll_forward(
    contracts: ir.Table,
    months: Sequence[date],
    policy: Policy,
    at: date,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
    keep: Keep = _as_it_is,
) -> ir.Table:
    """Recurring revenue from one month's end to the next, one row per (month, account_id) with any revenue.

    An account whose contract was continued by its parent's counts as the parent from the beginning: no loss.
    """
    return Book(contracts, at, policy, payments_given, rates, accounts, keep).account_roll_forward(months)


def carried(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
    keep: Keep = _as_it_is,
) -> ir.Table:
    """The days on which each contract is recurring revenue, [begin, until), one row per contract that ever is.

    A contract leaves on the day its follow-on starts (early or late within the grace), or at its due date where it
    churned; while pending it is carried. Where payment is required it begins once paid: from its start if paid within
    the grace, otherwise from the day of payment.
    """
    return Book(contracts, at, policy, payments_given, rates, accounts, keep).carried


def expansions(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    rates: ir.Table | None = None,
    accounts: ir.Table | None = None,
    keep: Keep = _as_it_is,
) -> ir.Table:
    """What customers bought beyond what they had, one row per expansion event.

    `kind` is `upsell` (a follow-on larger than what it replaces by more than its price, or a further lot of a running
    product) or `cross_sell` (a product the account never had, while another runs). It happened when the term started
    and is known once that is settled. `voided_at` is set where it later proved to be a replacement: the old contract
    was cancelled after the new one had started.
    """
    return Book(contracts, at, policy, payments_given, rates, accounts, keep).expansions


def follow_ons(
    contracts: ir.Table,
    at: date,
    policy: Policy,
    payments_given: bool,
    accounts: ir.Table | None = None,
    keep: Keep = _as_it_is,
) -> ir.Table:
    """The follow-on known so far of contracts due or still running, one row per contract that has one."""
    return Book(contracts, at, policy, payments_given, None, accounts, keep).follow_ons()


def payment_required(policy: Policy, payments_given: bool) -> bool:
    """Whether a follow-on counts only once paid (R1); `auto` asks for it where any payment date is given at all."""
    return policy.renewal.payment == "required" or (policy.renewal.payment == "auto" and payments_given)


_FOLLOW_ON = ("follow_on_id", "follow_on_start", "follow_on_end", "follow_on_known_at")


@dataclass(frozen=True)
class Book:
    """The contracts known before `at`, and the tables that follow from them, each made once.

    The functions of this module ask one question each; who asks several keeps a book.
    """

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
        """As the function of this name, one row per contract that came due."""
        sold = self.valued(_cross_sold(self.purchases, self.due, self.policy), "due")
        sold = self.keep(sold.group_by("term").agg(cross_sell=_total(_.amount)))
        rows = self.keep(_allocated(self.due, self.lots))
        return self.keep(_decided(_with(rows, sold, "term", "cross_sell"), self.at))

    @cached_property
    def carried(self) -> ir.Table:
        """As the function of this name, one row per contract that ever is revenue."""
        yesterday = ibis.literal((self.at - _EPOCH).days - 1, "int64")
        newest = self.valued(self.terms.mutate(day=yesterday), "day")
        intervals = _intervals(newest, self.pairs, self.successors, self.at, self.policy, self.must_pay)
        return self.keep(_regrouped(intervals, self.pairs))

    def account_roll_forward(self, months: Sequence[date]) -> ir.Table:
        """As the function of this name, one row per (month, account_id)."""
        return self.keep(_movements(self.keep(_balances(self.carried, months)), self.policy))

    def roll_forward(self, months: Sequence[date]) -> ir.Table:
        """As the function of this name, one row per month."""
        return _monthly(self.account_roll_forward(months), months)

    def follow_ons(self) -> ir.Table:
        """As the function of this name, one row per contract that has one."""
        followed = self.terms.inner_join(self.successors, "lot")
        return followed.select("contract_id", "account_id", "product", "start_date", "end_date", *_FOLLOW_ON)

    @cached_property
    def expansions(self) -> ir.Table:
        """As the function of this name, one row per expansion event."""
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


# -- terms, and what follows what ---------------------------------------------------------------------------------


def _day(when: ir.Value) -> ir.Value:
    return when.delta(_EPOCH, unit="day")


def _terms(contracts: ir.Table, policy: Policy, must_pay: bool) -> ir.Table:
    """The contracts that ran, with their days, one row per contract."""
    after = policy.grace.after_days
    paid = _.paid_at.isnull().ifelse(ibis.null("timestamp"), (_.paid_at > _.known_at).ifelse(_.paid_at, _.known_at))
    terms = (
        contracts.select(
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
        )
        .mutate(due_at=(_.cancelled < _.end_date).ifelse(_.cancelled, _.end_date))
        .filter(_.due_at > _.start_date)
        .mutate(
            settled_at=paid if must_pay else _.known_at,
            matured_at=(_.due_at + ibis.interval(days=after + 1)).cast("timestamp"),
            start=_day(_.start_date),
            end=_day(_.end_date),
            due=_day(_.due_at),
            cancel=_day(_.cancelled),
            known=_day(_.known_at.date()),
            paid=_day(_.paid_at.date()),
        )
        .mutate(
            settled=_day(_.settled_at.date()),
            years=(_.end - _.start) / 365.0,
            term=ibis.row_number().over(
                order_by=["account_id", "product", "start_date", "end_date", "contract_id", "arr"]
            ),
        )
    )
    # A contract that became known only after the others of its due day had matured cannot have been renewed with them.
    together = ["account_id", "product", "due", _.known > _.due + after]
    return _with_sets(terms.mutate(lot=_.term.min().over(group_by=together)))


def _with_sets(terms: ir.Table) -> ir.Table:
    """When the set of each contract became known and matures, one row per contract.

    A contract known only after all the earlier known ones of its set matured begins a set of its own. One known only
    after it had itself matured was nobody's renewal to look at, and is kept apart.
    """
    by_end = ["account_id", "end_date", _.known_at >= _.matured_at]
    known = {"group_by": by_end, "order_by": ["known_at", "term"]}
    return (
        terms.mutate(earlier=_.matured_at.max().over(rows=_BEFORE, **known))
        .mutate(opens=(_.known_at >= _.earlier).ifelse(1, 0))
        .mutate(nth=_.opens.sum().over(rows=_SO_FAR, **known))
        .mutate(
            set_known_at=_.known_at.min().over(group_by=[*by_end, "nth"]),
            set_matured_at=_.matured_at.max().over(group_by=[*by_end, "nth"]),
        )
        .drop("earlier", "opens")
    )


def _heirs(terms: ir.Table, accounts: ir.Table | None) -> ir.Table:
    """Whose follow-on counts, one row per (term, owner): the account itself and, after a merger, its parent."""
    own = terms.select(
        *("account_id", "product", "lot", "due", "due_at", "cancel", "end", "known", "known_at"),
        old=_.term,
        old_start=_.start,
        owner=_.account_id,
        merged=ibis.literal(False),
    )
    if accounts is None:
        return own
    parents = (
        accounts.select("account_id", owner=_.parent_account_id.cast(terms.account_id.type()))
        .filter(_.owner.notnull(), _.owner != _.account_id)
        .distinct()
    )
    merged = own.drop("owner", "merged").inner_join(parents, "account_id").mutate(merged=ibis.literal(True))
    return own.union(merged.select(own.columns))


def _inside_grace(start: ir.Value, due: ir.Value, policy: Policy) -> ir.Value:
    return (start >= due - policy.grace.before_days) & (start <= due + policy.grace.after_days)


def _pairs(terms: ir.Table, accounts: ir.Table | None, policy: Policy) -> ir.Table:
    """What may follow what, one row per (old term, new term): does it follow, does it replace, and where is its home.

    A parent's term counts for a merged account only where it replaces none of the parent's own.
    """
    after = policy.grace.after_days
    old = _heirs(terms, accounts)
    new = terms.filter(_.settled.notnull()).select(
        "product", "settled", owner=_.account_id, new=_.term, new_start=_.start, new_due=_.due, new_end=_.end
    )
    in_time = _.settled <= _.due + after
    nearest = [
        _.replaces.ifelse(0, 1),
        _.replaces.ifelse((_.new_start - _.seen).abs(), ibis.greatest(_.due, _.known)),
        _.seen,
        _.old,
    ]
    return (
        old.inner_join(new, ["owner", "product"])
        .filter(_.new_start > _.old_start)
        .mutate(seen=(_.cancel <= _.new_start).ifelse(_.due, _.end))
        .mutate(
            follows=in_time & _inside_grace(_.new_start, _.due, policy) & (_.new_due > _.due),
            replaces=in_time
            & _inside_grace(_.new_start, _.seen, policy)
            & (_.new_end > _.seen)
            & (_.known <= _.new_start),
        )
        .filter(_.follows | _.replaces)
        .mutate(own=(_.replaces & ~_.merged).any().over(group_by="new"))
        .filter(~_.merged | ~_.own)
        .mutate(mainly=ibis.row_number().over(group_by="new", order_by=nearest) == 0)
        .mutate(home=_.mainly.ifelse(_.lot, ibis.null("int64")).max().over(group_by="new"))
    )


def _claims(pairs: ir.Table, terms: ir.Table) -> ir.Table:
    """The new terms that touch each lot, one row per (lot, new term); `claimed` where its money goes to the lot.

    A lot that is home to a new term is served by all that are at home there; any other lot joins the bundle of the term
    that was first settled to replace it.
    """
    worth = terms.select(
        *("arr", "currency", "seats", "plan", "contract_id", "start_date", "end_date", "known_at", "settled", "start"),
        new=_.term,
    )
    first = [_.replaces.ifelse(0, 1), (_.home == _.lot).ifelse(0, 1), _.settled, _.start, _.new]
    return (
        pairs.mutate(replaces=_.replaces | _.mainly)
        .group_by("lot", "new")
        .agg(follows=_.follows.any(), replaces=_.replaces.any(), home=_.home.max(), due=_.due.max())
        .inner_join(worth, "new")
        .mutate(nth=ibis.row_number().over(group_by="lot", order_by=first))
        .mutate(bundle=((_.nth == 0) & _.replaces).ifelse(_.home, ibis.null("int64")).max().over(group_by="lot"))
        .mutate(claimed=(_.follows & _.replaces & (_.home == _.bundle)).fill_null(False))
        .mutate(
            nth=ibis.row_number().over(
                group_by=["lot", "follows"],
                order_by=[_.claimed.ifelse(0, 1), _.claimed.ifelse(-_.arr, 0.0), _.start, _.new],
            )
        )
    )


def _absorbed(pairs: ir.Table) -> ir.Table:
    """Terms replaced by a follow-on that is at home elsewhere, one row per old term: where, and since when.

    `own_settled` tells when the lot got a follow-on of its own after all: until then it counts where it was absorbed.
    """
    replaced = pairs.filter(_.replaces | _.mainly)
    own = replaced.filter(_.home == _.lot).group_by("lot").agg(own_settled=_.settled.min())
    first = ibis.row_number().over(group_by="old", order_by=["settled", "new_start", "new"])
    elsewhere = replaced.filter(_.home != _.lot).mutate(nth=first).filter(_.nth == 0)
    return _with(elsewhere.select("old", "lot", "home", "settled"), own, "lot", "own_settled")


def _successors(claims: ir.Table) -> ir.Table:
    """The follow-on that continues each lot, one row per lot that was followed: the largest that is at home there."""
    return claims.filter(_.follows, _.nth == 0).select(
        "lot",
        continued=_.claimed.ifelse(_.start, ibis.null("int64")),
        follow_on_id=_.contract_id,
        follow_on_start=_.start_date,
        follow_on_end=_.end_date,
        follow_on_known_at=_.known_at,
    )


# -- money --------------------------------------------------------------------------------------------------------


def _priced(table: ir.Table, rates: ir.Table | None, reporting: str, day: str) -> ir.Table:
    """`table` with the `rate` of its `currency` on its `day`: the newest dated on or before it, else the first.

    Null for a currency that has no rate: an amount in another currency is no amount in this one.
    """
    if rates is None:
        return table.mutate(rate=(_.currency == reporting).ifelse(1.0, ibis.null("float64")))
    quoted = (
        rates.select("currency", on=_day(_.date.cast("timestamp").date()), rate=_.rate.cast("float64"))
        .group_by("currency", "on")
        .agg(rate=_.rate.max())
    )
    asked = table.select("currency", on=table[day]).distinct().mutate(dated=ibis.null("int64"), asked=ibis.literal(1))
    known = quoted.select("currency", "on", dated=_.on, asked=ibis.literal(0))
    so_far = {"group_by": "currency", "order_by": ["on", "asked"], "rows": _SO_FAR}
    newest = (
        asked.union(known.select(asked.columns).cast(asked.schema()))
        .mutate(newest=_.dated.max().over(**so_far), oldest=_.dated.min().over(group_by="currency"))
        .filter(_.asked == 1)
        .select("currency", asked_on=_.on, on=ibis.coalesce(_.newest, _.oldest))
        .inner_join(quoted, ["currency", "on"])
        .select("currency", "asked_on", quote=_.rate)
    )
    joined = table.left_join(newest, [table.currency == newest.currency, table[day] == newest.asked_on])
    rate = (_.currency == reporting).ifelse(1.0, _.quote)
    return joined.select(*table.columns, "quote").mutate(rate=rate).drop("quote")


def _with(table: ir.Table, other: ir.Table, key: str, *columns: str) -> ir.Table:
    """`table` with `columns` of `other` where it has a row of the same key."""
    return table.left_join(other, key).select(*table.columns, *columns)


def _all_seats(where: ir.Value | None = None) -> ir.Value:
    """The seats of several contracts together; null as soon as those of one are unknown."""
    known = _.seats.count(where=where) == (_.count() if where is None else where.sum())
    return known.ifelse(_.seats.sum(where=where), ibis.null("int64"))


def _total(cents: ir.Value, where: ir.Value | None = None) -> ir.Value:
    """A sum of cents as an integer of 64 bits: left alone, engines widen it to a decimal."""
    return cents.sum(where=where).cast("decimal(18, 0)").cast("int64")


@dataclass(frozen=True)
class Side:
    """What the customer has: money, seats and plan, before or after."""

    amount: ir.Value
    seats: ir.Value
    plan: ir.Value


def _changes(old: Side, new: Side, years: ir.Value, policy: Policy) -> dict[str, ir.Value]:
    """What became dearer, larger and smaller: old + upsell + price_change - contraction = new, to the cent.

    Seats are counted at the price of the side that has more of them. What is left is price on the same plan, and
    up-sell or contraction on another. Where seats are not known, a rise within the routine uplift is price.
    """
    by_seats = old.seats.notnull() & new.seats.notnull()
    more = new.seats - old.seats
    seat_price = (more > 0).ifelse(new.amount / new.seats, old.amount / old.seats)
    by_seat = by_seats.ifelse((more * seat_price).round().cast("int64"), 0)
    rest = new.amount - old.amount - by_seat
    routine = (old.amount * years * policy.renewal.routine_uplift).round().cast("int64")
    rise = _clipped(rest, routine)
    other_plan = (old.plan != new.plan).fill_null(False)
    price = other_plan.ifelse(0, by_seats.ifelse(rest, rise))
    size = rest - price
    return {
        "upsell": _positive(by_seat) + _positive(size),
        "price_change": price,
        "contraction": _positive(-by_seat) + _positive(-size),
    }


def _positive(value: ir.Value) -> ir.Value:
    return ibis.greatest(value, ibis.literal(0, "int64"))


def _clipped(value: ir.Value, high: ir.Value) -> ir.Value:
    """Money between nothing and `high`; neither is ever null, for engines differ on the greatest of a null."""
    return _positive(ibis.least(value, high))


# -- the ledger ---------------------------------------------------------------------------------------------------


def _lots(due: ir.Table) -> ir.Table:
    """What each lot was worth, one row per lot."""
    largest = ibis.row_number().over(group_by="lot", order_by=[-_.amount, _.term]) == 0
    return (
        due.mutate(main=largest)
        .group_by("lot")
        .agg(
            due=_.due.max(),
            amount=_total(_.amount),
            seats=_all_seats(),
            plan=_.plan.max(where=_.main),
            years=_.years.max(where=_.main),
        )
    )


def _new_side(claimed: ir.Table) -> ir.Table:
    """What the follow-ons of each lot are worth, at the lot's own rate, one row per lot that has any."""
    return claimed.group_by("lot").agg(
        new_amount=_total(_.amount), new_seats=_all_seats(), new_plan=_.plan.max(where=_.nth == 0)
    )


def _extra(absorbed: ir.Table, terms: ir.Table, lots: ir.Table, policy: Policy) -> ir.Table:
    """What else the follow-ons of a lot replace, as seen when the lot matures, one row per (lot, old term)."""
    homes = lots.select("due", home=_.lot)
    worth = terms.select("arr", "currency", "seats", old=_.term)
    return (
        absorbed.inner_join(homes, "home")
        .filter(_.own_settled.isnull() | (_.own_settled > _.due + policy.grace.after_days))
        .inner_join(worth, "old")
        .select("due", "arr", "currency", "seats", lot=_.home)
    )


def _bundled(lots: ir.Table, claims: ir.Table, extra: ir.Table) -> ir.Table:
    """Each lot with what is replaced together with it, one row per lot."""
    bundles = claims.filter(_.bundle.notnull()).group_by("lot").agg(bundle=_.bundle.max())
    served = {"group_by": "bundle", "order_by": ["due", "lot"]}
    extra = extra.group_by("lot").agg(extra=_total(_.amount), extra_seats=_all_seats())
    alone = _.extra.isnull() & (_.before == 0) & (_.bundle == _.lot)
    return (
        _with(_with(lots, bundles, "lot", "bundle"), extra, "lot", "extra", "extra_seats")
        .mutate(bundle=_.bundle.coalesce(_.lot))
        .mutate(before=_.amount.sum().over(rows=_BEFORE, **served).fill_null(0))
        .mutate(
            alone=alone,
            bundle_amount=_.amount + _.extra.fill_null(0),
            bundle_seats=_.extra.isnull().ifelse(_.seats, _.seats + _.extra_seats),
        )
    )


def _settled_lots(lots: ir.Table, new: ir.Table, successors: ir.Table, policy: Policy) -> ir.Table:
    """What was kept and what changed, one row per lot.

    Where several lots share follow-ons, these are used up in the order of the due days; what is left is the gain of the
    home lot.
    """
    joined = _with(_with(lots, new, "lot", "new_amount", "new_seats", "new_plan"), successors, "lot", *_FOLLOW_ON)
    t = joined.mutate(new_amount=_.new_amount.fill_null(0), renewed=_.follow_on_start.notnull())
    old_side = Side(t.bundle_amount, t.bundle_seats, t.plan)
    t = t.mutate(**_changes(old_side, Side(t.new_amount, t.new_seats, t.new_plan), t.years, policy))
    alone = _.alone & _.renewed
    kept_alone = _positive(_.amount - _.contraction - _positive(-_.price_change))
    kept_shared = _clipped(_.new_amount - _.before, _.amount)
    gain = (_.bundle == _.lot).ifelse(_positive(_.new_amount - _.bundle_amount), 0)
    return (
        t.mutate(kept=_.renewed.ifelse(alone.ifelse(kept_alone, kept_shared), 0), gain=gain)
        .mutate(price_change=alone.ifelse(_.price_change, _clipped(_.price_change, _.gain)))
        .mutate(upsell=alone.ifelse(_.upsell, _.gain - _.price_change))
        .mutate(contraction=alone.ifelse(_.contraction, _.amount - _.kept))
        .select("lot", "kept", "upsell", "price_change", "contraction", "renewed", *_FOLLOW_ON, lot_amount=_.amount)
    )


def _allocated(due: ir.Table, lots: ir.Table) -> ir.Table:
    """The lot's money shared out to its contracts by size, to the cent, one row per contract."""
    by_size = {"group_by": "lot", "order_by": [-_.amount, _.term]}
    empty = _.lot_amount == 0
    lost = _.amount - _.amount_kept

    def share(total: ir.Value) -> ir.Value:
        """Rounded sums up to here and up to the contract before, so that the shares add up to the total."""
        return ((total * _.upper).round() - (total * _.lower).round()).cast("int64")

    return (
        due.inner_join(lots, "lot")
        .mutate(reached=_.amount.sum().over(rows=_SO_FAR, **by_size), nth=ibis.row_number().over(**by_size))
        .mutate(
            upper=empty.ifelse(1.0, _.reached / _.lot_amount.nullif(0)),
            lower=empty.ifelse((_.nth == 0).ifelse(0.0, 1.0), (_.reached - _.amount) / _.lot_amount.nullif(0)),
        )
        .mutate(amount_kept=share(_.kept), upsell=share(_.upsell))
        .mutate(shrunk=(_.price_change < 0).ifelse(_clipped(share(_.contraction), lost), lost))
        .mutate(price_change=(_.price_change < 0).ifelse(_.shrunk - lost, share(_.price_change)))
        .mutate(contraction=_.shrunk)
    )


def _cross_sold(purchases: ir.Table, due: ir.Table, policy: Policy) -> ir.Table:
    """New products bought at a renewal, one row per new term: the `term` is the main one of the nearest set due."""
    new = purchases.filter(_.kind == "cross_sell").select(
        "account_id", "arr", "currency", "settled", new=_.term, new_start=_.start, new_product=_.product
    )
    old = due.select("account_id", "term", "product", "start", "due", "cancel", "end", "known", "amount")
    nearest = [(_.new_start - _.seen).abs(), _.seen, -_.amount, _.term]
    return (
        new.inner_join(old, "account_id")
        .filter(_.product != _.new_product, _.start < _.new_start, _.known <= _.new_start)
        .mutate(seen=(_.cancel <= _.new_start).ifelse(_.due, _.end))
        .filter(_inside_grace(_.new_start, _.seen, policy))
        .mutate(nth=ibis.row_number().over(group_by="new", order_by=nearest))
        .filter(_.nth == 0, _.settled <= _.due + policy.grace.after_days)
        .select("term", "arr", "currency", "due")
    )


def _outcome(decided: ir.Value, renewed: ir.Value) -> ir.Value:
    """One of `OUTCOMES`, from what was gained and lost: price alone, unless it fell, leaves a renewal flat."""
    balance = _.upsell + _.cross_sell - (_.amount_due - _.amount_kept)
    return ibis.cases(
        (~decided, "pending"),
        (~renewed, "churned"),
        (balance >= ROUNDING, "renewed_with_expansion"),
        (balance <= -ROUNDING, "renewed_with_contraction"),
        else_="renewed_flat",
    )


def _decided(rows: ir.Table, at: date) -> ir.Table:
    """The ledger's columns, hidden where the outcome has not matured, one row per contract that came due."""
    now = ibis.literal(at, "date").cast("timestamp")
    zero, unknown = ibis.literal(0, "int64"), ibis.null("int64")
    return (
        rows.filter(_.due_at < at)
        .mutate(decided=_.matured_at <= now, set_closed=_.set_matured_at <= now, amount_due=_.amount)
        .mutate(**{name: _.renewed.ifelse(_[name].fill_null(0), zero) for name in CHANGES})
        .mutate(outcome=_outcome(_.decided, _.renewed), amended=(_.follow_on_end == _.end_date).fill_null(False))
        .mutate(renewed=_.decided.ifelse(_.renewed.cast("int8"), ibis.null("int8")))
        .mutate(**{name: _.decided.ifelse(_[name], unknown) for name in CHANGES})
        .select(
            *("contract_id", "account_id", "product", "plan", "start_date", "end_date", "due_at", "currency"),
            *("outcome", "renewed", *_FOLLOW_ON, "amount_due", *CHANGES),
            *("known_at", "matured_at", "amended", "set_known_at", "set_matured_at", "set_closed"),
        )
    )


# -- recurring revenue --------------------------------------------------------------------------------------------


def _intervals(
    newest: ir.Table, pairs: ir.Table, successors: ir.Table, at: date, policy: Policy, must_pay: bool
) -> ir.Table:
    """The days on which each term is recurring revenue, one row per term that ever is."""
    after = policy.grace.after_days
    followers = pairs.filter(_.follows).select(term=_.new, following=ibis.literal(True)).distinct()
    terms = _with(_with(newest, followers, "term", "following"), successors, "lot", "continued", "follow_on_start")
    in_time = _.following.fill_null(False) | (_.paid <= _.start + after)
    begin = in_time.ifelse(_.start, _.paid) if must_pay else _.start
    undecided = _.follow_on_start.isnull() & (_.due + after >= (at - _EPOCH).days)
    until = (_.continued > _.start).ifelse(_.continued, undecided.ifelse(_.due + after + 1, _.due))
    return terms.mutate(begin=begin, until=until).filter(_.begin < _.until)


def _regrouped(intervals: ir.Table, pairs: ir.Table) -> ir.Table:
    """The intervals under the account that holds them now, and since when it and its product have revenue."""
    parents = pairs.filter(_.merged & _.follows).group_by("account_id").agg(owner=_.owner.min())
    paying = _.amount > 0
    since = paying.ifelse(_.begin, ibis.null("int64")).min()
    return (
        _with(intervals, parents, "account_id", "owner")
        .mutate(account_id=_.owner.coalesce(_.account_id))
        .mutate(
            account_since=since.over(group_by="account_id"),
            product_since=since.over(group_by=["account_id", "product"]),
        )
        .select(
            *("contract_id", "account_id", "product", "plan", "seats", "years", "term"),
            *("begin", "until", "amount", "account_since", "product_since"),
        )
    )


def _calendar(months: Sequence[date]) -> ir.Table:
    """The last day before and the last day of each month, one row per (month, opens)."""
    rows = [
        {"month": month, "opens": opens, "first": (month - _EPOCH).days, "day": (first - _EPOCH).days - 1}
        for month in months
        for opens, first in ((True, month), (False, (month.replace(day=1) + timedelta(days=32)).replace(day=1)))
    ]
    return ibis.memtable(rows, schema={"month": "date", "opens": "boolean", "first": "int64", "day": "int64"})


def _balances(carried: ir.Table, months: Sequence[date]) -> ir.Table:
    """What ran at the opening and at the closing of the month, one row per (month, account_id, product)."""
    key = ["month", "account_id", "product"]
    opens, closes = _.opens, ~_.opens
    largest = ibis.row_number().over(group_by=[*key, "opens"], order_by=[-_.amount, _.term]) == 0
    return (
        carried.cross_join(_calendar(months))
        .filter(_.begin <= _.day, _.until > _.day)
        .mutate(main=largest)
        .group_by(key)
        .agg(
            first=_.first.max(),
            opening=_total(_.amount, opens).fill_null(0),
            closing=_total(_.amount, closes).fill_null(0),
            opening_seats=_all_seats(opens),
            closing_seats=_all_seats(closes),
            opening_plan=_.plan.max(where=_.main & opens),
            closing_plan=_.plan.max(where=_.main & closes),
            years=_.years.max(where=_.main & opens).fill_null(0.0),
            opened=opens.any(),
            closed=closes.any(),
            account_since=_.account_since.min(),
            product_since=_.product_since.min(),
        )
    )


def _movements(balances: ir.Table, policy: Policy) -> ir.Table:
    """What moved in the month, one row per (month, account_id)."""
    old = Side(balances.opening, balances.opening_seats, balances.opening_plan)
    new = Side(balances.closing, balances.closing_seats, balances.closing_plan)
    whole = _.opening.sum().over(group_by=["month", "account_id"])
    price = _.price_change
    back = (_.starts & (_.account_since < _.first)) | (_.joins & (_.product_since < _.first))
    return (
        balances.mutate(**_changes(old, new, balances.years, policy))
        .mutate(starts=whole == 0)
        .mutate(stays=~_.starts & _.opened & _.closed, joins=~_.starts & ~_.opened)
        .mutate(
            new=(_.starts & (_.account_since >= _.first)).ifelse(_.closing, 0),
            reactivation=back.ifelse(_.closing, 0),
            cross_sell=(_.joins & (_.product_since >= _.first)).ifelse(_.closing, 0),
            upsell=_.stays.ifelse(_.upsell, 0),
            price=_.stays.ifelse(_positive(price), 0),
            contraction=_.stays.ifelse(_.contraction + _positive(-price), 0),
            churn=(~_.starts & ~_.closed).ifelse(_.opening, 0),
        )
        .mutate(expansion=_.upsell + _.cross_sell + _.price)
        .group_by("month", "account_id")
        .agg(**{name: _total(_[name]) for name in (*MOVEMENTS, *EXPANSIONS)})
    )


def _monthly(moved: ir.Table, months: Sequence[date]) -> ir.Table:
    """The accounts' movements together, one row per month, also where nothing ran."""
    money = (*MOVEMENTS, *EXPANSIONS)
    sums = moved.group_by("month").agg(**{name: _total(_[name]) for name in money})
    calendar = _calendar(months).filter(_.opens).select("month")
    return calendar.left_join(sums, "month").select("month", **{name: _[name].fill_null(0) for name in money})


# -- expansions ---------------------------------------------------------------------------------------------------

_EVENT = ("account_id", "contract_id", "product", "kind", "happened_at", "known_at", "voided_at", "amount")
_TIMES = {"happened_at": "date", "known_at": "timestamp", "voided_at": "timestamp"}


def _purchases(terms: ir.Table, pairs: ir.Table, policy: Policy) -> ir.Table:
    """Terms that replaced nothing, of customers who had something, one row per term: a further lot or a new product.

    Judged by what was settled when the term was. A product that comes back after the grace is neither.
    """
    replacing = pairs.filter(_.replaces).select(term=_.new).distinct()
    replaced_late = pairs.filter(_.mainly & ~_.replaces).select(term=_.new, voided_at=_replaced_at())
    had = terms.select(
        "account_id", "cancel", "due", "end", had_product=_.product, had_at=_.settled_at, had_from=_.start
    )
    same = _.had_product == _.product
    return (
        terms.filter(_.settled.notnull())
        .anti_join(replacing, "term")
        .inner_join(had.rename(had_cancel="cancel", had_due="due", had_end="end"), "account_id")
        .filter(_.had_at <= _.settled_at, _.had_from < _.start)
        .mutate(seen=(_.had_cancel <= _.start).ifelse(_.had_due, _.had_end))
        .group_by("term")
        .agg(
            had=same.any(),
            runs=(same & (_.seen > _.start)).any(),
            customer=(_.seen + policy.grace.after_days >= _.start).any(),
        )
        .mutate(kind=ibis.cases((_.runs, "upsell"), (_.customer & ~_.had, "cross_sell")))
        .filter(_.kind.notnull())
        .select("term", "kind")
        .inner_join(terms, "term")
        .left_join(replaced_late, "term")
        .drop("term_right")
        .mutate(happened_at=_.start_date, known_at=_.settled_at)
    )


def _heads(pairs: ir.Table, terms: ir.Table) -> ir.Table:
    """The terms that replace something, in the order in which they were settled, one row per term.

    `known_at` is when all of it was known: the new term, the old one, and that the old one ends.
    """
    homes = pairs.filter(_.mainly).select("home", term=_.new, replaced_at=_replaced_at())
    return (
        terms.inner_join(homes, "term")
        .mutate(
            known_at=_later(_.settled_at, _.replaced_at),
            moment=(_.settled > _.start).ifelse(_.settled, _.start),
            nth=ibis.row_number().over(group_by="home", order_by=["settled_at", "start", "term"]),
        )
        .drop("replaced_at")
    )


def _replaced_at() -> ir.Value:
    """When it was known of a pair that the new term replaces the old one; null where the day it started told."""
    told_late = _later(_.due_at.cast("timestamp"), _.known_at)
    return _.replaces.ifelse(ibis.null("timestamp"), told_late)


def _later(one: ir.Value, other: ir.Value) -> ir.Value:
    return (other > one).ifelse(other, one)


def _replaced(heads: ir.Table, terms: ir.Table, absorbed: ir.Table) -> ir.Table:
    """What each head and those settled before it replace, as seen then, one row per (leader, old term)."""
    leaders = heads.select("home", "moment", leader=_.term, day=_.start, at=_.settled)
    old = terms.select("lot", "term", "arr", "currency", "seats", "plan", "years", "known")
    at_home = leaders.inner_join(old, leaders.home == old.lot).filter(_.known <= _.moment).drop("lot", "known")
    elsewhere = (
        leaders.inner_join(absorbed.drop("lot"), "home")
        .filter(_.settled <= _.at, _.own_settled.isnull() | (_.own_settled > _.moment))
        .inner_join(old.rename(old="term"), "old")
        .rename(term="old")
    )
    return at_home.union(elsewhere.select(at_home.columns))


def _replacing(heads: ir.Table) -> ir.Table:
    """Each head and those settled before it, one row per (leader, new term)."""
    new = heads.select("home", "arr", "currency", "seats", "nth")
    return (
        heads.select("home", leader=_.term, day=_.start, at=_.nth)
        .inner_join(new, "home")
        .filter(_.nth <= _.at)
        .mutate(earlier=_.nth < _.at)
    )


def _sizes(heads: ir.Table, replaced: ir.Table, replacing: ir.Table) -> ir.Table:
    """What each head replaces, and what it and those settled before it bring, one row per head."""
    largest = ibis.row_number().over(group_by="leader", order_by=[-_.amount, _.term]) == 0
    old = (
        replaced.mutate(main=largest)
        .group_by(term=_.leader)
        .agg(
            old=_total(_.amount),
            old_seats=_all_seats(),
            old_plan=_.plan.max(where=_.main),
            old_years=_.years.max(where=_.main),
        )
    )
    new = replacing.group_by(term=_.leader).agg(
        now=_total(_.amount),
        now_seats=_all_seats(),
        then=_total(_.amount, _.earlier).fill_null(0),
        then_seats=_all_seats(_.earlier),
    )
    head = heads.select("term", "account_id", "contract_id", "product", "plan", "start_date", "known_at")
    return head.inner_join(old, "term").inner_join(new, "term")


def _upsold(sizes: ir.Table, policy: Policy) -> ir.Table:
    """By how much each follow-on is larger than what it replaces, one row per follow-on.

    Of several follow-ons of the same lots each adds what it brings beyond those settled before it.
    """
    t = sizes
    old = Side(t.old, t.old_seats, t.old_plan)
    now = _changes(old, Side(t.now, t.now_seats, t.plan), t.old_years, policy)
    then = _changes(old, Side(t.then, t.then_seats, t.plan), t.old_years, policy)
    return t.mutate(
        amount=now["upsell"] - then["upsell"],
        kind=ibis.literal("upsell"),
        happened_at=t.start_date,
        voided_at=ibis.null("timestamp"),
    )
