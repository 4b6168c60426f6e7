"""Properties of time for the spine and all features: rows and facts that were not known have no effect.

Every test covers all of `FAMILIES` through the engine's answers, so a new feature is tested at once. A world is sixty
accounts observed on six dates; a failure names the account, and its id contains the seed.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.features.registry import FAMILIES
from renewals.features.tables import TABLES
from tests.oracle import answers as oracle
from tests.oracle.known import LATER, midnight
from tests.oracle.outcomes import OUTCOMES
from tests.oracle.worlds import differences, engine
from tests.properties.accounts import DATES, POLICY, settle
from tests.properties.laws import (
    DAYS,
    LOOPED,
    SEEDS,
    at,
    filter_rows,
    is_known_before,
    map_rows,
    merge_worlds,
    month_of_arrival,
    observations_until,
    project,
    rewrite_later_facts,
    rows_dated_ahead,
    rows_known_later,
    without_account_rows,
)

FIRST, LAST = DATES[0], DATES[-1]


# --- the oracle --------------------------------------------------------------------------------


@given(seeds=SEEDS)
def test_features_equal_the_oracle(seeds):
    world = settle(seeds)
    assert differences(oracle.answers(world, DATES, POLICY), project().answers(world)) == []


@pytest.mark.slow
@settings(max_examples=150, derandomize=False)
@given(seeds=SEEDS)
def test_features_equal_the_oracle_in_many_worlds(seeds):
    world = settle(seeds)
    assert differences(oracle.answers(world, DATES, POLICY), project().answers(world)) == []


def test_every_feature_varies_in_the_worlds():
    """Every feature must have different values, or the properties would test nothing.

    Features of relatives are excluded: these worlds have none, so that each account can be computed alone (see
    `test_fit`).
    """
    result = project().answers(settle(range(200)))
    assert len(result["spine"]) > 400
    constant = {
        feature.name
        for name, family in FAMILIES.items()
        for feature in family.features
        if feature.source != "related_account" and len({row[feature.name] for row in result[name].values()}) < 2
    }
    assert not constant, f"always the same: {sorted(constant)}"


@given(seeds=SEEDS)
def test_one_row_per_observation(seeds):
    """The families have exactly the observations of the spine (`answers` refuses repeated keys)."""
    result = project().answers(settle(seeds))
    assert [name for name in FAMILIES if set(result[name]) != set(result["spine"])] == []


# --- rows and facts known later ----------------------------------------------------------------


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_rows_known_later_change_nothing_before(seeds, days):
    """Rows appended with a known time at or after a date change no feature and no observation up to it."""
    world, masters = without_account_rows(settle(seeds))
    before = project().answers(world)
    for day in days:
        later = rows_known_later(at(day), seeds)
        later["accounts"] = [row for row in masters if not is_known_before("accounts", row, at(day))]
        after = project().answers(merge_worlds(world, later))
        assert differences(before, after, observations_until(day, before, after)) == []
        assert day == LAST or differences(before, after), "nothing was appended that ever mattered"


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_an_event_dated_after_its_arrival_counts_from_its_event_time_on(seeds, days):
    """An event dated after its known time, from a fast clock, has no effect before its own time."""
    world = settle(seeds)
    before = project().answers(world)
    for day in days:
        after = project().answers(merge_worlds(world, rows_dated_ahead(at(FIRST), at(day), seeds)))
        assert differences(before, after, observations_until(day, before, after)) == []
        assert day == LAST or differences(before, after), "nothing was appended that ever mattered"


SETTLED_FACTS = [("accounts", "merged_into_account_id"), ("accounts", "merged_at"), ("contracts", "deleted_at")]
"""Facts that these worlds do not have: what they change is settled with the contracts (`test_contract_laws.py`)."""


@LOOPED
@given(seeds=SEEDS, days=DAYS, random=st.randoms(use_true_random=True))
def test_later_facts_inside_earlier_rows_change_nothing_before(seeds, days, random):
    """A resolution, departure, payment or cancellation at or after a date has no effect on it."""
    world = settle(seeds)
    before = project().answers(world)
    change_counts = dict.fromkeys(((t, c) for t, columns in LATER.items() for c in columns), 0)
    for fact in SETTLED_FACTS:
        del change_counts[fact]
    for day in days:
        changed, counts = rewrite_later_facts(world, at(day), random)
        after = project().answers(changed)
        assert differences(before, after, observations_until(day, before, after)) == []
        assert day == LAST or differences(before, after), "no changed fact has an effect"
        change_counts = {key: change_counts[key] + counts[key] for key in change_counts}
    assert all(change_counts.values()), f"never changed: {[key for key, count in change_counts.items() if not count]}"


def test_every_later_fact_of_the_contract_is_rewritten():
    """The later facts of these tests are those of the data contract."""
    declared = {
        (table.name, column.name, column.name if column.known == "itself" else column.known)
        for table in TABLES.values()
        for column in table.columns.values()
        if column.known is not None
    }
    assert declared == {(table, column, when) for table, columns in LATER.items() for column, when in columns.items()}


# --- rows of the account, their order and repetition -------------------------------------------


@LOOPED
@given(seeds=SEEDS)
def test_an_account_depends_on_the_rows_of_that_account_only(seeds):
    """Without every second account, or with changed rows of these, the remaining accounts are unchanged."""
    world = settle(seeds)
    second_accounts = {f"a{seed}" for seed in seeds[::2]}
    before = project().answers(world)
    remaining = {key for key in before["spine"] if key[0] not in second_accounts}
    without_second = filter_rows(world, lambda table, row: table == "rates" or row["account_id"] not in second_accounts)
    changed = merge_worlds(
        without_second, filter_rows(rows_known_later(at(FIRST), seeds[::2]), lambda table, row: table != "rates")
    )
    for answer in (project().answers(without_second), project().answers(changed)):
        assert differences(before, answer, remaining) == []
        assert differences(before, answer) != []


@given(seeds=SEEDS)
def test_order_and_exact_duplicates_change_nothing(seeds):
    """The events of these worlds have exact times; rounded times are tested below."""
    world = settle(seeds)
    random = Random(seeds[0])
    doubled = {table: rows + random.choices(rows, k=len(rows) // 2) if rows else [] for table, rows in world.items()}
    shuffled = {table: random.sample(rows, len(rows)) for table, rows in doubled.items()}
    assert differences(project().answers(world), project().answers(shuffled)) == []


@given(seeds=SEEDS)
def test_equal_events_of_rounded_times_equal_a_quantity(seeds):
    world, random = settle(seeds), Random(seeds[0])
    days = [_with_rounded_time(row) for row in world["usage_events"]]
    once = list({tuple(row.items()): row for row in days}.values())
    times = [1, 2, *random.choices((1, 2, 3, 7), k=len(once) - 2)]
    repeated = [row for row, often in zip(once, times, strict=True) for _ in range(often)]
    added_up = [row | {"quantity": float(often)} for row, often in zip(once, times, strict=True)]
    shuffled = random.sample(repeated, len(repeated))
    result = project().answers(world | {"usage_events": shuffled})
    assert differences(project().answers(world | {"usage_events": added_up}), result) == []
    assert differences(project().answers(world | {"usage_events": once}), result) != []
    assert differences(project().answers(world | {"usage_events": shuffled * 2}), result) == []


def _with_rounded_time(event):
    return event | {"occurred_at": midnight(event["occurred_at"].date()), "duration_s": None, "quantity": None}


# --- dates, parts and the calendar -------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2024, 9, 1), LAST])
@LOOPED
@given(seeds=SEEDS)
def test_dates_computed_together_equal_dates_computed_alone(day, seeds):
    """Training computes many dates at once and scoring one: slices must not depend on the calendar."""
    world = settle(seeds)
    together, alone = project().answers(world), engine((day,), POLICY).answers(world)
    assert alone["spine"]
    assert differences(alone, together, set(alone["spine"])) == []
    assert {key for key in together["spine"] if key[1] == day} == set(alone["spine"])


@given(seeds=SEEDS)
def test_a_roll_up_in_parts_by_month_of_arrival_equals_one_at_once(seeds):
    world = settle(seeds)
    assert len({month_of_arrival(event) for event in world["usage_events"]}) > 12
    assert differences(project().answers(world), project().answers(world, parts=month_of_arrival)) == []


@LOOPED
@given(seeds=SEEDS)
def test_rows_shifted_by_a_day_give_answers_shifted_by_a_day(seeds):
    """No feature depends on calendar dates: all instants and dates shifted by a day give shifted answers.

    Only the cohort does, which is a calendar year, and the next day may be in the next year.
    """
    day = timedelta(days=1)
    world = settle(seeds)
    shifted_world = map_rows(world, lambda table, row: _shift_dates(row, day))
    shifted_outcomes = [_shift_dates(row, day) for row in OUTCOMES]
    expected, shifted = (
        engine((LAST,), POLICY).answers(world),
        engine((LAST + day,), POLICY).answers(shifted_world, outcomes=shifted_outcomes),
    )
    back = {
        name: {
            (account, when - day, _shift_end(renewal_id, -day)): _without_calendar_columns(_shift_dates(row, -day))
            for (account, when, renewal_id), row in shifted[name].items()
        }
        for name in shifted
    }
    assert differences(back, expected) == []


def _without_calendar_columns(row):
    return {
        name: value
        for name, value in row.items()
        if name not in ("similar_customers_renewal_rate_cohort", "similar_customers_lift", "renewal_id")
    }


def _shift_end(renewal_id, by):
    """Identifier of a renewal with its end date moved."""
    account, _, end = renewal_id.rpartition(":")
    return f"{account}:{date.fromisoformat(end) + by if end else ''}"


def _shift_dates(row, by):
    """Row with all dates moved; `day`, which counts from 1970, is removed."""
    return {
        column: value + by if isinstance(value, date) else value for column, value in row.items() if column != "day"
    }
