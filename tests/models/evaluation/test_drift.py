"""Drift raises no alarm on unchanged data, at every size and with 240 features, and finds planted changes."""

import json

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation.drift import (
    DriftComparison,
    compare_calibration,
    compare_distribution,
    compare_feature,
    count_bins,
    feature_reference,
    last_predictions,
    p_value,
    score_reference,
    select_alarms,
    stability_index,
)
from renewals.models.settings import DriftSettings

OPTIONS = DriftSettings()
FEATURES, ACCOUNTS, DRAWS = 240, 400, 40
DAY = pd.Timestamp(2026, 6, 1)


def column(rng: np.random.Generator, kind: int, count: int) -> np.ndarray:
    """Values with a typical distribution: smooth, counts, rare events, mostly zero, or partly missing."""
    if kind == 0:
        return rng.normal(size=count)
    if kind == 1:
        return rng.poisson(1.5, count).astype(float)
    if kind == 2:
        return (rng.random(count) < 0.03).astype(float)
    if kind == 3:
        return np.where(rng.random(count) < 0.9, 0.0, rng.exponential(size=count))
    return np.where(rng.random(count) < 0.3, np.nan, rng.lognormal(size=count))


def random_features(rng: np.random.Generator, count: int) -> pd.DataFrame:
    return pd.DataFrame({f"f{j}": column(rng, j % 5, count) for j in range(FEATURES)})


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    year = pd.concat([random_features(rng, ACCOUNTS).assign(as_of=DAY - pd.DateOffset(months=m)) for m in range(12)])
    year["account_id"] = np.tile(np.arange(ACCOUNTS), 12)
    distribution = feature_reference(year, {}, [f"f{j}" for j in range(FEATURES)])
    return json.loads(json.dumps(distribution, allow_nan=False))


def comparisons(reference: dict, now: pd.DataFrame) -> list[DriftComparison]:
    pairs = (
        compare_feature(name, now[name], distribution, reference["accounts"], OPTIONS)
        for name, distribution in reference["features"].items()
    )
    return [comparison for pair in pairs for comparison in pair]


@pytest.mark.parametrize("count", [50, 500, 5000])
def test_the_same_company_raises_no_alarm(reference, count):
    rng = np.random.default_rng(count)
    silent = [
        not select_alarms(comparisons(reference, random_features(rng, count)), OPTIONS.confidence) for _ in range(DRAWS)
    ]
    assert np.mean(silent) >= 0.95


@pytest.mark.parametrize("count", [50, 500, 5000])
@pytest.mark.parametrize("bins", [3, 20])
def test_p_value_is_not_too_small(count, bins):
    """Of two samples of one population, at most about one in fifty has a p-value below one in fifty."""
    rng = np.random.default_rng(bins)
    shares = rng.dirichlet(np.full(bins, 0.5))
    sample_pairs = [[rng.multinomial(size, shares).astype(float) for size in (count, ACCOUNTS)] for _ in range(2000)]
    assert np.mean([p_value(now, then) < 0.02 for now, then in sample_pairs]) < 0.035


@pytest.mark.parametrize(("count", "shift"), [(50, 1.5), (500, 0.8), (5000, 0.6)])
def test_planted_shift_is_the_only_alarm(reference, count, shift):
    now = random_features(np.random.default_rng(7), count)
    now["f0"] += shift
    alarms = select_alarms(comparisons(reference, now), OPTIONS.confidence)
    assert [(alarm.kind, alarm.name) for alarm in alarms] == [("inputs", "f0")]
    assert alarms[0].difference > alarms[0].limit == OPTIONS.psi_threshold


@pytest.mark.parametrize("count", [50, 5000])
def test_column_without_values_raises_an_alarm(reference, count):
    now = random_features(np.random.default_rng(8), count).assign(f1=np.nan)
    (alarm,) = select_alarms(comparisons(reference, now), OPTIONS.confidence)
    assert (alarm.kind, alarm.name, alarm.reference, alarm.current) == ("missing", "f1", 0.0, 1.0)


def test_significant_but_small_shift_is_no_alarm(reference):
    now = random_features(np.random.default_rng(9), 5000)
    now["f0"] += 0.35
    comparison = next(one for one in comparisons(reference, now) if one.name == "f0")
    assert comparison.p_value < 1 - OPTIONS.confidence
    assert comparison.difference < comparison.limit
    assert not select_alarms([comparison], OPTIONS.confidence)


def test_large_shift_of_few_rows_is_no_alarm(reference):
    now = pd.Series([2.0, 2.1, -2.0])
    comparison = compare_feature("f0", now, reference["features"]["f0"], ACCOUNTS, OPTIONS)[0]
    assert comparison.difference > comparison.limit
    assert not select_alarms([comparison], OPTIONS.confidence)


def seasonal_data(shift: float) -> tuple[dict, pd.Series]:
    """Reference and December values of a feature that is high in every December."""
    rng = np.random.default_rng(3)
    months = [DAY - pd.DateOffset(months=m) for m in range(12)]
    parts = [pd.DataFrame({"f": rng.normal(shift * (m.month == 12), size=ACCOUNTS), "as_of": m}) for m in months]
    year = pd.concat(parts).assign(account_id=np.tile(np.arange(ACCOUNTS), 12))
    return feature_reference(year, {}, ["f"]), pd.Series(rng.normal(shift, size=ACCOUNTS))


def test_yearly_season_is_no_alarm():
    reference, december = seasonal_data(1.0)
    comparisons = compare_feature("f", december, reference["features"]["f"], ACCOUNTS, OPTIONS)
    assert comparisons[0].difference > OPTIONS.psi_threshold
    assert not select_alarms(comparisons, OPTIONS.confidence)
    assert select_alarms(
        compare_feature("f", december + 1.5, reference["features"]["f"], ACCOUNTS, OPTIONS), OPTIONS.confidence
    )


def test_reference_contains_only_the_newest_year():
    past = [DAY - pd.DateOffset(months=12), DAY - pd.DateOffset(months=20)]
    old = pd.DataFrame({"account_id": [1, 2], "as_of": past, "f": 100.0})
    new = pd.DataFrame({"account_id": [3, 4, 4], "as_of": [DAY, DAY, DAY - pd.DateOffset(months=11)], "f": 1.0})
    reference = feature_reference(pd.concat([old, new]), {}, ["f"])
    assert (reference["accounts"], reference["from"], reference["to"]) == (2, "2025-07-01", "2026-06-01")
    assert reference["features"]["f"]["shares"] == [0, 1, 0]


def test_unknown_categories_are_counted_and_raise_an_alarm():
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "plan": ["basic", "pro", None] * 30})
    distribution = feature_reference(year, {"plan": ("basic", "pro")}, ["plan"])["features"]["plan"]
    assert distribution["missing"] == pytest.approx(1 / 3)
    counts, missing = count_bins(pd.Series(["pro", "gold", None, "gold"]), distribution)
    assert (counts.tolist(), missing) == ([2, 0, 1], 1)
    (alarm,) = select_alarms(
        compare_feature("plan", pd.Series(["gold"] * 30 + [None] * 15), distribution, 90, OPTIONS), 0.99
    )
    assert (alarm.kind, alarm.current) == ("inputs", 1.0)


def test_leap_year_is_no_alarm():
    days = [365.0] * 60 + [730.0] * 30
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "f": days})
    distribution = feature_reference(year, {}, ["f"])["features"]["f"]
    leap = pd.Series([366.0] * 60 + [731.0] * 30)
    assert not select_alarms(compare_feature("f", leap - 1, distribution, 90, OPTIONS), 0.99)
    mixed = feature_reference(year.assign(f=[365.0, 366.0] * 30 + [730.0] * 30), {}, ["f"])["features"]["f"]
    assert not select_alarms(compare_feature("f", leap, mixed, 90, OPTIONS), 0.99)
    near_constant = feature_reference(year.assign(f=[365.0, 366.0] * 45), {}, ["f"])["features"]["f"]
    assert not select_alarms(compare_feature("f", pd.Series([366.0] * 60), near_constant, 90, OPTIONS), 0.99)
    assert select_alarms(compare_feature("f", pd.Series([730.0] * 60), near_constant, 90, OPTIONS), 0.99)


def test_constant_raises_an_alarm_only_if_it_changes():
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "f": 3.0})
    distribution = feature_reference(year, {}, ["f"])["features"]["f"]
    assert not select_alarms(compare_feature("f", pd.Series([3.0] * 60), distribution, 90, OPTIONS), 0.99)
    for changed in (2.9, 3.1):
        assert select_alarms(compare_feature("f", pd.Series([changed] * 60), distribution, 90, OPTIONS), 0.99)


def test_always_missing_column_is_compared_only_by_missing_rate():
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "f": np.nan})
    distribution = feature_reference(year, {}, ["f"])["features"]["f"]
    assert [
        comparison.kind for comparison in compare_feature("f", pd.Series([np.nan] * 60), distribution, 90, OPTIONS)
    ] == ["missing"]
    (alarm,) = select_alarms(compare_feature("f", pd.Series([1.0] * 60), distribution, 90, OPTIONS), 0.99)
    assert (alarm.kind, alarm.reference, alarm.current) == ("missing", 1.0, 0.0)


def scores(mean: float, count: int, seed: int) -> np.ndarray:
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(mean, 1.0, count)))


@pytest.mark.parametrize("count", [50, 500, 5000])
def test_only_a_shifted_score_raises_an_alarm(count):
    predictions = pd.DataFrame({"account_id": range(600), "origin": [DAY] * 600, "probability": scores(1.5, 600, 0)})
    reference = score_reference(predictions)
    for mean, expected in ((1.5, 0), (0.0, 1)):
        counts, _ = count_bins(pd.Series(scores(mean, count, 1)), reference)
        comparison = compare_distribution("score", "p", counts, reference, reference["accounts"], OPTIONS)
        assert len(select_alarms([comparison], OPTIONS.confidence)) == expected


def matured_renewals(seed: int, months: int, per_month: int, bias: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0.6, 1.0, months * per_month)
    days = [DAY - pd.DateOffset(months=m) + pd.Timedelta(days=9) for m in range(months)]
    return pd.DataFrame(
        {
            "renewal_date": np.repeat(days, per_month),
            "probability": predicted,
            "label": (rng.random(months * per_month) < predicted - bias).astype(int),
        }
    )


def test_calibrated_predictions_raise_no_alarm():
    silent = [
        not select_alarms(compare_calibration(matured_renewals(seed, 12, 60), 0.15, OPTIONS), 0.99)
        for seed in range(200)
    ]
    assert np.mean(silent) >= 0.95


def test_biased_predictions_raise_an_alarm_over_all_months():
    alarms = select_alarms(compare_calibration(matured_renewals(1, 12, 60, bias=0.15), 0.15, OPTIONS), 0.99)
    assert "2025-07 … 2026-06" in {one.name for one in alarms}
    assert all(alarm.current < alarm.reference for alarm in alarms)


def test_months_with_few_matured_renewals_are_not_compared():
    assert compare_calibration(matured_renewals(1, 3, 8), 0.15, OPTIONS) == []
    (comparison,) = compare_calibration(matured_renewals(1, 3, 11), 0.15, OPTIONS)
    assert comparison.accounts == 33


def test_last_prediction_before_the_minimum_lead_counts_for_a_renewal():
    predictions = pd.DataFrame(
        {
            "account_id": ["a"] * 4,
            "renewal_id": ["a:2026-06-01"] * 3 + ["a:2027-06-01"],
            "as_of": pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-15", "2026-02-01"]),
            "renewal_date": pd.to_datetime(["2026-06-01", "2026-06-01", "2026-06-01", "2027-06-01"]),
            "probability": [0.1, 0.2, 0.3, 0.4],
        }
    )
    assert last_predictions(predictions, 90).set_index("renewal_date")["probability"].tolist() == [0.2, 0.4]


def test_two_renewals_of_an_account_have_a_last_prediction_each():
    predictions = pd.DataFrame(
        {
            "account_id": "a",
            "renewal_id": ["a:2026-06-01", "a:2026-06-30", "a:2026-06-01"],
            "as_of": pd.to_datetime(["2026-01-01", "2026-02-01", "2026-02-01"]),
            "renewal_date": pd.to_datetime(["2026-06-01", "2026-06-30", "2026-06-01"]),
            "probability": [0.1, 0.2, 0.3],
        }
    )
    assert last_predictions(predictions, 90).set_index("renewal_id")["probability"].to_dict() == {
        "a:2026-06-30": 0.2,
        "a:2026-06-01": 0.3,
    }


def test_stability_index_equals_the_sum_by_hand():
    """Shares 0.5, 0.5 against 0.25, 0.75, with half a case in every bin: (50.5, 50.5) and (25.5, 75.5) of 101."""
    expected = (0.5 - 25.5 / 101) * np.log(50.5 / 25.5) + (0.5 - 75.5 / 101) * np.log(50.5 / 75.5)
    assert stability_index(np.array([50.0, 50.0]), np.array([25.0, 75.0])) == pytest.approx(expected)


def comparison(p: float, size: float = 1.0) -> DriftComparison:
    return DriftComparison("inputs", str(p), size, 0.5, p, 0.0, 0.0, 1)


def test_alarms_pass_the_steps_of_holm():
    """Of three at 1 %: 0.003 passes 1 % / 3, 0.0045 passes 1 % / 2, 0.02 fails 1 %; of a thousand, 0.003 fails."""
    assert {one.name for one in select_alarms([comparison(0.0045), comparison(0.02), comparison(0.003)], 0.99)} == {
        "0.003",
        "0.0045",
    }
    assert select_alarms([comparison(0.003), *[comparison(0.5)] * 999], 0.99) == []
    assert select_alarms([comparison(0.003, size=0.4)], 0.99) == []
