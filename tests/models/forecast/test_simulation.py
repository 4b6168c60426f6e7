"""Tests of the forecast: small companies with values computed by hand, and the coverage of the intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.forecast.benchmarks import TOTALS, actual_measures, derive_measures, last_year_rates
from renewals.models.forecast.renewal_schedule import (
    ALL_BANDS,
    build_schedule,
    forecast_accounts,
    late_renewal_rate,
    term_length_distribution,
)
from renewals.models.forecast.simulation import (
    build_pool,
    forecast_measures,
    growth_pool,
    segment_membership,
    simulate_totals,
)
from tests.models.standings import DAY, OPTIONS, quarters, read, scores, sets, shock, standing

FLAT = """
    account_id | due_at     | amount_due | renewed
    past       | 2025-05-15 | 100        | 1
"""
"""One past renewal of another customer, with unchanged ARR: all of it is kept and nothing is added."""
PAST = """
    account_id | quarter | opening
    past       | -2      | 100
"""


def forecast(inputs, predictions=None, spread=0.0, options=OPTIONS, kinds=()):
    """Forecast as {(measure, quarter, segment): (expected, low, high)}."""
    rows = forecast_measures(
        inputs, scores() if predictions is None else predictions, shock(spread), options, kinds, "unknown"
    )
    keyed = rows.set_index(["measure", "quarter", "segment"])[["expected", "low", "high"]]
    return {key: tuple(values) for key, values in zip(keyed.index, keyed.to_numpy(), strict=True)}


def company(coming: str, past: str = FLAT, history: str = PAST, opening: str = "acme | 1 | 100"):
    """Forecast inputs from tables as text: due and past renewals, past quarters, and the present ARR (`opening`)."""
    head = FLAT.strip().splitlines()[0]
    past = past if "account_id" in past else f"{head}\n{past}"
    history = history or "account_id | quarter | opening\nnobody | 1 | 0"
    all_renewals = pd.concat(
        [sets(past), sets(coming if "account_id" in coming else f"{head}\n{coming}")], ignore_index=True
    )
    now = quarters(f"account_id | quarter | opening\n{opening}")
    return standing(all_renewals, pd.concat([quarters(history), now], ignore_index=True))


def test_decided_renewal_ignores_the_score():
    measures = forecast(company("acme | 2026-02-10 | 100 | 1"), scores(acme=0.01))
    assert measures["arr_renewed", 1, ALL_BANDS] == measures["arr_decided", 1, ALL_BANDS] == (100, 100, 100)
    assert measures["arr_at_risk", 1, ALL_BANDS] == (0, 0, 0)
    assert measures["gross_retention", 1, ALL_BANDS] == measures["net_retention", 1, ALL_BANDS] == (1, 1, 1)


def test_one_account_renews_all_or_nothing():
    expected, low, high = forecast(company("acme | 2026-02-10 | 100 | 0"), scores(acme=0.7))[
        "arr_renewed", 1, ALL_BANDS
    ]
    assert expected == pytest.approx(70, abs=3)
    assert (low, high) == (0, 100)


def test_two_accounts_renew_independently():
    coming = "acme | 2026-02-10 | 100 | 0\nbeta | 2026-03-10 | 300 | 0"
    inputs = company(coming, opening="acme | 1 | 100\nbeta | 1 | 300")
    due = build_schedule(inputs, scores(acme=0.5, beta=0.5))
    accounts = forecast_accounts(inputs, due)
    renewed = simulate_totals(inputs, due, accounts, segment_membership(accounts, (), "").membership, shock(), OPTIONS)[
        "renewed"
    ][:, 0, 0]
    values, counts = np.unique(renewed, return_counts=True)
    assert values.tolist() == [0, 100, 300, 400]
    assert counts / len(renewed) == pytest.approx(0.25, abs=0.04)


def test_renewals_of_one_account_share_a_random_number():
    inputs = company("acme | 2026-02-10 | 60 | 0\nacme | 2026-03-10 | 40 | 0")
    due = build_schedule(inputs, scores(acme=0.5))
    accounts = forecast_accounts(inputs, due)
    renewed = simulate_totals(inputs, due, accounts, segment_membership(accounts, (), "").membership, shock(), OPTIONS)[
        "renewed"
    ][:, 0, 0]
    assert np.unique(renewed).tolist() == [0, 100]


SMALLER = """
    account_id | due_at     | amount_due | renewed | amount_kept
    past       | 2025-05-15 | 100        | 1       | 80
"""


def test_retained_share_comes_from_past_renewals():
    """The renewal is certain and a fifth smaller: all of the ARR counts as renewed, four fifths are kept."""
    measures = forecast(company("acme | 2026-02-10 | 100 | 0", SMALLER), scores(acme=1.0))
    assert measures["arr_renewed", 1, ALL_BANDS] == pytest.approx((100, 100, 100))
    assert (
        measures["gross_retention", 1, ALL_BANDS]
        == measures["net_retention", 1, ALL_BANDS]
        == pytest.approx((0.8, 0.8, 0.8))
    )


UPLIFTED = """
    account_id | due_at     | amount_due | renewed | growth
    past       | 2025-05-15 | 100        | 1       | 7
"""
UPLIFTED_QUARTER = """
    account_id | quarter | opening | closing
    past       | -2      | 100     | 107
"""


def test_routine_uplift_counts_in_net_retention_only():
    """A price rise of 7 % counts in NRR but not in GRR (R5), and is not growth between renewals."""
    measures = forecast(company("acme | 2026-02-10 | 100 | 0", UPLIFTED, UPLIFTED_QUARTER), scores(acme=1.0))
    assert measures["gross_retention", 1, ALL_BANDS] == pytest.approx((1, 1, 1))
    assert measures["net_retention", 1, ALL_BANDS] == pytest.approx((1.07, 1.07, 1.07))
    assert measures["net_retention", 2, ALL_BANDS] == pytest.approx((1, 1, 1))


GROWN_QUARTER = """
    account_id | quarter | opening | closing
    past       | -2      | 100     | 110
"""


def test_net_retention_includes_growth_between_renewals():
    """Past quarters grew by 10 %, so future ones do too (46 % a year), and the growth is due with the term."""
    measures = forecast(company("acme | 2026-11-10 | 100 | 0", history=GROWN_QUARTER), scores(acme=1.0))
    assert measures["net_retention", 1, ALL_BANDS] == pytest.approx((1.1,) * 3)
    assert measures["net_retention", 5, ALL_BANDS] == pytest.approx((1.1**4,) * 3)
    assert measures["gross_retention", 5, ALL_BANDS] == pytest.approx((1,) * 3)
    assert measures["arr_due", 4, ALL_BANDS] == pytest.approx((100 * 1.1**3,) * 3)


def test_decided_renewal_changes_arr_when_its_follow_on_starts():
    coming = """
        account_id | due_at     | amount_due | renewed | amount_kept | moves_at
        acme       | 2026-02-10 | 100        | 1       | 60          | 2025-12-20
        beta       | 2026-02-10 | 100        | 1       | 60          | 2026-04-03
    """
    measures = forecast(company(coming, opening="acme | 1 | 60\nbeta | 1 | 100"))
    assert measures["arr_renewed", 1, ALL_BANDS] == (200, 200, 200)
    assert measures["gross_retention", 1, ALL_BANDS] == (1, 1, 1), (
        "acme's loss is in the opening, beta's is in quarter 2"
    )
    assert measures["gross_retention", 2, ALL_BANDS] == pytest.approx((120 / 160,) * 3)


def test_account_without_a_score_gets_the_rate_of_its_size_band():
    """Seven of the band's ten terms were renewed; the prior is ten terms at the company's rate, (7 + 1) / (10 + 2)."""
    past = "\n".join(f"past | 2025-05-{day:02d} | 100 | {int(day <= 7)}" for day in range(1, 11))
    inputs = company("acme | 2026-02-10 | 100 | 0", f"{FLAT.strip().splitlines()[0]}\n{past}")
    assert build_schedule(inputs, scores()).query("generation == 0")["probability"].tolist() == pytest.approx(
        [(7 + 10 * 8 / 12) / 20]
    )
    assert build_schedule(inputs, scores(acme=0.9)).query("generation == 0")["probability"].tolist() == [0.9]


def probabilities(coming: str, day_scores: pd.DataFrame) -> list[float]:
    """Probability of each renewal due of acme."""
    return build_schedule(company(coming), day_scores).query("generation == 0")["probability"].tolist()


TWO_RENEWALS = "acme | 2026-02-10 | 60 | 0\nacme | 2026-03-10 | 40 | 0\nacme | 2026-05-10 | 40 | 0"


def test_each_renewal_of_an_account_has_its_own_score_and_one_without_that_of_the_first():
    """The renewal in May has no score; scores are matched by date, not by their order."""
    march, february = scores("2026-03-10", acme=0.9), scores("2026-02-10", acme=0.3)
    assert probabilities(TWO_RENEWALS, pd.concat([march, february])) == [0.3, 0.9, 0.9]
    assert probabilities(TWO_RENEWALS, pd.concat([february, march])) == [0.3, 0.9, 0.3]


def test_renewal_date_of_another_account_or_without_a_score_is_no_match():
    others = pd.concat([scores("2026-02-10", beta=0.1), scores("2026-02-10", acme=np.nan)])
    assert probabilities(TWO_RENEWALS, pd.concat([others, scores("2026-05-10", acme=0.6)])) == [0.6, 0.6, 0.6]


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_scores_match_for_any_unit_of_dates(unit):
    day_scores = pd.concat([scores("2026-03-10", acme=0.9), scores("2026-02-10", acme=0.3)])
    by_unit = day_scores.astype({"renewal_date": f"datetime64[{unit}]"})
    assert probabilities(TWO_RENEWALS, by_unit) == [0.3, 0.9, 0.9]
    assert probabilities(TWO_RENEWALS, day_scores.assign(renewal_date=day_scores["renewal_date"].dt.date)) == [
        *(0.3, 0.9, 0.9)
    ]


def test_pending_renewal_is_part_of_the_opening_and_of_no_quarter():
    """One of the two past terms that were not followed after 20 days was renewed late: (1 + 1/2) / (2 + 1)."""
    past = """
        account_id | due_at     | amount_due | renewed | followed_at
        past       | 2025-05-10 | 100        | 1       | 2025-06-09
        gone       | 2025-05-10 | 100        | 0       |
        early      | 2025-05-10 | 100        | 1       | 2025-05-01
    """
    history = "account_id | quarter | opening\npast | -1 | 100\ngone | -1 | 100\nearly | -1 | 100\nlate | 0 | 100"
    inputs = company("late | 2025-12-12 | 100 | 0", past, history)
    assert late_renewal_rate(inputs, np.array([20])) == pytest.approx([0.5])
    measures = forecast(inputs)
    assert measures["opening_arr", 1, ALL_BANDS][0] == pytest.approx(150, abs=3)
    assert measures["arr_due", 1, ALL_BANDS] == (0, 0, 0)
    assert np.isnan(measures["revenue_renewal_rate", 1, ALL_BANDS]).all()


def test_new_business_is_excluded():
    inputs = company("stranger | 2026-02-10 | 100 | 0\nacme | 2026-02-11 | 100 | 0")
    assert set(build_schedule(inputs, scores())["account_id"]) == {"acme"}


def test_short_term_is_due_twice():
    """Half a year after 10 February is August; the second renewal requires the first and has the band's rate."""
    coming = """
        account_id | due_at     | amount_due | renewed | began
        acme       | 2026-02-10 | 100        | 0       | 2025-08-10
    """
    due = build_schedule(company(coming), scores(acme=0.8))
    assert due[["quarter", "generation", "after", "share"]].to_numpy().tolist() == [[1, 0, -1, 1.0], [3, 1, 0, 1.0]]
    expected = forecast(company(coming), scores(acme=0.8))["arr_due", 3, ALL_BANDS][0]
    assert expected == pytest.approx(80, abs=3)


def test_lengths_of_follow_on_terms_come_from_past_terms():
    """Ten yearly terms were followed by half-year terms; the prior is ten yearly follow-ons, so half are short."""
    past = "\n".join(f"past | 2025-05-{day:02d} | 100 | 1 | 2025-11-{day:02d}" for day in range(1, 11))
    past = f"account_id | due_at | amount_due | renewed | lasts_until\n{past}"
    inputs = company("acme | 2026-02-10 | 100 | 0", past)
    shares = term_length_distribution(inputs).set_index(["months", "next_months"])["share"]
    assert shares[12, 6] == shares[12, 12] == 0.5
    assert build_schedule(inputs, scores()).query("generation == 1")["share"].tolist() == [0.5]


def test_forecasts_by_manager_add_up_to_the_company():
    coming = "acme/ann | 2026-02-10 | 100 | 0\nbeta/bo | 2026-03-10 | 300 | 0\ncoral | 2026-03-11 | 50 | 0"
    inputs = company(coming, opening="acme/ann | 1 | 100\nbeta/bo | 1 | 300\ncoral | 1 | 50")
    measures = forecast(inputs, scores(**{"acme/ann": 0.5, "beta/bo": 0.9, "coral": 0.8}), kinds=("csm",))
    parts = [measures["arr_renewed", 1, name][0] for name in ("ann", "bo", "unknown")]
    assert sum(parts) == pytest.approx(measures["arr_renewed", 1, ALL_BANDS][0])
    assert parts[1] > parts[0]


def test_past_cases_are_drawn_in_proportion_to_money():
    """A case of 900 is drawn nine times as often as one of 100, so the mean share is the ratio of the sums."""
    cases = read("size_band | stake | gain\nsmall | 900 | 90\nsmall | 100 | 100")
    shares = build_pool(cases, "stake", ("gain",), (0.0,)).draw(
        np.array(["small"]), np.random.default_rng(0).random((20_000, 1))
    )
    assert shares.mean() == pytest.approx(190 / 1000, abs=0.01)


def test_renewals_retain_all_arr_without_history():
    measures = forecast(company("acme | 2026-02-10 | 100 | 0", "past | 2025-12-15 | 100 | 1", ""), scores(acme=1.0))
    assert measures["gross_retention", 1, ALL_BANDS] == measures["net_retention", 5, ALL_BANDS] == (1, 1, 1)


def test_growth_between_renewals_excludes_growth_at_renewals():
    assert growth_pool(company("acme | 2026-02-10 | 100 | 0", UPLIFTED, UPLIFTED_QUARTER)).shares.tolist() == [[0.0]]
    assert growth_pool(company("acme | 2026-02-10 | 100 | 0", FLAT, UPLIFTED_QUARTER)).shares.tolist() == [[0.07]]


def many_accounts(count: int = 200):
    """Inputs and predictions of accounts of one size, all due in the first quarter."""
    names = [f"a{number:03d}" for number in range(count)]
    coming = "\n".join(f"{name} | 2026-02-10 | 100 | 0" for name in names)
    inputs = company(coming, opening="\n".join(f"{name} | 1 | 100" for name in names))
    return inputs, scores(**dict.fromkeys(names, 0.85))


def test_quarter_effect_widens_the_interval():
    inputs, predictions = many_accounts()
    widths = []
    for spread in (0.0, 0.2, 0.5):
        _, low, high = forecast(inputs, predictions, spread)["gross_retention", 1, ALL_BANDS]
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]
    # Independent renewals: 2 x 1.28 x sqrt(0.85 x 0.15 / 200) = 0.065.
    assert widths[0] == pytest.approx(0.065, abs=0.006)


@pytest.mark.parametrize(("spread", "low", "high"), [(0.4, 0.76, 0.84), (0.0, 0.0, 0.62)])
def test_intervals_have_their_coverage_only_with_the_quarter_effect(spread, low, high):
    inputs, predictions = many_accounts()
    _, interval_low, interval_high = forecast(inputs, predictions, spread)["arr_renewed", 1, ALL_BANDS]
    rng = np.random.default_rng(3)
    probability = expit(np.log(0.85 / 0.15) + 0.4 * rng.standard_normal(4000))
    truth = 100.0 * rng.binomial(200, probability)
    assert low <= np.mean((truth >= interval_low) & (truth <= interval_high)) <= high


def test_equal_seeds_give_equal_forecasts_and_different_seeds_do_not():
    inputs, predictions = many_accounts(20)
    first, again = (forecast_measures(inputs, predictions, shock(0.2), OPTIONS, (), "") for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    reseeded = forecast_measures(inputs, predictions, shock(0.2), OPTIONS.model_copy(update={"seed": 8}), (), "")
    assert not first["expected"].equals(reseeded["expected"])


# --- benchmarks ------------------------------------------------------------------------------------

LAST_YEAR = """
    account_id | quarter | opening | closing | lost | size_band
    a          | -4      | 100     | 100     |      | small
    b          | -4      | 900     | 900     |      | large
    a          | -3      | 100     | 100     |      | small
    b          | -3      | 900     | 900     |      | large
    a          | -2      | 100     | 50      | 50   | small
    b          | -2      | 900     | 990     |      | large
    a          | -1      | 50      | 50      |      | small
    b          | -1      | 990     | 990     |      | large
"""


def test_rates_of_last_year_are_ratios_of_sums():
    inputs = company(
        "b | 2026-02-10 | 990 | 0",
        "account_id | due_at | amount_due | renewed\na | 2025-04-10 | 100 | 0\nb | 2025-05-10 | 900 | 1",
        LAST_YEAR,
        "b | 1 | 990",
    )
    rates = last_year_rates(inputs)
    assert inputs.last_year_quarters == [-4, -3, -2, -1]
    assert rates.loc[ALL_BANDS, "renewed"] == pytest.approx(0.9)
    assert rates.loc["large", "renewed"] == 1
    assert rates.loc[ALL_BANDS, "gross"] == pytest.approx((1000 + 1000 + 950 + 1040) / (3 * 1000 + 1040))
    assert rates.loc[ALL_BANDS, "gross_year"] == pytest.approx(0.95)
    assert rates.loc[ALL_BANDS, "net_year"] == pytest.approx(1.04)
    rows = forecast_measures(inputs, scores(b=0.5), shock(), OPTIONS, (), "").set_index(["measure", "quarter"])
    assert rows.loc[("arr_renewed", 1), "by_last_year"] == pytest.approx(891)
    assert rows.loc[("gross_retention", 5), "by_last_year"] == pytest.approx(0.95)


def test_actual_measures_cover_the_customers_of_the_forecast_date():
    """Acme left and beta grew; an account new in the second quarter is not counted; the fourth quarter is not over."""
    later = standing(
        sets(
            "account_id | due_at | amount_due | renewed\n"
            "acme | 2026-02-10 | 100 | 0\nbeta | 2026-05-10 | 300 | 1\nnew | 2026-05-10 | 50 | 1"
        ),
        quarters(
            "account_id | quarter | opening | closing | lost\n"
            "acme | 1 | 100 | 0 | 100\nbeta | 1 | 300 | 300 |\nacme | 2 | 0 | 0 |\nbeta | 2 | 300 | 330 |\n"
            "new | 2 | 50 | 0 | 50\nbeta | 3 | 330 | 330 |\nbeta | 4 | 330 | 330 |"
        ),
        pd.Timestamp(2026, 12, 1).date(),
    )
    accounts = pd.DataFrame({"account_id": ["acme", "beta"], "size_band": "small", "csm": None})
    measures = actual_measures(later, accounts, segment_membership(accounts, (), "").membership)
    assert measures["gross_retention"][:, 0] == pytest.approx([0.75, 1, 1, np.nan, np.nan], nan_ok=True)
    assert measures["net_retention"][:3, 0] == pytest.approx([0.75, 1.1, 1])
    assert measures["arr_renewed"][:2, 0] == pytest.approx([0, 300])


def test_share_of_zero_is_missing():
    totals = {name: np.zeros((1, 1)) for name in TOTALS}
    assert np.isnan(derive_measures(totals)["gross_retention"]).all()
    assert DAY.day == 1
