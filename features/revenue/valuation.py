"""Amounts in cents of the reporting currency, and what a renewal changed: kept, up-sell, price, contraction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy

CHANGE_COLUMNS = ("amount_kept", "upsell", "cross_sell", "price_change", "contraction")
ROUNDING_CENTS = 100
"""Cents: a difference below one unit of the reporting currency is rounding, neither expansion nor contraction."""
EPOCH = date(1970, 1, 1)
ROWS_BEFORE: Any = (None, -1)
ROWS_TO_CURRENT: Any = (None, 0)


def day_number(when: ir.Value) -> ir.Value:
    return when.delta(EPOCH, unit="day")


def add_rate(table: ir.Table, rates: ir.Table | None, reporting_currency: str, day: str) -> ir.Table:
    """`table` with the `rate` of its `currency` on its `day`: the newest dated on or before it, else the first.

    Null for a currency that has no rate: an amount in another currency is no amount in this one.
    """
    if rates is None:
        return table.mutate(rate=(_.currency == reporting_currency).ifelse(1.0, ibis.null("float64")))
    quoted = (
        rates.select("currency", on=day_number(_.date.cast("timestamp").date()), rate=_.rate.cast("float64"))
        .group_by("currency", "on")
        .agg(rate=_.rate.max())
    )
    asked = table.select("currency", on=table[day]).distinct().mutate(dated=ibis.null("int64"), asked=ibis.literal(1))
    known = quoted.select("currency", "on", dated=_.on, asked=ibis.literal(0))
    so_far = {"group_by": "currency", "order_by": ["on", "asked"], "rows": ROWS_TO_CURRENT}
    newest = (
        asked.union(known.select(asked.columns).cast(asked.schema()))
        .mutate(newest=_.dated.max().over(**so_far), oldest=_.dated.min().over(group_by="currency"))
        .filter(_.asked == 1)
        .select("currency", asked_on=_.on, on=ibis.coalesce(_.newest, _.oldest))
        .inner_join(quoted, ["currency", "on"])
        .select("currency", "asked_on", quote=_.rate)
    )
    joined = table.left_join(newest, [table.currency == newest.currency, table[day] == newest.asked_on])
    rate = (_.currency == reporting_currency).ifelse(1.0, _.quote)
    return joined.select(*table.columns, "quote").mutate(rate=rate).drop("quote")


def left_join_columns(table: ir.Table, right: ir.Table, key: str, *columns: str) -> ir.Table:
    """`table` with `columns` of `right` where it has a row of the same key."""
    return table.left_join(right, key).select(*table.columns, *columns)


def total_seats(where: ir.Value | None = None) -> ir.Value:
    """The seats of several contracts together; null as soon as those of one are unknown."""
    known = _.seats.count(where=where) == (_.count() if where is None else where.sum())
    return known.ifelse(_.seats.sum(where=where), ibis.null("int64"))


def sum_cents(cents: ir.Value, where: ir.Value | None = None) -> ir.Value:
    """A sum of cents as an integer of 64 bits: left alone, engines widen it to a decimal."""
    return cents.sum(where=where).cast("decimal(18, 0)").cast("int64")


@dataclass(frozen=True)
class Holdings:
    """What the customer has: money, seats and plan, before or after."""

    amount: ir.Value
    seats: ir.Value
    plan: ir.Value


def decompose_change(old: Holdings, new: Holdings, years: ir.Value, policy: Policy) -> dict[str, ir.Value]:
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
    rise = clip_cents(rest, routine)
    other_plan = (old.plan != new.plan).fill_null(False)
    price = other_plan.ifelse(0, by_seats.ifelse(rest, rise))
    size = rest - price
    return {
        "upsell": positive_part(by_seat) + positive_part(size),
        "price_change": price,
        "contraction": positive_part(-by_seat) + positive_part(-size),
    }


def positive_part(value: ir.Value) -> ir.Value:
    return ibis.greatest(value, ibis.literal(0, "int64"))


def clip_cents(value: ir.Value, high: ir.Value) -> ir.Value:
    """Money between nothing and `high`; neither is ever null, for engines differ on the greatest of a null."""
    return positive_part(ibis.least(value, high))
