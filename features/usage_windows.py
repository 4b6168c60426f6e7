"""Usage events rolled up to person-days, and person-days summed into the windows of each observation."""

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
    """How deep the use of a product feature is (U3): 1 views, 2 analyses, 3 acts; 0 where no level has its name."""
    reached = [LEVELS.index(level) + 1 for level, own in policy.usage.levels.items() if name_patterns(own).match(name)]
    return max(reached, default=0)


PRODUCT_FEATURE_TYPES = {
    **{"feature": "string", "block": "int32", "bit": "int64"},
    **{"is_north_star": "int64", "is_core": "int64", "level": "int64"},
}
"""A product feature: the block it belongs to and its bit there (a block has as many as a number), and what it means."""


def product_features(features: Sequence[str], policy: Policy, bits: int = MASK_BITS) -> dict[str, list[Any]]:
    """The columns of `PRODUCT_FEATURE_TYPES`, one row per product feature; its place in the list gives its block and
    bit."""
    names = [normalize_text(feature) for feature in features]
    north_star, core = name_patterns(policy.usage.north_star), name_patterns(policy.usage.core_workflow)
    return {
        "feature": list(features),
        "block": [place // bits for place in range(len(names))],
        "bit": [1 << place % bits for place in range(len(names))],
        "is_north_star": [int(north_star.match(name)) for name in names],
        "is_core": [int(core.match(name)) for name in names],
        "level": [level_of(name, policy) for name in names],
    }


def person_days(events: ir.Table, feature_table: ir.Table) -> ir.Table:
    """The roll-up every window starts from: one row per (account, person, day, day known, block of features).

    `product_features` has the columns of `PRODUCT_FEATURE_TYPES`. A quantity of 0 says that nothing was done, so such a
    row is no use at all; the least that was done stays something. `used` has the bit of each feature used; there is
    more than one block where a company has more than 62.
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
"""What each person's days are counted of, over which stretches."""
ACTIVE_RANGES = ("7d", "28d", "90d", "180d", "28d_before", "90d_before", "365d")
LEVEL_RANGES = ("28d", "90d", "90d_before")


def person_windows(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    """On which days each person came and how deep they went: one row per (account_id, user_id, as_of).

    `active_<stretch>` tells whether there was a north-star action, and `level_<stretch>` the deepest use; `days_` and
    `active_days_` count. `last_day_ago` is the days since the last use.
    """
    levels = {f"level_{k}": _.level >= k for k in range(1, MAX_LEVEL + 1)}
    bits = day_masks(person_days, ("account_id", "user_id"), calendar, {"active": _.north_star > 0, **levels})
    asked = dict.fromkeys((*PERSON_COUNT_RANGES["days"], *ACTIVE_RANGES, *LEVEL_RANGES))
    seen = bits.join(calendar.range_masks(asked), ["bucket", "known_from"]).group_by("account_id", "user_id", "as_of")
    told = seen.agg(
        last_day_ago=(_.day - _.last_day).min(),
        **{f"days_{s}": days_in_range(_.any_day, s) for s in PERSON_COUNT_RANGES["days"]},
        **{f"active_days_{s}": days_in_range(_.active, s) for s in PERSON_COUNT_RANGES["active"]},
        **{f"active_{s}": ((_.active & _[f"in_{s}"]) != 0).ifelse(1, 0).max() for s in ACTIVE_RANGES},
        **{f"level_{s}": _deepest_level(s).max() for s in LEVEL_RANGES},
    )
    return told.filter(_[f"days_{DAYS_PER_YEAR}d"] > 0)


def days_in_range(mask: ir.Deferred, range_name: str) -> ir.Deferred:
    """The days of a mask that lie in a stretch; added up as floats, which engines do faster than with whole numbers."""
    return popcount(mask & _[f"in_{range_name}"]).cast("float64").sum().cast("int64")


def _deepest_level(range_name: str) -> ir.Value:
    reached = [((_[f"level_{k}"] & _[f"in_{range_name}"]) != 0, k) for k in range(MAX_LEVEL, 0, -1)]
    return ibis.cases(*reached, else_=0)


TREND_MONTHS = 6
SEASON_RANGES = {f"month_{k}": DayRange(28 * k, 28 * (k + 1)) for k in range(TREND_MONTHS)} | {
    "last_year": DayRange(336, 364)
}
"""Six stretches of four weeks, the newest first, and the same four weeks of a year ago: whole weeks, so that no
stretch holds more week-ends than another."""
WEEKDAY_RANGES = {f"weekday_{k}": DayRange(0, 90, k) for k in range(7)}
ACCOUNT_SUM_RANGES = {
    "actions": ("28d", "90d", "180d", "365d"),
    "north_star": ("7d", "28d", "90d", "180d", "28d_before", "90d_before", "365d"),
    "core": ("28d", "90d", "180d", "365d"),
    "seconds": ("28d", "90d", "180d", "365d"),
}
"""What is added up for an account, over which stretches."""
BREADTH_RANGES = ("28d", "90d", "180d")


def account_windows(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    """What was done at the account, on how many days, how broadly: one row per (account_id, as_of).

    `active_days_` counts the days on which anybody did a north-star action, `features_` the features used, and
    `busiest_90d` is the key actions of whoever did most.
    """
    key = ("account_id", "as_of")
    calendar = Calendar(calendar.dates, WINDOW_DAYS, SEASON_RANGES | WEEKDAY_RANGES)
    blocks = window_sums(
        person_days, ("account_id", "block"), calendar, ACCOUNT_SUM_RANGES, unions={"used": BREADTH_RANGES}
    )
    done = blocks.group_by(*key).agg(
        **{
            f"{measure}_{s}": _[f"{measure}_{s}"].sum()
            for measure, stretches in ACCOUNT_SUM_RANGES.items()
            for s in stretches
        },
        **{f"features_{s}": popcount(_[f"used_{s}"]).sum() for s in BREADTH_RANGES},
    )
    people = window_sums(person_days, ("account_id", "user_id"), calendar, {"north_star": ("90d",)}).group_by(*key)
    parts = (_active_days(person_days, calendar), people.agg(busiest_90d=_.north_star_90d.max()))
    for part in parts:
        done = done.left_join(part, key).drop("account_id_right", "as_of_right")
    return done.mutate(**{c: _[c].fill_null(0) for part in parts for c in part.columns if c not in key})


def _active_days(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    names = [*(f"{w}d" for w in WINDOW_DAYS), *SEASON_RANGES, *WEEKDAY_RANGES]
    bits = day_masks(person_days.filter(_.north_star > 0), ("account_id",), calendar, {})
    seen = bits.join(calendar.range_masks(names), ["bucket", "known_from"]).group_by("account_id", "as_of")
    return seen.agg(**{f"active_days_{s}": days_in_range(_.any_day, s) for s in names})
