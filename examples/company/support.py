"""Tickets and the satisfaction asked after them: where support pain shows itself (T1 to T3).

An account in pain opens more tickets, more of them bugs and grave, waits longer for an answer, and
re-opens and escalates more. Staff who use the product more ask more, which has nothing to do with pain.
"""

from __future__ import annotations

import numpy as np

from examples.company.clock import DAY, HOUR, NEVER, Floats, Ints, arrival, within_day
from examples.company.journey import Columns
from examples.company.people import A, B, People, S
from examples.company.presence import Presence
from examples.company.states import ADOPTION, PAIN

KINDS = ("bug", "request", "question")
SEVERITIES = ("low", "medium", "high")

TICKETS, TICKETS_PER_SEAT = 1.4, 0.035
"""Tickets a month at an average account."""
PAIN_COUNT, ADOPTION_COUNT, COUNT_SPREAD = 0.50, 0.15, 0.12
"""How pain, adoption and nothing that matters move the number of tickets (log scale)."""
RESPOND_HOURS = np.array([10.0, 6.0, 3.0])
RESOLVE_HOURS = np.array([100.0, 60.0, 30.0])
LIMIT_HOURS = np.array([720.0, 240.0, 48.0])
"""Median hours to the first answer and on to the solution, and the agreed limit, by severity."""
PAIN_RESPOND, PAIN_RESOLVE, HOURS_SPREAD = 0.80, 0.60, 0.50
"""How pain and chance move those hours (log scale)."""
UNANSWERED, UNSOLVED = -3.4, -3.2
REOPENED, ESCALATED = -2.6, -3.0
"""Log-odds at an account without pain that a ticket is never answered, never solved, re-opened, escalated."""
PAIN_TROUBLE = 0.55
"""What a unit of pain adds to each of them."""
LIMIT_GIVEN = 0.7
"""Share of the tickets that carry their limit."""
ASKED = 0.6
"""Solved tickets after which satisfaction is asked."""
CSAT, CSAT_SLOPE, CSAT_SPREAD = 3.8, -0.70, 0.7
ANSWERS = 0.8
"""Log-odds that a request for satisfaction is answered."""


def draw_tickets(
    rng: np.random.Generator, people: People, presence: Presence, history: Floats, month_starts: Ints, seats: Ints
) -> Columns:
    """All tickets; one row per ticket, in the order they were opened."""
    months, accounts = history.shape[:2]
    habit = COUNT_SPREAD * rng.standard_normal(accounts)
    log_rate = PAIN_COUNT * history[:, :, PAIN] + ADOPTION_COUNT * history[:, :, ADOPTION] + habit
    rate = (TICKETS + TICKETS_PER_SEAT * np.minimum(seats, 60)) * np.exp(log_rate)
    count = rng.poisson(np.minimum(rate, 25)) * presence.months(month_starts)
    month, account = (np.repeat(place, count.ravel()) for place in np.divmod(np.arange(months * accounts), accounts))
    day = month_starts[month] + (rng.random(len(month)) * np.diff(month_starts)[month]).astype(np.int64)
    kept = rng.random(len(day)) < presence.share(account, day, deciders=False)
    month, account, day = month[kept], account[kept], day[kept]
    opened = within_day(rng, day)
    order = np.argsort(opened, kind="stable")
    month, account, opened = month[order], account[order], opened[order]
    return ticket_lives(rng, people, account, opened, history[month, account, PAIN], accounts)


def ticket_lives(
    rng: np.random.Generator, people: People, account: Ints, opened: Ints, pain: Floats, accounts: int
) -> Columns:
    """What becomes of each ticket that was opened."""
    size = len(account)
    chance = rng.random(size)
    bug = 1 / (1 + np.exp(0.9 - 0.25 * pain))
    kind = np.where(chance < bug, 0, np.where(chance < bug + 0.25, 1, 2))
    severity = np.clip(np.round(rng.normal(0.55 + 0.15 * pain + 0.3 * (kind == 0), 0.7)), 0, 2).astype(np.int64)
    respond = RESPOND_HOURS[severity] * np.exp(PAIN_RESPOND * pain) * rng.lognormal(0, HOURS_SPREAD, size)
    resolve = RESOLVE_HOURS[severity] * np.exp(PAIN_RESOLVE * pain) * rng.lognormal(0, HOURS_SPREAD, size)
    answered = opened + (respond * HOUR).astype(np.int64)
    solved = answered + (resolve * HOUR).astype(np.int64)
    unanswered = happens(rng, UNANSWERED + 0.8 * (kind == 1), pain)
    solved[unanswered | happens(rng, UNSOLVED, pain)] = NEVER
    answered[unanswered] = NEVER
    reopened = later(rng, solved, happens(rng, REOPENED, pain), 12 * DAY)
    again = reopened < NEVER
    solved[again] = reopened[again] + (resolve[again] * HOUR).astype(np.int64)
    limit = opened + (LIMIT_HOURS[severity] * HOUR).astype(np.int64)
    late = np.minimum(solved, NEVER) > limit
    escalated = later(rng, np.where(late, limit, opened + 2 * HOUR), happens(rng, ESCALATED + 1.0 * late, pain), 2 * DAY)
    tier = rng.choice([S, A, B], size, p=[0.03, 0.17, 0.80])
    return {
        "account": account, "person": people.pick(rng, account, tier, opened // DAY, accounts), "kind": kind,
        "severity": severity, "opened": opened, "answered": answered, "solved": solved, "reopened": reopened,
        "escalated": escalated, "limit": np.where(rng.random(size) < LIMIT_GIVEN, limit, NEVER), "pain": pain,
        "recorded": arrival(rng, opened),
    }  # fmt: skip


def happens(rng: np.random.Generator, log_odds: Floats | float, pain: Floats) -> np.ndarray:
    """Whether a trouble that pain makes likelier befalls each ticket."""
    return np.asarray(rng.random(len(pain)) < 1 / (1 + np.exp(-(log_odds + PAIN_TROUBLE * pain))))


def later(rng: np.random.Generator, moment: Ints, happening: np.ndarray, within: int) -> Ints:
    """A moment after the given one where something happens, never elsewhere."""
    after = moment + rng.integers(HOUR, within, len(moment))
    return np.where(happening & (moment < NEVER), after, NEVER)


def draw_csat(rng: np.random.Generator, tickets: Columns) -> Columns:
    """Satisfaction asked after solved tickets; one row per request."""
    asked = (tickets["solved"] < NEVER) & (rng.random(len(tickets["solved"])) < ASKED)
    account, person, pain = (tickets[name][asked] for name in ("account", "person", "pain"))
    sent = tickets["solved"][asked] + rng.integers(HOUR, DAY, len(account))
    score = np.clip(np.round(rng.normal(CSAT + CSAT_SLOPE * pain, CSAT_SPREAD)), 1, 5)
    answers = rng.random(len(account)) < 1 / (1 + np.exp(-(ANSWERS - 0.15 * pain)))
    return {"account": account, "person": person, "sent": sent, "score": score, "answers": answers}
