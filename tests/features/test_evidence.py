"""Facts about the customer in the tables in which our staff logs its actions (domain M5), as of 2026-03-01."""

from __future__ import annotations

import ibis
import pytest

from renewals.features.evidence import customer_touchpoints, goal_outcomes, survey_outcomes
from renewals.features.point_in_time import day_number
from renewals.features.policy import Actions, Policy
from tests.oracle.drawn import AS_OF, drawn_rows
from tests.oracle.worlds import arrow, complete_row, schema

TOUCHPOINTS = """
    account | kind     | initiated_by | occurred_at
    acme    | call     | us           | 2026-02-01
    acme    | email    |              | 2026-02-02
    acme    | email    | customer     | 2026-02-03
    acme    | training | us           | 2026-02-04
"""
SURVEYS = """
    account | kind | score | sent_at    | answered_at | followed_up_at
    acme    | nps  | 3     | 2026-02-20 | 2026-02-22  | 2026-02-24
    acme    | nps  | 9     | 2026-02-20 | 2026-03-02  |
    acme    | csat |       | 2026-02-15 |             |
    acme    | csat |       | 2026-02-14 |             |
    acme    | nps  | 7     |            | 2026-02-28  |
"""
GOALS = """
    account | goal       | set_at     | due_at     | achieved_at
    acme    | agreed     | 2026-02-28 | 2026-06-01 |
    acme    | some day   | 2025-06-01 |            |
    acme    | due today  | 2025-06-01 | 2026-03-01 |
    acme    | missed     | 2025-06-01 | 2026-02-28 |
    acme    | reached    | 2025-06-01 | 2026-06-01 | 2026-02-01
    acme    | too late   | 2025-06-01 | 2026-06-01 | 2026-03-01
"""


def table(name: str, text: str) -> ibis.Table:
    return ibis.memtable(arrow([complete_row(name, row) for row in drawn_rows(name, text)], schema(name)))


@pytest.fixture
def spine() -> ibis.Table:
    columns = {"account_id": "string", "as_of": "date", "day": "int32"}
    return ibis.memtable([{"account_id": "acme", "as_of": AS_OF, "day": day_number(AS_OF)}], schema=columns)


@pytest.mark.parametrize(
    ("kinds", "days"),
    [
        (Actions().touchpoint_kinds, [3]),
        (("call", "email"), [3, 4]),
        (("training",), [1, 2, 3]),
        ((), [1, 2, 3, 4]),
    ],
)
def test_customer_touchpoints(kinds, days):
    """A contact of a listed kind without a known initiator counts as our action."""
    policy = Policy(actions=Actions(touchpoint_kinds=kinds))
    result = customer_touchpoints(table("touchpoints", TOUCHPOINTS), policy).to_pandas()
    assert sorted(result["occurred_at"].dt.day) == days


def test_survey_outcomes(spine):
    """Two answers are known; one survey has been unanswered for fifteen days, and two have a day left or more."""
    result = survey_outcomes(table("surveys", SURVEYS), spine).to_pandas()
    assert sorted(result["answered_ago"].dropna()) == [1, 7]
    assert result.loc[result["answered_at"].isna(), "days_ago"].tolist() == [15]


def test_a_follow_up_is_hidden(spine):
    assert survey_outcomes(table("surveys", SURVEYS), spine).followed_up_at.isnull().all().to_pyarrow().as_py()


def test_goal_outcomes(spine):
    result = goal_outcomes(table("value_goals", GOALS), spine).to_pandas()
    assert sorted(result["goal"]) == ["missed", "reached"]
    assert result.set_index("goal")["due_ago"]["missed"] == 1
    assert result.set_index("goal")["reached_ago"]["reached"] == 28
