"""How far groups of rows stray from what is predicted of them: the standard deviation of a random intercept.

Each account, quarter or segment has an intercept, in log-odds, beside the prediction: a logistic regression with a
random intercept. How the intercepts are integrated out of its likelihood depends on the groups, and is done by the
callers: quadrature for accounts, a grid for quarters, Laplace's approximation for segments, which overlap.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, logsumexp

Floats = npt.NDArray[np.float64]


def deviation_posterior(log_prior: Floats, log_likelihoods: Iterable[Floats]) -> Floats:
    """The posterior probability of each standard deviation on a grid.

    `log_prior` holds one number per standard deviation, up to a constant. So does each of `log_likelihoods`: the
    marginal log-likelihoods of independent parts of the outcomes. With few groups the likeliest standard deviation is
    often 0 (Chung et al. 2013): a prior, and the whole posterior in place of its mode, avoid that (Gelman 2006).
    """
    log_weight = log_prior
    for log_likelihood in log_likelihoods:
        log_weight = log_weight + log_likelihood
    return np.asarray(np.exp(log_weight - logsumexp(log_weight)))


def outcome_log_likelihood(log_odds: Floats, label: Floats, intercepts: Floats) -> Floats:
    """The log-likelihood of each outcome under each intercept; rows × intercepts."""
    side = 2.0 * label - 1.0
    return np.asarray(log_expit(side[:, None] * (log_odds[:, None] + intercepts)))
