"""Time in the example company: day numbers, second numbers, and when a row arrives.

Inside the simulation a date is an int64 count of days since 1970-01-01 and a moment an int64 count of
seconds since then, both UTC. Something that never happens lies in the far future.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DAY = 86_400
"""Seconds in a day."""
HOUR = 3_600
"""Seconds in an hour."""
NEVER_DAY = 2_932_896
"""The day of what never happens (in the year 9999)."""
NEVER = NEVER_DAY * DAY
"""The moment of what never happens."""

QUICK_HOURS = 3.0
"""Most rows reach the warehouse within hours: mean of an exponential."""
SLOW_SHARE, SLOW_DAYS = 0.035, 6.0
"""Some take days to weeks (a phone that was offline, a form typed in later): share and median in days."""
BATCH_SHARE, BATCH_DAY = 0.008, 5
"""A few wait for a monthly batch, which runs on this day of the next month."""
SKEW_SHARE, SKEW_SECONDS = 0.004, 240
"""For a few the sender's clock runs ahead, so they seem to arrive before they happened."""


def month_starts(first: np.datetime64, count: int) -> Ints:
    """The day numbers of `count` month starts from the month `first`."""
    return (first + np.arange(count)).astype("datetime64[D]").astype(np.int64)


def add_months(day: Ints, months: Ints) -> Ints:
    """The same day of the month `months` later, or that month's last day where it is shorter."""
    dates = day.astype("datetime64[D]")
    month = dates.astype("datetime64[M]")
    offset = (dates - month.astype("datetime64[D]")).astype(np.int64)
    target = month + months
    last = ((target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(np.int64) - 1
    return np.asarray(target.astype("datetime64[D]").astype(np.int64) + np.minimum(offset, last))


def draw_arrival(rng: np.random.Generator, moment: Ints) -> Ints:
    """When a row about `moment` reached the company's systems: mostly within hours, sometimes weeks later."""
    delay = rng.exponential(QUICK_HOURS * HOUR, moment.shape)
    kind = rng.random(moment.shape)
    slow = kind < SLOW_SHARE
    delay[slow] = SLOW_DAYS * DAY * rng.lognormal(0.0, 0.8, int(slow.sum()))
    skewed = kind > 1 - SKEW_SHARE
    delay[skewed] = -rng.uniform(1, SKEW_SECONDS, int(skewed.sum()))
    batched = (kind > 1 - SKEW_SHARE - BATCH_SHARE) & ~skewed
    arrived = moment + delay.astype(np.int64)
    arrived[batched] = next_batch(moment[batched])
    return arrived


def next_batch(moment: Ints) -> Ints:
    """The moment of the monthly batch that carries a row of `moment`."""
    month = (moment // DAY).astype("datetime64[D]").astype("datetime64[M]") + 1
    return np.asarray((month.astype("datetime64[D]").astype(np.int64) + BATCH_DAY - 1) * DAY + 2 * HOUR)


def draw_working_time(rng: np.random.Generator, day: Ints) -> Ints:
    """A moment of working hours on each day."""
    return day * DAY + np.int64(8 * HOUR) + rng.integers(0, 10 * HOUR, day.shape)
