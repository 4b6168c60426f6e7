"""Writer for a workbook in one language: its formats, and cells that are safe to open with any text in them.

Text is always written as text, never as a formula or a link. The workbook is built in memory: `reports/` opens no file,
and XlsxWriter's constant-memory mode would write temporary files.
"""

from __future__ import annotations

import datetime
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from renewals.reports.render_failures import RenderFailures
from renewals.reports.sanitize import display_width, make_printable, truncate
from renewals.reports.words import Messages

LINE_HEIGHT = 16.5
"""Height of one line in points; Chinese fonts need more than Latin ones. Heights of wrapped rows are set, because not
every program computes them."""
MAX_CELL_LENGTH = 32_767
MAX_COLUMN_WIDTH = 60
CELL_FORMATS: Mapping[str, Mapping[str, Any]] = {
    "number": {"num_format": "#,##0"},
    "integer": {"num_format": "0"},
    "id": {"num_format": "0"},
    "probability": {"num_format": "0%"},
    "general": {"num_format": "General"},
    "change": {"num_format": "+0%;-0%;0%"},
    "head": {"bold": True, "text_wrap": True, "align": "left", "indent": 1, "bottom": 1, "bg_color": "#E8EEF4"},
    "over": {"bold": True, "text_wrap": True, "align": "right", "bottom": 1, "bg_color": "#E8EEF4"},
    "asked": {"bold": True, "text_wrap": True, "align": "left", "indent": 1, "bottom": 1, "bg_color": "#BDD7EE"},
    "title": {"bold": True, "font_size": 14},
    "notice": {
        **{"bold": True, "text_wrap": True, "align": "left", "indent": 1},
        **{"font_color": "#7F4F00", "bg_color": "#FFE08A", "border": 1, "border_color": "#D99A0B"},
    },
    "section": {"bold": True, "font_size": 12},
    "text": {"align": "left", "indent": 1},
    "wrapped": {"text_wrap": True, "align": "left", "indent": 1},
    "note": {"font_color": "#595959"},
    "answer": {
        **{"num_format": "@", "text_wrap": True, "align": "left", "indent": 1, "bg_color": "#EAF3FB"},
        **{"border": 1, "border_color": "#9DC3E6", "top": 0},  # the bottom border is the line at capacity
    },
    "high": {"font_color": "#9C0006", "bg_color": "#FFC7CE"},
    "medium": {"font_color": "#7F6000", "bg_color": "#FFEB9C"},
    "low": {"font_color": "#006100", "bg_color": "#C6EFCE"},
    "beyond": {"font_color": "#808080", "bg_color": "#F2F2F2"},
    "line": {"bottom": 1, "bottom_color": "#C00000"},
}
OVERLAY_FORMATS = ("high", "medium", "low", "beyond", "line")
"""Formats applied on top of a cell's own format, therefore without alignment."""
DATE_FORMATS: Mapping[str, Mapping[str, str]] = {
    "en": {"date": "[$-409]d mmm yyyy", "month": "[$-409]mmm yyyy"},
    "zh": {"date": 'yyyy"年"m"月"d"日"', "month": 'yyyy"年"m"月"'},
}
"""Number formats of a day and a month, by language."""
DATE_WIDTH = 14
CHART_FONTS: Mapping[str, str] = {"en": "Calibri", "zh": "Microsoft YaHei"}
"""Fonts of charts, by language. In charts, unlike in cells, no other font replaces missing characters."""


@dataclass(frozen=True)
class WorkbookWriter:
    """Writer of a workbook, with the formats and messages of one language."""

    workbook: xlsxwriter.Workbook
    messages: Messages
    formats: Mapping[str, Format]
    failures: RenderFailures = field(default_factory=RenderFailures)
    """Cells that could not be shown."""
    notices: Sequence[str] = ()
    """Notices to read before the list, one text each."""

    def add_sheet(self, title: str) -> Worksheet:
        """Add a sheet, printed one page wide in landscape with its first row repeated on every page."""
        sheet = self.workbook.add_worksheet(title)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.repeat_rows(0)
        sheet.fit_to_pages(1, 0)
        return sheet

    def write_text(self, sheet: Worksheet, row: int, column: int, text: str, kind: str = "text") -> None:
        """Write a text as text, without interpretation as a formula or link."""
        check_return_code(sheet.write_string(row, column, self.fit_text(text), self.formats[kind]))

    def write_across(
        self, sheet: Worksheet, row: int, text: str, kind: str, widths: Sequence[float], first: int = 0
    ) -> None:
        """Write a wrapped text across columns of these widths, from column `first`, and fit the height of the row."""
        sheet.merge_range(row, first, row, first + len(widths) - 1, "", self.formats[kind])
        self.write_text(sheet, row, first, text, kind)
        sheet.set_row(row, LINE_HEIGHT * count_lines(text, sum(widths)))

    def write_notices(self, sheet: Worksheet, widths: Sequence[float]) -> int:
        """Write the notices at the top of a sheet, across columns of these widths; return the number of rows used."""
        for row, text in enumerate(self.notices):
            self.write_across(sheet, row, f"⚠ {text}", "notice", widths)
        return len(self.notices)

    def fit_text(self, text: str) -> str:
        """Shorten a text to the maximum length of a cell."""
        text = make_printable(text)
        return (
            text
            if len(text) <= MAX_CELL_LENGTH
            else truncate(text, MAX_CELL_LENGTH, self.messages.text("phrase.cut", length=len(text)))
        )

    def write_cell(self, sheet: Worksheet, row: int, column: int, cell: Any, kind: str) -> None:
        """Write a text, a number or a date; write nothing for None, NaN and infinity.

        A value that no cell can hold is left out and counted.
        """
        if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
            return
        try:
            self._write_value(sheet, row, column, cell, kind)
        except Exception as error:  # an error in one cell must not stop the others
            reference = f"{sheet.get_name()}!{xl_rowcol_to_cell(row, column)}"
            self.failures.add("workbook", "cell", type(error).__name__, reference)

    def _write_value(self, sheet: Worksheet, row: int, column: int, cell: Any, kind: str) -> None:
        if isinstance(cell, str):
            self.write_text(sheet, row, column, cell, kind)
        elif isinstance(cell, datetime.date):
            check_return_code(sheet.write_datetime(row, column, cell, self.formats[kind]))
        else:
            check_return_code(sheet.write_number(row, column, cell, self.formats[kind]))

    def write_rows(self, sheet: Worksheet, top: int, rows: Iterable[Sequence[Any]], kinds: Sequence[str]) -> None:
        """Write rows of cells, from row `top` of the sheet; one format per column."""
        for row, cells in enumerate(rows, start=top):
            for column, (cell, kind) in enumerate(zip(cells, kinds, strict=True)):
                self.write_cell(sheet, row, column, cell, kind)

    def add_text_sheet(
        self, title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]], note: str = ""
    ) -> Worksheet:
        """Add a sheet of text and numbers below frozen headings, with an optional note below the rows."""
        sheet = self.add_sheet(title)
        for position, (heading, cells) in enumerate(zip(headings, zip(*rows, strict=True), strict=True)):
            self.write_text(sheet, 0, position, heading, "head")
            longest = max(display_width(line) for cell in cells for line in str(cell).splitlines() or [""])
            sheet.set_column(position, position, min(max(display_width(heading) + 3, longest + 2), MAX_COLUMN_WIDTH))
            for row, cell in enumerate(cells, start=1):
                self.write_cell(sheet, row, position, cell, cell_format(cell))
        for row, row_cells in enumerate(rows, start=1):
            sheet.set_row(row, LINE_HEIGHT * max(count_lines(cell, MAX_COLUMN_WIDTH) for cell in row_cells))
        if note:
            self.write_text(sheet, len(rows) + 2, 0, note)
        sheet.freeze_panes(1, 1)
        return sheet


@contextmanager
def open_writer(
    sink: io.BytesIO,
    messages: Messages,
    day: datetime.date | None,
    failures: RenderFailures | None = None,
    notices: Sequence[str] = (),
) -> Iterator[WorkbookWriter]:
    """Open a workbook that is written to `sink` when closed; its creation date is the list's date, never the clock."""
    settings = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(sink, settings) as workbook:
        created = datetime.datetime.combine(day or datetime.date(1980, 1, 1), datetime.time())
        workbook.set_properties({"created": created})
        formats = {name: workbook.add_format(options) for name, options in build_formats(messages.language).items()}
        yield WorkbookWriter(workbook, messages, formats, failures or RenderFailures(), notices)


def build_formats(language: str) -> dict[str, dict[str, Any]]:
    """Options of all formats by name, with the date formats of a language."""
    date_formats = {
        name: {"num_format": pattern, "align": "left", "indent": 1} for name, pattern in DATE_FORMATS[language].items()
    }
    start_day = {**CELL_FORMATS["answer"], "num_format": DATE_FORMATS[language]["date"]}
    formats: dict[str, Mapping[str, Any]] = {**CELL_FORMATS, **date_formats, "started_on": start_day}
    return {
        name: dict(options) if name in OVERLAY_FORMATS else {**options, "valign": "top"}
        for name, options in formats.items()
    }


def cell_format(cell: Any) -> str:
    """Choose a format from the cell's value alone: numbers from 0 to 1 are shown as percentages."""
    if isinstance(cell, str):
        return "wrapped"
    if isinstance(cell, datetime.date):
        return "date"
    return "probability" if isinstance(cell, float) and 0 <= cell <= 1 else "general"


def check_return_code(code: int | None) -> None:
    """Raise ValueError for an error code of XlsxWriter: its only report of a dropped or cut cell or an invalid rule."""
    if code:
        raise ValueError(f"XlsxWriter did not write a cell or a rule (code {code})")


def count_lines(text: object, column_width: float) -> int:
    """Number of lines that a text needs at this width; 10 % is added to the text's width, because words are not
    split."""
    if not isinstance(text, str):
        return 1
    wrapped = (math.ceil(display_width(line) * 1.1 / column_width) for line in text.splitlines())
    return max(sum(max(count, 1) for count in wrapped), 1)
