"""The truth about the example company, which no stage of the pipeline may read.

The oracle is the most that anybody could know on a date: the renewal probability given all hidden
states then. Before the decision it carries the states forward in mean and variance (`states.LogOddsProjection`)
and takes the expectation of the decision over them. From the decision on, the decision itself is a
hidden state: only what may still go wrong (a payment that never comes, a rescue in the last days)
keeps it from 0 and 1. Interventions still to come are not foreseen; those begun are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from renewals.examples.company import states as hidden
from renewals.examples.company.clock import DAY, HOUR, NEVER, NEVER_DAY, Floats, Ints
from renewals.examples.company.contact import LOW_CSAT, LOW_NPS
from renewals.examples.company.customers import EARLIER_MONTHS
from renewals.examples.company.journey import (
    FALL_THROUGH_SHARE,
    PLAYBOOKS,
    RESCUE_SHARE,
    ColumnArrays,
    Journal,
    look_up_values,
)
from renewals.examples.company.people import A
from renewals.examples.company.states import CAUSES, LIFT, STATES, LogOddsProjection
from renewals.examples.company.support import LIMIT_HOURS, SEVERITIES
from renewals.examples.company.usage import expected_visits
from renewals.examples.company.world import World

HORIZON_DAYS = 365
"""The oracle speaks about renewals at most this far away."""

USE_DROP_SHARE, MIN_EXPECTED_VISITS = 0.25, 6.0
"""Use fell where the visits to be expected in a month lie this share below, at an account with so many."""
FIRST_RESPONSE_HOURS, FOLLOW_UP_DAYS = 4.0, 14
"""Hours to a first answer to a grave ticket, and days to a word on a low score, that customers take for granted."""

README_TEMPLATE = """# The truth about the example company

Written by `examples/company` for checking the pipeline, never for running it: **no stage, feature or
model may read this folder**.

- `renewals.parquet`: one row per renewal (account and nominal end of the term): the probability of
  renewing when it was decided, whether it was renewed, when it was decided, and the hidden state that
  pushed most towards loss (`planted_cause`). It reaches a year beyond the end of the tables.
- `interventions.parquet`: one row per intervention into a term that was decided: the probability that its renewal
  had when it was decided, and the one it would have had without this intervention, all else the same.
- `events.parquet`: one row per thing that befell an account, with its day and kind: it decided to leave
  (`leaving_accounts`),
  an S or A person left (`sponsor_left`; `sponsor_vanished` where nobody wrote it down), the use to be expected of it
  fell by a quarter and more below that of three months (`use_fell`), it was sold to without reaching first value
  (`missed_first_values`), the limit of a grave ticket passed (`limit_passed`), {follow_up} days went by after a low
  answer (`low_score_left`).
- `oracle.parquet`: one row per account and month start with a running contract that ends within 365
  days: the renewal probability given all hidden states at that date, and those states.

An intervention adds {effect} to the log-odds of renewing when it starts; that fades by 10 % a month.
"""


def renewals(world: World, ids: pa.Array) -> pa.Table:
    """The truth about each renewal due from the first recorded day to a year after the extract; one row per renewal."""
    fate = world.journal.read("decisions")
    order = np.lexsort((fate["product"], fate["end"], fate["account"]))
    fate = {name: values[order] for name, values in fate.items()}
    same = (np.diff(fate["account"]) == 0) & (np.diff(fate["end"]) == 0)
    main = np.concatenate([[True], ~same])  # the core product speaks for all that ends on the day
    wanted = main & (fate["end"] >= world.first_day) & (fate["end"] <= world.extract_day + HORIZON_DAYS)
    fate = {name: values[wanted] for name, values in fate.items()}
    return pa.table(
        {
            "account_id": ids.take(pa.array(fate["account"])),
            "renewal_date": timestamps(fate["end"] * DAY),
            "true_probability": fate["probability"],
            "renewed": pa.array(fate["renewed"].astype(np.int8)),
            "planted_cause": pa.array(np.array(CAUSES)[fate["cause"]]),
            "decided_at": timestamps(fate["decided"] * DAY),
        }
    )


def interventions(world: World, ids: pa.Array) -> pa.Table:
    """What each recorded intervention did to the renewal of the term then running; one row per intervention.

    The lift adds to the log-odds and moves nothing else, so the same company without one intervention, lived through
    with the same random numbers, differs in that term of the log-odds alone. A decision already taken is not moved.
    """
    treated, terms = world.recorded_rows("interventions"), decided_terms(world.journal)
    paid_for = terms["probability"] > 0  # not a follow-on that was booked and never paid: nobody is treated in one
    terms = {name: values[paid_for] for name, values in terms.items()}
    place = running_term_index(terms, treated["account"], treated["day"])
    found = place >= 0
    term = {name: values[place[found]] for name, values in terms.items()}
    account, day = treated["account"][found], treated["day"][found]
    months = month_number(term["decided"]) - month_number(day)
    lift = np.where(months > 0, hidden.INTERVENTION_EFFECT * hidden.TRANSITION[LIFT, LIFT] ** (months - 1.0), 0.0)
    without = hidden.sigmoid(decision_log_odds(term["probability"]) - lift)
    return pa.table(
        {
            "account_id": ids.take(pa.array(account)),
            "started_on": timestamps(day * DAY),
            "playbook": pa.array(np.array(PLAYBOOKS)[treated["playbook"][found]]),
            "renewal_date": timestamps(term["end"] * DAY),
            "decided_at": timestamps(term["decided"] * DAY),
            "probability": pa.array(term["probability"]),
            "probability_without": pa.array(final_probability(without)),
        }
    )


def events(world: World, ids: pa.Array, tickets: ColumnArrays, surveys: ColumnArrays, roster: ColumnArrays) -> pa.Table:
    """What befell the accounts in the recorded months, known to anybody or not; one row per event."""
    parts = {
        "leaving": leaving_accounts(world),
        "sponsor_left": sponsor_departures(world, roster, recorded=True),
        "sponsor_vanished": sponsor_departures(world, roster, recorded=False),
        "use_fell": usage_drops(world),
        "first_value_missed": missed_first_values(world),
        "limit_passed": ticket_limit_breaches(tickets),
        "low_score_left": unattended_low_scores(surveys),
    }
    kind = np.repeat(np.arange(len(parts)), [len(account) for account, _ in parts.values()])
    account, day = (np.concatenate(column) for column in zip(*parts.values(), strict=True))
    kept = np.flatnonzero((day >= world.first_day) & (day < world.extract_day))
    order = kept[np.lexsort((kind[kept], account[kept], day[kept]))]
    return pa.table(
        {
            "account_id": ids.take(pa.array(account[order])),
            "happened_on": timestamps(day[order] * DAY),
            "kind": pa.array(np.array(list(parts))[kind[order]]),
        }
    )


EventArrays = tuple[Ints, Ints]
"""Account and day of what befell; one entry per event."""


def leaving_accounts(world: World) -> EventArrays:
    """Accounts that decided to leave, on the day from which their use dies down."""
    spells = world.journal.read("spells")
    lost = spells["lost"] < NEVER_DAY
    return spells["account"][lost], spells["lost"][lost]


def sponsor_departures(world: World, roster: ColumnArrays, *, recorded: bool) -> EventArrays:
    """S and A people who left while their account was a customer, and whose leaving was written down, or was not."""
    people = world.people
    written = np.zeros(len(people), dtype=bool)
    written[roster["person"][roster["end"] == people.last[roster["person"]] * DAY]] = True
    sponsor = np.flatnonzero((people.tier <= A) & (people.last < NEVER_DAY) & (written == recorded))
    account, day = people.account[sponsor], people.last[sponsor]
    there = world.presence.is_customer(account, day)
    return account[there], day[there]


def usage_drops(world: World) -> EventArrays:
    """Months that begin with so much less use to be expected than in the three before, on their first day."""
    use = expected_visits(world)
    before = (use[:-3] + use[1:-2] + use[2:-1]) / 3
    month, account = np.nonzero(use[3:] <= (1 - USE_DROP_SHARE) * before)
    steady = before[month, account] >= MIN_EXPECTED_VISITS
    day = world.month_starts[month[steady] + 3]
    here = world.presence.is_customer(account[steady], day)
    return account[steady][here], day[here]


def missed_first_values(world: World) -> EventArrays:
    """Accounts that do not reach first value, on the day they bought."""
    missed = np.flatnonzero(~world.traits.first_value)
    return missed, world.customers.purchase_day[missed]


def ticket_limit_breaches(tickets: ColumnArrays) -> EventArrays:
    """Grave tickets that were neither answered nor solved in time, on the day the first limit passed."""
    grave = tickets["severity"] == SEVERITIES.index("high")
    answer_by = tickets["opened"] + int(FIRST_RESPONSE_HOURS * HOUR)
    solve_by = tickets["opened"] + int(LIMIT_HOURS[-1] * HOUR)
    unanswered = np.minimum(tickets["answered"], tickets["solved"]) > answer_by
    passed = np.where(unanswered, answer_by, np.where(tickets["solved"] > solve_by, solve_by, NEVER))
    late = grave & (passed < NEVER)
    return tickets["account"][late], passed[late] // DAY


def unattended_low_scores(surveys: ColumnArrays) -> EventArrays:
    """Low answers with nobody's word on them, on the day that had become too late."""
    grade = np.where(surveys["csat"], LOW_CSAT, LOW_NPS)
    due = surveys["answered"] + FOLLOW_UP_DAYS * DAY
    left = (surveys["answered"] < NEVER) & (surveys["score"] <= grade) & (surveys["followed"] > due)
    return surveys["account"][left], due[left] // DAY


def running_term_index(terms: ColumnArrays, account: Ints, day: Ints) -> Ints:
    """The place among decided core terms of the one that each account was in on a day; -1 where there is none."""
    order = np.lexsort((terms["start"], terms["account"]))
    key = terms["account"][order] * NEVER_DAY + terms["start"][order]
    place = order[np.maximum(np.searchsorted(key, account * NEVER_DAY + day, side="right") - 1, 0)]
    inside = (terms["account"][place] == account) & (terms["start"][place] <= day) & (day < terms["effective"][place])
    return np.where(inside, place, -1)


def final_probability(decision_probability: Floats) -> Floats:
    """The chance that a renewal comes about, from the chance that it is decided for."""
    return np.asarray((1 - FALL_THROUGH_SHARE) * decision_probability + RESCUE_SHARE * (1 - decision_probability))


def decision_log_odds(probability: Floats) -> Floats:
    """The log-odds behind a decision, from the chance that the renewal came about."""
    wanted = (probability - RESCUE_SHARE) / (1 - FALL_THROUGH_SHARE - RESCUE_SHARE)
    return np.asarray(np.log(wanted) - np.log1p(-wanted))


def timestamps(seconds: Ints) -> pa.Array:
    """Naive UTC timestamps in microseconds."""
    return pa.array(seconds * 1_000_000).cast(pa.timestamp("us"))


def decided_terms(journal: Journal) -> ColumnArrays:
    """The core terms and how they were decided; one row per decided term."""
    terms, fate = journal.read("terms"), journal.read("decisions")
    core = fate["product"] == 0
    fate = {name: values[core] for name, values in fate.items()}
    rows = np.arange(len(terms["account"]))
    place = look_up_values(fate["account"] * 1_000 + fate["term"], terms["account"] * 1_000 + terms["term"], rows, -1)
    return fate | {name: terms[name][place] for name in ("start", "signed", "renewals", "auto")}


def oracle(world: World, ids: pa.Array) -> pa.Table:
    """The oracle on each recorded month start and on the day of the extract; one row per account and date."""
    terms = decided_terms(world.journal)
    dates = world.month_starts.tolist()
    parts = [oracle_rows(world, terms, EARLIER_MONTHS + month, day) for month, day in enumerate(dates)]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns = {
        "account_id": ids.take(pa.array(rows["account"])),
        "as_of": timestamps(rows["as_of"] * DAY),
        "renewal_date": timestamps(rows["end"] * DAY),
        "days_to_renewal": pa.array(rows["end"] - rows["as_of"]),
        "oracle_probability": pa.array(rows["probability"]),
        "decided": pa.array(rows["decided"]),
        "fit": pa.array(world.customers.fit[rows["account"]]),
        "first_value": pa.array(world.traits.first_value[rows["account"]]),
    }
    return pa.table(columns | {name: pa.array(rows["states"][:, index]) for index, name in enumerate(STATES)})


def oracle_rows(world: World, terms: ColumnArrays, month: int, day: int) -> ColumnArrays:
    """The oracle on the first day of a month of the whole history; one row per account."""
    running = (terms["start"] <= day) & (terms["signed"] < day * DAY) & (day < terms["effective"])
    due = running & (terms["end"] - day <= HORIZON_DAYS)
    term = {name: values[due] for name, values in terms.items()}
    states = world.full_history[month, term["account"]]
    decided = term["decided"] < day
    known = np.where(term["wants"], 1 - FALL_THROUGH_SHARE, RESCUE_SHARE)
    expected = expected_decision(world, term, states, day)
    return {
        "account": term["account"],
        "as_of": np.full(len(decided), day),
        "end": term["end"],
        "decided": decided,
        "probability": np.where(decided, known, final_probability(expected)),
        "states": states,
    }


def expected_decision(world: World, term: ColumnArrays, states: Floats, day: int) -> Floats:
    """The chance of a decision in favour, months ahead, given the states on `day`."""
    account, temper = term["account"], world.traits
    ahead = np.maximum(month_number(term["decided"]) - month_number(np.array([day])), 0)
    outlook = LogOddsProjection(int(ahead.max(initial=0)))
    fit, first_value = world.customers.fit[account], temper.first_value[account]
    lasting = hidden.fixed_log_odds(fit, first_value, term["renewals"], term["auto"])
    mean = lasting + outlook.mean(states, temper.monthly_drift[account], ahead)
    return hidden.expected_probability(mean, outlook.variance(temper.goal_chance[account], ahead))


def month_number(day: Ints) -> Ints:
    """Months since January 1970."""
    return np.asarray(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64))
