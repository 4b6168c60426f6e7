"""Whether an interval holds what it says it holds, on chances that were drawn and are known."""

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

DICE = np.random.default_rng(3)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
PANELS = np.linspace(-14, 16, 121)
POINTS = ((PANELS[1:] + PANELS[:-1])[:, None] + np.diff(PANELS)[:, None] * NODES).ravel() / 2
MASS = (np.diff(PANELS)[:, None] * WEIGHTS).ravel() / 2 * norm.pdf(POINTS)
"""The standard normal distribution by Gauss-Legendre quadrature in panels: not how the product sums."""

rare = st.floats(np.log(1e-12), np.log(0.5)).map(np.exp)
spreads, confidences = st.floats(0, 3), st.floats(0.5, 0.99)


def backtest(accounts: int, renewals: int, spread: float, seed: int = 0) -> pd.DataFrame:
    """Accounts with a level of their own beside what is said of them; one row per renewal, 90 days before it."""
    dice = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), renewals)
    said = dice.normal(1.2, 0.8, len(account))
    own = spread * dice.standard_normal(accounts)[account]
    first = pd.Timestamp(2020, 1, 1) + pd.to_timedelta(np.tile(np.arange(renewals) * 365, accounts), unit="D")
    return pd.DataFrame(
        {
            "account_id": account,
            "as_of": first,
            "renewal_date": first + pd.Timedelta(days=90),
            "days_to_renewal": 90,
            "renewal_signed": False,
            "label": (dice.random(len(account)) < expit(said + own)).astype(int),
            "probability": [mean_of(centre, spread) for centre in said],
        }
    )


def mean_of(centre: float, spread: float) -> float:
    return float(MASS @ expit(centre + spread * POINTS))


@given(rare, spreads)
def test_the_mean_of_the_chances_is_the_probability(probability, spread):
    """Of p and of 1 - p, whichever is smaller."""
    for side in (1, -1):
        given_ = probability if side == 1 else 1 - probability
        smaller = given_ if side == 1 else 1 - given_
        centre = logistic_normal_median(np.array([given_]), spread)[0]
        assert mean_of(side * centre, spread) == pytest.approx(smaller, rel=1e-9)


@given(rare, spreads, confidences)
@example(1 - 0.9999984, 0.5, 0.8)
@example(1 - 0.999942, 0.7, 0.8)
@example(1 - 0.99919, 1.0, 0.8)
@example(1 - 0.9943, 1.5, 0.8)
def test_an_interval_holds_its_probability_and_the_confidence(probability, spread, confidence):
    chances = np.array([probability, 1 - probability])
    low, high = probability_interval(chances, spread, confidence)
    assert (low >= 0).all()
    assert (low <= chances).all()
    assert (chances <= high).all()
    assert (high <= 1).all()
    centre = logistic_normal_median(chances[:1], spread)[0]
    ends = np.array([np.log(own[0]) - np.log1p(-own[0]) for own in (low, high)])
    if spread > 1e-6:
        held = np.diff(norm.cdf((ends - centre) / spread))[0]
        assert held >= confidence - 1e-9
        assert np.abs(ends - centre).max() - np.abs(ends - centre).min() < 1e-9, "central in log-odds"
    assert 1 - high[1] == pytest.approx(low[0], rel=1e-3, abs=1e-15), "a loss is as uncertain as a renewal"
    assert 1 - low[1] == pytest.approx(high[0], rel=1e-3, abs=1e-15)


@given(st.lists(rare, min_size=2, max_size=30), spreads, confidences)
def test_an_interval_rises_with_its_probability(tails, spread, confidence):
    chances = np.sort(np.array([*tails, *(1 - tail for tail in tails)]))
    for end in probability_interval(chances, spread, confidence):
        assert (np.diff(end) >= -1e-9 * np.minimum(end[1:], 1 - end[1:]) - 1e-15).all()


@pytest.mark.parametrize(("probability", "spread"), [(0.5, 0.5), (0.9, 0.7), (0.2, 1.0), (0.02, 3.0)])
def test_an_interval_holds_the_chances_whose_mean_it_is_about(probability, spread):
    centre = logistic_normal_median(np.array([probability]), spread)[0]
    chances = expit(centre + spread * DICE.standard_normal(100_000))
    low, high = probability_interval(np.array([probability]), spread, 0.8)
    assert chances.mean() == pytest.approx(probability, abs=0.01)
    held = ((chances > low) & (chances < high)).mean()
    assert held == pytest.approx(0.8, abs=0.01)


def test_an_interval_reaches_to_the_mean_of_a_long_tail_on_both_sides():
    """Where the mean lies above nine in ten chances, the interval is the least central one that has it."""
    probability, spread = np.array([1e-4]), 3.0
    centre = logistic_normal_median(probability, spread)
    low, high = probability_interval(probability, spread, 0.8)
    assert expit(centre + norm.ppf(0.9) * spread) < probability
    assert high == pytest.approx(probability)
    assert low == pytest.approx(expit(2 * centre - np.log(probability / (1 - probability))))
    wider = probability_interval(probability, spread, 0.95)
    assert wider[1] > probability, "with more confidence it reaches further by itself"


def test_an_interval_holds_its_own_probability_and_no_more_than_all():
    chances = np.array([0.0, 1e-300, 0.001, 0.5, 0.999, 1.0])
    low, high = probability_interval(chances, 0.6, 0.8)
    inner = slice(2, -1)
    assert (low[inner] < chances[inner]).all()
    assert (chances[inner] < high[inner]).all()
    assert low[:2].tolist() == chances[:2].tolist()
    assert 0 < high[0] == high[1] < 1e-15
    assert 1 - 1e-15 < low[-1] < high[-1] == 1


def test_what_is_not_a_number_has_no_interval_and_spoils_no_other():
    low, high = probability_interval(np.array([np.nan, 0.3]), 0.5, 0.8)
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < 0.3 < high[1]


def test_without_doubt_there_is_no_interval():
    low, high = probability_interval(np.array([0.3]), 0.0, 0.8)
    assert low == pytest.approx(0.3, abs=1e-15)
    assert high == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_what_is_hidden_is_told_by_accounts_that_come_due_again(spread):
    assert hidden_effect_sd(backtest(12_000, 3, spread, seed=1)) == pytest.approx(spread, abs=0.2)


def test_accounts_that_came_due_once_say_nothing():
    once = backtest(500, 1, 1.0)
    assert hidden_effect_sd(once) == pytest.approx(PRIOR_MEAN, abs=0.01)
    assert hidden_effect_sd(once.head(0)) == pytest.approx(PRIOR_MEAN, abs=0.01)


def test_what_was_decided_already_says_nothing():
    assert hidden_effect_sd(backtest(500, 3, 1.0).assign(renewal_signed=True)) == pytest.approx(PRIOR_MEAN, abs=0.01)


def test_few_accounts_move_the_prior_little():
    few, many = (abs(hidden_effect_sd(backtest(n, 3, 1.2)) - PRIOR_MEAN) for n in (20, 3000))
    assert few < 0.2 < many
    assert min(SD_GRID) >= 0


def test_what_was_learned_is_as_uncertain_as_other_outcomes_would_have_made_it():
    """Sixty companies alike but for the luck of their outcomes: the spread of their margins is what one foretells."""
    values, weight = DICE.normal(size=(400, 6)), np.ones(400)
    truth = values @ np.array([0.6, -0.4, 0.3, 0.0, 0.0, 0.0])
    design = AdditiveFitter(values, weight, [None] * 6, [0] * 6, None, LinearSettings(knots=9))
    margins, foretold = [], []
    for _ in range(60):
        line = design.fit((DICE.random(400) < expit(truth)).astype(np.int8), 0.1)
        margins.append(line.margin(values) - line.intercept)
        foretold.append(line.margin_variance)
    seen = np.array(margins).std(axis=0) ** 2
    assert seen.mean() < np.mean(foretold) < 2.5 * seen.mean()


def test_a_moderated_margin_is_truer_where_few_outcomes_taught_it():
    """Sixty companies of 150 outcomes each, and what came of a thousand others."""
    taught, wanted = np.array([0.8, -0.6, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0]), []
    for _ in range(60):
        past, later = DICE.normal(size=(150, 8)), DICE.normal(size=(1000, 8))
        truth, came = (DICE.random(len(rows)) < expit(rows @ taught) for rows in (past, later))
        line = AdditiveFitter(past, np.ones(150), [None] * 8, [0] * 8, None, LinearSettings(knots=9)).fit(
            truth.astype(np.int8), 0.3
        )
        wanted.append((came, line.margin(later), np.full(1000, shrinkage_factor(line))))
    came, margin, moderate = (np.concatenate(parts) for parts in zip(*wanted, strict=True))
    plain, moderated = (calibration_slope(came, expit(said)) for said in (margin, margin * moderate))
    assert 0.7 < plain < moderated - 0.03 < 1.0
    assert log_loss(came, expit(margin * moderate)) < log_loss(came, expit(margin))


def test_figures_beyond_anything_seen_are_counted():
    values = DICE.normal(size=(500, 4))
    line = AdditiveFitter(values, np.ones(500), [None] * 4, [0] * 4, None, LinearSettings()).fit(
        np.tile([0, 1], 250), 0.1
    )
    usual, strange, unknown = np.zeros(4), np.array([9.0, -9.0, 0.0, 0.0]), np.full(4, np.nan)
    assert line.out_of_range_share(np.array([usual, strange, unknown])).tolist() == [0.0, 0.5, 0.0]
