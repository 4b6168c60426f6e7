"""Contract features of an account, as known on 2026-03-01."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from renewals.features.families.commitment import commitment

CONTRACTS = """
    account | contract | product | plan | start_date | end_date   | arr   | seats | signed_at  | paid_at    | auto_renew
    acme    | 1        |         | base | 2024-06-01 | 2025-06-01 | 10000 | 10    | 2024-06-01 | 2024-07-01 | no
    acme    | 2        |         | gold | 2025-06-01 | 2026-06-01 | 22000 | 20    | 2025-05-02 |            | yes
    acme    | 3        | extra   | gold | 2026-02-01 | 2027-02-01 | 3000  |       | 2026-01-15 | 2026-02-03 |
    quiet   | 4        |         |      | 2026-02-15 | 2027-02-15 | 5000  |       |            |            |
"""


@pytest.fixture(scope="module")
def commitment_of(company):
    return company(contracts=CONTRACTS)


def test_days_to_renewal_and_ages(commitment_of):
    columns = ["days_to_renewal", "account_age", "term_age", "term_length"]
    assert commitment_of("commitment", *columns) == {"acme": [92, 638, 273, 365], "quiet": [351, 14, 14, 365]}


def test_arr_and_share_due(commitment_of):
    """22 000 of the 25 000 end together in June."""
    assert commitment_of("commitment", "arr", "arr_due_share") == {"acme": [25_000, 0.88], "quiet": [5000, 1]}


def test_products_seats_plan_and_price(commitment_of):
    columns = ["products", "seats", "plan", "price_per_seat"]
    assert commitment_of("commitment", *columns) == {"acme": [2, 20, "gold", 1100], "quiet": [1, None, None, None]}


def test_auto_renew_is_null_when_missing(commitment_of):
    assert commitment_of("commitment", "auto_renew") == {"acme": 1, "quiet": None}


def test_history(commitment_of):
    assert commitment_of("commitment", "terms_so_far", "cancelled_so_far") == {"acme": [3, 0], "quiet": [1, 0]}


def test_changes_from_the_previous_term(commitment_of):
    """From 1 000 to 1 100 a seat, and from 10 to 20 seats."""
    expected = [pytest.approx(0.1), pytest.approx(1)]
    assert commitment_of("commitment", "price_change", "seats_change") == {"acme": expected, "quiet": [None, None]}


def test_price_change_since_the_first_term(company):
    """From 1 000 per seat to 900, then 1 080. Terms that start on one day are one renewal; quiet has not renewed."""
    contracts = """
        account_id | contract_id | product | start_date | end_date   | arr   | seats
        acme       | 1           | x       | 2023-06-01 | 2024-06-01 | 10000 | 10
        acme       | 2           | x       | 2024-06-01 | 2025-06-01 | 18000 | 20
        acme       | 3           | x       | 2025-06-01 | 2026-06-01 | 10800 | 10
        acme       | 4           | x       | 2024-06-01 | 2025-06-01 | 900   | 1
        quiet      | 5           | x       | 2025-06-01 | 2026-06-01 | 10000 | 10
    """
    columns = ["renewals_so_far", "price_change_since_first_term", "price_change"]
    features = company(contracts=contracts)("commitment", *columns)
    assert features == {"acme": [2, pytest.approx(0.08), pytest.approx(0.2)], "quiet": [0, None, None]}


def test_price_change_of_the_full_term_without_seats(company):
    contracts = """
        account_id | contract_id | start_date | end_date   | arr   | seats
        acme       | 1           | 2024-06-01 | 2025-06-01 | 10000 |
        acme       | 2           | 2025-06-01 | 2026-06-01 | 12000 |
        quiet      | 3           | 2024-06-01 | 2025-06-01 | 10000 |
        quiet      | 4           | 2025-06-01 | 2026-06-01 | 12000 | 6
    """
    assert company(contracts=contracts)("commitment", "price_change") == {"acme": pytest.approx(0.2), "quiet": None}


def test_payment(commitment_of):
    """Mean payment delay (30 and 2 days), and terms that have been running unpaid.

    The second term of acme has been unpaid since June. At quiet no payment is known, so none is missing.
    """
    assert commitment_of("commitment", "payment_delay", "unpaid_terms") == {"acme": [16, 1], "quiet": [None, 0]}


def test_days_signed_before_the_start(commitment_of):
    assert commitment_of("commitment", "days_signed_before_start") == {"acme": 30, "quiet": None}


def test_a_signed_follow_on(company):
    """The next term of acme, signed yesterday, is known; that of quiet, signed today, is not."""
    contracts = """
        account_id | contract_id | start_date | end_date   | arr   | signed_at
        acme       | 1           | 2025-06-01 | 2026-06-01 | 12000 | 2025-06-01
        acme       | 2           | 2026-06-01 | 2027-06-01 | 12000 | 2026-02-28
        quiet      | 3           | 2025-06-01 | 2026-06-01 | 12000 | 2025-06-01
        quiet      | 4           | 2026-06-01 | 2027-06-01 | 12000 | 2026-03-01
    """
    assert company(contracts=contracts)("commitment", "follow_on_signed") == {"acme": 1, "quiet": 0}


def test_a_cancelled_term_and_one_that_never_ran(company):
    """One product was cancelled after a month; the third was cancelled before its start and is not counted."""
    contracts = """
        account_id | contract_id | product | start_date | end_date   | arr   | signed_at  | cancelled_at
        acme       | 1           |         | 2025-06-01 | 2026-06-01 | 12000 | 2025-06-01 |
        acme       | 2           | extra   | 2025-07-01 | 2026-06-01 | 1000  | 2025-06-01 | 2025-08-01
        acme       | 3           | other   | 2024-07-01 | 2026-06-01 | 1000  | 2024-06-01 | 2024-07-01
    """
    columns = ["terms_so_far", "cancelled_so_far", "products", "arr", "account_age"]
    assert company(contracts=contracts)("commitment", *columns)["acme"] == [2, 1, 1, 12_000, 273]


def test_journey_stage(company):
    """Day 59 is onboarding, 90 days before the end is pre-renewal, and in between is the steady stage (J1)."""
    contracts = """
        account | contract | start_date | end_date   | arr
        new     | 1        | 2026-01-01 | 2027-01-01 | 1
        steady  | 2        | 2025-12-31 | 2026-12-31 | 1
        near    | 3        | 2025-05-30 | 2026-05-30 | 1
    """
    stages = {"new": "onboarding", "steady": "steady", "near": "pre_renewal"}
    assert company(contracts=contracts)("commitment", "journey_stage") == stages


CLOCK = [feature.name for feature in commitment.features if feature.clock]


def test_clock_features_depend_on_dates_only(commitment_of, company):
    """One day later, a feature marked as clock changes by one day or not at all; it depends on dates only."""
    values = commitment_of("commitment", *CLOCK)
    poorer = CONTRACTS.replace("22000 | 20 ", "9000  | 3  ").replace("gold", "base").replace("2026-02-03", "")
    assert company(contracts=poorer)("commitment", *CLOCK) == values
    next_day = company(contracts=_earlier(CONTRACTS, 1))("commitment", *CLOCK)
    step = {"days_to_renewal": -1, "account_age": 1, "term_age": 1, "journey_stage": ""}
    assert set(CLOCK) == set(step)
    assert next_day == {
        name: [value + step[c] for c, value in zip(CLOCK, row, strict=True)] for name, row in values.items()
    }


def _earlier(drawn: str, days: int) -> str:
    """The same tables with every date some days earlier, which equals a later as-of date."""
    shifted = lambda match: str(date.fromisoformat(match.group()) - timedelta(days=days))  # noqa: E731
    return re.sub(r"\d{4}-\d{2}-\d{2}", shifted, drawn)
