"""Random scorecard in the layout of `scorecard.json`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from renewals.features.scorecard.measures import MEASURES, Measure, measure_definitions
from renewals.features.scorecard.totals import LOSS_COLUMNS, PERIOD_MONTHS, SEGMENTS, UNKNOWN_SEGMENT
from renewals.pipelines.stages.act.scorecard import JSON_COLUMNS

MONTHS = [f"{2024 + (m // 12)}-{m % 12 + 1:02d}" for m in range(5, 29)]
"""June 2024 to May 2026; the last two are open for measures that wait for the grace."""
OPEN = 2
EMPTY = ("2025-01", "2026-03", "2026-05")
"""Months in which small customers lost nothing; the scorecard has no such row."""
ABSENT = "nps"
LATE = "viral_coefficient"
"""Its table has no row in the first months."""


REASONS = ("price", "insolvent", None)
"""Reasons of the losses of each period; the last one is not recorded."""


def random_scorecard(csms: list[str], seed: int = 3, reasons: tuple[str | None, ...] = REASONS) -> dict[str, Any]:
    """Scorecard of a company with these managers and losses for these reasons; it has no survey responses."""
    rng = np.random.default_rng(seed)
    segments = {kind: ["a", UNKNOWN_SEGMENT] for kind in SEGMENTS} | {
        "company": ["all"],
        "size_band": ["large", "small"],
        "csm": csms,
    }
    rows = [
        [kind, period, of, segment, m.name, *_figures(m, index, of, rng)]
        for kind in sorted(PERIOD_MONTHS)
        for index, period in enumerate(MONTHS)
        for of in sorted(segments)
        for segment in sorted(segments[of])
        for m in sorted(MEASURES.values(), key=lambda measure: measure.name)
        if not (of != "company" and m.name == ABSENT) and not (segment == UNKNOWN_SEGMENT and m.name == "mau")
        if not (segment == "small" and m.name == "churned_arr" and period in EMPTY)
    ]
    periods = [
        {"period_kind": kind, "period": period, "period_start": f"{period}-01", "period_end": f"{period}-28"}
        for kind in sorted(PERIOD_MONTHS)
        for period in MONTHS
    ]
    scorecard = {
        "as_of": "2026-06-01",
        "currency": "USD",
        "missing_measures": [ABSENT],
        "definitions": measure_definitions(),
        "segments": {kind: {"en": en, "zh": zh} for kind, (en, zh) in SEGMENTS.items()},
        "periods": periods,
        "columns": list(JSON_COLUMNS),
        "rows": rows,
        "losses_by_reason": {
            "columns": list(LOSS_COLUMNS),
            "rows": [
                [kind, period, reason, reason != "insolvent", 3 - place, 9000.5 / (place + 1), "final"]
                for kind in sorted(PERIOD_MONTHS)
                for period in MONTHS
                for place, reason in enumerate(reasons)
            ],
        },
    }
    read: dict[str, Any] = json.loads(json.dumps(scorecard))
    return read


def _figures(m: Measure, index: int, of: str, rng: np.random.Generator) -> list[Any]:
    """Value, numerator, denominator and state of one row."""
    if m.name == ABSENT or (m.name == LATE and index < 3):
        return [None, None, None, "absent"]
    share = m.unit in ("share", "ratio", "points")
    denominator = float(rng.integers(50, 3_000)) if share else None
    numerator = (
        round(denominator * rng.uniform(0.6, 0.9), 2) if denominator else float(rng.integers(1_000, 40_000_000)) / 100
    )
    state = "open" if m.final_after != "at_once" and index >= len(MONTHS) - OPEN else "final"
    value = numerator / denominator if denominator else numerator
    return [value if state == "final" or m.provisional else None, numerator, denominator, state]
