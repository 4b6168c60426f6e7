"""Contact features on 2026-03-01, as a manager would count them (J4)."""

from __future__ import annotations

import pytest

from renewals.features.policy import Actions
from tests.oracle.drawn import POLICY

CONTACTS = """
    account | user | kind  | initiated_by | occurred_at
    acme    | sue  | visit | us           | 2025-11-20
    acme    | al   | call  | customer     | 2026-02-20
    acme    | al   | call  | us           | 2026-01-20
    acme    |      | email | us           | 2026-02-25
    acme    | eve  | visit | us           | 2025-03-01
    quiet   | tom  | visit | us           | 2024-03-01
"""
"""The term started on 2025-06-01, 273 days ago; the visits of March belong to the previous term."""


@pytest.fixture(scope="module")
def contact(company):
    return company(touchpoints=CONTACTS)


def test_contacts_by_window_and_kind(contact):
    columns = [f"contacts_total_{days}d" for days in (28, 90, 365)]
    assert contact("contact", *columns) == {"acme": [2, 3, 5], "quiet": [0, 0, 0]}
    kinds = [f"contacts_by_{kind}" for kind in ("visit", "call", "email", "review")]
    assert contact("contact", *kinds) == {"acme": [1, 2, 1, 0], "quiet": [0, 0, 0, 0]}


def test_days_since_a_kind_of_contact(contact):
    """The last visit was 101 days ago; a visit two years ago counts as none."""
    assert contact("contact", "days_since_visit", "days_since_training") == {"acme": [101, 366], "quiet": [366, 366]}


def test_spread_over_the_year_and_the_term(contact):
    """Months with a contact, and the mean position of the contacts in the term.

    Contacts 4, 9, 40, 101 and 365 days ago are in four periods of 30 days; the last period includes the rest of the
    year. Four contacts are in the term of 273 days, 4, 9, 40 and 101 days ago: late on average.
    """
    mean_position = sum(1 - days / 273 for days in (4, 9, 40, 101)) / 4
    features = contact("contact", "months_with_contact", "contact_back_loading")
    assert features == {"acme": [4, pytest.approx(mean_position, abs=1e-3)], "quiet": [0, None]}


def test_share_and_recency_of_customer_contacts(contact):
    assert contact("contact", "customer_initiated_share", "days_since_customer_contact") == {
        "acme": [0.25, 9],
        "quiet": [None, 366],
    }


def test_number_of_customer_contacts(contact):
    columns = [f"customer_contacts_total_{days}d" for days in (90, 180, 365)]
    assert contact("contact", *columns) == {"acme": [1, 1, 1], "quiet": [0, 0, 0]}


def test_a_kind_that_is_not_an_action_counts_as_customer_contact(company):
    """Emails count as customer contacts if the policy does not list them as actions; the listed kinds stay actions."""
    policy = POLICY.model_copy(update={"actions": Actions(touchpoint_kinds=("visit", "call"))})
    features = company(policy, touchpoints=CONTACTS)
    columns = ["days_since_customer_contact", "customer_contacts_total_90d"]
    assert features("contact", *columns) == {"acme": [4, 2], "quiet": [366, 0]}
