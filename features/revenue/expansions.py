"""Expansions: purchases of existing customers beyond what they had."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.valuation import (
    Holdings,
    decompose_change,
    sum_cents,
    total_seats,
)

EXPANSION_COLUMNS = ("upsell", "cross_sell", "price")
EVENT_COLUMNS = ("account_id", "contract_id", "product", "kind", "happened_at", "known_at", "voided_at", "amount")
EVENT_TIME_TYPES = {"happened_at": "date", "known_at": "timestamp", "voided_at": "timestamp"}


def find_purchases(terms: ir.Table, term_matches: ir.Table, policy: Policy) -> ir.Table:
    """Terms that replace nothing, bought by existing customers, one row per term.

    `kind` is `upsell` (a further term of a running product) or `cross_sell` (a new product), judged by the terms
    settled at the time when this one was. A product that comes back after the grace is neither.
    """
    replacing = term_matches.filter(_.replaces).select(term=_.new).distinct()
    replaced_late = term_matches.filter(_.mainly & ~_.replaces).select(term=_.new, voided_at=_replaced_at())
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


def replacing_terms(term_matches: ir.Table, terms: ir.Table) -> ir.Table:
    """Terms that replace something, numbered per home group in the order in which they were settled, one row per term.

    `known_at` is the time when three facts were known: the new term, the old one, and the end of the old one.
    """
    homes = term_matches.filter(_.mainly).select("home", term=_.new, replaced_at=_replaced_at())
    return (
        terms.inner_join(homes, "term")
        .mutate(
            known_at=_later_of(_.settled_at, _.replaced_at),
            moment=(_.settled > _.start).ifelse(_.settled, _.start),
            nth=ibis.row_number().over(group_by="home", order_by=["settled_at", "start", "term"]),
        )
        .drop("replaced_at")
    )


def _replaced_at() -> ir.Value:
    """Time when it became known that the new term replaces the old one; null if known on the day it started."""
    known_late = _later_of(_.due_at.cast("timestamp"), _.known_at)
    return _.replaces.ifelse(ibis.null("timestamp"), known_late)


def _later_of(left: ir.Value, right: ir.Value) -> ir.Value:
    return (right > left).ifelse(right, left)


def cumulative_old_terms(replacing_terms: ir.Table, terms: ir.Table, consolidated_terms: ir.Table) -> ir.Table:
    """Old terms that each leader and the terms settled before it replace, one row per (leader, old term).

    A leader is a replacing term; only what was known at its `moment` counts.
    """
    leaders = replacing_terms.select("home", "moment", leader=_.term, day=_.start, at=_.settled)
    old = terms.select("due_group", "term", "arr", "currency", "seats", "plan", "years", "known")
    at_home = (
        leaders.inner_join(old, leaders.home == old.due_group).filter(_.known <= _.moment).drop("due_group", "known")
    )
    elsewhere = (
        leaders.inner_join(consolidated_terms.drop("due_group"), "home")
        .filter(_.settled <= _.at, _.home_settled.isnull() | (_.home_settled > _.moment))
        .inner_join(old.rename(old="term"), "old")
        .rename(term="old")
    )
    return at_home.union(elsewhere.select(at_home.columns))


def cumulative_new_terms(replacing_terms: ir.Table) -> ir.Table:
    """Each replacing term with those settled before it at the same home, one row per (leader, new term)."""
    new = replacing_terms.select("home", "arr", "currency", "seats", "nth")
    return (
        replacing_terms.select("home", leader=_.term, day=_.start, at=_.nth)
        .inner_join(new, "home")
        .filter(_.nth <= _.at)
        .mutate(earlier=_.nth < _.at)
    )


def replacement_sizes(replacing_terms: ir.Table, old_terms: ir.Table, new_terms: ir.Table) -> ir.Table:
    """Amount, seats and plan before and after each replacing term, one row per replacing term.

    `old` is what is replaced; `now` is the replacing term with those settled before it; `then` is the latter only.
    """
    largest = ibis.row_number().over(group_by="leader", order_by=[-_.amount, _.term]) == 0
    old = (
        old_terms.mutate(main=largest)
        .group_by(term=_.leader)
        .agg(
            old=sum_cents(_.amount),
            old_seats=total_seats(),
            old_plan=_.plan.max(where=_.main),
            old_years=_.years.max(where=_.main),
        )
    )
    new = new_terms.group_by(term=_.leader).agg(
        now=sum_cents(_.amount),
        now_seats=total_seats(),
        then=sum_cents(_.amount, _.earlier).fill_null(0),
        then_seats=total_seats(_.earlier),
    )
    attributes = replacing_terms.select(
        "term", "account_id", "contract_id", "product", "plan", "start_date", "known_at"
    )
    return attributes.inner_join(old, "term").inner_join(new, "term")


def upsell_events(sizes: ir.Table, policy: Policy) -> ir.Table:
    """Up-sell of each follow-on over what it replaces, one row per follow-on.

    If several follow-ons replace the same due groups, each adds the difference to those settled before it.
    """
    t = sizes
    old = Holdings(t.old, t.old_seats, t.old_plan)
    now = decompose_change(old, Holdings(t.now, t.now_seats, t.plan), t.old_years, policy)
    then = decompose_change(old, Holdings(t.then, t.then_seats, t.plan), t.old_years, policy)
    return t.mutate(
        amount=now["upsell"] - then["upsell"],
        kind=ibis.literal("upsell"),
        happened_at=t.start_date,
        voided_at=ibis.null("timestamp"),
    )
