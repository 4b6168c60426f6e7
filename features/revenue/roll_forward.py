"""Roll-forward of recurring revenue from one month's end to the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.expansions import EXPANSION_COLUMNS
from renewals.features.revenue.valuation import (
    EPOCH,
    Holdings,
    decompose_change,
    left_join_columns,
    positive_part,
    sum_cents,
    total_seats,
)

MOVEMENT_COLUMNS = ("opening", "new", "expansion", "reactivation", "contraction", "churn", "closing")


def build_intervals(
    newest: ir.Table,
    term_matches: ir.Table,
    successors: ir.Table,
    known_until: date,
    policy: Policy,
    requires_payment: bool,
) -> ir.Table:
    """Add `start_day` and `end_day`: the days of recurring revenue of each term; one row per term with any."""
    after = policy.grace.after_days
    followers = term_matches.filter(_.follows).select(term=_.new, following=ibis.literal(True)).distinct()
    terms = left_join_columns(
        left_join_columns(newest, followers, "term", "following"),
        successors,
        "due_group",
        "continued",
        "follow_on_start",
    )
    in_time = _.following.fill_null(False) | (_.paid <= _.start + after)
    begin = in_time.ifelse(_.start, _.paid) if requires_payment else _.start
    undecided = _.follow_on_start.isnull() & (_.due + after >= (known_until - EPOCH).days)
    until = (_.continued > _.start).ifelse(_.continued, undecided.ifelse(_.due + after + 1, _.due))
    return terms.mutate(start_day=begin, end_day=until).filter(_.start_day < _.end_day)


def assign_current_owner(intervals: ir.Table, term_matches: ir.Table) -> ir.Table:
    """Assign each interval to the account that owns it now, after mergers, one row per interval.

    `account_since` and `product_since` are the first days on which the account and its product have revenue.
    """
    parents = term_matches.filter(_.merged & _.follows).group_by("account_id").agg(owner=_.owner.min())
    paying = _.amount > 0
    since = paying.ifelse(_.start_day, ibis.null("int64")).min()
    return (
        left_join_columns(intervals, parents, "account_id", "owner")
        .mutate(account_id=_.owner.coalesce(_.account_id))
        .mutate(
            account_since=since.over(group_by="account_id"),
            product_since=since.over(group_by=["account_id", "product"]),
        )
        .select(
            *("contract_id", "account_id", "product", "plan", "seats", "years", "term"),
            *("start_day", "end_day", "amount", "account_since", "product_since"),
        )
    )


def _month_edges(months: Sequence[date]) -> ir.Table:
    """Last day before each month and last day of it, one row per (month, opens)."""
    rows = [
        {"month": month, "opens": opens, "first": (month - EPOCH).days, "day": (first - EPOCH).days - 1}
        for month in months
        for opens, first in ((True, month), (False, (month.replace(day=1) + timedelta(days=32)).replace(day=1)))
    ]
    return ibis.memtable(rows, schema={"month": "date", "opens": "boolean", "first": "int64", "day": "int64"})


def balances(intervals: ir.Table, months: Sequence[date]) -> ir.Table:
    """Amounts, seats and plans at the opening and closing of each month, one row per (month, account_id, product)."""
    key = ["month", "account_id", "product"]
    opens, closes = _.opens, ~_.opens
    largest = ibis.row_number().over(group_by=[*key, "opens"], order_by=[-_.amount, _.term]) == 0
    return (
        intervals.cross_join(_month_edges(months))
        .filter(_.start_day <= _.day, _.end_day > _.day)
        .mutate(main=largest)
        .group_by(key)
        .agg(
            first=_.first.max(),
            opening=sum_cents(_.amount, opens).fill_null(0),
            closing=sum_cents(_.amount, closes).fill_null(0),
            opening_seats=total_seats(opens),
            closing_seats=total_seats(closes),
            opening_plan=_.plan.max(where=_.main & opens),
            closing_plan=_.plan.max(where=_.main & closes),
            years=_.years.max(where=_.main & opens).fill_null(0.0),
            opened=opens.any(),
            closed=closes.any(),
            account_since=_.account_since.min(),
            product_since=_.product_since.min(),
        )
    )


def movements(balances: ir.Table, policy: Policy) -> ir.Table:
    """Revenue movements of each month in cents (new, churn, upsell, ...), one row per (month, account_id)."""
    old = Holdings(balances.opening, balances.opening_seats, balances.opening_plan)
    new = Holdings(balances.closing, balances.closing_seats, balances.closing_plan)
    account_opening = _.opening.sum().over(group_by=["month", "account_id"])
    price = _.price_change
    returning = (_.starts & (_.account_since < _.first)) | (_.joins & (_.product_since < _.first))
    return (
        balances.mutate(**decompose_change(old, new, balances.years, policy))
        .mutate(starts=account_opening == 0)
        .mutate(stays=~_.starts & _.opened & _.closed, joins=~_.starts & ~_.opened)
        .mutate(
            new=(_.starts & (_.account_since >= _.first)).ifelse(_.closing, 0),
            reactivation=returning.ifelse(_.closing, 0),
            cross_sell=(_.joins & (_.product_since >= _.first)).ifelse(_.closing, 0),
            upsell=_.stays.ifelse(_.upsell, 0),
            price=_.stays.ifelse(positive_part(price), 0),
            contraction=_.stays.ifelse(_.contraction + positive_part(-price), 0),
            churn=(~_.starts & ~_.closed).ifelse(_.opening, 0),
        )
        .mutate(expansion=_.upsell + _.cross_sell + _.price)
        .group_by("month", "account_id")
        .agg(**{name: sum_cents(_[name]) for name in (*MOVEMENT_COLUMNS, *EXPANSION_COLUMNS)})
    )


def sum_by_month(movements: ir.Table, months: Sequence[date]) -> ir.Table:
    """Movements of all accounts summed by month, one row per month, also for months without revenue."""
    money = (*MOVEMENT_COLUMNS, *EXPANSION_COLUMNS)
    sums = movements.group_by("month").agg(**{name: sum_cents(_[name]) for name in money})
    calendar = _month_edges(months).filter(_.opens).select("month")
    return calendar.left_join(sums, "month").select("month", **{name: _[name].fill_null(0) for name in money})
