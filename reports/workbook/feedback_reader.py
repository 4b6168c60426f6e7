"""Reader of a returned workbook: the rows with managers' answers, or an error that states why the file cannot be read.

A manager may sort, filter, hide or delete rows, so a row is identified only by its account id. The hidden sheet states
what each column holds (`reports/workbook/feedback_layout.py`). Nothing is guessed: a row with any fault is rejected as
a whole, and each fault is reported with its cell.
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
"""Largest size in bytes of an unpacked workbook; a list of 50 000 accounts takes less than a tenth of it."""
MAX_SHEET_ROWS = 1_048_576
"""Maximum number of rows in a sheet."""
MAX_CELL_LENGTH = 32_767
"""Maximum number of characters in a cell."""
MAX_QUOTED_LENGTH = 40
"""Maximum number of characters of a cell that a message quotes."""
MAX_HEADER_ROW = 1_000
"""Last row that may hold the header; a list has only a few notices above it."""
MAX_SAFE_INTEGER = 2**53
"""Above this, the numbers of a spreadsheet (double precision) cannot represent every integer."""
OLE_SIGNATURE, ZIP_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK"
ENCRYPTION_MARKER = "EncryptedPackage".encode("utf-16-le")
HEADING_KEYS = {"account_id": "heading.account_id", **{name: f"answer.{name}" for name in ANSWER_COLUMNS}}
"""Message keys of the column headings. The headings locate columns that were moved; if headings were changed, the
column letters are used."""
RESEND_ADVICE = "send back the .xlsx file that came with the list"


class InvalidWorkbookError(ValueError):
    """A file is not a valid workbook of a list; the message states why and what to do."""


@dataclass(frozen=True)
class Cell:
    """A cell as read; `kind` is openpyxl's: f is a formula, e an error, s text, n a number, d a date, b a boolean."""

    reference: str
    value: Any
    kind: str

    @property
    def is_empty(self) -> bool:
        """True if the cell has no value, or only white space."""
        return self.value is None or (isinstance(self.value, str) and not self.value.strip())

    @property
    def text(self) -> str:
        """The value as text; whole numbers without a decimal point, dates without a time of 0:00."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        elif isinstance(value, datetime) and value.time() == time():
            value = value.date()
        return make_printable(str(value))

    @property
    def has_lost_digits(self) -> bool:
        """True for a number whose last digits may be wrong, because spreadsheets keep only 15 digits."""
        if not isinstance(self.value, int | float) or abs(self.value) < EXACT_INTEGER_LIMIT:
            return False
        return abs(self.value) > MAX_SAFE_INTEGER or int(float(f"{self.value:.15g}")) == self.value

    @property
    def quoted_text(self) -> str:
        """The value in quotation marks, shortened, for messages."""
        return repr(truncate(self.text, MAX_QUOTED_LENGTH, "…"))


@dataclass(frozen=True)
class Sheet:
    """A manager's sheet: its title, the manager (None for accounts without one), and the column letter of each
    field."""

    title: str
    csm: str | None
    columns: Mapping[str, str]


class DropdownChoice(NamedTuple):
    """An option of a drop-down: its label and its code."""

    label: str
    code: str


@dataclass(frozen=True)
class WorkbookInfo:
    """Content of the hidden sheet: the list's date and fingerprint, the managers' sheets, and the options of the
    drop-downs."""

    as_of: date
    fingerprint: str
    language: str
    sheets: tuple[Sheet, ...]
    verdicts: Mapping[str, DropdownChoice]
    actions: Mapping[str, DropdownChoice]
    header: int = 1
    """Row of the header on every manager's sheet, as it was written."""


@dataclass(frozen=True)
class AnswerRow:
    """One row with an answer: the cells of the account id and of the answers, by name."""

    sheet: Sheet
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class UnknownSheet:
    """A sheet with the headings of a manager's sheet but an unknown title: renamed or copied.

    It holds the sheet's account ids and its rows with an answer.
    """

    title: str
    account_ids: frozenset[str]
    rows: tuple[AnswerRow, ...]


@dataclass(frozen=True)
class ReturnedWorkbook:
    """A returned workbook: content of the hidden sheet, rows with an answer, and missing and unknown sheets."""

    info: WorkbookInfo
    rows: tuple[AnswerRow, ...]
    missing_sheets: tuple[Sheet, ...]
    unknown_sheets: tuple[UnknownSheet, ...] = ()


# --- the workbook --------------------------------------------------------------------------------


def read_workbook(content: bytes) -> ReturnedWorkbook:
    """Read a returned workbook from its bytes. Raises InvalidWorkbookError with advice if the file is not a valid
    workbook."""
    _check_file_type(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about extensions that openpyxl would lose; nothing is written back
            workbook = load_workbook(io.BytesIO(content), read_only=True, data_only=False)
            try:
                return _parse_workbook(workbook)
            finally:
                workbook.close()
    except InvalidWorkbookError:
        raise
    except Exception as error:  # a damaged file may cause any error in the reader
        cause = truncate(make_printable(f"{type(error).__name__}: {error}").split("\n")[0], 120, "…")
        raise InvalidWorkbookError(f"it is damaged ({cause}): open it in Excel, save it, and collect again") from None


def _check_file_type(content: bytes) -> None:
    if content.startswith(OLE_SIGNATURE):
        raise InvalidWorkbookError(
            "it is protected by a password: save it without one (File, Info, Protect Workbook)"
            if ENCRYPTION_MARKER in content
            else "it is in the old format .xls: save it as .xlsx"
        )
    if not content.startswith(ZIP_SIGNATURE):
        raise InvalidWorkbookError(
            f"it is {'empty' if not content else 'not a workbook'}: {RESEND_ADVICE}, not a CSV file or a picture of it"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            names, size = set(packed.namelist()), sum(part.file_size for part in packed.infolist())
    except (zipfile.BadZipFile, ValueError, OSError):
        raise InvalidWorkbookError(
            f"it is incomplete, as after an interrupted transfer: {RESEND_ADVICE} again"
        ) from None
    if size > MAX_UNPACKED_BYTES:
        raise InvalidWorkbookError(
            f"it would unpack to {size / 2**30:,.0f} GB, more than any list needs: {RESEND_ADVICE}"
        )
    if "xl/workbook.xml" not in names:
        raise InvalidWorkbookError(
            f"it is not an Excel workbook (.ods and .numbers cannot be read): save it as .xlsx, or {RESEND_ADVICE}"
        )


def _parse_workbook(workbook: Any) -> ReturnedWorkbook:
    if HIDDEN_SHEET not in workbook.sheetnames:
        raise InvalidWorkbookError(
            f"it is not a workbook of a list, or its hidden sheet {HIDDEN_SHEET!r} was deleted: {RESEND_ADVICE}"
        )
    info = _read_info(workbook[HIDDEN_SHEET])
    titles_in_file = {sheet.title for sheet in workbook.worksheets}
    present = [sheet for sheet in info.sheets if sheet.title in titles_in_file]
    rows = tuple(row for sheet in present for row in _answer_rows(workbook[sheet.title], sheet, info))
    missing = tuple(sheet for sheet in info.sheets if sheet not in present)
    known_titles = {HIDDEN_SHEET, *(sheet.title for sheet in info.sheets)}
    unknown = (sheet for sheet in workbook.worksheets if sheet.title not in known_titles)
    return ReturnedWorkbook(info, rows, missing, tuple(_find_unknown_sheets(unknown, info)))


def _find_unknown_sheets(worksheets: Iterator[Any], info: WorkbookInfo) -> Iterator[UnknownSheet]:
    """Yield the sheets of unknown title that have all headings of a manager's sheet."""
    for worksheet in worksheets:
        rows = _iter_rows(worksheet)
        header, header_row = _find_header(rows, info)
        columns = _find_headings(header, info.language)
        if columns.keys() == HEADING_KEYS.keys():
            sheet = Sheet(worksheet.title, None, {name: get_column_letter(column) for name, column in columns.items()})
            ids = (
                _read_cell(row, columns["account_id"], number) for number, row in enumerate(rows, start=header_row + 1)
            )
            account_ids = frozenset(cell.text for cell in ids if not cell.is_empty)
            yield UnknownSheet(worksheet.title, account_ids, tuple(_answer_rows(worksheet, sheet, info)))


def match_renamed_sheets(
    returned: ReturnedWorkbook, managers: Mapping[str, str | None]
) -> tuple[ReturnedWorkbook, list[UnknownSheet]]:
    """Assign renamed sheets to the missing sheets; return the workbook with their rows, and the sheets still unknown.

    `managers` gives the manager of each account of the list by id. An unknown sheet replaces a missing one only if all
    its accounts are of that manager, and no other unknown sheet meets this condition.
    """
    owners = {
        unknown.title: {managers.get(account, HIDDEN_SHEET) for account in unknown.account_ids}
        for unknown in returned.unknown_sheets
    }
    matches: dict[str, UnknownSheet] = {}
    for sheet in returned.missing_sheets:
        candidates = [unknown for unknown in returned.unknown_sheets if owners[unknown.title] == {sheet.csm}]
        if len(candidates) == 1:
            matches[sheet.title] = candidates[0]
    rows = [
        AnswerRow(replace(row.sheet, csm=sheet.csm), row.cells)
        for sheet in returned.missing_sheets
        if sheet.title in matches
        for row in matches[sheet.title].rows
    ]
    missing = tuple(sheet for sheet in returned.missing_sheets if sheet.title not in matches)
    unmatched = [unknown for unknown in returned.unknown_sheets if unknown not in matches.values()]
    return ReturnedWorkbook(returned.info, (*returned.rows, *rows), missing), unmatched


def _read_info(worksheet: Any) -> WorkbookInfo:
    grid = _Grid([[cell.value for cell in row] for row in _iter_rows(worksheet)])
    metadata = {name: grid.cell("B", row) for name, row in METADATA_ROWS.items()}
    if metadata["format"] not in LAYOUT_VERSIONS:
        raise InvalidWorkbookError(
            f"its layout is version {truncate(metadata['format'], MAX_QUOTED_LENGTH, '…')!r}, and this program reads "
            f"versions up to {LAYOUT_VERSION!r}: collect it with the release of renewals that wrote it"
        )
    try:
        as_of, header = date.fromisoformat(metadata["as_of"]), _parse_header_row(metadata["header"] or "1")
        sheets = tuple(_parse_sheet(row) for row in grid.table_rows("A", len(SHEET_TABLE_COLUMNS)))
    except ValueError:
        raise InvalidWorkbookError(f"its hidden sheet {HIDDEN_SHEET!r} was changed: {RESEND_ADVICE}") from None
    verdicts, actions = (
        _parse_choices(grid.table_rows(first, 2)) for first, _ in (VERDICT_TABLE_COLUMNS, ACTION_TABLE_COLUMNS)
    )
    if not sheets or {choice.code for choice in verdicts.values()} != set(VERDICT_CODES):
        raise InvalidWorkbookError(f"its hidden sheet {HIDDEN_SHEET!r} was changed: {RESEND_ADVICE}")
    return WorkbookInfo(as_of, metadata["key"], metadata["language"], sheets, verdicts, actions, header)


def _parse_header_row(text: str) -> int:
    """Parse the row number of the header. Raises ValueError if it is out of range."""
    number = int(text)
    if not 1 <= number <= MAX_HEADER_ROW:
        raise ValueError(f"the header cannot be in row {number}")
    return number


class _Grid:
    """Cells of the hidden sheet as text; empty cells are empty strings."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self.rows = [["" if value is None else str(value) for value in row] for row in rows]

    def cell(self, letter: str, row: int) -> str:
        """Text of one cell; rows count from 1."""
        column = column_index_from_string(letter) - 1
        return self.rows[row - 1][column] if row <= len(self.rows) and column < len(self.rows[row - 1]) else ""

    def table_rows(self, first: str, columns: int) -> Iterator[list[str]]:
        """Yield the rows of one of the tables, below its headings, up to the first row with an empty first cell."""
        start = column_index_from_string(first) - 1
        for row in self.rows[TABLES_HEADER_ROW:]:
            cells = [*row, *[""] * (start + columns)][start : start + columns]
            if not cells[0]:
                return
            yield cells


def _parse_sheet(row: Sequence[str]) -> Sheet:
    title, csm, *letters = row
    for letter in letters:
        column_index_from_string(letter)  # raises ValueError if it is not a column
    return Sheet(title, csm or None, dict(zip(("account_id", *ANSWER_COLUMNS), letters, strict=True)))


def _parse_choices(rows: Iterator[list[str]]) -> dict[str, DropdownChoice]:
    """Options of a drop-down by their normalized label; labels that occur more than once are left out as ambiguous."""
    choices = [DropdownChoice(*row) for row in rows]
    counts = Counter(normalize_text(label) for label, _ in choices)
    return {normalize_text(choice.label): choice for choice in choices if counts[normalize_text(choice.label)] == 1}


def _iter_rows(sheet: Any, **columns: int) -> Iterator[Sequence[Any]]:
    """Yield the rows of a sheet, independent of the size it declares.

    Raises InvalidWorkbookError if there are more than `MAX_SHEET_ROWS`.
    """
    sheet.reset_dimensions()
    rows: Iterator[Sequence[Any]] = sheet.iter_rows(**columns)
    yield from islice(rows, MAX_SHEET_ROWS)
    if next(rows, None) is not None:
        raise InvalidWorkbookError(f"its sheet {sheet.title!r} has more than {MAX_SHEET_ROWS:,} rows: {RESEND_ADVICE}")


def _answer_rows(worksheet: Any, sheet: Sheet, info: WorkbookInfo) -> Iterator[AnswerRow]:
    """Yield the rows of a manager's sheet that contain an answer."""
    rows = _iter_rows(worksheet)
    header, header_row = _find_header(rows, info)
    columns = _locate_columns(header, sheet, info.language)
    for number, row in enumerate(rows, start=header_row + 1):
        cells = {name: _read_cell(row, column, number) for name, column in columns.items()}
        if not all(cells[name].is_empty for name in ANSWER_COLUMNS):
            yield AnswerRow(sheet, cells)


def _find_header(rows: Iterator[Sequence[Any]], info: WorkbookInfo) -> tuple[list[Any], int]:
    """Find the header; return it and its row number. `rows` continues below it.

    It is in the row where it was written, or higher if rows above it were deleted.
    """
    header: list[Any] = []
    for number in range(1, info.header + 1):
        header = [cell.value for cell in next(rows, [])]
        if _find_headings(header, info.language):
            return header, number
    return header, info.header


def _read_cell(row: Sequence[Any], column: int, row_number: int) -> Cell:
    cell = row[column - 1] if column <= len(row) else None
    reference = f"{get_column_letter(column)}{row_number}"
    return Cell(reference, None, "n") if cell is None else Cell(reference, cell.value, cell.data_type)


def _locate_columns(header: Sequence[Any], sheet: Sheet, language: str) -> dict[str, int]:
    """Positions of the columns, counted from 1: as written, or where all the headings were moved."""
    written = {name: column_index_from_string(letter) for name, letter in sheet.columns.items()}
    current = _find_headings(header, language)
    if all(current[name] == written[name] for name in current):
        return written
    if current.keys() == written.keys():
        return current
    missing = ", ".join(name for name in written if name not in current)
    raise InvalidWorkbookError(
        f"on its sheet {sheet.title!r} columns were moved and the heading of {missing} was changed: "
        f"restore it, or {RESEND_ADVICE}"
    )


def _find_headings(header: Sequence[Any], language: str) -> dict[str, int]:
    """Positions of the columns by their headings, counted from 1; only headings that occur exactly once."""
    texts = MESSAGES.get(language, {})
    headings = {name: texts.get(key) for name, key in HEADING_KEYS.items()}
    return {
        name: header.index(heading) + 1 for name, heading in headings.items() if heading and header.count(heading) == 1
    }
