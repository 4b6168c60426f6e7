"""Amounts in cents of the reporting currency, and the parts of a change: up-sell, price, contraction."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import ibis.expr.types as ir

CHANGE_COLUMNS = ("amount_kept", "upsell", "cross_sell", "price_change", "contraction")
ROUNDING_CENTS = 100
"""Cents: a difference below one unit of the reporting currency is rounding, neither expansion nor contraction."""
MAX_CENTS = 10**17
"""Largest amount of one contract, as in the data contract: a rate that makes it larger is wrong; sums stay exact."""
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
DAYS_PER_YEAR = 365


def day_number(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return day.toordinal() - EPOCH_ORDINAL


def day_date(number: int) -> date:
    """Date of a day number."""
    return date.fromordinal(number + EPOCH_ORDINAL)


@cache
def month_start(day: int) -> int:
    """First day of the month of a day."""
    return day_number(day_date(day).replace(day=1))


@cache
def month_end(day: int) -> int:
    """Last day of the month of a day."""
    return month_start(month_start(day) + 31) - 1


def round_half_up(value: float) -> int:
    """Nearest integer; halves are rounded away from zero."""
    return math.floor(value + 0.5) if value >= 0 else -math.floor(0.5 - value)


class Rates:
    """Exchange rates into the reporting currency, by day."""

    def __init__(self, quotes: Iterable[tuple[str, int, float]], reporting_currency: str) -> None:
        """`quotes` contains (currency, day, rate); of several quotes of one day the highest is taken."""
        by_currency: dict[str, dict[int, float]] = defaultdict(dict)
        for currency, day, rate in quotes:
            by_day = by_currency[currency]
            by_day[day] = max(rate, by_day.get(day, rate))
        self._days = {currency: sorted(by_day) for currency, by_day in by_currency.items()}
        self._rates = {c: [by_currency[c][day] for day in days] for c, days in self._days.items()}
        self._home = reporting_currency

    def rate(self, currency: str | None, day: int) -> float | None:
        """Newest rate dated on or before `day`, else the first; None for a currency without any rate."""
        if currency is None or currency == self._home:
            return 1.0
        days = self._days.get(currency)
        if days is None:
            return None
        return self._rates[currency][max(bisect_right(days, day) - 1, 0)]

    def cents(self, arr: float, currency: str | None, day: int) -> int | None:
        """Amount in cents at the rate of `day`, at most `MAX_CENTS`.

        None for an amount that is not known (NaN), and for a currency without any rate.
        """
        rate = self.rate(currency, day)
        return None if rate is None or math.isnan(arr) else round_half_up(min(arr * rate * 100, MAX_CENTS))


def read_rates(rates: ir.Table | None, reporting_currency: str) -> Rates:
    """Exchange rates of a table of the data contract."""
    if rates is None:
        return Rates((), reporting_currency)
    rows = rates.select("currency", "rate", date=rates.date.cast("timestamp").date()).to_pyarrow()
    columns = (rows[name].to_pylist() for name in ("currency", "date", "rate"))
    return Rates(((c, day_number(day), float(rate)) for c, day, rate in zip(*columns, strict=True)), reporting_currency)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a customer holds: amount in cents, seats and plan."""

    amount: int
    seats: int | None
    plan: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """Parts of a change between two holdings, in cents: old + upsell + price - contraction = new."""

    upsell: int = 0
    price: int = 0
    contraction: int = 0


def total(holdings: Sequence[Holding]) -> Holding:
    """Sum of holdings; seats are unknown as soon as those of one are, the plan is the one with the largest amount."""
    if len(holdings) == 1:
        return holdings[0]
    if not holdings:
        return Holding(0, None, None)
    seats = [holding.seats for holding in holdings]
    known = sum(s for s in seats if s is not None) if all(s is not None for s in seats) else None
    plans: dict[str | None, int] = defaultdict(int)
    for holding in holdings:
        plans[holding.plan] += holding.amount
    plan = max(plans, key=lambda name: (plans[name], name or ""))
    return Holding(sum(plans.values()), known, plan)


def decompose_change(old: Holding, new: Holding, years: float, routine_uplift: float) -> Change:
    """Split the change from `old` to `new` into up-sell, price and contraction, to the cent.

    Seats are valued at the price of the side that has more of them. The remainder is price on the same plan, and
    up-sell or contraction on another plan. If seats are missing, a rise within the routine uplift is price.
    """
    if old.seats and new.seats:
        more = new.seats - old.seats
        seat_price = new.amount / new.seats if more > 0 else old.amount / old.seats
        by_seat = round_half_up(more * seat_price)
    else:
        by_seat = 0
    rest = new.amount - old.amount - by_seat
    if old.plan is not None and new.plan is not None and old.plan != new.plan:
        price = 0
    elif old.seats and new.seats:
        price = rest
    else:
        price = clip(rest, round_half_up(old.amount * years * routine_uplift))
    size = rest - price
    return Change(max(by_seat, 0) + max(size, 0), price, max(-by_seat, 0) + max(-size, 0))


def clip(value: int, high: int) -> int:
    """`value` limited to between zero and `high`."""
    return max(min(value, high), 0)


def split_by_size(amount: int, sizes: Sequence[int]) -> list[int]:
    """Split `amount` in proportion to `sizes`, so that the parts add up to it; if all sizes are zero, to the first."""
    whole = sum(sizes)
    if not whole:
        return [amount if place == 0 else 0 for place in range(len(sizes))]
    parts, reached, given = [], 0, 0
    for size in sizes:
        reached += size
        upto = round_half_up(amount * (reached / whole))
        parts.append(upto - given)
        given = upto
    return parts


def term_years(days: int) -> float:
    """Length of a term in years; leap days do not make a year longer."""
    years = days / 365.25
    return round(years) if abs(years - round(years)) < 0.01 else years
