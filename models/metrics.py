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

LEADS = (30, 60, 90, 120, 180)
"""Days before the renewal at which a model is judged."""
NEAR = 16
"""An observation stands for a lead if it is at most so many days off: with month starts there always is one."""
EDGE = 1e-6
BINS = 10
FLAT = 1e-9
"""Less than this is nothing: of a spread, of a step, of what tells two columns apart."""
SETTLED_BY = 30
CACHED = 2**16
"""Numbers worked on at a time."""


def _both(truth: Numbers) -> bool:
    return len(np.unique(np.asarray(truth))) == 2


def auc(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The chance that a row with the outcome ranks above one without."""
    return float(sk.roc_auc_score(truth, probability, sample_weight=weight)) if _both(truth) else np.nan


def average_precision(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The area under precision over recall."""
    return float(sk.average_precision_score(truth, probability, sample_weight=weight)) if _both(truth) else np.nan


def log_loss(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean of -log(probability given to what happened)."""
    if not len(truth):
        return np.nan
    clipped = np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)
    return float(sk.log_loss(truth, clipped, sample_weight=weight, labels=[0, 1]))


def brier(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean squared distance of the probability from the outcome."""
    return (
        float(np.average((np.asarray(probability) - np.asarray(truth)) ** 2, weights=weight)) if len(truth) else np.nan
    )


def rate(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The share with the outcome."""
    return float(np.average(truth, weights=weight)) if len(truth) else np.nan


def promised(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean probability: to be compared with `rate`."""
    return float(np.average(probability, weights=weight)) if len(truth) else np.nan


def calibration_slope(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """1 if log-odds are as far apart as they should be, below if too far, above if too near (Cox 1958).

    NaN where every probability is the same, or the log-odds part the outcomes without a fault.
    """
    odds = _log_odds(probability)
    spread = float(odds.std()) if len(odds) else 0.0
    if not _both(truth) or spread < FLAT:
        return np.nan
    columns = np.column_stack([(odds - odds.mean()) / spread, np.ones_like(odds)])
    return float(_newton(columns, truth, weight, np.zeros_like(odds))[0] / spread)


def calibration_intercept(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """What would have to be added to the log-odds for the level to be right: 0 if it is."""
    if not _both(truth):
        return np.nan
    odds = _log_odds(probability)
    return float(_newton(np.ones((len(odds), 1)), truth, weight, odds)[0])


def _log_odds(probability: Numbers) -> npt.NDArray[np.float64]:
    return np.asarray(logit(np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)))


def _newton(
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
        if np.abs(step).max() < FLAT:
            return found
    return np.full(columns.shape[1], np.nan)


def bins(truth: Numbers, probability: Numbers, weight: Numbers | None = None, count: int = BINS) -> pd.DataFrame:
    """Probability promised and share seen; one row per bin, the bins of about equal weight."""
    rows = pd.DataFrame({"truth": np.asarray(truth, np.float64), "probability": np.asarray(probability, np.float64)})
    rows["weight"] = 1.0 if weight is None else np.asarray(weight, np.float64)
    rows["bin"] = _bin(rows["probability"].to_numpy(), rows["weight"].to_numpy(), count)
    rows["hits"], rows["promises"] = rows["truth"] * rows["weight"], rows["probability"] * rows["weight"]
    summed = rows.groupby("bin")[["weight", "promises", "hits"]].sum()
    return pd.DataFrame(
        {
            "promised": summed["promises"] / summed["weight"],
            "seen": summed["hits"] / summed["weight"],
            "weight": summed["weight"],
        }
    )


def _bin(probability: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """The bin of each row, from the least probable on."""
    order = np.argsort(probability, kind="stable")
    mass = weight[order]
    before = np.cumsum(mass) - mass / 2
    codes = np.empty(len(order), np.int64)
    codes[order] = np.minimum((before / mass.sum() * count).astype(np.int64), count - 1)
    return codes


def calibration_error(truth: Numbers, probability: Numbers, weight: Numbers | None = None) -> float:
    """The mean distance between promised and seen over ten bins; above 0 by chance alone (see `chance_error`)."""
    if not len(truth):
        return np.nan
    table = bins(truth, probability, weight)
    return float(np.average((table["promised"] - table["seen"]).abs(), weights=table["weight"]))


def chance_error(probability: Numbers, weight: Numbers | None = None, rounds: int = 100, seed: int = 0) -> float:
    """The calibration error that perfect probabilities would show on so few rows.

    Bins do not hang on the outcomes, so the rows are put into them but once.
    """
    chances = np.asarray(probability, np.float64)
    mass = np.ones(len(chances)) if weight is None else np.asarray(weight, np.float64)
    if not len(chances):
        return np.nan
    codes = _bin(chances, mass, BINS)
    inside = np.eye(BINS)[codes] * mass[:, None]
    heavy = inside.sum(axis=0)
    drawn = np.random.default_rng(seed).random((rounds, len(chances))) < chances
    off = np.abs((drawn - chances) @ inside)[:, heavy > 0]
    return float((off.sum(axis=1) / heavy.sum()).mean())


def recall_at(truth: Numbers, probability: Numbers, weight: Numbers | None = None, share: float = 0.1) -> float:
    """The share of all outcomes found among the top `share` of rows."""
    top, hit, mass = _top(truth, probability, weight, share)
    return float((mass * hit)[top].sum() / (mass @ hit)) if hit.any() else np.nan


def lift(truth: Numbers, probability: Numbers, weight: Numbers | None = None, share: float = 0.1) -> float:
    """How much likelier the outcome is among the top `share` of rows than among all."""
    top, hit, mass = _top(truth, probability, weight, share)
    return float(np.average(hit[top], weights=mass[top]) / np.average(hit, weights=mass)) if hit.any() else np.nan


def _top(
    truth: Numbers, probability: Numbers, weight: Numbers | None, share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    hit = np.asarray(truth, np.float64)
    mass = np.ones(len(hit)) if weight is None else np.asarray(weight, np.float64)
    order = np.argsort(-np.asarray(probability, np.float64), kind="stable")
    reached = np.cumsum(mass[order]) - mass[order]
    return order[reached < share * mass.sum()], hit, mass


def at_lead(observed: pd.DataFrame, days: int) -> pd.DataFrame:
    """The observation nearest to `days` before the renewal, at most `NEAR` off; one row per renewal that has one.

    Of two equally near, the earlier: it knew less.
    """
    off = (observed["days_to_renewal"] - days).abs()
    near = observed.assign(_off=off)[off <= NEAR].sort_values(["_off", "as_of"], ascending=[True, True], kind="stable")
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
    return resampling.interval(_aucs(truth, probability, resampling.draw(accounts) * mass))


def _aucs(truth: Numbers, probability: Numbers, drawn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The AUC under each row of weights; the rows are sorted but a single time.

    It is the weight of the pairs in which the row with the outcome stands above, ties for a half, over the weight of
    all pairs (Mann and Whitney 1947).
    """
    if not _both(truth):
        return np.full(len(drawn), np.nan)
    order = np.argsort(np.asarray(probability), kind="stable")
    hit, chance = np.asarray(truth)[order] == 1, np.asarray(probability)[order]
    begins = np.flatnonzero(np.append(True, np.diff(chance) != 0))
    with_it = np.add.reduceat(np.where(hit, drawn[:, order], 0.0), begins, axis=1)
    without = np.add.reduceat(np.where(hit, 0.0, drawn[:, order]), begins, axis=1)
    below = np.cumsum(without, axis=1) - without / 2
    pairs = with_it.sum(axis=1) * without.sum(axis=1)
    found = (with_it * below).sum(axis=1)
    return np.divide(found, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0)


def slope_interval(
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
    if not _both(truth) or spread < FLAT:
        return np.nan, np.nan
    mass = np.ones(len(odds)) if weight is None else np.asarray(weight, np.float64)
    place, hit, chance = (odds - odds.mean()) / spread, np.asarray(truth, np.float64), np.asarray(probability)
    start = np.nan_to_num(_newton(np.column_stack([place, np.ones_like(place)]), truth, mass, np.zeros_like(place)))
    drawn = resampling.draw(accounts)
    found = np.concatenate([_slopes(place, hit, own * mass, start) for own in _some(drawn)]) / spread
    for lost in np.flatnonzero(np.isnan(found)):
        kept = drawn[lost] > 0
        found[lost] = calibration_slope(hit[kept], chance[kept], (drawn[lost] * mass)[kept])
    return resampling.interval(found)


def _some(drawn: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """So many resamples at a time that what is worked out of them stays in the cache."""
    return np.array_split(drawn, max(1, drawn.size // CACHED))


def _slopes(
    place: npt.NDArray[np.float64],
    hit: npt.NDArray[np.float64],
    drawn: npt.NDArray[np.float64],
    start: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Newton's way to the slope of a logistic regression under each row of weights; NaN where it does not settle."""
    at, sound = np.tile(start, (len(drawn), 1)), np.ones(len(drawn), bool)
    powers = np.column_stack([place**2, place, np.ones_like(place)])
    for _ in range(SETTLED_BY):
        now = expit(at[:, :1] * place + at[:, 1:])
        fall = (drawn * (hit - now)) @ powers[:, 1:]
        square, cross, level = ((drawn * (now * (1 - now))) @ powers).T
        told = square * level - cross**2
        sound &= told > FLAT * square * level
        told = np.where(sound, told, 1.0)
        steep = (level * fall[:, 0] - cross * fall[:, 1]) / told
        raised = (square * fall[:, 1] - cross * fall[:, 0]) / told
        step = np.where(sound[:, None], np.clip(np.column_stack([steep, raised]), -2, 2), 0.0)
        at += step
        if np.abs(step).max() < FLAT:
            return np.where(sound, at[:, 0], np.nan)
    return np.where(sound & (np.abs(step).max(axis=1) < FLAT), at[:, 0], np.nan)


def loss_interval(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float]:
    """`clustered_interval` of `log_loss`, for all resamples at once."""
    _, low, high = _mean(losses(truth, probability), accounts, resampling, weight)
    return low, high


def losses(truth: Numbers, probability: Numbers) -> npt.NDArray[np.float64]:
    """-log(probability given to what happened); one number per row."""
    chance = np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)
    return -np.log(np.where(np.asarray(truth) == 1, chance, 1 - chance))


def gain(
    truth: Numbers,
    probability: Numbers,
    other: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """How much lower the log loss is than another's on the same rows, with its interval: (mean, low, high)."""
    return _mean(losses(truth, other) - losses(truth, probability), accounts, resampling, weight)


def auc_gain(
    truth: Numbers,
    probability: Numbers,
    other: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """How much higher the AUC is than another's on the same rows, with its interval: (difference, low, high)."""
    mass = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    drawn = resampling.draw(accounts) * mass
    low, high = resampling.interval(_aucs(truth, probability, drawn) - _aucs(truth, other, drawn))
    return auc(truth, probability, weight) - auc(truth, other, weight), low, high


def excess(
    truth: Numbers,
    probability: Numbers,
    accounts: pd.Series,
    resampling: Resampling,
    weight: Numbers | None = None,
) -> tuple[float, float, float]:
    """How much more was promised than seen, on the mean, with its interval: (mean, low, high)."""
    return _mean(np.asarray(probability, np.float64) - np.asarray(truth), accounts, resampling, weight)


def _mean(
    values: npt.NDArray[np.float64], accounts: pd.Series, resampling: Resampling, weight: Numbers | None
) -> tuple[float, float, float]:
    """The weighted mean of a number per row, with its interval: (mean, low, high)."""
    mass = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    drawn = resampling.draw(accounts) * mass
    low, high = resampling.interval((drawn @ values) / drawn.sum(axis=1))
    return float(np.average(values, weights=mass)), low, high
