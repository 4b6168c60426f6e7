"""The shared shock: how far the level of a whole quarter's renewals strays from what was said of them.

Accounts of one quarter are not independent coins: prices, a competitor or a bad release move them together. The shock
is what all of them have in common, in log-odds; its *spread* is the standard deviation from quarter to quarter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit, logsumexp

from renewals.models.metrics import EPSILON, select_at_lead
from renewals.models.random_intercept import deviation_posterior, outcome_log_likelihood

Floats = npt.NDArray[np.float64]

QUARTER_LEADS = (45, 135, 225, 315)
"""Days before the end at which the renewals of the first, second, third and fourth quarter are foretold on average."""
EFFECT_GRID = np.arange(-60, 61) / 30.0
"""Shocks looked at, in log-odds."""
SD_GRID = np.arange(0, 21) / 20.0
"""Spreads looked at, in log-odds."""


@dataclass(frozen=True)
class QuarterEffectPosterior:
    """How likely each of `SD_GRID` is, by the past and by a prior that holds it near nought."""

    weights: Floats
    quarters: int
    """Past quarters it was learned from."""

    @property
    def mean(self) -> float:
        """The expected spread."""
        return float(self.weights @ SD_GRID)


def fit_quarter_effect_sd(predictions: pd.DataFrame, day: pd.Timestamp, prior_sd: float) -> QuarterEffectPosterior:
    """How far the level of a quarter's renewals strays from what was said of them, by what was final on the day.

    `predictions` is a forward back-test, one row per observation: each probability comes from a model that had not seen
    the outcome. Renewals already decided when it spoke say nothing. The shock is the random intercept of a quarter
    (`models/random_intercept.py`), integrated out on a grid for each lead; the leads of one quarter are no independent
    witnesses and count as one quarter together. The prior is half a normal with standard deviation `prior_sd`: few
    quarters say little.
    """
    final = predictions[(predictions["matured_at"] <= day) & ~predictions["renewal_signed"].astype(bool)]
    due = pd.to_datetime(final["renewal_date"])
    final = final.assign(quarter=(due.dt.year * 12 + due.dt.month - day.month) // 3)
    leads = pd.concat([select_at_lead(final, lead).assign(lead=lead) for lead in QUARTER_LEADS])
    quarters = [
        np.mean([_log_likelihood(rows["probability"], rows["label"]) for _, rows in quarter.groupby("lead")], axis=0)
        for _, quarter in leads.groupby("quarter")
    ]
    return QuarterEffectPosterior(deviation_posterior(-0.5 * (SD_GRID / prior_sd) ** 2, quarters), len(quarters))


def _log_likelihood(probability: pd.Series, label: pd.Series) -> Floats:
    """The log-likelihood of each spread by the renewals of one quarter at one lead."""
    odds = logit(np.clip(probability.to_numpy(np.float64), EPSILON, 1 - EPSILON))
    of_shock = outcome_log_likelihood(odds, label.to_numpy(np.float64), EFFECT_GRID).sum(axis=0)
    return np.asarray(logsumexp(of_shock + _log_prior_weights(), axis=1))


def _log_prior_weights() -> Floats:
    """The log-weight of each shock under each spread; nought is nought alone. Spreads × shocks."""
    some = -0.5 * (EFFECT_GRID / np.maximum(SD_GRID, 1e-6)[:, None]) ** 2
    return np.asarray(some - logsumexp(some, axis=1, keepdims=True))
