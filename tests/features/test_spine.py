"""Customers on 2026-03-01, the renewals of each, and which is the main one."""

from __future__ import annotations

from datetime import date

import pytest

from renewals.features.policy import Money
from renewals.features.spine import month_starts
from tests.oracle.drawn import AS_OF, POLICY
from tests.oracle.worlds import by_account, engine, world

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
        ("it runs and ends within a year", "a | 1 | | 2025-06-01 | 2026-06-01 | 1 | | | ", "due"),
        ("it ends on the last day of the horizon", "a | 1 | | 2025-06-01 | 2027-03-01 | 1 | | | ", "due"),
        ("it ends a day beyond the horizon", "a | 1 | | 2025-06-01 | 2027-03-02 | 1 | | | ", "not_due"),
        ("it ended on the date", "a | 1 | | 2025-03-01 | 2026-03-01 | 1 | | | ", "overdue"),
        ("it ended on the last day of the grace", "a | 1 | | 2024-12-31 | 2025-12-31 | 1 | | | ", "overdue"),
        ("the grace has passed", "a | 1 | | 2024-12-30 | 2025-12-30 | 1 | | | ", None),
        ("it starts on the date, signed before", "a | 1 | | 2026-03-01 | 2027-03-01 | 1 | | 2026-02-28 | ", "due"),
        ("it starts on the date, known by that only", "a | 1 | | 2026-03-01 | 2027-03-01 | 1 | | | ", None),
        ("it starts tomorrow, signed long ago", "a | 1 | | 2026-03-02 | 2027-03-01 | 1 | | 2026-01-01 | ", None),
        ("it was signed on the date, late", "a | 1 | | 2026-02-01 | 2027-02-01 | 1 | | 2026-03-01 | ", None),
        ("it was cancelled yesterday", "a | 1 | | 2025-06-01 | 2026-06-01 | 1 | | | 2026-02-28", "overdue"),
        ("it was cancelled on the date: not known", "a | 1 | | 2025-06-01 | 2026-06-01 | 1 | | | 2026-03-01", "due"),
        ("it rolls on, shorter than 90 days", "a | 1 | | 2026-02-15 | 2026-04-15 | 1 | | | ", "not_due"),
    ],
)
def test_every_customer_has_a_row_that_says_what_is_due(observed, why, row, expected):
    assert observed(row, "renewal_state").get("a") == expected, why


def test_each_renewal_within_the_horizon_has_a_row(company):
    """R11: acme has two, and what ends beyond the horizon has none; what long has of three years is all of its ARR."""
    contracts = (
        HEAD
        + """
        acme | 1 | core  | 2025-06-01 | 2026-06-01 | 600  | | |
        acme | 2 | extra | 2025-09-01 | 2026-09-01 | 500  | | |
        acme | 3 | other | 2025-09-01 | 2028-09-01 | 4000 | | |
        long | 4 | core  | 2025-06-01 | 2028-06-01 | 700  | | |
        long | 5 | extra | 2025-06-01 | 2029-06-01 | 300  | | |
        gone | 6 | core  | 2025-02-01 | 2026-02-01 | 800  | | |
        gone | 7 | extra | 2025-02-01 | 2026-02-15 | 200  | | |
    """
    )
    columns = ["renewal_state", "is_main", "runs", "arr_due", "account_arr", "products"]
    assert company(contracts=contracts).by_renewal("spine", *columns) == {
        "acme:2026-06-01": ["due", True, True, 600, 5100, "core"],
        "acme:2026-09-01": ["due", False, True, 500, 5100, "extra"],
        "gone:2026-02-01": ["overdue", True, False, 800, 1000, "core"],
        "gone:2026-02-15": ["overdue", False, False, 200, 1000, "extra"],
        "long:2028-06-01": ["not_due", True, True, 1000, 1000, "core, extra"],
    }


def test_features_of_a_renewal_are_its_own(company):
    """The clock, the plan and the price are those of the renewal; the account's use and products are the same."""
    contracts = """
        account_id | contract_id | product | plan  | start_date | end_date   | arr  | seats
        acme       | 1           | core    | gold  | 2025-06-01 | 2026-06-01 | 1000 | 10
        acme       | 2           | extra   | basic | 2025-09-01 | 2026-09-01 | 300  | 30
    """
    columns = ["days_to_renewal", "term_age", "plan", "price_per_seat", "arr_due_share", "arr", "products", "seats"]
    assert company(contracts=contracts).by_renewal("commitment", *columns) == {
        "acme:2026-06-01": [92, 273, "gold", 100, pytest.approx(1000 / 1300), 1300, 2, 30],
        "acme:2026-09-01": [184, 181, "basic", 10, pytest.approx(300 / 1300), 1300, 2, 30],
    }


def test_a_renewal_is_signed_if_each_of_its_contracts_is(company):
    """Followed, or renewing by itself after the last day for notice, where notices are recorded at all."""
    contracts = """
    account | contract | product | start_date | end_date | arr | signed_at | auto_renew | notice_days | notice_given_at
    both | 1 | core | 2025-04-01 | 2026-04-01 | 10 | | | |
    both | 2 | extra | 2025-04-01 | 2026-04-01 | 10 | | | |
    both | 3 | core | 2026-04-01 | 2027-04-01 | 10 | 2026-02-01 | | |
    both | 4 | extra | 2026-04-01 | 2027-04-01 | 10 | 2026-02-01 | | |
    half | 5 | core | 2025-04-01 | 2026-04-01 | 10 | | | |
    half | 6 | extra | 2025-04-01 | 2026-04-01 | 10 | | | |
    half | 7 | core | 2026-04-01 | 2027-04-01 | 10 | 2026-02-01 | | |
    itself | 8 | core | 2025-04-01 | 2026-04-01 | 10 | | yes | 60 |
    today | 9 | core | 2025-04-30 | 2026-04-30 | 10 | | yes | 60 |
    leaves | 10 | core | 2025-04-01 | 2026-04-01 | 10 | | yes | 60 | 2026-01-15
    """
    columns = ["renewal_signed", "signed", "notice_given"]
    expected = {
        "both": [True, True, False],
        "half": [True, False, False],
        "itself": [False, True, False],
        "leaves": [False, False, True],
        "today": [False, False, False],
    }
    assert company(contracts=contracts)("spine", *columns) == expected
    without_notices = "\n".join(
        line.removesuffix("2026-01-15") for line in contracts.splitlines() if "leaves" not in line
    )
    assert company(contracts=without_notices)("spine", "signed")["itself"] is False


def test_amounts_in_the_currency_of_the_contract(company):
    """Of contracts in two currencies there is no common amount."""
    contracts = """
        account_id | contract_id | product | start_date | end_date   | arr | currency
        acme       | 1           | core    | 2025-06-01 | 2026-06-01 | 100 | EUR
        acme       | 2           | extra   | 2025-06-01 | 2026-06-01 | 50  | EUR
        mixed      | 3           | core    | 2025-06-01 | 2026-06-01 | 100 | EUR
        mixed      | 4           | extra   | 2025-06-01 | 2026-06-01 | 50  |
    """
    rates = """
        currency | date       | rate
        EUR      | 2026-01-01 | 2.0
    """
    columns = ["arr_due", "currency", "contract_amount", "contract_currency"]
    assert company(contracts=contracts, rates=rates)("spine", *columns) == {
        "acme": [300, "USD", 150, "EUR"],
        "mixed": [250, "USD", None, None],
    }


def test_the_main_renewal_is_the_day_on_which_most_revenue_ends(observed):
    """Two small contracts of June are more than the larger one of August; of equal sets the earlier counts."""
    rows = """
        acme  | 1 | core  | 2025-06-01 | 2026-06-01 | 600  | | |
        acme  | 2 | extra | 2025-09-01 | 2026-06-01 | 500  | | |
        acme  | 3 | other | 2025-08-01 | 2026-08-01 | 1000 | | |
        quiet | 4 | core  | 2025-08-01 | 2026-08-01 | 1000 | | |
        quiet | 5 | other | 2025-07-01 | 2026-07-01 | 1000 | | |
    """
    columns = ["renewal_date", "days_to_renewal", "arr_due", "account_arr", "term_start"]
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
    assert observed(rows, "account_arr", "renewal_date") == {"acme": [1500, date(2027, 2, 1)]}


def test_a_follow_on_that_was_cancelled_ends_the_customer(observed):
    """The second contract took over in February; cancelled before it began, it would have followed nothing."""
    rows = """
        acme  | 1 | | 2025-04-01 | 2026-04-01 | 1000 | |            |
        acme  | 2 | | 2026-02-01 | 2027-02-01 | 1500 | |            | 2026-02-10
        quiet | 3 | | 2025-04-01 | 2026-04-01 | 1000 | |            |
        quiet | 4 | | 2026-02-10 | 2027-02-10 | 1500 | | 2026-01-15 | 2026-02-10
    """
    assert observed(rows, "renewal_state", "renewal_date") == {
        "acme": ["overdue", date(2026, 2, 10)],
        "quiet": ["due", date(2026, 4, 1)],
    }


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
    spine = observed(rows, "account_arr", "size_band", rates=rates)
    assert spine == {"acme": [20_500, "medium"], "quiet": [500, "small"], "vault": [None, None]}


def test_without_rates_an_amount_in_another_currency_is_null(observed):
    rows = """
        acme  | 1 | | 2025-06-01 | 2026-06-01 | 500 | EUR | |
        quiet | 2 | | 2025-06-01 | 2026-06-01 | 500 | USD | |
        vault | 3 | | 2025-06-01 | 2026-06-01 | 500 |     | |
    """
    columns = ["account_arr", "currency"]
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

    numbers, texts = (
        {name: by_account(answer) for name, answer in found.items()}
        for found in (answers("int64", 7, 8), answers("string", "7", "8"))
    )
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
        account_id | contract_id | product | start_date | end_date | arr | auto_renew | notice_days | notice_given_at
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
