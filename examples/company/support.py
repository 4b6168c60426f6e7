"""Tickets, and the satisfaction surveys after them: the traces of support pain (T1 to T3).

An account in pain opens more tickets, more of them severe and bugs, waits longer for an answer, and re-opens and
escalates more. Staff who use the product more also ask more, independently of pain.
"""

from __future__ import annotations

import numpy as np

from renewals.examples.company.clock import DAY, HOUR, NEVER, Flags, Floats, Ints, draw_arrival, draw_working_time
from renewals.examples.company.journey import ColumnArrays
from renewals.examples.company.people import A, B, S
from renewals.examples.company.states import ADOPTION, PAIN, sigmoid
from renewals.examples.company.world import World

TICKET_KINDS = ("bug", "request", "question")
SEVERITIES = ("low", "medium", "high")

MONTHLY_TICKETS, MONTHLY_TICKETS_PER_SEAT = 1.4, 0.035
"""Tickets a month at an average account, and the addition per seat."""
TICKET_PAIN_SLOPE, TICKET_ADOPTION_SLOPE, TICKET_SPREAD = 0.50, 0.15, 0.12
"""Effect of pain, adoption and pure noise on the number of tickets (log scale)."""
RESPOND_HOURS = np.array([10.0, 6.0, 3.0])
RESOLVE_HOURS = np.array([100.0, 60.0, 30.0])
LIMIT_HOURS = np.array([720.0, 240.0, 48.0])
"""Median hours to the first answer and from there to the solution, and the agreed limit, by severity."""
RESPOND_PAIN_SLOPE, RESOLVE_PAIN_SLOPE, HOURS_SPREAD = 0.80, 0.60, 0.50
"""Effect of pain and of chance on those hours (log scale)."""
UNANSWERED_LOG_ODDS, UNSOLVED_LOG_ODDS = -3.4, -3.2
REOPENED_LOG_ODDS, ESCALATED_LOG_ODDS = -2.6, -3.0
"""Log-odds that a ticket is never answered, never solved, re-opened, escalated, at an account without pain."""
TROUBLE_PAIN_SLOPE = 0.55
"""Effect of a unit of pain on each of them."""
REQUEST_UNANSWERED_LOG_ODDS, LATE_ESCALATED_LOG_ODDS = 0.8, 1.0
"""Additional log-odds for a request (never answered), and for a ticket past its limit (escalated)."""
LIMIT_RECORDED_SHARE = 0.7
"""Share of the tickets with a recorded limit."""
CSAT_REQUEST_SHARE = 0.6
"""Share of the solved tickets that are followed by a satisfaction survey."""
CSAT_MEAN, CSAT_SLOPE, CSAT_SPREAD = 3.8, -0.70, 0.7
CSAT_RESPONSE_LOG_ODDS = 0.8
"""Log-odds that a satisfaction survey is answered."""


def draw_tickets(rng: np.random.Generator, world: World) -> ColumnArrays:
    """Draw all tickets; one row per ticket, in the order of opening."""
    habit = TICKET_SPREAD * rng.standard_normal(len(world.customers))
    pain, adoption = world.history[:, :, PAIN], world.history[:, :, ADOPTION]
    base_rate = MONTHLY_TICKETS + MONTHLY_TICKETS_PER_SEAT * np.minimum(world.customers.seats, 60)
    rate = base_rate * np.exp(TICKET_PAIN_SLOPE * pain + TICKET_ADOPTION_SLOPE * adoption + habit)
    month, account, day = world.draw_events(rng, rate, deciders=False)
    opened = draw_working_time(rng, day)
    order = np.argsort(opened, kind="stable")
    month, account, opened = month[order], account[order], opened[order]
    ticket_pain = np.asarray(pain[month, account])
    tier = rng.choice([S, A, B], len(account), p=[0.03, 0.17, 0.80])
    person = world.people.pick(rng, account, tier, opened // DAY)
    columns = {"account": account, "person": person, "opened": opened, "pain": ticket_pain}
    return columns | {"recorded": draw_arrival(rng, opened)} | ticket_histories(rng, opened, ticket_pain)


def ticket_histories(rng: np.random.Generator, opened: Ints, pain: Floats) -> ColumnArrays:
    """Draw the history of each ticket: kind, severity and the times of its later events."""
    kind, severity = draw_kinds(rng, pain)
    answered = opened + draw_durations(rng, RESPOND_HOURS[severity], RESPOND_PAIN_SLOPE * pain)
    work = draw_durations(rng, RESOLVE_HOURS[severity], RESOLVE_PAIN_SLOPE * pain)
    solved = answered + work
    unanswered = draw_trouble(
        rng, UNANSWERED_LOG_ODDS + REQUEST_UNANSWERED_LOG_ODDS * (kind == TICKET_KINDS.index("request")), pain
    )
    solved[unanswered | draw_trouble(rng, UNSOLVED_LOG_ODDS, pain)] = NEVER
    answered[unanswered] = NEVER
    reopened = draw_later_time(rng, solved, draw_trouble(rng, REOPENED_LOG_ODDS, pain), 12 * DAY)
    is_reopened = reopened < NEVER
    solved[is_reopened] = reopened[is_reopened] + work[is_reopened]
    limit = opened + (LIMIT_HOURS[severity] * HOUR).astype(np.int64)
    late = solved > limit
    is_escalated = draw_trouble(
        rng, np.where(late, ESCALATED_LOG_ODDS + LATE_ESCALATED_LOG_ODDS, ESCALATED_LOG_ODDS), pain
    )
    escalated = draw_later_time(rng, np.where(late, limit, opened + 2 * HOUR), is_escalated, 2 * DAY)
    has_limit = rng.random(len(opened)) < LIMIT_RECORDED_SHARE
    return {
        "kind": kind, "severity": severity, "answered": answered, "solved": solved, "reopened": reopened,
        "escalated": escalated, "limit": np.where(has_limit, limit, NEVER),
    }  # fmt: skip


def draw_kinds(rng: np.random.Generator, pain: Floats) -> tuple[Ints, Ints]:
    """Draw kind and severity: pain increases bugs and severity."""
    chance = rng.random(len(pain))
    bug_probability = sigmoid(0.25 * pain - 0.9)
    kind = np.where(chance < bug_probability, 0, np.where(chance < bug_probability + 0.25, 1, 2))
    severity = rng.normal(0.55 + 0.15 * pain + 0.3 * (kind == 0), 0.7)
    return kind, np.clip(np.round(severity), 0, len(SEVERITIES) - 1).astype(np.int64)


def draw_durations(rng: np.random.Generator, median: Floats, log_factor: Floats) -> Ints:
    """Draw durations in seconds from the median hours and a factor on them (log scale)."""
    return (median * rng.lognormal(log_factor, HOURS_SPREAD) * HOUR).astype(np.int64)


def draw_trouble(rng: np.random.Generator, log_odds: Floats | float, pain: Floats) -> Flags:
    """Draw the tickets with a problem that pain makes more likely."""
    return rng.random(len(pain)) < sigmoid(log_odds + TROUBLE_PAIN_SLOPE * pain)


def draw_later_time(rng: np.random.Generator, moment: Ints, occurs: Flags, within: int) -> Ints:
    """Draw a time within `within` seconds after `moment` where the event occurs; `NEVER` elsewhere."""
    after = moment + rng.integers(HOUR, within, len(moment))
    return np.where(occurs & (moment < NEVER), after, NEVER)


def draw_csat(rng: np.random.Generator, tickets: ColumnArrays) -> ColumnArrays:
    """Draw the satisfaction surveys after solved tickets; one row per request."""
    surveyed = (tickets["solved"] < NEVER) & (rng.random(len(tickets["solved"])) < CSAT_REQUEST_SHARE)
    account, person, pain = (tickets[name][surveyed] for name in ("account", "person", "pain"))
    sent = tickets["solved"][surveyed] + rng.integers(HOUR, DAY, len(account))
    score = np.clip(np.round(rng.normal(CSAT_MEAN + CSAT_SLOPE * pain, CSAT_SPREAD)), 1, 5)
    answers = rng.random(len(account)) < sigmoid(CSAT_RESPONSE_LOG_ODDS - 0.15 * pain)
    return {"account": account, "person": person, "sent": sent, "score": score, "answers": answers}
