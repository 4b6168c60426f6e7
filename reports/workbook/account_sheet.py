"""Sheets with one row per account: what every column shows, how wide it is, and its colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from xlsxwriter.worksheet import Worksheet

from renewals.models.explanation.reasons import REASONS
from renewals.models.ranking.worklist import RISK_BANDS
from renewals.reports.columns import COLUMNS
from renewals.reports.sanitize import width
from renewals.reports.words import Words
from renewals.reports.workbook.feedback_layout import EXACT
from renewals.reports.workbook.writer import DAY_WIDTH, LINE, Book, done, lines

SHOWN = (
    *("rank", "account_name", "account_id", "csm", "stage", "renewal_date", "days_to_renewal", "arr", "currency"),
    *("risk_band", "renewal_probability", "renewal_low", "renewal_high", "probability_change", "arr_at_risk"),
    *("reason_1", "reason_2", "reason_3", "reason_4", "reason_5", "alerts"),
    *("playbook_1", "playbook_2", "playbook_3", "strength_1", "strength_2", "strength_3"),
    *("expansion_probability", "upsell_probability", "cross_sell_probability", "quadrant"),
    *("size_band", "within_capacity", "reason_change"),
)
"""What the whole list shows, in reading order; a column that is empty in every row is left out."""
NOT_SCORED = (
    *("account_name", "account_id", "csm", "status", "status_reason", "renewal_date", "days_to_renewal", "arr"),
    *("currency", "stage", "alerts"),
)
IN_WORDS = ("stage", "size_band", "status", "risk_band", "quadrant")
SENTENCES = ("reason_", "strength_", "playbook_", "alerts", "status_reason")
MONEY = ("arr", "arr_at_risk")
SENTENCE_WIDTH = 42
KINDS = {column.name: column.kind for column in COLUMNS}


@dataclass(frozen=True)
class Cells:
    """What stands in the cells of some accounts, made once for every sheet that shows them."""

    names: Sequence[str]
    """The columns that are not empty in every row."""
    columns: Mapping[str, Sequence[Any]]
    """By column, one cell per account: None, text, a finite number or a day."""
    headings: Mapping[str, str]
    widths: Mapping[str, float]
    heights: Sequence[float]
    """One per account, in points."""


def cells(rows: pd.DataFrame, names: Iterable[str], book: Book) -> Cells:
    """The cells of these accounts; `rows` has one row per account."""
    words = book.words
    there = [name for name in names if rows[name].notna().any()]
    told = {name: _column(name, rows, book) for name in there}
    said = {name: words.heading(name) for name in there}
    wrapped = [told[name] for name in there if name.startswith(SENTENCES)]
    tall = [LINE * max(lines(text, SENTENCE_WIDTH) for text in own) for own in zip(*wrapped, strict=True)]
    wide = {name: _fitting(name, said[name], told[name]) for name in there}
    return Cells(there, told, said, wide, tall or [LINE] * len(rows))


def _column(name: str, rows: pd.DataFrame, book: Book) -> list[Any]:
    """The cells of one column; empty where a value cannot be shown."""

    def make(value: Any) -> Any:
        return cell(name, value, book.words)

    return book.losses.each("workbook", name, make, rows[name].tolist(), rows["account_id"])


def under_themes(rows: pd.DataFrame, book: Book) -> pd.DataFrame:
    """The rows with each reason under its theme, on a line of its own; one row per row given."""

    def headed(own: tuple[str | None, str, bool]) -> str | None:
        said, theme, can = own
        return f"{book.words.theme(theme, bool(can))}\n{said}" if said else None

    shown = rows.copy()
    for reason in (f"reason_{k}" for k in range(1, REASONS + 1)):
        parts = zip(rows[reason], rows[f"{reason}_theme"], rows[f"{reason}_actionable"], strict=True)
        shown[reason] = book.losses.each("workbook", reason, headed, parts, rows["account_id"], lambda own: own[0])
    return shown


def cell(name: str, value: Any, words: Words) -> Any:
    """What stands in a cell of a column: None, text, a finite number or a day."""
    if pd.isna(value):
        return None
    if name in IN_WORDS:
        return words.value(name, value)
    if KINDS[name] == "flag":
        return words.flag(bool(value))
    if KINDS[name] == "date":
        return pd.Timestamp(value).to_pydatetime()
    return _number(name, value) if isinstance(value, (int, float)) else str(value)


def _number(name: str, value: float) -> Any:
    """A number. An id that Excel would round is text; less than half a point is no change, and would stand as -0%."""
    if name == "probability_change":
        return round(value, 2) + 0.0
    return value if abs(value) < EXACT or KINDS[name] != "id" else str(value)


def format_of(name: str) -> str:
    """The format of a column of the list."""
    if name.startswith(SENTENCES):
        return "wrapped"
    if name == "probability_change":
        return "change"
    return KINDS[name] if KINDS[name] in ("number", "integer", "id", "probability", "date") else "text"


def table(book: Book, title: str, own: Cells, frozen: int) -> None:
    """A sheet of all these accounts under a frozen, filtered header."""
    sheet = book.sheet(title)
    for place, name in enumerate(own.names):
        column(book, sheet, place, name, own, range(len(own.heights)))
    framed(sheet, own.heights, len(own.names), frozen)
    coloured(book, sheet, own.names, len(own.heights))


def column(
    book: Book, sheet: Worksheet, place: int, name: str, own: Cells, rows: Iterable[int], header: int = 0
) -> None:
    """One column of some of the accounts, below its heading in the row `header`."""
    kind = format_of(name)
    book.text(sheet, header, place, own.headings[name], "head")
    sheet.set_column(place, place, own.widths[name], book.formats[kind])
    told = own.columns[name]
    for row, account in enumerate(rows, start=header + 1):
        book.write(sheet, row, place, told[account], kind)


def framed(sheet: Worksheet, heights: Sequence[float], columns: int, frozen: int, header: int = 0) -> None:
    """The heights of the rows, and a header that stays, with what stands above it, and filters."""
    sheet.set_row(header, 2 * LINE)
    for row, height in enumerate(heights, start=header + 1):
        sheet.set_row(row, height)
    sheet.freeze_panes(header + 1, frozen)
    sheet.repeat_rows(0, header)
    if columns:
        sheet.autofilter(header, 0, header + len(heights), columns - 1)


def coloured(book: Book, sheet: Worksheet, names: Sequence[str], rows: int, header: int = 0) -> None:
    """Risk bands in their colours, and a bar for the money at risk."""
    if "risk_band" in names and rows:
        place = names.index("risk_band")
        for band in RISK_BANDS:
            said = book.words.value("risk_band", band)
            rule = {"type": "cell", "criteria": "==", "value": f'"{said}"', "format": book.formats[band]}
            done(sheet.conditional_format(header + 1, place, header + rows, place, rule))
    if "arr_at_risk" in names and rows:
        place = names.index("arr_at_risk")
        done(sheet.conditional_format(header + 1, place, header + rows, place, BAR))


BAR = {
    **{"type": "data_bar", "data_bar_2010": True, "bar_solid": True},
    **{"bar_color": "#F4B6B6", "bar_border_color": "#F4B6B6", "min_type": "num", "min_value": 0, "max_type": "max"},
}


def _fitting(name: str, heading: str, told: Iterable[Any]) -> float:
    """A width in which most cells are read whole; sentences wrap."""
    if name.startswith(SENTENCES):
        return SENTENCE_WIDTH
    longest = max((_width(name, own) for own in told), default=0)
    word = max(map(width, heading.split()), default=0)  # a heading breaks between its words, not within them
    return min(max(width(heading) / 1.6 + 3, min(1.2 * word + 2, 17), 6, longest + 2), 40)


def _width(name: str, own: Any) -> int:
    if KINDS[name] == "date":
        return DAY_WIDTH
    if isinstance(own, (int, float)):
        return len(f"{own:.0%}" if KINDS[name] == "probability" else f"{own:,.0f}")
    return width(str(own or ""))
