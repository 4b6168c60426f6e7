"""How values are written that cannot be read, by their texts alone, and how they should be written.

All functions take the texts met with their numbers of rows, the most frequent first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

SHOWN = 6
"""So many different values are shown."""
LONGEST = 60
"""So many characters of a value are shown."""
NOTHING = frozenset(
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


def in_words(count: int, thing: str) -> str:
    """A number of things."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(counts: Mapping[str, int]) -> str:
    """Values with their numbers of rows, the most frequent first."""
    shown = ", ".join(f"{value[:LONGEST]!r} ({rows})" for value, rows in islice(counts.items(), SHOWN))
    return shown + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")


def _matching(counts: Mapping[str, int], pattern: str) -> dict[str, int]:
    return {value: rows for value, rows in counts.items() if re.search(pattern, value.strip())}


def standing_for_nothing(values: Mapping[str, int]) -> dict[str, int]:
    """The words that systems write where there is nothing."""
    return {value: rows for value, rows in values.items() if value.strip().casefold() in NOTHING}


def meaning_something(values: Mapping[str, int]) -> dict[str, int]:
    """All other words."""
    return {value: rows for value, rows in values.items() if value.strip().casefold() not in NOTHING}


WANTED_TIME = "write times as 2024-03-01 14:30:00 in UTC, or with their offset as 2024-03-01 14:30:00+02:00"
SINCE_1970 = {
    r"^\d{9,10}(\.\d+)?$": ("seconds", 1),
    r"^\d{12,13}$": ("milliseconds", 10**3),
    r"^\d{15,16}$": ("microseconds", 10**6),
    r"^\d{18,19}$": ("nanoseconds", 10**9),
}
DAY_AND_MONTH = r"^(\d{1,2})[./-](\d{1,2})[./-]\d{2,4}\b"
TIME_FORMS = {
    r"^\d{5}(\.\d+)?$": "look like the day numbers of a spreadsheet",
    r"^\d{8}$": "are days without separators",
    r"(?i)\d\s*[ap]\.?m\.?$": "have hours up to 12",
    r"\d\s+[A-Z]{2,5}$": "name their zone by letters, which several zones share",
}


def form_of_times(values: Mapping[str, int]) -> str:
    """How times that cannot be read are written, and how they should be."""
    said = [*since_1970(values), *_day_and_month(values)]
    said += [f"{listed(met)} {why}" for form, why in TIME_FORMS.items() if (met := _matching(values, form))]
    return "; ".join([*said, WANTED_TIME])


def since_1970(values: Mapping[str, int]) -> Iterator[str]:
    """Say of numbers that they are a count since 1970, and which instant the first one would be."""
    for pattern, (unit, scale) in SINCE_1970.items():
        met = _matching(values, pattern)
        if met:
            first = next(iter(met))
            instant = datetime.fromtimestamp(float(first) / scale, UTC)
            yield f"{listed(met)} look like {unit} since 1970 ({first} would be {instant:%Y-%m-%d %H:%M:%S})"


def _day_and_month(values: Mapping[str, int]) -> Iterator[str]:
    met = _matching(values, DAY_AND_MONTH)
    if met:
        pairs = {v: tuple(map(int, re.findall(r"\d+", v)[:2])) for v in met}
        day_first = next((v for v, (one, _two) in pairs.items() if one > 12), None)
        month_first = next((v for v, (_one, two) in pairs.items() if two > 12), None)
        if day_first and month_first:
            yield f"{day_first!r} has the day first and {month_first!r} the month: two forms are mixed"
        elif day_first or month_first:
            part = "day" if day_first else "month"
            yield f"{listed(met)} have the {part} first, as {day_first or month_first!r} shows"
        else:
            yield f"{listed(met)} do not show whether the day or the month comes first"


COMMA = r"^[+-]?(\d+|\d{1,3}([ .'’]\d{3})+),\d{1,2}$"
"""A number that cannot be read but with a decimal comma."""
DECIMAL_COMMA = r"^\s*[+-]?\d{1,3}(\.\d{3})+(,\d+)?\s*$"
"""A number with dots between thousands and, perhaps, a decimal comma."""
THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
WANTED_NUMBER = "write numbers with digits and a decimal point alone, as 12000.50"


def form_of_numbers(values: Mapping[str, int], decimal: str) -> str:
    """How numbers that cannot be read with this decimal sign are written, and what reads them."""
    if decimal == ",":
        return f"{listed(values)}: source.decimal is ',', with which numbers are written as 12.000,50 or 12000,50"
    if comma := _matching(values, COMMA) | _matching(values, DECIMAL_COMMA):
        return f"""{listed(comma)} have a decimal comma: --set 'source.decimal=","'"""
    if thousands := _matching(values, THOUSANDS):
        return f"{listed(thousands)} have commas between thousands; {WANTED_NUMBER}"
    return f"{listed(values)}: {WANTED_NUMBER}"
