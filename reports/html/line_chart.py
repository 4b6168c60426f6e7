"""Line charts of the back-test page as SVG geometry: scales, ticks and paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Points = Sequence[tuple[float, float]]
CHART_WIDTH, CHART_HEIGHT, CHART_MARGIN = 420, 240, 44
"""Size of a chart, and the margin around its lines, in pixels."""
LINE_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be123c", "#4b5563")

ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
ROUNDING_TOLERANCE = 1e-9
"""A float this close to a whole number counts as that number: 1.0 / 0.2 may come out below five."""


@dataclass(frozen=True)
class ChartLine:
    """One line of a chart, in the chart's coordinates."""

    name: str
    colour: str
    points: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines between two axes; ticks are pairs of position and label."""

    x_label: str
    y_label: str
    lines: list[ChartLine]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def build_charts(
    lines: Mapping[str, Sequence[tuple[float, float | None]]],
    x_label: str,
    y_label: str,
    labels: Mapping[int, str] | None = None,
) -> list[Chart]:
    """Build one chart of the lines, or none if fewer than two x positions have values; `labels` replaces the ticks of
    the x axis."""
    known = {name: [(float(x), y) for x, y in points if y is not None] for name, points in lines.items()}
    all_points = [point for points in known.values() for point in points]
    if len({x for x, _ in all_points}) < 2:
        return []
    x_at, x_ends = _linear_scale([x for x, _ in all_points], CHART_MARGIN, CHART_WIDTH - CHART_MARGIN / 2)
    y_at, y_ends = _linear_scale([y for _, y in all_points], CHART_HEIGHT - CHART_MARGIN, CHART_MARGIN / 4)
    drawn = [
        ChartLine(name, LINE_COLOURS[number % len(LINE_COLOURS)],
             " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points),
             [(round(x_at(x), 1), round(y_at(y), 1)) for x, y in points])
        for number, (name, points) in enumerate(known.items())
    ]  # fmt: skip
    bottom = [(round(x_at(x), 1), name) for x, name in (labels or _axis_ticks(*x_ends)).items()]
    side = [(round(y_at(y), 1), name) for y, name in _axis_ticks(*y_ends).items()]
    return [Chart(x_label, y_label, drawn, _thin_ticks(bottom), side)]


def _linear_scale(values: Sequence[float], start: float, end: float) -> tuple[Any, tuple[float, float]]:
    """Function from a value to its coordinate, and the values at both ends of the axis."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return lambda value: start + (value - low) / (high - low) * (end - start), (low, high)


def _axis_ticks(low: float, high: float, max_ticks: int = 5) -> dict[float, str]:
    """Round numbers between two ends, at most about `max_ticks`, with their labels."""
    size = 10.0 ** np.floor(np.log10((high - low) / max_ticks))
    step = next(size * factor for factor in ROUND_STEPS if size * factor * max_ticks >= high - low)
    first, last = int(np.ceil(low / step - ROUNDING_TOLERANCE)), int(np.floor(high / step + ROUNDING_TOLERANCE))
    return {multiple * step: f"{multiple * step:.10g}" for multiple in range(first, last + 1)}


def _thin_ticks(ticks: list[tuple[float, str]], max_ticks: int = 8) -> list[tuple[float, str]]:
    return ticks[:: -(-len(ticks) // max_ticks)]
