"""How an account took to the product, told on 2026-03-01: acme went live on 2025-06-01 with ten seats."""

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
"""A look is not use in earnest; Fay's first day had not arrived on the date."""


@pytest.fixture(scope="module")
def adopted(company):
    return company(usage_events=FIRSTS)


def test_first_value_within_thirty_days(adopted):
    """Ann and Bob on ten seats are short of a quarter; Cid came on day 30, and nobody at quiet ever did (J2)."""
    found = adopted("adoption", "seat_activation_by_day_30", "first_value_missed")
    assert found == {"acme": [0.2, 1], "quiet": [0, 1]}


def test_days_to_the_first_use_in_earnest(adopted):
    assert adopted("adoption", "days_to_first_use") == {"acme": 10, "quiet": 366}


def test_people_who_are_new(adopted):
    """Ann was here before; Dan is new in 28 days, Eve in 90."""
    assert adopted("adoption", "newly_active_people_28d", "newly_active_people_90d") == {
        "acme": [1, 2],
        "quiet": [0, 0],
    }


def test_nobody_is_judged_before_the_thirty_days_are_over(company):
    """At 29 days acme may still get there; quiet has had its 30. Seats that nobody told judge nobody."""
    contracts = """
        account | contract | start_date | end_date   | arr | seats
        acme    | 1        | 2026-01-31 | 2027-01-31 | 1   | 10
        quiet   | 2        | 2026-01-30 | 2027-01-30 | 1   | 10
        seats?  | 3        | 2026-01-30 | 2027-01-30 | 1   |
    """
    found = company(contracts=contracts)("adoption", "seat_activation_by_day_30", "first_value_missed")
    assert found == {"acme": [None, None], "quiet": [0, 1], "seats?": [None, None]}


def test_sixty_days_of_onboarding(adopted):
    """Cid came on day 30, after the first thirty and within the sixty."""
    assert adopted("adoption", "seat_activation_by_day_60") == {"acme": 0.3, "quiet": 0}


def test_core_users(company):
    """Ann and Bob were there from the start; Cid decides and does not run it; Dan came late. Bob is gone (U5)."""
    people = """
        account | user | tier
        acme    | ann  | B
        acme    | bob  | A
        acme    | cid  | S
        acme    | dan  | B
    """
    found = company(usage_events=FIRSTS, people=people)("adoption", "core_users", "core_users_active_share")
    assert found == {"acme": [2, 0.5], "quiet": [0, None]}


def test_first_value_is_owed_until_the_first_renewal(company):
    """Both missed it; at quiet that was a term ago, and it was bought again all the same (J2)."""
    contracts = """
        account | contract | start_date | end_date   | arr | seats
        acme    | 1        | 2025-06-01 | 2026-06-01 | 1   | 10
        quiet   | 2        | 2024-06-01 | 2025-06-01 | 1   | 10
        quiet   | 3        | 2025-06-01 | 2026-06-01 | 1   | 10
    """
    found = company(contracts=contracts)("adoption", "first_value_missed", "first_value_missed_in_first_term")
    assert found == {"acme": [1, 1], "quiet": [1, 0]}


def test_prompt_people_and_users(company):
    """In August: Ann and Bob used it within thirty days, Cid on day 30: two of three. Of the people, Al came late."""
    people = """
        account_id | user_id | role  | valid_from | recorded_at
        acme       | sue     | owner | 2025-05-20 |
        acme       | ann     | sales | 2025-06-30 |
        acme       | al      | sales | 2025-07-01 |
        acme       | al      | head  | 2026-01-01 |
        acme       | dan     | sales | 2025-12-01 |
    """
    found = company(usage_events=FIRSTS, people=people)("adoption", "early_user_share", "early_joiner_share")
    assert found["acme"] == [2 / 3, 2 / 3]
    assert found["quiet"] == [None, None]


def test_promptness_says_nothing_before_onboarding_is_over_or_after_the_first_term(company):
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
