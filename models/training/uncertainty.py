"""Uncertainty of a predicted probability: an interval around it, and the standard deviations behind the interval.

A predicted probability reflects only what the features contain. The account's true probability, given also what no
feature contains, is distributed around it; the *spread* is the standard deviation of this distribution, in log-odds. It
has two sources:

* *hidden effect*: causes that no table contains. A single outcome cannot show it, but it persists, so accounts with
  several renewals do: it is large if their outcomes are more similar than predicted. It is the standard
  deviation of a random intercept of the accounts (`models/random_intercept.py`). The prior matters, because a company
  has few such accounts.
* *estimation error*: a model trained on another sample of the same kind would give other predictions. Its mean over the
  training rows is the posterior variance of the ridge regression (`models/training/additive.py`).

Bagging would show only the second source, at many times the cost. Venn-Abers shows neither: its two probabilities
differ where few outcomes are near, independent of hidden effects. `bench/learning_curve.py` compares the interval with
the true probabilities of the example company.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import CubicHermiteSpline
from scipy.special import expit, logsumexp
from scipy.stats import norm

from renewals.models.metrics import EPSILON, is_undecided, select_at_lead
from renewals.models.random_intercept import deviation_posterior, outcome_log_likelihood

Floats = npt.NDArray[np.float64]

PREDICTION_LEAD = 90
"""Lead time, in days, of the predictions that the hidden effect is estimated from."""
SD_GRID = np.arange(0, 31) / 20.0
"""Grid of the standard deviation of the hidden effect, in log-odds."""
PRIOR_MEAN, PRIOR_SD = 0.5, 0.2
"""Mean and standard deviation of the prior of that standard deviation, in log-odds."""
HERMITE_NODES, HERMITE_WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
PROBABILITY_RESOLUTION = 2.0**-53
"""Smallest distance of a float from 1: a probability nearer to 1 is indistinguishable from certainty."""
GRID_SPACING, GRID_TAIL = 0.5, 9.0
"""Spacing of the integration points of the mean probability, and their reach beyond the spread."""
CURVE_STEP = 0.02
"""Step, in log-odds, of the interpolated curve of medians; its error falls with the fourth power of the step."""


def logistic_normal_scale(spread: Floats | float) -> Floats | float:
    """Approximate ratio of median to mean, both in log-odds, of logistic-normal probabilities (MacKay 1992).

    Where the mean must be matched exactly, use `logistic_normal_median`.
    """
    return np.sqrt(1 + np.pi * np.square(spread) / 8)


def probability_interval(probability: Floats, spread: float, confidence: float) -> tuple[Floats, Floats]:
    """Interval (low, high) that contains the account's true probability with at least this confidence.

    True probabilities are logistic-normal with the predicted probability as their mean. The interval is central in
    log-odds and has exactly this confidence. If the mean is outside it, as with a long tail, it is the smallest central
    interval that includes the mean. Both ends rise with the probability. NaN gives NaN.
    """
    mean = np.asarray(probability, np.float64)
    median = logistic_normal_median(mean, spread)
    half_width = np.fmax(norm.ppf((1 + confidence) / 2) * spread, np.abs(_log_odds(mean) - median))
    # Rounding of the logistic function may put an end on the wrong side of the probability.
    return np.minimum(expit(median - half_width), mean), np.maximum(expit(median + half_width), mean)


def logistic_normal_median(probability: Floats, spread: float) -> Floats:
    """Median, in log-odds, of the logistic-normal distribution with this mean; one number per probability.

    The mean is matched to a relative error of 1e-9, of itself and of its distance from 1. A probability nearer to 0 or
    1 than `PROBABILITY_RESOLUTION` is treated as that near.
    """
    odds = _log_odds(probability)
    return np.copysign(_median_curve(float(spread))(np.abs(odds)), odds)


def _log_odds(probability: Floats) -> Floats:
    """Log-odds, computed from the smaller of p and 1 - p, which a float represents exactly."""
    is_rare = probability < 0.5
    rare = np.clip(np.where(is_rare, probability, 1 - probability), PROBABILITY_RESOLUTION, 0.5)
    return np.copysign(np.log1p(-rare) - np.log(rare), np.where(is_rare, -1.0, 1.0))


@lru_cache(maxsize=64)
def _median_curve(spread: float) -> CubicHermiteSpline:
    """Curve of the median as a function of the mean, both as absolute log-odds.

    The mean is a sum over evenly spaced points: for a function that is analytic on a strip around the real line the
    error falls exponentially with the spacing (Trefethen and Weideman 2014). The strip of expit(spread * z) is
    pi / spread wide, so the spacing shrinks with the spread. At a spread of 3, Gauss-Hermite would need 201 nodes.
    """
    spacing = GRID_SPACING / max(spread, 1.0)
    points = np.arange(-np.ceil((spread + GRID_TAIL) / spacing), np.ceil((spread + GRID_TAIL) / spacing) + 1) * spacing
    weight = norm.pdf(points) / norm.pdf(points).sum()
    # By Jensen's inequality the mean is nearer to 0 by at most spread**2 / 2, so the curve reaches the resolution.
    medians = np.arange(0.0, -np.log(PROBABILITY_RESOLUTION) + spread**2 / 2 + 2 * CURVE_STEP, CURVE_STEP)
    probability = expit(spread * points - medians[:, None])
    mean = probability @ weight
    slope = (probability * (1 - probability)) @ weight / (mean * (1 - mean))
    odds = np.log1p(-mean) - np.log(mean)
    odds[0] = 0.0
    return CubicHermiteSpline(odds, medians, 1 / slope)


def hidden_effect_sd(predictions: pd.DataFrame) -> float:
    """Estimate the standard deviation, in log-odds, of the persistent account effect that predictions miss.

    `predictions` is a walk-forward back-test, one row per observation with its calibrated probability. Only accounts
    with at least two renewals are informative; without any, the mean of the prior is returned.
    """
    at_lead = select_at_lead(predictions[is_undecided(predictions)], PREDICTION_LEAD)
    repeated = at_lead[at_lead.groupby("account_id")["label"].transform("size") > 1]
    evidence = [np.array([_log_likelihood(repeated, spread) for spread in SD_GRID])] if len(repeated) else []
    return float(deviation_posterior(-0.5 * ((SD_GRID - PRIOR_MEAN) / PRIOR_SD) ** 2, evidence) @ SD_GRID)


def _log_likelihood(predictions: pd.DataFrame, spread: float) -> float:
    """Log-likelihood of a standard deviation of the account effect, given the outcomes.

    Each account's intercept is integrated out by Gauss-Hermite quadrature (Bock and Aitkin 1981).
    """
    median = logistic_normal_median(
        np.clip(predictions["probability"].to_numpy(np.float64), EPSILON, 1 - EPSILON), float(spread)
    )
    per_row = outcome_log_likelihood(median, predictions["label"].to_numpy(np.float64), spread * HERMITE_NODES)
    per_account = pd.DataFrame(per_row).groupby(predictions["account_id"].to_numpy()).sum().to_numpy()
    return float(logsumexp(per_account, b=HERMITE_WEIGHTS / HERMITE_WEIGHTS.sum(), axis=1).sum())
