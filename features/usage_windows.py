"""Roll-up of usage events to person-days, and the windows of each observation computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import QUANTUM, quantize
from renewals.features.patterns import name_patterns, normalize_text
from renewals.features.point_in_time import (
    DAYS_PER_YEAR,
    MASK_BITS,
    Calendar,
    DayRange,
    arrival_day,
    day_masks,
    day_of,
    popcount,
    window_sums,
)
from renewals.features.policy import Policy

WINDOW_DAYS = (7, 28, 90, 180)
CHANGE_WINDOW_DAYS = (28, 90)
LEVELS: tuple[Literal["view", "analyse", "act"], ...] = ("view", "analyse", "act")


def level_of(name: str, policy: Policy) -> int:
    """Level of use of a product feature (U3): 1 view, 2 analyse, 3 act; 0 if no pattern matches its name."""
    reached = [
        LEVELS.index(level) + 1
        for level, patterns in policy.usage.levels.items()
        if name_patterns(patterns).match(name)
    ]
    return max(reached, default=0)


PRODUCT_FEATURE_TYPES = {
    **{"feature": "string", "block": "int32", "bit": "int64"},
    **{"is_north_star": "int64", "is_core": "int64", "level": "int64"},
}
"""Types of the product-feature table: block of the feature, its bit in the block (one mask per block), and its
classification."""


def product_features(features: Sequence[str], policy: Policy, bits: int = MASK_BITS) -> dict[str, list[Any]]:
    """Columns of `PRODUCT_FEATURE_TYPES`, one row per product feature.

    The position in `features` determines block and bit.
    """
    names = [normalize_text(feature) for feature in features]
    north_star, core = name_patterns(policy.usage.north_star), name_patterns(policy.usage.core_workflow)
    return {
        "feature": list(features),
        "block": [position // bits for position in range(len(names))],
        "bit": [1 << position % bits for position in range(len(names))],
        "is_north_star": [int(north_star.match(name)) for name in names],
        "is_core": [int(core.match(name)) for name in names],
        "level": [level_of(name, policy) for name in names],
    }


def person_days(events: ir.Table, feature_table: ir.Table) -> ir.Table:
    """Roll up usage events: one row per (account_id, user_id, day, known_day, block of features).

    `feature_table` has the columns of `PRODUCT_FEATURE_TYPES`. A quantity of 0 means no use, so such a row is dropped;
    the smallest positive quantity stays above zero after rounding. `used` has the bit of each feature used; there is
    more than one block if a company has more than 62 features.
    """
    known = events.filter(events.quantity.fill_null(1) > 0)
    known = known.mutate(
        day=day_of(known.occurred_at),
        known_day=arrival_day(known),
        count=known.quantity.isnull().ifelse(1.0, ibis.greatest(quantize(known.quantity), QUANTUM)),
        seconds=known.duration_s.isnull().ifelse(0.0, quantize(known.duration_s)),
    )
    keys = ("account_id", "user_id", "day", "known_day", "block")
    rows = known.join(feature_table, "feature").group_by(*keys)
    return rows.agg(
        used=_.bit.bit_or(),
        actions=_["count"].sum(),
        north_star=(_["count"] * _.is_north_star).sum(),
        core=(_["count"] * _.is_core).sum(),
        seconds=_.seconds.sum(),
        level=_.level.max(),
    )


MAX_LEVEL = len(LEVELS)
PERSON_COUNT_RANGES = {"days": ("28d", "90d", "180d", "365d"), "active": ("28d",)}
"""Counts of a person's days, and the day ranges of each."""
ACTIVE_RANGES = ("7d", "28d", "90d", "180d", "28d_before", "90d_before", "365d")
LEVEL_RANGES = ("28d", "90d", "90d_before")


def person_windows(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    """Use of each person by day range: one row per (account_id, user_id, as_of) with use within a year.

    `active_<range>` is 1 if there was a north-star action, and `level_<range>` is the deepest level; `days_<range>` and
    `active_days_<range>` count days. `last_day_ago` is the number of days since the last use.
    """
    levels = {f"level_{k}": _.level >= k for k in range(1, MAX_LEVEL + 1)}
    bits = day_masks(person_days, ("account_id", "user_id"), calendar, {"active": _.north_star > 0, **levels})
    ranges = dict.fromkeys((*PERSON_COUNT_RANGES["days"], *ACTIVE_RANGES, *LEVEL_RANGES))
    seen = bits.join(calendar.range_masks(ranges), ["bucket", "known_from"]).group_by("account_id", "user_id", "as_of")
    people = seen.agg(
        last_day_ago=(_.day - _.last_day).min(),
        **{f"days_{s}": days_in_range(_.any_day, s) for s in PERSON_COUNT_RANGES["days"]},
        **{f"active_days_{s}": days_in_range(_.active, s) for s in PERSON_COUNT_RANGES["active"]},
        **{f"active_{s}": ((_.active & _[f"in_{s}"]) != 0).ifelse(1, 0).max() for s in ACTIVE_RANGES},
        **{f"level_{s}": _deepest_level(s).max() for s in LEVEL_RANGES},
    )
    return people.filter(_[f"days_{DAYS_PER_YEAR}d"] > 0)


def days_in_range(mask: ir.Deferred, range_name: str) -> ir.Deferred:
    """Number of days of the masks within a range; summed as floats, which engines do faster than integers."""
    return popcount(mask & _[f"in_{range_name}"]).cast("float64").sum().cast("int64")


def _deepest_level(range_name: str) -> ir.Value:
    reached = [((_[f"level_{k}"] & _[f"in_{range_name}"]) != 0, k) for k in range(MAX_LEVEL, 0, -1)]
    return ibis.cases(*reached, else_=0)


TREND_MONTHS = 6
SEASON_RANGES = {f"month_{k}": DayRange(28 * k, 28 * (k + 1)) for k in range(TREND_MONTHS)} | {
    "last_year": DayRange(336, 364)
}
"""Six periods of four weeks, the newest first, and the same four weeks of a year ago: whole weeks, so that all contain
the same number of week-ends."""
WEEKDAY_RANGES = {f"weekday_{k}": DayRange(0, 90, k) for k in range(7)}
ACCOUNT_SUM_RANGES = {
    "actions": ("28d", "90d", "180d", "365d"),
    "north_star": ("7d", "28d", "90d", "180d", "28d_before", "90d_before", "365d"),
    "core": ("28d", "90d", "180d", "365d"),
    "seconds": ("28d", "90d", "180d", "365d"),
}
"""Measures summed for an account, and the day ranges of each."""
BREADTH_RANGES = ("28d", "90d", "180d")


def account_windows(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    """Use of each account by day range: one row per (account_id, as_of) with data.

    `active_days_<range>` counts the days with a north-star action by anybody, `features_<range>` the features used, and
    `busiest_90d` is the largest number of north-star actions of one person.
    """
    key = ("account_id", "as_of")
    calendar = Calendar(calendar.dates, WINDOW_DAYS, SEASON_RANGES | WEEKDAY_RANGES)
    blocks = window_sums(
        person_days, ("account_id", "block"), calendar, ACCOUNT_SUM_RANGES, unions={"used": BREADTH_RANGES}
    )
    sums = blocks.group_by(*key).agg(
        **{
            f"{measure}_{s}": _[f"{measure}_{s}"].sum()
            for measure, ranges in ACCOUNT_SUM_RANGES.items()
            for s in ranges
        },
        **{f"features_{s}": popcount(_[f"used_{s}"]).sum() for s in BREADTH_RANGES},
    )
    people = window_sums(person_days, ("account_id", "user_id"), calendar, {"north_star": ("90d",)}).group_by(*key)
    parts = (_active_days(person_days, calendar), people.agg(busiest_90d=_.north_star_90d.max()))
    for part in parts:
        sums = sums.left_join(part, key).drop("account_id_right", "as_of_right")
    return sums.mutate(**{c: _[c].fill_null(0) for part in parts for c in part.columns if c not in key})


def _active_days(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    names = [*(f"{w}d" for w in WINDOW_DAYS), *SEASON_RANGES, *WEEKDAY_RANGES]
    bits = day_masks(person_days.filter(_.north_star > 0), ("account_id",), calendar, {})
    seen = bits.join(calendar.range_masks(names), ["bucket", "known_from"]).group_by("account_id", "as_of")
    return seen.agg(**{f"active_days_{s}": days_in_range(_.any_day, s) for s in names})
