"""Match text in any script against configured patterns: titles by their words, names as a whole.

A pattern may be open at either end (`*leiter`, `workflow.*`); one that starts with `!` excludes what it matches, at any
position in its list. Case, accents, width and invisible characters are ignored. ADR 35 gives the reasons.

This module contains no Ibis expressions: distinct texts are few, so they are matched once, in Python, and joined.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Annotated, Literal

from pydantic import AfterValidator

# --- normalized text ---------------------------------------------------------------------------

ACCENT_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC")
"""Scripts whose marks are ignored: capitals are often written without accents, Hebrew and Arabic without vowels."""
UNSPACED_SCRIPTS = (
    *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HENTAIGANA", "BOPOMOFO", "YI"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "TAI", "JAVANESE", "BALINESE"),
    "HANGUL",
)
"""Scripts in which a word may match inside another: written without spaces or, in Korean, titles are compounds."""
CJK_BLANKS = re.compile("(?<=[\u3005-\u30ff\u3400-\u9fff])\\s+(?=[\u3005-\u30ff\u3400-\u9fff])")
"""Blanks between Chinese or Japanese characters, which only adjust the width of a line."""
ABBREVIATION = re.compile(r"(?<![^\W_])[^\W\d_](?:\.[^\W\d_])+(?![^\W_])")
"""Single letters separated by dots: C.E.O., v.p."""


def normalize_text(text: str) -> str:
    """The text normalized for comparison: without case, accents, width, invisible characters and extra blanks."""
    return " ".join(_fold_text(text).split())


def split_words(text: str) -> str:
    """Words of the text, normalized and separated by single spaces; `CEO助理` has two, `C.E.O.` is one."""
    folded = CJK_BLANKS.sub("", _fold_text(text))
    joined = ABBREVIATION.sub(lambda match: match[0].replace(".", ""), folded)
    return " ".join("".join(run) for kind, run in groupby(joined, _character_class) if kind != "between")


def _fold_text(text: str) -> str:
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFKC", "".join(_strip_marks(parts)))


def _strip_marks(text: str) -> Iterable[str]:
    """Yield the characters that are compared; a dotless i becomes an i."""
    accented = False
    for char in text:
        if _is_invisible(char) or (accented and unicodedata.combining(char)):
            continue
        accented = _script(char) in ACCENT_SCRIPTS
        yield "i" if char == "ı" else char


@cache
def _is_invisible(char: str) -> bool:
    """True for format characters (soft hyphen, zero-width space), variation selectors and the Arabic tatweel."""
    return unicodedata.category(char) == "Cf" or _script(char) == "VARIATION" or char == "\u0640"


@cache
def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0]


@cache
def _character_class(char: str) -> Literal["between", "word", "joined"]:
    if unicodedata.category(char)[0] not in "LMN":
        return "between"
    return "joined" if _script(char) in UNSPACED_SCRIPTS else "word"


# --- patterns ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pattern:
    """One configured pattern, compiled."""

    text: str
    """The text as configured."""
    excludes: bool
    regex: re.Pattern[str]

    def occurs_in(self, normalized: str) -> bool:
        """True if the pattern matches a text that was normalized for its kind of list."""
        return self.regex.search(normalized) is not None


def word_pattern(text: str) -> Pattern:
    """Pattern that matches among the words of a text (`split_words`). Raises `ValueError` if it contains no word."""
    excludes, opens, core, closes = _parse_pattern(text)
    words = split_words(core)
    if not words and core.strip():
        raise ValueError(f"{text!r} contains no letter and no digit, so it matches nothing")
    before = "" if opens or not words or _character_class(words[0]) == "joined" else r"(?<!\S)"
    after = "" if closes or not words or _character_class(words[-1]) == "joined" else r"(?!\S)"
    return Pattern(text, excludes, re.compile(before + re.escape(words) + after))


def name_pattern(text: str) -> Pattern:
    """Pattern that matches a whole name (`normalize_text`). Raises `ValueError` if it is empty."""
    excludes, opens, core, closes = _parse_pattern(text)
    before, after = "" if opens else r"\A", "" if closes else r"\Z"
    return Pattern(text, excludes, re.compile(before + re.escape(normalize_text(core)) + after))


def _parse_pattern(text: str) -> tuple[bool, bool, str, bool]:
    """Split a pattern into: it excludes, its left end is open, the text to match, its right end is open."""
    body = text.strip()
    excludes = body.startswith("!")
    body = body[excludes:].strip()
    core = body.strip("*") if set(body) != {"*"} else ""
    if not body:
        raise ValueError(f"{text!r} is empty: write a word, or * to match any")
    if "*" in core:
        raise ValueError(f"{text!r} has a * in the middle: use * only at the beginning and at the end")
    return excludes, body.startswith("*"), core, body.endswith("*")


@dataclass(frozen=True)
class PatternList:
    """Patterns of which at least one must match, and no excluding one may match."""

    patterns: tuple[Pattern, ...]

    def match(self, normalized: str) -> bool:
        """True if a pattern matches the normalized text and no excluding pattern does."""
        matches = {pattern.excludes for pattern in self.patterns if pattern.occurs_in(normalized)}
        return matches == {False}


@cache
def word_patterns(texts: tuple[str, ...]) -> PatternList:
    """List of patterns that match among the words of a text."""
    return _build_list(map(word_pattern, texts))


@cache
def name_patterns(texts: tuple[str, ...]) -> PatternList:
    """List of patterns that match whole names."""
    return _build_list(map(name_pattern, texts))


def _build_list(patterns: Iterable[Pattern]) -> PatternList:
    """Build the list; raise `ValueError` if all patterns exclude."""
    pattern_list = PatternList(tuple(patterns))
    if pattern_list.patterns and all(pattern.excludes for pattern in pattern_list.patterns):
        raise ValueError('all patterns exclude, so the list matches nothing: start it with "*" to match all others')
    return pattern_list


def _validate_word_patterns(texts: tuple[str, ...]) -> tuple[str, ...]:
    word_patterns(texts)
    return texts


def _validate_name_patterns(texts: tuple[str, ...]) -> tuple[str, ...]:
    name_patterns(texts)
    return texts


WordPatterns = Annotated[tuple[str, ...], AfterValidator(_validate_word_patterns)]
"""Setting: patterns that match among the words of a text."""
NamePatterns = Annotated[tuple[str, ...], AfterValidator(_validate_name_patterns)]
"""Setting: patterns that match whole names."""
