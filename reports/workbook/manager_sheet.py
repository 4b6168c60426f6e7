"""One sheet per manager: the accounts in rank order, a line at the manager's capacity, and cells for answers.

A hidden sheet states which cells hold the answers (`reports/workbook/feedback_layout.py`), so that they can be read
from the returned workbook.
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

from renewals.reports.sanitize import display_width, make_printable
from renewals.reports.sentences.playbooks import PlaybookRecord
from renewals.reports.workbook.account_sheet import (
    MONEY_COLUMNS,
    AccountCells,
    apply_colours,
    apply_layout,
    write_column,
)
from renewals.reports.workbook.feedback_layout import (
    ACTION_TABLE_COLUMNS,
    ANSWER_COLUMNS,
    HIDDEN_SHEET,
    LAYOUT_VERSION,
    METADATA_ROWS,
    SHEET_TABLE_COLUMNS,
    TABLES_HEADER_ROW,
    VERDICT_CODES,
    VERDICT_TABLE_COLUMNS,
)
from renewals.reports.workbook.writer import WorkbookWriter, check_return_code

COLUMNS_BEFORE_ANSWERS = (
    *("rank", "account_name", "risk_band", "renewal_probability", "probability_change", "arr_at_risk", "arr"),
    "renewal_date",
)
"""Columns to the left of the answers: enough to identify an account and to see its situation."""
COLUMNS_AFTER_ANSWERS = (
    *("alerts", "playbook_1", "reason_1", "reason_2", "reason_3", "reason_4", "reason_5"),
    *("playbook_2", "playbook_3", "strength_1", "strength_2", "strength_3", "reason_change"),
    *("quadrant", "health", "expansion_probability", "upsell_probability", "cross_sell_probability"),
    *("renewal_low", "renewal_high", "days_to_renewal", "stage", "size_band", "within_capacity", "account_id"),
)
ANSWER_WIDTHS = {"verdict": 13, "action": 24, "started_on": 15, "note": 30}
FORBIDDEN_CHARACTERS = re.compile(r"[\[\]:*?/\\]")
MAX_TITLE_LENGTH = 31
"""Maximum length of a sheet's title in UTF-16 code units, which Excel counts."""
RESERVED_TITLES = ("History", HIDDEN_SHEET)
PAGES_ACROSS = 3
"""Number of paper pages for the width of a sheet; on a single page the text would be too small to read."""
ACTION_DATE_RANGE = timedelta(days=366)
"""Largest distance between the start of an action and the date of the list."""


@dataclass(frozen=True)
class ManagerPortfolio:
    """Accounts of one manager that a workbook shows."""

    csm: str | None
    title: str
    rows: Sequence[int]
    """Positions among the accounts shown, in rank order."""
    capacity_rank: int
    """Rank of the last account within capacity, 0 if there is none."""


def build_portfolios(
    shown: pd.DataFrame, max_sheets: int, existing_titles: Iterable[str], no_manager_title: str
) -> list[ManagerPortfolio]:
    """Build the portfolios that get a sheet: the `max_sheets` managers with the most ARR, ordered by name.

    `shown` has one row per scored account, in rank order. `existing_titles` are the titles of the other sheets.
    `no_manager_title` is the title of the sheet with the accounts that have no manager; this sheet is the last.
    """
    accounts = shown.assign(csm=shown["csm"].astype(object), place=range(len(shown)), arr=shown["arr"].fillna(0.0))
    arr_by_manager = accounts.groupby("csm", dropna=False)["arr"].sum().rename_axis("csm").reset_index()
    largest = arr_by_manager.sort_values(["arr", "csm"], ascending=[False, True], kind="stable").head(max_sheets)
    names = largest.sort_values("csm", kind="stable", na_position="last")["csm"].tolist()
    managers = [None if pd.isna(name) else str(name) for name in names]
    rows_by_manager: dict[str | None, pd.DataFrame] = {
        None if pd.isna(name) else str(name): rows for name, rows in accounts.groupby("csm", dropna=False)
    }
    titles = sheet_titles(
        [no_manager_title if name is None else name for name in managers],
        [*RESERVED_TITLES, *existing_titles],
        no_manager_title,
    )
    return [_build_portfolio(name, title, rows_by_manager[name]) for name, title in zip(managers, titles, strict=True)]


def _build_portfolio(csm: str | None, title: str, rows: pd.DataFrame) -> ManagerPortfolio:
    """Build one portfolio. The accounts within capacity are always the first ones, because the running totals only
    grow."""
    fits = rows["within_capacity"].fillna(False).astype(bool).to_numpy()
    within = int(rows["rank"].to_numpy()[fits].max()) if fits.any() else 0
    return ManagerPortfolio(csm, title, rows["place"].tolist(), within)


def sheet_titles(names: Iterable[str], existing_titles: Iterable[str], default_title: str) -> list[str]:
    """Valid and unique Excel sheet title for each name; uniqueness ignores case and the width of letters."""
    used = {_normalize_title(title) for title in existing_titles}
    titles = []
    for name in names:
        title = next(title for title in _candidate_titles(name, default_title) if _normalize_title(title) not in used)
        used.add(_normalize_title(title))
        titles.append(title)
    return titles


def _candidate_titles(name: str, default_title: str) -> Iterator[str]:
    base = FORBIDDEN_CHARACTERS.sub(" ", make_printable(" ".join(name.split()))).strip(" '") or default_title
    yield _truncate_utf16(base, MAX_TITLE_LENGTH)
    number = 2
    while True:
        suffix = f" ({number})"
        yield _truncate_utf16(base, MAX_TITLE_LENGTH - len(suffix)) + suffix
        number += 1


def _truncate_utf16(text: str, max_units: int) -> str:
    """Cut a text to `max_units` UTF-16 code units, never within a character; final spaces and apostrophes are
    stripped."""
    return text.encode("utf-16-le")[: 2 * max_units].decode("utf-16-le", "ignore").rstrip(" '")


def _normalize_title(title: str) -> str:
    return unicodedata.normalize("NFKC", title).casefold()


# --- the sheets ---------------------------------------------------------------------------------------


def write_manager_sheet(
    writer: WorkbookWriter,
    portfolio: ManagerPortfolio,
    account_cells: AccountCells,
    currency: str | None,
    playbook_count: int,
    day: date,
) -> Mapping[str, str]:
    """Write the sheet of one manager; return the letter of each column that is read back from the returned workbook.

    `playbook_count` is the number of playbooks to choose from, `day` the date of the list. Notices are above the
    header.
    """
    sheet, header = writer.add_sheet(portfolio.title), len(writer.notices)
    sheet.fit_to_pages(PAGES_ACROSS, 0)
    sheet.repeat_columns(0, 1)
    names = [
        name
        for name in (*COLUMNS_BEFORE_ANSWERS, *ANSWER_COLUMNS, *COLUMNS_AFTER_ANSWERS)
        if name in ANSWER_COLUMNS or name in account_cells.names
    ]
    letters = {name: xl_col_to_name(position) for position, name in enumerate(names)}
    for position, name in enumerate(names):
        if name in ANSWER_COLUMNS:
            _add_answer_column(writer, sheet, position, name, len(portfolio.rows))
            continue
        write_column(writer, sheet, position, name, account_cells, portfolio.rows, header)
        if name in MONEY_COLUMNS and currency:
            heading = writer.messages.text(
                "heading.in_currency", heading=account_cells.headings[name], currency=currency
            )
            writer.write_text(sheet, header, position, heading, "head")
            sheet.set_column(position, position, max(account_cells.widths[name], display_width(heading) / 1.6 + 3))
    apply_layout(sheet, [account_cells.heights[row] for row in portfolio.rows], len(names), 2, header)
    # Notices are as wide as a screen, so that the frozen rows need only a few lines.
    writer.write_notices(
        sheet, [{**ANSWER_WIDTHS, **account_cells.widths}[name] for name in names if name not in COLUMNS_AFTER_ANSWERS]
    )
    _add_capacity_line(writer, sheet, letters, portfolio)
    apply_colours(writer, sheet, names, len(portfolio.rows), header)
    _shade_beyond_capacity(writer, sheet, letters, portfolio)
    _add_validation(writer, sheet, letters, len(portfolio.rows), playbook_count, day)
    return {name: letters[name] for name in ("account_id", *ANSWER_COLUMNS)}


def _add_answer_column(writer: WorkbookWriter, sheet: Worksheet, position: int, name: str, row_count: int) -> None:
    """Add a column of empty cells for answers."""
    kind, header = "started_on" if name == "started_on" else "answer", len(writer.notices)
    writer.write_text(sheet, header, position, writer.messages.text(f"answer.{name}"), "asked")
    sheet.set_column(position, position, ANSWER_WIDTHS[name])
    for row in range(header + 1, header + row_count + 1):
        check_return_code(sheet.write_blank(row, position, None, writer.formats[kind]))


def _add_capacity_line(
    writer: WorkbookWriter, sheet: Worksheet, letters: Mapping[str, str], portfolio: ManagerPortfolio
) -> None:
    """Draw the line under the last account within capacity.

    It is a conditional format, because a fixed border does not move when rows are sorted. After sorting, the line is
    drawn only where the last account within capacity is directly above the first one beyond it.
    """
    first, last = next(iter(letters.values())), list(letters.values())[-1]
    rank, row = letters["rank"], _first_row(writer)
    rule = f"=AND(${rank}{row}={portfolio.capacity_rank},${rank}{row + 1}={portfolio.capacity_rank + 1})"
    _add_format_rule(writer, sheet, rule, "line", portfolio, [(first, last)])


def _shade_beyond_capacity(
    writer: WorkbookWriter, sheet: Worksheet, letters: Mapping[str, str], portfolio: ManagerPortfolio
) -> None:
    """Grey out the accounts beyond capacity, also after sorting; the answer cells keep their format."""
    columns = list(letters.values())
    answer_positions = [position for position, name in enumerate(letters) if name in ANSWER_COLUMNS]
    parts = [(columns[0], columns[answer_positions[0] - 1]), (columns[answer_positions[-1] + 1], columns[-1])]
    _add_format_rule(
        writer, sheet, f"=${letters['rank']}{_first_row(writer)}>{portfolio.capacity_rank}", "beyond", portfolio, parts
    )


def _add_format_rule(
    writer: WorkbookWriter,
    sheet: Worksheet,
    rule: str,
    kind: str,
    portfolio: ManagerPortfolio,
    column_ranges: Sequence[tuple[str, str]],
) -> None:
    """Add a conditional format to these columns; nothing is added if all accounts are within capacity."""
    if portfolio.capacity_rank >= len(portfolio.rows):
        return
    top = _first_row(writer)
    spans = [f"{first}{top}:{last}{top + len(portfolio.rows) - 1}" for first, last in column_ranges]
    options = {"type": "formula", "criteria": rule, "format": writer.formats[kind], "multi_range": " ".join(spans)}
    check_return_code(sheet.conditional_format(spans[0], options))


def _first_row(writer: WorkbookWriter) -> int:
    """Row number of the first account, counted from 1 as in Excel."""
    return len(writer.notices) + 2


# --- validation and metadata for reading the answers back ----------------------------------------------


def playbook_choices(playbooks: Mapping[str, PlaybookRecord], language: str) -> dict[str, str]:
    """Ids of the playbooks by their names in one language; the id is appended to names that are not unique."""
    names = {key: make_printable(str(playbook["name"][language])) for key, playbook in playbooks.items()}
    duplicates = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {f"{name} ({key})" if name in duplicates else name: key for key, name in names.items()}


def _add_validation(
    writer: WorkbookWriter, sheet: Worksheet, letters: Mapping[str, str], row_count: int, playbook_count: int, day: date
) -> None:
    """Restrict the answer cells: verdicts and playbooks from lists, start days close to the date of the list."""
    common = {"error_title": writer.messages.text("answer.refused")}
    list_error = {"error_message": writer.messages.text("answer.not_listed")}
    first, last = day - ACTION_DATE_RANGE, day + ACTION_DATE_RANGE
    date_rule = {"validate": "date", "criteria": "between", "minimum": first, "maximum": last}
    date_rule["error_message"] = writer.messages.text("answer.not_a_day", first=first, last=last)
    rules: dict[str, dict[str, Any]] = {
        "verdict": _list_rule(VERDICT_TABLE_COLUMNS[0], len(VERDICT_CODES)) | list_error,
        "started_on": date_rule,
    }
    if playbook_count:
        rules["action"] = _list_rule(ACTION_TABLE_COLUMNS[0], playbook_count) | list_error
    for name, rule in rules.items():
        span = f"{letters[name]}{_first_row(writer)}:{letters[name]}{_first_row(writer) + row_count - 1}"
        check_return_code(sheet.data_validation(span, common | rule))


def _list_rule(letter: str, count: int) -> dict[str, Any]:
    return {
        "validate": "list",
        "source": f"={HIDDEN_SHEET}!${letter}${TABLES_HEADER_ROW + 1}:${letter}${TABLES_HEADER_ROW + count}",
    }


def write_metadata(
    writer: WorkbookWriter,
    fingerprint: str,
    day: date,
    sheets: Sequence[tuple[ManagerPortfolio, Mapping[str, str]]],
    choices: Mapping[str, str],
) -> None:
    """Write the hidden sheet: date and fingerprint of the list, columns of the answers, and codes of drop-down
    options."""
    sheet = writer.workbook.add_worksheet(HIDDEN_SHEET)
    sheet.very_hidden()
    metadata = {
        "format": LAYOUT_VERSION,
        "as_of": day.isoformat(),
        "key": fingerprint,
        "language": writer.messages.language,
    }
    metadata["header"] = str(len(writer.notices) + 1)
    for name, row in METADATA_ROWS.items():
        _write_texts(writer, sheet, row, "A", (name, metadata[name]))
    _write_texts(writer, sheet, TABLES_HEADER_ROW, "A", SHEET_TABLE_COLUMNS)
    for row, (portfolio, letters) in enumerate(sheets, start=TABLES_HEADER_ROW + 1):
        _write_texts(writer, sheet, row, "A", (portfolio.title, portfolio.csm or "", *letters.values()))
    verdicts = {writer.messages.text(f"verdict.{code}"): code for code in VERDICT_CODES}
    for columns, headings, options in (
        (VERDICT_TABLE_COLUMNS, ("verdict", "code"), verdicts),
        (ACTION_TABLE_COLUMNS, ("action", "id"), choices),
    ):
        for row, pair in enumerate([headings, *options.items()], start=TABLES_HEADER_ROW):
            _write_texts(writer, sheet, row, columns[0], pair)


def _write_texts(writer: WorkbookWriter, sheet: Worksheet, row: int, letter: str, texts: Iterable[str]) -> None:
    for column, text in enumerate(texts, start=ord(letter) - ord("A")):
        writer.write_cell(sheet, row - 1, column, text or None, "text")
