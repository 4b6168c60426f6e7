"""Piecewise linear functions of many columns in one pass; bit-identical to `numpy.interp` column by column.

Between two knots the result is slope x (value - knot) + height of the knot, as NumPy computes it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renewals.models.kernels.jit import cached_njit, run_in_blocks

Floats = npt.NDArray[np.float64]
BLOCK = 256
"""Rows per block."""


class PiecewiseLinearTable(NamedTuple):
    """One piecewise linear or step function per column, as flat arrays; knots of column j at first[j]:first[j + 1].

    A column has one segment more than knots: before the first knot, and from each knot on. Its segments start at index
    first[j] + j.
    """

    first: npt.NDArray[np.int64]
    knot: Floats
    start: Floats
    height: Floats
    """Value at which each segment starts (`start`), and the height there."""
    slope: Floats
    """Slope of each segment; 0 before the first knot and beyond the last."""
    missing: Floats
    """Height for NaN; one per column."""

    @staticmethod
    def of(curves: list[tuple[Floats | None, Floats, float]]) -> PiecewiseLinearTable:
        """Build the table from (knots, or None for steps; heights; height for NaN) of each column."""
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
        """Add to `heights` the height of every value times `scale` (one per row; rows with 0 are skipped)."""
        rows = np.ascontiguousarray(values, dtype=np.float64)
        run_in_blocks(
            lambda first, end: _add_heights(rows[first:end], scale[first:end], heights[first:end], self),
            len(rows),
            threads,
        )


def _line_segments(curve: tuple[Floats | None, Floats, float]) -> tuple[Floats, Floats, Floats, Floats]:
    """Knots of a column, and start, height and slope of its segments; an unknown category code gets `missing`."""
    knots_of_line, height, missing = curve
    if knots_of_line is None:
        knots = np.arange(len(height) + 1, dtype=np.float64)
        flat = np.zeros(len(knots) + 1)
        return knots, flat, np.concatenate([[missing], height, [missing]]), flat
    with np.errstate(over="ignore"):  # the slope between almost equal knots may be infinite
        slope = np.diff(height) / np.diff(knots_of_line)
    return (
        knots_of_line,
        np.append(knots_of_line[0], knots_of_line),
        np.append(height[0], height),
        np.concatenate([[0.0], slope, [0.0]]),
    )


@cached_njit
def _add_heights(values, scale, heights, table):  # type: ignore[no-untyped-def]
    """Add the heights in blocks of rows, by feature, so that the knots of a feature stay in the fastest cache."""
    rows, column, segment = np.empty(BLOCK, np.int64), np.zeros(BLOCK), np.empty(BLOCK, np.int64)
    for start in range(0, len(values), BLOCK):
        count = 0
        for i in range(start, min(start + BLOCK, len(values))):
            rows[count] = i
            count += scale[i] != 0.0
        if count == 0:
            continue
        for j in range(values.shape[1]):
            for n in range(count):
                column[n] = values[rows[n], j]
            _interpolate(column, segment, table, j)
            for n in range(count):
                heights[rows[n], j] += scale[rows[n]] * column[n]


@cached_njit
def _interpolate(column, segment, table, j):  # type: ignore[no-untyped-def]
    """Replace each value of column j by its height.

    The loops have no branches, so that they can be vectorized: knots below a value are counted, not searched, which is
    faster for a few dozen knots.
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
        result = slope[k] * (value - start[k]) + height[k]
        result = height[k] if value == start[k] else result  # avoids infinity x 0 where the slope is infinite
        result = height[k] if slope[k] == 0.0 else result  # avoids 0 x infinity where the value is infinite
        column[n] = missing if value != value else result
