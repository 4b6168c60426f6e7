"""The people of an account: their positions, stay, tier (S1) and level of use.

Every account has deciders (S), heads of the departments that use the product (A) and key staff (B).
A hidden loss of a sponsor (`sponsor_change`) is an S person who leaves; in most cases a successor follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renewals.examples.company.clock import DAY, NEVER_DAY, Flags, Floats, Ints
from renewals.examples.company.customers import Customers
from renewals.examples.company.journey import ColumnArrays, look_up_values
from renewals.examples.company.states import AccountTraits

TIERS = ("S", "A", "B")
S, A, B = range(3)

SEAT_USE_SHARE = 0.85
"""Share of the bought seats that get a user, sooner or later."""
MEAN_STAY_DAYS = 1_900.0
"""Mean stay in days of a person of tier A or B."""
REPLACEMENT_SHARE = 0.8
"""Probability that a leaver gets a successor."""
EARLY_START_SHARE = {True: 0.60, False: 0.05}
"""Share of the staff active within 28 days, by whether first value was reached (J2)."""
LEAVING_RECORDED_SHARE = 0.96
"""Share of the departures that are recorded; the other leavers only stop using the product."""
SPONSOR_REPLACEMENT_SHARE = 0.9
"""Probability that an S person who left gets a successor."""
PROMOTION_SHARE = 0.03
"""Share of the people of tiers A and B who rise by a tier, if they stay."""
TIER_RECORDED_SHARE = 0.6
"""Share of the people with a recorded tier; the others have a title that can be graded."""

PERSON_SPREAD = np.array([0.15, 0.20, 0.30])
"""Standard deviation of use between the people of each tier (log scale)."""

TITLES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "S": (
        ("Chief Executive Officer", "executive", "management"),
        ("VP Operations", "executive", "operations"),
        ("Founder", "executive", "management"),
        ("Head of Sales", "sales", "sales"),
        ("President", "executive", "management"),
        ("Chief Financial Officer", "finance", "finance"),
    ),
    "A": (
        ("Sales Director", "sales", "sales"),
        ("Operations Manager", "operations", "operations"),
        ("Team Lead", "operations", "service"),
        ("Marketing Manager", "marketing", "marketing"),
        ("Head of Service", "service", "service"),
    ),
    "B": (
        ("Senior Analyst", "analyst", "operations"),
        ("Sales Specialist", "sales", "sales"),
        ("System Administrator", "administrator", "it"),
        ("Support Engineer", "service", "service"),
        ("Campaign Specialist", "marketing", "marketing"),
    ),
}
"""Titles with words that `renewals.features.policy.Stakeholders` grades, with role and department."""
CHINESE_TITLES = {"S": ("总经理", "销售副总裁"), "A": ("销售总监", "运营经理"), "B": ("数据专员", "客服工程师")}
"""Titles that no default word grades: people with such a title always have a recorded tier."""
UNGRADED_TITLE = ("Account Executive", "sales", "sales")
UNGRADED_SHARE = 0.05


@dataclass(frozen=True)
class People:
    """One entry per person, ordered by account and tier."""

    account: Ints
    tier: Ints
    first: Ints
    """Day from which the person uses the product."""
    last: Ints
    """Day on which the person leaves."""
    effect: Floats
    """Use compared with other people of the same tier (log scale)."""

    def __len__(self) -> int:
        return len(self.account)

    def pick(self, rng: np.random.Generator, account: Ints, tier: Ints, day: Ints) -> Ints:
        """Draw a person who is employed on the day, for each account, tier and day; -1 if three tries find nobody."""
        cells, wanted = self.account * len(TIERS) + self.tier, account * len(TIERS) + tier
        first = np.searchsorted(cells, wanted)
        count = np.searchsorted(cells, wanted, side="right") - first
        chosen = np.full(len(account), -1)
        for _ in range(3):
            candidate = np.minimum(first + (rng.random(len(account)) * count).astype(np.int64), len(self) - 1)
            employed = (count > 0) & (self.first[candidate] <= day) & (day < self.last[candidate])
            chosen = np.where((chosen < 0) & employed, candidate, chosen)
        return chosen


def draw_people(
    rng: np.random.Generator, customers: Customers, traits: AccountTraits, sponsors: ColumnArrays, seats: ColumnArrays
) -> People:
    """Draw all people; `sponsors` has the days on which an S person left, `seats` the seats bought later."""
    parts = [
        draw_deciders(rng, customers, traits, sponsors),
        add_successors(rng, *draw_heads(rng, customers, traits)),
        add_successors(rng, *draw_staff(rng, customers, traits)),
        add_successors(rng, *draw_later_staff(rng, seats)),
    ]
    account, tier, first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    present = last > first
    order = np.lexsort((first[present], tier[present], account[present]))
    account, tier, first, last = (column[present][order] for column in (account, tier, first, last))
    return People(account, tier, first, last, PERSON_SPREAD[tier] * rng.standard_normal(len(tier)))


PersonSpans = tuple[Ints, Ints, Ints, Ints]
"""Account, tier, first day and last day; one entry per person."""


def draw_deciders(
    rng: np.random.Generator, customers: Customers, traits: AccountTraits, sponsors: ColumnArrays
) -> PersonSpans:
    """Draw S people for one to three positions; each loss of a sponsor vacates the next one for one to five months."""
    positions = 1 + np.minimum(rng.poisson(0.9, len(customers)), 2)
    account = np.repeat(np.arange(len(customers)), positions)
    position = np.arange(len(account)) - np.repeat(np.cumsum(positions) - positions, positions)
    prompt = traits.first_value[account] | (rng.random(len(account)) < 0.3)
    wait = np.where(prompt, rng.integers(3, 35, len(account)), rng.integers(20, 90, len(account)))
    order = np.lexsort((sponsors["day"], sponsors["account"]))
    left, day = sponsors["account"][order], sponsors["day"][order]
    turn, vacated = np.divmod(np.arange(len(left)) - np.searchsorted(left, left), positions[left])
    successor_start = day + rng.integers(30, 150, len(day))
    successor_start[rng.random(len(day)) >= SPONSOR_REPLACEMENT_SHARE] = NEVER_DAY
    holder = np.concatenate([holder_key(account, position, 0), holder_key(left, vacated, turn + 1)])
    last = look_up_values(holder, holder_key(left, vacated, turn), day, NEVER_DAY)
    first = np.concatenate([customers.purchase_day[account] + wait, successor_start])
    return np.concatenate([account, left]), np.full(len(holder), S), first, last


def holder_key(account: Ints, position: Ints, turn: Ints | int) -> Ints:
    """Key of the turn-th holder of a position."""
    return (account * 4 + position) * 1_000 + turn


def draw_heads(rng: np.random.Generator, customers: Customers, traits: AccountTraits) -> tuple[Ints, Ints, Ints]:
    """Draw one to five A people per account, who start with their departments: account, tier and first day."""
    count = 1 + np.minimum(rng.poisson(0.15 * np.sqrt(customers.seats) + 0.8), 4)
    account = np.repeat(np.arange(len(customers)), count)
    prompt = rng.random(len(account)) < np.where(traits.first_value[account], 0.85, 0.20)
    wait = np.where(prompt, rng.integers(1, 25, len(account)), rng.integers(25, 100, len(account)))
    return account, np.full(len(account), A), customers.purchase_day[account] + wait


def draw_staff(rng: np.random.Generator, customers: Customers, traits: AccountTraits) -> tuple[Ints, Ints, Ints]:
    """Draw B people: account, tier and first day; within four weeks if first value is reached, else months later."""
    count = np.maximum(2, rng.binomial(customers.seats, SEAT_USE_SHARE))
    account = np.repeat(np.arange(len(customers)), count)
    reached = traits.first_value[account]
    prompt = rng.random(len(account)) < np.where(reached, EARLY_START_SHARE[True], EARLY_START_SHARE[False])
    late = np.where(reached, rng.integers(30, 140, len(account)), rng.integers(40, 230, len(account)))
    wait = np.where(prompt, rng.integers(0, 28, len(account)), late)
    return account, np.full(len(account), B), customers.purchase_day[account] + wait


def draw_later_staff(rng: np.random.Generator, seats: ColumnArrays) -> tuple[Ints, Ints, Ints]:
    """Draw the B people of the seats that were bought later: account, tier and first day."""
    count = rng.binomial(seats["seats"], SEAT_USE_SHARE)
    account, day = np.repeat(seats["account"], count), np.repeat(seats["day"], count)
    return account, np.full(len(account), B), day + rng.integers(0, 60, len(day))


def add_successors(rng: np.random.Generator, account: Ints, tier: Ints, first: Ints) -> PersonSpans:
    """Draw the last day of people of tiers A and B, and add their successors."""
    last = first + rng.exponential(MEAN_STAY_DAYS, len(first)).astype(np.int64)
    follows = rng.random(len(first)) < REPLACEMENT_SHARE
    start = last[follows] + rng.integers(5, 90, int(follows.sum()))
    end = start + rng.exponential(MEAN_STAY_DAYS, len(start)).astype(np.int64)
    return (
        np.concatenate([account, account[follows]]),
        np.concatenate([tier, tier[follows]]),
        np.concatenate([first, start]),
        np.concatenate([last, end]),
    )


def person_rows(rng: np.random.Generator, people: People, chinese: Flags, until: int) -> ColumnArrays:
    """Draw the recorded history of people; one row per person and position."""
    known = np.flatnonzero(people.first < until)
    last = np.where(rng.random(len(known)) < LEAVING_RECORDED_SHARE, people.last[known], NEVER_DAY)
    since = np.maximum(people.first[known] - rng.integers(0, 6, len(known)), 0)
    stay = np.minimum(people.last[known], until) - since
    promoted = (people.tier[known] > S) & (stay > 200) & (rng.random(len(known)) < PROMOTION_SHARE)
    change = since + (stay * rng.uniform(0.3, 0.7, len(known))).astype(np.int64)
    person = np.concatenate([known, known[promoted]])
    tier = np.concatenate([people.tier[known], people.tier[known[promoted]] - 1])
    start = np.concatenate([since, change[promoted]])
    end = np.concatenate([np.where(promoted, change, last), last[promoted]])
    title, role, department, tier_recorded = draw_titles(rng, tier, chinese[people.account[person]])
    order = np.lexsort((start, person))
    columns = {"person": person, "tier": tier, "start": start * DAY, "end": end * DAY, "tier_recorded": tier_recorded}
    columns |= {"title": title, "role": role, "department": department}
    return {name: values[order] for name, values in columns.items()}


def draw_titles(rng: np.random.Generator, tier: Ints, chinese: Flags) -> tuple[np.ndarray, ...]:
    """Draw title, role and department by tier, and a flag of the people whose tier is recorded."""
    size = len(tier)
    rows = [entry for name in TIERS for entry in TITLES[name]] + [UNGRADED_TITLE]
    counts = np.array([len(TITLES[name]) for name in TIERS])
    offset = np.cumsum(counts) - counts
    row = offset[tier] + (rng.random(size) * counts[tier]).astype(np.int64)
    row = np.where((tier == B) & (rng.random(size) < UNGRADED_SHARE), len(rows) - 1, row)
    title, role, department = (np.array(column, dtype=object)[row] for column in zip(*rows, strict=True))
    has_chinese_title = chinese & (rng.random(size) < 0.6)
    chinese_titles = np.array([CHINESE_TITLES[name] for name in TIERS], dtype=object)
    title = np.where(has_chinese_title, chinese_titles[tier, rng.integers(0, 2, size)], title)
    return title, role, department, has_chinese_title | (rng.random(size) < TIER_RECORDED_SHARE)
