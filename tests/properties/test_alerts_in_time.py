"""Properties of time for alerts: rows and facts that were not known change no alert."""

from __future__ import annotations

from datetime import date
from random import Random
from typing import Any

import pytest
from hypothesis import given

from renewals.features.alert_registry import ALERT_CODES
from tests.oracle.worlds import Row, World, alert_engine
from tests.properties.accounts import DATES, POLICY, settle
from tests.properties.laws import (
    DAYS,
    LOOPED,
    SEEDS,
    at,
    merge_worlds,
    rewrite_later_facts,
    rows_known_later,
    without_account_rows,
)

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
"""Rules that report nearly everything, so that the properties are tested on many alerts."""


def alerts_until(world: World, last: date) -> dict[tuple[Any, date, str], Row]:
    """All alerts up to a day."""
    alerts = alert_engine(DATES, EAGER).alerts(world, EAGER)
    return {(r["account_id"], r["as_of"], r["code"]): r for r in alerts if r["as_of"] <= last}


def test_worlds_contain_every_alert():
    alerts = alert_engine(DATES, EAGER).alerts(settle(range(200)), EAGER)
    counts = {code: sum(row["code"] == code for row in alerts) for code in ALERT_CODES}
    assert min(counts.values()) >= 10, counts
    assert len({(row["account_id"], row["as_of"], row["code"]) for row in alerts}) == len(alerts)


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_rows_known_later_change_no_alert(seeds, days):
    """Rows known exactly at the as-of date are later too; account rows are left out: they only give attributes."""
    world, _ = without_account_rows(settle(seeds))
    for day in days:
        assert alerts_until(world, day) == alerts_until(merge_worlds(world, rows_known_later(at(day), seeds)), day)


@LOOPED
@given(seeds=SEEDS, days=DAYS)
def test_later_facts_inside_earlier_rows_change_no_alert(seeds, days):
    world = settle(seeds)
    for day in days:
        changed, counts = rewrite_later_facts(world, at(day), Random(sum(seeds)))
        assert alerts_until(world, day) == alerts_until(changed, day)
        assert any(counts.values()) or day == max(DATES)


@pytest.mark.parametrize("code", ALERT_CODES)
def test_an_alert_starts_before_its_as_of_date(code):
    alerts = alert_engine(DATES, EAGER).alerts(settle(range(60)), EAGER)
    days = [(row["as_of"], row["started_on"], row["latest_cause_on"]) for row in alerts if row["code"] == code]
    assert days
    assert all(started < as_of for as_of, started, _ in days)
