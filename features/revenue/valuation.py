"""Amounts in cents of the reporting currency, and the parts of a change: kept, up-sell, price, contraction."""

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
    """Add the exchange `rate` of `currency` on day column `day`: the newest dated on or before it, else the first.

    Null for a currency without a rate: its amounts cannot be converted.
    """
    if rates is None:
        return table.mutate(rate=(_.currency == reporting_currency).ifelse(1.0, ibis.null("float64")))
    quoted = (
        rates.select("currency", on=day_number(_.date.cast("timestamp").date()), rate=_.rate.cast("float64"))
        .group_by("currency", "on")
        .agg(rate=_.rate.max())
    )
    queries = (
        table.select("currency", on=table[day]).distinct().mutate(dated=ibis.null("int64"), is_query=ibis.literal(1))
    )
    known = quoted.select("currency", "on", dated=_.on, is_query=ibis.literal(0))
    until_day = {"group_by": "currency", "order_by": ["on", "is_query"], "rows": ROWS_TO_CURRENT}
    quotes = (
        queries.union(known.select(queries.columns).cast(queries.schema()))
        .mutate(newest=_.dated.max().over(**until_day), oldest=_.dated.min().over(group_by="currency"))
        .filter(_.is_query == 1)
        .select("currency", query_day=_.on, on=ibis.coalesce(_.newest, _.oldest))
        .inner_join(quoted, ["currency", "on"])
        .select("currency", "query_day", quote=_.rate)
    )
    joined = table.left_join(quotes, [table.currency == quotes.currency, table[day] == quotes.query_day])
    rate = (_.currency == reporting_currency).ifelse(1.0, _.quote)
    return joined.select(*table.columns, "quote").mutate(rate=rate).drop("quote")


def left_join_columns(table: ir.Table, right: ir.Table, key: str, *columns: str) -> ir.Table:
    """`table` with `columns` of `right` joined on `key`; null where `right` has no such row."""
    return table.left_join(right, key).select(*table.columns, *columns)


def total_seats(where: ir.Value | None = None) -> ir.Value:
    """Sum of the seats of several contracts; null as soon as the seats of one are missing."""
    known = _.seats.count(where=where) == (_.count() if where is None else where.sum())
    return known.ifelse(_.seats.sum(where=where), ibis.null("int64"))


def sum_cents(cents: ir.Value, where: ir.Value | None = None) -> ir.Value:
    """Sum of cents as int64; without the casts, engines widen it to a decimal."""
    return cents.sum(where=where).cast("decimal(18, 0)").cast("int64")


@dataclass(frozen=True)
class Holdings:
    """Amount, seats and plan of a customer before or after a change."""

    amount: ir.Value
    seats: ir.Value
    plan: ir.Value


def decompose_change(old: Holdings, new: Holdings, years: ir.Value, policy: Policy) -> dict[str, ir.Value]:
    """Split the change from `old` to `new` into upsell, price_change and contraction, in cents.

    old + upsell + price_change - contraction = new, to the cent. Seats are valued at the price of the side that has
    more of them. The remainder is price on the same plan, and up-sell or contraction on another plan. If seats are
    missing, a rise within the routine uplift is price.
    """
    by_seats = old.seats.notnull() & new.seats.notnull()
    more = new.seats - old.seats
    seat_price = (more > 0).ifelse(new.amount / new.seats, old.amount / old.seats)
    by_seat = by_seats.ifelse((more * seat_price).round().cast("int64"), 0)
    rest = new.amount - old.amount - by_seat
    routine = (old.amount * years * policy.renewal.routine_uplift).round().cast("int64")
    rise = clip_cents(rest, routine)
    plan_changed = (old.plan != new.plan).fill_null(False)
    price = plan_changed.ifelse(0, by_seats.ifelse(rest, rise))
    size = rest - price
    return {
        "upsell": positive_part(by_seat) + positive_part(size),
        "price_change": price,
        "contraction": positive_part(-by_seat) + positive_part(-size),
    }


def positive_part(value: ir.Value) -> ir.Value:
    return ibis.greatest(value, ibis.literal(0, "int64"))


def clip_cents(value: ir.Value, high: ir.Value) -> ir.Value:
    """`value` limited to between zero and `high`; neither may be null, because engines treat nulls differently here."""
    return positive_part(ibis.least(value, high))
