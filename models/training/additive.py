"""The linear part of the model: one curve per feature, and their sum is a log-odds.

A feature's value is placed on two curves at once, its rank among the training rows and the value itself within the
usual range. A ridge logistic regression weighs both, and what comes out is folded into one broken line per feature
(`PiecewiseLinear`), centred on the training rows: its height *is* the feature's contribution. Beyond the usual range
the line is flat, so an outlier can move a margin no further than the largest customary value does.

Near the end of a term the same figure means something else: the decision has fallen, and use follows it. So each
feature has a second line that is added in proportion to how near the renewal is, from nothing at `near_term_days` to
all of it on the day itself. It is learned after the first, from the rows near the end alone.

Where a feature is declared risky in one direction, its weights keep that sign: with some hundreds of outcomes and a
hundred columns that say nearly the same, the sign is known better than it can be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from renewals.models.settings import LinearSettings

if TYPE_CHECKING:
    from renewals.models.kernels.piecewise_linear import PiecewiseLinearTable

Floats = npt.NDArray[np.float64]
Bound = tuple[float | None, float | None]

TAIL_SHARE = 0.005
"""The share of rows beyond either end of a line: there it is flat."""
BLOCK_ROWS = 1024
"""Rows that are multiplied together at once."""
NEAR_TERM_SCALE = 3.0
"""How freely the second line may move beside the first: few rows speak for it, and each of them weakly."""


@dataclass(frozen=True)
class PiecewiseLinear:
    """What a number adds to the margin: straight between knots, flat beyond them; NaN adds `missing`."""

    knots: tuple[float, ...]
    values: tuple[float, ...]
    missing: float


@dataclass(frozen=True)
class CategoryEffects:
    """What a category adds to the margin, by its code; NaN (never or seldom seen, or missing) is `missing`."""

    values: tuple[float, ...]
    missing: float


FeatureEffect = PiecewiseLinear | CategoryEffects


@dataclass(frozen=True)
class NearTermEffects:
    """How near the renewal is, and what that adds to each feature's part."""

    lead_index: int
    """The place of the feature that counts the days to the renewal."""
    days: float
    effects: tuple[FeatureEffect, ...]

    def proximity(self, values: Floats) -> Floats:
        """0 far from the renewal, rising to 1 on its day; one number per row."""
        return near_term_proximity(values[:, self.lead_index], self.days)

    @cached_property
    def effect_table(self) -> PiecewiseLinearTable:
        """The parts, ready to be read off."""
        return _build_effect_table(self.effects)


def near_term_proximity(days_to_renewal: Floats, days: float) -> Floats:
    """0 from `days` before the renewal back, rising to 1 on its day; 0 where it is not known."""
    return np.nan_to_num(np.clip(1 - days_to_renewal / days, 0, 1))


@dataclass(frozen=True)
class AdditiveModel:
    """A margin that is a sum: an intercept, and one part per feature in the order of the columns."""

    intercept: float
    effects: tuple[FeatureEffect, ...]
    near_term: NearTermEffects | None
    margin_variance: float = 0.0
    """How far, squared and in log-odds, another company's outcomes would have moved the margin: a mean over rows."""

    def contributions(self, values: Floats, threads: int = 1) -> Floats:
        """What each feature adds; rows × features."""
        heights = np.zeros(values.shape)
        self._effect_table.add(values, np.ones(len(values)), heights, threads)
        if self.near_term is not None:
            self.near_term.effect_table.add(values, self.near_term.proximity(values), heights, threads)
        return heights

    @cached_property
    def _effect_table(self) -> PiecewiseLinearTable:
        return _build_effect_table(self.effects)

    def margin(self, values: Floats, threads: int = 1) -> Floats:
        """The log-odds of each row."""
        return self.margin_from_contributions(self.contributions(values, threads))

    def margin_from_contributions(self, contributions: Floats) -> Floats:
        """The log-odds of each row, from what its features add."""
        return np.asarray(self.intercept + contributions.sum(axis=1))

    def out_of_range_share(self, values: Floats) -> Floats:
        """The share of each row's numbers that lie beyond either end of their line; one number per row."""
        lines = [
            (j, part.knots[0], part.knots[-1])
            for j, part in enumerate(self.effects)
            if isinstance(part, PiecewiseLinear)
        ]
        if not lines:
            return np.zeros(len(values))
        columns, low, high = (np.array(ends) for ends in zip(*lines, strict=True))
        numbers = values[:, columns]
        return np.asarray(((numbers < low) | (numbers > high)).mean(axis=1))

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain values, by feature name."""
        effects = _effects_to_json(self.effects, names)
        tree = {"intercept": self.intercept, "effects": effects, "near_term": None, "uncertainty": self.margin_variance}
        if self.near_term is None:
            return tree
        near = {
            "feature": names[self.near_term.lead_index],
            "days": self.near_term.days,
            "effects": _effects_to_json(self.near_term.effects, names),
        }
        return {**tree, "near_term": near}

    @staticmethod
    def from_json(tree: dict[str, Any], names: Sequence[str]) -> AdditiveModel:
        """The same back. Raises ValueError where a feature has no part."""
        near = tree["near_term"]
        return AdditiveModel(
            tree["intercept"],
            _effects_from_json(tree["effects"], names),
            near
            and NearTermEffects(
                list(names).index(near["feature"]), near["days"], _effects_from_json(near["effects"], names)
            ),
            tree.get("uncertainty", 0.0),
        )


def _build_effect_table(effects: Sequence[FeatureEffect]) -> PiecewiseLinearTable:
    from renewals.models.kernels.piecewise_linear import (
        PiecewiseLinearTable,  # brings the compiler, which what only reads a model can do without
    )

    return PiecewiseLinearTable.of(
        [
            (np.array(p.knots) if isinstance(p, PiecewiseLinear) else None, np.array(p.values, np.float64), p.missing)
            for p in effects
        ]
    )


def _effects_to_json(effects: Sequence[FeatureEffect], names: Sequence[str]) -> dict[str, Any]:
    return dict(zip(names, map(_effect_to_json, effects), strict=True))


def _effects_from_json(tree: dict[str, Any], names: Sequence[str]) -> tuple[FeatureEffect, ...]:
    lost = [name for name in names if name not in tree]
    if lost:
        raise ValueError(f"the additive model has no effect for {', '.join(lost[:5])}")
    return tuple(_effect_from_json(tree[name]) for name in names)


def _effect_to_json(effect: FeatureEffect) -> dict[str, Any]:
    knots = {"knots": list(effect.knots)} if isinstance(effect, PiecewiseLinear) else {}
    return {**knots, "values": list(effect.values), "missing": effect.missing}


def _effect_from_json(tree: dict[str, Any]) -> FeatureEffect:
    if "knots" in tree:
        return PiecewiseLinear(tuple(tree["knots"]), tuple(tree["values"]), tree["missing"])
    return CategoryEffects(tuple(tree["values"]), tree["missing"])


@dataclass(frozen=True)
class _FeatureDesign:
    """The design matrix of one feature, and how weights on it fold into its part."""

    matrix: Floats
    signs: tuple[int, ...]
    knots: Floats | None
    bases: Floats
    """Knots (or categories) × columns: the height of each column there; the last row is for a missing value."""

    def feature_effect(self, weights: Floats) -> FeatureEffect:
        *heights, missing = np.round(self.bases @ weights, 9).tolist()
        return (
            CategoryEffects(tuple(heights), missing)
            if self.knots is None
            else PiecewiseLinear(tuple(self.knots.tolist()), tuple(heights), missing)
        )


class AdditiveFitter:
    """The curves of every feature on the training rows: made once, then fitted at several strengths."""

    def __init__(
        self,
        values: Floats,
        weight: Floats,
        category_counts: Sequence[int | None],
        signs: Sequence[int],
        lead_index: int | None,
        settings: LinearSettings,
        near_weight: Floats | None = None,
    ) -> None:
        """`category_counts` is the number of categories of each column, None for a number; `signs` are +1, -1 or 0
        (free); `lead_index` is the place of the days to the renewal, where they are a feature. Rows near the end weigh
        `near_weight` for the second lines, or as for the first where it is not given."""
        self.weight, self.options = weight, settings
        share = weight / weight.sum()
        self.columns = [
            _numeric_design(values[:, j], share, signs[j], settings)
            if size is None
            else _categorical_design(values[:, j], share, size, settings)
            for j, size in enumerate(category_counts)
        ]
        self.matrix = np.hstack([*(columns.matrix for columns in self.columns), np.ones((len(values), 1))])
        self.lines = self.matrix[:, :-1]
        self.lead = lead_index if settings.near_term_days else None
        close = (
            np.zeros(len(values))
            if self.lead is None
            else near_term_proximity(values[:, self.lead], settings.near_term_days)
        )
        self.rows = np.flatnonzero(close > 0)
        self.near = self.lines[self.rows] * (NEAR_TERM_SCALE * close[self.rows, None])
        self.near_weight = (weight if near_weight is None else near_weight)[self.rows]
        self.bounds = [_sign_bound(sign) for columns in self.columns for sign in columns.signs]
        self.start, self.near_start = np.zeros(len(self.bounds) + 1), np.zeros(len(self.bounds))

    def fit(self, truth: npt.NDArray[np.integer[Any]], inverse_penalty: float) -> AdditiveModel:
        """The ridge logistic regression at one strength; the next fit starts from where this one ended.

        First the lines, then what is added to them near the end: learned together, the many rows of decided accounts
        would move the first lines, which are to hold long before.
        """
        side = np.asarray(2.0 * truth - 1.0, np.float64)
        rows = _LogisticLoss(self.matrix, side, self.weight, np.zeros(len(side)))
        self.start = self._minimize_loss(rows, self.start, [*self.bounds, (None, None)], inverse_penalty)
        near = None
        if self.lead is not None:
            close = _LogisticLoss(self.near, side[self.rows], self.near_weight, self.matrix[self.rows] @ self.start)
            self.near_start = self._minimize_loss(close, self.near_start, self.bounds, inverse_penalty)
            near = NearTermEffects(
                self.lead, self.options.near_term_days, self._feature_effects(self.near_start * NEAR_TERM_SCALE)
            )
        intercept, parts = float(np.round(self.start[-1], 9)), self._feature_effects(self.start[:-1])
        return AdditiveModel(intercept, parts, near, self._margin_variance(inverse_penalty))

    def _minimize_loss(self, rows: _LogisticLoss, start: Floats, bounds: Sequence[Bound], strength: float) -> Floats:
        held = np.arange(len(start)) < len(self.bounds)
        found = minimize(
            rows.loss_and_gradient,
            start,
            args=(held / strength,),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": self.options.max_iterations, "ftol": 1e-7, "gtol": 1e-5, "maxcor": 20},
        )
        return np.asarray(found.x, np.float64)

    def _margin_variance(self, strength: float) -> float:
        """The mean over the training rows of the posterior variance of the last fit's margin, under the ridge prior.

        By Laplace's approximation, far from a renewal; weights that their sign holds at nought are taken as known.
        """
        free = np.flatnonzero(self.start[:-1])
        chance = expit(self.matrix @ self.start)
        curved = _weighted_gram(self.lines, free, self.weight * chance * (1 - chance))
        posterior = np.linalg.inv(curved + np.eye(len(free)) / strength)
        return float(np.round((posterior * self._column_covariance[np.ix_(free, free)]).sum(), 9))

    @cached_property
    def _column_covariance(self) -> Floats:
        """How the columns lie about their centre together; columns × columns."""
        return _weighted_gram(self.lines, np.arange(self.lines.shape[1]), self.weight / self.weight.sum())

    def _feature_effects(self, weights: Floats) -> tuple[FeatureEffect, ...]:
        ends = np.cumsum([columns.matrix.shape[1] for columns in self.columns])[:-1]
        return tuple(
            columns.feature_effect(own) for columns, own in zip(self.columns, np.split(weights, ends), strict=True)
        )


@dataclass(frozen=True)
class _LogisticLoss:
    """What a ridge logistic regression is fitted on."""

    matrix: Floats
    signed_labels: Floats
    """1 for the outcome, -1 without."""
    weight: Floats
    offset: Floats
    """The margin that is there already."""

    def loss_and_gradient(self, at: Floats, penalty: Floats) -> tuple[float, Floats]:
        """The penalised loss at some weights, and where it falls; `penalty` is one number per weight."""
        agreement = self.signed_labels * (self.offset + self.matrix @ at)
        pull = -self.weight * self.signed_labels * expit(-agreement)
        loss = self.weight @ np.logaddexp(0, -agreement) + (penalty * at) @ at / 2
        return float(loss), pull @ self.matrix + penalty * at


def _weighted_gram(matrix: Floats, columns: npt.NDArray[np.intp], weight: Floats) -> Floats:
    """The weighed sum over rows of some columns' products with each other, a block of rows after another.

    A product with itself is half the work of any other, and a block does not leave the processor's cache.
    """
    total = np.zeros((len(columns), len(columns)))
    for start in range(0, len(matrix), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        weighed = matrix[rows].take(columns, axis=1) * np.sqrt(weight[rows, None])
        total += weighed.T @ weighed
    return total


def _sign_bound(sign: int) -> Bound:
    return (0.0, None) if sign > 0 else (None, 0.0) if sign < 0 else (None, None)


def _numeric_design(values: Floats, share: Floats, sign: int, settings: LinearSettings) -> _FeatureDesign:
    known = ~np.isnan(values)
    knots, ranks = _quantile_knots(values[known], settings.knots)
    curves = [ranks, knots] if len(knots) > 2 else [knots]
    made = [
        _standardize(curve, np.interp(values[known], knots, curve), share[known]) for curve in curves if len(curve) > 1
    ]
    matrix = np.zeros((len(values), len(made)))
    for j, (_, column) in enumerate(made):
        matrix[known, j] = column / np.sqrt(len(made))
    bases = np.zeros((len(knots) + 1, len(made)))
    for j, (heights, _) in enumerate(made):
        bases[:-1, j] = heights / np.sqrt(len(made))
    return _add_missing_column(_FeatureDesign(matrix, (sign,) * len(made), knots, bases), ~known, share)


def _quantile_knots(values: Floats, count: int) -> tuple[Floats, Floats]:
    """Distinct quantiles of the values, and the mid-rank of each."""
    if not len(values):
        return np.zeros(1), np.zeros(1)
    ordered = np.sort(values)
    places = np.linspace(TAIL_SHARE, 1 - TAIL_SHARE, count)
    knots = np.unique(np.quantile(ordered, places, method="nearest"))
    low, high = np.searchsorted(ordered, knots, "left"), np.searchsorted(ordered, knots, "right")
    return knots, (low + high) / (2 * len(ordered))


def _standardize(heights: Floats, column: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Heights at the knots and the column, both moved to mean 0 and spread 1 on the training rows."""
    part = share / share.sum()
    mean = part @ column
    spread = np.sqrt(part @ (column - mean) ** 2)
    scale = 1 / spread if spread > 1e-9 * (1 + abs(mean)) else 0.0
    return (heights - mean) * scale, (column - mean) * scale


def _add_missing_column(columns: _FeatureDesign, missing: npt.NDArray[np.bool_], share: Floats) -> _FeatureDesign:
    """A column of its own for missing values, where some are missing and some are not."""
    rate = float(share @ missing)
    if not TAIL_SHARE < rate < 1 - TAIL_SHARE:
        return columns
    spread = np.sqrt(rate * (1 - rate))
    own = (missing - rate) / spread
    base = np.full(len(columns.bases), -rate / spread)
    base[-1] = (1 - rate) / spread
    return _FeatureDesign(
        np.column_stack([columns.matrix, own]),
        (*columns.signs, 0),
        columns.knots,
        np.column_stack([columns.bases, base]),
    )


def _categorical_design(codes: Floats, share: Floats, size: int, settings: LinearSettings) -> _FeatureDesign:
    """One column per category seen often enough; the rest, like a missing value, stay at the centre of nothing."""
    often = [code for code in range(size) if (codes == code).sum() >= settings.min_category_rows]
    if len(often) < 2:
        return _FeatureDesign(np.zeros((len(codes), 0)), (), None, np.zeros((size + 1, 0)))
    hit = codes[:, None] == np.array(often, dtype=np.float64)[None, :]
    rate = share @ hit
    bases = np.tile(-rate, (size + 1, 1))
    bases[often, range(len(often))] += 1
    return _FeatureDesign(hit - rate, (0,) * len(often), None, bases)
