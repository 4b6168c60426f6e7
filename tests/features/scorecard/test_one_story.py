"""The scorecard of a tiny company computed by hand: ledger, roll-forward, scorecard and forecast tell one story (R9).

The as-of date is 2025-09-01, so June 2025 is the newest final month. All amounts are dollars a year; iris pays in euro,
at 1.20 dollars until April 19th 2025 and at 1.25 from the 20th on.

    account | contracts                                 | what happened
    alpha   | 12 000, to 2025-03-01                     | bought again for three years; 2 000 of `extra` on March 10th
    bravo   | 24 000, two years to 2026-04-01           | paused from February to April
    cedar   |  6 000, to 2025-05-01                     | merged into dune on January 10th; dune bought it again
    dune    | 18 000, to 2025-06-01                     | lost for its price; dune keeps the 6 000
    elm     | 10 000, then 15 000 from 2025-04-10       | a ramp of two years, signed at once: due in 2026
    fir     |  3 600, without an end                    | cancelled on 2025-03-15: rolling, no reason recorded
    gum     |  8 400, from 2025-01-15                   | the paper came on May 20th; March was open, January not
    hazel   |  4 800, to 2025-02-10                     | insolvent
    iris    | 10 000 euro, to 2025-05-15                | bought again flat
    juno    | 30 000, from 2025-02-01                   | new; 6 000 of `addon` on May 5th
    kiwi    |  9 000, two years to 2025-04-20           | bought again for a year with 8 of its 10 seats: 7 200

Closing revenue in 2025:

            |   Dec  |   Jan  |   Feb   |   Mar   |   Apr   |   May   |   Jun
    alpha   | 12 000 | 12 000 |  12 000 |  14 000 |  14 000 |  14 000 |  14 000
    bravo   | 24 000 | 24 000 |       0 |       0 |       0 |  24 000 |  24 000
    cedar   |  6 000 |      0 |       0 |       0 |       0 |       0 |       0
    dune    | 18 000 | 24 000 |  24 000 |  24 000 |  24 000 |  24 000 |   6 000
    elm     | 10 000 | 10 000 |  10 000 |  10 000 |  15 000 |  15 000 |  15 000
    fir     |  3 600 |  3 600 |   3 600 |       0 |       0 |       0 |       0
    gum     |      0 |      0 |       0 |   8 400 |   8 400 |   8 400 |   8 400
    hazel   |  4 800 |  4 800 |       0 |       0 |       0 |       0 |       0
    iris    | 12 000 | 12 000 |  12 000 |  12 000 |  12 500 |  12 500 |  12 500
    juno    |      0 |      0 |  30 000 |  30 000 |  30 000 |  36 000 |  36 000
    kiwi    |  9 000 |  9 000 |   9 000 |   9 000 |   7 200 |   7 200 |   7 200
    all     | 99 400 | 99 400 | 100 600 | 107 400 | 111 100 | 141 100 | 123 100
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Any

import ibis
import pytest

from renewals.features.point_in_time import known_rows
from renewals.features.policy import Policy, Scorecard
from renewals.features.revenue.ledger import RenewalLedger, renewals
from renewals.features.scorecard import totals as cards
from renewals.features.scorecard import upcoming
from renewals.models.forecast.renewal_schedule import matured_renewals
from renewals.pipelines.stages.act.forecast import forecast_inputs
from tests.oracle.drawn import drawn_rows
from tests.oracle.worlds import arrow, schema, world

AS_OF = date(2025, 9, 1)
FIRST_DAY = date(2023, 4, 1)
POLICY, OPTIONS = Policy(), Scorecard(months=30)
MONTHS = [f"2025-{month:02d}" for month in range(1, 7)]
JUNE = "2025-06"

ACCOUNTS = """
    account_id | merged_into_account_id | merged_at
    alpha      |                        |
    bravo      |                        |
    cedar      | dune                   | 2025-01-10
    dune       |                        |
    elm        |                        |
    fir        |                        |
    gum        |                        |
    hazel      |                        |
    iris       |                        |
    juno       |                        |
    kiwi       |                        |
"""
CONTRACTS = """
    account | contract_id | product | kind  | start_date | end_date   | arr   | currency | seats | signed_at  | cancelled_at | loss_reason | recorded_at
    alpha   | a1          | core    |       | 2024-03-01 | 2025-03-01 | 12000 |          |       | 2024-02-20 |              |             |
    alpha   | a2          | core    |       | 2025-03-01 | 2028-03-01 | 12000 |          |       | 2025-02-20 |              |             |
    alpha   | a3          | extra   |       | 2025-03-10 | 2026-03-10 | 2000  |          |       | 2025-03-10 |              |             |
    bravo   | b1          | core    |       | 2024-04-01 | 2026-04-01 | 24000 |          |       | 2024-04-01 |              |             |
    bravo   | b2          | core    | pause | 2025-02-01 | 2025-05-01 | 0     |          |       | 2025-01-30 |              |             |
    cedar   | c1          | core    |       | 2024-05-01 | 2025-05-01 | 6000  |          |       | 2024-05-01 |              |             |
    dune    | d1          | core    |       | 2024-06-01 | 2025-06-01 | 18000 |          |       | 2024-06-01 |              | price       |
    dune    | d2          | core    |       | 2025-05-01 | 2026-05-01 | 6000  |          |       | 2025-04-25 |              |             |
    elm     | e1          | core    |       | 2024-04-10 | 2025-04-10 | 10000 |          |       | 2024-04-01 |              |             |
    elm     | e2          | core    |       | 2025-04-10 | 2026-04-10 | 15000 |          |       | 2024-04-01 |              |             |
    fir     | f1          | core    |       | 2024-09-01 |            | 3600  |          |       | 2024-09-01 | 2025-03-15   |             |
    gum     | g1          | core    |       | 2025-01-15 | 2026-01-15 | 8400  |          |       | 2025-01-10 |              |             | 2025-05-20
    hazel   | h1          | core    |       | 2024-02-10 | 2025-02-10 | 4800  |          |       | 2024-02-10 |              | Insolvent   |
    iris    | i1          | core    |       | 2024-05-15 | 2025-05-15 | 10000 | EUR      |       | 2024-05-15 |              |             |
    iris    | i2          | core    |       | 2025-05-15 | 2026-05-15 | 10000 | EUR      |       | 2025-05-10 |              |             |
    juno    | j1          | core    |       | 2025-02-01 | 2026-02-01 | 30000 |          |       | 2025-01-20 |              |             |
    juno    | j2          | addon   |       | 2025-05-05 | 2026-05-05 | 6000  |          |       | 2025-05-05 |              |             |
    kiwi    | k1          | core    |       | 2023-04-20 | 2025-04-20 | 9000  |          | 10    | 2023-04-20 |              |             |
    kiwi    | k2          | core    |       | 2025-04-20 | 2026-04-20 | 7200  |          | 8     | 2025-04-15 |              |             |
"""  # noqa: E501
RATES = """
    currency | date       | rate
    EUR      | 2023-01-01 | 1.20
    EUR      | 2025-04-20 | 1.25
"""


class Company:
    """Ledger, scorecard and losses by reason of the company as known before a day, as rows."""

    def __init__(self, as_of: date = AS_OF) -> None:
        con = ibis.duckdb.connect(threads=1)
        texts = {"accounts": ACCOUNTS, "contracts": CONTRACTS, "rates": RATES}
        tables = world(**{name: drawn_rows(name, text) for name, text in texts.items()})
        self.raw = {name: con.create_table(name, arrow(tables[name], schema(name))) for name in texts}
        self.story = self.ledger(as_of)
        inputs = {
            **self.raw,
            "entries": self.story.entries,
            "renewals": renewals(self.story.entries),
            "expansions": self.story.expansions,
            "roll_forward": self.story.account_months,
            "revenue_intervals": self.story.revenue_intervals,
        }
        names = iter(range(1000))

        def keep(table: Any) -> Any:
            return con.create_table(f"kept_{next(names)}", table)

        rows = cards.scorecard(inputs, as_of, POLICY, OPTIONS, FIRST_DAY, keep).to_pyarrow().to_pylist()
        self.rows = {(r["measure"], r["period_kind"], r["period"]): r for r in rows if r["segment_kind"] == "company"}
        losses = cards.losses_by_reason(self.story.entries, as_of, POLICY, OPTIONS, FIRST_DAY)
        self.losses = losses.to_pyarrow().to_pylist()
        self.entries = self.story.entries.to_pyarrow().to_pylist()
        self.months = {
            f"{r['month']:%Y-%m}": r for r in self.story.roll_forward(self.story.months).to_pyarrow().to_pylist()
        }

    def ledger(self, as_of: date, known_until: date | None = None) -> RenewalLedger:
        rates = known_rows("rates", self.raw["rates"], known_until or as_of)
        return RenewalLedger(self.raw["contracts"], as_of, POLICY, rates, self.raw["accounts"], known_until)

    def figures(self, measure: str, period: str, kind: str = "month") -> tuple[Any, Any, Any]:
        row = self.rows[measure, kind, period]
        return row["value"], row["numerator"], row["denominator"]

    def by_month(self, measure: str) -> list[Any]:
        return [self.rows[measure, "month", month]["value"] for month in MONTHS]


@pytest.fixture(scope="module")
def company() -> Company:
    return Company()


def test_each_account_closes_with_the_revenue_drawn_above(company: Company) -> None:
    rows = company.story.account_months.to_pyarrow().to_pylist()
    closing = {(row["account_id"], f"{row['month']:%Y-%m}"): row["closing"] / 100 for row in rows}
    lines = (__doc__ or "").split("Closing revenue")[1].splitlines()
    table = [line.split("|") for line in lines if "|" in line][1:-1]
    drawn = {
        (name.strip(), month): int(cell.replace(" ", ""))
        for name, *cells in table
        for month, cell in zip(["2024-12", *MONTHS], cells, strict=True)
    }
    assert len(drawn) == 11 * 7
    assert {key: closing.get(key, 0) for key in drawn} == drawn
    lost = {(row["account_id"], f"{row['month']:%Y-%m}") for row in rows if row["lost"]}
    assert lost == {("hazel", "2025-02"), ("fir", "2025-03")}


BY_MONTH = {
    "arr": [99_400, 100_600, 107_400, 111_100, 141_100, 123_100],
    # Cedar goes on in dune, bravo stays a customer in its pause; juno comes, hazel goes; gum comes, fir goes.
    "customers": [8, 8, 8, 8, 8, 8],
    "customers_lost": [0, 1, 1, 0, 0, 0],
    "new_arr": [0, 30_000, 0, 0, 0, 0],
    "churned_arr": [0, 4_800, 3_600, 0, 0, 18_000],
    "contracted_arr": [0, 0, 0, 1_800, 0, 0],
    "contracted_growth": [0, 0, 0, 5_000, 0, 0],
    "paused_arr": [0, -24_000, 0, 0, 24_000, 0],
    "fx_effect": [0, 0, 0, 500, 0, 0],
    # The merger cancels out; the late paper does not.
    "corrections": [0, 0, 8_400, 0, 0, 0],
    "sales_expansion": [0, 0, 0, 0, 6_000, 0],
    "cs_expansion": [0, 0, 2_000, 0, 0, 0],
    # Fir rolls on, elm's ramp is due in 2026, bravo's contract too.
    "renewals_due": [0, 1, 1, 1, 2, 1],
    "logo_renewal_rate": [None, 0, 1, 1, 1, 0],
    "pure_renewal_rate": [None, 0, 1, 7_200 / 9_000, 1, 0],
    # Bravo's 24 000, while it is not paused; elm, kiwi until April, alpha from March.
    "multi_year_share": [43_000 / 99_400, 19_000 / 100_600, 31_000 / 107_400, 27_000 / 111_100, 51_000 / 141_100,
                         51_000 / 123_100],
    # Kiwi until April; elm and bravo from April on, when their ends are less than a year away.
    "cliff": [9_000, 9_000, 9_000, 15_000, 39_000, 39_000],
    "preventable_loss_share": [None, 0, 1, None, None, 1],
}  # fmt: skip


@pytest.mark.parametrize("measure", BY_MONTH)
def test_each_month(company: Company, measure: str) -> None:
    assert company.by_month(measure) == pytest.approx(BY_MONTH[measure])
    assert {company.rows[measure, "month", month]["state"] for month in MONTHS} == {"final"}


YEAR_TO_JUNE = {
    # Open on 2024-06-30: alpha, bravo, cedar, dune, elm, hazel, iris, kiwi with 95 800. Hazel is lost, and so is fir,
    # which came in September.
    "customers_lost": (2, 2, None),
    "customer_churn": (1 / 8, 1, 8),
    "churned_arr": (26_400, 26_400, None),
    "revenue_churn": (22_800 / 95_800, 22_800, 95_800),
    # Less kiwi's 1 800; the merger, the currency and the pause are in neither rate.
    "gross_retention": (71_200 / 95_800, 71_200, 95_800),
    # And 2 000 of alpha and the 5 000 of elm's ramp; juno came later.
    "net_retention": (78_200 / 95_800, 78_200, 95_800),
    # Hazel and dune's 18 000 were lost; alpha, kiwi, iris and what was cedar's were bought again.
    "logo_renewal_rate": (4 / 6, 4, 6),
    "revenue_renewal_rate": (39_500 / 62_300, 39_500, 62_300),
    "pure_renewal_rate": (37_700 / 62_300, 37_700, 62_300),
    "logo_renewal_rate_one_year": (3 / 5, 3, 5),
    "logo_renewal_rate_multi_year": (1, 1, 1),
    "revenue_renewal_rate_one_year": (30_500 / 53_300, 30_500, 53_300),
    "revenue_renewal_rate_multi_year": (1, 9_000, 9_000),
    "preventable_loss_share": (21_600 / 26_400, 21_600, 26_400),
    "paused_arr": (0, 0, None),
    "cliff": (39_000, 39_000, 51_000),
}


@pytest.mark.parametrize("measure", YEAR_TO_JUNE)
def test_the_year_to_june(company: Company, measure: str) -> None:
    assert company.figures(measure, JUNE, "trailing_year") == pytest.approx(YEAR_TO_JUNE[measure])


def test_losses_by_reason(company: Company) -> None:
    def of(kind: str, period: str) -> set[tuple[Any, ...]]:
        rows = [row for row in company.losses if (row["period_kind"], row["period"]) == (kind, period)]
        assert {row["state"] for row in rows} <= {"final"}
        return {tuple(row[name] for name in ("loss_reason", "preventable", "contracts", "arr")) for row in rows}

    assert of("month", "2025-02") == {("Insolvent", False, 1, 4_800)}
    assert of("month", "2025-04") == set()
    assert of("trailing_year", JUNE) == {
        ("Insolvent", False, 1, 4_800),
        (None, True, 1, 3_600),
        ("price", True, 1, 18_000),
    }


def test_ledger_roll_forward_and_scorecard_tell_the_same_story(company: Company) -> None:
    lost: dict[str, int] = defaultdict(int)
    due: dict[str, int] = defaultdict(int)
    kept: dict[str, int] = defaultdict(int)
    for entry in company.entries:
        if entry["booked_month"] is not None:
            month = f"{entry['booked_month']:%Y-%m}"
            lost[month] += entry["amount_due"] if entry["renewed"] == 0 else 0
            due[month] += entry["amount_due"] if not entry["rolling"] else 0
            kept[month] += entry["amount_kept"] if not entry["rolling"] else 0
    for month in MONTHS:
        moved = company.months[month]
        assert lost[month] == moved["churn"] == 100 * company.figures("churned_arr", month)[0]
        assert moved["lost"] == company.figures("customers_lost", month)[0]
        assert moved["closing_customer"] == company.figures("customers", month)[0]
        assert company.figures("pure_renewal_rate", month)[1:] == (kept[month] / 100, due[month] / 100)
        reasons = [row["arr"] for row in company.losses if (row["period_kind"], row["period"]) == ("month", month)]
        assert 100 * sum(reasons) == lost[month]


def test_the_past_quarter_of_the_forecast_is_that_of_the_scorecard(company: Company) -> None:
    """The quarter to June as the forecast of September 1st reads it, which opens its ledger for December 2026."""
    as_of = upcoming.horizon_end(AS_OF, POLICY)
    story = company.ledger(as_of, known_until=AS_OF)
    inputs = forecast_inputs(story, company.raw["accounts"], date(2025, 7, 1), AS_OF)
    quarter = inputs.quarters.query("quarter == 0 and opening > 0")
    assert company.figures("gross_retention", JUNE, "quarter") == pytest.approx((87_600 / 107_400, 87_600, 107_400))
    assert company.figures("net_retention", JUNE, "quarter") == pytest.approx((98_600 / 107_400, 98_600, 107_400))
    assert (quarter["opening"].sum(), quarter["kept"].sum(), quarter["retained"].sum()) == (107_400, 87_600, 98_600)
    due = matured_renewals(inputs, [0])
    assert company.figures("revenue_renewal_rate", JUNE, "quarter") == pytest.approx((27_500 / 45_500, 27_500, 45_500))
    assert (due["amount_renewed"].sum(), due["amount_due"].sum()) == (27_500, 45_500)


@pytest.mark.parametrize(("as_of", "newest"), [(date(2025, 5, 15), "2025-02"), (date(2025, 6, 29), "2025-03")])
def test_no_final_period_changes(company: Company, as_of: date, newest: str) -> None:
    """On May 15th nobody knows of gum; until June 29th April is open."""
    before = {key: row for key, row in Company(as_of).rows.items() if row["state"] == "final"}
    assert max(period for measure, _, period in before if measure == "gross_retention") == newest
    assert {key: company.rows[key] for key in before} == before
