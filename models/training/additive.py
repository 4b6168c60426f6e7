"""Additive (linear) part of the model: log-odds as an intercept plus one curve per feature.

Each number enters twice: as its rank among the training rows, and as its value clipped to the training range. A ridge
logistic regression weights both, and the result is combined into one piecewise linear function per feature
(`PiecewiseLinear`), centred on the training rows. The value of this function is the feature's contribution. Outside the
training range it is constant, so an outlier changes a margin no more than the largest training value does.

Near the end of a term the same value has another meaning: the customer has decided, and usage follows the decision. So
each feature has a second function (near-term effect), multiplied by the proximity of the renewal: 0 at
`near_term_days`, 1 on the day itself. It is fitted after the first, on the rows near the end only.

If a feature is declared risky in one direction, its weights are constrained to that sign: with some hundreds of
outcomes and a hundred correlated columns, prior knowledge of the sign is more reliable than its estimate.
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
"""Share of training rows beyond each end of a piecewise linear function, where it is constant."""
BLOCK_ROWS = 1024
"""Rows per block of a matrix product."""
NEAR_TERM_SCALE = 3.0
"""Scale of the near-term columns: weakens their ridge penalty, because few rows contribute to them, each weakly."""


@dataclass(frozen=True)
class PiecewiseLinear:
    """Contribution of a numeric feature: linear between the knots, constant beyond them; `missing` for NaN."""

    knots: tuple[float, ...]
    values: tuple[float, ...]
    missing: float


@dataclass(frozen=True)
class CategoryEffects:
    """Contribution of a categorical feature, by category code; `missing` for NaN (a missing or unknown category)."""

    values: tuple[float, ...]
    missing: float


FeatureEffect = PiecewiseLinear | CategoryEffects


@dataclass(frozen=True)
class NearTermEffects:
    """Near-term effects: an additional contribution per feature, multiplied by the proximity of the renewal."""

    lead_index: int
    """Column index of the feature `days_to_renewal`."""
    days: float
    effects: tuple[FeatureEffect, ...]

    def proximity(self, values: Floats) -> Floats:
        """Proximity of the renewal, one number per row: 0 at `days` or more before it, 1 on its day."""
        return near_term_proximity(values[:, self.lead_index], self.days)

    @cached_property
    def effect_table(self) -> PiecewiseLinearTable:
        """Lookup table of the near-term effects."""
        return _build_effect_table(self.effects)


def near_term_proximity(days_to_renewal: Floats, days: float) -> Floats:
    """Proximity of the renewal: 0 at `days` or more before it, rising to 1 on its day; 0 for NaN."""
    return np.nan_to_num(np.clip(1 - days_to_renewal / days, 0, 1))


@dataclass(frozen=True)
class AdditiveModel:
    """Additive model of the margin: an intercept plus one effect per feature, in the order of the columns."""

    intercept: float
    effects: tuple[FeatureEffect, ...]
    near_term: NearTermEffects | None
    margin_variance: float = 0.0
    """Mean posterior variance of the margin over the training rows, in squared log-odds."""

    def contributions(self, values: Floats, threads: int = 1) -> Floats:
        """Contribution of each feature to the margin; rows × features."""
        total = np.zeros(values.shape)
        self._effect_table.add(values, np.ones(len(values)), total, threads)
        if self.near_term is not None:
            self.near_term.effect_table.add(values, self.near_term.proximity(values), total, threads)
        return total

    @cached_property
    def _effect_table(self) -> PiecewiseLinearTable:
        return _build_effect_table(self.effects)

    def margin(self, values: Floats, threads: int = 1) -> Floats:
        """Margin (log-odds) of each row."""
        return self.margin_from_contributions(self.contributions(values, threads))

    def margin_from_contributions(self, contributions: Floats) -> Floats:
        """Margin (log-odds) of each row, from the output of `contributions`."""
        return np.asarray(self.intercept + contributions.sum(axis=1))

    def out_of_range_share(self, values: Floats) -> Floats:
        """Share of a row's numeric features outside the knots of their training range; one number per row."""
        ranges = [
            (j, effect.knots[0], effect.knots[-1])
            for j, effect in enumerate(self.effects)
            if isinstance(effect, PiecewiseLinear)
        ]
        if not ranges:
            return np.zeros(len(values))
        columns, low, high = (np.array(ends) for ends in zip(*ranges, strict=True))
        numbers = values[:, columns]
        return np.asarray(((numbers < low) | (numbers > high)).mean(axis=1))

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Convert to values that JSON can hold, with effects by feature name."""
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
        """Build from the output of `to_json`. Raises ValueError if a feature has no effect."""
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
        PiecewiseLinearTable,  # imported here because it loads numba, which code that only reads models does not need
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
    missing = [name for name in names if name not in tree]
    if missing:
        raise ValueError(f"the additive model has no effect for {', '.join(missing[:5])}")
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
    """Design matrix of one feature, and the basis that converts fitted weights into its effect."""

    matrix: Floats
    signs: tuple[int, ...]
    knots: Floats | None
    bases: Floats
    """Value of each design column at each knot or category; (knots or categories + 1) × columns, last row for NaN."""

    def feature_effect(self, weights: Floats) -> FeatureEffect:
        *heights, missing = np.round(self.bases @ weights, 9).tolist()
        return (
            CategoryEffects(tuple(heights), missing)
            if self.knots is None
            else PiecewiseLinear(tuple(self.knots.tolist()), tuple(heights), missing)
        )


class AdditiveFitter:
    """Fitter of the additive model: builds the design matrix once, then fits it with several ridge penalties."""

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
        """Build the design matrix.

        `category_counts` is the number of categories of each column, None for a number; `signs` are +1, -1 or 0
        (free); `lead_index` is the column of `days_to_renewal`, None if it is no feature; `near_weight` holds the row
        weights for the near-term effects (default: `weight`).
        """
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
        proximity = (
            np.zeros(len(values))
            if self.lead is None
            else near_term_proximity(values[:, self.lead], settings.near_term_days)
        )
        self.rows = np.flatnonzero(proximity > 0)
        self.near = self.lines[self.rows] * (NEAR_TERM_SCALE * proximity[self.rows, None])
        self.near_weight = (weight if near_weight is None else near_weight)[self.rows]
        self.bounds = [_sign_bound(sign) for columns in self.columns for sign in columns.signs]
        self.start, self.near_start = np.zeros(len(self.bounds) + 1), np.zeros(len(self.bounds))

    def fit(self, truth: npt.NDArray[np.integer[Any]], inverse_penalty: float) -> AdditiveModel:
        """Fit the ridge logistic regression with one inverse penalty, starting from the solution of the last call.

        The main effects are fitted first, then the near-term effects. In a joint fit the many rows of accounts that
        have already decided would change the main effects, which must be right long before the renewal.
        """
        signed_label = np.asarray(2.0 * truth - 1.0, np.float64)
        loss = _LogisticLoss(self.matrix, signed_label, self.weight, np.zeros(len(signed_label)))
        self.start = self._minimize_loss(loss, self.start, [*self.bounds, (None, None)], inverse_penalty)
        near = None
        if self.lead is not None:
            near_loss = _LogisticLoss(
                self.near, signed_label[self.rows], self.near_weight, self.matrix[self.rows] @ self.start
            )
            self.near_start = self._minimize_loss(near_loss, self.near_start, self.bounds, inverse_penalty)
            near = NearTermEffects(
                self.lead, self.options.near_term_days, self._feature_effects(self.near_start * NEAR_TERM_SCALE)
            )
        intercept, effects = float(np.round(self.start[-1], 9)), self._feature_effects(self.start[:-1])
        return AdditiveModel(intercept, effects, near, self._margin_variance(inverse_penalty))

    def _minimize_loss(
        self, loss: _LogisticLoss, start: Floats, bounds: Sequence[Bound], inverse_penalty: float
    ) -> Floats:
        is_penalized = np.arange(len(start)) < len(self.bounds)
        result = minimize(
            loss.loss_and_gradient,
            start,
            args=(is_penalized / inverse_penalty,),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": self.options.max_iterations, "ftol": 1e-7, "gtol": 1e-5, "maxcor": 20},
        )
        return np.asarray(result.x, np.float64)

    def _margin_variance(self, inverse_penalty: float) -> float:
        """Mean posterior variance of the margin over the training rows, for the last fit under the ridge prior.

        Uses Laplace's approximation, without near-term effects; weights that the sign constraint holds at 0 are treated
        as known.
        """
        free = np.flatnonzero(self.start[:-1])
        probability = expit(self.matrix @ self.start)
        gram = _weighted_gram(self.lines, free, self.weight * probability * (1 - probability))
        posterior = np.linalg.inv(gram + np.eye(len(free)) / inverse_penalty)
        return float(np.round((posterior * self._column_covariance[np.ix_(free, free)]).sum(), 9))

    @cached_property
    def _column_covariance(self) -> Floats:
        """Weighted covariance of the design columns, which are centred; columns × columns."""
        return _weighted_gram(self.lines, np.arange(self.lines.shape[1]), self.weight / self.weight.sum())

    def _feature_effects(self, weights: Floats) -> tuple[FeatureEffect, ...]:
        ends = np.cumsum([columns.matrix.shape[1] for columns in self.columns])[:-1]
        return tuple(
            columns.feature_effect(part) for columns, part in zip(self.columns, np.split(weights, ends), strict=True)
        )


@dataclass(frozen=True)
class _LogisticLoss:
    """Objective of a ridge logistic regression."""

    matrix: Floats
    signed_labels: Floats
    """+1 for rows with the outcome, -1 for rows without."""
    weight: Floats
    offset: Floats
    """Fixed part of the margin."""

    def loss_and_gradient(self, weights: Floats, penalty: Floats) -> tuple[float, Floats]:
        """Penalised loss at these weights, and its gradient; `penalty` has one number per weight."""
        agreement = self.signed_labels * (self.offset + self.matrix @ weights)
        row_gradient = -self.weight * self.signed_labels * expit(-agreement)
        loss = self.weight @ np.logaddexp(0, -agreement) + (penalty * weights) @ weights / 2
        return float(loss), row_gradient @ self.matrix + penalty * weights


def _weighted_gram(matrix: Floats, columns: npt.NDArray[np.intp], weight: Floats) -> Floats:
    """Weighted Gram matrix of the selected columns, X' W X, summed over blocks of rows.

    Multiplying a block with its own transpose takes half the work of a general product, and a block stays in the
    processor's cache.
    """
    total = np.zeros((len(columns), len(columns)))
    for start in range(0, len(matrix), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        weighted = matrix[rows].take(columns, axis=1) * np.sqrt(weight[rows, None])
        total += weighted.T @ weighted
    return total


def _sign_bound(sign: int) -> Bound:
    return (0.0, None) if sign > 0 else (None, 0.0) if sign < 0 else (None, None)


def _numeric_design(values: Floats, share: Floats, sign: int, settings: LinearSettings) -> _FeatureDesign:
    known = ~np.isnan(values)
    knots, ranks = _quantile_knots(values[known], settings.knots)
    curves = [ranks, knots] if len(knots) > 2 else [knots]
    standardized = [
        _standardize(curve, np.interp(values[known], knots, curve), share[known]) for curve in curves if len(curve) > 1
    ]
    matrix = np.zeros((len(values), len(standardized)))
    for j, (_, column) in enumerate(standardized):
        matrix[known, j] = column / np.sqrt(len(standardized))
    bases = np.zeros((len(knots) + 1, len(standardized)))
    for j, (heights, _) in enumerate(standardized):
        bases[:-1, j] = heights / np.sqrt(len(standardized))
    return _add_missing_column(_FeatureDesign(matrix, (sign,) * len(standardized), knots, bases), ~known, share)


def _quantile_knots(values: Floats, count: int) -> tuple[Floats, Floats]:
    """Knots (distinct quantiles of the values), and the mid-rank of each as a share."""
    if not len(values):
        return np.zeros(1), np.zeros(1)
    ordered = np.sort(values)
    levels = np.linspace(TAIL_SHARE, 1 - TAIL_SHARE, count)
    knots = np.unique(np.quantile(ordered, levels, method="nearest"))
    low, high = np.searchsorted(ordered, knots, "left"), np.searchsorted(ordered, knots, "right")
    return knots, (low + high) / (2 * len(ordered))


def _standardize(heights: Floats, column: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Standardize the knot heights and the column to mean 0 and standard deviation 1 on the training rows."""
    weight = share / share.sum()
    mean = weight @ column
    sd = np.sqrt(weight @ (column - mean) ** 2)
    scale = 1 / sd if sd > 1e-9 * (1 + abs(mean)) else 0.0
    return (heights - mean) * scale, (column - mean) * scale


def _add_missing_column(columns: _FeatureDesign, missing: npt.NDArray[np.bool_], share: Floats) -> _FeatureDesign:
    """Add an indicator column for missing values, unless almost none or almost all are missing."""
    rate = float(share @ missing)
    if not TAIL_SHARE < rate < 1 - TAIL_SHARE:
        return columns
    sd = np.sqrt(rate * (1 - rate))
    column = (missing - rate) / sd
    base = np.full(len(columns.bases), -rate / sd)
    base[-1] = (1 - rate) / sd
    return _FeatureDesign(
        np.column_stack([columns.matrix, column]),
        (*columns.signs, 0),
        columns.knots,
        np.column_stack([columns.bases, base]),
    )


def _categorical_design(codes: Floats, share: Floats, size: int, settings: LinearSettings) -> _FeatureDesign:
    """Centred indicator columns of the categories in at least `min_category_rows` rows; others get no column."""
    frequent = [code for code in range(size) if (codes == code).sum() >= settings.min_category_rows]
    if len(frequent) < 2:
        return _FeatureDesign(np.zeros((len(codes), 0)), (), None, np.zeros((size + 1, 0)))
    hit = codes[:, None] == np.array(frequent, dtype=np.float64)[None, :]
    rate = share @ hit
    bases = np.tile(-rate, (size + 1, 1))
    bases[frequent, range(len(frequent))] += 1
    return _FeatureDesign(hit - rate, (0,) * len(frequent), None, bases)
