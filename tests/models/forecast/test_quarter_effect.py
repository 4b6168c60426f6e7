"""Tests of the standard deviation of the quarter effect: recovered from many quarters, near the prior with few."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.forecast.quarter_effect import SD_GRID, fit_quarter_effect_sd

DAY = pd.Timestamp(2030, 1, 1)
PRIOR_SCALE = 0.15


def backtest(true_sd: float, quarters: int, renewals: int = 150, seed: int = 1) -> pd.DataFrame:
    """Back-test with a normal quarter effect of this standard deviation; one row per renewal, 45 days before it."""
    rng = np.random.default_rng(seed)
    parts = []
    for quarter in range(quarters):
        log_odds = rng.normal(2.0, 1.0, renewals)
        renewed = rng.random(renewals) < expit(log_odds + true_sd * rng.standard_normal())
        due = DAY - pd.DateOffset(months=3 * (quarter + 2)) + pd.to_timedelta(rng.integers(1, 85, renewals), unit="D")
        parts.append(pd.DataFrame({"probability": expit(log_odds), "label": renewed.astype(int), "renewal_date": due}))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(
        account_id=np.arange(len(rows)),
        renewal_id=[f"{number}:{day:%Y-%m-%d}" for number, day in enumerate(rows["renewal_date"])],
        as_of=rows["renewal_date"] - pd.Timedelta(days=45),
        days_to_renewal=45.0,
        renewal_signed=False,
        notice_given=False,
        matured_at=rows["renewal_date"] + pd.Timedelta(days=61),
    )


@pytest.mark.parametrize(("true_sd", "low", "high"), [(0.0, 0.0, 0.07), (0.3, 0.2, 0.4), (0.6, 0.45, 0.75)])
def test_sd_is_recovered_from_many_quarters(true_sd, low, high):
    estimates = [fit_quarter_effect_sd(backtest(true_sd, 40, seed=seed), DAY, 0.5).mean for seed in (1, 2, 3)]
    assert low <= np.mean(estimates) <= high


def test_prior_is_returned_without_history():
    posterior = fit_quarter_effect_sd(backtest(0.6, 1).head(0), DAY, PRIOR_SCALE)
    assert posterior.quarters == 0
    assert posterior.mean == pytest.approx(PRIOR_SCALE * np.sqrt(2 / np.pi), rel=0.15)


def test_few_quarters_change_the_prior_less_than_many():
    few, many = (fit_quarter_effect_sd(backtest(0.6, quarters), DAY, PRIOR_SCALE).mean for quarters in (2, 40))
    assert PRIOR_SCALE * 0.5 < few < many


def test_posterior_weights_are_a_distribution():
    weights = fit_quarter_effect_sd(backtest(0.3, 8), DAY, PRIOR_SCALE).weights
    assert weights.shape == SD_GRID.shape
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_outcomes_not_final_on_the_day_are_ignored():
    final, not_final = backtest(0.0, 12), backtest(0.9, 12, seed=5).assign(matured_at=DAY + pd.Timedelta(days=1))
    both = pd.concat([final, not_final], ignore_index=True)
    assert (
        fit_quarter_effect_sd(both, DAY, PRIOR_SCALE).weights == fit_quarter_effect_sd(final, DAY, PRIOR_SCALE).weights
    ).all()


@pytest.mark.parametrize("decision", ["renewal_signed", "notice_given"])
def test_renewals_decided_before_the_prediction_are_ignored(decision):
    undecided, decided = backtest(0.0, 12), backtest(0.9, 12, seed=5).assign(**{decision: True})
    both = pd.concat([undecided, decided], ignore_index=True)
    assert (
        fit_quarter_effect_sd(both, DAY, PRIOR_SCALE).weights
        == fit_quarter_effect_sd(undecided, DAY, PRIOR_SCALE).weights
    ).all()


def test_earlier_predictions_of_the_same_quarter_add_no_evidence():
    once = backtest(0.6, 6)
    earlier = once.assign(as_of=once["renewal_date"] - pd.Timedelta(days=135), days_to_renewal=135.0)
    twice = fit_quarter_effect_sd(pd.concat([once, earlier], ignore_index=True), DAY, PRIOR_SCALE)
    assert twice.quarters == 6
    assert twice.weights == pytest.approx(fit_quarter_effect_sd(once, DAY, PRIOR_SCALE).weights)
