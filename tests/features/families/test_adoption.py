"""Adoption features on 2026-03-01: acme started on 2025-06-01 with ten seats."""

from __future__ import annotations

import pytest

FIRSTS = """
    account | user | feature | occurred_at | recorded_at
    acme    | ann  | look    | 2025-06-02  |
    acme    | ann  | send    | 2025-06-11  |
    acme    | ann  | send    | 2026-02-20  |
    acme    | bob  | send    | 2025-06-30  |
    acme    | cid  | send    | 2025-07-01  |
    acme    | dan  | send    | 2026-02-10  |
    acme    | eve  | send    | 2026-01-10  |
    acme    | fay  | send    | 2025-06-15  | 2026-03-01
"""
"""A `look` is not a key action; the row of Fay's first day was recorded on the as-of date, so it is not known yet."""


@pytest.fixture(scope="module")
def adoption(company):
    return company(usage_events=FIRSTS)


def test_first_value_missed_at_thirty_days(adoption):
    """Two of ten seats (Ann, Bob) are less than a quarter; Cid started on day 30, and nobody at quiet did (J2)."""
    features = adoption("adoption", "seat_activation_by_day_30", "first_value_missed")
    assert features == {"acme": [0.2, 1], "quiet": [0, 1]}


def test_days_to_the_first_key_action(adoption):
    assert adoption("adoption", "days_to_first_use") == {"acme": 10, "quiet": 366}


def test_newly_active_people(adoption):
    """Ann is not new; Dan is new within 28 days, Eve within 90."""
    assert adoption("adoption", "newly_active_people_28d", "newly_active_people_90d") == {
        "acme": [1, 2],
        "quiet": [0, 0],
    }


def test_first_value_is_unknown_before_day_thirty(company):
    """On day 29 acme can still reach the share; quiet is past day 30. Without known seats both features are null."""
    contracts = """
        account | contract | start_date | end_date   | arr | seats
        acme    | 1        | 2026-01-31 | 2027-01-31 | 1   | 10
        quiet   | 2        | 2026-01-30 | 2027-01-30 | 1   | 10
        seats?  | 3        | 2026-01-30 | 2027-01-30 | 1   |
    """
    features = company(contracts=contracts)("adoption", "seat_activation_by_day_30", "first_value_missed")
    assert features == {"acme": [None, None], "quiet": [0, 1], "seats?": [None, None]}


def test_seat_activation_by_day_sixty(adoption):
    """Cid started on day 30: after the first 30 days and within 60."""
    assert adoption("adoption", "seat_activation_by_day_60") == {"acme": 0.3, "quiet": 0}


def test_core_users(company):
    """Core users are Ann and Bob; Cid decides and does not operate it; Dan started late. Bob is inactive (U5)."""
    people = """
        account | user | tier
        acme    | ann  | B
        acme    | bob  | A
        acme    | cid  | S
        acme    | dan  | B
    """
    features = company(usage_events=FIRSTS, people=people)("adoption", "core_users", "core_users_active_share")
    assert features == {"acme": [2, 0.5], "quiet": [0, None]}


def test_first_value_counts_until_the_first_renewal(company):
    """Both missed it; quiet missed it one term ago and renewed anyway (J2)."""
    contracts = """
        account | contract | start_date | end_date   | arr | seats
        acme    | 1        | 2025-06-01 | 2026-06-01 | 1   | 10
        quiet   | 2        | 2024-06-01 | 2025-06-01 | 1   | 10
        quiet   | 3        | 2025-06-01 | 2026-06-01 | 1   | 10
    """
    features = company(contracts=contracts)("adoption", "first_value_missed", "first_value_missed_in_first_term")
    assert features == {"acme": [1, 1], "quiet": [1, 0]}


def test_shares_of_early_users_and_joiners(company):
    """Users until August: Ann and Bob within 30 days, Cid on day 30: 2 of 3. Of the people, Al joined late."""
    people = """
        account_id | user_id | role  | valid_from | recorded_at
        acme       | sue     | owner | 2025-05-20 |
        acme       | ann     | sales | 2025-06-30 |
        acme       | al      | sales | 2025-07-01 |
        acme       | al      | head  | 2026-01-01 |
        acme       | dan     | sales | 2025-12-01 |
    """
    features = company(usage_events=FIRSTS, people=people)("adoption", "early_user_share", "early_joiner_share")
    assert features["acme"] == [2 / 3, 2 / 3]
    assert features["quiet"] == [None, None]


def test_early_shares_are_null_during_onboarding_and_after_the_first_term(company):
    contracts = """
        account | contract | start_date | end_date   | arr
        new     | 1        | 2026-01-01 | 2027-01-01 | 1
        old     | 2        | 2024-06-01 | 2025-06-01 | 1
        old     | 3        | 2025-06-01 | 2026-06-01 | 1
    """
    people = """
        account_id | user_id | valid_from
        new        | ann     | 2026-01-02
        old        | bob     | 2024-06-02
    """
    assert company(contracts=contracts, people=people)("adoption", "early_joiner_share") == {"new": None, "old": None}
