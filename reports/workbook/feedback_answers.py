"""Managers' answers in a returned workbook: each row is parsed or rejected with a reason."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from renewals.features.patterns import normalize_text
from renewals.reports.sanitize import escape_formula, make_printable, truncate
from renewals.reports.workbook.feedback_reader import (
    MAX_CELL_LENGTH,
    AnswerRow,
    Cell,
    DropdownChoice,
    ReturnedWorkbook,
    WorkbookInfo,
)

YEAR_FIRST_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
"""Unambiguous date in text: year, month, day."""


@dataclass(frozen=True)
class Answer:
    """Answer of a manager about one account."""

    account_id: Any
    csm: str | None
    verdict: str | None
    action: str | None
    started_on: date | None
    note: str | None
    as_of: date
    file: str
    sheet: str
    cell: str

    @property
    def key(self) -> tuple[date, Any]:
        """Date of the list, and the account."""
        return self.as_of, self.account_id

    @property
    def content(self) -> tuple[Any, ...]:
        """Content of the answer, independent of its place in the file."""
        return self.verdict, self.action, self.started_on, self.note


@dataclass(frozen=True)
class Rejection:
    """A rejected row, sheet or file with the reason; `sheet` and `cell` are empty if the whole file or sheet is
    rejected."""

    reason: str
    sheet: str = ""
    cell: str = ""
    file: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.sheet and f"sheet {self.sheet}", self.cell) if part)
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True)
class ListedAccounts:
    """Account ids of a list by their text in a workbook, and the first day of each account's first contract."""

    ids_by_text: Mapping[str, Any]
    first_contract_days: Mapping[Any, date]


def parse_answers(
    returned: ReturnedWorkbook, file: str, accounts: ListedAccounts, recorded_at: datetime
) -> tuple[list[Answer], list[Rejection]]:
    """Parse all rows of a workbook into answers, and the rejections of invalid rows."""
    answers, rejections = [], []
    for row in returned.rows:
        answer, faults = validate_row(row, returned.info, file, accounts, recorded_at)
        rejections.extend(faults)
        if answer is not None:
            answers.append(answer)
    return answers, rejections


def reject_contradictions(answers: Sequence[Answer]) -> tuple[list[Answer], list[Rejection]]:
    """Keep one answer for each account of a list. If answers differ, the intended one is unknown: all of them are
    rejected."""
    by_account: dict[tuple[date, Any], list[Answer]] = defaultdict(list)
    for answer in answers:
        by_account[answer.key].append(answer)
    consistent = {
        key: len({answer.content for answer in account_answers}) == 1 for key, account_answers in by_account.items()
    }
    accepted = [account_answers[0] for key, account_answers in by_account.items() if consistent[key]]
    return accepted, [
        _contradiction_rejection(answer, by_account[answer.key]) for answer in answers if not consistent[answer.key]
    ]


def _contradiction_rejection(answer: Answer, answers: Sequence[Answer]) -> Rejection:
    conflict = next(one for one in answers if one.content != answer.content)
    if conflict.file == answer.file:
        place, advice = f"sheet {conflict.sheet}, {conflict.cell}", "keep one"
    else:
        place, advice = (
            f"{conflict.file}, sheet {conflict.sheet}, {conflict.cell}",
            "keep one, or collect the older file first",
        )
    reason = f"two different answers for account {make_printable(str(answer.account_id))}: {advice} (also in {place})"
    return Rejection(reason, answer.sheet, answer.cell, answer.file)


def validate_row(
    row: AnswerRow, info: WorkbookInfo, file: str, accounts: ListedAccounts, recorded_at: datetime
) -> tuple[Answer | None, list[Rejection]]:
    """Parse one row into an answer, or return None and every fault of the row."""
    faults: list[Rejection] = []

    def reject(name: str, reason: str) -> None:
        faults.append(Rejection(reason, row.sheet.title, row.cells[name].reference, file))

    for name, cell in row.cells.items():
        if cell.kind == "f":
            reject(name, f"holds a formula ({cell.quoted_text}): write the answer itself")
        elif cell.kind == "e":
            reject(name, f"holds an error ({cell.quoted_text}): write the answer itself")
    if faults:
        return None, faults
    account_id = _parse_account(row.cells["account_id"], accounts, reject)
    verdict = _parse_choice("verdict", row.cells["verdict"], info.verdicts, reject)
    action = _parse_choice("action", row.cells["action"], info.actions, reject)
    started_on = _parse_start_day(row.cells, accounts.first_contract_days.get(account_id), recorded_at.date(), reject)
    note = _parse_note(row.cells["note"], reject)
    if faults:
        return None, faults
    reference = row.cells["account_id"].reference
    fields = (account_id, row.sheet.csm, verdict, action, started_on, note)
    return Answer(*fields, info.as_of, file, row.sheet.title, reference), []


def _parse_account(cell: Cell, accounts: ListedAccounts, reject: Any) -> Any:
    if cell.is_empty:
        reject("account_id", "an answer without an account id: write the id as in the list")
    elif cell.has_lost_digits:
        reject(
            "account_id",
            f"the id {cell.quoted_text} became a number, of which a spreadsheet keeps only 15 digits, so it may be the "
            "id of another account: write the id as text, as in the list",
        )
    elif cell.text in accounts.ids_by_text:
        return accounts.ids_by_text[cell.text]
    else:
        near = difflib.get_close_matches(cell.text, list(accounts.ids_by_text)[:20_000], n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(near)}?" if near else "write the id as in the list"
        reject("account_id", f"no account {cell.quoted_text} on this list: {hint}")
    return None


def _parse_choice(name: str, cell: Cell, choices: Mapping[str, DropdownChoice], reject: Any) -> str | None:
    """Code of the option chosen in a drop-down; None if the cell is empty or its text is rejected."""
    if cell.is_empty:
        return None
    if choice := choices.get(normalize_text(cell.text)):
        return choice.code
    options = truncate(", ".join(option.label for option in choices.values()), 300, "…")
    reject(name, f"{cell.quoted_text} is not a valid {name}: choose one of {options}")
    return None


def _parse_start_day(
    cells: Mapping[str, Cell], first_contract_day: date | None, recorded_day: date, reject: Any
) -> date | None:
    """Day on which an action started. Action and day are only valid together: one without the other is rejected."""
    action, cell = cells["action"], cells["started_on"]
    if cell.is_empty:
        if not action.is_empty:
            reject("started_on", f"the action {action.quoted_text} has no start day: write the day on which it started")
        return None
    if action.is_empty:
        reject("action", f"a start day ({cell.quoted_text}) without an action: choose the action, or clear the day")
    day = _parse_day(cell)
    if day is None:
        reject(
            "started_on",
            f"{cell.quoted_text} is not a date: write the day as a date, for example {recorded_day.isoformat()}",
        )
    elif day > recorded_day:
        reject(
            "started_on",
            f"{day} is after {recorded_day}, when the answers were collected: write the day when the action started",
        )
    elif first_contract_day is not None and day < first_contract_day:
        reject(
            "started_on",
            f"{day} is before the account's first contract, which began on {first_contract_day}: correct the day",
        )
    return day


def _parse_day(cell: Cell) -> date | None:
    value = cell.value
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    match = YEAR_FIRST_DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    with suppress(ValueError):
        return date(*map(int, match.groups())) if match else None
    return None


def _parse_note(cell: Cell, reject: Any) -> str | None:
    if cell.is_empty:
        return None
    if len(cell.text) > MAX_CELL_LENGTH:
        reject("note", f"has {len(cell.text):,} characters, and a cell holds {MAX_CELL_LENGTH:,}: shorten it")
    return cell.text.strip()


def rejections_to_csv(rejections: Sequence[Rejection]) -> bytes:
    """Rejections as CSV bytes for a spreadsheet, one row per rejection; text that could run as a formula is escaped."""
    sink = io.StringIO()
    rows = csv.writer(sink, lineterminator="\n")
    rows.writerow(("file", "sheet", "cell", "reason"))
    rows.writerows(
        [escape_formula(make_printable(part)) for part in (r.file, r.sheet, r.cell, r.reason)] for r in rejections
    )
    return sink.getvalue().encode("utf-8-sig")
