"""Workbooks as managers return them, written in the layout of `reports/workbook/feedback_layout.py`."""

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
ANSWER_TEXTS = {
    "en": ({"Will renew": "renews", "Will be lost": "lost", "Not sure": "unsure"}, {"Visit the boss": "visit"}),
    "zh": ({"会续约": "renews", "会流失": "lost", "不确定": "unsure"}, {"拜访决策人": "visit"}),
}
Answers = Sequence[Sequence[Any]]
"""Rows of account id, verdict, action, start day and note; missing cells are empty."""


def returned(
    sheets: Mapping[str, Answers],
    key: str = "k1",
    as_of: str = "2026-06-01",
    language: str = "en",
    change: Callable[[Workbook], None] | None = None,
    notices: Sequence[str] = (),
    **metadata: str,
) -> bytes:
    """A workbook with the managers' answers below the notices.

    `change` edits the workbook as a manager might, `metadata` replaces cells of its hidden sheet.
    """
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
    _add_hidden_sheet(book, sheets, cover | metadata, language)
    if change is not None:
        change(book)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def _add_hidden_sheet(book: Workbook, sheets: Mapping[str, Answers], cover: Mapping[str, str], language: str) -> None:
    hidden = book.create_sheet(HIDDEN_SHEET)
    hidden.sheet_state = "veryHidden"
    for name, row in METADATA_ROWS.items():
        hidden[f"A{row}"], hidden[f"B{row}"] = name, cover[name]
    for column, heading in enumerate(SHEET_TABLE_COLUMNS, start=1):
        hidden.cell(TABLES_HEADER_ROW, column, heading)
    for row, title in enumerate(sheets, start=TABLES_HEADER_ROW + 1):
        csm = "" if title == "Nobody" else title
        for column, text in enumerate((title, csm, *LETTERS.values()), start=1):
            hidden.cell(row, column, text or None)
    for columns, texts in zip((VERDICT_TABLE_COLUMNS, ACTION_TABLE_COLUMNS), ANSWER_TEXTS[language], strict=True):
        for row, (label, code) in enumerate((("word", "code"), *texts.items()), start=TABLES_HEADER_ROW):
            hidden[f"{columns[0]}{row}"], hidden[f"{columns[1]}{row}"] = label, code


DAY = date(2026, 6, 3)
