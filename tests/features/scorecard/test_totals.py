"""The scorecard of a company of five accounts; every figure is computed by hand.

The as-of date is 2025-09-01. The grace is 60 days, so June 2025, which ended 63 days before, is final; July and August
are open. One euro is 1.25 dollars, and all amounts below are in dollars per year.

Contracts (seats in brackets) and their outcomes:

    account | manager | first term                       | what happened at its end
    acme    | Ann     | 2024-06-15  40 000               | bought again flat on 2025-06-15
            |         | 2024-08-10   6 000, the add-on   | ended on 2025-08-10, still in its grace: pending
    beta    | Ann     | 2024-06-20  12 500 (10), in euro | bought again on the day with 12 seats: 15 000
    coral   | Bo      | 2024-06-10  37 800 (18)          | bought again 15 days late with 15 seats: 31 500
    delta   | Bo      | 2024-06-05   2 500               | lost on 2025-06-05
    echo    | nobody  | 2023-07-01   1 200, two years    | lost on 2025-07-01; won by a referral

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
from renewals.features.policy import Money, Policy, Scorecard
from renewals.features.revenue.ledger import RenewalLedger, renewals
from renewals.features.scorecard import totals as cards
from renewals.features.scorecard.measures import MEASURES, measure_definitions, missing_measures
from tests.oracle.drawn import drawn_rows
from tests.oracle.worlds import World, arrow, schema, world

AS_OF = date(2025, 9, 1)
JUNE, JULY, AUGUST = "2025-06", "2025-07", "2025-08"
POLICY = Policy(money=Money(size_bands=(14_000, 100_000)))
"""In June beta grows out of the small accounts and changes from plan basic to pro; it counts in its segments of the
opening."""

OPTIONS = Scorecard(months=26)
FIRST_DAY = date(2023, 7, 1)

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
"""Onboarding is the first 60 days. Acme finished in 10 days and beta in 20, both in time. Coral asked on its 40th day
and finished too late. Delta asked on its 88th day, after its onboarding."""
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
"""In June three promoters, one passive and one detractor answered. The score 0 is of May, and delta did not answer."""
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
"""Account, user, day, day of arrival if later, key actions: u1 on ten days (one of them in two rows), u2 on June 2nd,
u3 on four days; u4 without a key action."""


def five(**changed: list[dict[str, Any]]) -> World:
    """The tables of the company, some of them replaced."""
    texts = {
        "accounts": ACCOUNTS,
        "contracts": CONTRACTS,
        "rates": RATES,
        "trials": TRIALS,
        "surveys": SURVEYS,
        "referrals": REFERRALS,
    }
    return world(**{name: drawn_rows(name, text) for name, text in texts.items()} | changed)


def ledger_of(raw: dict[str, Any], as_of: date, known_until: date | None = None) -> RenewalLedger:
    """The ledger of a company, as known before a day."""
    rates = known_rows("rates", raw["rates"], known_until or as_of)
    return RenewalLedger(raw["contracts"], as_of, POLICY, rates, raw["accounts"], known_until)


def scorecard_of(tables: World, as_of: date = AS_OF, use: list[tuple] = USE, without: tuple[str, ...] = ()) -> dict:
    """Scorecard rows by (measure, period kind, period, segment kind, segment)."""
    con = ibis.duckdb.connect(threads=1)
    names = ("accounts", "contracts", "rates", "trials", "surveys", "referrals")
    raw = {name: con.create_table(name, arrow(tables[name], schema(name))) for name in names if name not in without}
    numbers = iter(range(1000))

    def keep(table: Any) -> Any:
        return con.create_table(f"kept_{next(numbers)}", table)

    story = ledger_of(raw, as_of)
    ledger = {
        "entries": story.entries,
        "renewals": renewals(story.entries),
        "expansions": story.expansions,
        "roll_forward": story.account_months,
        "revenue_intervals": story.revenue_intervals,
    }
    inputs = {**raw, **ledger} | ({} if "person_days" in without else {"person_days": person_days(con, use)})
    rows = cards.scorecard(inputs, as_of, POLICY, OPTIONS, FIRST_DAY, keep).to_pyarrow().to_pylist()
    key = ("measure", "period_kind", "period", "segment_kind", "segment")
    result = {tuple(row[name] for name in key): row for row in rows}
    assert len(result) == len(rows), "a measure has two rows"
    return result


def person_days(con: Any, use: list[tuple]) -> Any:
    rows = [
        {"account_id": a, "user_id": u, "day": day_number(d), "known_day": day_number(k or d), "north_star": n}
        for a, u, d, k, n in use
    ]
    types = {"account_id": "string", "user_id": "string", "day": "int32", "known_day": "int32", "north_star": "float64"}
    return con.create_table("person_days", arrow(rows, ibis.schema(types)))


@pytest.fixture(scope="module")
def card():
    return scorecard_of(five())


def figures(card: dict, measure: str, period: str, kind: str = "month", segment: tuple[str, str] = ("company", "all")):
    """(value, numerator, denominator) of one row; None if there is no row."""
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
    # Coral's 6 300 is lost too; beta's additional 2 500 does not count.
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
    # Three of five are promoters and one is a detractor: 60 - 20.
    "nps": 40,
    # Five customers sent two invitations, and one converted: 5 x 0.4 x 0.5 / 5.
    "invitations_per_customer": 0.4,
    "invitation_conversion": 0.5,
    "viral_coefficient": 0.2,
    # 10 + 1 + 4 days of use in 30 days.
    "dau": 0.5,
    # From June 3rd to 30th u1 and u3 were active; u2 was active on the 2nd.
    "mau": 2,
    "dau_per_mau": 0.25,
    "referral_revenue": 100,  # echo pays 1 200 a year
    # Echo paid 100 a month for 24 months, July 2023 to June 2025; the reward was 340. (K10, the worked case)
    "referral_return": 2_400 / 340,
}


@pytest.mark.parametrize("measure", IN_JUNE)
def test_june(card, measure):
    assert figures(card, measure, JUNE)[0] == pytest.approx(IN_JUNE[measure], rel=1e-4)
    assert state(card, measure, JUNE) == "final"


def test_the_worked_example_of_return_on_referral_spend(card):
    value, earned, cost = figures(card, "referral_return", JUNE)
    assert (earned, cost, round(value, 1)) == (2_400, 340, 7.1)


def test_referral_revenue_starts_in_the_month_of_the_referred_purchase():
    """Beta, already a customer, renews after a referral: 1 250 of its 15 000 a year are of June; the reward was 100."""
    referrals = drawn_rows("referrals", REFERRALS)
    referrals[1] |= {"referred_account_id": "beta", "reward_cost": 100.0}
    card = scorecard_of(five(referrals=referrals))
    assert figures(card, "referral_revenue", JUNE)[0] == 100 + 1_250
    assert figures(card, "referral_return", JUNE) == pytest.approx((3_650 / 440, 2_400 + 1_250, 340 + 100))
    assert figures(card, "referral_return", "2025-05")[0] == 2_300 / 340


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
    # acme's add-on started in August 2024: 94 000 + 6 000 + 2 500 - 6 300 - 2 500.
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
    assert figures(card, measure, JUNE, "trailing_year")[0] == pytest.approx(YEAR_TO_JUNE[measure], rel=1e-9)


def test_onboarding_of_the_customers_of_june_2024(card):
    """Of four started customers three asked in time; two of these finished in time, in 10 and 20 days."""
    assert figures(card, "trial_asked", "2024-06") == (3 / 4, 3, 4)
    assert figures(card, "trial_finished", "2024-06") == (2 / 3, 2, 3)
    assert figures(card, "trial_days", "2024-06")[0] == 15
    assert figures(card, "trial_asked", JUNE) == (None, 0, 0)


def test_new_arr_and_a_month_without_an_opening(card):
    assert figures(card, "new_arr", "2024-06")[0] == 40_000 + 12_500 + 37_800 + 2_500
    assert figures(card, "revenue_churn", "2023-07") == (None, 0, 0)
    assert figures(card, "net_retention", "2023-07") == (None, 0, 0)


def test_arr_won_and_lost_within_a_year_counts_as_amount_but_not_in_rates():
    """Beta paid 10 000, added 5 000 in October and left in March: half of the 20 000 of a year ago is lost."""
    contracts = drawn_rows(
        "contracts",
        """
        account | contract_id | start_date | end_date   | arr   | seats
        acme    | a1          | 2023-07-01 | 2026-07-01 | 10000 | 10
        beta    | b1          | 2024-03-01 | 2025-03-01 | 10000 | 10
        beta    | b2          | 2024-10-01 | 2025-03-01 | 5000  | 5
        """,
    )
    card = scorecard_of(five(contracts=contracts))
    assert figures(card, "churned_arr", JUNE, "trailing_year")[0] == 15_000
    assert figures(card, "revenue_churn", JUNE, "trailing_year") == (0.5, 10_000, 20_000)
    assert figures(card, "gross_retention", JUNE, "trailing_year") == (0.5, 10_000, 20_000)
    assert figures(card, "net_retention", JUNE, "trailing_year") == (0.5, 10_000, 20_000)
    assert figures(card, "upsell_rate", JUNE, "trailing_year")[0] == 5_000 / 20_000


# -- renewals that are not decided yet (R2) --------------------------------------------------------------------------

RATES_OF_OUTCOMES = (
    *("logo_renewal_rate", "revenue_renewal_rate", "pure_renewal_rate", "customer_churn", "customers_lost"),
    *("churned_arr", "revenue_churn", "yearly_churn", "gross_retention", "net_retention", "upsell_rate"),
)


@pytest.mark.parametrize("measure", RATES_OF_OUTCOMES)
@pytest.mark.parametrize("period", [JULY, AUGUST])
@pytest.mark.parametrize("kind", ["month", "quarter", "trailing_year"])
def test_rates_of_an_open_period_are_null(card, measure, period, kind):
    assert figures(card, measure, period, kind)[0] is None
    assert state(card, measure, period, kind) == "open"


def test_pending_renewals_are_counted_separately(card):
    """In August the add-on of acme ended without a decision; its revenue still counts."""
    assert figures(card, "renewals_pending", AUGUST) == (1, 1, 1)
    assert figures(card, "arr_pending", AUGUST) == (6_000, 6_000, 6_000)
    assert figures(card, "logo_renewal_rate", AUGUST) == (None, 0, 0)
    assert figures(card, "pure_renewal_rate", AUGUST) == (None, 0, 0)
    assert figures(card, "arr", AUGUST)[0] == 92_500
    assert figures(card, "customers", AUGUST)[0] == 3


def test_rates_of_a_year_include_decided_renewals_only(card):
    """In the year to August 6 were due: 3 of the 5 decided were renewed, and the add-on of acme is pending."""
    assert figures(card, "renewals_due", AUGUST, "trailing_year")[0] == 6
    assert figures(card, "renewals_pending", AUGUST, "trailing_year")[0] == 1
    assert figures(card, "logo_renewal_rate", AUGUST, "trailing_year") == (None, 3, 5)


def test_once_the_grace_has_passed_the_month_is_final():
    """August is final 61 days after a term that ended on the 31st: the add-on is lost, of 92 500 ARR."""
    assert state(scorecard_of(five(), date(2025, 10, 30)), "customer_churn", AUGUST) == "open"
    card = scorecard_of(five(), date(2025, 10, 31))
    assert figures(card, "logo_renewal_rate", AUGUST) == (0, 0, 1)
    assert figures(card, "revenue_churn", AUGUST) == (6_000 / 92_500, 6_000, 92_500)
    assert figures(card, "customer_churn", AUGUST) == (0, 0, 3)
    assert state(card, "customer_churn", AUGUST) == "final"
    assert figures(card, "renewals_pending", AUGUST)[0] == 0


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
    # The inviting account is in one segment, the referred account that pays is in another.
    ("channel", "partner", "invitations_per_customer", (1 / 2, 1, 2)),
    ("channel", "referral", "referral_return", (2_400 / 340, 2_400, 340)),
]


@pytest.mark.parametrize(("kind", "segment", "measure", "expected"), BY_SEGMENT)
def test_a_segment(card, kind, segment, measure, expected):
    assert figures(card, measure, JUNE, segment=(kind, segment)) == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["customers", "arr", "renewals_due", "churned_arr", "dau"])
def test_the_segments_of_a_kind_add_up_to_the_company(card, measure):
    total = figures(card, measure, JUNE)[0]
    for kind in cards.SEGMENTS:
        parts = [row["value"] for key, row in card.items() if key[:4] == (measure, "month", JUNE, kind)]
        assert sum(parts) == pytest.approx(total), kind


def test_a_segment_holds_what_was_known_at_the_end_of_the_period():
    """Zoe takes over acme on July 10th; delta was recorded in July, so in June its manager was unknown."""
    before = drawn_rows("accounts", ACCOUNTS)
    taken_over = before[0] | {"csm": "Zoe", "recorded_at": datetime(2025, 7, 10)}
    before[3] |= {"recorded_at": datetime(2025, 7, 1)}
    card = scorecard_of(five(accounts=[*before, taken_over]))
    customers = {
        (period, manager): (figures(card, "customers", period, segment=("csm", manager)) or [None])[0]
        for period in ("2025-05", JUNE, JULY)
        for manager in ("Ann", "Zoe", "Bo", "unknown")
    }
    assert [customers["2025-05", manager] for manager in ("Ann", "Zoe", "Bo", "unknown")] == [2, None, 1, 2]
    assert [customers[JUNE, manager] for manager in ("Ann", "Zoe", "Bo", "unknown")] == [2, None, 1, 1]
    assert [customers[JULY, manager] for manager in ("Ann", "Zoe", "Bo", "unknown")] == [1, 1, 1, None]


# -- rows known later, and missing tables ----------------------------------------------------------------------------


def test_rows_known_later_do_not_change_the_scorecard(card):
    """Signatures, cancellations, answers, trials, referrals, use and rates known later do not change 2025-09-01."""
    before = five()
    later = datetime(2025, 9, 1)
    contracts = [row | {"cancelled_at": later} if row["contract_id"] == "a2" else row for row in before["contracts"]]
    known_late = {"account_id": "delta", "recorded_at": later}
    changed = {
        "contracts": [
            *contracts,
            *drawn_rows(
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
    assert scorecard_of(five(**changed), use=use) == card


def test_measures_of_a_missing_table_are_absent_and_not_zero(card):
    without = ("trials", "surveys", "referrals", "person_days")
    bare = scorecard_of(five(), without=without)
    missing = missing_measures({"accounts", "contracts"})
    assert missing == [
        *("trial_asked", "trial_finished", "trial_days", "nps"),
        *("invitations_per_customer", "invitation_conversion", "viral_coefficient"),
        *("dau", "mau", "dau_per_mau", "referral_revenue", "referral_return"),
    ]
    for measure in missing:
        assert figures(bare, measure, JUNE) == (None, None, None)
        assert state(bare, measure, JUNE) == "absent"
    for measure in set(MEASURES) - set(missing):
        assert figures(bare, measure, JUNE) == figures(card, measure, JUNE)


def test_a_month_before_anything_was_recorded_is_absent_and_not_zero(card):
    """Use is recorded from June 2025 on; in July nobody used the product, which is a zero."""
    assert state(card, "dau", "2025-05") == "absent"
    assert state(card, "dau", JUNE, "trailing_year") == "absent"
    assert figures(card, "dau", JULY) == (0, 0, 31)


def test_months_that_are_not_over_have_no_row(card):
    assert {key[2] for key in card if key[1] == "month"} == {
        f"{year}-{month:02d}" for year in (2023, 2024, 2025) for month in range(1, 13)
        if "2023-07" <= f"{year}-{month:02d}" <= AUGUST
    }  # fmt: skip
    assert min(key[2] for key in card if key[1] == "trailing_year") == "2024-06"


def test_before_the_end_of_the_first_month_the_scorecard_is_empty():
    assert scorecard_of(five(), date(2023, 7, 20)) == {}


def test_every_measure_has_a_name_and_definition_in_both_languages():
    for definition in measure_definitions():
        for part in ("name", "definition"):
            assert definition[part]["en"].isascii()
            assert definition[part]["zh"]
            assert definition[part]["en"] != definition[part]["zh"]
    rules = {definition["rule"] for definition in measure_definitions()}
    assert {f"K{number}" for number in range(1, 11)} | {"R4", "R5", "R8"} <= rules
