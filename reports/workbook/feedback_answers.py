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
from renewals.reports.sanitize import printable, shortened, unformula
from renewals.reports.workbook.feedback_reader import LONGEST, Book, Cell, Choice, Cover, Row

YEAR_FIRST = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
"""A day in text that can be read in one way only."""


@dataclass(frozen=True)
class Answer:
    """What a manager said of one account."""

    account_id: Any
    csm: str | None
    verdict: str | None
    action: str | None
    begun: date | None
    note: str | None
    as_of: date
    file: str
    sheet: str
    cell: str

    @property
    def about(self) -> tuple[date, Any]:
        """The list and the account."""
        return self.as_of, self.account_id

    @property
    def said(self) -> tuple[Any, ...]:
        """The answer itself, wherever it stood."""
        return self.verdict, self.action, self.begun, self.note


@dataclass(frozen=True)
class Refusal:
    """What was not taken, and why; `sheet` and `cell` are empty where the whole file, or sheet, is meant."""

    reason: str
    sheet: str = ""
    cell: str = ""
    file: str = ""

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.sheet and f"sheet {self.sheet}", self.cell) if part)
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True)
class Known:
    """The accounts of a list by their ids as a workbook shows them, and the first day of each one's first contract."""

    ids: Mapping[str, Any]
    firsts: Mapping[Any, date]


def understood(book: Book, file: str, known: Known, recorded: datetime) -> tuple[list[Answer], list[Refusal]]:
    """The answers of a book, row by row, and what of it is refused."""
    answers, refused = [], []
    for row in book.rows:
        answer, faults = judged(row, book.cover, file, known, recorded)
        refused.extend(faults)
        if answer is not None:
            answers.append(answer)
    return answers, refused


def once(answers: Sequence[Answer]) -> tuple[list[Answer], list[Refusal]]:
    """One answer for each account of a list. Of two that differ nobody can say which is meant: both are refused."""
    by_account: dict[tuple[date, Any], list[Answer]] = defaultdict(list)
    for answer in answers:
        by_account[answer.about].append(answer)
    alike = {about: len({own.said for own in same}) == 1 for about, same in by_account.items()}
    kept = [same[0] for about, same in by_account.items() if alike[about]]
    return kept, [_contradiction(own, by_account[own.about]) for own in answers if not alike[own.about]]


def _contradiction(own: Answer, same: Sequence[Answer]) -> Refusal:
    other = next(one for one in same if one.said != own.said)
    if other.file == own.file:
        place, what = f"sheet {other.sheet}, {other.cell}", "keep one of the two"
    else:
        place, what = f"{other.file}, sheet {other.sheet}, {other.cell}", "keep one, or collect the older file first"
    reason = f"account {printable(str(own.account_id))} is answered otherwise in {place}: {what}"
    return Refusal(reason, own.sheet, own.cell, own.file)


def judged(row: Row, cover: Cover, file: str, known: Known, recorded: datetime) -> tuple[Answer | None, list[Refusal]]:
    """One row as an answer, or None and every fault of it."""
    faults: list[Refusal] = []

    def refuse(name: str, reason: str) -> None:
        faults.append(Refusal(reason, row.sheet.title, row.cells[name].place, file))

    for name, cell in row.cells.items():
        if cell.kind == "f":
            refuse(name, f"holds a formula ({cell.shown}): write the answer itself")
        elif cell.kind == "e":
            refuse(name, f"holds an error ({cell.shown}): write the answer itself")
    if faults:
        return None, faults
    account_id = _account(row.cells["account_id"], known, refuse)
    verdict = _chosen("verdict", row.cells["verdict"], cover.verdicts, refuse)
    action = _chosen("action", row.cells["action"], cover.actions, refuse)
    begun = _begun(row.cells, known.firsts.get(account_id), recorded.date(), refuse)
    note = _note(row.cells["note"], refuse)
    if faults:
        return None, faults
    place = row.cells["account_id"].place
    said = (account_id, row.sheet.csm, verdict, action, begun, note)
    return Answer(*said, cover.as_of, file, row.sheet.title, place), []


def _account(cell: Cell, known: Known, refuse: Any) -> Any:
    if cell.empty:
        refuse("account_id", "an answer without an account id: write the id as the list has it")
    elif cell.lost_digits:
        refuse(
            "account_id",
            f"the id {cell.shown} has become a number, of which a spreadsheet keeps 15 digits, so it may be another "
            "account's: write the id as text, as the list has it",
        )
    elif cell.text in known.ids:
        return known.ids[cell.text]
    else:
        near = difflib.get_close_matches(cell.text, list(known.ids)[:20_000], n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(near)}?" if near else "write the id as the list has it"
        refuse("account_id", f"no account {cell.shown} on this list: {hint}")
    return None


def _chosen(name: str, cell: Cell, words: Mapping[str, Choice], refuse: Any) -> str | None:
    """The code of a chosen word."""
    if cell.empty:
        return None
    if choice := words.get(normalize_text(cell.text)):
        return choice.code
    told = shortened(", ".join(own.word for own in words.values()), 300, "…")
    refuse(name, f"{cell.shown} is no {name} of the list: choose one of {told}")
    return None


def _begun(cells: Mapping[str, Cell], first: date | None, recorded: date, refuse: Any) -> date | None:
    """The day an action was begun; one is refused without the other."""
    action, cell = cells["action"], cells["begun"]
    if cell.empty:
        if not action.empty:
            refuse("begun", f"the action {action.shown} has no day: write the day it was begun")
        return None
    if action.empty:
        refuse("action", f"a day ({cell.shown}) but no action: choose what was begun, or clear the day")
    day = _day(cell)
    if day is None:
        refuse("begun", f"{cell.shown} is no day: write it as a date, for example {recorded.isoformat()}")
    elif day > recorded:
        refuse("begun", f"{day} lies after {recorded}, the day the answers came in: write the day it was begun")
    elif first is not None and day < first:
        refuse("begun", f"{day} lies before the account's first contract, which began on {first}: correct the day")
    return day


def _day(cell: Cell) -> date | None:
    value = cell.value
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    match = YEAR_FIRST.fullmatch(value.strip()) if isinstance(value, str) else None
    with suppress(ValueError):
        return date(*map(int, match.groups())) if match else None
    return None


def _note(cell: Cell, refuse: Any) -> str | None:
    if cell.empty:
        return None
    if len(cell.text) > LONGEST:
        refuse("note", f"has {len(cell.text):,} characters, and a cell holds {LONGEST:,}: shorten it")
    return cell.text.strip()


def as_csv(refused: Sequence[Refusal]) -> bytes:
    """What was refused, for a spreadsheet: one row per fault; no text can run as a formula."""
    sink = io.StringIO()
    rows = csv.writer(sink, lineterminator="\n")
    rows.writerow(("file", "sheet", "cell", "reason"))
    rows.writerows([unformula(printable(part)) for part in (r.file, r.sheet, r.cell, r.reason)] for r in refused)
    return sink.getvalue().encode("utf-8-sig")
