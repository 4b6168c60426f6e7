"""A workbook in one language: its formats, and cells that are safe to open whatever an account is called.

Every text is written as text, never as a formula or a link. The book is built in memory (`reports/` opens no file, and
XlsxWriter's constant-memory mode writes temporary ones).
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
"""The height of one line, in points: Chinese fonts need more than Latin ones. Rows that wrap are given theirs, for not
every program works it out."""
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
        **{"border": 1, "border_color": "#9DC3E6", "top": 0},  # the line of capacity is drawn at the bottom
    },
    "high": {"font_color": "#9C0006", "bg_color": "#FFC7CE"},
    "medium": {"font_color": "#7F6000", "bg_color": "#FFEB9C"},
    "low": {"font_color": "#006100", "bg_color": "#C6EFCE"},
    "beyond": {"font_color": "#808080", "bg_color": "#F2F2F2"},
    "line": {"bottom": 1, "bottom_color": "#C00000"},
}
OVERLAY_FORMATS = ("high", "medium", "low", "beyond", "line")
"""Formats laid over a cell's own, which therefore say nothing of its alignment."""
DATE_FORMATS: Mapping[str, Mapping[str, str]] = {
    "en": {"date": "[$-409]d mmm yyyy", "month": "[$-409]mmm yyyy"},
    "zh": {"date": 'yyyy"年"m"月"d"日"', "month": 'yyyy"年"m"月"'},
}
"""How a day and a month are shown, by language."""
DATE_WIDTH = 14
CHART_FONTS: Mapping[str, str] = {"en": "Calibri", "zh": "Microsoft YaHei"}
"""The font of charts, which, unlike that of cells, gets no other where it lacks a letter."""


@dataclass(frozen=True)
class WorkbookWriter:
    """A workbook that is being written."""

    workbook: xlsxwriter.Workbook
    messages: Messages
    formats: Mapping[str, Format]
    failures: RenderFailures = field(default_factory=RenderFailures)
    """What could not be shown."""
    notices: Sequence[str] = ()
    """What is to be known before the list is read, one sentence each."""

    def add_sheet(self, title: str) -> Worksheet:
        """A new sheet, printed across the page with its first row on every sheet of paper."""
        sheet = self.workbook.add_worksheet(title)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.repeat_rows(0)
        sheet.fit_to_pages(1, 0)
        return sheet

    def write_text(self, sheet: Worksheet, row: int, column: int, text: str, kind: str = "text") -> None:
        """Write a text as it is."""
        check_return_code(sheet.write_string(row, column, self.fit_text(text), self.formats[kind]))

    def write_across(
        self, sheet: Worksheet, row: int, text: str, kind: str, widths: Sequence[float], first: int = 0
    ) -> None:
        """Write a text that wraps across columns so wide, from `first` on, in a row made as high as it needs."""
        sheet.merge_range(row, first, row, first + len(widths) - 1, "", self.formats[kind])
        self.write_text(sheet, row, first, text, kind)
        sheet.set_row(row, LINE_HEIGHT * count_lines(text, sum(widths)))

    def write_notices(self, sheet: Worksheet, widths: Sequence[float]) -> int:
        """Write the notices on top of a sheet, across columns so wide; how many rows they take."""
        for row, text in enumerate(self.notices):
            self.write_across(sheet, row, f"⚠ {text}", "notice", widths)
        return len(self.notices)

    def fit_text(self, text: str) -> str:
        """As much of a text as a cell holds."""
        text = make_printable(text)
        return (
            text
            if len(text) <= MAX_CELL_LENGTH
            else truncate(text, MAX_CELL_LENGTH, self.messages.text("phrase.cut", length=len(text)))
        )

    def write_cell(self, sheet: Worksheet, row: int, column: int, cell: Any, kind: str) -> None:
        """Write a text, a number or a day; nothing for None and a number that is none.

        What no cell can hold is left out and counted.
        """
        if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
            return
        try:
            self._write_value(sheet, row, column, cell, kind)
        except Exception as error:  # whatever is wrong with one cell, the others are written
            place = f"{sheet.get_name()}!{xl_rowcol_to_cell(row, column)}"
            self.failures.add("workbook", "cell", type(error).__name__, place)

    def _write_value(self, sheet: Worksheet, row: int, column: int, cell: Any, kind: str) -> None:
        if isinstance(cell, str):
            self.write_text(sheet, row, column, cell, kind)
        elif isinstance(cell, datetime.date):
            check_return_code(sheet.write_datetime(row, column, cell, self.formats[kind]))
        else:
            check_return_code(sheet.write_number(row, column, cell, self.formats[kind]))

    def write_rows(self, sheet: Worksheet, top: int, rows: Iterable[Sequence[Any]], kinds: Sequence[str]) -> None:
        """Write rows of cells, from a row of the sheet on; one kind per column."""
        for row, cells in enumerate(rows, start=top):
            for column, (cell, kind) in enumerate(zip(cells, kinds, strict=True)):
                self.write_cell(sheet, row, column, cell, kind)

    def add_text_sheet(
        self, title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]], note: str = ""
    ) -> Worksheet:
        """A sheet of text and numbers under frozen headings, with a note below."""
        sheet = self.add_sheet(title)
        for place, (heading, cells) in enumerate(zip(headings, zip(*rows, strict=True), strict=True)):
            self.write_text(sheet, 0, place, heading, "head")
            longest = max(display_width(line) for cell in cells for line in str(cell).splitlines() or [""])
            sheet.set_column(place, place, min(max(display_width(heading) + 3, longest + 2), MAX_COLUMN_WIDTH))
            for row, cell in enumerate(cells, start=1):
                self.write_cell(sheet, row, place, cell, cell_format(cell))
        for row, own in enumerate(rows, start=1):
            sheet.set_row(row, LINE_HEIGHT * max(count_lines(cell, MAX_COLUMN_WIDTH) for cell in own))
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
    """A book that is written to a sink as it is closed; it carries no clock but the list's day."""
    settings = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(sink, settings) as file:
        created = datetime.datetime.combine(day or datetime.date(1980, 1, 1), datetime.time())
        file.set_properties({"created": created})
        own = {name: file.add_format(one) for name, one in build_formats(messages.language).items()}
        yield WorkbookWriter(file, messages, own, failures or RenderFailures(), notices)


def build_formats(language: str) -> dict[str, dict[str, Any]]:
    """Every format by name, with the days of a language."""
    days = {name: {"num_format": shown, "align": "left", "indent": 1} for name, shown in DATE_FORMATS[language].items()}
    begun = {**CELL_FORMATS["answer"], "num_format": DATE_FORMATS[language]["date"]}
    own: dict[str, Mapping[str, Any]] = {**CELL_FORMATS, **days, "started_on": begun}
    return {name: dict(one) if name in OVERLAY_FORMATS else {**one, "valign": "top"} for name, one in own.items()}


def cell_format(cell: Any) -> str:
    """The format of a cell of which nothing else is known: a share is shown as one, hours are whole or not."""
    if isinstance(cell, str):
        return "wrapped"
    if isinstance(cell, datetime.date):
        return "date"
    return "probability" if isinstance(cell, float) and 0 <= cell <= 1 else "general"


def check_return_code(code: int | None) -> None:
    """XlsxWriter tells of a dropped or cut cell, or of a rule it cannot write, by its return code alone."""
    if code:
        raise ValueError(f"XlsxWriter refused a cell or a rule (code {code})")


def count_lines(text: object, column_width: float) -> int:
    """How many lines a text takes in a cell so wide; a little more than its width, for words are not broken."""
    if not isinstance(text, str):
        return 1
    wrapped = (math.ceil(display_width(line) * 1.1 / column_width) for line in text.splitlines())
    return max(sum(max(count, 1) for count in wrapped), 1)
