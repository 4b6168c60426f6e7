"""How far to trust a probability: an interval around it, and whether the account is like anything seen.

A probability is the best word on what the columns show. The account's own chance, as one would see it who knew what no
column shows, lies about it, and the *spread* says how far, in log-odds. It has two sources:

* *hidden*: what moves an account and stands in no table. Nobody can see it in a single outcome, but it stays with an
  account, so the accounts that came due more than once tell it: where they fare alike beyond what was said of them, it
  is large. It is the standard deviation of a random intercept of the accounts (`models/random_intercept.py`); the prior
  matters, for a company has few such accounts.
* *learned*: what another company of the same kind would have taught another model. Its mean over the training rows is
  the posterior variance of the ridge regression (`models/training/additive.py`).

Bagging would show the second alone, at many times the cost, and Venn-Abers neither: its two probabilities part where
few outcomes lie near, whatever is hidden. Measured against the truth of the example company in
`bench/learning_curve.py`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import CubicHermiteSpline
from scipy.special import expit, logsumexp
from scipy.stats import norm

from renewals.models.metrics import EPSILON, select_at_lead
from renewals.models.random_intercept import deviation_posterior, outcome_log_likelihood

Floats = npt.NDArray[np.float64]

PREDICTION_LEAD = 90
"""Days before the end at which a renewal is taken to have been foretold."""
SD_GRID = np.arange(0, 31) / 20.0
"""Spreads looked at, in log-odds."""
PRIOR_MEAN, PRIOR_SD = 0.5, 0.2
"""The prior's middle and standard deviation: what is hidden in companies of this kind, in log-odds."""
HERMITE_NODES, HERMITE_WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
PROBABILITY_RESOLUTION = 2.0**-53
"""The least distance of a float from 1: what lies nearer cannot be told from certainty."""
GRID_SPACING, GRID_TAIL = 0.5, 9.0
"""Of the points at which a mean of chances is summed: their spacing, and how far they reach beyond the spread."""
CURVE_STEP = 0.02
"""Of the curve of middles, in log-odds: its error falls with the fourth power."""


def logistic_normal_scale(spread: Floats | float) -> Floats | float:
    """How much further from one half the middle of the chances lies than their mean, approximately (MacKay 1992).

    A factor of the log-odds. Where the mean must be met, use `logistic_normal_median`.
    """
    return np.sqrt(1 + np.pi * np.square(spread) / 8)


def probability_interval(probability: Floats, spread: float, confidence: float) -> tuple[Floats, Floats]:
    """The range that holds the account's own chance with at least this confidence; low and high, one per probability.

    The chances are logistic-normal with the probability as their mean. The range is central in log-odds and holds just
    the confidence; where the mean lies outside it, as it does in a long tail, it is the smallest central range that
    reaches to the mean. It rises with the probability. Not a number stays not a number.
    """
    chance = np.asarray(probability, np.float64)
    centre = logistic_normal_median(chance, spread)
    reach = np.fmax(norm.ppf((1 + confidence) / 2) * spread, np.abs(_log_odds(chance) - centre))
    # The last digit of the logistic function may fall on the wrong side of the probability.
    return np.minimum(expit(centre - reach), chance), np.maximum(expit(centre + reach), chance)


def logistic_normal_median(probability: Floats, spread: float) -> Floats:
    """The median, in log-odds, of logistic-normal chances whose mean is the probability; one number per probability.

    The mean is met to 1e-9 of itself and of its distance from 1. A probability nearer to 0 or 1 than
    `PROBABILITY_RESOLUTION` counts as that near.
    """
    odds = _log_odds(probability)
    return np.copysign(_median_curve(float(spread))(np.abs(odds)), odds)


def _log_odds(probability: Floats) -> Floats:
    """The log-odds, by the smaller of p and 1 - p, which a float holds exactly."""
    is_rare = probability < 0.5
    rare = np.clip(np.where(is_rare, probability, 1 - probability), PROBABILITY_RESOLUTION, 0.5)
    return np.copysign(np.log1p(-rare) - np.log(rare), np.where(is_rare, -1.0, 1.0))


@lru_cache(maxsize=64)
def _median_curve(spread: float) -> CubicHermiteSpline:
    """The distance of the middle from one half, as a curve over that of the mean; both in log-odds.

    The mean is summed over evenly spaced points: for a function that is smooth on a strip about the real line the error
    falls exponentially in the spacing (Trefethen and Weideman 2014). The strip of expit(spread * z) is pi / spread
    wide, so the spacing shrinks with the spread. At a spread of 3,
    Gauss-Hermite would need 201 nodes.
    """
    spacing = GRID_SPACING / max(spread, 1.0)
    points = np.arange(-np.ceil((spread + GRID_TAIL) / spacing), np.ceil((spread + GRID_TAIL) / spacing) + 1) * spacing
    weight = norm.pdf(points) / norm.pdf(points).sum()
    # By Jensen's inequality the mean is nearer to one half by at most spread**2 / 2: the curve reaches to CERTAIN.
    away = np.arange(0.0, -np.log(PROBABILITY_RESOLUTION) + spread**2 / 2 + 2 * CURVE_STEP, CURVE_STEP)
    chance = expit(spread * points - away[:, None])
    mean = chance @ weight
    slope = (chance * (1 - chance)) @ weight / (mean * (1 - mean))
    odds = np.log1p(-mean) - np.log(mean)
    odds[0] = 0.0
    return CubicHermiteSpline(odds, away, 1 / slope)


def hidden_effect_sd(predictions: pd.DataFrame) -> float:
    """The standard deviation, in log-odds, of what stays with an account and was not said of it.

    `predictions` is a forward back-test, one row per observation with its calibrated probability. Only accounts that
    came due twice or more say anything; without one the prior's middle is returned.
    """
    told = select_at_lead(predictions[~predictions["renewal_signed"].astype(bool)], PREDICTION_LEAD)
    again = told[told.groupby("account_id")["label"].transform("size") > 1]
    evidence = [np.array([_log_likelihood(again, spread) for spread in SD_GRID])] if len(again) else []
    return float(deviation_posterior(-0.5 * ((SD_GRID - PRIOR_MEAN) / PRIOR_SD) ** 2, evidence) @ SD_GRID)


def _log_likelihood(predictions: pd.DataFrame, spread: float) -> float:
    """The log-likelihood of a spread by the outcomes of accounts.

    Each account's intercept is integrated out by Gauss-Hermite quadrature (Bock and Aitkin 1981).
    """
    centre = logistic_normal_median(
        np.clip(predictions["probability"].to_numpy(np.float64), EPSILON, 1 - EPSILON), float(spread)
    )
    each = outcome_log_likelihood(centre, predictions["label"].to_numpy(np.float64), spread * HERMITE_NODES)
    whole = pd.DataFrame(each).groupby(predictions["account_id"].to_numpy()).sum().to_numpy()
    return float(logsumexp(whole, b=HERMITE_WEIGHTS / HERMITE_WEIGHTS.sum(), axis=1).sum())
