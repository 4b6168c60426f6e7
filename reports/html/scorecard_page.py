"""The scorecard as a web page: renewal rates, retention, revenue movements, and the ten measures with their
definitions.

The page receives the values of the scorecard's JSON as they are, not rounded and with none added. Its code formats them
in the reader's language, and marks every value that is not final.
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
"""Kinds of period on the page; quarters are only in the files."""
MAX_SEGMENTS = 60
"""Maximum number of segments of a kind on the page; those with the most revenue come first."""
STATE_CODES = {"final": "f", "open": "o", "absent": "a"}
"""Letter of each state; a series has one letter per period, and a dash where the segment has no row."""
SOURCE_TABLES = {"person_days": "usage_events"}
"""Input table from which a derived table is computed."""
PAGE_KEY_PATTERN = re.compile(rf"(scorecard|size_band)\.|{SHARED_KEY_PATTERN}")
"""Keys of the messages that the page uses."""

ScorecardRow = Mapping[str, Any]


def render_scorecard_page(
    scorecard: Mapping[str, Any], language: str, linked_page: str = "", notices: Sequence[Mapping[str, str]] = ()
) -> bytes:
    """Render the page as bytes from a scorecard as in `scorecard.json`. The same values give the same bytes.

    `linked_page` is a page in the same folder to link to; `notices` are texts by language.
    """
    title = Messages(language).text("scorecard.title", as_of=scorecard["as_of"])
    return render_offline_page(
        "scorecard", title, language, build_payload(scorecard, language), linked_page=linked_page, notices=notices
    )


def build_payload(scorecard: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Build all data that the page's code reads.

    `figures` is nested by kind of period, kind of segment, position of the segment and measure. Each entry has the
    values, numerators and denominators along `periods`, and a string with one letter of `STATE_CODES` per period.
    """
    rows = [dict(zip(scorecard["columns"], row, strict=True)) for row in scorecard["rows"]]
    periods = {
        kind: [span["period"] for span in scorecard["periods"] if span["period_kind"] == kind] for kind in PERIOD_KINDS
    }
    segments_by_kind = _segments_by_arr(rows)
    return {
        "as_of": scorecard["as_of"],
        "currency": scorecard["currency"],
        "language": language,
        "languages": list(MESSAGES),
        "words": {
            lang: {key: text for key, text in texts.items() if PAGE_KEY_PATTERN.match(key)}
            for lang, texts in MESSAGES.items()
        },
        "measures": [
            {**definition, "needs": [SOURCE_TABLES.get(need, need) for need in definition["needs"]]}
            for definition in scorecard["definitions"]
        ],
        "missing_measures": scorecard["missing_measures"],
        "periods": periods,
        "segments": {
            kind: {"name": name, "shown": [make_printable(one) for one in segments_by_kind[kind][:MAX_SEGMENTS]]}
            | {"left_out": max(len(segments_by_kind[kind]) - MAX_SEGMENTS, 0)}
            for kind, name in scorecard["segments"].items()
        },
        "losses_by_reason": _pack_losses(scorecard["losses_by_reason"]),
        "figures": _pack_values(
            rows, periods, {kind: names[:MAX_SEGMENTS] for kind, names in segments_by_kind.items()}
        ),
    }


def _pack_losses(losses: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Losses by reason of each kind of period on the page; a reason is text of the input."""
    packed: dict[str, list[dict[str, Any]]] = {kind: [] for kind in PERIOD_KINDS}
    for values in losses["rows"]:
        row = dict(zip(losses["columns"], values, strict=True))
        if row["period_kind"] in packed:
            reason = None if row["loss_reason"] is None else make_printable(row["loss_reason"])
            packed[row["period_kind"]].append(
                {name: row[name] for name in ("period", "contracts", "arr", "preventable")} | {"reason": reason}
            )
    return packed


def _segments_by_arr(rows: Iterable[ScorecardRow]) -> Mapping[str, list[str]]:
    """Names of the segments of each kind, by their latest revenue, largest first, then by name."""
    arr: dict[tuple[str, str], float] = {}
    for row in rows:  # rows are in time order: the last one is the newest
        arr.setdefault((row["segment_kind"], row["segment"]), 0.0)
        if row["measure"] == "arr" and row["period_kind"] == "month":
            arr[row["segment_kind"], row["segment"]] = row["value"] or 0.0
    segments = defaultdict(list)
    for kind, segment in sorted(arr, key=lambda key: (-arr[key], key)):
        segments[kind].append(segment)
    return segments


def _pack_values(
    rows: Iterable[ScorecardRow], periods: Mapping[str, Sequence[str]], segments_by_kind: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Pack the values of the segments as `figures` of `build_payload`; each kind of segment holds a list over its
    segments."""
    period_index = {(kind, period): index for kind, names in periods.items() for index, period in enumerate(names)}
    segment_index = {
        (kind, segment): index for kind, names in segments_by_kind.items() for index, segment in enumerate(names)
    }
    figures: dict[str, Any] = {
        kind: {segment_kind: [{} for _ in names] for segment_kind, names in segments_by_kind.items()}
        for kind in periods
    }
    for row in rows:
        kind, segment_kind = row["period_kind"], row["segment_kind"]
        position = period_index.get((kind, row["period"]))
        segment = segment_index.get((segment_kind, row["segment"]))
        if position is None or segment is None:
            continue
        length = len(periods[kind])
        columns = figures[kind][segment_kind][segment].setdefault(
            row["measure"], [*([None] * length for _ in range(3)), ["-"] * length]
        )
        for series, name in zip(columns, ("value", "numerator", "denominator"), strict=False):
            series[position] = _to_shortest_number(row[name])
        columns[3][position] = STATE_CODES[row["state"]]
    for columns in (
        packed
        for kinds in figures.values()
        for segments in kinds.values()
        for one in segments
        for packed in one.values()
    ):
        columns[3] = "".join(columns[3])
    return figures


def _to_shortest_number(number: float | None) -> float | int | None:
    """Return the number as an integer if it is whole; None stays None."""
    return int(number) if number is not None and float(number).is_integer() else number
