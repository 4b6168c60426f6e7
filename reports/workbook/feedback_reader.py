"""A returned workbook read back: what each manager answered, and in words why a row cannot be taken.

A manager may sort, filter, hide or delete rows, so a row is known by its account id alone; what a cell must hold says
the hidden sheet (`reports/workbook/feedback_layout.py`). Nothing is guessed: a row in which anything is wrong is
refused as a whole, and each fault is told with its cell.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from itertools import islice
from typing import Any, NamedTuple

from openpyxl import load_workbook
from openpyxl.utils import column_index_from_string, get_column_letter

from renewals.features.patterns import normalize_text
from renewals.reports.sanitize import printable, shortened
from renewals.reports.words import LANGUAGES
from renewals.reports.workbook.feedback_layout import (
    ACTION_WORDS,
    ANSWERS,
    EXACT,
    FORMAT,
    FORMATS,
    HEAD,
    HIDDEN,
    SHEETS,
    STANDING,
    VERDICT_WORDS,
    VERDICTS,
)

LARGEST = 1 << 30
"""Bytes a workbook may unpack to: a list of 50 000 accounts takes less than a tenth of it."""
ROWS = 1_048_576
"""A sheet has no more rows."""
LONGEST = 32_767
"""Characters that a cell can hold."""
SHOWN = 40
"""Characters of a cell that a message quotes."""
ROWS_ABOVE = 1_000
"""No header stands lower than this row: a list has a handful of notices."""
WHOLE_UP_TO = 2**53
"""Beyond this the numbers of a spreadsheet no longer tell two whole numbers apart."""
OLE, ZIP = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK"
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
HEADINGS = {"account_id": "heading.account_id", **{name: f"answer.{name}" for name in ANSWERS}}
"""The words over the columns. They tell where a column went that was moved; where they are other, the letters hold."""
AGAIN = "send back the .xlsx file that came with the list"


class NotReturned(ValueError):
    """A file that is no workbook of a list: says why, and what to do."""


@dataclass(frozen=True)
class Cell:
    """A cell as it was found; `kind` is openpyxl's: f a formula, e an error, s text, n a number, d a day, b a flag."""

    place: str
    value: Any
    kind: str

    @property
    def empty(self) -> bool:
        """Whether nothing was written there."""
        return self.value is None or (isinstance(self.value, str) and not self.value.strip())

    @property
    def text(self) -> str:
        """The value as text; a whole number without a point, a day without an hour."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        elif isinstance(value, datetime) and value.time() == time():
            value = value.date()
        return printable(str(value))

    @property
    def lost_digits(self) -> bool:
        """Whether this is a number whose last digits a spreadsheet may have made up: it keeps 15 of them."""
        if not isinstance(self.value, int | float) or abs(self.value) < EXACT:
            return False
        return abs(self.value) > WHOLE_UP_TO or int(float(f"{self.value:.15g}")) == self.value

    @property
    def shown(self) -> str:
        """The value as a message may quote it."""
        return repr(shortened(self.text, SHOWN, "…"))


@dataclass(frozen=True)
class Sheet:
    """A manager's sheet: its title, whose it is (None: nobody's), and in which column what stands, by letter."""

    title: str
    csm: str | None
    columns: Mapping[str, str]


class Choice(NamedTuple):
    """A word of a drop-down as it is written there, and its code."""

    word: str
    code: str


@dataclass(frozen=True)
class Cover:
    """What the hidden sheet says: which list this is, where the answers stand, and what the words mean."""

    as_of: date
    key: str
    language: str
    sheets: tuple[Sheet, ...]
    verdicts: Mapping[str, Choice]
    actions: Mapping[str, Choice]
    header: int = 1
    """The row of the header on every manager's sheet, as it was written."""


@dataclass(frozen=True)
class Row:
    """One row with an answer, as it was found: the cells of the account id and of the answers, by name."""

    sheet: Sheet
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Stray:
    """A sheet with the headings of a manager's, under a title that is none: renamed, or a copy. Its ids, and its rows
    with an answer."""

    title: str
    ids: frozenset[str]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Book:
    """A returned workbook: its cover, every row with an answer, the managers' sheets that are not there, and those that
    nobody wrote down."""

    cover: Cover
    rows: tuple[Row, ...]
    missing: tuple[Sheet, ...]
    strays: tuple[Stray, ...] = ()


# --- the workbook --------------------------------------------------------------------------------


def read_book(content: bytes) -> Book:
    """What stands in a returned workbook. Raises NotReturned, with what to do, for any other file."""
    _is_workbook(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that openpyxl does not keep: nothing is written back
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=False)
            try:
                return _read(book)
            finally:
                book.close()
    except NotReturned:
        raise
    except Exception as fault:  # a file from outside may break the reader anywhere
        said = shortened(printable(f"{type(fault).__name__}: {fault}").split("\n")[0], 120, "…")
        raise NotReturned(f"it is harmed ({said}): open it in Excel, save it, and collect again") from None


def _is_workbook(content: bytes) -> None:
    if content.startswith(OLE):
        raise NotReturned(
            "it is protected by a password: save it without one (File, Info, Protect Workbook)"
            if ENCRYPTED in content
            else "it is in the old format .xls: save it as .xlsx"
        )
    if not content.startswith(ZIP):
        raise NotReturned(
            f"it is {'empty' if not content else 'no workbook'}: {AGAIN}, not a CSV file or a picture of it"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            names, size = set(packed.namelist()), sum(part.file_size for part in packed.infolist())
    except (zipfile.BadZipFile, ValueError, OSError):
        raise NotReturned(f"it is not whole, as after a broken transfer: {AGAIN} once more") from None
    if size > LARGEST:
        raise NotReturned(f"it would unpack to {size / 2**30:,.0f} GB, which no list does: {AGAIN}")
    if "xl/workbook.xml" not in names:
        raise NotReturned(f"it is no Excel workbook (.ods and .numbers are not read): save it as .xlsx, or {AGAIN}")


def _read(book: Any) -> Book:
    if HIDDEN not in book.sheetnames:
        raise NotReturned(f"it is no workbook of a list, or its hidden sheet {HIDDEN!r} was deleted: {AGAIN}")
    cover = _cover(book[HIDDEN])
    usual = {sheet.title for sheet in book.worksheets}
    there = [sheet for sheet in cover.sheets if sheet.title in usual]
    rows = tuple(row for sheet in there for row in _rows(book[sheet.title], sheet, cover))
    missing = tuple(sheet for sheet in cover.sheets if sheet not in there)
    titles = {HIDDEN, *(sheet.title for sheet in cover.sheets)}
    others = (sheet for sheet in book.worksheets if sheet.title not in titles)
    return Book(cover, rows, missing, tuple(_strays(others, cover)))


def _strays(others: Iterator[Any], cover: Cover) -> Iterator[Stray]:
    """The sheets that look like a manager's by all of their headings."""
    for other in others:
        rows = _bounded(other)
        header, at = _header(rows, cover)
        found = _headed(header, cover.language)
        if found.keys() == HEADINGS.keys():
            sheet = Sheet(other.title, None, {name: get_column_letter(place) for name, place in found.items()})
            ids = (_cell(row, found["account_id"], number) for number, row in enumerate(rows, start=at + 1))
            known = frozenset(cell.text for cell in ids if not cell.empty)
            yield Stray(other.title, known, tuple(_rows(other, sheet, cover)))


def rightful(book: Book, managers: Mapping[str, str | None]) -> tuple[Book, list[Stray]]:
    """The book with the renamed sheets in their places, and the strays that are left.

    `managers` tells by id whose each account of the list is. A sheet is surely a missing one where all its accounts are
    of that manager and no other sheet's are.
    """
    owners = {stray.title: {managers.get(own, HIDDEN) for own in stray.ids} for stray in book.strays}
    found: dict[str, Stray] = {}
    for sheet in book.missing:
        own = [stray for stray in book.strays if owners[stray.title] == {sheet.csm}]
        if len(own) == 1:
            found[sheet.title] = own[0]
    rows = [
        Row(replace(row.sheet, csm=sheet.csm), row.cells)
        for sheet in book.missing
        if sheet.title in found
        for row in found[sheet.title].rows
    ]
    missing = tuple(sheet for sheet in book.missing if sheet.title not in found)
    left = [stray for stray in book.strays if stray not in found.values()]
    return Book(book.cover, (*book.rows, *rows), missing), left


def _cover(hidden: Any) -> Cover:
    grid = _Grid([[cell.value for cell in row] for row in _bounded(hidden)])
    said = {name: grid.at("B", row) for name, row in STANDING.items()}
    if said["format"] not in FORMATS:
        raise NotReturned(
            f"its layout is number {shortened(said['format'], SHOWN, '…')!r} and this program reads {FORMAT!r}: "
            "collect it with the release of renewals that made it"
        )
    try:
        as_of, header = date.fromisoformat(said["as_of"]), _row_number(said["header"] or "1")
        sheets = tuple(_sheet(row) for row in grid.table("A", len(SHEETS)))
    except ValueError:
        raise NotReturned(f"its hidden sheet {HIDDEN!r} was changed: {AGAIN}") from None
    verdicts, actions = (_words(grid.table(first, 2)) for first, _ in (VERDICT_WORDS, ACTION_WORDS))
    if not sheets or {choice.code for choice in verdicts.values()} != set(VERDICTS):
        raise NotReturned(f"its hidden sheet {HIDDEN!r} was changed: {AGAIN}")
    return Cover(as_of, said["key"], said["language"], sheets, verdicts, actions, header)


def _row_number(text: str) -> int:
    """The row of a header. Raises ValueError for what can be none."""
    number = int(text)
    if not 1 <= number <= ROWS_ABOVE:
        raise ValueError(f"no row of a header: {number}")
    return number


class _Grid:
    """The hidden sheet as texts, empty where nothing stands."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.rows = [["" if value is None else str(value) for value in row] for row in rows]

    def at(self, letter: str, row: int) -> str:
        """One cell; rows count from 1."""
        place = column_index_from_string(letter) - 1
        return self.rows[row - 1][place] if row <= len(self.rows) and place < len(self.rows[row - 1]) else ""

    def table(self, first: str, columns: int) -> Iterator[list[str]]:
        """The rows of one of its tables, below the headings, until one that begins with nothing."""
        start = column_index_from_string(first) - 1
        for row in self.rows[HEAD:]:
            own = [*row, *[""] * (start + columns)][start : start + columns]
            if not own[0]:
                return
            yield own


def _sheet(row: Sequence[str]) -> Sheet:
    title, csm, *letters = row
    for letter in letters:
        column_index_from_string(letter)  # raises ValueError for what is no column
    return Sheet(title, csm or None, dict(zip(("account_id", *ANSWERS), letters, strict=True)))


def _words(rows: Iterator[list[str]]) -> dict[str, Choice]:
    """The choices by their words as they are compared; a word that names two things names neither."""
    choices = [Choice(*row) for row in rows]
    times = Counter(normalize_text(word) for word, _ in choices)
    return {normalize_text(own.word): own for own in choices if times[normalize_text(own.word)] == 1}


def _bounded(sheet: Any, **columns: int) -> Iterator[Sequence[Any]]:
    """The rows of a sheet, whatever size it pretends to have."""
    sheet.reset_dimensions()
    rows: Iterator[Sequence[Any]] = sheet.iter_rows(**columns)
    yield from islice(rows, ROWS)
    if next(rows, None) is not None:
        raise NotReturned(f"its sheet {sheet.title!r} pretends to have more than {ROWS:,} rows: {AGAIN}")


def _rows(found: Any, sheet: Sheet, cover: Cover) -> Iterator[Row]:
    """The rows of a manager's sheet that hold an answer."""
    rows = _bounded(found)
    header, at = _header(rows, cover)
    places = _places(header, sheet, cover.language)
    for number, row in enumerate(rows, start=at + 1):
        cells = {name: _cell(row, place, number) for name, place in places.items()}
        if not all(cells[name].empty for name in ANSWERS):
            yield Row(sheet, cells)


def _header(rows: Iterator[Sequence[Any]], cover: Cover) -> tuple[list[Any], int]:
    """The header and its row, where it was written or, rows above it deleted, higher; `rows` goes on below it."""
    header: list[Any] = []
    for number in range(1, cover.header + 1):
        header = [cell.value for cell in next(rows, [])]
        if _headed(header, cover.language):
            return header, number
    return header, cover.header


def _cell(row: Sequence[Any], place: int, number: int) -> Cell:
    own = row[place - 1] if place <= len(row) else None
    where = f"{get_column_letter(place)}{number}"
    return Cell(where, None, "n") if own is None else Cell(where, own.value, own.data_type)


def _places(header: Sequence[Any], sheet: Sheet, language: str) -> dict[str, int]:
    """Where the columns stand, counted from 1: where they were written, or where all their headings were moved to."""
    written = {name: column_index_from_string(letter) for name, letter in sheet.columns.items()}
    found = _headed(header, language)
    if all(found[name] == written[name] for name in found):
        return written
    if found.keys() == written.keys():
        return found
    lost = ", ".join(name for name in written if name not in found)
    raise NotReturned(
        f"on its sheet {sheet.title!r} columns were moved and the heading of {lost} was changed: "
        f"put it back, or {AGAIN}"
    )


def _headed(header: Sequence[Any], language: str) -> dict[str, int]:
    """Which columns stand under their headings, counted from 1, where a heading is there once."""
    words = LANGUAGES.get(language, {})
    headings = {name: words.get(key) for name, key in HEADINGS.items()}
    return {name: header.index(word) + 1 for name, word in headings.items() if word and header.count(word) == 1}


# --- the answers ---------------------------------------------------------------------------------


# --- what is told --------------------------------------------------------------------------------
