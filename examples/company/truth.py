"""The truth about the example company, which no stage of the pipeline may read.

The oracle is the best possible prediction on a date: the renewal probability given all hidden states on that date.
Before the decision it projects the states in mean and variance (`states.LogOddsProjection`) and takes the
expectation of the decision over them. After the decision, the decision itself is a hidden state: the probability
is close to 0 or 1, and the rest is the risk of a missing payment or a reversal in the last days. Future
interventions are not anticipated; started ones count.
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
"""Maximum days from the date to the renewals that the oracle covers."""

USE_DROP_SHARE, MIN_EXPECTED_VISITS = 0.25, 6.0
"""Relative drop of the expected monthly visits that counts as `use_fell`, and the minimum of expected visits before."""
FIRST_RESPONSE_HOURS, FOLLOW_UP_DAYS = 4.0, 14
"""Limits that customers expect: hours to the first answer to a severe ticket, days to the follow-up of a low score."""

README_TEMPLATE = """# The truth about the example company

Written by `examples/company` for checking the pipeline, never for running it: **no stage, feature or
model may read this folder**.

- `renewals.parquet`: one row per renewal (account and nominal end of the term): the probability of
  renewing at the decision, the outcome, the date of the decision, and the hidden state that contributed
  most to a loss (`planted_cause`). It extends to a year after the end of the tables.
- `interventions.parquet`: one row per intervention in a decided term: the probability of its renewal at the
  decision, and the probability without this intervention, everything else unchanged.
- `events.parquet`: one row per event of an account, with its day and kind: the account decided to leave (`leaving`),
  an S or A person left (`sponsor_left`; `sponsor_vanished` if the departure was not recorded), the expected use fell
  by a quarter or more below the mean of three months (`use_fell`), the account was sold without reaching first value
  (`first_value_missed`), a limit of a severe ticket passed (`limit_passed`), {follow_up} days passed after a low
  answer without a follow-up (`low_score_left`).
- `oracle.parquet`: one row per account and month start with a running contract that ends within 365
  days: the renewal probability given all hidden states at that date, and those states.

An intervention adds {effect} to the log-odds of renewing when it starts; that fades by 10 % a month.
"""


def renewals(world: World, ids: pa.Array) -> pa.Table:
    """True probability, outcome and cause of the renewals due up to a year after the extract; one row per renewal."""
    decisions = world.journal.read("decisions")
    order = np.lexsort((decisions["product"], decisions["end"], decisions["account"]))
    decisions = {name: values[order] for name, values in decisions.items()}
    repeated = (np.diff(decisions["account"]) == 0) & (np.diff(decisions["end"]) == 0)
    main = np.concatenate([[True], ~repeated])  # the core product represents all contracts that end on the day
    selected = main & (decisions["end"] >= world.first_day) & (decisions["end"] <= world.extract_day + HORIZON_DAYS)
    decisions = {name: values[selected] for name, values in decisions.items()}
    return pa.table(
        {
            "account_id": ids.take(pa.array(decisions["account"])),
            "renewal_date": timestamps(decisions["end"] * DAY),
            "true_probability": decisions["probability"],
            "renewed": pa.array(decisions["renewed"].astype(np.int8)),
            "planted_cause": pa.array(np.array(CAUSES)[decisions["cause"]]),
            "decided_at": timestamps(decisions["decided"] * DAY),
        }
    )


def interventions(world: World, ids: pa.Array) -> pa.Table:
    """Effect of each recorded intervention on the renewal of the term then running; one row per intervention.

    The lift adds to the log-odds and changes nothing else. So the same company without one intervention, simulated with
    the same random numbers, differs only in that term of the log-odds. An earlier decision does not change.
    """
    treated, terms = world.recorded_rows("interventions"), decided_terms(world.journal)
    payable = terms["probability"] > 0  # excludes booked follow-ons that are never paid: no intervention starts in them
    terms = {name: values[payable] for name, values in terms.items()}
    position = running_term_index(terms, treated["account"], treated["day"])
    matched = position >= 0
    term = {name: values[position[matched]] for name, values in terms.items()}
    account, day = treated["account"][matched], treated["day"][matched]
    months = month_number(term["decided"]) - month_number(day)
    lift = np.where(months > 0, hidden.INTERVENTION_EFFECT * hidden.TRANSITION[LIFT, LIFT] ** (months - 1.0), 0.0)
    without = hidden.sigmoid(decision_log_odds(term["probability"]) - lift)
    return pa.table(
        {
            "account_id": ids.take(pa.array(account)),
            "started_on": timestamps(day * DAY),
            "playbook": pa.array(np.array(PLAYBOOKS)[treated["playbook"][matched]]),
            "renewal_date": timestamps(term["end"] * DAY),
            "decided_at": timestamps(term["decided"] * DAY),
            "probability": pa.array(term["probability"]),
            "probability_without": pa.array(final_probability(without)),
        }
    )


def events(world: World, ids: pa.Array, tickets: ColumnArrays, surveys: ColumnArrays, roster: ColumnArrays) -> pa.Table:
    """Events of the accounts in the recorded months, recorded in the tables or not; one row per event."""
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
    selected = np.flatnonzero((day >= world.first_day) & (day < world.extract_day))
    order = selected[np.lexsort((kind[selected], account[selected], day[selected]))]
    return pa.table(
        {
            "account_id": ids.take(pa.array(account[order])),
            "happened_on": timestamps(day[order] * DAY),
            "kind": pa.array(np.array(list(parts))[kind[order]]),
        }
    )


EventArrays = tuple[Ints, Ints]
"""Account and day; one entry per event."""


def leaving_accounts(world: World) -> EventArrays:
    """Accounts that decided to leave, and the day from which their use declines."""
    spells = world.journal.read("spells")
    lost = spells["lost"] < NEVER_DAY
    return spells["account"][lost], spells["lost"][lost]


def sponsor_departures(world: World, roster: ColumnArrays, *, recorded: bool) -> EventArrays:
    """Departures of S and A people while their account was a customer, recorded ones or unrecorded ones."""
    people = world.people
    is_recorded = np.zeros(len(people), dtype=bool)
    is_recorded[roster["person"][roster["end"] == people.last[roster["person"]] * DAY]] = True
    sponsor = np.flatnonzero((people.tier <= A) & (people.last < NEVER_DAY) & (is_recorded == recorded))
    account, day = people.account[sponsor], people.last[sponsor]
    is_customer = world.presence.is_customer(account, day)
    return account[is_customer], day[is_customer]


def usage_drops(world: World) -> EventArrays:
    """Months whose expected use is far below that of the three months before, on their first day."""
    use = expected_visits(world)
    before = (use[:-3] + use[1:-2] + use[2:-1]) / 3
    month, account = np.nonzero(use[3:] <= (1 - USE_DROP_SHARE) * before)
    steady = before[month, account] >= MIN_EXPECTED_VISITS
    day = world.month_starts[month[steady] + 3]
    is_customer = world.presence.is_customer(account[steady], day)
    return account[steady][is_customer], day[is_customer]


def missed_first_values(world: World) -> EventArrays:
    """Accounts that do not reach first value, on the day of their purchase."""
    missed = np.flatnonzero(~world.traits.first_value)
    return missed, world.customers.purchase_day[missed]


def ticket_limit_breaches(tickets: ColumnArrays) -> EventArrays:
    """Severe tickets that were not answered or solved in time, on the day on which the first limit passed."""
    severe = tickets["severity"] == SEVERITIES.index("high")
    answer_by = tickets["opened"] + int(FIRST_RESPONSE_HOURS * HOUR)
    solve_by = tickets["opened"] + int(LIMIT_HOURS[-1] * HOUR)
    unanswered = np.minimum(tickets["answered"], tickets["solved"]) > answer_by
    passed = np.where(unanswered, answer_by, np.where(tickets["solved"] > solve_by, solve_by, NEVER))
    late = severe & (passed < NEVER)
    return tickets["account"][late], passed[late] // DAY


def unattended_low_scores(surveys: ColumnArrays) -> EventArrays:
    """Low survey scores without a follow-up, on the day on which the follow-up was overdue."""
    limit = np.where(surveys["csat"], LOW_CSAT, LOW_NPS)
    due = surveys["answered"] + FOLLOW_UP_DAYS * DAY
    unattended = (surveys["answered"] < NEVER) & (surveys["score"] <= limit) & (surveys["followed"] > due)
    return surveys["account"][unattended], due[unattended] // DAY


def running_term_index(terms: ColumnArrays, account: Ints, day: Ints) -> Ints:
    """Index, among decided core terms, of the term that each account was in on a day; -1 if there is none."""
    order = np.lexsort((terms["start"], terms["account"]))
    key = terms["account"][order] * NEVER_DAY + terms["start"][order]
    position = order[np.maximum(np.searchsorted(key, account * NEVER_DAY + day, side="right") - 1, 0)]
    inside = (
        (terms["account"][position] == account)
        & (terms["start"][position] <= day)
        & (day < terms["effective"][position])
    )
    return np.where(inside, position, -1)


def final_probability(decision_probability: Floats) -> Floats:
    """Probability of the outcome *renewed*, from the probability of a positive decision."""
    return np.asarray((1 - FALL_THROUGH_SHARE) * decision_probability + RESCUE_SHARE * (1 - decision_probability))


def decision_log_odds(probability: Floats) -> Floats:
    """Log-odds of a positive decision, from the probability of the outcome *renewed*."""
    decision_probability = (probability - RESCUE_SHARE) / (1 - FALL_THROUGH_SHARE - RESCUE_SHARE)
    return np.asarray(np.log(decision_probability) - np.log1p(-decision_probability))


def timestamps(seconds: Ints) -> pa.Array:
    """Naive UTC timestamps in microseconds."""
    return pa.array(seconds * 1_000_000).cast(pa.timestamp("us"))


def decided_terms(journal: Journal) -> ColumnArrays:
    """The core terms with their decisions; one row per decided term."""
    terms, decisions = journal.read("terms"), journal.read("decisions")
    core = decisions["product"] == 0
    decisions = {name: values[core] for name, values in decisions.items()}
    rows = np.arange(len(terms["account"]))
    position = look_up_values(
        decisions["account"] * 1_000 + decisions["term"], terms["account"] * 1_000 + terms["term"], rows, -1
    )
    return decisions | {name: terms[name][position] for name in ("start", "signed", "renewals", "auto")}


def oracle(world: World, ids: pa.Array) -> pa.Table:
    """Oracle predictions on each recorded month start and on the day of the extract; one row per account and date."""
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
    """Oracle predictions on the first day of one month of the full history; one row per account."""
    running = (terms["start"] <= day) & (terms["signed"] < day * DAY) & (day < terms["effective"])
    due = running & (terms["end"] - day <= HORIZON_DAYS)
    term = {name: values[due] for name, values in terms.items()}
    states = world.full_history[month, term["account"]]
    decided = term["decided"] < day
    after_decision = np.where(term["wants"], 1 - FALL_THROUGH_SHARE, RESCUE_SHARE)
    before_decision = expected_decision(world, term, states, day)
    return {
        "account": term["account"],
        "as_of": np.full(len(decided), day),
        "end": term["end"],
        "decided": decided,
        "probability": np.where(decided, after_decision, final_probability(before_decision)),
        "states": states,
    }


def expected_decision(world: World, term: ColumnArrays, states: Floats, day: int) -> Floats:
    """Probability of a positive decision in a later month, given the states on `day`."""
    account, traits = term["account"], world.traits
    months_ahead = np.maximum(month_number(term["decided"]) - month_number(np.array([day])), 0)
    projection = LogOddsProjection(int(months_ahead.max(initial=0)))
    fit, first_value = world.customers.fit[account], traits.first_value[account]
    fixed = hidden.fixed_log_odds(fit, first_value, term["renewals"], term["auto"])
    mean = fixed + projection.mean(states, traits.monthly_drift[account], months_ahead)
    return hidden.expected_probability(mean, projection.variance(traits.goal_chance[account], months_ahead))


def month_number(day: Ints) -> Ints:
    """Months since January 1970."""
    return np.asarray(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64))
