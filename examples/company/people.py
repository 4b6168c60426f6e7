"""The people of an account: who sits where, for how long, in which tier (S1), and what they do.

Every account has deciders (S), heads of the departments that use the product (A) and key staff (B).
A hidden loss of a sponsor (`sponsor_change`) is an S person who leaves; a successor mostly follows.
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
"""Share of the bought seats that somebody sits on, sooner or later."""
MEAN_STAY_DAYS = 1_900.0
"""How long a person of tier A or B stays, on average."""
REPLACEMENT_SHARE = 0.8
"""Chance that somebody follows on a place that was left."""
EARLY_START_SHARE = {True: 0.60, False: 0.05}
"""Share of the staff active within 28 days, where first value was reached and where it was missed (J2)."""
LEAVING_RECORDED_SHARE = 0.96
"""Share of the leavers whose leaving anybody writes down; the others only go silent."""
SPONSOR_REPLACEMENT_SHARE = 0.9
"""Chance that a successor follows an S person who left."""
PROMOTION_SHARE = 0.03
"""Share of the people of tiers A and B, if they stay, who rise by a tier."""
TIER_RECORDED_SHARE = 0.6
"""Share of the people whose tier was entered; the others have a title from which it can be graded."""

PERSON_SPREAD = np.array([0.15, 0.20, 0.30])
"""How unlike each other the people of a tier are in how much they use the product (log scale)."""

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
"""Titles whose words `renewals.features.policy.Stakeholders` grades, with the role and the department."""
CHINESE_TITLES = {"S": ("总经理", "销售副总裁"), "A": ("销售总监", "运营经理"), "B": ("数据专员", "客服工程师")}
"""Titles no default words grade: people who carry one always have their tier entered."""
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
    """How much more than others of the tier the person uses the product (log scale)."""

    def __len__(self) -> int:
        return len(self.account)

    def pick(self, rng: np.random.Generator, account: Ints, tier: Ints, day: Ints) -> Ints:
        """For each account, tier and day a person who is there then, or -1; three tries."""
        cells, wanted = self.account * len(TIERS) + self.tier, account * len(TIERS) + tier
        first = np.searchsorted(cells, wanted)
        count = np.searchsorted(cells, wanted, side="right") - first
        chosen = np.full(len(account), -1)
        for _ in range(3):
            some = np.minimum(first + (rng.random(len(account)) * count).astype(np.int64), len(self) - 1)
            there = (count > 0) & (self.first[some] <= day) & (day < self.last[some])
            chosen = np.where((chosen < 0) & there, some, chosen)
        return chosen


def draw_people(
    rng: np.random.Generator, customers: Customers, traits: AccountTraits, sponsors: ColumnArrays, seats: ColumnArrays
) -> People:
    """Draw everybody; `sponsors` are the days on which an S person left, `seats` those bought later."""
    parts = [
        draw_deciders(rng, customers, traits, sponsors),
        add_successors(rng, *draw_heads(rng, customers, traits)),
        add_successors(rng, *draw_staff(rng, customers, traits)),
        add_successors(rng, *draw_later_staff(rng, seats)),
    ]
    account, tier, first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    seen = last > first
    order = np.lexsort((first[seen], tier[seen], account[seen]))
    account, tier, first, last = (column[seen][order] for column in (account, tier, first, last))
    return People(account, tier, first, last, PERSON_SPREAD[tier] * rng.standard_normal(len(tier)))


PersonSpans = tuple[Ints, Ints, Ints, Ints]
"""Account, tier, first and last day of people."""


def draw_deciders(
    rng: np.random.Generator, customers: Customers, traits: AccountTraits, sponsors: ColumnArrays
) -> PersonSpans:
    """S people: one to three places; each loss of a sponsor empties the next place for one to five months."""
    places = 1 + np.minimum(rng.poisson(0.9, len(customers)), 2)
    account = np.repeat(np.arange(len(customers)), places)
    place = np.arange(len(account)) - np.repeat(np.cumsum(places) - places, places)
    prompt = traits.first_value[account] | (rng.random(len(account)) < 0.3)
    wait = np.where(prompt, rng.integers(3, 35, len(account)), rng.integers(20, 90, len(account)))
    order = np.lexsort((sponsors["day"], sponsors["account"]))
    left, day = sponsors["account"][order], sponsors["day"][order]
    turn, which = np.divmod(np.arange(len(left)) - np.searchsorted(left, left), places[left])
    follow = day + rng.integers(30, 150, len(day))
    follow[rng.random(len(day)) >= SPONSOR_REPLACEMENT_SHARE] = NEVER_DAY
    holder = np.concatenate([holder_key(account, place, 0), holder_key(left, which, turn + 1)])
    last = look_up_values(holder, holder_key(left, which, turn), day, NEVER_DAY)
    first = np.concatenate([customers.purchase_day[account] + wait, follow])
    return np.concatenate([account, left]), np.full(len(holder), S), first, last


def holder_key(account: Ints, place: Ints, turn: Ints | int) -> Ints:
    """One number for the turn-th holder of a place."""
    return (account * 4 + place) * 1_000 + turn


def draw_heads(rng: np.random.Generator, customers: Customers, traits: AccountTraits) -> tuple[Ints, Ints, Ints]:
    """A people: one to five, who start with their departments."""
    count = 1 + np.minimum(rng.poisson(0.15 * np.sqrt(customers.seats) + 0.8), 4)
    account = np.repeat(np.arange(len(customers)), count)
    prompt = rng.random(len(account)) < np.where(traits.first_value[account], 0.85, 0.20)
    wait = np.where(prompt, rng.integers(1, 25, len(account)), rng.integers(25, 100, len(account)))
    return account, np.full(len(account), A), customers.purchase_day[account] + wait


def draw_staff(rng: np.random.Generator, customers: Customers, traits: AccountTraits) -> tuple[Ints, Ints, Ints]:
    """B people: they start within four weeks where first value is reached, and months later where it is missed."""
    count = np.maximum(2, rng.binomial(customers.seats, SEAT_USE_SHARE))
    account = np.repeat(np.arange(len(customers)), count)
    reached = traits.first_value[account]
    prompt = rng.random(len(account)) < np.where(reached, EARLY_START_SHARE[True], EARLY_START_SHARE[False])
    late = np.where(reached, rng.integers(30, 140, len(account)), rng.integers(40, 230, len(account)))
    wait = np.where(prompt, rng.integers(0, 28, len(account)), late)
    return account, np.full(len(account), B), customers.purchase_day[account] + wait


def draw_later_staff(rng: np.random.Generator, seats: ColumnArrays) -> tuple[Ints, Ints, Ints]:
    """B people who take the seats that were bought later."""
    count = rng.binomial(seats["seats"], SEAT_USE_SHARE)
    account, day = np.repeat(seats["account"], count), np.repeat(seats["day"], count)
    return account, np.full(len(account), B), day + rng.integers(0, 60, len(day))


def add_successors(rng: np.random.Generator, account: Ints, tier: Ints, first: Ints) -> PersonSpans:
    """People of tiers A and B with the day they leave, and those who follow them."""
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
    """The history of people as the company's systems have it; one row per person and position held."""
    known = np.flatnonzero(people.first < until)
    last = np.where(rng.random(len(known)) < LEAVING_RECORDED_SHARE, people.last[known], NEVER_DAY)
    since = np.maximum(people.first[known] - rng.integers(0, 6, len(known)), 0)
    stay = np.minimum(people.last[known], until) - since
    rises = (people.tier[known] > S) & (stay > 200) & (rng.random(len(known)) < PROMOTION_SHARE)
    change = since + (stay * rng.uniform(0.3, 0.7, len(known))).astype(np.int64)
    person = np.concatenate([known, known[rises]])
    tier = np.concatenate([people.tier[known], people.tier[known[rises]] - 1])
    start = np.concatenate([since, change[rises]])
    end = np.concatenate([np.where(rises, change, last), last[rises]])
    title, role, department, given = draw_titles(rng, tier, chinese[people.account[person]])
    order = np.lexsort((start, person))
    columns = {"person": person, "tier": tier, "start": start * DAY, "end": end * DAY, "given": given}
    columns |= {"title": title, "role": role, "department": department}
    return {name: values[order] for name, values in columns.items()}


def draw_titles(rng: np.random.Generator, tier: Ints, chinese: Flags) -> tuple[np.ndarray, ...]:
    """Title, role and department that suit the tier, and whether the tier was entered."""
    size = len(tier)
    rows = [entry for name in TIERS for entry in TITLES[name]] + [UNGRADED_TITLE]
    counts = np.array([len(TITLES[name]) for name in TIERS])
    offset = np.cumsum(counts) - counts
    row = offset[tier] + (rng.random(size) * counts[tier]).astype(np.int64)
    row = np.where((tier == B) & (rng.random(size) < UNGRADED_SHARE), len(rows) - 1, row)
    title, role, department = (np.array(column, dtype=object)[row] for column in zip(*rows, strict=True))
    own = chinese & (rng.random(size) < 0.6)
    names = np.array([CHINESE_TITLES[name] for name in TIERS], dtype=object)
    title = np.where(own, names[tier, rng.integers(0, 2, size)], title)
    return title, role, department, own | (rng.random(size) < TIER_RECORDED_SHARE)
