"""The scorecard as one page: both renewal rates, retention, the loss as money, and the ten measures with definitions.

The figures travel as the scorecard's JSON has them, none rounded and none added. The page's code writes them in its
reader's language, and draws no figure as final that is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from renewals.reports.html.bundle import SHARED, offline
from renewals.reports.sanitize import printable
from renewals.reports.words import LANGUAGES, Words

PERIODS = ("month", "trailing_year")
"""The kinds of period shown; quarters stand in the files alone."""
SEGMENTS = 60
"""So many segments of a kind are shown, those with the most revenue first."""
STATES = {"final": "f", "open": "o", "absent": "a"}
"""How a state is written, a letter a period; a dash where a segment has nothing."""
TABLES = {"person_days": "usage_events"}
"""What a company gives for a table that is made here."""
SPOKEN = re.compile(rf"(scorecard|size_band)\.|{SHARED}")
"""The words that the page itself asks for."""

Row = Mapping[str, Any]


def as_page(
    told: Mapping[str, Any], language: str, beside: str = "", notices: Sequence[Mapping[str, str]] = ()
) -> bytes:
    """The page's bytes, of a scorecard as `scorecard.json` tells it. The same values give the same bytes.

    `beside` is the page that it links to, where that lies in the same folder; `notices` are sentences by language.
    """
    title = Words(language).say("scorecard.title", as_of=told["as_of"])
    return offline("scorecard", title, language, payload(told, language), beside=beside, notices=notices)


def payload(told: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Everything the page's code reads. `figures` is by kind of period, kind of segment, segment and measure: values,
    numerators and denominators along `periods`, and as many letters of `STATES`."""
    rows = [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
    periods = {kind: [span["period"] for span in told["periods"] if span["period_kind"] == kind] for kind in PERIODS}
    found = _segments(rows)
    return {
        "as_of": told["as_of"],
        "currency": told["currency"],
        "language": language,
        "languages": list(LANGUAGES),
        "words": {own: {k: said for k, said in words.items() if SPOKEN.match(k)} for own, words in LANGUAGES.items()},
        "measures": [
            {**own, "needs": [TABLES.get(need, need) for need in own["needs"]]} for own in told["definitions"]
        ],
        "absent": told["absent"],
        "periods": periods,
        "segments": {
            kind: {"name": name, "shown": [printable(one) for one in found[kind][:SEGMENTS]]}
            | {"left_out": max(len(found[kind]) - SEGMENTS, 0)}
            for kind, name in told["segments"].items()
        },
        "figures": _figures(rows, periods, {kind: own[:SEGMENTS] for kind, own in found.items()}),
    }


def _segments(rows: Iterable[Row]) -> Mapping[str, list[str]]:
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


def _figures(
    rows: Iterable[Row], periods: Mapping[str, Sequence[str]], shown: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """See `payload`; a list over the segments shown stands under each kind of them."""
    at = {(kind, period): place for kind, own in periods.items() for place, period in enumerate(own)}
    where = {(kind, segment): place for kind, own in shown.items() for place, segment in enumerate(own)}
    figures: dict[str, Any] = {kind: {of: [{} for _ in own] for of, own in shown.items()} for kind in periods}
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
            series[place] = _shortest(row[name])
        own[3][place] = STATES[row["state"]]
    for own in (
        own for kinds in figures.values() for segments in kinds.values() for one in segments for own in one.values()
    ):
        own[3] = "".join(own[3])
    return figures


def _shortest(figure: float | None) -> float | int | None:
    """The same number, a whole one without a point."""
    return int(figure) if figure is not None and float(figure).is_integer() else figure
