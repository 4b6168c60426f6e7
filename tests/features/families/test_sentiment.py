"""Survey features, as known on 2026-03-01 (T3)."""

from __future__ import annotations

import pytest

PEOPLE = """
    account | user | tier
    acme    | sue  | S
    acme    | al   | A
"""

SURVEYS = """
    account | user | kind | score | sent_at    | answered_at | followed_up_at
    acme    | sue  | nps  | 9     | 2026-02-01 | 2026-02-03  |
    acme    | al   | nps  | 5     | 2026-02-01 | 2026-02-10  |
    acme    | al   | nps  | 8     | 2025-06-01 | 2025-07-01  |
    acme    | al   | nps  | 2     | 2025-10-01 | 2025-10-02  | 2025-10-05
    acme    | sue  | csat | 2     | 2026-02-20 | 2026-02-20  |
    acme    | al   | csat | 4     | 2025-12-01 | 2025-12-01  |
    acme    | sue  | nps  | 1     | 2026-02-10 | 2026-03-01  |
    acme    |      | csat |       | 2026-02-14 |             |
    acme    |      | csat |       | 2026-02-15 |             |
"""
"""The last answer of Sue arrives on the as-of date: neither the answer nor its score is known yet."""


@pytest.fixture(scope="module")
def sentiment(company):
    return company(people=PEOPLE, surveys=SURVEYS)


def test_scores_in_a_window_by_kind(sentiment):
    """NPS scores of 180 days: 9, 5 and 2; of a year also 8. Satisfaction: 2 and 4."""
    columns = ["survey_score_nps_180d", "survey_score_nps_365d", "survey_score_csat_180d"]
    assert sentiment("sentiment", *columns) == {"acme": [pytest.approx(16 / 3), 6, 3], "quiet": [None] * 3}


def test_nps_by_tier(sentiment):
    columns = ["nps_of_s", "nps_of_a", "nps_of_b"]
    assert sentiment("sentiment", *columns) == {"acme": [9, 5, None], "quiet": [None] * 3}


def test_nps_change(sentiment):
    assert sentiment("sentiment", "nps_change") == {"acme": pytest.approx(16 / 3 - 8), "quiet": None}


def test_response_rate(sentiment):
    """Six surveys of the year are answered, two are unanswered after two weeks, and one can still be answered."""
    assert sentiment("sentiment", "survey_response_rate") == {"acme": 0.75, "quiet": None}


def test_low_scores_without_follow_up(sentiment):
    """Al's 5 has waited for more than two weeks; his 2 was followed up, and Sue's low score is nine days old."""
    assert sentiment("sentiment", "low_scores_without_follow_up") == {"acme": 1, "quiet": 0}


def test_latest_score_and_range(sentiment):
    columns = [
        "latest_survey_score_nps",
        "latest_survey_score_csat",
        "survey_score_range_nps",
        "survey_score_range_csat",
    ]
    assert sentiment("sentiment", *columns) == {"acme": [5, 2, 7, 2], "quiet": [None] * 4}


def test_response_rate_by_tier(sentiment):
    """Sue had answered two of three surveys, Al all four."""
    columns = ["survey_response_rate_of_s", "survey_response_rate_of_a", "survey_response_rate_of_b"]
    assert sentiment("sentiment", *columns) == {"acme": [pytest.approx(2 / 3), 1, None], "quiet": [None] * 3}


def test_response_days_and_days_since_the_last_response(sentiment):
    """After 2, 9, 30, 1, 0 and 0 days; the last known answer is nine days old."""
    assert sentiment("sentiment", "survey_response_days", "days_since_survey_response") == {
        "acme": [7, 9],
        "quiet": [None, 366],
    }
