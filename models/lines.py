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
    return np.append(np.diff(height) / np.diff(at), 0.0)[: len(at)]


@compiled
def _add(values, scale, heights, lines):  # type: ignore[no-untyped-def]
    """In blocks of rows, feature by feature: a line's knots then stay in the fastest cache."""
    for start in range(0, len(values), BLOCK):
        end = min(start + BLOCK, len(values))
        for j in range(values.shape[1]):
            first, last = lines.first[j], lines.first[j + 1] - 1
            at, height, slope = lines.at[first : last + 1], lines.height[first : last + 1], lines.slope[first : last + 1]
            for i in range(start, end):
                if scale[i] == 0.0:
                    continue
                value = values[i, j]
                if value != value or (lines.steps[j] and not -1.0 < value < len(height)):
                    heights[i, j] += scale[i] * lines.missing[j]
                elif lines.steps[j]:
                    heights[i, j] += scale[i] * height[int(value)]
                else:
                    heights[i, j] += scale[i] * _height(value, at, height, slope)


@compiled
def _height(value, at, height, slope):  # type: ignore[no-untyped-def]
    """The height at a value: flat beyond the first and the last knot, straight between two."""
    if value <= at[0]:
        return height[0]
    if value >= at[-1]:
        return height[-1]
    low, high = 0, len(at) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if at[middle] <= value:
            low = middle
        else:
            high = middle
    return height[low] if at[low] == value else slope[low] * (value - at[low]) + height[low]
