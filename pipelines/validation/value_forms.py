"""How values are written that cannot be read, by their texts alone, and how they should be written.

All functions take the texts met with their numbers of rows, the most frequent first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

MAX_VALUES_SHOWN = 6
"""So many different values are shown."""
MAX_VALUE_LENGTH = 60
"""So many characters of a value are shown."""
NULL_MARKERS = frozenset(
    [
        r"null",
        r"\n",
        r"none",
        r"nan",
        r"nat",
        r"na",
        r"n/a",
        r"#n/a",
        r"nil",
        r"undefined",
        r"(null)",
        r"<null>",
        r"-",
        r"--",
        r"?",
        r"0000-00-00",
        r"0000-00-00 00:00:00",
    ]
)


def format_count(count: int, thing: str) -> str:
    """A number of things."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def format_values(counts: Mapping[str, int]) -> str:
    """Values with their numbers of rows, the most frequent first."""
    shown = ", ".join(
        f"{value[:MAX_VALUE_LENGTH]!r} ({rows})" for value, rows in islice(counts.items(), MAX_VALUES_SHOWN)
    )
    return shown + (f" and {len(counts) - MAX_VALUES_SHOWN} more" if len(counts) > MAX_VALUES_SHOWN else "")


def _matching_values(counts: Mapping[str, int], pattern: str) -> dict[str, int]:
    return {value: rows for value, rows in counts.items() if re.search(pattern, value.strip())}


def find_null_markers(values: Mapping[str, int]) -> dict[str, int]:
    """The words that systems write where there is nothing."""
    return {value: rows for value, rows in values.items() if value.strip().casefold() in NULL_MARKERS}


def drop_null_markers(values: Mapping[str, int]) -> dict[str, int]:
    """All other words."""
    return {value: rows for value, rows in values.items() if value.strip().casefold() not in NULL_MARKERS}


TIME_FORMAT_HINT = "write times as 2024-03-01 14:30:00 in UTC, or with their offset as 2024-03-01 14:30:00+02:00"
EPOCH_PATTERNS = {
    r"^\d{9,10}(\.\d+)?$": ("seconds", 1),
    r"^\d{12,13}$": ("milliseconds", 10**3),
    r"^\d{15,16}$": ("microseconds", 10**6),
    r"^\d{18,19}$": ("nanoseconds", 10**9),
}
DAY_MONTH_PATTERN = r"^(\d{1,2})[./-](\d{1,2})[./-]\d{2,4}\b"
TIME_PATTERNS = {
    r"^\d{5}(\.\d+)?$": "look like the day numbers of a spreadsheet",
    r"^\d{8}$": "are days without separators",
    r"(?i)\d\s*[ap]\.?m\.?$": "have hours up to 12",
    r"\d\s+[A-Z]{2,5}$": "name their zone by letters, which several zones share",
}


def time_format_advice(values: Mapping[str, int]) -> str:
    """How times that cannot be read are written, and how they should be."""
    said = [*epoch_hints(values), *_day_month_hints(values)]
    said += [
        f"{format_values(met)} {why}" for form, why in TIME_PATTERNS.items() if (met := _matching_values(values, form))
    ]
    return "; ".join([*said, TIME_FORMAT_HINT])


def epoch_hints(values: Mapping[str, int]) -> Iterator[str]:
    """Say of numbers that they are a count since 1970, and which instant the first one would be."""
    for pattern, (unit, scale) in EPOCH_PATTERNS.items():
        met = _matching_values(values, pattern)
        if met:
            first = next(iter(met))
            instant = datetime.fromtimestamp(float(first) / scale, UTC)
            yield f"{format_values(met)} look like {unit} since 1970 ({first} would be {instant:%Y-%m-%d %H:%M:%S})"


def _day_month_hints(values: Mapping[str, int]) -> Iterator[str]:
    met = _matching_values(values, DAY_MONTH_PATTERN)
    if met:
        pairs = {v: tuple(map(int, re.findall(r"\d+", v)[:2])) for v in met}
        day_first = next((v for v, (one, _two) in pairs.items() if one > 12), None)
        month_first = next((v for v, (_one, two) in pairs.items() if two > 12), None)
        if day_first and month_first:
            yield f"{day_first!r} has the day first and {month_first!r} the month: two forms are mixed"
        elif day_first or month_first:
            part = "day" if day_first else "month"
            yield f"{format_values(met)} have the {part} first, as {day_first or month_first!r} shows"
        else:
            yield f"{format_values(met)} do not show whether the day or the month comes first"


DECIMAL_COMMA_PATTERN = r"^[+-]?(\d+|\d{1,3}([ .'’]\d{3})+),\d{1,2}$"
"""A number that cannot be read but with a decimal comma."""
DOT_GROUPED_PATTERN = r"^\s*[+-]?\d{1,3}(\.\d{3})+(,\d+)?\s*$"
"""A number with dots between thousands and, perhaps, a decimal comma."""
COMMA_GROUPED_PATTERN = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
NUMBER_FORMAT_HINT = "write numbers with digits and a decimal point alone, as 12000.50"


def number_format_advice(values: Mapping[str, int], decimal: str) -> str:
    """How numbers that cannot be read with this decimal sign are written, and what reads them."""
    if decimal == ",":
        return (
            f"{format_values(values)}: source.decimal is ',', with which numbers are written as 12.000,50 or 12000,50"
        )
    if comma := _matching_values(values, DECIMAL_COMMA_PATTERN) | _matching_values(values, DOT_GROUPED_PATTERN):
        return f"""{format_values(comma)} have a decimal comma: --set 'source.decimal=","'"""
    if thousands := _matching_values(values, COMMA_GROUPED_PATTERN):
        return f"{format_values(thousands)} have commas between thousands; {NUMBER_FORMAT_HINT}"
    return f"{format_values(values)}: {NUMBER_FORMAT_HINT}"
