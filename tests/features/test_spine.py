"""Observed accounts on 2026-03-01, and the main renewal of each."""

from __future__ import annotations

from datetime import date

import pytest

from renewals.features.policy import Money
from renewals.features.spine import month_starts
from tests.oracle.drawn import AS_OF, POLICY
from tests.oracle.worlds import engine, world

HEAD = "account_id | contract_id | product | start_date | end_date | arr | currency | signed_at | cancelled_at"


@pytest.fixture
def observed(company):
    """`observed(rows, *columns)`: the spine of these contracts, drawn one per line."""

    def observe(rows: str, *columns, **tables):
        return company(contracts=HEAD + "\n" + rows.strip(), **tables)("spine", *(columns or ("renewal_date",)))

    return observe


@pytest.mark.parametrize(
    ("why", "row", "expected"),
    [
        ("it runs and ends within a year", "a | 1 | | 2025-06-01 | 2026-06-01 | 1 | | | ", True),
        ("it ends on the last day of the horizon", "a | 1 | | 2025-06-01 | 2027-03-01 | 1 | | | ", True),
        ("it ends a day beyond the horizon", "a | 1 | | 2025-06-01 | 2027-03-02 | 1 | | | ", False),
        ("it ended on the date", "a | 1 | | 2025-03-01 | 2026-03-01 | 1 | | | ", False),
        ("it starts on the date, signed before", "a | 1 | | 2026-03-01 | 2027-03-01 | 1 | | 2026-02-28 | ", True),
        ("it starts on the date, known by that only", "a | 1 | | 2026-03-01 | 2027-03-01 | 1 | | | ", False),
        ("it starts tomorrow, signed long ago", "a | 1 | | 2026-03-02 | 2027-03-01 | 1 | | 2026-01-01 | ", False),
        ("it was signed on the date, late", "a | 1 | | 2026-02-01 | 2027-02-01 | 1 | | 2026-03-01 | ", False),
        ("it was cancelled yesterday", "a | 1 | | 2025-06-01 | 2026-06-01 | 1 | | | 2026-02-28", False),
        ("it was cancelled on the date: not known", "a | 1 | | 2025-06-01 | 2026-06-01 | 1 | | | 2026-03-01", True),
    ],
)
def test_observed_accounts(observed, why, row, expected):
    assert bool(observed(row)) == expected, why


def test_the_main_renewal_is_the_day_on_which_most_revenue_ends(observed):
    """Two small contracts of June are more than the larger one of August; of equal sets the earlier counts."""
    rows = """
        acme  | 1 | core  | 2025-06-01 | 2026-06-01 | 600  | | |
        acme  | 2 | extra | 2025-09-01 | 2026-06-01 | 500  | | |
        acme  | 3 | other | 2025-08-01 | 2026-08-01 | 1000 | | |
        quiet | 4 | core  | 2025-08-01 | 2026-08-01 | 1000 | | |
        quiet | 5 | other | 2025-07-01 | 2026-07-01 | 1000 | | |
    """
    columns = ["renewal_date", "days_to_renewal", "arr_due", "arr", "term_start"]
    assert observed(rows, *columns) == {
        "acme": [date(2026, 6, 1), 92, 1100, 2100, date(2025, 6, 1)],
        "quiet": [date(2026, 7, 1), 122, 1000, 2000, date(2025, 7, 1)],
    }


def test_a_term_replaced_early_counts_once(observed):
    """Renewed in February instead of April: the old term no longer runs in parallel."""
    rows = """
        acme | 1 | | 2025-04-01 | 2026-04-01 | 1000 | | |
        acme | 2 | | 2026-02-01 | 2027-02-01 | 1500 | | |
    """
    assert observed(rows, "arr", "renewal_date") == {"acme": [1500, date(2027, 2, 1)]}


def test_a_follow_on_that_was_cancelled_ends_the_customer(observed):
    """The second contract took over in February; cancelled before it began, it would have followed nothing."""
    rows = """
        acme  | 1 | | 2025-04-01 | 2026-04-01 | 1000 | |            |
        acme  | 2 | | 2026-02-01 | 2027-02-01 | 1500 | |            | 2026-02-10
        quiet | 3 | | 2025-04-01 | 2026-04-01 | 1000 | |            |
        quiet | 4 | | 2026-02-10 | 2027-02-10 | 1500 | | 2026-01-15 | 2026-02-10
    """
    assert observed(rows, "arr", "renewal_date") == {"quiet": [1000, date(2026, 4, 1)]}


@pytest.mark.parametrize(
    ("start", "decided"),
    [("2026-03-03", True), ("2026-03-02", False), ("2026-07-31", True), ("2026-08-01", False)],
)
def test_decided_when_a_follow_on_within_the_grace_is_signed(observed, start, decided):
    """From 90 days before the end on 2026-06-01 to 60 days after it (R2)."""
    rows = f"""
        acme | 1 | | 2025-06-01 | 2026-06-01 | 1000 | | |
        acme | 2 | | {start}    | 2027-06-01 | 1000 | | 2026-02-01 |
    """
    assert observed(rows, "renewal_signed") == {"acme": decided}


def test_another_product_does_not_follow_on(observed):
    rows = """
        acme | 1 |      | 2025-06-01 | 2026-06-01 | 1000 | | |
        acme | 2 | more | 2026-06-01 | 2027-06-01 | 1000 | | 2026-02-01 |
    """
    assert observed(rows, "renewal_signed") == {"acme": False}


def test_journey_stages(observed):
    rows = """
        day59 | 1 | | 2026-01-01 | 2027-01-01 | 1 | | |
        day60 | 2 | | 2025-12-31 | 2026-12-31 | 1 | | |
        left91 | 3 | | 2025-06-01 | 2026-05-31 | 1 | | |
        left90 | 4 | | 2025-06-01 | 2026-05-30 | 1 | | |
    """
    stages = {"day59": "onboarding", "day60": "steady", "left91": "steady", "left90": "pre_renewal"}
    assert observed(rows, "stage") == stages


def test_size_bands(observed):
    rows = """
        a | 1 | | 2025-06-01 | 2026-06-01 | 19999.99  | | |
        b | 2 | | 2025-06-01 | 2026-06-01 | 20000     | | |
        c | 3 | | 2025-06-01 | 2026-06-01 | 100000    | | |
        d | 4 | | 2025-06-01 | 2026-06-01 | 100000.01 | | |
    """
    assert observed(rows, "size_band") == {"a": "small", "b": "medium", "c": "medium", "d": "large"}


def test_amounts_use_the_newest_known_rate(observed):
    """The rate of the as-of date is not known yet; of two rates on one day the later counts; gold has no rate."""
    rates = """
        currency | date                | rate
        EUR      | 2026-01-01          | 1.5
        EUR      | 2026-02-28          | 1.9
        EUR      | 2026-02-28 12:00:00 | 2.0
        EUR      | 2026-03-01          | 9.0
    """
    rows = """
        acme  | 1 | | 2025-06-01 | 2026-06-01 | 10000 | EUR | |
        acme  | 2 | | 2025-06-01 | 2026-06-01 | 500   | USD | |
        quiet | 3 | | 2025-06-01 | 2026-06-01 | 500   |     | |
        vault | 4 | | 2025-06-01 | 2026-06-01 | 500   | XAU | |
    """
    spine = observed(rows, "arr", "size_band", rates=rates)
    assert spine == {"acme": [20_500, "medium"], "quiet": [500, "small"], "vault": [None, None]}


def test_without_rates_an_amount_in_another_currency_is_null(observed):
    rows = """
        acme  | 1 | | 2025-06-01 | 2026-06-01 | 500 | EUR | |
        quiet | 2 | | 2025-06-01 | 2026-06-01 | 500 | USD | |
        vault | 3 | | 2025-06-01 | 2026-06-01 | 500 |     | |
    """
    columns = ["arr", "currency"]
    assert observed(rows, *columns, without=("rates",)) == {
        "acme": [None, "USD"],
        "quiet": [500, "USD"],
        "vault": [500, "USD"],
    }
    euro = POLICY.model_copy(update={"money": Money(reporting_currency="EUR")})
    assert observed(rows, *columns, without=("rates",), policy=euro) == {
        "acme": [500, "EUR"],
        "quiet": [None, "EUR"],
        "vault": [500, "EUR"],
    }


def test_name_and_manager_as_known(observed):
    """The row about quiet was recorded on the as-of date."""
    accounts = """
        account_id | account_name | csm | recorded_at
        acme       | Acme Ltd     | Ann | 2026-02-28
        quiet      | Quiet plc    | Bo  | 2026-03-01
    """
    rows = """
        acme  | 1 | | 2025-06-01 | 2026-06-01 | 1 | | |
        quiet | 2 | | 2025-06-01 | 2026-06-01 | 1 | | |
    """
    spine = observed(rows, "account_name", "csm", accounts=accounts)
    assert spine == {"acme": ["Acme Ltd", "Ann"], "quiet": [None, None]}


def test_ids_may_be_integers():
    """Ids keep their type: the features of account 7 equal those of account "7"."""
    term = {"start_date": date(2025, 6, 1), "end_date": date(2026, 6, 1), "arr": 1.0}
    use = {"feature": "send", "occurred_at": date(2026, 2, 27)}

    def answers(ids: str, number, user):
        rows = world(
            contracts=[{"contract_id": number, "account_id": number} | term],
            usage_events=[{"account_id": number, "user_id": user} | use],
            people=[{"account_id": number, "user_id": user, "tier": "S"}],
        )
        return engine((AS_OF,), POLICY, ids=ids).answers(rows, outcomes=[])

    numbers, texts = answers("int64", 7, 8), answers("string", "7", "8")
    assert numbers["stakeholders"][7, AS_OF]["people_active_s_28d"] == 1
    different = {"account_id"}
    for name in numbers:
        of_number, of_text = numbers[name][7, AS_OF], texts[name]["7", AS_OF]
        assert {c: v for c, v in of_number.items() if c not in different} == {
            c: v for c, v in of_text.items() if c not in different
        }


def test_month_starts_between_two_days():
    assert month_starts(date(2025, 11, 2), date(2026, 2, 1)) == [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]
    assert month_starts(date(2026, 1, 1), date(2026, 1, 31)) == [date(2026, 1, 1)]


def test_the_decision_falls_before_the_end_where_a_contract_renews_by_itself(company):
    """R12: the notice period comes off, and of several contracts the first to be decided counts."""
    contracts = """
        account_id | contract_id | product | start_date | end_date   | arr  | auto_renew | notice_days | notice_given_at
        acme       | 1           | core    | 2025-06-01 | 2026-06-01 | 1000 | yes        | 60          |
        acme       | 2           | extra   | 2025-06-01 | 2026-06-01 | 1000 | yes        | 90          | 2026-02-01
        quiet      | 3           | core    | 2025-06-01 | 2026-06-01 | 1000 | no         | 90          | 2026-02-28
        third      | 4           | core    | 2025-06-01 | 2026-06-01 | 1000 |            |             | 2026-03-01
    """
    observed = company(contracts=contracts)("spine", "days_to_decision", "decision_date", "notice_given")
    assert observed == {
        "acme": [2, date(2026, 3, 3), False],
        "quiet": [92, date(2026, 6, 1), True],
        "third": [92, date(2026, 6, 1), False],
    }
