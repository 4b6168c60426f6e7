"""Broken lines of many features read off at once: `numpy.interp` column by column, to the last bit, but in one pass.

Between two knots a height is slope x (value - knot) + height of the knot, as NumPy computes it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renewals.models.kernels.jit import cached_njit, run_in_blocks

Floats = npt.NDArray[np.float64]
BLOCK = 256
"""Rows worked on at a time."""


class PiecewiseLinearTable(NamedTuple):
    """One broken line or one row of steps for each column; the knots of column j at first[j]:first[j + 1].

    A column has one stretch more than knots: before the first, and from each on. They begin at first[j] + j.
    """

    first: npt.NDArray[np.int64]
    knot: Floats
    start: Floats
    height: Floats
    """Where each stretch starts, and its height there."""
    slope: Floats
    """0 before the first knot and beyond the last."""
    missing: Floats
    """The height of NaN; one per column."""

    @staticmethod
    def of(curves: list[tuple[Floats | None, Floats, float]]) -> PiecewiseLinearTable:
        """From (knots, or None for steps; heights; height of NaN) of each column."""
        knots, starts, heights, slopes = zip(*map(_line_segments, curves), strict=True) if curves else ([],) * 4
        return PiecewiseLinearTable(
            first=np.cumsum([0, *map(len, knots)]),
            knot=np.concatenate([np.zeros(0), *knots]),
            start=np.concatenate([np.zeros(0), *starts]),
            height=np.concatenate([np.zeros(0), *heights]),
            slope=np.concatenate([np.zeros(0), *slopes]),
            missing=np.array([missing for _, _, missing in curves], np.float64),
        )

    def add(self, values: Floats, scale: Floats, heights: Floats, threads: int = 1) -> None:
        """Add `scale` (one per row; rows at 0 are passed over) times the height of every value to `heights`."""
        rows = np.ascontiguousarray(values, dtype=np.float64)
        run_in_blocks(
            lambda first, end: _add_heights(rows[first:end], scale[first:end], heights[first:end], self),
            len(rows),
            threads,
        )


def _line_segments(curve: tuple[Floats | None, Floats, float]) -> tuple[Floats, Floats, Floats, Floats]:
    """The knots of a column, and start, height and slope of its stretches; a code without a step is `missing`."""
    at, height, missing = curve
    if at is None:
        knots = np.arange(len(height) + 1, dtype=np.float64)
        flat = np.zeros(len(knots) + 1)
        return knots, flat, np.concatenate([[missing], height, [missing]]), flat
    with np.errstate(over="ignore"):  # between knots that all but touch a line may stand upright
        slope = np.diff(height) / np.diff(at)
    return at, np.append(at[0], at), np.append(height[0], height), np.concatenate([[0.0], slope, [0.0]])


@cached_njit
def _add_heights(values, scale, heights, table):  # type: ignore[no-untyped-def]
    """In blocks of rows, feature by feature: a line's knots then stay in the fastest cache."""
    rows, own, stretch = np.empty(BLOCK, np.int64), np.zeros(BLOCK), np.empty(BLOCK, np.int64)
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
            _interpolate(own, stretch, table, j)
            for n in range(count):
                heights[rows[n], j] += scale[rows[n]] * own[n]


@cached_njit
def _interpolate(column, segment, table, j):  # type: ignore[no-untyped-def]
    """Put the height of column j in the place of each value.

    Without a branch, so that several values are worked on at a time: knots are counted and not searched, which is
    cheaper at a few dozen of them.
    """
    first, end = table.first[j], table.first[j + 1]
    start, height = table.start[first + j : end + j + 1], table.height[first + j : end + j + 1]
    slope, missing = table.slope[first + j : end + j + 1], table.missing[j]
    segment[:] = 0
    for knot in table.knot[first:end]:
        for n in range(BLOCK):
            segment[n] += column[n] >= knot
    for n in range(BLOCK):
        value, k = column[n], segment[n]
        told = slope[k] * (value - start[k]) + height[k]
        told = height[k] if value == start[k] else told  # where a line stands upright, and its slope is endless
        told = height[k] if slope[k] == 0.0 else told  # where the value is
        column[n] = missing if value != value else told
