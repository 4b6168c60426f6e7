"""Whether an interval holds what it says it holds, on chances that were drawn and are known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from models.doubt import HIDDEN, USUAL, around, hidden
from models.forward import moderation
from models.linear import Design
from models.metrics import calibration_slope, log_loss
from models.options import Linear

DICE = np.random.default_rng(3)


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
            "decided": False,
            "label": (dice.random(len(account)) < expit(said + own)).astype(int),
            "probability": expit(said / np.sqrt(1 + np.pi * spread**2 / 8)),
        }
    )


@pytest.mark.parametrize(("probability", "spread"), [(0.5, 0.5), (0.9, 0.7), (0.2, 1.0)])
def test_an_interval_holds_the_chances_whose_mean_it_is_about(probability, spread):
    middle = logit(probability) * np.sqrt(1 + np.pi * spread**2 / 8)
    chances = expit(middle + spread * DICE.standard_normal(40_000))
    low, high = around(np.array([probability]), spread, 0.8)
    assert chances.mean() == pytest.approx(probability, abs=0.01)
    assert ((chances > low) & (chances < high)).mean() == pytest.approx(0.8, abs=0.01)


def test_an_interval_holds_its_own_probability_and_no_more_than_all():
    chances = np.array([0.0, 0.001, 0.5, 0.999, 1.0])
    low, high = around(chances, 0.6, 0.8)
    assert (low > 0).all()
    assert (high < 1).all()
    inner = chances[1:-1]
    assert (low[1:-1] < inner).all()
    assert (inner < high[1:-1]).all()


def test_without_doubt_there_is_no_interval():
    low, high = around(np.array([0.3]), 0.0, 0.8)
    assert low == high == pytest.approx(0.3)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_what_is_hidden_is_told_by_accounts_that_come_due_again(spread):
    assert hidden(backtest(12_000, 3, spread, seed=1)) == pytest.approx(spread, abs=0.2)


def test_accounts_that_came_due_once_say_nothing():
    once = backtest(500, 1, 1.0)
    assert hidden(once) == pytest.approx(USUAL, abs=0.01)
    assert hidden(once.head(0)) == pytest.approx(USUAL, abs=0.01)


def test_what_was_decided_already_says_nothing():
    assert hidden(backtest(500, 3, 1.0).assign(decided=True)) == pytest.approx(USUAL, abs=0.01)


def test_few_accounts_move_the_prior_little():
    few, many = (abs(hidden(backtest(n, 3, 1.2)) - USUAL) for n in (20, 3000))
    assert few < 0.2 < many
    assert min(HIDDEN) >= 0


def test_what_was_learned_is_as_uncertain_as_other_outcomes_would_have_made_it():
    """Sixty companies alike but for the luck of their outcomes: the spread of their margins is what one foretells."""
    values, weight = DICE.normal(size=(400, 6)), np.ones(400)
    truth = values @ np.array([0.6, -0.4, 0.3, 0.0, 0.0, 0.0])
    design = Design(values, weight, [None] * 6, [0] * 6, None, Linear(knots=9))
    margins, foretold = [], []
    for _ in range(60):
        line = design.fit((DICE.random(400) < expit(truth)).astype(np.int8), 0.1)
        margins.append(line.margin(values) - line.intercept)
        foretold.append(line.uncertainty)
    seen = np.array(margins).std(axis=0) ** 2
    assert seen.mean() < np.mean(foretold) < 2.5 * seen.mean()


def test_a_moderated_margin_is_truer_where_few_outcomes_taught_it():
    """Sixty companies of 150 outcomes each, and what came of a thousand others."""
    taught, wanted = np.array([0.8, -0.6, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0]), []
    for _ in range(60):
        past, later = DICE.normal(size=(150, 8)), DICE.normal(size=(1000, 8))
        truth, came = (DICE.random(len(rows)) < expit(rows @ taught) for rows in (past, later))
        line = Design(past, np.ones(150), [None] * 8, [0] * 8, None, Linear(knots=9)).fit(truth.astype(np.int8), 0.3)
        wanted.append((came, line.margin(later), np.full(1000, moderation(line))))
    came, margin, moderate = (np.concatenate(parts) for parts in zip(*wanted, strict=True))
    plain, moderated = (calibration_slope(came, expit(said)) for said in (margin, margin * moderate))
    assert 0.7 < plain < moderated - 0.03 < 1.0
    assert log_loss(came, expit(margin * moderate)) < log_loss(came, expit(margin))


def test_figures_beyond_anything_seen_are_counted():
    values = DICE.normal(size=(500, 4))
    line = Design(values, np.ones(500), [None] * 4, [0] * 4, None, Linear()).fit(np.tile([0, 1], 250), 0.1)
    usual, strange, unknown = np.zeros(4), np.array([9.0, -9.0, 0.0, 0.0]), np.full(4, np.nan)
    assert line.beyond(np.array([usual, strange, unknown])).tolist() == [0.0, 0.5, 0.0]
