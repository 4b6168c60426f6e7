"""The answers of managers in a workbook that came back: each row understood, or refused with a reason."""

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
"""A day in text that can be read in one way only."""


@dataclass(frozen=True)
class Answer:
    """What a manager said of one account."""

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
        """The list and the account."""
        return self.as_of, self.account_id

    @property
    def content(self) -> tuple[Any, ...]:
        """The answer itself, wherever it stood."""
        return self.verdict, self.action, self.started_on, self.note


@dataclass(frozen=True)
class Rejection:
    """What was not taken, and why; `sheet` and `cell` are empty where the whole file, or sheet, is meant."""

    reason: str
    sheet: str = ""
    cell: str = ""
    file: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.sheet and f"sheet {self.sheet}", self.cell) if part)
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True)
class ListedAccounts:
    """The accounts of a list by their ids as a workbook shows them, and the first day of each one's first contract."""

    ids_by_text: Mapping[str, Any]
    first_contract_days: Mapping[Any, date]


def parse_answers(
    returned: ReturnedWorkbook, file: str, accounts: ListedAccounts, recorded_at: datetime
) -> tuple[list[Answer], list[Rejection]]:
    """The answers of a book, row by row, and what of it is refused."""
    answers, refused = [], []
    for row in returned.rows:
        answer, faults = validate_row(row, returned.info, file, accounts, recorded_at)
        refused.extend(faults)
        if answer is not None:
            answers.append(answer)
    return answers, refused


def reject_contradictions(answers: Sequence[Answer]) -> tuple[list[Answer], list[Rejection]]:
    """One answer for each account of a list. Of two that differ nobody can say which is meant: both are refused."""
    by_account: dict[tuple[date, Any], list[Answer]] = defaultdict(list)
    for answer in answers:
        by_account[answer.key].append(answer)
    alike = {about: len({own.content for own in same}) == 1 for about, same in by_account.items()}
    kept = [same[0] for about, same in by_account.items() if alike[about]]
    return kept, [_contradiction_rejection(own, by_account[own.key]) for own in answers if not alike[own.key]]


def _contradiction_rejection(answer: Answer, answers: Sequence[Answer]) -> Rejection:
    other = next(one for one in answers if one.content != answer.content)
    if other.file == answer.file:
        place, what = f"sheet {other.sheet}, {other.cell}", "keep one"
    else:
        place, what = f"{other.file}, sheet {other.sheet}, {other.cell}", "keep one, or collect the older file first"
    reason = f"two different answers for account {make_printable(str(answer.account_id))}: {what} (also in {place})"
    return Rejection(reason, answer.sheet, answer.cell, answer.file)


def validate_row(
    row: AnswerRow, info: WorkbookInfo, file: str, accounts: ListedAccounts, recorded_at: datetime
) -> tuple[Answer | None, list[Rejection]]:
    """One row as an answer, or None and every fault of it."""
    faults: list[Rejection] = []

    def refuse(name: str, reason: str) -> None:
        faults.append(Rejection(reason, row.sheet.title, row.cells[name].reference, file))

    for name, cell in row.cells.items():
        if cell.kind == "f":
            refuse(name, f"holds a formula ({cell.quoted_text}): write the answer itself")
        elif cell.kind == "e":
            refuse(name, f"holds an error ({cell.quoted_text}): write the answer itself")
    if faults:
        return None, faults
    account_id = _parse_account(row.cells["account_id"], accounts, refuse)
    verdict = _parse_choice("verdict", row.cells["verdict"], info.verdicts, refuse)
    action = _parse_choice("action", row.cells["action"], info.actions, refuse)
    begun = _parse_start_day(row.cells, accounts.first_contract_days.get(account_id), recorded_at.date(), refuse)
    note = _parse_note(row.cells["note"], refuse)
    if faults:
        return None, faults
    place = row.cells["account_id"].reference
    said = (account_id, row.sheet.csm, verdict, action, begun, note)
    return Answer(*said, info.as_of, file, row.sheet.title, place), []


def _parse_account(cell: Cell, accounts: ListedAccounts, reject: Any) -> Any:
    if cell.is_empty:
        reject("account_id", "an answer without an account id: write the id as the list has it")
    elif cell.has_lost_digits:
        reject(
            "account_id",
            f"the id {cell.quoted_text} has become a number, of which a spreadsheet keeps 15 digits, so it may be "
            "another "
            "account's: write the id as text, as the list has it",
        )
    elif cell.text in accounts.ids_by_text:
        return accounts.ids_by_text[cell.text]
    else:
        near = difflib.get_close_matches(cell.text, list(accounts.ids_by_text)[:20_000], n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(near)}?" if near else "write the id as the list has it"
        reject("account_id", f"no account {cell.quoted_text} on this list: {hint}")
    return None


def _parse_choice(name: str, cell: Cell, choices: Mapping[str, DropdownChoice], reject: Any) -> str | None:
    """The code of a chosen word."""
    if cell.is_empty:
        return None
    if choice := choices.get(normalize_text(cell.text)):
        return choice.code
    told = truncate(", ".join(own.label for own in choices.values()), 300, "…")
    reject(name, f"{cell.quoted_text} is no {name} of the list: choose one of {told}")
    return None


def _parse_start_day(
    cells: Mapping[str, Cell], first_contract_day: date | None, recorded_day: date, reject: Any
) -> date | None:
    """The day an action was begun; one is refused without the other."""
    action, cell = cells["action"], cells["started_on"]
    if cell.is_empty:
        if not action.is_empty:
            reject("started_on", f"the action {action.quoted_text} has no day: write the day it was begun")
        return None
    if action.is_empty:
        reject("action", f"a day ({cell.quoted_text}) but no action: choose what was begun, or clear the day")
    day = _parse_day(cell)
    if day is None:
        reject(
            "started_on", f"{cell.quoted_text} is no day: write it as a date, for example {recorded_day.isoformat()}"
        )
    elif day > recorded_day:
        reject(
            "started_on", f"{day} lies after {recorded_day}, the day the answers came in: write the day it was begun"
        )
    elif first_contract_day is not None and day < first_contract_day:
        reject(
            "started_on",
            f"{day} lies before the account's first contract, which began on {first_contract_day}: correct the day",
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
    """What was refused, for a spreadsheet: one row per fault; no text can run as a formula."""
    sink = io.StringIO()
    rows = csv.writer(sink, lineterminator="\n")
    rows.writerow(("file", "sheet", "cell", "reason"))
    rows.writerows(
        [escape_formula(make_printable(part)) for part in (r.file, r.sheet, r.cell, r.reason)] for r in rejections
    )
    return sink.getvalue().encode("utf-8-sig")
