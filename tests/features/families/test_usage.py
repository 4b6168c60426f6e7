"""Usage features on 2026-03-01, as a customer-success manager would count them."""

from __future__ import annotations

import pytest

USES = """
    account_id | user_id | feature | occurred_at         | duration_s | quantity
    acme       | ann     | send    | 2026-02-27 09:00:00 | 600        |
    acme       | ann     | send    | 2026-02-27 17:00:00 | 600        | 3
    acme       | ann     | look    | 2026-02-24 09:00:00 | 60         |
    acme       | bob     | report  | 2026-02-20 09:00:00 | 120        |
    acme       | bob     | send    | 2026-01-10 09:00:00 |            | 2
    acme       | cid     | send    | 2025-10-01 09:00:00 |            |
    acme       |         | send    | 2025-12-24 09:00:00 |            |
"""
"""`send` is the key action, the core workflow and the deepest level (act); `report` is level analyse, `look` level
view."""


@pytest.fixture(scope="module")
def use(company):
    return company(usage_events=USES)


def test_active_is_a_key_action_not_a_visit(use):
    """Bob only read a report in the last 28 days: any use, but not active (U1)."""
    columns = [f"active_people_{w}d" for w in (7, 28, 90, 180)] + ["people_with_any_use_28d", "people_with_any_use_90d"]
    assert use("usage", *columns) == {"acme": [1, 1, 3, 4, 2, 3], "quiet": [0, 0, 0, 0, 0, 0]}


def test_days_with_a_key_action_by_anybody(use):
    columns = [f"active_days_{w}d" for w in (7, 28, 90, 180)]
    assert use("usage", *columns) == {"acme": [1, 1, 3, 4], "quiet": [0, 0, 0, 0]}


def test_key_actions_add_up_quantities(use):
    columns = [f"key_actions_{w}d" for w in (7, 28, 90, 180)]
    assert use("usage", *columns) == {"acme": [4, 4, 7, 8], "quiet": [0, 0, 0, 0]}


def test_shares_of_all_activity_are_null_without_any(use):
    assert use("usage", "key_action_share_28d", "core_workflow_share_28d") == {
        "acme": [pytest.approx(4 / 6), pytest.approx(4 / 6)],
        "quiet": [None, None],
    }


def test_breadth_and_depth(use):
    """In 28 days Ann reached level 3 and Bob level 2; in 90 days Bob and an unnamed user reached 3 as well (U2, U3)."""
    columns = ["features_used_28d", "features_used_180d", "people_at_act_level_28d", "people_at_act_level_90d"]
    assert use("usage", *columns) == {"acme": [3, 3, 1, 3], "quiet": [0, 0, 0, 0]}
    assert use("usage", "usage_depth_28d", "usage_depth_90d") == {"acme": [2.5, 3], "quiet": [None, None]}


def test_minutes_per_person_day_and_days_per_user(use):
    """1 380 seconds in 28 days on Ann's two days and Bob's one: 23 minutes over three days (U2)."""
    columns = ["session_minutes_28d", "use_days_per_user_28d"]
    assert use("usage", *columns) == {"acme": [pytest.approx(23 / 3), 1.5], "quiet": [None, None]}


def test_seat_activation(use):
    assert use("usage", "seat_activation_28d", "seat_activation_90d") == {"acme": [0.1, 0.3], "quiet": [0, 0]}


def test_seat_activation_is_null_without_seats(company):
    contracts = """
        account_id | contract_id | start_date | end_date   | arr   | seats
        acme       | 1           | 2025-06-01 | 2026-06-01 | 12000 |
    """
    assert company(contracts=contracts, usage_events=USES)("usage", "seat_activation_28d") == {"acme": None}


def test_change_from_the_previous_window(use):
    """28 days: 4 key actions by one person after 2 by one; 90 days: 7 by three people after 1 by one."""
    people, actions = ([f"{what}_change_{w}d" for w in (28, 90)] for what in ("active_people", "key_actions"))
    assert use("usage", *people) == {"acme": [0, 0.5], "quiet": [None, None]}
    assert use("usage", *actions) == {"acme": [pytest.approx(1 / 3), 0.75], "quiet": [None, None]}


def test_usage_compared_with_the_year(use):
    """4 key actions in 7 days compared with 8 in 365 (U4)."""
    week, year = 4 / 7, 8 / 365
    assert use("usage", "usage_vs_baseline_7d") == {"acme": pytest.approx((week - year) / (week + year)), "quiet": None}


def test_days_since_the_last_use(use):
    """Counted in whole days: 1 is yesterday, 366 means no use within a year."""
    assert use("usage", "days_since_last_use") == {"acme": 2, "quiet": 366}


def test_lapsed_people_and_the_busiest_person(use):
    """Cid, one of four people of the year, has been inactive for 90 days; Ann did 4 of the last 7 key actions (U5)."""
    columns = ["active_people_in_year", "lapsed_people_share", "busiest_person_share"]
    assert use("usage", *columns) == {"acme": [4, 0.25, pytest.approx(4 / 7)], "quiet": [0, None, None]}


def test_a_day_known_in_several_arrivals_is_one_day(company):
    """One day of Ann arrives in three parts, the last one after the as-of date: two actions, one day."""
    events = """
        account_id | user_id | feature | occurred_at         | recorded_at
        acme       | ann     | send    | 2026-02-10 09:00:00 | 2026-02-10 09:00:00
        acme       | ann     | send    | 2026-02-10 10:00:00 | 2026-02-20 09:00:00
        acme       | ann     | send    | 2026-02-10 11:00:00 | 2026-03-01 00:00:00
    """
    columns = ["key_actions_28d", "active_days_28d", "use_days_per_user_28d"]
    assert company(usage_events=events)("usage", *columns)["acme"] == [2, 1, 1]


def test_a_quantity_of_zero_is_not_use(company):
    events = """
        account_id | user_id | feature | occurred_at         | quantity | duration_s
        acme       | ann     | send    | 2026-02-10 09:00:00 | 0        | 60
    """
    columns = [
        "active_people_28d",
        "people_with_any_use_28d",
        "days_since_last_use",
        "session_minutes_28d",
        "features_used_28d",
    ]
    assert company(usage_events=events)("usage", *columns)["acme"] == [0, 0, 366, None, 0]


def test_an_event_dated_after_its_arrival_has_not_happened(company):
    """Recorded yesterday with the as-of date as its time: on the as-of date it has not happened yet."""
    events = """
        account_id | user_id | feature | occurred_at         | recorded_at
        acme       | ann     | send    | 2026-03-01 09:00:00 | 2026-02-28 09:00:00
    """
    assert company(usage_events=events)("usage", "active_people_in_year", "days_since_last_use")["acme"] == [0, 366]


def test_minutes_are_null_without_durations(company):
    events = """
        account | user | feature | occurred_at
        acme    | ann  | send    | 2026-02-10 09:00:00
    """
    assert company(usage_events=events)("usage", "session_minutes_28d")["acme"] is None


def test_trend_and_variability_of_months(use):
    """Days in use 2, 50, 67 and 151 days ago: in six periods of four weeks, newest first, 1 1 1 0 0 1 (U4)."""
    features = use("usage", "activity_trend", "activity_variability")
    assert features == {"acme": [pytest.approx(2 / 17.5), pytest.approx(0.5**0.5)], "quiet": [None, None]}


def test_active_days_compared_with_last_year(company):
    """Two days in four weeks, one in the same weeks last year, which are 336 to 364 days ago (U4)."""
    days = ("2026-02-10", "2026-02-11", "2025-03-20", "2025-03-30", "2025-03-01")
    events = "account | user | feature | occurred_at\n" + "\n".join(f"acme | ann | send | {day}" for day in days)
    assert company(usage_events=events)("usage", "active_days_year_over_year")["acme"] == pytest.approx(1 / 3)


def test_no_use_last_year_gives_null(use):
    assert use("usage", "active_days_year_over_year") == {"acme": None, "quiet": None}


def test_share_of_the_busiest_weekday(use):
    """The days in use within 90 days are a Friday, a Saturday and a Wednesday."""
    assert use("usage", "busiest_weekday_share") == {"acme": pytest.approx(1 / 3), "quiet": None}


def test_change_of_usage_depth(company):
    """Ann acted in the last 90 days, and only looked in the 90 days before (U3)."""
    events = """
        account | user | feature | occurred_at
        acme    | ann  | send    | 2026-02-10
        acme    | ann  | look    | 2025-10-10
    """
    assert company(usage_events=events)("usage", "usage_depth_change")["acme"] == 2
