"""Time in the example company: day numbers, second numbers, and the time at which a row arrives.

Inside the simulation a date is an int64 count of days since 1970-01-01 and a moment an int64 count of
seconds since then, both UTC. An event that never happens has a date in the far future.
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
"""The day number that means never (in the year 9999)."""
NEVER = NEVER_DAY * DAY
"""The second number that means never."""

QUICK_HOURS = 3.0
"""Mean delay in hours of most rows (exponential distribution)."""
SLOW_SHARE, SLOW_DAYS = 0.035, 6.0
"""Share of rows that take days to weeks (an offline phone, a form typed in later); their median delay in days."""
BATCH_SHARE, BATCH_DAY = 0.008, 5
"""Share of rows that wait for a monthly batch; the day of the next month on which it runs."""
SKEW_SHARE, SKEW_SECONDS = 0.004, 240
"""Share of rows whose sender's clock is fast by up to so many seconds: they seem to arrive before they happened."""


def month_starts(first: np.datetime64, count: int) -> Ints:
    """Day numbers of `count` month starts from the month `first`."""
    return (first + np.arange(count)).astype("datetime64[D]").astype(np.int64)


def add_months(day: Ints, months: Ints) -> Ints:
    """The same day of the month `months` later, or the last day of that month if it is shorter."""
    dates = day.astype("datetime64[D]")
    month = dates.astype("datetime64[M]")
    offset = (dates - month.astype("datetime64[D]")).astype(np.int64)
    target = month + months
    last = ((target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(np.int64) - 1
    return np.asarray(target.astype("datetime64[D]").astype(np.int64) + np.minimum(offset, last))


def draw_arrival(rng: np.random.Generator, moment: Ints) -> Ints:
    """Draw the time at which each row about `moment` is recorded: mostly within hours, sometimes weeks later."""
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
    """Moment of the monthly batch that records a row of `moment`."""
    month = (moment // DAY).astype("datetime64[D]").astype("datetime64[M]") + 1
    return np.asarray((month.astype("datetime64[D]").astype(np.int64) + BATCH_DAY - 1) * DAY + 2 * HOUR)


def draw_working_time(rng: np.random.Generator, day: Ints) -> Ints:
    """Draw a moment in the working hours of each day."""
    return day * DAY + np.int64(8 * HOUR) + rng.integers(0, 10 * HOUR, day.shape)
