"""The linear part of the model: one curve per feature, and their sum is a log-odds.

A feature's value is placed on two curves at once, its rank among the training rows and the value itself within the
usual range. A ridge logistic regression weighs both, and what comes out is folded into one broken line per feature
(`Line`), centred on the training rows: its height *is* the feature's contribution. Beyond the usual range the line is
flat, so an outlier can move a margin no further than the largest customary value does.

Near the end of a term the same figure means something else: the decision has fallen, and use follows it. So each
feature has a second line that is added in proportion to how near the renewal is, from nothing at `near_days` to all
of it on the day itself. It is learned after the first, from the rows near the end alone.

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

from renewals.models.settings import Linear

if TYPE_CHECKING:
    from renewals.models.kernels.piecewise_linear import Lines

Floats = npt.NDArray[np.float64]
Bound = tuple[float | None, float | None]

TAIL = 0.005
"""The share of rows beyond either end of a line: there it is flat."""
BLOCK = 1024
"""Rows that are multiplied together at once."""
NEAR_SCALE = 3.0
"""How freely the second line may move beside the first: few rows speak for it, and each of them weakly."""


@dataclass(frozen=True)
class Line:
    """What a number adds to the margin: straight between knots, flat beyond them; NaN adds `missing`."""

    at: tuple[float, ...]
    height: tuple[float, ...]
    missing: float


@dataclass(frozen=True)
class Steps:
    """What a category adds to the margin, by its code; NaN (never or seldom seen, or missing) is `missing`."""

    height: tuple[float, ...]
    missing: float


Part = Line | Steps


@dataclass(frozen=True)
class Near:
    """How near the renewal is, and what that adds to each feature's part."""

    column: int
    """The place of the feature that counts the days to the renewal."""
    days: float
    parts: tuple[Part, ...]

    def closeness(self, values: Floats) -> Floats:
        """0 far from the renewal, rising to 1 on its day; one number per row."""
        return closeness(values[:, self.column], self.days)

    @cached_property
    def lines(self) -> Lines:
        """The parts, ready to be read off."""
        return _lines(self.parts)


def closeness(days_to_renewal: Floats, days: float) -> Floats:
    """0 from `days` before the renewal back, rising to 1 on its day; 0 where it is not known."""
    return np.nan_to_num(np.clip(1 - days_to_renewal / days, 0, 1))


@dataclass(frozen=True)
class Additive:
    """A margin that is a sum: an intercept, and one part per feature in the order of the columns."""

    intercept: float
    parts: tuple[Part, ...]
    near: Near | None
    uncertainty: float = 0.0
    """How far, squared and in log-odds, another company's outcomes would have moved the margin: a mean over rows."""

    def contributions(self, values: Floats, threads: int = 1) -> Floats:
        """What each feature adds; rows × features."""
        heights = np.zeros(values.shape)
        self._far.add(values, np.ones(len(values)), heights, threads)
        if self.near is not None:
            self.near.lines.add(values, self.near.closeness(values), heights, threads)
        return heights

    @cached_property
    def _far(self) -> Lines:
        return _lines(self.parts)

    def margin(self, values: Floats, threads: int = 1) -> Floats:
        """The log-odds of each row."""
        return self.sum(self.contributions(values, threads))

    def sum(self, contributions: Floats) -> Floats:
        """The log-odds of each row, from what its features add."""
        return np.asarray(self.intercept + contributions.sum(axis=1))

    def beyond(self, values: Floats) -> Floats:
        """The share of each row's numbers that lie beyond either end of their line; one number per row."""
        lines = [(j, part.at[0], part.at[-1]) for j, part in enumerate(self.parts) if isinstance(part, Line)]
        if not lines:
            return np.zeros(len(values))
        columns, low, high = (np.array(ends) for ends in zip(*lines, strict=True))
        numbers = values[:, columns]
        return np.asarray(((numbers < low) | (numbers > high)).mean(axis=1))

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain values, by feature name."""
        parts = _parts_to_json(self.parts, names)
        tree = {"intercept": self.intercept, "parts": parts, "near": None, "uncertainty": self.uncertainty}
        if self.near is None:
            return tree
        near = {
            "feature": names[self.near.column],
            "days": self.near.days,
            "parts": _parts_to_json(self.near.parts, names),
        }
        return {**tree, "near": near}

    @staticmethod
    def from_json(tree: dict[str, Any], names: Sequence[str]) -> Additive:
        """The same back. Raises ValueError where a feature has no part."""
        near = tree["near"]
        return Additive(
            tree["intercept"],
            _parts_from_json(tree["parts"], names),
            near and Near(list(names).index(near["feature"]), near["days"], _parts_from_json(near["parts"], names)),
            tree.get("uncertainty", 0.0),
        )


def _lines(parts: Sequence[Part]) -> Lines:
    from renewals.models.kernels.piecewise_linear import (
        Lines,  # brings the compiler, which what only reads a model can do without
    )

    return Lines.of(
        [(np.array(p.at) if isinstance(p, Line) else None, np.array(p.height, np.float64), p.missing) for p in parts]
    )


def _parts_to_json(parts: Sequence[Part], names: Sequence[str]) -> dict[str, Any]:
    return dict(zip(names, map(_part_to_json, parts), strict=True))


def _parts_from_json(tree: dict[str, Any], names: Sequence[str]) -> tuple[Part, ...]:
    lost = [name for name in names if name not in tree]
    if lost:
        raise ValueError(f"the linear part says nothing of {', '.join(lost[:5])}")
    return tuple(_part_from_json(tree[name]) for name in names)


def _part_to_json(part: Part) -> dict[str, Any]:
    at = {"at": list(part.at)} if isinstance(part, Line) else {}
    return {**at, "height": list(part.height), "missing": part.missing}


def _part_from_json(tree: dict[str, Any]) -> Part:
    if "at" in tree:
        return Line(tuple(tree["at"]), tuple(tree["height"]), tree["missing"])
    return Steps(tuple(tree["height"]), tree["missing"])


@dataclass(frozen=True)
class _Columns:
    """The design matrix of one feature, and how weights on it fold into its part."""

    matrix: Floats
    signs: tuple[int, ...]
    knots: Floats | None
    bases: Floats
    """Knots (or categories) × columns: the height of each column there; the last row is for a missing value."""

    def part(self, weights: Floats) -> Part:
        *heights, missing = np.round(self.bases @ weights, 9).tolist()
        return (
            Steps(tuple(heights), missing)
            if self.knots is None
            else Line(tuple(self.knots.tolist()), tuple(heights), missing)
        )


class Design:
    """The curves of every feature on the training rows: made once, then fitted at several strengths."""

    def __init__(
        self,
        values: Floats,
        weight: Floats,
        sizes: Sequence[int | None],
        signs: Sequence[int],
        lead: int | None,
        options: Linear,
        near_weight: Floats | None = None,
    ) -> None:
        """`sizes` is the number of categories of each column, None for a number; `signs` are +1, -1 or 0 (free);
        `lead` is the place of the days to the renewal, where they are a feature. Rows near the end weigh `near_weight`
        for the second lines, or as for the first where it is not given."""
        self.weight, self.options = weight, options
        share = weight / weight.sum()
        self.columns = [
            _number(values[:, j], share, signs[j], options)
            if size is None
            else _category(values[:, j], share, size, options)
            for j, size in enumerate(sizes)
        ]
        self.matrix = np.hstack([*(columns.matrix for columns in self.columns), np.ones((len(values), 1))])
        self.lines = self.matrix[:, :-1]
        self.lead = lead if options.near_days else None
        close = np.zeros(len(values)) if self.lead is None else closeness(values[:, self.lead], options.near_days)
        self.rows = np.flatnonzero(close > 0)
        self.near = self.lines[self.rows] * (NEAR_SCALE * close[self.rows, None])
        self.near_weight = (weight if near_weight is None else near_weight)[self.rows]
        self.bounds = [_bound(sign) for columns in self.columns for sign in columns.signs]
        self.start, self.near_start = np.zeros(len(self.bounds) + 1), np.zeros(len(self.bounds))

    def fit(self, truth: npt.NDArray[np.integer[Any]], strength: float) -> Additive:
        """The ridge logistic regression at one strength; the next fit starts from where this one ended.

        First the lines, then what is added to them near the end: learned together, the many rows of decided accounts
        would move the first lines, which are to hold long before.
        """
        side = np.asarray(2.0 * truth - 1.0, np.float64)
        rows = _Rows(self.matrix, side, self.weight, np.zeros(len(side)))
        self.start = self._fitted(rows, self.start, [*self.bounds, (None, None)], strength)
        near = None
        if self.lead is not None:
            close = _Rows(self.near, side[self.rows], self.near_weight, self.matrix[self.rows] @ self.start)
            self.near_start = self._fitted(close, self.near_start, self.bounds, strength)
            near = Near(self.lead, self.options.near_days, self._parts(self.near_start * NEAR_SCALE))
        intercept, parts = float(np.round(self.start[-1], 9)), self._parts(self.start[:-1])
        return Additive(intercept, parts, near, self._uncertainty(strength))

    def _fitted(self, rows: _Rows, start: Floats, bounds: Sequence[Bound], strength: float) -> Floats:
        held = np.arange(len(start)) < len(self.bounds)
        found = minimize(
            rows.loss_and_slope,
            start,
            args=(held / strength,),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": self.options.iterations, "ftol": 1e-7, "gtol": 1e-5, "maxcor": 20},
        )
        return np.asarray(found.x, np.float64)

    def _uncertainty(self, strength: float) -> float:
        """The mean over the training rows of the posterior variance of the last fit's margin, under the ridge prior.

        By Laplace's approximation, far from a renewal; weights that their sign holds at nought are taken as known.
        """
        free = np.flatnonzero(self.start[:-1])
        chance = expit(self.matrix @ self.start)
        curved = _squared(self.lines, free, self.weight * chance * (1 - chance))
        posterior = np.linalg.inv(curved + np.eye(len(free)) / strength)
        return float(np.round((posterior * self._scatter[np.ix_(free, free)]).sum(), 9))

    @cached_property
    def _scatter(self) -> Floats:
        """How the columns lie about their centre together; columns × columns."""
        return _squared(self.lines, np.arange(self.lines.shape[1]), self.weight / self.weight.sum())

    def _parts(self, weights: Floats) -> tuple[Part, ...]:
        ends = np.cumsum([columns.matrix.shape[1] for columns in self.columns])[:-1]
        return tuple(columns.part(own) for columns, own in zip(self.columns, np.split(weights, ends), strict=True))


@dataclass(frozen=True)
class _Rows:
    """What a ridge logistic regression is fitted on."""

    matrix: Floats
    side: Floats
    """1 for the outcome, -1 without."""
    weight: Floats
    offset: Floats
    """The margin that is there already."""

    def loss_and_slope(self, at: Floats, penalty: Floats) -> tuple[float, Floats]:
        """The penalised loss at some weights, and where it falls; `penalty` is one number per weight."""
        agreement = self.side * (self.offset + self.matrix @ at)
        pull = -self.weight * self.side * expit(-agreement)
        loss = self.weight @ np.logaddexp(0, -agreement) + (penalty * at) @ at / 2
        return float(loss), pull @ self.matrix + penalty * at


def _squared(matrix: Floats, columns: npt.NDArray[np.intp], weight: Floats) -> Floats:
    """The weighed sum over rows of some columns' products with each other, a block of rows after another.

    A product with itself is half the work of any other, and a block does not leave the processor's cache.
    """
    total = np.zeros((len(columns), len(columns)))
    for start in range(0, len(matrix), BLOCK):
        rows = slice(start, start + BLOCK)
        weighed = matrix[rows].take(columns, axis=1) * np.sqrt(weight[rows, None])
        total += weighed.T @ weighed
    return total


def _bound(sign: int) -> Bound:
    return (0.0, None) if sign > 0 else (None, 0.0) if sign < 0 else (None, None)


def _number(values: Floats, share: Floats, sign: int, options: Linear) -> _Columns:
    known = ~np.isnan(values)
    knots, ranks = _knots(values[known], options.knots)
    curves = [ranks, knots] if len(knots) > 2 else [knots]
    made = [
        _standard(curve, np.interp(values[known], knots, curve), share[known]) for curve in curves if len(curve) > 1
    ]
    matrix = np.zeros((len(values), len(made)))
    for j, (_, column) in enumerate(made):
        matrix[known, j] = column / np.sqrt(len(made))
    bases = np.zeros((len(knots) + 1, len(made)))
    for j, (heights, _) in enumerate(made):
        bases[:-1, j] = heights / np.sqrt(len(made))
    return _with_missing(_Columns(matrix, (sign,) * len(made), knots, bases), ~known, share)


def _knots(values: Floats, count: int) -> tuple[Floats, Floats]:
    """Distinct quantiles of the values, and the mid-rank of each."""
    if not len(values):
        return np.zeros(1), np.zeros(1)
    ordered = np.sort(values)
    places = np.linspace(TAIL, 1 - TAIL, count)
    knots = np.unique(np.quantile(ordered, places, method="nearest"))
    low, high = np.searchsorted(ordered, knots, "left"), np.searchsorted(ordered, knots, "right")
    return knots, (low + high) / (2 * len(ordered))


def _standard(heights: Floats, column: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Heights at the knots and the column, both moved to mean 0 and spread 1 on the training rows."""
    part = share / share.sum()
    mean = part @ column
    spread = np.sqrt(part @ (column - mean) ** 2)
    scale = 1 / spread if spread > 1e-9 * (1 + abs(mean)) else 0.0
    return (heights - mean) * scale, (column - mean) * scale


def _with_missing(columns: _Columns, missing: npt.NDArray[np.bool_], share: Floats) -> _Columns:
    """A column of its own for missing values, where some are missing and some are not."""
    rate = float(share @ missing)
    if not TAIL < rate < 1 - TAIL:
        return columns
    spread = np.sqrt(rate * (1 - rate))
    own = (missing - rate) / spread
    base = np.full(len(columns.bases), -rate / spread)
    base[-1] = (1 - rate) / spread
    return _Columns(
        np.column_stack([columns.matrix, own]),
        (*columns.signs, 0),
        columns.knots,
        np.column_stack([columns.bases, base]),
    )


def _category(codes: Floats, share: Floats, size: int, options: Linear) -> _Columns:
    """One column per category seen often enough; the rest, like a missing value, stay at the centre of nothing."""
    often = [code for code in range(size) if (codes == code).sum() >= options.category_rows]
    if len(often) < 2:
        return _Columns(np.zeros((len(codes), 0)), (), None, np.zeros((size + 1, 0)))
    hit = codes[:, None] == np.array(often, dtype=np.float64)[None, :]
    rate = share @ hit
    bases = np.tile(-rate, (size + 1, 1))
    bases[often, range(len(often))] += 1
    return _Columns(hit - rate, (0,) * len(often), None, bases)
