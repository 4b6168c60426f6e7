"""The scorecard as one page: both renewal rates, retention, the loss as money, and the ten measures with definitions.

The figures travel as the scorecard's JSON has them, none rounded and none added. The page's code writes them in its
reader's language, and draws no figure as final that is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from renewals.reports.html.bundle import SHARED_KEY_PATTERN, render_offline_page
from renewals.reports.sanitize import make_printable
from renewals.reports.words import MESSAGES, Messages

PERIOD_KINDS = ("month", "trailing_year")
"""The kinds of period shown; quarters stand in the files alone."""
MAX_SEGMENTS = 60
"""So many segments of a kind are shown, those with the most revenue first."""
STATE_CODES = {"final": "f", "open": "o", "absent": "a"}
"""How a state is written, a letter a period; a dash where a segment has nothing."""
SOURCE_TABLES = {"person_days": "usage_events"}
"""What a company gives for a table that is made here."""
PAGE_KEY_PATTERN = re.compile(rf"(scorecard|size_band)\.|{SHARED_KEY_PATTERN}")
"""The words that the page itself asks for."""

ScorecardRow = Mapping[str, Any]


def render_scorecard_page(
    scorecard: Mapping[str, Any], language: str, linked_page: str = "", notices: Sequence[Mapping[str, str]] = ()
) -> bytes:
    """The page's bytes, of a scorecard as `scorecard.json` tells it. The same values give the same bytes.

    `linked_page` is the page that it links to, where that lies in the same folder; `notices` are sentences by language.
    """
    title = Messages(language).text("scorecard.title", as_of=scorecard["as_of"])
    return render_offline_page(
        "scorecard", title, language, build_payload(scorecard, language), linked_page=linked_page, notices=notices
    )


def build_payload(scorecard: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Everything the page's code reads. `figures` is by kind of period, kind of segment, segment and measure: values,
    numerators and denominators along `periods`, and as many letters of `STATE_CODES`."""
    rows = [dict(zip(scorecard["columns"], row, strict=True)) for row in scorecard["rows"]]
    periods = {
        kind: [span["period"] for span in scorecard["periods"] if span["period_kind"] == kind] for kind in PERIOD_KINDS
    }
    found = _segments_by_arr(rows)
    return {
        "as_of": scorecard["as_of"],
        "currency": scorecard["currency"],
        "language": language,
        "languages": list(MESSAGES),
        "words": {
            own: {k: said for k, said in words.items() if PAGE_KEY_PATTERN.match(k)} for own, words in MESSAGES.items()
        },
        "measures": [
            {**own, "needs": [SOURCE_TABLES.get(need, need) for need in own["needs"]]}
            for own in scorecard["definitions"]
        ],
        "missing_measures": scorecard["missing_measures"],
        "periods": periods,
        "segments": {
            kind: {"name": name, "shown": [make_printable(one) for one in found[kind][:MAX_SEGMENTS]]}
            | {"left_out": max(len(found[kind]) - MAX_SEGMENTS, 0)}
            for kind, name in scorecard["segments"].items()
        },
        "figures": _pack_values(rows, periods, {kind: own[:MAX_SEGMENTS] for kind, own in found.items()}),
    }


def _segments_by_arr(rows: Iterable[ScorecardRow]) -> Mapping[str, list[str]]:
    """The segments of each kind by the revenue they had last, the most first; then by name."""
    arr: dict[tuple[str, str], float] = {}
    for row in rows:  # in the order of time: what comes last is newest
        arr.setdefault((row["segment_kind"], row["segment"]), 0.0)
        if row["measure"] == "arr" and row["period_kind"] == "month":
            arr[row["segment_kind"], row["segment"]] = row["value"] or 0.0
    found = defaultdict(list)
    for kind, segment in sorted(arr, key=lambda own: (-arr[own], own)):
        found[kind].append(segment)
    return found


def _pack_values(
    rows: Iterable[ScorecardRow], periods: Mapping[str, Sequence[str]], segments_by_kind: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """See `build_payload`; a list over the segments shown stands under each kind of them."""
    at = {(kind, period): place for kind, own in periods.items() for place, period in enumerate(own)}
    where = {(kind, segment): place for kind, own in segments_by_kind.items() for place, segment in enumerate(own)}
    figures: dict[str, Any] = {
        kind: {of: [{} for _ in own] for of, own in segments_by_kind.items()} for kind in periods
    }
    for row in rows:
        kind, of, place = row["period_kind"], row["segment_kind"], at.get((row["period_kind"], row["period"]))
        segment = where.get((of, row["segment"]))
        if place is None or segment is None:
            continue
        length = len(periods[kind])
        own = figures[kind][of][segment].setdefault(
            row["measure"], [*([None] * length for _ in range(3)), ["-"] * length]
        )
        for series, name in zip(own, ("value", "numerator", "denominator"), strict=False):
            series[place] = _to_shortest_number(row[name])
        own[3][place] = STATE_CODES[row["state"]]
    for own in (
        own for kinds in figures.values() for segments in kinds.values() for one in segments for own in one.values()
    ):
        own[3] = "".join(own[3])
    return figures


def _to_shortest_number(number: float | None) -> float | int | None:
    """The same number, a whole one without a point."""
    return int(number) if number is not None and float(number).is_integer() else number
