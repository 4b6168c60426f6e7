"""Use of the product: the events in which value and adoption are visible.

The frequency of visits of deciders and heads of department follows their opinion of the product (value); that of
staff follows adoption, whatever the deciders think. The actions in a visit (the levels of U3) depend mostly on
adoption and a little on value.
"""

from __future__ import annotations

import numpy as np

from renewals.examples.company.clock import DAY, HOUR, Flags, Floats, Ints, draw_arrival
from renewals.examples.company.journey import ColumnArrays
from renewals.examples.company.people import B, People
from renewals.examples.company.presence import Presence
from renewals.examples.company.product import ACT_FEATURE_SHARES, ANALYSE_FEATURE_SHARES, FEATURES, VIEW_FEATURE_SHARES
from renewals.examples.company.states import ADOPTION, VALUE
from renewals.examples.company.world import World

MONTHLY_VISIT_DAYS = np.array([3.4, 3.5, 2.6])
"""Mean visit days per person in a month of 22 working days, by tier."""
VALUE_SLOPE = np.array([0.85, 0.55, 0.00])
ADOPTION_SLOPE = np.array([0.00, 0.10, 0.70])
"""Effect of value and of adoption on the visit days, by tier (log scale)."""
ACCOUNT_SPREAD = 0.08
"""Standard deviation between accounts of the visit days: pure noise (log scale)."""
FULL_MONTH_DAYS = 22.0
"""Working days of a full month, and the maximum of visit days."""
VISIT_BATCH_SIZE = 400_000
"""Visits processed at a time, to save memory."""

WEEKEND_WEIGHT, HOLIDAY_WEIGHT, SUMMER_WEIGHT = 0.12, 0.25, 0.80
"""Use on a weekend day, on a common holiday and in August, relative to a working day."""
SPRING_FESTIVALS = ("2021-02-11", "2022-01-31", "2023-01-21", "2024-02-09", "2025-01-28", "2026-02-16", "2027-02-05")
"""First days of the Chinese spring festival."""

EXTRA_ACTIONS_PER_SESSION = 0.30
"""Mean number of actions after the first one of a session."""
LOGIN_RECORDED_SHARE = 0.55
"""Share of sessions that start with a recorded login; the others were still open."""
LEVEL_LOG_WEIGHTS = {"view": (0.0, 0.0, 0.0), "analyse": (-0.5, 0.0, 0.25), "act": (-0.6, 0.15, 0.40)}
"""Log-weight of each level of use: constant, slope on value, slope on adoption."""
MEDIAN_ACTION_SECONDS, ACTION_SECONDS_SPREAD, ACTION_SECONDS_SLOPE = 95.0, 0.7, 0.22
"""Duration of an action: median, spread and slope on adoption (log scale)."""


def day_weights(first: int, last: int, chinese: bool) -> Floats:
    """Use on each day from `first` to before `last`, relative to a working day."""
    days = np.arange(first, last).astype("datetime64[D]")
    weekday = (np.arange(first, last) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    weight = np.where(weekday >= 5, WEEKEND_WEIGHT, 1.0)
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    day = (days - days.astype("datetime64[M]")).astype(np.int64) + 1
    if chinese:
        national = (month == 10) & (day <= 7)
        spring = np.zeros(len(days), dtype=bool)
        for festival in SPRING_FESTIVALS:
            since = (days - np.datetime64(festival)).astype(np.int64)
            spring |= (since >= 0) & (since < 8)
        return np.where(national | spring, weight * HOLIDAY_WEIGHT, weight)
    christmas = ((month == 12) & (day >= 23)) | ((month == 1) & (day <= 2))
    return np.where(christmas, weight * HOLIDAY_WEIGHT, np.where(month == 8, weight * SUMMER_WEIGHT, weight))


class UsageCalendar:
    """Calendar of use per account: month weights, and days drawn in proportion to their weight."""

    def __init__(self, month_starts: Ints, chinese: Flags) -> None:
        self.starts, self.chinese = month_starts, chinese
        first, last = int(month_starts[0]), int(month_starts[-1])
        weights = [day_weights(first, last, is_chinese) for is_chinese in (False, True)]
        self.cumulative_weights = [np.concatenate([[0.0], np.cumsum(weight)]) for weight in weights]

    def month_weight(self, month: Ints, chinese: bool) -> Floats:
        """Use in each month, in working days."""
        offset = self.starts - self.starts[0]
        return np.asarray(
            self.cumulative_weights[chinese][offset[month + 1]] - self.cumulative_weights[chinese][offset[month]]
        )

    def month_fullness(self, account: Ints, month: Ints) -> Floats:
        """Use in each month, relative to a full month."""
        weights = [self.month_weight(month, chinese) for chinese in (False, True)]
        return np.where(self.chinese[account], weights[1], weights[0]) / FULL_MONTH_DAYS

    def draw_days(self, rng: np.random.Generator, account: Ints, month: Ints) -> Ints:
        """Draw a day of each month."""
        day = np.zeros(len(account), dtype=np.int64)
        offset = self.starts - self.starts[0]
        for chinese in (False, True):
            rows = np.flatnonzero(self.chinese[account] == chinese)
            low = self.cumulative_weights[chinese][offset[month[rows]]]
            point = low + rng.random(len(rows)) * self.month_weight(month[rows], chinese)
            day[rows] = np.searchsorted(self.cumulative_weights[chinese], point, side="right") - 1
        return np.minimum(day, self.starts[-1] - self.starts[0] - 1) + self.starts[0]


def draw_usage(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw all usage events, in the order of arrival; one row per event."""
    person, month, day = draw_visits(rng, world)
    blocks = np.arange(0, len(person), VISIT_BATCH_SIZE)
    parts = [
        draw_actions(rng, world, *(column[at : at + VISIT_BATCH_SIZE] for column in (person, month, day)))
        for at in blocks.tolist()
    ]
    order = np.argsort(np.concatenate([part["recorded"] for part in parts]), kind="stable")
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def draw_visits(rng: np.random.Generator, world: World) -> tuple[Ints, Ints, Ints]:
    """Draw person, month and day of every visit; one entry per visit."""
    people, calendar = world.people, UsageCalendar(world.month_starts, world.customers.chinese)
    habit = ACCOUNT_SPREAD * rng.standard_normal(len(world.customers))
    person, month = person_months(people, world.presence, world.month_starts)
    account = people.account[person]
    rate = visit_rates(world, habit, person, month) * calendar.month_fullness(account, month)
    visits = rng.poisson(np.minimum(rate, FULL_MONTH_DAYS))
    person, month = np.repeat(person, visits), np.repeat(month, visits)
    day = calendar.draw_days(rng, people.account[person], month)
    takes_place = visit_takes_place(rng, people, world.presence, person, day)
    return person[takes_place], month[takes_place], day[takes_place]


def visit_rates(world: World, account_effect: Floats, person: Ints, month: Ints) -> Floats:
    """Expected visit days of a person in a full month, from the states of the account in that month."""
    people = world.people
    account, tier = people.account[person], people.tier[person]
    log_rate = account_effect[account] + people.effect[person]
    log_rate += VALUE_SLOPE[tier] * world.history[month, account, VALUE]
    log_rate += ADOPTION_SLOPE[tier] * world.history[month, account, ADOPTION]
    return np.asarray(MONTHLY_VISIT_DAYS[tier] * np.exp(log_rate))


def expected_visits(world: World) -> Floats:
    """Months x accounts: expected visits without calendar and chance, as of mid-month."""
    people, starts = world.people, world.month_starts
    person, month = person_months(people, world.presence, starts)
    account, middle = people.account[person], (starts[month] + starts[month + 1]) // 2
    stay = np.minimum(people.last[person], starts[month + 1]) - np.maximum(people.first[person], starts[month])
    shares = [world.presence.activity_share(account, middle, deciders=deciders) for deciders in (True, False)]
    stay_visits = visit_rates(world, np.zeros(len(world.customers)), person, month) * np.maximum(stay, 0)
    visits = stay_visits / np.diff(starts)[month] * np.where(people.tier[person] == B, shares[1], shares[0])
    cells = month * len(world.customers) + account
    size = (len(starts) - 1) * len(world.customers)
    return np.asarray(np.bincount(cells, visits, size), np.float64).reshape(len(starts) - 1, -1)


def person_months(people: People, presence: Presence, month_starts: Ints) -> tuple[Ints, Ints]:
    """Months in which a person is employed and the account is a customer; one entry per person and month."""
    present = presence.active_months(month_starts)
    months = len(month_starts) - 1
    first = np.clip(np.searchsorted(month_starts, people.first, side="right") - 1, 0, months)
    last = np.clip(np.searchsorted(month_starts, people.last, side="left"), 0, months)
    count = np.maximum(last - first, 0)
    person = np.repeat(np.arange(len(people)), count)
    month = np.arange(len(person)) - np.repeat(np.cumsum(count) - count - first, count)
    is_customer = present[month, people.account[person]]
    return person[is_customer], month[is_customer]


def visit_takes_place(rng: np.random.Generator, people: People, presence: Presence, person: Ints, day: Ints) -> Flags:
    """Draw the visits that take place: the person is employed, and the account's use has not declined too far."""
    account, tier = people.account[person], people.tier[person]
    staff = presence.activity_share(account, day, deciders=False)
    deciders = presence.activity_share(account, day, deciders=True)
    employed = (people.first[person] <= day) & (day < people.last[person])
    return employed & (rng.random(len(person)) < np.where(tier == B, staff, deciders))


def draw_actions(rng: np.random.Generator, world: World, person: Ints, month: Ints, day: Ints) -> ColumnArrays:
    """Draw the events of each visit: a login and some actions minutes apart; compact types, as there are millions."""
    opened = day * DAY + rng.integers(8 * HOUR, 18 * HOUR, len(day))
    delay = draw_arrival(rng, opened) - opened
    actions = 1 + rng.poisson(EXTRA_ACTIONS_PER_SESSION, len(day))
    visit = np.repeat(np.arange(len(day)), actions)
    nth = np.arange(len(visit)) - np.repeat(np.cumsum(actions) - actions, actions)
    states = world.states(month[visit], world.people.account[person[visit]])
    seconds = MEDIAN_ACTION_SECONDS * rng.lognormal(ACTION_SECONDS_SLOPE * states[:, ADOPTION], ACTION_SECONDS_SPREAD)
    started = opened[visit] + 20 + nth * 240 + rng.integers(0, 180, len(visit))
    login = np.flatnonzero(rng.random(len(day)) < LOGIN_RECORDED_SHARE)
    feature = np.concatenate([draw_features(rng, states), np.zeros(len(login), dtype=np.int64)])
    visit = np.concatenate([visit, login])
    occurred = np.concatenate([started, opened[login]])
    return {
        "person": person[visit].astype(np.int32),
        "feature": feature.astype(np.int8),
        "occurred": occurred,
        "recorded": occurred + delay[visit],
        "seconds": np.concatenate([np.maximum(seconds, 1), np.full(len(login), -1.0)]).astype(np.int32),
    }


def draw_features(rng: np.random.Generator, states: Floats) -> Ints:
    """Draw the feature of each action: its level by value and adoption, then a feature of the level."""
    log_weights = np.array(list(LEVEL_LOG_WEIGHTS.values()))
    weight = np.exp(
        log_weights[:, 0] + states[:, [VALUE]] * log_weights[:, 1] + states[:, [ADOPTION]] * log_weights[:, 2]
    )
    weight /= weight.sum(axis=1, keepdims=True)
    point = rng.random(len(states))
    level = (point > weight[:, 0]).astype(np.int64) + (point > weight[:, 0] + weight[:, 1])
    feature = np.zeros(len(states), dtype=np.int64)
    for number, choices in enumerate((VIEW_FEATURE_SHARES, ANALYSE_FEATURE_SHARES, ACT_FEATURE_SHARES)):
        rows = np.flatnonzero(level == number)
        indexes, shares = zip(*choices, strict=True)
        feature[rows] = np.array(indexes)[np.searchsorted(np.cumsum(shares)[:-1], rng.random(len(rows)), side="right")]
    return feature


def draw_quantities(rng: np.random.Generator, feature: Ints) -> Floats:
    """Draw the number of runs per row: one `api.sync` row counts several; other features have none."""
    counted = feature == FEATURES.index("api.sync")
    amount = np.full(len(feature), np.nan)
    amount[counted] = 1 + rng.poisson(2.0, int(counted.sum()))
    return amount
