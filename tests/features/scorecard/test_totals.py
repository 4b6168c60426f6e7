"""The scorecard of a company of five accounts, every figure worked out by hand.

It is looked at on 2025-09-01. The grace is 60 days, so June 2025, which ended 63 days before, is final; July and August
are open. One euro is 1.25 dollars, and everything below is in dollars a year.

What was sold (seats in brackets) and what became of it:

    account | manager | first term                       | what happened at its end
    acme    | Ann     | 2024-06-15  40 000               | bought again flat on 2025-06-15
            |         | 2024-08-10   6 000, the add-on   | ended on 2025-08-10, still in its grace: pending
    beta    | Ann     | 2024-06-20  12 500 (10), in euro | bought again on the day with 12 seats: 15 000
    coral   | Bo      | 2024-06-10  37 800 (18)          | bought again 15 days late with 15 seats: 31 500
    delta   | Bo      | 2024-06-05   2 500               | lost on 2025-06-05
    echo    | nobody  | 2023-07-01   1 200, two years    | lost on 2025-07-01; came by a referral

Recurring revenue:

            | 2024-06-30 | 2025-05-31 | 2025-06-30 | in June 2025
    acme    |     40 000 |     46 000 |     46 000 |
    beta    |     12 500 |     12 500 |     15 000 | + 2 500 up-sell
    coral   |     37 800 |     37 800 |     31 500 | - 6 300 contraction
    delta   |      2 500 |      2 500 |          0 | - 2 500 churn
    echo    |      1 200 |      1 200 |      1 200 |
    all     |     94 000 |    100 000 |     93 700 |
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import ibis
import pytest

from renewals.features.point_in_time import day_number, known_rows
from renewals.features.policy import Money, Policy
from renewals.features.revenue.due_groups import renewals
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.scorecard import totals as cards
from renewals.features.scorecard.measures import MEASURES, measure_definitions, missing_measures
from renewals.features.spine import month_starts
from tests.oracle.drawn import drawn
from tests.oracle.worlds import World, arrow, schema, world

AS_OF = date(2025, 9, 1)
JUNE, JULY, AUGUST = "2025-06", "2025-07", "2025-08"
POLICY = Policy(money=Money(size_bands=(14_000, 100_000)))
"""Beta grows out of the small ones in June, and from the plan basic to pro: it counts as what it was at the opening."""

ACCOUNTS = """
    account_id | industry | channel  | csm
    acme       | banks    | direct   | Ann
    beta       | banks    | partner  | Ann
    coral      | retail   | direct   | Bo
    delta      | retail   | partner  | Bo
    echo       |          | referral |
"""
CONTRACTS = """
    account | contract_id | product | plan  | start_date | end_date   | arr   | currency | seats
    acme    | a1          | core    | pro   | 2024-06-15 | 2025-06-15 | 40000 |          |
    acme    | a2          | core    | pro   | 2025-06-15 | 2026-06-15 | 40000 |          |
    acme    | a3          | addon   | extra | 2024-08-10 | 2025-08-10 | 6000  |          |
    beta    | b1          | core    | basic | 2024-06-20 | 2025-06-20 | 10000 | EUR      | 10
    beta    | b2          | core    | pro   | 2025-06-20 | 2026-06-20 | 12000 | EUR      | 12
    coral   | c1          | core    | pro   | 2024-06-10 | 2025-06-10 | 37800 | USD      | 18
    coral   | c2          | core    | pro   | 2025-06-25 | 2026-06-25 | 31500 | USD      | 15
    delta   | d1          | core    | basic | 2024-06-05 | 2025-06-05 | 2500  |          |
    echo    | e1          | core    | basic | 2023-07-01 | 2025-07-01 | 1200  |          |
"""
RATES = """
    currency | date       | rate
    EUR      | 2023-01-01 | 1.25
"""
TRIALS = """
    account | requested_at | finished_at
    acme    | 2024-06-01   | 2024-06-11
    beta    | 2024-06-01   | 2024-06-21
    coral   | 2024-07-20   | 2024-09-15
    delta   | 2024-09-01   | 2024-09-05
"""
"""Onboarding is the first 60 days. Acme finished in 10 days and beta in 20, both in time; coral asked on its 40th day
and finished too late; delta asked on its 88th day, long after its onboarding."""
SURVEYS = """
    account | kind | score | sent_at    | answered_at
    acme    | nps  | 10    | 2025-06-01 | 2025-06-02
    acme    | nps  | 9     | 2025-06-01 | 2025-06-30
    beta    | nps  | 9     | 2025-06-01 | 2025-06-05
    beta    | nps  | 8     | 2025-06-01 | 2025-06-05
    coral   | nps  | 6     | 2025-05-28 | 2025-06-01
    coral   | nps  | 0     | 2025-05-28 | 2025-05-31
    coral   | csat | 1     | 2025-06-01 | 2025-06-02
    delta   | nps  |       | 2025-06-01 |
"""
"""In June three promoters, one passive and one detractor answered; the 0 was in May, and delta said nothing."""
REFERRALS = """
    account | referred_account_id | referred_at | converted_at | reward_cost
    acme    | echo                | 2023-06-10  | 2023-07-01   | 340
    acme    | foxtrot             | 2025-06-03  | 2025-06-20   |
    beta    |                     | 2025-06-09  |              |
"""
USE = [
    *(("acme", "u1", date(2025, 6, day), None, 1.0) for day in range(1, 11)),
    ("acme", "u1", date(2025, 6, 10), date(2025, 6, 12), 2.0),
    ("acme", "u2", date(2025, 6, 2), None, 1.0),
    *(("beta", "u3", date(2025, 6, day), None, 1.0) for day in range(27, 31)),
    ("beta", "u4", date(2025, 6, 29), None, 0.0),
]
"""Who did what matters when, and when it was known if later: u1 on ten days (one of them told twice), u2 on June 2nd,
u3 on four days; u4 only looked on."""


def five(**changed: list[dict[str, Any]]) -> World:
    """The company, or with some of its tables changed."""
    texts = {
        "accounts": ACCOUNTS,
        "contracts": CONTRACTS,
        "rates": RATES,
        "trials": TRIALS,
        "surveys": SURVEYS,
        "referrals": REFERRALS,
    }
    return world(**{name: drawn(name, text) for name, text in texts.items()} | changed)


def told(tables: World, as_of: date = AS_OF, use: list[tuple] = USE, without: tuple[str, ...] = ()) -> dict:
    """The scorecard by (measure, period kind, period, segment kind, segment)."""
    con = ibis.duckdb.connect(threads=1)
    names = ("accounts", "contracts", "rates", "trials", "surveys", "referrals")
    raw = {name: con.create_table(name, arrow(tables[name], schema(name))) for name in names if name not in without}
    known = {name: known_rows(name, raw[name], as_of) for name in ("accounts", "contracts", "rates")}
    made = iter(range(1000))

    def keep(table: Any) -> Any:
        return con.create_table(f"kept_{next(made)}", table)

    book = RenewalLedger(known["contracts"], as_of, POLICY, False, known["rates"], known["accounts"], keep)
    first = date(2023, 7, 1)
    ledger = {
        "renewals": renewals(book.entries),
        "roll_forward": book.account_roll_forward(month_starts(first, as_of)),
        "revenue_intervals": book.revenue_intervals,
    }
    inputs = {**raw, **ledger} | ({} if "person_days" in without else {"person_days": person_days(con, use)})
    rows = cards.scorecard(inputs, as_of, POLICY, first, 26, keep).to_pyarrow().to_pylist()
    key = ("measure", "period_kind", "period", "segment_kind", "segment")
    found = {tuple(row[name] for name in key): row for row in rows}
    assert len(found) == len(rows), "a measure is told twice"
    return found


def person_days(con: Any, use: list[tuple]) -> Any:
    rows = [
        {"account_id": a, "user_id": u, "day": day_number(d), "known_day": day_number(k or d), "north_star": n}
        for a, u, d, k, n in use
    ]
    types = {"account_id": "string", "user_id": "string", "day": "int32", "known_day": "int32", "north_star": "float64"}
    return con.create_table("person_days", arrow(rows, ibis.schema(types)))


@pytest.fixture(scope="module")
def card():
    return told(five())


def of(card: dict, measure: str, period: str, kind: str = "month", segment: tuple[str, str] = ("company", "all")):
    """(value, numerator, denominator) of one row; None where it has no row."""
    row = card.get((measure, kind, period, *segment))
    return row and (row["value"], row["numerator"], row["denominator"])


def state(card: dict, measure: str, period: str, kind: str = "month") -> str:
    return card[measure, kind, period, "company", "all"]["state"]


IN_JUNE = {
    # Due in June: acme, beta, coral, delta. Three bought again, delta did not.
    "renewals_due": 4,
    "renewals_pending": 0,
    "logo_renewal_rate": 3 / 4,
    # 40 000 + 12 500 + 37 800 + 2 500 = 92 800 was due; all but delta's 2 500 was bought again.
    "revenue_renewal_rate": 90_300 / 92_800,
    # Coral's 6 300 is not kept either; beta's 2 500 more counts for nothing.
    "pure_renewal_rate": 84_000 / 92_800,
    "customers": 4,
    "arr": 93_700,
    "customers_lost": 1,
    "customer_churn": 1 / 5,
    "churned_arr": 2_500,
    "revenue_churn": 2_500 / 100_000,
    # 2.5 % a month leaves 0.975 ^ 12 = 73.8 % after a year: 26.2 % are lost, not 30 %.
    "yearly_churn": 0.262,
    "yearly_loss": 24_549,  # 26.2 % of 93 700
    "contracted_arr": 6_300,
    "gross_retention": 0.912,  # 100 000 - 2 500 - 6 300
    "net_retention": 0.937,  # and 2 500 more at beta
    "new_arr": 0,
    "upsell_rate": 0.025,
    "cross_sell_rate": 0,
    # Three of five recommend us and one does not: 60 - 20.
    "nps": 40,
    # Two invitations by five customers, one of which became a customer: 5 x 0.4 x 0.5 / 5.
    "invitations_per_customer": 0.4,
    "invitation_conversion": 0.5,
    "viral_coefficient": 0.2,
    # 10 + 1 + 4 days of use in 30 days.
    "dau": 0.5,
    # From June 3rd to 30th u1 and u3 were there; u2 came on the 2nd.
    "mau": 2,
    "dau_per_mau": 0.25,
    "referral_revenue": 100,  # echo pays 1 200 a year
    # Echo paid 100 a month for 24 months, July 2023 to June 2025; the reward was 340. (K10, the worked case)
    "referral_return": 2_400 / 340,
}


@pytest.mark.parametrize("measure", IN_JUNE)
def test_june(card, measure):
    assert of(card, measure, JUNE)[0] == pytest.approx(IN_JUNE[measure], rel=1e-4)
    assert state(card, measure, JUNE) == "final"


def test_the_worked_case_of_the_return_on_referral_spend(card):
    value, earned, cost = of(card, "referral_return", JUNE)
    assert (earned, cost, round(value, 1)) == (2_400, 340, 7.1)


def test_referred_accounts_pay_from_the_month_in_which_they_bought():
    """Beta, a customer before, bought again on advice: 1 250 of its 15 000 a year are June's; the reward was 100."""
    referrals = drawn("referrals", REFERRALS)
    referrals[1] |= {"referred_account_id": "beta", "reward_cost": 100.0}
    card = told(five(referrals=referrals))
    assert of(card, "referral_revenue", JUNE)[0] == 100 + 1_250
    assert of(card, "referral_return", JUNE) == pytest.approx((3_650 / 440, 2_400 + 1_250, 340 + 100))
    assert of(card, "referral_return", "2025-05")[0] == 2_300 / 340


YEAR_TO_JUNE = {
    # Since 2024-07-01, when 94 000 recurred at five customers. Before June 2025 nothing was due.
    "renewals_due": 4,
    "logo_renewal_rate": 3 / 4,
    "customer_churn": 1 / 5,
    "churned_arr": 2_500,
    "revenue_churn": 2_500 / 94_000,
    # A month of this year lost 2 500 of 94 000 (July, August) + 94 000 + 10 x 100 000 (September to June).
    "yearly_churn": 1 - (1 - 2_500 / 1_188_000) ** 12,
    "gross_retention": (94_000 - 2_500 - 6_300) / 94_000,
    # acme's add-on came in August 2024: 94 000 + 6 000 + 2 500 - 6 300 - 2 500.
    "net_retention": 93_700 / 94_000,
    "upsell_rate": 2_500 / 94_000,
    "cross_sell_rate": 6_000 / 94_000,
    "nps": 100 * (3 - 2) / 6,  # the 0 of May is in the year
    "viral_coefficient": 1 / 5,
    "referral_revenue": 1_200,
    "referral_return": 2_400 / 340,
}


@pytest.mark.parametrize("measure", YEAR_TO_JUNE)
def test_the_year_to_june(card, measure):
    assert of(card, measure, JUNE, "trailing_year")[0] == pytest.approx(YEAR_TO_JUNE[measure], rel=1e-9)


def test_onboarding_of_who_came_in_june_2024(card):
    """Acme, beta, coral and delta began; the first three asked in time; two of them finished in time, in 10 and 20."""
    assert of(card, "trial_asked", "2024-06") == (3 / 4, 3, 4)
    assert of(card, "trial_finished", "2024-06") == (2 / 3, 2, 3)
    assert of(card, "trial_days", "2024-06")[0] == 15
    assert of(card, "trial_asked", JUNE) == (None, 0, 0)


def test_new_customers_and_a_month_that_began_with_nothing(card):
    assert of(card, "new_arr", "2024-06")[0] == 40_000 + 12_500 + 37_800 + 2_500
    assert of(card, "revenue_churn", "2023-07") == (None, 0, 0)
    assert of(card, "net_retention", "2023-07") == (None, 0, 0)


def test_what_was_bought_and_lost_within_a_year_is_money_but_no_rate_above_all_there_was():
    """Beta paid 10 000, took 5 000 more in October and left in March: of the 20 000 of a year ago half is gone."""
    contracts = drawn(
        "contracts",
        """
        account | contract_id | start_date | end_date   | arr   | seats
        acme    | a1          | 2023-07-01 | 2026-07-01 | 10000 | 10
        beta    | b1          | 2024-03-01 | 2025-03-01 | 10000 | 10
        beta    | b2          | 2024-10-01 | 2025-03-01 | 5000  | 5
        """,
    )
    card = told(five(contracts=contracts))
    assert of(card, "churned_arr", JUNE, "trailing_year")[0] == 15_000
    assert of(card, "revenue_churn", JUNE, "trailing_year") == (0.5, 10_000, 20_000)
    assert of(card, "gross_retention", JUNE, "trailing_year") == (0.5, 10_000, 20_000)
    assert of(card, "net_retention", JUNE, "trailing_year") == (0.5, 10_000, 20_000)
    assert of(card, "upsell_rate", JUNE, "trailing_year")[0] == 5_000 / 20_000


# -- what is not decided yet (R2) ------------------------------------------------------------------------------------

RATES_OF_OUTCOMES = (
    *("logo_renewal_rate", "revenue_renewal_rate", "pure_renewal_rate", "customer_churn", "customers_lost"),
    *("churned_arr", "revenue_churn", "yearly_churn", "gross_retention", "net_retention", "upsell_rate"),
)


@pytest.mark.parametrize("measure", RATES_OF_OUTCOMES)
@pytest.mark.parametrize("period", [JULY, AUGUST])
@pytest.mark.parametrize("kind", ["month", "quarter", "trailing_year"])
def test_an_open_period_looks_neither_lost_nor_kept(card, measure, period, kind):
    assert of(card, measure, period, kind)[0] is None
    assert state(card, measure, period, kind) == "open"


def test_what_is_pending_is_counted_and_shown_apart(card):
    """In August acme's add-on ended, with nobody's decision yet; it still recurs."""
    assert of(card, "renewals_pending", AUGUST) == (1, 1, 1)
    assert of(card, "arr_pending", AUGUST) == (6_000, 6_000, 6_000)
    assert of(card, "logo_renewal_rate", AUGUST) == (None, 0, 0)
    assert of(card, "pure_renewal_rate", AUGUST) == (None, 0, 0)
    assert of(card, "arr", AUGUST)[0] == 92_500
    assert of(card, "customers", AUGUST)[0] == 3


def test_of_the_year_only_what_is_decided_is_in_a_rate(card):
    """To August 6 were due: of the 5 decided 3 were bought again, and acme's add-on is pending."""
    assert of(card, "renewals_due", AUGUST, "trailing_year")[0] == 6
    assert of(card, "renewals_pending", AUGUST, "trailing_year")[0] == 1
    assert of(card, "logo_renewal_rate", AUGUST, "trailing_year") == (None, 3, 5)


def test_once_the_grace_has_passed_the_month_is_final():
    """August is final when a term that ended on its 31st is, 61 days on: the add-on is lost, of 92 500 ARR."""
    assert state(told(five(), date(2025, 10, 30)), "customer_churn", AUGUST) == "open"
    card = told(five(), date(2025, 10, 31))
    assert of(card, "logo_renewal_rate", AUGUST) == (0, 0, 1)
    assert of(card, "revenue_churn", AUGUST) == (6_000 / 92_500, 6_000, 92_500)
    assert of(card, "customer_churn", AUGUST) == (0, 0, 3)
    assert state(card, "customer_churn", AUGUST) == "final"
    assert of(card, "renewals_pending", AUGUST)[0] == 0


# -- segments --------------------------------------------------------------------------------------------------------

BY_SEGMENT = [
    # Size at the opening of June: acme and coral medium; beta, delta and echo small.
    ("size_band", "small", "logo_renewal_rate", (1 / 2, 1, 2)),
    ("size_band", "medium", "logo_renewal_rate", (1, 2, 2)),
    ("size_band", "small", "revenue_churn", (2_500 / 16_200, 2_500, 16_200)),
    ("industry", "retail", "customer_churn", (1 / 2, 1, 2)),
    ("industry", "unknown", "customers", (1, 1, None)),
    ("plan", "basic", "renewals_due", (2, 2, None)),
    ("plan", "pro", "pure_renewal_rate", (71_500 / 77_800, 71_500, 77_800)),
    ("channel", "direct", "gross_retention", (77_500 / 83_800, 77_500, 83_800)),
    ("cohort", "2024", "customer_churn", (1 / 4, 1, 4)),
    ("cohort", "2023", "customer_churn", (0, 0, 1)),
    ("csm", "Ann", "nps", (75, 3, 4)),
    ("csm", "Bo", "nps", (-100, -1, 1)),
    ("csm", "Ann", "dau", (0.5, 15, 30)),
    # Who invites is in one segment, who came by it and pays in another.
    ("channel", "partner", "invitations_per_customer", (1 / 2, 1, 2)),
    ("channel", "referral", "referral_return", (2_400 / 340, 2_400, 340)),
]


@pytest.mark.parametrize(("kind", "segment", "measure", "expected"), BY_SEGMENT)
def test_a_segment(card, kind, segment, measure, expected):
    assert of(card, measure, JUNE, segment=(kind, segment)) == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["customers", "arr", "renewals_due", "churned_arr", "dau"])
def test_the_segments_of_a_kind_add_up_to_the_company(card, measure):
    whole = of(card, measure, JUNE)[0]
    for kind in cards.SEGMENTS:
        parts = [row["value"] for key, row in card.items() if key[:4] == (measure, "month", JUNE, kind)]
        assert sum(parts) == pytest.approx(whole), kind


# -- what is known when, and what is not given ------------------------------------------------------------------------


def test_what_is_learnt_later_changes_nothing_of_an_earlier_day(card):
    """Late signatures, cancellations, answers, trials, referrals, use and rates: on 2025-09-01 nobody knew of them."""
    before = five()
    later = datetime(2025, 9, 1)
    contracts = [row | {"cancelled_at": later} if row["contract_id"] == "a2" else row for row in before["contracts"]]
    known_late = {"account_id": "delta", "recorded_at": later}
    changed = {
        "contracts": [
            *contracts,
            *drawn(
                "contracts",
                """
                account | contract_id | start_date | end_date   | arr  | signed_at
                delta   | d2          | 2025-07-20 | 2026-07-20 | 2500 | 2025-09-01
                golf    | g1          | 2025-05-01 | 2026-05-01 | 9999 | 2025-09-02
                """,
            ),
        ],
        "accounts": [*before["accounts"], {"account_id": "golf", "csm": "Ann", "recorded_at": later}],
        "rates": [*before["rates"], {"currency": "EUR", "date": later, "rate": 9.0}],
        "trials": [*before["trials"], {"requested_at": datetime(2024, 6, 2), "finished_at": later, **known_late}],
        "surveys": [
            *before["surveys"],
            {"kind": "nps", "score": 0.0, "answered_at": datetime(2025, 6, 20), **known_late},
            {"account_id": "beta", "kind": "nps", "score": 0.0, "sent_at": datetime(2025, 6, 20), "answered_at": later},
        ],
        "referrals": [
            *(row | {"converted_at": later, "reward_cost": 50.0} if row["account_id"] == "beta" else row
              for row in before["referrals"]),
            {"referred_at": datetime(2025, 6, 1), "converted_at": datetime(2025, 6, 2), **known_late},
        ],
    }  # fmt: skip
    use = [*USE, ("delta", "u9", date(2025, 6, 15), AS_OF, 1.0), ("acme", "u2", AS_OF, None, 1.0)]
    assert told(five(**changed), use=use) == card


def test_a_table_that_was_not_given_is_absent_and_not_zero(card):
    without = ("trials", "surveys", "referrals", "person_days")
    bare = told(five(), without=without)
    missing = missing_measures({"accounts", "contracts"})
    assert missing == [
        *("trial_asked", "trial_finished", "trial_days", "nps"),
        *("invitations_per_customer", "invitation_conversion", "viral_coefficient"),
        *("dau", "mau", "dau_per_mau", "referral_revenue", "referral_return"),
    ]
    for measure in missing:
        assert of(bare, measure, JUNE) == (None, None, None)
        assert state(bare, measure, JUNE) == "absent"
    for measure in set(MEASURES) - set(missing):
        assert of(bare, measure, JUNE) == of(card, measure, JUNE)


def test_a_month_before_anything_was_recorded_is_absent_and_not_zero(card):
    """Use is recorded from June 2025 on; in July nobody used it, and that is a zero."""
    assert state(card, "dau", "2025-05") == "absent"
    assert state(card, "dau", JUNE, "trailing_year") == "absent"
    assert of(card, "dau", JULY) == (0, 0, 31)


def test_months_that_are_not_over_have_no_row(card):
    assert {key[2] for key in card if key[1] == "month"} == {
        f"{year}-{month:02d}" for year in (2023, 2024, 2025) for month in range(1, 13)
        if "2023-07" <= f"{year}-{month:02d}" <= AUGUST
    }  # fmt: skip
    assert min(key[2] for key in card if key[1] == "trailing_year") == "2024-06"


def test_before_the_first_month_is_over_there_is_nothing_to_say():
    assert told(five(), date(2023, 7, 20)) == {}


def test_every_measure_says_what_it_means_in_both_languages():
    for said in measure_definitions():
        for part in ("name", "definition"):
            assert said[part]["en"].isascii()
            assert said[part]["zh"]
            assert said[part]["en"] != said[part]["zh"]
    rules = {said["rule"] for said in measure_definitions()}
    assert {f"K{number}" for number in range(1, 11)} | {"R4", "R5", "R8"} <= rules
