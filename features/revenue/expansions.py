"""What customers bought beyond what they had."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.valuation import (
    Side,
    _all_seats,
    _changes,
    _total,
)

EXPANSIONS = ("upsell", "cross_sell", "price")
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
