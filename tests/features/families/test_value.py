"""Goals agreed with the customer, and value shown, as known on 2026-03-01 (J4)."""

from __future__ import annotations

import pytest

GOALS = """
    account | goal   | set_at     | due_at     | achieved_at
    acme    | hours  | 2025-06-01 | 2025-12-01 | 2025-11-01
    acme    | errors | 2025-09-01 | 2026-02-01 |
    acme    | orders | 2025-09-01 | 2026-02-28 | 2026-03-01
    acme    | staff  | 2025-09-01 | 2026-06-01 |
    acme    | start  | 2025-01-01 | 2025-03-01 | 2025-04-01
"""
"""The orders are reached on the date itself, a day late: on the date that is not known."""

TALKS = """
    account | user | kind         | occurred_at
    acme    | sue  | value_report | 2026-01-30
    acme    | sue  | review       | 2025-12-01
    acme    | sue  | call         | 2026-02-20
    quiet   | tom  | review       | 2025-01-01
"""


@pytest.fixture(scope="module")
def agreed(company):
    return company(value_goals=GOALS, touchpoints=TALKS)


def test_goals_set_and_reached(agreed):
    columns = ["goals_set", "goals_reached_180d", "goals_reached_365d"]
    assert agreed("value", *columns) == {"acme": [4, 1, 2], "quiet": [0, 0, 0]}


def test_a_goal_reached_is_felt_for_years(agreed):
    """Hours were reached 120 days ago, the start 334; a year would halve them."""
    felt = [round(1024 * 0.5 ** (days / 365)) / 1024 for days in (120, 334)]
    assert agreed("value", "goals_reached_decayed") == {"acme": sum(felt), "quiet": 0}


def test_goals_missed(agreed):
    """Errors and orders are past their day; of the four that are due or done two were reached."""
    assert agreed("value", "goals_overdue", "goals_reached_share") == {"acme": [2, 0.5], "quiet": [0, None]}


def test_days_since_value_was_shown(agreed):
    """A call is not a report; beyond a year it is as good as never."""
    assert agreed("value", "days_since_report_or_review") == {"acme": 30, "quiet": 366}


def test_reports_delivered_and_goals_open(agreed):
    """Errors, orders and staff are still open on the date."""
    assert agreed("value", "reports_and_reviews", "goals_open") == {"acme": [2, 3], "quiet": [0, 0]}
