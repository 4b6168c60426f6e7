"""The laws of time, over the spine and the whole catalogue: what was not known cannot matter.

Every test walks `FAMILIES` by way of the engine's answers, so a new feature is under the laws from its first day.
A world is sixty accounts seen on six dates; a failure names the account, whose id is its seed.
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
    each,
    joined,
    learnt_from,
    month_of_arrival,
    only,
    project,
    rewritten,
    seen_before,
    until,
    without_masters,
    written_ahead,
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


def test_worlds_are_worth_looking_at():
    """Every feature differs between observations: else the laws would be empty words.

    But for relatives, which these worlds have not, so that each account can be told of alone: see `test_fit`.
    """
    found = project().answers(settle(range(200)))
    assert len(found["spine"]) > 400
    dull = {
        feature.name
        for name, family in FAMILIES.items()
        for feature in family.features
        if feature.source != "relative" and len({row[feature.name] for row in found[name].values()}) < 2
    }
    assert not dull, f"always the same: {sorted(dull)}"


@given(seeds=SEEDS)
def test_one_row_per_observation(seeds):
    """Nothing is lost and nothing fans out between the spine and the families (`answers` refuses repeated keys)."""
    found = project().answers(settle(seeds))
    assert [name for name in FAMILIES if set(found[name]) != set(found["spine"])] == []


# --- what is learnt later ----------------------------------------------------------------------


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_rows_known_later_change_nothing_before(seeds, days):
    """Appending rows known at or after a date changes no feature and no observation up to it."""
    world, masters = without_masters(settle(seeds))
    before = project().answers(world)
    for day in days:
        later = learnt_from(at(day), seeds)
        later["accounts"] = [row for row in masters if not seen_before("accounts", row, at(day))]
        after = project().answers(joined(world, later))
        assert differences(before, after, until(day, before, after)) == []
        assert day == LAST or differences(before, after), "nothing was appended that ever mattered"


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_an_event_ahead_of_its_arrival_waits_until_it_has_happened(seeds, days):
    """A clock that runs ahead dates an event after its arrival: whatever it is, it is not seen before its own time."""
    world = settle(seeds)
    before = project().answers(world)
    for day in days:
        after = project().answers(joined(world, written_ahead(at(FIRST), at(day), seeds)))
        assert differences(before, after, until(day, before, after)) == []
        assert day == LAST or differences(before, after), "nothing was appended that ever mattered"


@LOOPED
@given(seeds=SEEDS, days=DAYS, random=st.randoms(use_true_random=True))
def test_facts_of_later_inside_earlier_rows_change_nothing_before(seeds, days, random):
    """A resolution, a leaving, a payment or a cancellation at or after a date may be anything: it is not seen there."""
    world = settle(seeds)
    before = project().answers(world)
    touched = dict.fromkeys(((t, c) for t, columns in LATER.items() for c in columns), 0)
    for day in days:
        changed, counts = rewritten(world, at(day), random)
        after = project().answers(changed)
        assert differences(before, after, until(day, before, after)) == []
        assert day == LAST or differences(before, after), "nothing was changed that ever mattered"
        touched = {key: touched[key] + counts[key] for key in touched}
    assert all(touched.values()), f"never changed: {[key for key, count in touched.items() if not count]}"


def test_every_column_that_is_filled_in_later_is_rewritten():
    """The laws' own list of later facts is the contract's."""
    declared = {
        (table.name, column.name, column.name if column.known == "itself" else column.known)
        for table in TABLES.values()
        for column in table.columns.values()
        if column.known is not None
    }
    assert declared == {(table, column, when) for table, columns in LATER.items() for column, when in columns.items()}


# --- whose rows, in which order, how often -----------------------------------------------------


@LOOPED
@given(seeds=SEEDS)
def test_an_account_depends_on_its_own_rows_only(seeds):
    """Without every second account, and with these living another life, the others stay as they were."""
    world = settle(seeds)
    others = {f"a{seed}" for seed in seeds[::2]}
    before = project().answers(world)
    mine = {key for key in before["spine"] if key[0] not in others}
    gone = only(world, lambda table, row: table == "rates" or row["account_id"] not in others)
    changed = joined(gone, only(learnt_from(at(FIRST), seeds[::2]), lambda table, row: table != "rates"))
    for answer in (project().answers(gone), project().answers(changed)):
        assert differences(before, answer, mine) == []
        assert differences(before, answer) != []


@given(seeds=SEEDS)
def test_order_and_exact_duplicates_change_nothing(seeds):
    """The events of these worlds have exact times; those of rounded times are uses of their own, as below."""
    world = settle(seeds)
    random = Random(seeds[0])
    doubled = {table: rows + random.choices(rows, k=len(rows) // 2) if rows else [] for table, rows in world.items()}
    shuffled = {table: random.sample(rows, len(rows)) for table, rows in doubled.items()}
    assert differences(project().answers(world), project().answers(shuffled)) == []


@given(seeds=SEEDS)
def test_equal_events_of_rounded_times_count_as_a_quantity_does(seeds):
    world, random = settle(seeds), Random(seeds[0])
    days = [_rounded(row) for row in world["usage_events"]]
    once = list({tuple(row.items()): row for row in days}.values())
    times = [1, 2, *random.choices((1, 2, 3, 7), k=len(once) - 2)]
    repeated = [row for row, often in zip(once, times, strict=True) for _ in range(often)]
    added_up = [row | {"quantity": float(often)} for row, often in zip(once, times, strict=True)]
    shuffled = random.sample(repeated, len(repeated))
    found = project().answers(world | {"usage_events": shuffled})
    assert differences(project().answers(world | {"usage_events": added_up}), found) == []
    assert differences(project().answers(world | {"usage_events": once}), found) != []
    assert differences(project().answers(world | {"usage_events": shuffled * 2}), found) == []


def _rounded(event):
    return event | {"occurred_at": midnight(event["occurred_at"].date()), "duration_s": None, "quantity": None}


# --- how it is computed ------------------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2024, 9, 1), LAST])
@LOOPED
@given(seeds=SEEDS)
def test_dates_together_are_dates_alone(day, seeds):
    """Learning computes many dates at once and acting one: the slices must not depend on the calendar."""
    world = settle(seeds)
    together, alone = project().answers(world), engine((day,), POLICY).answers(world)
    assert alone["spine"]
    assert differences(alone, together, set(alone["spine"])) == []
    assert {key for key in together["spine"] if key[1] == day} == set(alone["spine"])


@given(seeds=SEEDS)
def test_rolled_up_in_parts_by_month_of_arrival_is_rolled_up_at_once(seeds):
    world = settle(seeds)
    assert len({month_of_arrival(event) for event in world["usage_events"]}) > 12
    assert differences(project().answers(world), project().answers(world, parts=month_of_arrival)) == []


@LOOPED
@given(seeds=SEEDS)
def test_the_same_lives_a_day_later_are_the_same_a_day_later(seeds):
    """Nothing hangs on the calendar itself: shift every instant and every date, and the answers shift along.

    Only the cohort does: a year of the calendar, which a day later may be the next.
    """
    day = timedelta(days=1)
    world = settle(seeds)
    moved = each(world, lambda table, row: _moved(row, day))
    ended = [_moved(row, day) for row in OUTCOMES]
    here, there = engine((LAST,), POLICY).answers(world), engine((LAST + day,), POLICY).answers(moved, outcomes=ended)
    back = {
        name: {(account, when - day): _uncalendared(_moved(row, -day)) for (account, when), row in there[name].items()}
        for name in there
    }
    assert differences(back, here) == []


def _uncalendared(row):
    return {
        name: value
        for name, value in row.items()
        if name not in ("similar_customers_renewal_rate_cohort", "similar_customers_lift")
    }


def _moved(row, by):
    """A row of an answer with its dates moved; `day` counts from 1970."""
    return {
        column: value + by if isinstance(value, date) else value for column, value in row.items() if column != "day"
    }
