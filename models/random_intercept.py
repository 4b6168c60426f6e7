"""Standard deviation of a random intercept: how far groups of rows deviate from their predictions.

In a logistic regression with the prediction as offset, each account, quarter or segment has a random intercept, in
log-odds. The callers integrate the intercepts out of the likelihood, each in its way: quadrature for accounts, a grid
for quarters, Laplace's approximation for segments, because segments overlap.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, logsumexp

Floats = npt.NDArray[np.float64]


def deviation_posterior(log_prior: Floats, log_likelihoods: Iterable[Floats]) -> Floats:
    """Posterior probability of each standard deviation on a grid.

    `log_prior` has one number per standard deviation, up to a constant. So has each of `log_likelihoods`: the marginal
    log-likelihoods of independent parts of the outcomes. With few groups the maximum-likelihood standard deviation is
    often 0 (Chung et al. 2013). A prior, and the full posterior instead of its mode, avoid that (Gelman 2006).
    """
    log_weight = log_prior
    for log_likelihood in log_likelihoods:
        log_weight = log_weight + log_likelihood
    return np.asarray(np.exp(log_weight - logsumexp(log_weight)))


def outcome_log_likelihood(log_odds: Floats, label: Floats, intercepts: Floats) -> Floats:
    """Log-likelihood of each outcome under each intercept; rows × intercepts."""
    signed_label = 2.0 * label - 1.0
    return np.asarray(log_expit(signed_label[:, None] * (log_odds[:, None] + intercepts)))
