"""Workbooks as managers send them back, written by hand in the layout of `reports/workbook/feedback_layout.py`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from openpyxl import Workbook

from renewals.reports.workbook.feedback_layout import (
    ACTION_TABLE_COLUMNS,
    HIDDEN_SHEET,
    LAYOUT_VERSION,
    METADATA_ROWS,
    SHEET_TABLE_COLUMNS,
    TABLES_HEADER_ROW,
    VERDICT_TABLE_COLUMNS,
)

LETTERS = {"account_id": "C", "verdict": "D", "action": "E", "started_on": "F", "note": "G"}
HEADINGS = ("Rank", "Account", "Account id", "Your verdict", "Action taken", "Begun on", "Note")
WORDS = {
    "en": ({"Will renew": "renews", "Will be lost": "lost", "Not sure": "unsure"}, {"Visit the boss": "visit"}),
    "zh": ({"会续约": "renews", "会流失": "lost", "不确定": "unsure"}, {"拜访决策人": "visit"}),
}
Answers = Sequence[Sequence[Any]]
"""Rows of account id, verdict, action, begun and note; shorter rows say nothing in the rest."""


def returned(
    sheets: Mapping[str, Answers],
    key: str = "k1",
    as_of: str = "2026-06-01",
    language: str = "en",
    change: Callable[[Workbook], None] | None = None,
    notices: Sequence[str] = (),
    **said: str,
) -> bytes:
    """A workbook of these managers' answers, below these notices; `change` does to it what a manager might, `said`
    overrides its cover."""
    book = Workbook()
    book.active.title = "Summary"
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for notice in notices:
            sheet.append((notice,))
        sheet.append(HEADINGS)
        for number, row in enumerate(rows, start=1):
            sheet.append((number, "a name", *row))
    cover = {
        "format": LAYOUT_VERSION,
        "as_of": as_of,
        "key": key,
        "language": language,
        "header": str(len(notices) + 1),
    }
    _hidden(book, sheets, cover | said, language)
    if change is not None:
        change(book)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def _hidden(book: Workbook, sheets: Mapping[str, Answers], cover: Mapping[str, str], language: str) -> None:
    hidden = book.create_sheet(HIDDEN_SHEET)
    hidden.sheet_state = "veryHidden"
    for name, row in METADATA_ROWS.items():
        hidden[f"A{row}"], hidden[f"B{row}"] = name, cover[name]
    for place, heading in enumerate(SHEET_TABLE_COLUMNS, start=1):
        hidden.cell(TABLES_HEADER_ROW, place, heading)
    for row, title in enumerate(sheets, start=TABLES_HEADER_ROW + 1):
        csm = "" if title == "Nobody" else title
        for place, text in enumerate((title, csm, *LETTERS.values()), start=1):
            hidden.cell(row, place, text or None)
    for columns, words in zip((VERDICT_TABLE_COLUMNS, ACTION_TABLE_COLUMNS), WORDS[language], strict=True):
        for row, (word, code) in enumerate((("word", "code"), *words.items()), start=TABLES_HEADER_ROW):
            hidden[f"{columns[0]}{row}"], hidden[f"{columns[1]}{row}"] = word, code


DAY = date(2026, 6, 3)
