"""Features of goals agreed with the customer and of value reports, as known on 2026-03-01 (J4)."""

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
"""The goal `orders` is reached on the as-of date, one day late: not known on that date."""

TALKS = """
    account | user | kind         | occurred_at
    acme    | sue  | value_report | 2026-01-30
    acme    | sue  | review       | 2025-12-01
    acme    | sue  | call         | 2026-02-20
    quiet   | tom  | review       | 2025-01-01
"""


@pytest.fixture(scope="module")
def value(company):
    return company(value_goals=GOALS, touchpoints=TALKS)


def test_goals_set_and_reached(value):
    columns = ["goals_set", "goals_reached_180d", "goals_reached_365d"]
    assert value("value", *columns) == {"acme": [4, 1, 2], "quiet": [0, 0, 0]}


def test_the_weight_of_a_reached_goal_halves_in_a_year(value):
    """Goal `hours` was reached 120 days ago, `start` 334 days ago; the half-life is a year."""
    weights = [round(1024 * 0.5 ** (days / 365)) / 1024 for days in (120, 334)]
    assert value("value", "goals_reached_decayed") == {"acme": sum(weights), "quiet": 0}


def test_overdue_goals_and_share_reached(value):
    """Goals `errors` and `orders` are overdue; two of the four goals that are due or reached were reached."""
    assert value("value", "goals_overdue", "goals_reached_share") == {"acme": [2, 0.5], "quiet": [0, None]}


def test_days_since_report_or_review(value):
    """A call is not a report; a review more than a year ago counts as none."""
    assert value("value", "days_since_report_or_review") == {"acme": 30, "quiet": 366}


def test_reports_delivered_and_goals_open(value):
    """Goals `errors`, `orders` and `staff` are open on the as-of date."""
    assert value("value", "reports_and_reviews", "goals_open") == {"acme": [2, 3], "quiet": [0, 0]}
