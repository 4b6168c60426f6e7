"""How far to trust a probability: an interval around it, and whether the account is like anything seen.

A probability is the best word on what the columns show. The account's own chance, as one would see it who knew what no
column shows, lies about it, and the *spread* says how far, in log-odds. It has two sources:

* *hidden*: what moves an account and stands in no table. Nobody can see it in a single outcome, but it stays with an
  account, so the accounts that came due more than once tell it: where they fare alike beyond what was said of them, it
  is large. The marginal likelihood of a logistic regression with a level of each account's own is added up on a grid
  (a mixed model, as in `models/shock.py`), with a prior, for a company has few such accounts.
* *learned*: what another company of the same kind would have taught another model. Its mean over the training rows is
  the posterior variance of the ridge regression (`models/linear.py`).

Bagging would show the second alone, at many times the cost, and Venn-Abers neither: its two probabilities part where
few outcomes lie near, whatever is hidden. Measured against the truth of the example company in
`bench/learning_curve.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, log_expit, logit, logsumexp
from scipy.stats import norm

from models.metrics import EDGE, at_lead

Floats = npt.NDArray[np.float64]

LEAD = 90
"""Days before the end at which a renewal is taken to have been foretold."""
HIDDEN = np.arange(0, 31) / 20.0
"""Spreads looked at, in log-odds."""
USUAL, LOOSE = 0.5, 0.2
"""The prior's middle and standard deviation: what is hidden in companies of this kind, in log-odds."""
NODES, MASS = np.polynomial.hermite_e.hermegauss(21)


def widened(spread: Floats | float) -> Floats | float:
    """How much further from one half the middle of the chances lies than their mean (MacKay 1992), in log-odds."""
    return np.sqrt(1 + np.pi * np.square(spread) / 8)


def around(probability: Floats, spread: float, confidence: float) -> tuple[Floats, Floats]:
    """The range that holds the account's own chance with this confidence; low and high, one of each per probability.

    The chances are taken as logistic-normal with the probability as their mean.
    """
    middle = logit(np.clip(probability, EDGE, 1 - EDGE)) * widened(spread)
    reach = norm.ppf((1 + confidence) / 2) * spread
    return expit(middle - reach), expit(middle + reach)


def hidden(said: pd.DataFrame) -> float:
    """The standard deviation, in log-odds, of what stays with an account and was not said of it.

    `said` is a forward back-test, one row per observation with its calibrated probability. Only accounts that came due
    twice or more say anything; without one the prior's middle is returned.
    """
    told = at_lead(said[~said["decided"].astype(bool)], LEAD)
    again = told[told.groupby("account_id")["label"].transform("size") > 1]
    log_weight = -0.5 * ((HIDDEN - USUAL) / LOOSE) ** 2
    if len(again):
        log_weight = log_weight + np.array([_evidence(again, spread) for spread in HIDDEN])
    return float(np.exp(log_weight - logsumexp(log_weight)) @ HIDDEN)


def _evidence(told: pd.DataFrame, spread: float) -> float:
    """The log-likelihood of a spread by the outcomes of accounts; the account's own level is integrated out."""
    middle = logit(np.clip(told["probability"].to_numpy(np.float64), EDGE, 1 - EDGE)) * widened(spread)
    side = 2.0 * told["label"].to_numpy(np.float64) - 1.0
    each = log_expit(side[:, None] * (middle[:, None] + spread * NODES))
    whole = pd.DataFrame(each).groupby(told["account_id"].to_numpy()).sum().to_numpy()
    return float(logsumexp(whole, b=MASS / MASS.sum(), axis=1).sum())
