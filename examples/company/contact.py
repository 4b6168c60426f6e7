"""Contacts with the customer: meetings, surveys, goals. Value affects who takes part (S2, J4).

Managers contact anybody, but only a decider who sees value in the product keeps the appointment, asks for one,
answers a survey and gives a high grade. Staff grade the software that they work with.
"""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np

from renewals.examples.company.clock import DAY, NEVER, Floats, Ints, draw_arrival, draw_working_time
from renewals.examples.company.journey import ColumnArrays
from renewals.examples.company.people import A, B, People, S
from renewals.examples.company.states import ADOPTION, PAIN, VALUE, sigmoid
from renewals.examples.company.world import World

CONTACT_KINDS = ("visit", "call", "training", "value_report", "review", "email")
CONTACT_KIND_SHARES = np.array([[0.14, 0.28, 0.02, 0.16, 0.18, 0.22], [0.10, 0.32, 0.12, 0.08, 0.14, 0.24],
                       [0.04, 0.30, 0.24, 0.02, 0.03, 0.37]])  # fmt: skip
"""Share of each kind of contact with people of tiers S, A and B."""

MONTHLY_CONTACTS = np.array([1.50, 1.30, 0.70])
"""Contacts a month with people of each tier at an average account."""
CONTACT_VALUE_SLOPE = np.array([0.80, 0.50, 0.00])
CONTACT_PAIN_SLOPE = np.array([0.00, 0.05, 0.20])
"""Effect of value and of pain on the number of contacts, by tier (log scale)."""
CARE_SPREAD = 0.15
"""Standard deviation between accounts of the number of contacts (log scale)."""
BUNCH_DAYS, BUNCH_NEAR, BUNCH_FAR = 100, 2.0, 0.65
"""Factor on the contacts of a manager who bunches them: in the last days of a term, and before those days."""
CUSTOMER_INITIATED_LOG_ODDS = -1.0
"""Log-odds that the customer asked for the contact; a unit of value adds `CUSTOMER_INITIATED_SLOPE`."""
CUSTOMER_INITIATED_SLOPE = 0.60
CONTACTS_PER_INTERVENTION = 3.0
"""Mean number of further contacts per intervention."""

NPS_INTERVAL_DAYS = 91
"""Days between the recommendation surveys (NPS) of an account: one a quarter."""
MIN_TENURE_DAYS = 30
"""Days after which a new person gets surveys."""
NPS_SAMPLE_SHARE = np.array([1.0, 0.7, 0.20])
"""Share of the people of each tier who get a survey."""
NPS_MEAN, NPS_SPREAD = 7.0, 1.6
NPS_SLOPES = np.array([[1.25, 0.0, -0.10], [0.7, 0.2, -0.2], [0.0, 0.6, -0.5]])
"""Effect of a unit of value, adoption and pain on the grade, by tier."""
RESPONSE_LOG_ODDS = np.array([0.3, 0.2, -0.3])
RESPONSE_VALUE_SLOPE = np.array([0.5, 0.3, 0.0])
"""Log-odds that a person answers, by tier, and the effect of a unit of value on them."""
LOW_NPS, LOW_CSAT = 6, 2
FOLLOW_UP_SHARE = 0.6

MONTHLY_GOALS = 0.14
"""Goals agreed per account and month."""
GOAL_DAYS, GOAL_ABANDON_DAYS = (60, 170), 45
"""Days from the agreement on a goal to its due date, and from there until it is abandoned."""
GOAL_TEXTS = ("cut manual work", "raise pipeline coverage", "shorten reporting", "roll out to region",
              "automate approvals", "提升转化率", "统一数据口径")  # fmt: skip


def working_day(day: Ints) -> Ints:
    """The same day, or the Friday before if it lies in a weekend."""
    weekday = (day + 3) % 7
    return np.where(weekday >= 5, day - (weekday - 4), day)


def draw_touchpoints(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw all contacts; one row per contact."""
    value, pain = world.history[:, :, VALUE], world.history[:, :, PAIN]
    care = CARE_SPREAD * rng.standard_normal(len(world.customers))
    bunching = np.where(world.traits.bunched, np.where(world.near_term_end(BUNCH_DAYS), BUNCH_NEAR, BUNCH_FAR), 1.0)
    parts = [intervention_contacts(rng, world.recorded_rows("interventions"))]
    for tier in (S, A, B):
        rate = (
            MONTHLY_CONTACTS[tier]
            * bunching
            * np.exp(care + CONTACT_VALUE_SLOPE[tier] * value + CONTACT_PAIN_SLOPE[tier] * pain)
        )
        month, account, day = world.draw_events(rng, rate, deciders=tier != B)
        parts.append((account, day, np.full(len(day), tier), value[month, account]))
    account, day, tiers, seen = (np.concatenate(column) for column in zip(*parts, strict=True))
    return touchpoint_columns(rng, world.people, account, working_day(day), tiers, seen)


def intervention_contacts(rng: np.random.Generator, interventions: ColumnArrays) -> tuple[Ints, Ints, Ints, Floats]:
    """Draw the contacts that interventions cause: account, day, tier, and value (as at an average account)."""
    count = rng.poisson(CONTACTS_PER_INTERVENTION, len(interventions["account"]))
    account, start = np.repeat(interventions["account"], count), np.repeat(interventions["day"], count)
    tier = rng.choice([S, A, B], len(account), p=[0.2, 0.35, 0.45])
    return account, start + rng.integers(0, 40, len(account)), tier, np.zeros(len(account))


def touchpoint_columns(
    rng: np.random.Generator, people: People, account: Ints, day: Ints, tier: Ints, value: Floats
) -> ColumnArrays:
    """Draw person, kind and initiator of each contact; a contact without an available person is dropped."""
    person = people.pick(rng, account, tier, day)
    available = person >= 0
    account, day, tier, value, person = (
        account[available],
        day[available],
        tier[available],
        value[available],
        person[available],
    )
    kind = (CONTACT_KIND_SHARES.cumsum(axis=1)[tier] < rng.random(len(day))[:, None]).sum(axis=1)
    by_customer = rng.random(len(day)) < sigmoid(CUSTOMER_INITIATED_LOG_ODDS + CUSTOMER_INITIATED_SLOPE * value)
    occurred = draw_working_time(rng, day)
    person_recorded = rng.random(len(day)) < 0.95  # a few contacts are recorded without the person
    columns = {
        "account": account,
        "person": np.where(person_recorded, person, -1),
        "kind": np.minimum(kind, len(CONTACT_KINDS) - 1),
    }
    return columns | {"customer": by_customer, "occurred": occurred, "recorded": draw_arrival(rng, occurred)}


def draw_nps(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw the recommendation surveys of each quarter; one row per request."""
    person, day = nps_recipients(rng, world)
    account, tier = world.people.account[person], world.people.tier[person]
    states = world.states(world.month_of(day), account)[:, [VALUE, ADOPTION, PAIN]]
    score = np.clip(np.round(rng.normal(NPS_MEAN + (states * NPS_SLOPES[tier]).sum(axis=1), NPS_SPREAD)), 0, 10)
    willing = world.presence.activity_share(account, day, deciders=True) * sigmoid(
        RESPONSE_LOG_ODDS[tier] + RESPONSE_VALUE_SLOPE[tier] * states[:, 0]
    )
    answers = rng.random(len(day)) < willing
    return {
        "account": account,
        "person": person,
        "sent": draw_working_time(rng, day),
        "score": score,
        "answers": answers,
    }


def nps_recipients(rng: np.random.Generator, world: World) -> tuple[Ints, Ints]:
    """Draw person and day of each recommendation survey, in the quarterly rounds of the accounts."""
    people = world.people
    rounds = np.arange((world.extract_day - world.first_day) // NPS_INTERVAL_DAYS + 1)
    offset = rng.integers(0, NPS_INTERVAL_DAYS, len(world.customers))
    person = np.repeat(np.arange(len(people)), len(rounds))
    account = people.account[person]
    day = world.first_day + offset[account] + NPS_INTERVAL_DAYS * np.tile(rounds, len(people))
    employed = (people.first[person] + MIN_TENURE_DAYS < day) & (day < people.last[person]) & (day < world.extract_day)
    sampled = (
        employed
        & (rng.random(len(day)) < NPS_SAMPLE_SHARE[people.tier[person]])
        & world.presence.is_customer(account, day)
    )
    return person[sampled], day[sampled]


def survey_columns(rng: np.random.Generator, nps: ColumnArrays, csat: ColumnArrays) -> ColumnArrays:
    """Combine both kinds of survey; one row per request, with its answer and the follow-up of a low one."""
    joined = {name: np.concatenate([nps[name], csat[name]]) for name in nps}
    size = len(joined["sent"])
    joined["csat"] = np.arange(size) >= len(nps["sent"])
    answered = joined["sent"] + (rng.exponential(2.5, size) * DAY).astype(np.int64) + 600
    joined["answered"] = np.where(joined["answers"], answered, NEVER)
    low = joined["score"] <= np.where(joined["csat"], LOW_CSAT, LOW_NPS)
    followed = low & joined["answers"] & (rng.random(size) < FOLLOW_UP_SHARE)
    joined["followed"] = np.where(followed, answered + (rng.exponential(6.0, size) * DAY).astype(np.int64), NEVER)
    joined["recorded"] = draw_arrival(rng, joined["sent"])
    order = np.argsort(joined["sent"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def draw_goals(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw the goals agreed with customers; one row per goal. Reached goals are the shocks that lifted value.

    Goals are agreed independently of their success, so an open goal contains no information about the future.
    """
    rate = np.full(world.history.shape[:2], MONTHLY_GOALS)
    _, account, day = world.draw_events(rng, rate, deciders=True)
    reached = world.recorded_rows("goal_reached")
    set_at = draw_working_time(rng, working_day(day))
    order = np.argsort(set_at, kind="stable")
    account, set_at = account[order], set_at[order]
    due = set_at // DAY * DAY + rng.integers(*GOAL_DAYS, len(account)) * DAY
    return {
        "account": account,
        "goal": rng.integers(0, len(GOAL_TEXTS), len(account)),
        "set": set_at,
        "due": due,
        "achieved": goal_achievement_times(
            account, set_at, due, reached["account"], draw_working_time(rng, reached["day"])
        ),
        "recorded": draw_arrival(rng, set_at),
    }


def goal_achievement_times(account: Ints, set_at: Ints, due: Ints, achieving_account: Ints, achieved_at: Ints) -> Ints:
    """Time at which each goal (in the order of `set_at`) was reached; an account reaches its oldest open goal.

    A goal long overdue is abandoned. A success without an open goal is not recorded.
    """
    achieved = np.full(len(account), NEVER)
    waiting: dict[int, deque[int]] = defaultdict(deque)
    goal = 0
    for event in np.argsort(achieved_at, kind="stable").tolist():
        while goal < len(set_at) and set_at[goal] < achieved_at[event]:
            waiting[int(account[goal])].append(goal)
            goal += 1
        still_open = waiting[int(achieving_account[event])]
        while still_open and due[still_open[0]] + GOAL_ABANDON_DAYS * DAY < achieved_at[event]:
            still_open.popleft()
        if still_open:
            achieved[still_open.popleft()] = achieved_at[event]
    return achieved
