"""Periods of presence: the boundaries at which a stretch of presence is cut into terms."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.datetime64]
Ints = NDArray[np.int64]
Period = Literal["year", "month"]


def boundary(period: Period, stretch: Days, number: Any) -> Days:
    """Start of term `number` of each stretch: its first day for 0, then each anniversary or each first of a month."""
    number = np.asarray(number, np.int64)
    if period == "year":
        return _add_months(stretch, 12 * number)
    months = stretch.astype("datetime64[M]") + number
    return np.where(number == 0, stretch, months.astype("datetime64[D]"))


def last_boundary(period: Period, stretch: Days, day: np.datetime64) -> Ints:
    """Number of the term of each stretch that contains `day`; a stretch does not begin later than that."""
    months = (day.astype("datetime64[M]") - stretch.astype("datetime64[M]")).astype(np.int64)
    if period == "month":
        return np.asarray(months)
    years = months // 12
    return np.asarray(np.where(_add_months(stretch, 12 * years) > day, years - 1, years))


def _add_months(day: Days, months: Ints) -> Days:
    """The same day of the month `months` later, or the last day of that month if it is shorter."""
    month = day.astype("datetime64[M]")
    offset = (day - month.astype("datetime64[D]")).astype(np.int64)
    target = month + months
    length = ((target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(np.int64)
    return np.asarray(target.astype("datetime64[D]") + np.minimum(offset, length - 1))
