"""Quarter effect: deviation of a quarter's renewals from their predictions that all accounts have in common.

Outcomes within a quarter are not independent: prices, a competitor or a bad release affect all accounts. The quarter
effect is this common part, in log-odds; this module estimates its standard deviation between quarters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit, logsumexp

from renewals.models.metrics import EPSILON, is_undecided, select_at_lead
from renewals.models.random_intercept import deviation_posterior, outcome_log_likelihood

Floats = npt.NDArray[np.float64]

QUARTER_LEADS = (45, 135, 225, 315)
"""Average lead time, in days, of the forecast renewals of the first, second, third and fourth quarter."""
EFFECT_GRID = np.arange(-60, 61) / 30.0
"""Grid of quarter effects, in log-odds."""
SD_GRID = np.arange(0, 21) / 20.0
"""Grid of their standard deviation, in log-odds."""


@dataclass(frozen=True)
class QuarterEffectPosterior:
    """Posterior of the standard deviation of the quarter effect: weights of `SD_GRID`."""

    weights: Floats
    quarters: int
    """Number of past quarters used."""

    @property
    def mean(self) -> float:
        """Posterior mean of the standard deviation."""
        return float(self.weights @ SD_GRID)


def fit_quarter_effect_sd(predictions: pd.DataFrame, day: pd.Timestamp, prior_sd: float) -> QuarterEffectPosterior:
    """Estimate the standard deviation of the quarter effect from outcomes final on the day.

    `predictions` is a walk-forward back-test, one row per observation: each probability comes from a model that was not
    trained on the outcome. Renewals already signed at the observation are excluded. The effect is the random intercept
    of a quarter (`models/random_intercept.py`), integrated out on a grid for each lead. The leads of one quarter are
    not independent, so their log-likelihoods are averaged. The prior is a half-normal with scale `prior_sd`: with few
    quarters the estimate stays near 0.
    """
    final = predictions[(predictions["matured_at"] <= day) & is_undecided(predictions)]
    due = pd.to_datetime(final["renewal_date"])
    final = final.assign(quarter=(due.dt.year * 12 + due.dt.month - day.month) // 3)
    leads = pd.concat([select_at_lead(final, lead).assign(lead=lead) for lead in QUARTER_LEADS])
    quarters = [
        np.mean([_log_likelihood(rows["probability"], rows["label"]) for _, rows in quarter.groupby("lead")], axis=0)
        for _, quarter in leads.groupby("quarter")
    ]
    return QuarterEffectPosterior(deviation_posterior(-0.5 * (SD_GRID / prior_sd) ** 2, quarters), len(quarters))


def _log_likelihood(probability: pd.Series, label: pd.Series) -> Floats:
    """Log-likelihood of each standard deviation, given the renewals of one quarter at one lead."""
    log_odds = logit(np.clip(probability.to_numpy(np.float64), EPSILON, 1 - EPSILON))
    by_effect = outcome_log_likelihood(log_odds, label.to_numpy(np.float64), EFFECT_GRID).sum(axis=0)
    return np.asarray(logsumexp(by_effect + _log_prior_weights(), axis=1))


def _log_prior_weights() -> Floats:
    """Log-weight of each effect under each standard deviation; standard deviations × effects. At 0, only effect 0."""
    log_density = -0.5 * (EFFECT_GRID / np.maximum(SD_GRID, 1e-6)[:, None]) ** 2
    return np.asarray(log_density - logsumexp(log_density, axis=1, keepdims=True))
