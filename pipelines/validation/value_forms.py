"""Recognize the format of values that cannot be read, from their texts, and advise on a readable format.

All functions take texts with their row counts, the most frequent first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

MAX_VALUES_SHOWN = 6
"""Maximum number of distinct values shown."""
MAX_VALUE_LENGTH = 60
"""Maximum number of characters shown of a value."""
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
    """A count with its noun in singular or plural."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def format_values(counts: Mapping[str, int]) -> str:
    """Values with their row counts as one line, the most frequent first."""
    shown = ", ".join(
        f"{value[:MAX_VALUE_LENGTH]!r} ({rows})" for value, rows in islice(counts.items(), MAX_VALUES_SHOWN)
    )
    return shown + (f" and {len(counts) - MAX_VALUES_SHOWN} more" if len(counts) > MAX_VALUES_SHOWN else "")


def _matching_values(counts: Mapping[str, int], pattern: str) -> dict[str, int]:
    return {value: rows for value, rows in counts.items() if re.search(pattern, value.strip())}


def find_null_markers(values: Mapping[str, int]) -> dict[str, int]:
    """The values that systems write for null, such as n/a."""
    return {value: rows for value, rows in values.items() if value.strip().casefold() in NULL_MARKERS}


def drop_null_markers(values: Mapping[str, int]) -> dict[str, int]:
    """The values that are not null markers."""
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
    r"^\d{5}(\.\d+)?$": "look like day numbers of a spreadsheet",
    r"^\d{8}$": "are days without separators",
    r"(?i)\d\s*[ap]\.?m\.?$": "have a 12-hour clock",
    r"\d\s+[A-Z]{2,5}$": "have a zone abbreviation, which is ambiguous",
}


def time_format_advice(values: Mapping[str, int]) -> str:
    """The formats of times that cannot be read, and a readable format."""
    hints = [*epoch_hints(values), *_day_month_hints(values)]
    hints += [
        f"{format_values(matches)} {problem}"
        for pattern, problem in TIME_PATTERNS.items()
        if (matches := _matching_values(values, pattern))
    ]
    return "; ".join([*hints, TIME_FORMAT_HINT])


def epoch_hints(values: Mapping[str, int]) -> Iterator[str]:
    """Yield hints for numbers that look like time since 1970, with the time of the first one."""
    for pattern, (unit, scale) in EPOCH_PATTERNS.items():
        matches = _matching_values(values, pattern)
        if matches:
            first = next(iter(matches))
            instant = datetime.fromtimestamp(float(first) / scale, UTC)
            yield f"{format_values(matches)} look like {unit} since 1970 ({first} would be {instant:%Y-%m-%d %H:%M:%S})"


def _day_month_hints(values: Mapping[str, int]) -> Iterator[str]:
    matches = _matching_values(values, DAY_MONTH_PATTERN)
    if matches:
        pairs = {v: tuple(map(int, re.findall(r"\d+", v)[:2])) for v in matches}
        day_first = next((v for v, (one, _two) in pairs.items() if one > 12), None)
        month_first = next((v for v, (_one, two) in pairs.items() if two > 12), None)
        if day_first and month_first:
            yield f"{day_first!r} has the day first and {month_first!r} the month: two formats are mixed"
        elif day_first or month_first:
            part = "day" if day_first else "month"
            yield f"{format_values(matches)} have the {part} first, as {day_first or month_first!r} shows"
        else:
            yield f"{format_values(matches)} do not show whether the day or the month comes first"


DECIMAL_COMMA_PATTERN = r"^[+-]?(\d+|\d{1,3}([ .'’]\d{3})+),\d{1,2}$"
"""A number that can only be read with a decimal comma."""
DOT_GROUPED_PATTERN = r"^\s*[+-]?\d{1,3}(\.\d{3})+(,\d+)?\s*$"
"""A number with dots between thousands and an optional decimal comma."""
COMMA_GROUPED_PATTERN = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
NUMBER_FORMAT_HINT = "write numbers with digits and a decimal point only, as 12000.50"


def number_format_advice(values: Mapping[str, int], decimal: str) -> str:
    """The formats of numbers that cannot be read with this decimal sign, and a setting or format that works."""
    if decimal == ",":
        return (
            f"{format_values(values)}: source.decimal is ',', with which numbers are written as 12.000,50 or 12000,50"
        )
    if comma := _matching_values(values, DECIMAL_COMMA_PATTERN) | _matching_values(values, DOT_GROUPED_PATTERN):
        return f"""{format_values(comma)} have a decimal comma: --set 'source.decimal=","'"""
    if thousands := _matching_values(values, COMMA_GROUPED_PATTERN):
        return f"{format_values(thousands)} have commas between thousands; {NUMBER_FORMAT_HINT}"
    return f"{format_values(values)}: {NUMBER_FORMAT_HINT}"
