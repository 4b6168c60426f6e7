"""A sheet per manager: the accounts in rank order, the line of what the manager can carry, and cells for answers.

Where the answers stand is told on a hidden sheet (`reports/workbook/feedback_layout.py`), by which they are read back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from renewals.reports.sanitize import printable, width
from renewals.reports.sentences.playbooks import Play
from renewals.reports.workbook.account_sheet import MONEY, Cells, coloured, column, framed
from renewals.reports.workbook.feedback_layout import (
    ACTION_WORDS,
    ANSWERS,
    FORMAT,
    HEAD,
    HIDDEN,
    SHEETS,
    STANDING,
    VERDICT_WORDS,
    VERDICTS,
)
from renewals.reports.workbook.writer import Book, done

BEFORE = (
    *("rank", "account_name", "risk_band", "renewal_probability", "probability_change", "arr_at_risk", "arr"),
    "renewal_date",
)
"""What stands left of the answers: enough to know which account is meant and how it stands."""
AFTER = (
    *("alerts", "playbook_1", "reason_1", "reason_2", "reason_3", "reason_4", "reason_5"),
    *("playbook_2", "playbook_3", "strength_1", "strength_2", "strength_3", "reason_change"),
    *("quadrant", "expansion_probability", "upsell_probability", "cross_sell_probability"),
    *("renewal_low", "renewal_high", "days_to_renewal", "stage", "size_band", "within_capacity", "account_id"),
)
WIDTHS = {"verdict": 13, "action": 24, "begun": 15, "note": 30}
FORBIDDEN = re.compile(r"[\[\]:*?/\\]")
LONGEST = 31
"""Code units of UTF-16, as Excel counts."""
RESERVED = ("History", HIDDEN)
PAPERS = 3
"""Sheets of paper side by side: on one, nobody could read it."""
YEAR = timedelta(days=366)
"""An action may have begun so long before or after the day of the list."""


@dataclass(frozen=True)
class Portfolio:
    """The accounts of one manager that a workbook shows."""

    csm: str | None
    title: str
    rows: Sequence[int]
    """Their places among the accounts shown, in rank order."""
    within: int
    """The rank of the last account within capacity, 0 where there is none."""


def portfolios(shown: pd.DataFrame, most: int, taken: Iterable[str], nobody: str) -> list[Portfolio]:
    """The portfolios that have a sheet of their own, at most so many, those with the most ARR, by name.

    `shown` has one row per scored account, in rank order; `taken` are titles of other sheets, and `nobody` is what the
    sheet of accounts without a manager is called. That sheet is the last.
    """
    own = shown.assign(csm=shown["csm"].astype(object), place=range(len(shown)), arr=shown["arr"].fillna(0.0))
    held = own.groupby("csm", dropna=False)["arr"].sum().rename_axis("csm").reset_index()
    first = held.sort_values(["arr", "csm"], ascending=[False, True], kind="stable").head(most)
    names = first.sort_values("csm", kind="stable", na_position="last")["csm"].tolist()
    managers = [None if pd.isna(name) else str(name) for name in names]
    of: dict[str | None, pd.DataFrame] = {
        None if pd.isna(name) else str(name): rows for name, rows in own.groupby("csm", dropna=False)
    }
    called = titles([nobody if name is None else name for name in managers], [*RESERVED, *taken], nobody)
    return [_portfolio(name, title, of[name]) for name, title in zip(managers, called, strict=True)]


def _portfolio(csm: str | None, title: str, rows: pd.DataFrame) -> Portfolio:
    """Within capacity are the first accounts and no others: what they come to only grows from one to the next."""
    fits = rows["within_capacity"].fillna(False).astype(bool).to_numpy()
    within = int(rows["rank"].to_numpy()[fits].max()) if fits.any() else 0
    return Portfolio(csm, title, rows["place"].tolist(), within)


def titles(names: Iterable[str], taken: Iterable[str], blank: str) -> list[str]:
    """A title for each name that Excel takes, and that is no other's whatever the case or the width of its letters."""
    known = {_same(title) for title in taken}
    found = []
    for name in names:
        title = next(title for title in _tries(name, blank) if _same(title) not in known)
        known.add(_same(title))
        found.append(title)
    return found


def _tries(name: str, blank: str) -> Iterator[str]:
    plain = FORBIDDEN.sub(" ", printable(" ".join(name.split()))).strip(" '") or blank
    yield _cut(plain, LONGEST)
    number = 2
    while True:
        mark = f" ({number})"
        yield _cut(plain, LONGEST - len(mark)) + mark
        number += 1


def _cut(text: str, longest: int) -> str:
    """As much of a text as has so many code units of UTF-16; no letter is halved, and no apostrophe left at the end."""
    return text.encode("utf-16-le")[: 2 * longest].decode("utf-16-le", "ignore").rstrip(" '")


def _same(title: str) -> str:
    return unicodedata.normalize("NFKC", title).casefold()


# --- the sheets ---------------------------------------------------------------------------------------


def write(book: Book, own: Portfolio, shown: Cells, currency: str | None, plays: int, day: date) -> Mapping[str, str]:
    """The sheet of one manager; the letter of each column that is read back.

    `plays` is how many there are to choose from, and `day` that of the list. Notices stand above the header.
    """
    sheet, header = book.sheet(own.title), len(book.notices)
    sheet.fit_to_pages(PAPERS, 0)
    sheet.repeat_columns(0, 1)
    names = [name for name in (*BEFORE, *ANSWERS, *AFTER) if name in ANSWERS or name in shown.names]
    letters = {name: xl_col_to_name(place) for place, name in enumerate(names)}
    for place, name in enumerate(names):
        if name in ANSWERS:
            _asked(book, sheet, place, name, len(own.rows))
            continue
        column(book, sheet, place, name, shown, own.rows, header)
        if name in MONEY and currency:
            said = book.words.say("heading.in_currency", heading=shown.headings[name], currency=currency)
            book.text(sheet, header, place, said, "head")
            sheet.set_column(place, place, max(shown.widths[name], width(said) / 1.6 + 3))
    framed(sheet, [shown.heights[row] for row in own.rows], len(names), 2, header)
    # As wide as a screen, so that the frozen rows stay few lines high.
    book.write_notices(sheet, [{**WIDTHS, **shown.widths}[name] for name in names if name not in AFTER])
    _line(book, sheet, letters, own)
    coloured(book, sheet, names, len(own.rows), header)
    _beyond(book, sheet, letters, own)
    _choices(book, sheet, letters, len(own.rows), plays, day)
    return {name: letters[name] for name in ("account_id", *ANSWERS)}


def _asked(book: Book, sheet: Worksheet, place: int, name: str, rows: int) -> None:
    """A column of empty cells to be filled in."""
    kind, header = "begun" if name == "begun" else "answer", len(book.notices)
    book.text(sheet, header, place, book.words.say(f"answer.{name}"), "asked")
    sheet.set_column(place, place, WIDTHS[name])
    for row in range(header + 1, header + rows + 1):
        done(sheet.write_blank(row, place, None, book.formats[kind]))


def _line(book: Book, sheet: Worksheet, letters: Mapping[str, str], own: Portfolio) -> None:
    """The line under the last account within capacity.

    A rule and no fixed border: borders stay behind when rows are sorted, and this one is then drawn only where the last
    account within capacity stands over the first beyond.
    """
    first, last = next(iter(letters.values())), list(letters.values())[-1]
    rank, row = letters["rank"], _first_row(book)
    rule = f"=AND(${rank}{row}={own.within},${rank}{row + 1}={own.within + 1})"
    _ruled(book, sheet, rule, "line", own, [(first, last)])


def _beyond(book: Book, sheet: Worksheet, letters: Mapping[str, str], own: Portfolio) -> None:
    """Grey for what lies beyond capacity, wherever it is sorted to; the cells for answers stay as they are."""
    columns = list(letters.values())
    at = [place for place, name in enumerate(letters) if name in ANSWERS]
    parts = [(columns[0], columns[at[0] - 1]), (columns[at[-1] + 1], columns[-1])]
    _ruled(book, sheet, f"=${letters['rank']}{_first_row(book)}>{own.within}", "beyond", own, parts)


def _ruled(
    book: Book, sheet: Worksheet, rule: str, kind: str, own: Portfolio, parts: Sequence[tuple[str, str]]
) -> None:
    """Lay a format over the rows of these columns for which a rule holds, where anything lies beyond capacity."""
    if own.within >= len(own.rows):
        return
    top = _first_row(book)
    spans = [f"{first}{top}:{last}{top + len(own.rows) - 1}" for first, last in parts]
    form = {"type": "formula", "criteria": rule, "format": book.formats[kind], "multi_range": " ".join(spans)}
    done(sheet.conditional_format(spans[0], form))


def _first_row(book: Book) -> int:
    """The row of the first account, as Excel counts."""
    return len(book.notices) + 2


# --- what is read back --------------------------------------------------------------------------------


def actions(plays: Mapping[str, Play], language: str) -> dict[str, str]:
    """The name of every play in a language, with its id; a name that several bear is told apart by the id."""
    names = {key: printable(str(play["name"][language])) for key, play in plays.items()}
    several = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {f"{name} ({key})" if name in several else name: key for key, name in names.items()}


def _choices(book: Book, sheet: Worksheet, letters: Mapping[str, str], rows: int, plays: int, day: date) -> None:
    """What may be filled in: verdicts and plays from lists, days near that of the list."""
    refused = {"error_title": book.words.say("answer.refused")}
    unlisted = {"error_message": book.words.say("answer.not_listed")}
    first, last = day - YEAR, day + YEAR
    near = {"validate": "date", "criteria": "between", "minimum": first, "maximum": last}
    near["error_message"] = book.words.say("answer.not_a_day", first=first, last=last)
    rules: dict[str, dict[str, Any]] = {"verdict": _among(VERDICT_WORDS[0], len(VERDICTS)) | unlisted, "begun": near}
    if plays:
        rules["action"] = _among(ACTION_WORDS[0], plays) | unlisted
    for name, rule in rules.items():
        span = f"{letters[name]}{_first_row(book)}:{letters[name]}{_first_row(book) + rows - 1}"
        done(sheet.data_validation(span, refused | rule))


def _among(letter: str, count: int) -> dict[str, Any]:
    return {"validate": "list", "source": f"={HIDDEN}!${letter}${HEAD + 1}:${letter}${HEAD + count}"}


def hidden(
    book: Book,
    key: str,
    day: date,
    sheets: Sequence[tuple[Portfolio, Mapping[str, str]]],
    played: Mapping[str, str],
) -> None:
    """The sheet nobody sees: which list this is, where its answers stand, and what the words to choose from mean."""
    sheet = book.file.add_worksheet(HIDDEN)
    sheet.very_hidden()
    standing = {"format": FORMAT, "as_of": day.isoformat(), "key": key, "language": book.words.language}
    standing["header"] = str(len(book.notices) + 1)
    for name, row in STANDING.items():
        _beside(book, sheet, row, "A", (name, standing[name]))
    _beside(book, sheet, HEAD, "A", SHEETS)
    for row, (own, letters) in enumerate(sheets, start=HEAD + 1):
        _beside(book, sheet, row, "A", (own.title, own.csm or "", *letters.values()))
    spoken = {book.words.say(f"verdict.{code}"): code for code in VERDICTS}
    for place, head, said in ((VERDICT_WORDS, ("verdict", "code"), spoken), (ACTION_WORDS, ("action", "id"), played)):
        for row, pair in enumerate([head, *said.items()], start=HEAD):
            _beside(book, sheet, row, place[0], pair)


def _beside(book: Book, sheet: Worksheet, row: int, letter: str, texts: Iterable[str]) -> None:
    for place, text in enumerate(texts, start=ord(letter) - ord("A")):
        book.write(sheet, row - 1, place, text or None, "text")
