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
from renewals.reports.sanitize import make_printable, truncate
from renewals.reports.words import MESSAGES
from renewals.reports.workbook.feedback_layout import (
    ACTION_TABLE_COLUMNS,
    ANSWER_COLUMNS,
    EXACT_INTEGER_LIMIT,
    HIDDEN_SHEET,
    LAYOUT_VERSION,
    LAYOUT_VERSIONS,
    METADATA_ROWS,
    SHEET_TABLE_COLUMNS,
    TABLES_HEADER_ROW,
    VERDICT_CODES,
    VERDICT_TABLE_COLUMNS,
)

MAX_UNPACKED_BYTES = 1 << 30
"""Bytes a workbook may unpack to: a list of 50 000 accounts takes less than a tenth of it."""
MAX_SHEET_ROWS = 1_048_576
"""A sheet has no more rows."""
MAX_CELL_LENGTH = 32_767
"""Characters that a cell can hold."""
MAX_QUOTED_LENGTH = 40
"""Characters of a cell that a message quotes."""
MAX_HEADER_ROW = 1_000
"""No header stands lower than this row: a list has a handful of notices."""
MAX_SAFE_INTEGER = 2**53
"""Beyond this the numbers of a spreadsheet no longer tell two whole numbers apart."""
OLE_SIGNATURE, ZIP_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK"
ENCRYPTION_MARKER = "EncryptedPackage".encode("utf-16-le")
HEADING_KEYS = {"account_id": "heading.account_id", **{name: f"answer.{name}" for name in ANSWER_COLUMNS}}
"""The words over the columns. They tell where a column went that was moved; where they are other, the letters hold."""
RESEND_ADVICE = "send back the .xlsx file that came with the list"


class InvalidWorkbookError(ValueError):
    """A file that is no workbook of a list: says why, and what to do."""


@dataclass(frozen=True)
class Cell:
    """A cell as it was found; `kind` is openpyxl's: f a formula, e an error, s text, n a number, d a day, b a flag."""

    reference: str
    value: Any
    kind: str

    @property
    def is_empty(self) -> bool:
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
        return make_printable(str(value))

    @property
    def has_lost_digits(self) -> bool:
        """Whether this is a number whose last digits a spreadsheet may have made up: it keeps 15 of them."""
        if not isinstance(self.value, int | float) or abs(self.value) < EXACT_INTEGER_LIMIT:
            return False
        return abs(self.value) > MAX_SAFE_INTEGER or int(float(f"{self.value:.15g}")) == self.value

    @property
    def quoted_text(self) -> str:
        """The value as a message may quote it."""
        return repr(truncate(self.text, MAX_QUOTED_LENGTH, "…"))


@dataclass(frozen=True)
class Sheet:
    """A manager's sheet: its title, whose it is (None: nobody's), and in which column what stands, by letter."""

    title: str
    csm: str | None
    columns: Mapping[str, str]


class DropdownChoice(NamedTuple):
    """A word of a drop-down as it is written there, and its code."""

    label: str
    code: str


@dataclass(frozen=True)
class WorkbookInfo:
    """What the hidden sheet says: which list this is, where the answers stand, and what the words mean."""

    as_of: date
    fingerprint: str
    language: str
    sheets: tuple[Sheet, ...]
    verdicts: Mapping[str, DropdownChoice]
    actions: Mapping[str, DropdownChoice]
    header: int = 1
    """The row of the header on every manager's sheet, as it was written."""


@dataclass(frozen=True)
class AnswerRow:
    """One row with an answer, as it was found: the cells of the account id and of the answers, by name."""

    sheet: Sheet
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class UnknownSheet:
    """A sheet with the headings of a manager's, under a title that is none: renamed, or a copy. Its ids, and its rows
    with an answer."""

    title: str
    account_ids: frozenset[str]
    rows: tuple[AnswerRow, ...]


@dataclass(frozen=True)
class ReturnedWorkbook:
    """A returned workbook: its cover, every row with an answer, the managers' sheets that are not there, and those that
    nobody wrote down."""

    info: WorkbookInfo
    rows: tuple[AnswerRow, ...]
    missing_sheets: tuple[Sheet, ...]
    unknown_sheets: tuple[UnknownSheet, ...] = ()


# --- the workbook --------------------------------------------------------------------------------


def read_workbook(content: bytes) -> ReturnedWorkbook:
    """What stands in a returned workbook. Raises InvalidWorkbookError, with what to do, for any other file."""
    _check_file_type(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that openpyxl does not keep: nothing is written back
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=False)
            try:
                return _parse_workbook(book)
            finally:
                book.close()
    except InvalidWorkbookError:
        raise
    except Exception as fault:  # a file from outside may break the reader anywhere
        said = truncate(make_printable(f"{type(fault).__name__}: {fault}").split("\n")[0], 120, "…")
        raise InvalidWorkbookError(f"it is harmed ({said}): open it in Excel, save it, and collect again") from None


def _check_file_type(content: bytes) -> None:
    if content.startswith(OLE_SIGNATURE):
        raise InvalidWorkbookError(
            "it is protected by a password: save it without one (File, Info, Protect Workbook)"
            if ENCRYPTION_MARKER in content
            else "it is in the old format .xls: save it as .xlsx"
        )
    if not content.startswith(ZIP_SIGNATURE):
        raise InvalidWorkbookError(
            f"it is {'empty' if not content else 'no workbook'}: {RESEND_ADVICE}, not a CSV file or a picture of it"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            names, size = set(packed.namelist()), sum(part.file_size for part in packed.infolist())
    except (zipfile.BadZipFile, ValueError, OSError):
        raise InvalidWorkbookError(f"it is not whole, as after a broken transfer: {RESEND_ADVICE} once more") from None
    if size > MAX_UNPACKED_BYTES:
        raise InvalidWorkbookError(f"it would unpack to {size / 2**30:,.0f} GB, which no list does: {RESEND_ADVICE}")
    if "xl/workbook.xml" not in names:
        raise InvalidWorkbookError(
            f"it is no Excel workbook (.ods and .numbers are not read): save it as .xlsx, or {RESEND_ADVICE}"
        )


def _parse_workbook(workbook: Any) -> ReturnedWorkbook:
    if HIDDEN_SHEET not in workbook.sheetnames:
        raise InvalidWorkbookError(
            f"it is no workbook of a list, or its hidden sheet {HIDDEN_SHEET!r} was deleted: {RESEND_ADVICE}"
        )
    cover = _read_info(workbook[HIDDEN_SHEET])
    usual = {sheet.title for sheet in workbook.worksheets}
    there = [sheet for sheet in cover.sheets if sheet.title in usual]
    rows = tuple(row for sheet in there for row in _answer_rows(workbook[sheet.title], sheet, cover))
    missing = tuple(sheet for sheet in cover.sheets if sheet not in there)
    titles = {HIDDEN_SHEET, *(sheet.title for sheet in cover.sheets)}
    others = (sheet for sheet in workbook.worksheets if sheet.title not in titles)
    return ReturnedWorkbook(cover, rows, missing, tuple(_find_unknown_sheets(others, cover)))


def _find_unknown_sheets(worksheets: Iterator[Any], info: WorkbookInfo) -> Iterator[UnknownSheet]:
    """The sheets that look like a manager's by all of their headings."""
    for other in worksheets:
        rows = _iter_rows(other)
        header, at = _find_header(rows, info)
        found = _find_headings(header, info.language)
        if found.keys() == HEADING_KEYS.keys():
            sheet = Sheet(other.title, None, {name: get_column_letter(place) for name, place in found.items()})
            ids = (_read_cell(row, found["account_id"], number) for number, row in enumerate(rows, start=at + 1))
            known = frozenset(cell.text for cell in ids if not cell.is_empty)
            yield UnknownSheet(other.title, known, tuple(_answer_rows(other, sheet, info)))


def match_renamed_sheets(
    returned: ReturnedWorkbook, managers: Mapping[str, str | None]
) -> tuple[ReturnedWorkbook, list[UnknownSheet]]:
    """The book with the renamed sheets in their places, and the strays that are left.

    `managers` tells by id whose each account of the list is. A sheet is surely a missing one where all its accounts are
    of that manager and no other sheet's are.
    """
    owners = {
        stray.title: {managers.get(own, HIDDEN_SHEET) for own in stray.account_ids} for stray in returned.unknown_sheets
    }
    found: dict[str, UnknownSheet] = {}
    for sheet in returned.missing_sheets:
        own = [stray for stray in returned.unknown_sheets if owners[stray.title] == {sheet.csm}]
        if len(own) == 1:
            found[sheet.title] = own[0]
    rows = [
        AnswerRow(replace(row.sheet, csm=sheet.csm), row.cells)
        for sheet in returned.missing_sheets
        if sheet.title in found
        for row in found[sheet.title].rows
    ]
    missing = tuple(sheet for sheet in returned.missing_sheets if sheet.title not in found)
    left = [stray for stray in returned.unknown_sheets if stray not in found.values()]
    return ReturnedWorkbook(returned.info, (*returned.rows, *rows), missing), left


def _read_info(worksheet: Any) -> WorkbookInfo:
    grid = _Grid([[cell.value for cell in row] for row in _iter_rows(worksheet)])
    said = {name: grid.cell("B", row) for name, row in METADATA_ROWS.items()}
    if said["format"] not in LAYOUT_VERSIONS:
        raise InvalidWorkbookError(
            f"its layout is number {truncate(said['format'], MAX_QUOTED_LENGTH, '…')!r} and this program reads "
            f"{LAYOUT_VERSION!r}: "
            "collect it with the release of renewals that made it"
        )
    try:
        as_of, header = date.fromisoformat(said["as_of"]), _parse_header_row(said["header"] or "1")
        sheets = tuple(_parse_sheet(row) for row in grid.table_rows("A", len(SHEET_TABLE_COLUMNS)))
    except ValueError:
        raise InvalidWorkbookError(f"its hidden sheet {HIDDEN_SHEET!r} was changed: {RESEND_ADVICE}") from None
    verdicts, actions = (
        _parse_choices(grid.table_rows(first, 2)) for first, _ in (VERDICT_TABLE_COLUMNS, ACTION_TABLE_COLUMNS)
    )
    if not sheets or {choice.code for choice in verdicts.values()} != set(VERDICT_CODES):
        raise InvalidWorkbookError(f"its hidden sheet {HIDDEN_SHEET!r} was changed: {RESEND_ADVICE}")
    return WorkbookInfo(as_of, said["key"], said["language"], sheets, verdicts, actions, header)


def _parse_header_row(text: str) -> int:
    """The row of a header. Raises ValueError for what can be none."""
    number = int(text)
    if not 1 <= number <= MAX_HEADER_ROW:
        raise ValueError(f"no row of a header: {number}")
    return number


class _Grid:
    """The hidden sheet as texts, empty where nothing stands."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.rows = [["" if value is None else str(value) for value in row] for row in rows]

    def cell(self, letter: str, row: int) -> str:
        """One cell; rows count from 1."""
        place = column_index_from_string(letter) - 1
        return self.rows[row - 1][place] if row <= len(self.rows) and place < len(self.rows[row - 1]) else ""

    def table_rows(self, first: str, columns: int) -> Iterator[list[str]]:
        """The rows of one of its tables, below the headings, until one that begins with nothing."""
        start = column_index_from_string(first) - 1
        for row in self.rows[TABLES_HEADER_ROW:]:
            own = [*row, *[""] * (start + columns)][start : start + columns]
            if not own[0]:
                return
            yield own


def _parse_sheet(row: Sequence[str]) -> Sheet:
    title, csm, *letters = row
    for letter in letters:
        column_index_from_string(letter)  # raises ValueError for what is no column
    return Sheet(title, csm or None, dict(zip(("account_id", *ANSWER_COLUMNS), letters, strict=True)))


def _parse_choices(rows: Iterator[list[str]]) -> dict[str, DropdownChoice]:
    """The choices by their words as they are compared; a word that names two things names neither."""
    choices = [DropdownChoice(*row) for row in rows]
    times = Counter(normalize_text(word) for word, _ in choices)
    return {normalize_text(own.label): own for own in choices if times[normalize_text(own.label)] == 1}


def _iter_rows(sheet: Any, **columns: int) -> Iterator[Sequence[Any]]:
    """The rows of a sheet, whatever size it pretends to have."""
    sheet.reset_dimensions()
    rows: Iterator[Sequence[Any]] = sheet.iter_rows(**columns)
    yield from islice(rows, MAX_SHEET_ROWS)
    if next(rows, None) is not None:
        raise InvalidWorkbookError(
            f"its sheet {sheet.title!r} pretends to have more than {MAX_SHEET_ROWS:,} rows: {RESEND_ADVICE}"
        )


def _answer_rows(worksheet: Any, sheet: Sheet, info: WorkbookInfo) -> Iterator[AnswerRow]:
    """The rows of a manager's sheet that hold an answer."""
    rows = _iter_rows(worksheet)
    header, at = _find_header(rows, info)
    places = _locate_columns(header, sheet, info.language)
    for number, row in enumerate(rows, start=at + 1):
        cells = {name: _read_cell(row, place, number) for name, place in places.items()}
        if not all(cells[name].is_empty for name in ANSWER_COLUMNS):
            yield AnswerRow(sheet, cells)


def _find_header(rows: Iterator[Sequence[Any]], info: WorkbookInfo) -> tuple[list[Any], int]:
    """The header and its row, where it was written or, rows above it deleted, higher; `rows` goes on below it."""
    header: list[Any] = []
    for number in range(1, info.header + 1):
        header = [cell.value for cell in next(rows, [])]
        if _find_headings(header, info.language):
            return header, number
    return header, info.header


def _read_cell(row: Sequence[Any], column: int, row_number: int) -> Cell:
    own = row[column - 1] if column <= len(row) else None
    where = f"{get_column_letter(column)}{row_number}"
    return Cell(where, None, "n") if own is None else Cell(where, own.value, own.data_type)


def _locate_columns(header: Sequence[Any], sheet: Sheet, language: str) -> dict[str, int]:
    """Where the columns stand, counted from 1: where they were written, or where all their headings were moved to."""
    written = {name: column_index_from_string(letter) for name, letter in sheet.columns.items()}
    found = _find_headings(header, language)
    if all(found[name] == written[name] for name in found):
        return written
    if found.keys() == written.keys():
        return found
    lost = ", ".join(name for name in written if name not in found)
    raise InvalidWorkbookError(
        f"on its sheet {sheet.title!r} columns were moved and the heading of {lost} was changed: "
        f"put it back, or {RESEND_ADVICE}"
    )


def _find_headings(header: Sequence[Any], language: str) -> dict[str, int]:
    """Which columns stand under their headings, counted from 1, where a heading is there once."""
    words = MESSAGES.get(language, {})
    headings = {name: words.get(key) for name, key in HEADING_KEYS.items()}
    return {name: header.index(word) + 1 for name, word in headings.items() if word and header.count(word) == 1}


# --- the answers ---------------------------------------------------------------------------------


# --- what is told --------------------------------------------------------------------------------
