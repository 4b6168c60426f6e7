"""Silence where nothing drifts, at every size and with 240 features; a warning where something was planted."""

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
    """A figure as such tables have them: smooth, counts, rare events, mostly nought, and partly missing."""
    if kind == 0:
        return rng.normal(size=count)
    if kind == 1:
        return rng.poisson(1.5, count).astype(float)
    if kind == 2:
        return (rng.random(count) < 0.03).astype(float)
    if kind == 3:
        return np.where(rng.random(count) < 0.9, 0.0, rng.exponential(size=count))
    return np.where(rng.random(count) < 0.3, np.nan, rng.lognormal(size=count))


def drawn(rng: np.random.Generator, count: int) -> pd.DataFrame:
    return pd.DataFrame({f"f{j}": column(rng, j % 5, count) for j in range(FEATURES)})


@pytest.fixture(scope="module")
def usual():
    rng = np.random.default_rng(0)
    year = pd.concat([drawn(rng, ACCOUNTS).assign(as_of=DAY - pd.DateOffset(months=m)) for m in range(12)])
    year["account_id"] = np.tile(np.arange(ACCOUNTS), 12)
    told = feature_reference(year, {}, [f"f{j}" for j in range(FEATURES)])
    return json.loads(json.dumps(told, allow_nan=False))


def looks(usual: dict, now: pd.DataFrame) -> list[DriftComparison]:
    told = (
        compare_feature(name, now[name], own, usual["accounts"], OPTIONS) for name, own in usual["features"].items()
    )
    return [one for both in told for one in both]


@pytest.mark.parametrize("count", [50, 500, 5000])
def test_the_same_company_raises_no_alarm(usual, count):
    rng = np.random.default_rng(count)
    silent = [not select_alarms(looks(usual, drawn(rng, count)), OPTIONS.confidence) for _ in range(DRAWS)]
    assert np.mean(silent) >= 0.95


@pytest.mark.parametrize("count", [50, 500, 5000])
@pytest.mark.parametrize("many", [3, 20])
def test_chance_is_not_too_small(count, many):
    """Of two samples of one population, at most about one in fifty is said to be rarer than one in fifty."""
    rng = np.random.default_rng(many)
    shares = rng.dirichlet(np.full(many, 0.5))
    drawn_twice = [[rng.multinomial(size, shares).astype(float) for size in (count, ACCOUNTS)] for _ in range(2000)]
    assert np.mean([p_value(now, then) < 0.02 for now, then in drawn_twice]) < 0.035


@pytest.mark.parametrize(("count", "shift"), [(50, 1.5), (500, 0.8), (5000, 0.6)])
def test_a_planted_shift_is_found_and_nothing_else(usual, count, shift):
    now = drawn(np.random.default_rng(7), count)
    now["f0"] += shift
    found = select_alarms(looks(usual, now), OPTIONS.confidence)
    assert [(look.kind, look.name) for look in found] == [("inputs", "f0")]
    assert found[0].difference > found[0].limit == OPTIONS.psi_threshold


@pytest.mark.parametrize("count", [50, 5000])
def test_a_column_that_is_gone_is_found(usual, count):
    now = drawn(np.random.default_rng(8), count).assign(f1=np.nan)
    (found,) = select_alarms(looks(usual, now), OPTIONS.confidence)
    assert (found.kind, found.name, found.reference, found.current) == ("missing", "f1", 0.0, 1.0)


def test_a_sure_but_small_shift_is_no_alarm(usual):
    now = drawn(np.random.default_rng(9), 5000)
    now["f0"] += 0.35
    own = next(look for look in looks(usual, now) if look.name == "f0")
    assert own.p_value < 1 - OPTIONS.confidence
    assert own.difference < own.limit
    assert not select_alarms([own], OPTIONS.confidence)


def test_a_large_shift_of_a_handful_is_no_alarm(usual):
    now = pd.Series([2.0, 2.1, -2.0])
    own = compare_feature("f0", now, usual["features"]["f0"], ACCOUNTS, OPTIONS)[0]
    assert own.difference > own.limit
    assert not select_alarms([own], OPTIONS.confidence)


def seasonal(shift: float) -> tuple[dict, pd.Series]:
    """A figure that is high every December, and December come again."""
    rng = np.random.default_rng(3)
    months = [DAY - pd.DateOffset(months=m) for m in range(12)]
    parts = [pd.DataFrame({"f": rng.normal(shift * (m.month == 12), size=ACCOUNTS), "as_of": m}) for m in months]
    year = pd.concat(parts).assign(account_id=np.tile(np.arange(ACCOUNTS), 12))
    return feature_reference(year, {}, ["f"]), pd.Series(rng.normal(shift, size=ACCOUNTS))


def test_a_season_that_comes_every_year_is_no_alarm():
    usual, december = seasonal(1.0)
    own = compare_feature("f", december, usual["features"]["f"], ACCOUNTS, OPTIONS)
    assert own[0].difference > OPTIONS.psi_threshold
    assert not select_alarms(own, OPTIONS.confidence)
    assert select_alarms(
        compare_feature("f", december + 1.5, usual["features"]["f"], ACCOUNTS, OPTIONS), OPTIONS.confidence
    )


def test_only_the_newest_year_is_usual():
    past = [DAY - pd.DateOffset(months=12), DAY - pd.DateOffset(months=20)]
    old = pd.DataFrame({"account_id": [1, 2], "as_of": past, "f": 100.0})
    new = pd.DataFrame({"account_id": [3, 4, 4], "as_of": [DAY, DAY, DAY - pd.DateOffset(months=11)], "f": 1.0})
    told = feature_reference(pd.concat([old, new]), {}, ["f"])
    assert (told["accounts"], told["from"], told["to"]) == (2, "2025-07-01", "2026-06-01")
    assert told["features"]["f"]["shares"] == [0, 1, 0]


def test_categories_and_those_never_met():
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "plan": ["basic", "pro", None] * 30})
    own = feature_reference(year, {"plan": ("basic", "pro")}, ["plan"])["features"]["plan"]
    assert own["missing"] == pytest.approx(1 / 3)
    counts, missing = count_bins(pd.Series(["pro", "gold", None, "gold"]), own)
    assert (counts.tolist(), missing) == ([2, 0, 1], 1)
    (found,) = select_alarms(compare_feature("plan", pd.Series(["gold"] * 30 + [None] * 15), own, 90, OPTIONS), 0.99)
    assert (found.kind, found.current) == ("inputs", 1.0)


def test_a_leap_year_is_no_drift():
    days = [365.0] * 60 + [730.0] * 30
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "f": days})
    own = feature_reference(year, {}, ["f"])["features"]["f"]
    leap = pd.Series([366.0] * 60 + [731.0] * 30)
    assert not select_alarms(compare_feature("f", leap - 1, own, 90, OPTIONS), 0.99)
    mixed = feature_reference(year.assign(f=[365.0, 366.0] * 30 + [730.0] * 30), {}, ["f"])["features"]["f"]
    assert not select_alarms(compare_feature("f", leap, mixed, 90, OPTIONS), 0.99)
    alike = feature_reference(year.assign(f=[365.0, 366.0] * 45), {}, ["f"])["features"]["f"]
    assert not select_alarms(compare_feature("f", pd.Series([366.0] * 60), alike, 90, OPTIONS), 0.99)
    assert select_alarms(compare_feature("f", pd.Series([730.0] * 60), alike, 90, OPTIONS), 0.99)


def test_a_constant_that_moves_is_found_and_one_that_stays_is_not():
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "f": 3.0})
    own = feature_reference(year, {}, ["f"])["features"]["f"]
    assert not select_alarms(compare_feature("f", pd.Series([3.0] * 60), own, 90, OPTIONS), 0.99)
    for moved in (2.9, 3.1):
        assert select_alarms(compare_feature("f", pd.Series([moved] * 60), own, 90, OPTIONS), 0.99)


def test_a_column_that_was_always_missing_is_compared_only_by_that():
    year = pd.DataFrame({"account_id": range(90), "as_of": DAY, "f": np.nan})
    own = feature_reference(year, {}, ["f"])["features"]["f"]
    assert [look.kind for look in compare_feature("f", pd.Series([np.nan] * 60), own, 90, OPTIONS)] == ["missing"]
    (found,) = select_alarms(compare_feature("f", pd.Series([1.0] * 60), own, 90, OPTIONS), 0.99)
    assert (found.kind, found.reference, found.current) == ("missing", 1.0, 0.0)


def scores(mean: float, count: int, seed: int) -> np.ndarray:
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(mean, 1.0, count)))


@pytest.mark.parametrize("count", [50, 500, 5000])
def test_a_shifted_score_is_found_and_the_same_is_not(count):
    told = pd.DataFrame({"account_id": range(600), "origin": [DAY] * 600, "probability": scores(1.5, 600, 0)})
    usual = score_reference(told)
    for mean, expected in ((1.5, 0), (0.0, 1)):
        counts, _ = count_bins(pd.Series(scores(mean, count, 1)), usual)
        look = compare_distribution("score", "p", counts, usual, usual["accounts"], OPTIONS)
        assert len(select_alarms([look], OPTIONS.confidence)) == expected


def final(seed: int, months: int, each: int, bias: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    promised = rng.uniform(0.6, 1.0, months * each)
    days = [DAY - pd.DateOffset(months=m) + pd.Timedelta(days=9) for m in range(months)]
    return pd.DataFrame(
        {
            "renewal_date": np.repeat(days, each),
            "probability": promised,
            "label": (rng.random(months * each) < promised - bias).astype(int),
        }
    )


def test_promises_that_came_true_raise_no_alarm():
    silent = [not select_alarms(compare_calibration(final(seed, 12, 60), 0.15, OPTIONS), 0.99) for seed in range(200)]
    assert np.mean(silent) >= 0.95


def test_promises_that_did_not_are_found_in_all_months_together():
    found = select_alarms(compare_calibration(final(1, 12, 60, bias=0.15), 0.15, OPTIONS), 0.99)
    assert "2025-07 … 2026-06" in {one.name for one in found}
    assert all(look.current < look.reference for look in found)


def test_months_with_few_final_renewals_are_not_judged():
    assert compare_calibration(final(1, 3, 8), 0.15, OPTIONS) == []
    (whole,) = compare_calibration(final(1, 3, 11), 0.15, OPTIONS)
    assert whole.accounts == 33


def test_a_renewal_counts_once_by_what_was_said_last_in_good_time():
    told = pd.DataFrame(
        {
            "account_id": ["a"] * 4,
            "as_of": pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-15", "2026-02-01"]),
            "renewal_date": pd.to_datetime(["2026-06-01", "2026-06-01", "2026-06-01", "2027-06-01"]),
            "probability": [0.1, 0.2, 0.3, 0.4],
        }
    )
    assert last_predictions(told, 90).set_index("renewal_date")["probability"].tolist() == [0.2, 0.4]


def test_the_index_by_hand():
    """Shares 0.5, 0.5 against 0.25, 0.75, with half a case in every bin: (50.5, 50.5) and (25.5, 75.5) of 101."""
    expected = (0.5 - 25.5 / 101) * np.log(50.5 / 25.5) + (0.5 - 75.5 / 101) * np.log(50.5 / 75.5)
    assert stability_index(np.array([50.0, 50.0]), np.array([25.0, 75.0])) == pytest.approx(expected)


def look(chances: float, size: float = 1.0) -> DriftComparison:
    return DriftComparison("inputs", str(chances), size, 0.5, chances, 0.0, 0.0, 1)


def test_all_looks_together_by_holm_s_steps():
    """At 1 %, of three: 0.003 passes one third, 0.0045 one half, 0.02 not the whole; of a thousand 0.003 is nothing."""
    assert {one.name for one in select_alarms([look(0.0045), look(0.02), look(0.003)], 0.99)} == {"0.003", "0.0045"}
    assert select_alarms([look(0.003), *[look(0.5)] * 999], 0.99) == []
    assert select_alarms([look(0.003, size=0.4)], 0.99) == []
