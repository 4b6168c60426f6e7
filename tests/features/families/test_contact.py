"""Contact with the customer, as a manager would count it on 2026-03-01 (J4)."""

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
"""The term began on 2025-06-01, 273 days ago; the visits of March are of the term before."""


@pytest.fixture(scope="module")
def met(company):
    return company(touchpoints=CONTACTS)


def test_contacts_by_window_and_kind(met):
    columns = [f"contacts_total_{days}d" for days in (28, 90, 365)]
    assert met("contact", *columns) == {"acme": [2, 3, 5], "quiet": [0, 0, 0]}
    kinds = [f"contacts_by_{kind}" for kind in ("visit", "call", "email", "review")]
    assert met("contact", *kinds) == {"acme": [1, 2, 1, 0], "quiet": [0, 0, 0, 0]}


def test_days_without_a_kind_of_contact(met):
    """The last visit was 101 days ago; a visit of two years ago is as good as none."""
    assert met("contact", "days_since_visit", "days_since_training") == {"acme": [101, 366], "quiet": [366, 366]}


def test_spread_over_the_year_and_the_term(met):
    """Contacts 4, 9, 40, 101 and 365 days ago lie in four stretches of 30 days; the last takes in the year's rest.

    Of the term's 273 days the four contacts of the term lie 4, 9, 40 and 101 from today: late in it, on the whole.
    """
    place = sum(1 - days / 273 for days in (4, 9, 40, 101)) / 4
    found = met("contact", "months_with_contact", "contact_back_loading")
    assert found == {"acme": [4, pytest.approx(place, abs=1e-3)], "quiet": [0, None]}


def test_what_the_customer_begins(met):
    assert met("contact", "customer_initiated_share", "days_since_customer_contact") == {
        "acme": [0.25, 9],
        "quiet": [None, 366],
    }


def test_contacts_that_the_customer_began(met):
    columns = [f"customer_contacts_total_{days}d" for days in (90, 180, 365)]
    assert met("contact", *columns) == {"acme": [1, 1, 1], "quiet": [0, 0, 0]}


def test_a_kind_that_is_no_action_of_ours_is_a_sign_of_the_customer(company):
    """A company whose mails come from its customers counts them; contacts of the other kinds stay its own actions."""
    policy = POLICY.model_copy(update={"actions": Actions(touchpoint_kinds=("visit", "call"))})
    found = company(policy, touchpoints=CONTACTS)
    columns = ["days_since_customer_contact", "customer_contacts_total_90d"]
    assert found("contact", *columns) == {"acme": [4, 2], "quiet": [366, 0]}
