"""Broken lines of many features read off at once: `numpy.interp` column by column, to the last bit, but in one pass.

Between two knots a height is slope x (value - knot) + height of the knot, as NumPy computes it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled, shared

Floats = npt.NDArray[np.float64]
BLOCK = 256
"""Rows worked on at a time."""


class Lines(NamedTuple):
    """One broken line or one row of steps for each column; those of column j at first[j]:first[j + 1]."""

    first: npt.NDArray[np.int64]
    steps: npt.NDArray[np.bool_]
    """Whether a column holds categories: `at` is their code then, and nothing lies between two."""
    at: Floats
    height: Floats
    slope: Floats
    """From a knot to the next; the last is not used."""
    missing: Floats
    """The height of NaN and of a code without a step; one per column."""

    @staticmethod
    def of(curves: list[tuple[Floats | None, Floats, float]]) -> Lines:
        """From (knots, or None for steps; heights; height of NaN) of each column."""
        knots = [np.arange(len(height), dtype=np.float64) if at is None else at for at, height, _ in curves]
        return Lines(
            first=np.cumsum([0, *map(len, knots)]),
            steps=np.array([at is None for at, _, _ in curves], np.bool_),
            at=np.concatenate([np.zeros(0), *knots]),
            height=np.concatenate([np.zeros(0), *(height for _, height, _ in curves)]),
            slope=np.concatenate([np.zeros(0), *map(_slopes, knots, (height for _, height, _ in curves))]),
            missing=np.array([missing for _, _, missing in curves], np.float64),
        )

    def add(self, values: Floats, scale: Floats, heights: Floats, threads: int = 1) -> None:
        """Add `scale` (one per row; rows at 0 are passed over) times the height of every value to `heights`."""
        rows = np.ascontiguousarray(values, dtype=np.float64)
        shared(lambda first, end: _add(rows[first:end], scale[first:end], heights[first:end], self), len(rows), threads)


def _slopes(at: Floats, height: Floats) -> Floats:
    with np.errstate(over="ignore"):  # between knots that all but touch a line may stand upright
        return np.append(np.diff(height) / np.diff(at), 0.0)[: len(at)]


@compiled
def _add(values, scale, heights, lines):  # type: ignore[no-untyped-def]
    """In blocks of rows, feature by feature: a line's knots then stay in the fastest cache."""
    rows, own, below = np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK, np.int64)
    for start in range(0, len(values), BLOCK):
        count = 0
        for i in range(start, min(start + BLOCK, len(values))):
            rows[count] = i
            count += scale[i] != 0.0
        if count == 0:
            continue
        for j in range(values.shape[1]):
            for n in range(count):
                own[n] = values[rows[n], j]
            _read(own, below, lines, j, count)
            for n in range(count):
                heights[rows[n], j] += scale[rows[n]] * own[n]


@compiled
def _read(own, below, lines, j, count):  # type: ignore[no-untyped-def]
    """Put the height of column j in the place of each of the first `count` values.

    Knots are counted and not searched: a few dozen comparisons without a branch are cheaper than five with one.
    """
    at, height = lines.at[lines.first[j] : lines.first[j + 1]], lines.height[lines.first[j] : lines.first[j + 1]]
    slope, steps, missing = lines.slope[lines.first[j] : lines.first[j + 1]], lines.steps[j], lines.missing[j]
    below[:] = -1
    for knot in at:
        for n in range(BLOCK):
            below[n] += own[n] >= knot
    for n in range(count):
        value, low = own[n], below[n]
        if value != value or (steps and (low < 0 or value >= len(at))):
            own[n] = missing
        elif low < 0:
            own[n] = height[0]
        elif steps or low == len(at) - 1 or value == at[low]:
            own[n] = height[low]
        else:
            own[n] = slope[low] * (value - at[low]) + height[low]
