"""How good predictions are: flat functions (truth, probability, weight) -> float; NaN where there is no answer."""

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
"""Days before the renewal at which a model is judged."""
LEAD_TOLERANCE_DAYS = 16
"""An observation stands for a lead if it is at most so many days off: with month starts there always is one."""
EPSILON = 1e-6
BINS = 10
TOLERANCE = 1e-9
"""Less than this is nothing: of a spread, of a step, of what tells two columns apart."""
MAX_NEWTON_STEPS = 30
CHUNK_SIZE = 2**16
"""Numbers worked on at a time."""


def _has_both_outcomes(truth: Numbers) -> bool:
    return len(np.unique(np.asarray(truth))) == 2


def auc(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The chance that a row with the outcome ranks above one without."""
    return float(sk.roc_auc_score(truth, probability, sample_weight=weight)) if _has_both_outcomes(truth) else np.nan


def average_precision(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The area under precision over recall."""
    return (
        float(sk.average_precision_score(truth, probability, sample_weight=weight))
        if _has_both_outcomes(truth)
        else np.nan
    )


def log_loss(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean of -log(probability given to what happened)."""
    if not len(truth):
        return np.nan
    clipped = np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    return float(sk.log_loss(truth, clipped, sample_weight=weight, labels=[0, 1]))


def brier(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean squared distance of the probability from the outcome."""
    return (
        float(np.average((np.asarray(probability) - np.asarray(truth)) ** 2, weights=weight)) if len(truth) else np.nan
    )


def mean_observed(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The share with the outcome."""
    return float(np.average(truth, weights=weight)) if len(truth) else np.nan


def mean_predicted(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean probability: to be compared with `mean_observed`."""
    return float(np.average(probability, weights=weight)) if len(truth) else np.nan


def calibration_slope(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """1 if log-odds are as far apart as they should be, below if too far, above if too near (Cox 1958).

    NaN where every probability is the same, or the log-odds part the outcomes without a fault.
    """
    odds = _log_odds(probability)
    spread = float(odds.std()) if len(odds) else 0.0
    if not _has_both_outcomes(truth) or spread < TOLERANCE:
        return np.nan
    columns = np.column_stack([(odds - odds.mean()) / spread, np.ones_like(odds)])
    return float(_fit_logistic(columns, truth, weight, np.zeros_like(odds))[0] / spread)


def calibration_intercept(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """What would have to be added to the log-odds for the level to be right: 0 if it is."""
    if not _has_both_outcomes(truth):
        return np.nan
    odds = _log_odds(probability)
    return float(_fit_logistic(np.ones((len(odds), 1)), truth, weight, odds)[0])


def _log_odds(probability: Numbers) -> npt.NDArray[np.float64]:
    return np.asarray(logit(np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)))


def _fit_logistic(
    columns: npt.NDArray[np.float64], truth: Numbers, weight: Numbers | None, offset: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The weights of a logistic regression of the truth on columns beside an offset; NaN where there are none."""
    seen, found = np.asarray(truth, np.float64), np.zeros(columns.shape[1])
    mass = np.ones(len(seen)) if weight is None else np.asarray(weight, np.float64)
    for _ in range(100):
        now = expit(columns @ found + offset)
        curves = (columns * (mass * now * (1 - now))[:, None]).T @ columns
        step = np.clip(np.linalg.lstsq(curves, columns.T @ (mass * (seen - now)), rcond=None)[0], -2, 2)
        found = found + step
        if np.abs(step).max() < TOLERANCE:
            return found
    return np.full(columns.shape[1], np.nan)


def calibration_curve(
    truth: Numbers, probability: Numbers, weight: Numbers | None = None, count: int = BINS
) -> pd.DataFrame:
    """Probability promised and share seen; one row per bin, the bins of about equal weight."""
    rows = pd.DataFrame({"truth": np.asarray(truth, np.float64), "probability": np.asarray(probability, np.float64)})
    rows["weight"] = 1.0 if weight is None else np.asarray(weight, np.float64)
    rows["bin"] = _bin_codes(rows["probability"].to_numpy(), rows["weight"].to_numpy(), count)
    rows["hits"], rows["promises"] = rows["truth"] * rows["weight"], rows["probability"] * rows["weight"]
    summed = rows.groupby("bin")[["weight", "promises", "hits"]].sum()
    return pd.DataFrame(
        {
            "mean_predicted": summed["promises"] / summed["weight"],
            "mean_observed": summed["hits"] / summed["weight"],
            "weight": summed["weight"],
        }
    )


def _bin_codes(
    probability: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.int64]:
    """The bin of each row, from the least probable on."""
    order = np.argsort(probability, kind="stable")
    mass = weight[order]
    before = np.cumsum(mass) - mass / 2
    codes = np.empty(len(order), np.int64)
    codes[order] = np.minimum((before / mass.sum() * count).astype(np.int64), count - 1)
    return codes


def calibration_error(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean distance between promised and seen over ten bins; above 0 by chance alone (see
    `calibration_error_by_chance`)."""
    if not len(truth):
        return np.nan
    table = calibration_curve(truth, probability, weight)
    return float(np.average((table["mean_predicted"] - table["mean_observed"]).abs(), weights=table["weight"]))


def calibration_error_by_chance(
    probability: Numbers, weight: Numbers | None = None, rounds: int = 100, seed: int = 0
) -> float:
    """The calibration error that perfect probabilities would show on so few rows.

    Bins do not hang on the outcomes, so the rows are put into them but once.
    """
    chances = np.asarray(probability, np.float64)
    mass = np.ones(len(chances)) if weight is None else np.asarray(weight, np.float64)
    if not len(chances):
        return np.nan
    codes = _bin_codes(chances, mass, BINS)
    inside = np.eye(BINS)[codes] * mass[:, None]
    heavy = inside.sum(axis=0)
    drawn = np.random.default_rng(seed).random((rounds, len(chances))) < chances
    off = np.abs((drawn - chances) @ inside)[:, heavy > 0]
    return float((off.sum(axis=1) / heavy.sum()).mean())


def recall_at(truth: Numbers, probability: Numbers, weight: Numbers | None = None, top_share: float = 0.1) -> float:
    """The share of all outcomes found among the top `top_share` of rows."""
    top, hit, mass = _top_rows(truth, probability, weight, top_share)
    return float((mass * hit)[top].sum() / (mass @ hit)) if hit.any() else np.nan


def lift(truth: Numbers, probability: Numbers, weight: Numbers | None = None, top_share: float = 0.1) -> float:
    """How much likelier the outcome is among the top `top_share` of rows than among all."""
    top, hit, mass = _top_rows(truth, probability, weight, top_share)
    return float(np.average(hit[top], weights=mass[top]) / np.average(hit, weights=mass)) if hit.any() else np.nan


def _top_rows(
    truth: Numbers, probability: Numbers, weight: Numbers | None, top_share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    hit = np.asarray(truth, np.float64)
    mass = np.ones(len(hit)) if weight is None else np.asarray(weight, np.float64)
    order = np.argsort(-np.asarray(probability, np.float64), kind="stable")
    reached = np.cumsum(mass[order]) - mass[order]
    return order[reached < top_share * mass.sum()], hit, mass


def select_at_lead(predictions: pd.DataFrame, days: int) -> pd.DataFrame:
    """The observation nearest to `days` before the renewal, at most `LEAD_TOLERANCE_DAYS` off; one row per renewal that
    has one.

    Of two equally near, the earlier: it knew less.
    """
    off = (predictions["days_to_renewal"] - days).abs()
    near = predictions.assign(_off=off)[off <= LEAD_TOLERANCE_DAYS].sort_values(
        ["_off", "as_of"], ascending=[True, True], kind="stable"
    )
    return near.drop_duplicates(["account_id", "renewal_date"]).drop(columns="_off").sort_index()


@dataclass(frozen=True)
class Resampling:
    """How intervals are resampled: accounts, not rows, are drawn with replacement (the cluster bootstrap)."""

    resamples: int = 400
    confidence: float = 0.9
    seed: int = 0

    def draw(self, accounts: pd.Series) -> npt.NDArray[np.float64]:
        """How often each row is drawn; resamples × rows."""
        codes, known = pd.factorize(accounts)
        dice = np.random.default_rng(self.seed)
        drawn = dice.multinomial(len(known), np.full(len(known), 1 / len(known)), size=self.resamples)
        return drawn[:, codes].astype(np.float64)

    def interval(self, values: npt.NDArray[np.float64]) -> tuple[float, float]:
        """The percentile interval of resampled values: the middle part that holds `confidence` of the finite ones."""
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
    """Where a metric lies when accounts are drawn anew: an account's rows come and go together."""
    hit, chance = np.asarray(truth), np.asarray(probability)
    mass = np.ones(len(hit)) if weight is None else np.asarray(weight, np.float64)
    found = []
    for drawn in resampling.draw(accounts):
        kept = drawn > 0
        found.append(metric(hit[kept], chance[kept], (drawn * mass)[kept]))
    return resampling.interval(np.array(found))


def auc_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """`clustered_interval` of `auc`, for all resamples at once."""
    mass = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    return resampling.interval(_weighted_aucs(truth, probability, resampling.draw(accounts) * mass))


def _weighted_aucs(truth: Numbers, probability: Numbers, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The AUC under each row of weights; the rows are sorted but a single time.

    It is the weight of the pairs in which the row with the outcome stands above, ties for a half, over the weight of
    all pairs (Mann and Whitney 1947).
    """
    if not _has_both_outcomes(truth):
        return np.full(len(weights), np.nan)
    order = np.argsort(np.asarray(probability), kind="stable")
    hit, chance = np.asarray(truth)[order] == 1, np.asarray(probability)[order]
    begins = np.flatnonzero(np.append(True, np.diff(chance) != 0))
    with_it = np.add.reduceat(np.where(hit, weights[:, order], 0.0), begins, axis=1)
    without = np.add.reduceat(np.where(hit, 0.0, weights[:, order]), begins, axis=1)
    below = np.cumsum(without, axis=1) - without / 2
    pairs = with_it.sum(axis=1) * without.sum(axis=1)
    found = (with_it * below).sum(axis=1)
    return np.divide(found, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def calibration_slope_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """`clustered_interval` of `calibration_slope`, for many resamples at once.

    Each starts from the answer of all rows, so a few steps do; one that does not settle is worked out by itself.
    """
    odds = _log_odds(probability)
    spread = float(odds.std()) if len(odds) else 0.0
    if not _has_both_outcomes(truth) or spread < TOLERANCE:
        return np.nan, np.nan
    mass = np.ones(len(odds)) if weight is None else np.asarray(weight, np.float64)
    place, hit, chance = (odds - odds.mean()) / spread, np.asarray(truth, np.float64), np.asarray(probability)
    start = np.nan_to_num(
        _fit_logistic(np.column_stack([place, np.ones_like(place)]), truth, mass, np.zeros_like(place))
    )
    drawn = resampling.draw(accounts)
    found = np.concatenate([_weighted_slopes(place, hit, own * mass, start) for own in _split_chunks(drawn)]) / spread
    for lost in np.flatnonzero(np.isnan(found)):
        kept = drawn[lost] > 0
        found[lost] = calibration_slope(hit[kept], chance[kept], (drawn[lost] * mass)[kept])
    return resampling.interval(found)


def _split_chunks(weights: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """So many resamples at a time that what is worked out of them stays in the cache."""
    return np.array_split(weights, max(1, weights.size // CHUNK_SIZE))


def _weighted_slopes(
    scores: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    start_weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Newton's way to the slope of a logistic regression under each row of weights; NaN where it does not settle."""
    at, sound = np.tile(start_weights, (len(weights), 1)), np.ones(len(weights), bool)
    powers = np.column_stack([scores**2, scores, np.ones_like(scores)])
    for _ in range(MAX_NEWTON_STEPS):
        now = expit(at[:, :1] * scores + at[:, 1:])
        fall = (weights * (truth - now)) @ powers[:, 1:]
        square, cross, level = ((weights * (now * (1 - now))) @ powers).T
        told = square * level - cross**2
        sound &= told > TOLERANCE * square * level
        told = np.where(sound, told, 1.0)
        steep = (level * fall[:, 0] - cross * fall[:, 1]) / told
        raised = (square * fall[:, 1] - cross * fall[:, 0]) / told
        step = np.where(sound[:, None], np.clip(np.column_stack([steep, raised]), -2, 2), 0.0)
        at += step
        if np.abs(step).max() < TOLERANCE:
            return np.where(sound, at[:, 0], np.nan)
    return np.where(sound & (np.abs(step).max(axis=1) < TOLERANCE), at[:, 0], np.nan)


def log_loss_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """`clustered_interval` of `log_loss`, for all resamples at once."""
    _, low, high = _weighted_mean(log_loss_per_row(truth, probability), accounts, resampling, weight)
    return low, high


def log_loss_per_row(truth: Numbers, probability: Numbers) -> npt.NDArray[np.float64]:
    """-log(probability given to what happened); one number per row."""
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
    """How much lower the log loss is than another's on the same rows, with its interval: (mean, low, high)."""
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
    """How much higher the AUC is than another's on the same rows, with its interval: (difference, low, high)."""
    mass = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    drawn = resampling.draw(accounts) * mass
    low, high = resampling.interval(_weighted_aucs(truth, probability, drawn) - _weighted_aucs(truth, baseline, drawn))
    return auc(truth, probability, weight) - auc(truth, baseline, weight), low, high


def bias(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """How much more was promised than seen, on the mean, with its interval: (mean, low, high)."""
    return _weighted_mean(np.asarray(probability, np.float64) - np.asarray(truth), accounts, resampling, weight)


def _weighted_mean(
    values: npt.NDArray[np.float64], accounts: pd.Series, resampling: Resampling, weight: Numbers | None
) -> tuple[float, float, float]:
    """The weighted mean of a number per row, with its interval: (mean, low, high)."""
    mass = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    drawn = resampling.draw(accounts) * mass
    low, high = resampling.interval((drawn @ values) / drawn.sum(axis=1))
    return float(np.average(values, weights=mass)), low, high
