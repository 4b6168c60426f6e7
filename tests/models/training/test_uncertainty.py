"""Tests of the probability interval and the standard deviations behind it, on simulated probabilities."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from renewals.models.metrics import calibration_slope, log_loss
from renewals.models.settings import LinearSettings
from renewals.models.training.additive import AdditiveFitter
from renewals.models.training.uncertainty import (
    PRIOR_MEAN,
    SD_GRID,
    hidden_effect_sd,
    logistic_normal_median,
    probability_interval,
)
from renewals.models.training.walk_forward import shrinkage_factor

RNG = np.random.default_rng(3)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
PANELS = np.linspace(-14, 16, 121)
POINTS = ((PANELS[1:] + PANELS[:-1])[:, None] + np.diff(PANELS)[:, None] * NODES).ravel() / 2
MASS = (np.diff(PANELS)[:, None] * WEIGHTS).ravel() / 2 * norm.pdf(POINTS)
"""Standard normal weights of the points, by Gauss-Legendre quadrature in panels; the product uses another sum."""

LEAD = pd.Timedelta(days=90)

rare = st.floats(np.log(1e-12), np.log(0.5)).map(np.exp)
spreads, confidences = st.floats(0, 3), st.floats(0.5, 0.99)


def backtest(accounts: int, renewals: int, spread: float, seed: int = 0) -> pd.DataFrame:
    """Back-test with account effects of standard deviation `spread`; one row per renewal, 90 days before it."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), renewals)
    log_odds = rng.normal(1.2, 0.8, len(account))
    account_effect = spread * rng.standard_normal(accounts)[account]
    as_of = pd.Timestamp(2020, 1, 1) + pd.to_timedelta(np.tile(np.arange(renewals) * 365, accounts), unit="D")
    return pd.DataFrame(
        {
            "account_id": account,
            "renewal_id": [f"{number}:{day:%Y-%m-%d}" for number, day in zip(account, as_of + LEAD, strict=True)],
            "as_of": as_of,
            "renewal_date": as_of + LEAD,
            "days_to_renewal": LEAD.days,
            "renewal_signed": False,
            "notice_given": False,
            "label": (rng.random(len(account)) < expit(log_odds + account_effect)).astype(int),
            "probability": [logistic_normal_mean(median, spread) for median in log_odds],
        }
    )


def logistic_normal_mean(median: float, spread: float) -> float:
    return float(MASS @ expit(median + spread * POINTS))


@given(rare, spreads)
def test_mean_of_the_distribution_is_the_probability(probability, spread):
    """Compare the smaller of p and 1 - p, which a float represents exactly."""
    for side in (1, -1):
        value = probability if side == 1 else 1 - probability
        smaller = value if side == 1 else 1 - value
        median = logistic_normal_median(np.array([value]), spread)[0]
        assert logistic_normal_mean(side * median, spread) == pytest.approx(smaller, rel=1e-9)


@given(rare, spreads, confidences)
@example(1 - 0.9999984, 0.5, 0.8)
@example(1 - 0.999942, 0.7, 0.8)
@example(1 - 0.99919, 1.0, 0.8)
@example(1 - 0.9943, 1.5, 0.8)
def test_interval_contains_the_probability_and_has_the_confidence(probability, spread, confidence):
    probabilities = np.array([probability, 1 - probability])
    low, high = probability_interval(probabilities, spread, confidence)
    assert (low >= 0).all()
    assert (low <= probabilities).all()
    assert (probabilities <= high).all()
    assert (high <= 1).all()
    median = logistic_normal_median(probabilities[:1], spread)[0]
    ends = np.array([np.log(end[0]) - np.log1p(-end[0]) for end in (low, high)])
    if spread > 1e-6:
        mass = np.diff(norm.cdf((ends - median) / spread))[0]
        assert mass >= confidence - 1e-9
        assert np.abs(ends - median).max() - np.abs(ends - median).min() < 1e-9, "central in log-odds"
    assert 1 - high[1] == pytest.approx(low[0], rel=1e-3, abs=1e-15), "a loss is as uncertain as a renewal"
    assert 1 - low[1] == pytest.approx(high[0], rel=1e-3, abs=1e-15)


@given(st.lists(rare, min_size=2, max_size=30), spreads, confidences)
def test_interval_ends_rise_with_the_probability(tails, spread, confidence):
    probabilities = np.sort(np.array([*tails, *(1 - tail for tail in tails)]))
    for end in probability_interval(probabilities, spread, confidence):
        assert (np.diff(end) >= -1e-9 * np.minimum(end[1:], 1 - end[1:]) - 1e-15).all()


@pytest.mark.parametrize(("probability", "spread"), [(0.5, 0.5), (0.9, 0.7), (0.2, 1.0), (0.02, 3.0)])
def test_interval_contains_its_share_of_simulated_probabilities(probability, spread):
    median = logistic_normal_median(np.array([probability]), spread)[0]
    probabilities = expit(median + spread * RNG.standard_normal(100_000))
    low, high = probability_interval(np.array([probability]), spread, 0.8)
    assert probabilities.mean() == pytest.approx(probability, abs=0.01)
    share = ((probabilities > low) & (probabilities < high)).mean()
    assert share == pytest.approx(0.8, abs=0.01)


def test_interval_extends_to_the_mean_of_a_long_tail():
    """A mean above the 90 % quantile is outside the usual interval, so the smallest central one with it is used."""
    probability, spread = np.array([1e-4]), 3.0
    median = logistic_normal_median(probability, spread)
    low, high = probability_interval(probability, spread, 0.8)
    assert expit(median + norm.ppf(0.9) * spread) < probability
    assert high == pytest.approx(probability)
    assert low == pytest.approx(expit(2 * median - np.log(probability / (1 - probability))))
    wider = probability_interval(probability, spread, 0.95)
    assert wider[1] > probability, "at a higher confidence the interval includes the mean without extension"


def test_intervals_of_extreme_probabilities_stay_within_zero_and_one():
    probabilities = np.array([0.0, 1e-300, 0.001, 0.5, 0.999, 1.0])
    low, high = probability_interval(probabilities, 0.6, 0.8)
    inner = slice(2, -1)
    assert (low[inner] < probabilities[inner]).all()
    assert (probabilities[inner] < high[inner]).all()
    assert low[:2].tolist() == probabilities[:2].tolist()
    assert 0 < high[0] == high[1] < 1e-15
    assert 1 - 1e-15 < low[-1] < high[-1] == 1


def test_nan_has_no_interval_and_does_not_affect_valid_rows():
    low, high = probability_interval(np.array([np.nan, 0.3]), 0.5, 0.8)
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < 0.3 < high[1]


def test_zero_spread_gives_an_interval_of_width_zero():
    low, high = probability_interval(np.array([0.3]), 0.0, 0.8)
    assert low == pytest.approx(0.3, abs=1e-15)
    assert high == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_hidden_effect_is_estimated_from_accounts_with_several_renewals(spread):
    assert hidden_effect_sd(backtest(12_000, 3, spread, seed=1)) == pytest.approx(spread, abs=0.2)


def test_accounts_with_one_renewal_give_the_prior_mean():
    once = backtest(500, 1, 1.0)
    assert hidden_effect_sd(once) == pytest.approx(PRIOR_MEAN, abs=0.01)
    assert hidden_effect_sd(once.head(0)) == pytest.approx(PRIOR_MEAN, abs=0.01)


@pytest.mark.parametrize("decision", ["renewal_signed", "notice_given"])
def test_decided_renewals_give_the_prior_mean(decision):
    assert hidden_effect_sd(backtest(500, 3, 1.0).assign(**{decision: True})) == pytest.approx(PRIOR_MEAN, abs=0.01)


def test_few_accounts_hardly_change_the_prior_mean():
    few, many = (abs(hidden_effect_sd(backtest(n, 3, 1.2)) - PRIOR_MEAN) for n in (20, 3000))
    assert few < 0.2 < many
    assert min(SD_GRID) >= 0


def test_margin_variance_matches_the_variance_over_simulated_outcomes():
    """Sixty companies differ only in their random outcomes; their margins vary about as much as predicted."""
    values, weight = RNG.normal(size=(400, 6)), np.ones(400)
    truth = values @ np.array([0.6, -0.4, 0.3, 0.0, 0.0, 0.0])
    fitter = AdditiveFitter(values, weight, [None] * 6, [0] * 6, None, LinearSettings(knots=9))
    margins, predicted = [], []
    for _ in range(60):
        model = fitter.fit((RNG.random(400) < expit(truth)).astype(np.int8), 0.1)
        margins.append(model.margin(values) - model.intercept)
        predicted.append(model.margin_variance)
    simulated = np.array(margins).std(axis=0) ** 2
    assert simulated.mean() < np.mean(predicted) < 2.5 * simulated.mean()


def test_shrunken_margin_is_better_calibrated_with_few_outcomes():
    """Sixty companies with 150 training outcomes and 1000 test outcomes each."""
    coefficients, companies = np.array([0.8, -0.6, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0]), []
    for _ in range(60):
        past, later = RNG.normal(size=(150, 8)), RNG.normal(size=(1000, 8))
        truth, outcomes = (RNG.random(len(rows)) < expit(rows @ coefficients) for rows in (past, later))
        model = AdditiveFitter(past, np.ones(150), [None] * 8, [0] * 8, None, LinearSettings(knots=9)).fit(
            truth.astype(np.int8), 0.3
        )
        companies.append((outcomes, model.margin(later), np.full(1000, shrinkage_factor(model))))
    outcomes, margin, factor = (np.concatenate(parts) for parts in zip(*companies, strict=True))
    plain_slope, shrunken_slope = (
        calibration_slope(outcomes, expit(log_odds)) for log_odds in (margin, margin * factor)
    )
    assert 0.7 < plain_slope < shrunken_slope - 0.03 < 1.0
    assert log_loss(outcomes, expit(margin * factor)) < log_loss(outcomes, expit(margin))


def test_out_of_range_share_counts_values_outside_the_training_range():
    values = RNG.normal(size=(500, 4))
    model = AdditiveFitter(values, np.ones(500), [None] * 4, [0] * 4, None, LinearSettings()).fit(
        np.tile([0, 1], 250), 0.1
    )
    typical, extreme, missing = np.zeros(4), np.array([9.0, -9.0, 0.0, 0.0]), np.full(4, np.nan)
    assert model.out_of_range_share(np.array([typical, extreme, missing])).tolist() == [0.0, 0.5, 0.0]
