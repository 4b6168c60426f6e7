"""The laws of time, over the alerts: what was not known cannot be told of, whatever is known now."""

from __future__ import annotations

from datetime import date
from random import Random
from typing import Any

import pytest
from hypothesis import given

from renewals.features.alert_registry import ALERT_CODES
from tests.oracle.worlds import Row, World, ruled
from tests.properties.accounts import DATES, POLICY, settle
from tests.properties.laws import DAYS, LOOPED, SEEDS, at, joined, learnt_from, rewritten, without_masters

EAGER = POLICY.model_copy(
    update={
        "alerts": POLICY.alerts.model_validate(
            {
                "min_usage_drop": 0.1,
                "max_p_value": 0.49,
                "min_expected_person_days": 0,
                "missed_visits": 0.01,
                "expire_days": 200,
                "recent_breach_days": 100,
            }
        ),
        "stakeholders": POLICY.stakeholders.model_copy(update={"silent_days": 7}),
    }
)
"""Rules that speak of nearly anything, so that a law has much to hold for."""


def told(world: World, last: date) -> dict[tuple[Any, date, str], Row]:
    """Every alert up to a day."""
    found = ruled(DATES, EAGER).alerts(world, EAGER)
    return {(r["account_id"], r["as_of"], r["code"]): r for r in found if r["as_of"] <= last}


def test_worlds_are_worth_looking_at():
    found = ruled(DATES, EAGER).alerts(settle(range(200)), EAGER)
    counts = {code: sum(row["code"] == code for row in found) for code in ALERT_CODES}
    assert min(counts.values()) >= 10, counts
    assert len({(row["account_id"], row["as_of"], row["code"]) for row in found}) == len(found)


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_what_is_learnt_later_changes_no_alert(seeds, days):
    """Rows known at the very moment are of the future as well; master rows only say where an account is."""
    world, _ = without_masters(settle(seeds))
    for day in days:
        assert told(world, day) == told(joined(world, learnt_from(at(day), seeds)), day)


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_later_facts_inside_earlier_rows_change_no_alert(seeds, days):
    world = settle(seeds)
    for day in days:
        other, counts = rewritten(world, at(day), Random(sum(seeds)))
        assert told(world, day) == told(other, day)
        assert any(counts.values()) or day == max(DATES)


@pytest.mark.parametrize("code", ALERT_CODES)
def test_an_alert_began_before_the_day_it_is_told(code):
    found = ruled(DATES, EAGER).alerts(settle(range(60)), EAGER)
    days = [(row["as_of"], row["started_on"], row["latest_cause_on"]) for row in found if row["code"] == code]
    assert days
    assert all(began < as_of for as_of, began, _ in days)
