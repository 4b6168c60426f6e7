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
"""What stands left of the answers: enough to know which account is meant and how it stands."""
COLUMNS_AFTER_ANSWERS = (
    *("alerts", "playbook_1", "reason_1", "reason_2", "reason_3", "reason_4", "reason_5"),
    *("playbook_2", "playbook_3", "strength_1", "strength_2", "strength_3", "reason_change"),
    *("quadrant", "expansion_probability", "upsell_probability", "cross_sell_probability"),
    *("renewal_low", "renewal_high", "days_to_renewal", "stage", "size_band", "within_capacity", "account_id"),
)
ANSWER_WIDTHS = {"verdict": 13, "action": 24, "started_on": 15, "note": 30}
FORBIDDEN_CHARACTERS = re.compile(r"[\[\]:*?/\\]")
MAX_TITLE_LENGTH = 31
"""Code units of UTF-16, as Excel counts."""
RESERVED_TITLES = ("History", HIDDEN_SHEET)
PAGES_ACROSS = 3
"""Sheets of paper side by side: on one, nobody could read it."""
ACTION_DATE_RANGE = timedelta(days=366)
"""An action may have begun so long before or after the day of the list."""


@dataclass(frozen=True)
class ManagerPortfolio:
    """The accounts of one manager that a workbook shows."""

    csm: str | None
    title: str
    rows: Sequence[int]
    """Their places among the accounts shown, in rank order."""
    capacity_rank: int
    """The rank of the last account within capacity, 0 where there is none."""


def build_portfolios(
    shown: pd.DataFrame, max_sheets: int, existing_titles: Iterable[str], no_manager_title: str
) -> list[ManagerPortfolio]:
    """The portfolios that have a sheet of their own, at most so many, those with the most ARR, by name.

    `account_cells` has one row per scored account, in rank order; `existing_titles` are titles of other sheets, and
    `no_manager_title` is what the sheet of accounts without a manager is called. That sheet is the last.
    """
    own = shown.assign(csm=shown["csm"].astype(object), place=range(len(shown)), arr=shown["arr"].fillna(0.0))
    held = own.groupby("csm", dropna=False)["arr"].sum().rename_axis("csm").reset_index()
    first = held.sort_values(["arr", "csm"], ascending=[False, True], kind="stable").head(max_sheets)
    names = first.sort_values("csm", kind="stable", na_position="last")["csm"].tolist()
    managers = [None if pd.isna(name) else str(name) for name in names]
    of: dict[str | None, pd.DataFrame] = {
        None if pd.isna(name) else str(name): rows for name, rows in own.groupby("csm", dropna=False)
    }
    called = sheet_titles(
        [no_manager_title if name is None else name for name in managers],
        [*RESERVED_TITLES, *existing_titles],
        no_manager_title,
    )
    return [_build_portfolio(name, title, of[name]) for name, title in zip(managers, called, strict=True)]


def _build_portfolio(csm: str | None, title: str, rows: pd.DataFrame) -> ManagerPortfolio:
    """Within capacity are the first accounts and no others: what they come to only grows from one to the next."""
    fits = rows["within_capacity"].fillna(False).astype(bool).to_numpy()
    within = int(rows["rank"].to_numpy()[fits].max()) if fits.any() else 0
    return ManagerPortfolio(csm, title, rows["place"].tolist(), within)


def sheet_titles(names: Iterable[str], existing_titles: Iterable[str], default_title: str) -> list[str]:
    """A title for each name that Excel takes, and that is no other's whatever the case or the width of its letters."""
    known = {_normalize_title(title) for title in existing_titles}
    found = []
    for name in names:
        title = next(title for title in _candidate_titles(name, default_title) if _normalize_title(title) not in known)
        known.add(_normalize_title(title))
        found.append(title)
    return found


def _candidate_titles(name: str, default_title: str) -> Iterator[str]:
    plain = FORBIDDEN_CHARACTERS.sub(" ", make_printable(" ".join(name.split()))).strip(" '") or default_title
    yield _truncate_utf16(plain, MAX_TITLE_LENGTH)
    number = 2
    while True:
        mark = f" ({number})"
        yield _truncate_utf16(plain, MAX_TITLE_LENGTH - len(mark)) + mark
        number += 1


def _truncate_utf16(text: str, max_units: int) -> str:
    """As much of a text as has so many code units of UTF-16; no letter is halved, and no apostrophe left at the end."""
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
    """The sheet of one manager; the letter of each column that is read back.

    `plays` is how many there are to choose from, and `day` that of the list. Notices stand above the header.
    """
    sheet, header = writer.add_sheet(portfolio.title), len(writer.notices)
    sheet.fit_to_pages(PAGES_ACROSS, 0)
    sheet.repeat_columns(0, 1)
    names = [
        name
        for name in (*COLUMNS_BEFORE_ANSWERS, *ANSWER_COLUMNS, *COLUMNS_AFTER_ANSWERS)
        if name in ANSWER_COLUMNS or name in account_cells.names
    ]
    letters = {name: xl_col_to_name(place) for place, name in enumerate(names)}
    for place, name in enumerate(names):
        if name in ANSWER_COLUMNS:
            _add_answer_column(writer, sheet, place, name, len(portfolio.rows))
            continue
        write_column(writer, sheet, place, name, account_cells, portfolio.rows, header)
        if name in MONEY_COLUMNS and currency:
            said = writer.messages.text("heading.in_currency", heading=account_cells.headings[name], currency=currency)
            writer.write_text(sheet, header, place, said, "head")
            sheet.set_column(place, place, max(account_cells.widths[name], display_width(said) / 1.6 + 3))
    apply_layout(sheet, [account_cells.heights[row] for row in portfolio.rows], len(names), 2, header)
    # As wide as a screen, so that the frozen rows stay few lines high.
    writer.write_notices(
        sheet, [{**ANSWER_WIDTHS, **account_cells.widths}[name] for name in names if name not in COLUMNS_AFTER_ANSWERS]
    )
    _add_capacity_line(writer, sheet, letters, portfolio)
    apply_colours(writer, sheet, names, len(portfolio.rows), header)
    _shade_beyond_capacity(writer, sheet, letters, portfolio)
    _add_validation(writer, sheet, letters, len(portfolio.rows), playbook_count, day)
    return {name: letters[name] for name in ("account_id", *ANSWER_COLUMNS)}


def _add_answer_column(writer: WorkbookWriter, sheet: Worksheet, position: int, name: str, row_count: int) -> None:
    """A column of empty cells to be filled in."""
    kind, header = "started_on" if name == "started_on" else "answer", len(writer.notices)
    writer.write_text(sheet, header, position, writer.messages.text(f"answer.{name}"), "asked")
    sheet.set_column(position, position, ANSWER_WIDTHS[name])
    for row in range(header + 1, header + row_count + 1):
        check_return_code(sheet.write_blank(row, position, None, writer.formats[kind]))


def _add_capacity_line(
    writer: WorkbookWriter, sheet: Worksheet, letters: Mapping[str, str], portfolio: ManagerPortfolio
) -> None:
    """The line under the last account within capacity.

    A rule and no fixed border: borders stay behind when rows are sorted, and this one is then drawn only where the last
    account within capacity stands over the first beyond.
    """
    first, last = next(iter(letters.values())), list(letters.values())[-1]
    rank, row = letters["rank"], _first_row(writer)
    rule = f"=AND(${rank}{row}={portfolio.capacity_rank},${rank}{row + 1}={portfolio.capacity_rank + 1})"
    _add_format_rule(writer, sheet, rule, "line", portfolio, [(first, last)])


def _shade_beyond_capacity(
    writer: WorkbookWriter, sheet: Worksheet, letters: Mapping[str, str], portfolio: ManagerPortfolio
) -> None:
    """Grey for what lies beyond capacity, wherever it is sorted to; the cells for answers stay as they are."""
    columns = list(letters.values())
    at = [place for place, name in enumerate(letters) if name in ANSWER_COLUMNS]
    parts = [(columns[0], columns[at[0] - 1]), (columns[at[-1] + 1], columns[-1])]
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
    """Lay a format over the rows of these columns for which a rule holds, where anything lies beyond capacity."""
    if portfolio.capacity_rank >= len(portfolio.rows):
        return
    top = _first_row(writer)
    spans = [f"{first}{top}:{last}{top + len(portfolio.rows) - 1}" for first, last in column_ranges]
    form = {"type": "formula", "criteria": rule, "format": writer.formats[kind], "multi_range": " ".join(spans)}
    check_return_code(sheet.conditional_format(spans[0], form))


def _first_row(writer: WorkbookWriter) -> int:
    """The row of the first account, as Excel counts."""
    return len(writer.notices) + 2


# --- what is read back --------------------------------------------------------------------------------


def playbook_choices(playbooks: Mapping[str, PlaybookRecord], language: str) -> dict[str, str]:
    """The name of every play in a language, with its id; a name that several bear is told apart by the id."""
    names = {key: make_printable(str(play["name"][language])) for key, play in playbooks.items()}
    several = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {f"{name} ({key})" if name in several else name: key for key, name in names.items()}


def _add_validation(
    writer: WorkbookWriter, sheet: Worksheet, letters: Mapping[str, str], row_count: int, playbook_count: int, day: date
) -> None:
    """What may be filled in: verdicts and plays from lists, days near that of the list."""
    refused = {"error_title": writer.messages.text("answer.refused")}
    unlisted = {"error_message": writer.messages.text("answer.not_listed")}
    first, last = day - ACTION_DATE_RANGE, day + ACTION_DATE_RANGE
    near = {"validate": "date", "criteria": "between", "minimum": first, "maximum": last}
    near["error_message"] = writer.messages.text("answer.not_a_day", first=first, last=last)
    rules: dict[str, dict[str, Any]] = {
        "verdict": _list_rule(VERDICT_TABLE_COLUMNS[0], len(VERDICT_CODES)) | unlisted,
        "started_on": near,
    }
    if playbook_count:
        rules["action"] = _list_rule(ACTION_TABLE_COLUMNS[0], playbook_count) | unlisted
    for name, rule in rules.items():
        span = f"{letters[name]}{_first_row(writer)}:{letters[name]}{_first_row(writer) + row_count - 1}"
        check_return_code(sheet.data_validation(span, refused | rule))


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
    """The sheet nobody sees: which list this is, where its answers stand, and what the words to choose from mean."""
    sheet = writer.workbook.add_worksheet(HIDDEN_SHEET)
    sheet.very_hidden()
    standing = {
        "format": LAYOUT_VERSION,
        "as_of": day.isoformat(),
        "key": fingerprint,
        "language": writer.messages.language,
    }
    standing["header"] = str(len(writer.notices) + 1)
    for name, row in METADATA_ROWS.items():
        _write_texts(writer, sheet, row, "A", (name, standing[name]))
    _write_texts(writer, sheet, TABLES_HEADER_ROW, "A", SHEET_TABLE_COLUMNS)
    for row, (own, letters) in enumerate(sheets, start=TABLES_HEADER_ROW + 1):
        _write_texts(writer, sheet, row, "A", (own.title, own.csm or "", *letters.values()))
    spoken = {writer.messages.text(f"verdict.{code}"): code for code in VERDICT_CODES}
    for place, head, said in (
        (VERDICT_TABLE_COLUMNS, ("verdict", "code"), spoken),
        (ACTION_TABLE_COLUMNS, ("action", "id"), choices),
    ):
        for row, pair in enumerate([head, *said.items()], start=TABLES_HEADER_ROW):
            _write_texts(writer, sheet, row, place[0], pair)


def _write_texts(writer: WorkbookWriter, sheet: Worksheet, row: int, letter: str, texts: Iterable[str]) -> None:
    for place, text in enumerate(texts, start=ord(letter) - ord("A")):
        writer.write_cell(sheet, row - 1, place, text or None, "text")
