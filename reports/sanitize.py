"""Make text from outside safe to show: unchanged, except for characters that readers or file formats cannot handle."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that a spreadsheet may take for the start of a formula, including full-width forms (OWASP, "CSV
injection")."""


def make_printable(text: str) -> str:
    """Replace control characters by their Unicode pictures, and broken characters by the replacement character.

    Tabs and line feeds stay. A lone carriage return is replaced: a CSV writer leaves it unquoted, and a reader may take
    it for the end of the row.
    """
    return _CONTROL_CHARACTERS.sub(_control_picture, text.replace("\r\n", "\n"))


def _control_picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def truncate(text: str, max_length: int, suffix: str) -> str:
    """Cut a text to `max_length` characters including `suffix`, which marks the cut; a shorter text is unchanged."""
    return text if len(text) <= max_length else text[: max_length - len(suffix)] + suffix


def escape_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def display_width(text: str) -> int:
    """Width of the widest line in columns of a fixed-width font; a Chinese character takes two columns."""
    if text.isascii():
        return max(map(len, text.splitlines()), default=0)
    return max((sum(_character_width(letter) for letter in line) for line in text.splitlines()), default=0)


@cache
def _character_width(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
