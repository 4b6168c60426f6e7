"""Broken lines of many features read off at once: `numpy.interp` column by column, to the last bit, but in one pass.

Between two knots a height is slope x (value - knot) + height of the knot, as NumPy computes it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renewals.models.kernels.jit import compiled, shared

Floats = npt.NDArray[np.float64]
BLOCK = 256
"""Rows worked on at a time."""


class Lines(NamedTuple):
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
    def of(curves: list[tuple[Floats | None, Floats, float]]) -> Lines:
        """From (knots, or None for steps; heights; height of NaN) of each column."""
        knots, starts, heights, slopes = zip(*map(_stretches, curves), strict=True) if curves else ([],) * 4
        return Lines(
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
        shared(lambda first, end: _add(rows[first:end], scale[first:end], heights[first:end], self), len(rows), threads)


def _stretches(curve: tuple[Floats | None, Floats, float]) -> tuple[Floats, Floats, Floats, Floats]:
    """The knots of a column, and start, height and slope of its stretches; a code without a step is `missing`."""
    at, height, missing = curve
    if at is None:
        knots = np.arange(len(height) + 1, dtype=np.float64)
        flat = np.zeros(len(knots) + 1)
        return knots, flat, np.concatenate([[missing], height, [missing]]), flat
    with np.errstate(over="ignore"):  # between knots that all but touch a line may stand upright
        slope = np.diff(height) / np.diff(at)
    return at, np.append(at[0], at), np.append(height[0], height), np.concatenate([[0.0], slope, [0.0]])


@compiled
def _add(values, scale, heights, lines):  # type: ignore[no-untyped-def]
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
            _read(own, stretch, lines, j)
            for n in range(count):
                heights[rows[n], j] += scale[rows[n]] * own[n]


@compiled
def _read(own, stretch, lines, j):  # type: ignore[no-untyped-def]
    """Put the height of column j in the place of each value.

    Without a branch, so that several values are worked on at a time: knots are counted and not searched, which is
    cheaper at a few dozen of them.
    """
    first, end = lines.first[j], lines.first[j + 1]
    start, height = lines.start[first + j : end + j + 1], lines.height[first + j : end + j + 1]
    slope, missing = lines.slope[first + j : end + j + 1], lines.missing[j]
    stretch[:] = 0
    for knot in lines.knot[first:end]:
        for n in range(BLOCK):
            stretch[n] += own[n] >= knot
    for n in range(BLOCK):
        value, k = own[n], stretch[n]
        told = slope[k] * (value - start[k]) + height[k]
        told = height[k] if value == start[k] else told  # where a line stands upright, and its slope is endless
        told = height[k] if slope[k] == 0.0 else told  # where the value is
        own[n] = missing if value != value else told
