import numpy as np
import pandas as pd
import pytest

from renewals.models import metrics
from renewals.models.metrics import Resampling


def renewals(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["account_id", "as_of", "renewal_date", "days_to_renewal"])
    days = {name: pd.to_datetime(frame[name]) for name in ("as_of", "renewal_date")}
    return frame.assign(renewal_id=frame["account_id"] + ":" + frame["renewal_date"], **days)


def test_select_at_lead_returns_the_observation_nearest_to_the_lead():
    rows = renewals(
        ("acme", "2024-01-01", "2024-04-10", 100),
        ("acme", "2024-02-01", "2024-04-10", 69),
        ("quiet", "2024-01-01", "2024-03-26", 85),
        ("late", "2024-03-01", "2024-04-10", 40),
    )
    assert list(metrics.select_at_lead(rows, 90)["days_to_renewal"]) == [100, 85]


def test_select_at_lead_prefers_the_earlier_of_two_equally_near_rows():
    rows = renewals(("acme", "2024-01-01", "2024-04-10", 95), ("acme", "2024-01-11", "2024-04-10", 85))
    assert list(metrics.select_at_lead(rows, 90)["days_to_renewal"]) == [95]


def test_lead_times_go_by_the_last_day_for_notice():
    """Acme must give notice 60 days before the end: 90 days before that decision is 150 days before the end (R12)."""
    rows = renewals(("acme", "2024-01-01", "2024-05-30", 150), ("acme", "2024-03-01", "2024-05-30", 90))
    assert list(metrics.select_at_lead(rows, 90)["days_to_renewal"]) == [90]
    decided = rows.assign(days_to_decision=[90, 30])
    assert list(metrics.select_at_lead(decided, 90)["days_to_renewal"]) == [150]


def test_select_at_lead_returns_one_observation_for_each_renewal_of_an_account():
    rows = renewals(
        ("acme", "2024-01-01", "2024-03-26", 85),
        ("acme", "2024-01-01", "2024-04-10", 100),
        ("acme", "2024-02-01", "2024-04-10", 69),
    )
    assert list(metrics.select_at_lead(rows, 90)["renewal_id"]) == ["acme:2024-03-26", "acme:2024-04-10"]


def test_outcome_is_decided_by_a_signed_follow_on_or_by_a_notice():
    rows = pd.DataFrame({"renewal_signed": [False, True, False, True], "notice_given": [False, False, True, True]})
    assert metrics.is_undecided(rows).tolist() == [True, False, False, False]
    assert metrics.is_undecided(rows.drop(columns="notice_given")).tolist() == [True, False, True, False], (
        "back-tests of earlier releases have no notices"
    )


def test_true_probabilities_have_slope_one_and_no_error():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.05, 0.95, 20_000)
    truth = (rng.random(20_000) < chance).astype(int)
    assert metrics.calibration_slope(truth, chance) == pytest.approx(1.0, abs=0.06)
    assert metrics.calibration_error(truth, chance) < 0.02


def test_overconfidence_shows_as_a_slope_below_one():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=20_000)
    truth = (rng.random(20_000) < 1 / (1 + np.exp(-margin))).astype(int)
    assert metrics.calibration_slope(truth, 1 / (1 + np.exp(-2 * margin))) == pytest.approx(0.5, abs=0.05)


def test_interval_resamples_accounts_and_not_rows():
    """Copies of an account's rows add no evidence: the interval must not shrink."""
    rng = np.random.default_rng(0)
    truth, chance = rng.integers(0, 2, 80), rng.random(80)
    accounts = pd.Series([f"a{n}" for n in range(80)])
    resampling, copies = Resampling(200), pd.concat([accounts] * 5, ignore_index=True)
    once = metrics.clustered_interval(metrics.auc, truth, chance, accounts, resampling)
    many = metrics.clustered_interval(metrics.auc, np.tile(truth, 5), np.tile(chance, 5), copies, resampling)
    assert many[1] - many[0] == pytest.approx(once[1] - once[0], rel=0.3)


def test_auc_gain_is_paired():
    truth = np.array([0, 1] * 60)
    good, bad = np.where(truth, 0.8, 0.2), np.where(truth, 0.2, 0.8)
    accounts = pd.Series(range(120))
    assert metrics.auc_gain(truth, good, bad, accounts, Resampling()) == (1.0, 1.0, 1.0)
    assert metrics.auc_gain(truth, good, good, accounts, Resampling()) == (0.0, 0.0, 0.0)


def test_bias_is_mean_predicted_less_mean_observed_and_resamples_accounts():
    truth, chance = np.array([1, 0, 0, 0] * 50), np.full(200, 0.35)
    accounts, resampling = pd.Series(range(200)), Resampling()
    value, low, high = metrics.bias(truth, chance, accounts, resampling)
    assert value == pytest.approx(0.1)
    assert low < value < high
    few = pd.Series(np.repeat(range(20), 10))
    _, few_low, few_high = metrics.bias(np.repeat([1, 0, 0, 0], 50), chance, few, resampling)
    assert few_high - few_low > 2 * (high - low), "ten rows of an account with the same outcome count as one"
    assert metrics.bias(truth, chance, accounts, resampling, np.where(truth, 0.0, 1.0))[0] == pytest.approx(0.35)


@pytest.mark.parametrize("weighted", [False, True])
def test_vectorised_resamples_equal_one_resample_at_a_time(weighted):
    rng = np.random.default_rng(0)
    chance = rng.random(150).round(1)
    truth, accounts = (rng.random(150) < chance).astype(int), pd.Series(rng.integers(0, 40, 150))
    weight = rng.random(150) if weighted else None
    for fast, slow in (
        (metrics.auc_interval, metrics.auc),
        (metrics.log_loss_interval, metrics.log_loss),
        (metrics.calibration_slope_interval, metrics.calibration_slope),
    ):
        interval = fast(truth, chance, accounts, Resampling(50), weight)
        assert interval == pytest.approx(
            metrics.clustered_interval(slow, truth, chance, accounts, Resampling(50), weight)
        )
    for ranged in (metrics.auc_interval, metrics.calibration_slope_interval):
        assert np.isnan(ranged(np.ones(150), chance, accounts, Resampling())).all()


def test_slopes_that_do_not_converge_are_computed_one_at_a_time():
    """With few accounts, many resamples separate the outcomes perfectly or contain only one outcome."""
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.1, 0.9, 12)
    truth, accounts = (rng.random(12) < chance).astype(int), pd.Series(range(12))
    resampling = Resampling(200, 0.99)
    interval = metrics.calibration_slope_interval(truth, chance, accounts, resampling)
    slow = metrics.clustered_interval(metrics.calibration_slope, truth, chance, accounts, resampling)
    assert interval == pytest.approx(slow)


@pytest.mark.parametrize("seed", range(3))
def test_failed_vectorised_slopes_are_replaced_by_single_fits(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.1, 0.9, 60)
    truth, accounts = (rng.random(60) < chance).astype(int), pd.Series(range(60))
    resampling = Resampling(40, 0.99)
    slow = metrics.clustered_interval(metrics.calibration_slope, truth, chance, accounts, resampling)
    monkeypatch.setattr(metrics, "_weighted_slopes", lambda place, hit, drawn, start: np.full(len(drawn), np.nan))
    assert metrics.calibration_slope_interval(truth, chance, accounts, resampling) == pytest.approx(slow)


def test_calibration_error_by_chance_is_the_mean_error_of_true_probabilities():
    chance, weight = np.linspace(0.1, 0.9, 60), np.linspace(1, 2, 60)
    dice = np.random.default_rng(0)
    errors = [metrics.calibration_error(dice.random(60) < chance, chance, weight) for _ in range(100)]
    assert metrics.calibration_error_by_chance(chance, weight) == pytest.approx(np.mean(errors))
