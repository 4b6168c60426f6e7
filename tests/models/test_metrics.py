import numpy as np
import pandas as pd
import pytest

from models import metrics


def renewals(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["account_id", "as_of", "renewal_date", "days_to_renewal"])
    return frame.assign(as_of=pd.to_datetime(frame["as_of"]), renewal_date=pd.to_datetime(frame["renewal_date"]))


def test_one_observation_per_renewal_nearest_to_the_lead():
    rows = renewals(
        ("acme", "2024-01-01", "2024-04-10", 100),
        ("acme", "2024-02-01", "2024-04-10", 69),
        ("quiet", "2024-01-01", "2024-03-26", 85),
        ("late", "2024-03-01", "2024-04-10", 40),
    )
    assert list(metrics.at_lead(rows, 90)["days_to_renewal"]) == [100, 85]


def test_of_two_equally_near_the_earlier_counts():
    rows = renewals(("acme", "2024-01-01", "2024-04-10", 95), ("acme", "2024-01-11", "2024-04-10", 85))
    assert list(metrics.at_lead(rows, 90)["days_to_renewal"]) == [95]


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


def test_the_interval_resamples_accounts_and_not_rows():
    """Copies of an account's rows bring no new evidence: the interval must not shrink."""
    rng = np.random.default_rng(0)
    truth, chance = rng.integers(0, 2, 80), rng.random(80)
    accounts = pd.Series([f"a{n}" for n in range(80)])
    once = metrics.clustered_interval(metrics.auc, truth, chance, accounts, rounds=200)
    many = metrics.clustered_interval(
        metrics.auc, np.tile(truth, 5), np.tile(chance, 5), pd.concat([accounts] * 5, ignore_index=True), rounds=200
    )
    assert many[1] - many[0] == pytest.approx(once[1] - once[0], rel=0.3)
