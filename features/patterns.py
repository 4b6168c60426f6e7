"""Match text in any script against configured patterns: titles by the words in them, names as a whole.

A pattern may be open at either end (`*leiter`, `workflow.*`); one that begins with `!` excludes what it matches,
wherever it stands in its list. Case, accents, width and invisible characters make no difference. ADR 35 says why.

Nothing here is an expression of Ibis: distinct texts are few, so they are matched once, in Python, and joined.
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

# --- text as it is compared --------------------------------------------------------------------

ACCENT_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC")
"""Scripts whose marks do not count: capitals are often written without accents, Hebrew and Arabic without vowels."""
UNSPACED_SCRIPTS = (
    *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HENTAIGANA", "BOPOMOFO", "YI"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "TAI", "JAVANESE", "BALINESE"),
    "HANGUL",
)
"""Scripts whose words are matched inside others: written without spaces or, in Korean, titles are compounds."""
CJK_BLANKS = re.compile("(?<=[\u3005-\u30ff\u3400-\u9fff])\\s+(?=[\u3005-\u30ff\u3400-\u9fff])")
"""Blanks between Chinese or Japanese characters, which only adjust the width of a line."""
ABBREVIATION = re.compile(r"(?<![^\W_])[^\W\d_](?:\.[^\W\d_])+(?![^\W_])")
"""Single letters with dots between: C.E.O., v.p."""


def normalize_text(text: str) -> str:
    """A text as it is compared: without case, accents, width, invisible characters and needless blanks."""
    return " ".join(_fold_text(text).split())


def split_words(text: str) -> str:
    """The words of a text as they are compared, with one space between; `CEO助理` has two, `C.E.O.` is one."""
    folded = CJK_BLANKS.sub("", _fold_text(text))
    joined = ABBREVIATION.sub(lambda found: found[0].replace(".", ""), folded)
    return " ".join("".join(run) for kind, run in groupby(joined, _character_class) if kind != "between")


def _fold_text(text: str) -> str:
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFKC", "".join(_strip_marks(parts)))


def _strip_marks(text: str) -> Iterable[str]:
    """The characters that count; a dotless i counts as an i."""
    accented = False
    for sign in text:
        if _is_invisible(sign) or (accented and unicodedata.combining(sign)):
            continue
        accented = _script(sign) in ACCENT_SCRIPTS
        yield "i" if sign == "ı" else sign


@cache
def _is_invisible(char: str) -> bool:
    """Format characters such as soft hyphens and zero-width spaces, variation selectors, and the Arabic tatweel."""
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
    """As it was configured."""
    excludes: bool
    regex: re.Pattern[str]

    def occurs_in(self, normalized: str) -> bool:
        """Whether it matches a text that has been normalized as its list demands."""
        return self.regex.search(normalized) is not None


def word_pattern(text: str) -> Pattern:
    """A pattern found in a text among its words, from `split_words`. Raises `ValueError` where it has no word."""
    excludes, opens, core, closes = _parse_pattern(text)
    words = split_words(core)
    if not words and core.strip():
        raise ValueError(f"{text!r} holds no letter and no digit, so it matches nothing")
    before = "" if opens or not words or _character_class(words[0]) == "joined" else r"(?<!\S)"
    after = "" if closes or not words or _character_class(words[-1]) == "joined" else r"(?!\S)"
    return Pattern(text, excludes, re.compile(before + re.escape(words) + after))


def name_pattern(text: str) -> Pattern:
    """A pattern of a whole name, from `normalize_text`. Raises `ValueError` where it is empty."""
    excludes, opens, core, closes = _parse_pattern(text)
    before, after = "" if opens else r"\A", "" if closes else r"\Z"
    return Pattern(text, excludes, re.compile(before + re.escape(normalize_text(core)) + after))


def _parse_pattern(text: str) -> tuple[bool, bool, str, bool]:
    """Whether it excludes, whether its left end is open, the text to be found, and whether its right end is open."""
    body = text.strip()
    excludes = body.startswith("!")
    body = body[excludes:].strip()
    core = body.strip("*") if set(body) != {"*"} else ""
    if not body:
        raise ValueError(f"{text!r} is empty: write a word, or * for any")
    if "*" in core:
        raise ValueError(f"{text!r} has a * in the middle: * may stand at the beginning and at the end")
    return excludes, body.startswith("*"), core, body.endswith("*")


@dataclass(frozen=True)
class PatternList:
    """Patterns of which one must match and none that excludes may."""

    patterns: tuple[Pattern, ...]

    def match(self, normalized: str) -> bool:
        """Whether a normalized text is meant."""
        found = {pattern.excludes for pattern in self.patterns if pattern.occurs_in(normalized)}
        return found == {False}


@cache
def word_patterns(texts: tuple[str, ...]) -> PatternList:
    """A list of patterns found among the words of a text."""
    return _build_list(map(word_pattern, texts))


@cache
def name_patterns(texts: tuple[str, ...]) -> PatternList:
    """A list of patterns of whole names."""
    return _build_list(map(name_pattern, texts))


def _build_list(patterns: Iterable[Pattern]) -> PatternList:
    """Refuse a list that excludes something from nothing."""
    own = PatternList(tuple(patterns))
    if own.patterns and all(pattern.excludes for pattern in own.patterns):
        raise ValueError('a list that only excludes matches nothing: begin it with "*" to exclude from everything')
    return own


def _validate_word_patterns(texts: tuple[str, ...]) -> tuple[str, ...]:
    word_patterns(texts)
    return texts


def _validate_name_patterns(texts: tuple[str, ...]) -> tuple[str, ...]:
    name_patterns(texts)
    return texts


WordPatterns = Annotated[tuple[str, ...], AfterValidator(_validate_word_patterns)]
"""A setting: patterns found among the words of a text."""
NamePatterns = Annotated[tuple[str, ...], AfterValidator(_validate_name_patterns)]
"""A setting: patterns of whole names."""
