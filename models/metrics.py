"""Metrics of predicted probabilities: functions (truth, probability, weight) -> float; NaN where undefined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit
from sklearn import metrics as sk

Numbers = npt.NDArray[Any] | pd.Series
Metric = Callable[..., float]

LEAD_DAYS = (30, 60, 90, 120, 180)
"""Lead times, in days before the renewal, at which a model is evaluated."""
LEAD_TOLERANCE_DAYS = 16
"""Largest distance, in days, of an observation from the lead it represents; monthly observations always have one."""
EPSILON = 1e-6
BINS = 10
TOLERANCE = 1e-9
"""Standard deviations, Newton steps and relative determinants below this count as zero."""
MAX_NEWTON_STEPS = 30
CHUNK_SIZE = 2**16
"""Array elements processed at a time."""


def _has_both_outcomes(truth: Numbers) -> bool:
    return len(np.unique(np.asarray(truth))) == 2


def auc(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Area under the ROC curve: probability that a random positive row ranks above a random negative row."""
    return float(sk.roc_auc_score(truth, probability, sample_weight=weight)) if _has_both_outcomes(truth) else np.nan


def average_precision(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Average precision: area under the precision-recall curve."""
    return (
        float(sk.average_precision_score(truth, probability, sample_weight=weight))
        if _has_both_outcomes(truth)
        else np.nan
    )


def log_loss(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Mean of -log(predicted probability of the actual outcome)."""
    if not len(truth):
        return np.nan
    clipped = np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    return float(sk.log_loss(truth, clipped, sample_weight=weight, labels=[0, 1]))


def brier(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Brier score: mean squared difference between probability and outcome."""
    return (
        float(np.average((np.asarray(probability) - np.asarray(truth)) ** 2, weights=weight)) if len(truth) else np.nan
    )


def mean_observed(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Share of rows that have the outcome."""
    return float(np.average(truth, weights=weight)) if len(truth) else np.nan


def mean_predicted(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Mean predicted probability, for comparison with `mean_observed`."""
    return float(np.average(probability, weights=weight)) if len(truth) else np.nan


def calibration_slope(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Calibration slope (Cox 1958): 1 is ideal, below 1 predictions are too extreme, above 1 not extreme enough.

    It is the coefficient of the predicted log-odds in a logistic regression of the outcome. NaN where all probabilities
    are equal, or the log-odds separate the outcomes perfectly.
    """
    log_odds = _log_odds(probability)
    sd = float(log_odds.std()) if len(log_odds) else 0.0
    if not _has_both_outcomes(truth) or sd < TOLERANCE:
        return np.nan
    columns = np.column_stack([(log_odds - log_odds.mean()) / sd, np.ones_like(log_odds)])
    return float(_fit_logistic(columns, truth, weight, np.zeros_like(log_odds))[0] / sd)


def calibration_intercept(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Calibration intercept: constant to add to the log-odds so that their level is right; 0 is ideal."""
    if not _has_both_outcomes(truth):
        return np.nan
    log_odds = _log_odds(probability)
    return float(_fit_logistic(np.ones((len(log_odds), 1)), truth, weight, log_odds)[0])


def _log_odds(probability: Numbers) -> npt.NDArray[np.float64]:
    return np.asarray(logit(np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)))


def _fit_logistic(
    columns: npt.NDArray[np.float64], truth: Numbers, weight: Numbers | None, offset: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Coefficients of a logistic regression of the truth on `columns` plus an offset; NaN without convergence."""
    outcomes, coefficients = np.asarray(truth, np.float64), np.zeros(columns.shape[1])
    weights = np.ones(len(outcomes)) if weight is None else np.asarray(weight, np.float64)
    for _ in range(100):
        fitted = expit(columns @ coefficients + offset)
        hessian = (columns * (weights * fitted * (1 - fitted))[:, None]).T @ columns
        step = np.clip(np.linalg.lstsq(hessian, columns.T @ (weights * (outcomes - fitted)), rcond=None)[0], -2, 2)
        coefficients = coefficients + step
        if np.abs(step).max() < TOLERANCE:
            return coefficients
    return np.full(columns.shape[1], np.nan)


def calibration_curve(
    truth: Numbers, probability: Numbers, weight: Numbers | None = None, count: int = BINS
) -> pd.DataFrame:
    """Mean predicted probability and observed share by bin of probability; one row per bin of about equal weight."""
    rows = pd.DataFrame({"truth": np.asarray(truth, np.float64), "probability": np.asarray(probability, np.float64)})
    rows["weight"] = 1.0 if weight is None else np.asarray(weight, np.float64)
    rows["bin"] = _bin_codes(rows["probability"].to_numpy(), rows["weight"].to_numpy(), count)
    rows["weighted_truth"], rows["weighted_probability"] = (
        rows["truth"] * rows["weight"],
        rows["probability"] * rows["weight"],
    )
    summed = rows.groupby("bin")[["weight", "weighted_probability", "weighted_truth"]].sum()
    return pd.DataFrame(
        {
            "mean_predicted": summed["weighted_probability"] / summed["weight"],
            "mean_observed": summed["weighted_truth"] / summed["weight"],
            "weight": summed["weight"],
        }
    )


def _bin_codes(
    probability: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.int64]:
    """Bin number of each row; bin 0 has the lowest probabilities."""
    order = np.argsort(probability, kind="stable")
    sorted_weight = weight[order]
    before = np.cumsum(sorted_weight) - sorted_weight / 2
    codes = np.empty(len(order), np.int64)
    codes[order] = np.minimum((before / sorted_weight.sum() * count).astype(np.int64), count - 1)
    return codes


def calibration_error(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """Expected calibration error: mean distance between predicted and observed share over ten bins.

    It is above 0 even for perfect probabilities (see `calibration_error_by_chance`).
    """
    if not len(truth):
        return np.nan
    table = calibration_curve(truth, probability, weight)
    return float(np.average((table["mean_predicted"] - table["mean_observed"]).abs(), weights=table["weight"]))


def calibration_error_by_chance(
    probability: Numbers, weight: Numbers | None = None, rounds: int = 100, seed: int = 0
) -> float:
    """Mean calibration error of perfectly calibrated probabilities on as many rows, by simulation.

    Bins do not depend on the outcomes, so rows are assigned to bins only once.
    """
    probabilities = np.asarray(probability, np.float64)
    weights = np.ones(len(probabilities)) if weight is None else np.asarray(weight, np.float64)
    if not len(probabilities):
        return np.nan
    codes = _bin_codes(probabilities, weights, BINS)
    bin_weights = np.eye(BINS)[codes] * weights[:, None]
    weight_per_bin = bin_weights.sum(axis=0)
    drawn = np.random.default_rng(seed).random((rounds, len(probabilities))) < probabilities
    gaps = np.abs((drawn - probabilities) @ bin_weights)[:, weight_per_bin > 0]
    return float((gaps.sum(axis=1) / weight_per_bin.sum()).mean())


def recall_at(truth: Numbers, probability: Numbers, weight: Numbers | None = None, top_share: float = 0.1) -> float:
    """Share of all positive rows that are among the `top_share` of rows with the highest probability."""
    top, outcomes, weights = _top_rows(truth, probability, weight, top_share)
    return float((weights * outcomes)[top].sum() / (weights @ outcomes)) if outcomes.any() else np.nan


def lift(truth: Numbers, probability: Numbers, weight: Numbers | None = None, top_share: float = 0.1) -> float:
    """Lift: rate of the outcome in the `top_share` of rows with the highest probability, over the rate of all rows."""
    top, outcomes, weights = _top_rows(truth, probability, weight, top_share)
    return (
        float(np.average(outcomes[top], weights=weights[top]) / np.average(outcomes, weights=weights))
        if outcomes.any()
        else np.nan
    )


def _top_rows(
    truth: Numbers, probability: Numbers, weight: Numbers | None, top_share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    outcomes = np.asarray(truth, np.float64)
    weights = np.ones(len(outcomes)) if weight is None else np.asarray(weight, np.float64)
    order = np.argsort(-np.asarray(probability, np.float64), kind="stable")
    reached = np.cumsum(weights[order]) - weights[order]
    return order[reached < top_share * weights.sum()], outcomes, weights


def days_to_decision(rows: pd.DataFrame) -> pd.Series:
    """Lead time of each row: days until the renewal is decided (R12), until it is due where that is not known."""
    return rows.get("days_to_decision", rows["days_to_renewal"])


def is_undecided(rows: pd.DataFrame) -> pd.Series:
    """True for the rows whose outcome takes foresight: no follow-on was signed and no notice given (R12)."""
    decided = rows["renewal_signed"].astype(bool)
    return ~(decided | rows["notice_given"].astype(bool)) if "notice_given" in rows else ~decided


def select_at_lead(predictions: pd.DataFrame, days: int) -> pd.DataFrame:
    """Select the observation nearest to `days` before the decision on the renewal, within `LEAD_TOLERANCE_DAYS`.

    Returns one row per renewal that has such an observation. Of two equally near the earlier is taken, because it had
    less information.
    """
    distance = (days_to_decision(predictions) - days).abs()
    near = predictions.assign(_off=distance)[distance <= LEAD_TOLERANCE_DAYS].sort_values(
        ["_off", "as_of"], ascending=[True, True], kind="stable"
    )
    return near.drop_duplicates("renewal_id").drop(columns="_off").sort_index()


@dataclass(frozen=True)
class Resampling:
    """Settings of the cluster bootstrap: accounts, not rows, are drawn with replacement."""

    resamples: int = 400
    confidence: float = 0.9
    seed: int = 0

    def draw(self, accounts: pd.Series) -> npt.NDArray[np.float64]:
        """Draw bootstrap weights: how often each row is drawn; resamples × rows."""
        codes, distinct = pd.factorize(accounts)
        rng = np.random.default_rng(self.seed)
        drawn = rng.multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), size=self.resamples)
        return drawn[:, codes].astype(np.float64)

    def interval(self, values: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Percentile interval of resampled values: the central range with `confidence` of the finite ones."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return np.nan, np.nan
        low, high = np.quantile(finite, [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return float(low), float(high)


def clustered_interval(
    metric: Metric,
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """Bootstrap interval (low, high) of a metric, resampled by account."""
    outcomes, chance = np.asarray(truth), np.asarray(probability)
    weights = np.ones(len(outcomes)) if weight is None else np.asarray(weight, np.float64)
    values = []
    for drawn in resampling.draw(accounts):
        is_drawn = drawn > 0
        values.append(metric(outcomes[is_drawn], chance[is_drawn], (drawn * weights)[is_drawn]))
    return resampling.interval(np.array(values))


def auc_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """Bootstrap interval of `auc`: the same as `clustered_interval`, vectorized over resamples."""
    row_weights = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    return resampling.interval(_weighted_aucs(truth, probability, resampling.draw(accounts) * row_weights))


def _weighted_aucs(truth: Numbers, probability: Numbers, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """AUC under each row of `weights`; the data are sorted only once.

    It is the weight of the pairs in which the positive row ranks higher, ties counting a half, over the weight of all
    pairs (Mann and Whitney 1947).
    """
    if not _has_both_outcomes(truth):
        return np.full(len(weights), np.nan)
    order = np.argsort(np.asarray(probability), kind="stable")
    has_outcome, chance = np.asarray(truth)[order] == 1, np.asarray(probability)[order]
    tie_starts = np.flatnonzero(np.append(True, np.diff(chance) != 0))
    positives = np.add.reduceat(np.where(has_outcome, weights[:, order], 0.0), tie_starts, axis=1)
    negatives = np.add.reduceat(np.where(has_outcome, 0.0, weights[:, order]), tie_starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    ordered_pairs = (positives * below).sum(axis=1)
    return np.divide(ordered_pairs, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def calibration_slope_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """Bootstrap interval of `calibration_slope`: the same as `clustered_interval`, vectorized over resamples.

    Each fit starts from the solution of all rows and needs few steps; resamples that do not converge are fitted one by
    one.
    """
    log_odds = _log_odds(probability)
    sd = float(log_odds.std()) if len(log_odds) else 0.0
    if not _has_both_outcomes(truth) or sd < TOLERANCE:
        return np.nan, np.nan
    row_weights = np.ones(len(log_odds)) if weight is None else np.asarray(weight, np.float64)
    scores, outcomes, chance = (log_odds - log_odds.mean()) / sd, np.asarray(truth, np.float64), np.asarray(probability)
    start = np.nan_to_num(
        _fit_logistic(np.column_stack([scores, np.ones_like(scores)]), truth, row_weights, np.zeros_like(scores))
    )
    drawn = resampling.draw(accounts)
    slopes = (
        np.concatenate(
            [_weighted_slopes(scores, outcomes, chunk * row_weights, start) for chunk in _split_chunks(drawn)]
        )
        / sd
    )
    for failed in np.flatnonzero(np.isnan(slopes)):
        is_drawn = drawn[failed] > 0
        slopes[failed] = calibration_slope(
            outcomes[is_drawn], chance[is_drawn], (drawn[failed] * row_weights)[is_drawn]
        )
    return resampling.interval(slopes)


def _split_chunks(weights: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Split the resamples into chunks of about `CHUNK_SIZE` elements, which stay in the processor's cache."""
    return np.array_split(weights, max(1, weights.size // CHUNK_SIZE))


def _weighted_slopes(
    scores: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    start_weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Slope of a logistic regression under each row of `weights`, by Newton's method; NaN without convergence."""
    coefficients, is_regular = np.tile(start_weights, (len(weights), 1)), np.ones(len(weights), bool)
    powers = np.column_stack([scores**2, scores, np.ones_like(scores)])
    for _ in range(MAX_NEWTON_STEPS):
        fitted = expit(coefficients[:, :1] * scores + coefficients[:, 1:])
        gradient = (weights * (truth - fitted)) @ powers[:, 1:]
        square, cross, level = ((weights * (fitted * (1 - fitted))) @ powers).T
        determinant = square * level - cross**2
        is_regular &= determinant > TOLERANCE * square * level
        determinant = np.where(is_regular, determinant, 1.0)
        slope_step = (level * gradient[:, 0] - cross * gradient[:, 1]) / determinant
        intercept_step = (square * gradient[:, 1] - cross * gradient[:, 0]) / determinant
        step = np.where(is_regular[:, None], np.clip(np.column_stack([slope_step, intercept_step]), -2, 2), 0.0)
        coefficients += step
        if np.abs(step).max() < TOLERANCE:
            return np.where(is_regular, coefficients[:, 0], np.nan)
    return np.where(is_regular & (np.abs(step).max(axis=1) < TOLERANCE), coefficients[:, 0], np.nan)


def log_loss_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """Bootstrap interval of `log_loss`: the same as `clustered_interval`, vectorized over resamples."""
    _, low, high = _weighted_mean(log_loss_per_row(truth, probability), accounts, resampling, weight)
    return low, high


def log_loss_per_row(truth: Numbers, probability: Numbers) -> npt.NDArray[np.float64]:
    """Log loss of each row: -log(predicted probability of the actual outcome)."""
    chance = np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    return -np.log(np.where(np.asarray(truth) == 1, chance, 1 - chance))


def log_loss_gain(
    truth: Numbers,
    probability: Numbers,
    baseline: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """Reduction of the log loss against a baseline on the same rows, with its interval: (mean, low, high)."""
    return _weighted_mean(
        log_loss_per_row(truth, baseline) - log_loss_per_row(truth, probability), accounts, resampling, weight
    )


def auc_gain(
    truth: Numbers,
    probability: Numbers,
    baseline: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """Increase of the AUC over a baseline on the same rows, with its interval: (difference, low, high)."""
    row_weights = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    drawn = resampling.draw(accounts) * row_weights
    low, high = resampling.interval(_weighted_aucs(truth, probability, drawn) - _weighted_aucs(truth, baseline, drawn))
    return auc(truth, probability, weight) - auc(truth, baseline, weight), low, high


def bias(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """Mean of predicted probability minus outcome, with its bootstrap interval: (mean, low, high)."""
    return _weighted_mean(np.asarray(probability, np.float64) - np.asarray(truth), accounts, resampling, weight)


def _weighted_mean(
    values: npt.NDArray[np.float64], accounts: pd.Series, resampling: Resampling, weight: Numbers | None
) -> tuple[float, float, float]:
    """Weighted mean of one value per row, with its bootstrap interval: (mean, low, high)."""
    row_weights = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    drawn = resampling.draw(accounts) * row_weights
    low, high = resampling.interval((drawn @ values) / drawn.sum(axis=1))
    return float(np.average(values, weights=row_weights)), low, high
