"""Sheets with one row per account: cells, widths, formats and colours of the columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from xlsxwriter.worksheet import Worksheet

from renewals.models.explanation.reasons import REASON_COUNT
from renewals.models.ranking.worklist import RISK_BANDS
from renewals.reports.columns import COLUMNS
from renewals.reports.sanitize import display_width
from renewals.reports.words import Messages
from renewals.reports.workbook.feedback_layout import EXACT_INTEGER_LIMIT
from renewals.reports.workbook.writer import DATE_WIDTH, LINE_HEIGHT, WorkbookWriter, check_return_code, count_lines

LIST_COLUMNS = (
    *("rank", "account_name", "account_id", "csm", "stage", "renewal_date", "days_to_renewal", "arr", "currency"),
    *("risk_band", "health", "renewal_probability", "renewal_low", "renewal_high", "probability_change", "arr_at_risk"),
    *("reason_1", "reason_2", "reason_3", "reason_4", "reason_5", "alerts"),
    *("playbook_1", "playbook_2", "playbook_3", "strength_1", "strength_2", "strength_3"),
    *("expansion_probability", "upsell_probability", "cross_sell_probability", "quadrant"),
    *("size_band", "within_capacity", "reason_change"),
)
"""Columns of the sheet with the whole list, in reading order; columns that are empty in every row are left out."""
NOT_SCORED_COLUMNS = (
    *("account_name", "account_id", "csm", "status", "status_reason", "renewal_date", "days_to_renewal", "arr"),
    *("currency", "stage", "health", "alerts"),
)
CODED_COLUMNS = ("stage", "size_band", "status", "risk_band", "health", "quadrant")
SENTENCE_PREFIXES = ("reason_", "strength_", "playbook_", "alerts", "status_reason")
MONEY_COLUMNS = ("arr", "arr_at_risk")
SENTENCE_WIDTH = 42
COLUMN_KINDS = {column.name: column.kind for column in COLUMNS}


@dataclass(frozen=True)
class AccountCells:
    """Cells of some accounts, built once for all sheets that show them."""

    names: Sequence[str]
    """Columns with a value in at least one row."""
    columns: Mapping[str, Sequence[Any]]
    """By column, one cell per account: None, text, a finite number or a date."""
    headings: Mapping[str, str]
    widths: Mapping[str, float]
    heights: Sequence[float]
    """Row heights, one per account, in points."""


def build_cells(rows: pd.DataFrame, names: Iterable[str], writer: WorkbookWriter) -> AccountCells:
    """Build the cells, headings, widths and heights of these accounts; `rows` has one row per account."""
    messages = writer.messages
    present = [name for name in names if rows[name].notna().any()]
    columns = {name: _column_cells(name, rows, writer) for name in present}
    headings = {name: messages.heading(name) for name in present}
    wrapped = [columns[name] for name in present if name.startswith(SENTENCE_PREFIXES)]
    heights = [
        LINE_HEIGHT * max(count_lines(text, SENTENCE_WIDTH) for text in cells) for cells in zip(*wrapped, strict=True)
    ]
    widths = {name: _fit_width(name, headings[name], columns[name]) for name in present}
    return AccountCells(present, columns, headings, widths, heights or [LINE_HEIGHT] * len(rows))


def _column_cells(name: str, rows: pd.DataFrame, writer: WorkbookWriter) -> list[Any]:
    """Cells of one column; empty where a value cannot be shown."""

    def make(value: Any) -> Any:
        return cell_value(name, value, writer.messages)

    return writer.failures.render_each("workbook", name, make, rows[name].tolist(), rows["account_id"])


def add_theme_headings(rows: pd.DataFrame, writer: WorkbookWriter) -> pd.DataFrame:
    """Put each reason below a line with its theme; one row per input row."""

    def add_heading(reason_parts: tuple[str | None, str, bool]) -> str | None:
        sentence, theme, actionable = reason_parts
        return f"{writer.messages.theme(theme, bool(actionable))}\n{sentence}" if sentence else None

    shown = rows.copy()
    for reason in (f"reason_{k}" for k in range(1, REASON_COUNT + 1)):
        parts = zip(rows[reason], rows[f"{reason}_theme"], rows[f"{reason}_actionable"], strict=True)
        shown[reason] = writer.failures.render_each(
            "workbook", reason, add_heading, parts, rows["account_id"], lambda reason_parts: reason_parts[0]
        )
    return shown


def cell_value(name: str, value: Any, messages: Messages) -> Any:
    """Convert a value of a column to its cell: None, text, a finite number or a date."""
    if pd.isna(value):
        return None
    if name in CODED_COLUMNS:
        return messages.value(name, value)
    if COLUMN_KINDS[name] == "flag":
        return messages.flag(bool(value))
    if COLUMN_KINDS[name] == "date":
        return pd.Timestamp(value).to_pydatetime()
    return _number_cell(name, value) if isinstance(value, (int, float)) else str(value)


def _number_cell(name: str, value: float) -> Any:
    """Convert a number to its cell. An id that Excel would round becomes text; changes are rounded to whole points, and
    never shown as -0%."""
    if name == "probability_change":
        return round(value, 2) + 0.0
    return value if abs(value) < EXACT_INTEGER_LIMIT or COLUMN_KINDS[name] != "id" else str(value)


def column_format(name: str) -> str:
    """Name of the cell format for a column of the list."""
    if name.startswith(SENTENCE_PREFIXES):
        return "wrapped"
    if name == "probability_change":
        return "change"
    return COLUMN_KINDS[name] if COLUMN_KINDS[name] in ("number", "integer", "id", "probability", "date") else "text"


def write_table(writer: WorkbookWriter, title: str, cells: AccountCells, frozen_columns: int) -> None:
    """Add a sheet with all these accounts below a frozen header with filters."""
    sheet = writer.add_sheet(title)
    for position, name in enumerate(cells.names):
        write_column(writer, sheet, position, name, cells, range(len(cells.heights)))
    apply_layout(sheet, cells.heights, len(cells.names), frozen_columns)
    apply_colours(writer, sheet, cells.names, len(cells.heights))


def write_column(
    writer: WorkbookWriter,
    sheet: Worksheet,
    position: int,
    name: str,
    cells: AccountCells,
    rows: Iterable[int],
    header: int = 0,
) -> None:
    """Write one column of the accounts `rows` below its heading in the row `header`."""
    kind = column_format(name)
    writer.write_text(sheet, header, position, cells.headings[name], "head")
    sheet.set_column(position, position, cells.widths[name], writer.formats[kind])
    values = cells.columns[name]
    for row, account in enumerate(rows, start=header + 1):
        writer.write_cell(sheet, row, position, values[account], kind)


def apply_layout(
    sheet: Worksheet, heights: Sequence[float], columns: int, frozen_columns: int, header: int = 0
) -> None:
    """Set the row heights, freeze the header and all rows above it, and add filters."""
    sheet.set_row(header, 2 * LINE_HEIGHT)
    for row, height in enumerate(heights, start=header + 1):
        sheet.set_row(row, height)
    sheet.freeze_panes(header + 1, frozen_columns)
    sheet.repeat_rows(0, header)
    if columns:
        sheet.autofilter(header, 0, header + len(heights), columns - 1)


def apply_colours(writer: WorkbookWriter, sheet: Worksheet, names: Sequence[str], rows: int, header: int = 0) -> None:
    """Colour the risk bands, and add data bars for the ARR at risk."""
    if "risk_band" in names and rows:
        position = names.index("risk_band")
        for band in RISK_BANDS:
            label = writer.messages.value("risk_band", band)
            rule = {"type": "cell", "criteria": "==", "value": f'"{label}"', "format": writer.formats[band]}
            check_return_code(sheet.conditional_format(header + 1, position, header + rows, position, rule))
    if "arr_at_risk" in names and rows:
        position = names.index("arr_at_risk")
        check_return_code(sheet.conditional_format(header + 1, position, header + rows, position, DATA_BAR))


DATA_BAR = {
    **{"type": "data_bar", "data_bar_2010": True, "bar_solid": True},
    **{"bar_color": "#F4B6B6", "bar_border_color": "#F4B6B6", "min_type": "num", "min_value": 0, "max_type": "max"},
}


def _fit_width(name: str, heading: str, cells: Iterable[Any]) -> float:
    """Width at which most cells are fully visible; sentences have a fixed width because they wrap."""
    if name.startswith(SENTENCE_PREFIXES):
        return SENTENCE_WIDTH
    longest = max((_cell_width(name, cell) for cell in cells), default=0)
    word = max(map(display_width, heading.split()), default=0)  # a heading wraps between words, not within them
    return min(max(display_width(heading) / 1.6 + 3, min(1.2 * word + 2, 17), 6, longest + 2), 40)


def _cell_width(name: str, cell: Any) -> int:
    if COLUMN_KINDS[name] == "date":
        return DATE_WIDTH
    if isinstance(cell, (int, float)):
        return len(f"{cell:.0%}" if COLUMN_KINDS[name] == "probability" else f"{cell:,.0f}")
    return display_width(str(cell or ""))
