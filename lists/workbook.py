"""The list as a workbook for Excel: plain, and safe to open whatever an account is called.

Every text is written as text, never as a formula or a link. The workbook is built in memory (`lists/` opens
no file, and XlsxWriter's constant-memory mode writes temporary ones), so it shows a bounded number of accounts
and says so where there are more.
"""

from __future__ import annotations

import datetime
import io
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from lists import disagreements, playbooks
from lists.options import ListOptions
from lists.risk_list import COLUMNS, NAMES, TARGETS
from lists.text import printable, shortened, width
from lists.words import Words
from models.reasons import REASONS
from models.worklist import SCORED

SHOWN = (
    *("rank", "account_name", "account_id", "csm", "stage", "renewal_date", "days_to_renewal", "arr", "currency"),
    *("risk_band", "renewal_probability", "renewal_low", "renewal_high", "probability_change", "arr_at_risk"),
    *("reason_1", "reason_2", "reason_3", "reason_4", "reason_5", "alerts"),
    *("playbook_1", "playbook_2", "playbook_3", "strength_1", "strength_2", "strength_3"),
    *("expansion_probability", "upsell_probability", "cross_sell_probability", "quadrant"),
    *("size_band", "within_capacity", "reason_change"),
)
"""What the sheet shows, in reading order; a column that is empty in every row is left out."""
NOT_SCORED = (
    "account_name",
    "account_id",
    "csm",
    "status",
    "renewal_date",
    "days_to_renewal",
    "arr",
    "currency",
    "stage",
    "alerts",
)
IN_WORDS = ("stage", "size_band", "status", "risk_band", "quadrant")
SENTENCES = ("reason_", "strength_", "playbook_", "alerts")
SENTENCE_WIDTH, MEANING_WIDTH, PLAIN_WIDTH = 42, 90, 60
LINE = 16.5
"""The height of one line, in points: Chinese fonts need more than Latin ones. Rows that wrap are given theirs, for not
every program works it out."""
LONGEST = 32_767
EXACT = 2**53
KINDS = {column.name: column.kind for column in COLUMNS}
FORMATS: dict[str, dict[str, Any]] = {
    "date": {"num_format": "yyyy-mm-dd"},
    "number": {"num_format": "#,##0"},
    "integer": {"num_format": "0"},
    "id": {"num_format": "0"},
    "probability": {"num_format": "0%"},
    "general": {"num_format": "General"},
    "change": {"num_format": "+0%;-0%;0%"},
    "head": {"bold": True, "text_wrap": True, "align": "left", "indent": 1, "bottom": 1, "bg_color": "#E8EEF4"},
    "title": {"bold": True, "font_size": 14},
    "text": {"align": "left", "indent": 1},
    "wrapped": {"text_wrap": True, "align": "left", "indent": 1},
    "high": {"font_color": "#9C0006", "bg_color": "#FFC7CE"},
    "medium": {"font_color": "#7F6000", "bg_color": "#FFEB9C"},
    "low": {"font_color": "#006100", "bg_color": "#C6EFCE"},
}
LOOSE = ("high", "medium", "low")
"""Formats laid over a cell's own, which therefore say nothing of its alignment."""


def as_workbook(
    listed: pd.DataFrame,
    models: Mapping[str, str],
    absent: Collection[str],
    options: ListOptions,
    untold: Collection[str] = (),
    plays: Iterable[playbooks.Play] = (),
    since: tuple[datetime.date, pd.DataFrame] | None = None,
    apart: tuple[pd.DataFrame, Mapping[str, Any]] | None = None,
) -> bytes:
    """The workbook's bytes: the list, the plays, what was done since the last list, the accounts not scored, and what
    every column means.

    `models` names the model of each predicted target, `absent` those that have none, and `untold` the families of
    features for which no table was given. `since` is the day of the last list, and one row per playbook begun after it.
    `apart` are the renewals that managers saw otherwise, and the tally of who was right. The same list gives the same
    bytes.
    """
    as_of = listed["as_of"].iloc[0].date() if len(listed) else None
    sink = io.BytesIO()
    settings = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(sink, settings) as book:
        created = datetime.datetime.combine(as_of or datetime.date(1980, 1, 1), datetime.time())
        book.set_properties({"created": created})
        sheets = _Sheets(book, Words(options.language))
        listed = listed.assign(alerts=listed["alerts"].map(sheets.words.alerts, na_action="ignore"))
        scored, others = listed[listed["status"] == SCORED], listed[listed["status"] != SCORED]
        shown = _under_themes(scored.head(options.workbook_rows), sheets.words)
        sheets.table("sheet.list", shown, [name for name in SHOWN if listed[name].notna().any()], frozen=2)
        if told := [playbooks.row(play, sheets.words) for play in plays]:
            sheets.plain("sheet.playbooks", [f"plays.{name}" for name in playbooks.COLUMNS], told)
        if since is not None and len(since[1]):
            sheets.since(*since)
        if apart is not None and len(apart[0]):
            note = " ".join(disagreements.tally(apart[1], sheets.words))
            cells = disagreements.rows(apart[0], sheets.words)
            sheets.plain("sheet.apart", disagreements.headings(), cells, note)
        if len(others):
            names = [name for name in NOT_SCORED if name != "alerts" or others[name].notna().any()]
            sheets.table("sheet.not_scored", others.head(options.workbook_rows), names, frozen=1)
        standing = sheets.standing(models, absent, untold, (len(shown), len(scored), len(others)))
        sheets.about(str(as_of or ""), standing, options)
    return sink.getvalue()


def _under_themes(rows: pd.DataFrame, words: Words) -> pd.DataFrame:
    """The rows with each reason under its theme, on a line of its own; one row per row given."""
    shown = rows.copy()
    for reason in (f"reason_{k}" for k in range(1, REASONS + 1)):
        parts = zip(rows[reason], rows[f"{reason}_theme"], rows[f"{reason}_actionable"], strict=True)
        shown[reason] = [f"{words.theme(theme, bool(can))}\n{said}" if said else None for said, theme, can in parts]
    return shown


class _Sheets:
    """The sheets of one workbook in one language."""

    def __init__(self, book: xlsxwriter.Workbook, words: Words) -> None:
        self.book, self.words = book, words
        top: dict[str, Any] = {"valign": "top"}
        self.formats: dict[str, Format] = {
            name: book.add_format(own if name in LOOSE else own | top) for name, own in FORMATS.items()
        }

    def table(self, title: str, rows: pd.DataFrame, names: list[str], frozen: int) -> None:
        """A sheet with one row per account under a frozen, filtered header."""
        sheet = self.book.add_worksheet(self.words.say(title))
        headings = [self.words.heading(name) for name in names]
        for place, (name, heading) in enumerate(zip(names, headings, strict=True)):
            self._text(sheet, 0, place, heading, "head")
            cells = [self._cell(name, value) for value in rows[name].tolist()]
            sheet.set_column(place, place, _fitting(name, heading, cells), self.formats[self._format(name)])
            for row, cell in enumerate(cells, start=1):
                self._write(sheet, row, place, cell, self._format(name))
        sheet.set_row(0, 2 * LINE)
        sentences = rows[[name for name in names if name.startswith(SENTENCES)]]
        for row, own in enumerate(sentences.itertuples(index=False), start=1):
            sheet.set_row(row, LINE * max((_lines(text, SENTENCE_WIDTH) for text in own), default=1))
        sheet.freeze_panes(1, frozen)
        if names:
            sheet.autofilter(0, 0, len(rows), len(names) - 1)
        self._colour(sheet, rows, names)
        _for_print(sheet)

    def plain(self, title: str, keys: list[str], rows: list[list[Any]], note: str = "") -> Worksheet:
        """A sheet of text and numbers under frozen headings, with a note below."""
        sheet = self.book.add_worksheet(self.words.say(title))
        for place, (key, cells) in enumerate(zip(keys, zip(*rows, strict=True), strict=True)):
            heading = self.words.say(key)
            self._text(sheet, 0, place, heading, "head")
            longest = max(width(line) for cell in cells for line in str(cell).splitlines() or [""])
            sheet.set_column(place, place, min(max(width(heading) + 3, longest + 2), PLAIN_WIDTH))
            for row, cell in enumerate(cells, start=1):
                self._write(sheet, row, place, cell, "wrapped" if isinstance(cell, str) else _number_format(cell))
        for row, own in enumerate(rows, start=1):
            sheet.set_row(row, LINE * max(_lines(cell, PLAIN_WIDTH) for cell in own))
        if note:
            self._text(sheet, len(rows) + 2, 0, note, "text")
        sheet.freeze_panes(1, 1)
        _for_print(sheet)
        return sheet

    def since(self, last: datetime.date, begun: pd.DataFrame) -> None:
        """The playbooks begun since the last list, and the chances then and now; one row per playbook begun."""
        keys = ("heading.account_name", "heading.account_id", "heading.csm", "plays.name", "since.started")
        names = ["account_name", "account_id", "csm", "playbook", "started", "then", "now"]
        cells = begun[names].astype(object).where(begun[names].notna(), None).values.tolist()
        rows = [[*map(_id_or_text, own[:4]), str(own[4]), *own[5:]] for own in cells]
        note = self.words.say("since.note", last=last)
        self.plain("sheet.since", [*keys, "since.then", "since.now"], rows, note)

    def _colour(self, sheet: Worksheet, rows: pd.DataFrame, names: list[str]) -> None:
        if "risk_band" not in names or rows.empty:
            return
        place = names.index("risk_band")
        for band in LOOSE:
            words = self.words.value("risk_band", band)
            rule = {"type": "cell", "criteria": "==", "value": f'"{words}"', "format": self.formats[band]}
            sheet.conditional_format(1, place, len(rows), place, rule)

    def about(self, as_of: str, standing: list[str], options: ListOptions) -> None:
        """The sheet that says what the list stands on and what every column means."""
        say = self.words.say
        sheet = self.book.add_worksheet(say("sheet.columns"))
        lines = [say("columns.as_of", as_of=as_of), *standing]
        for row, line in enumerate(lines):
            self._text(sheet, row, 0, line, "text" if row else "title")
        head = len(lines) + 1
        for place, key in enumerate(("heading", "meaning", "column")):
            self._text(sheet, head, place, say(f"columns.{key}"), "head")
        for row, name in enumerate(_explained(), start=head + 1):
            meaning = self.words.about(name, **options.said)
            self._text(sheet, row, 0, self.words.heading(name), "text")
            self._text(sheet, row, 1, meaning, "wrapped")
            self._text(sheet, row, 2, _all_of(name), "text")
            sheet.set_row(row, LINE * _lines(meaning, MEANING_WIDTH))
        for place, columns in enumerate((28, MEANING_WIDTH, 60)):
            sheet.set_column(place, place, columns)
        _for_print(sheet)

    def standing(
        self, models: Mapping[str, str], absent: Collection[str], untold: Collection[str], counts: tuple[int, int, int]
    ) -> list[str]:
        """What the list stands on: its rows, its models, and what nobody told."""
        shown, scored, others = counts
        say = self.words.say
        lines = [say("columns.rows", scored=scored, others=others)]
        if shown < scored:
            lines.append(say("columns.more_rows", shown=shown, all=scored))
        for target in TARGETS:
            words = say(f"target.{target}")
            if target in models:
                lines.append(say("columns.model", target=words, model=models[target]))
            elif target in absent:
                lines.append(say("columns.no_model", target=words))
        if untold:
            lines.append(say("columns.untold", families=say("and").join(say(f"family.{name}") for name in untold)))
        return lines

    def _format(self, name: str) -> str:
        if name.startswith(SENTENCES):
            return "wrapped"
        if name == "probability_change":
            return "change"
        return KINDS[name] if KINDS[name] in self.formats else "text"

    def _cell(self, name: str, value: Any) -> Any:
        """What stands in a cell: None, text, a finite number or a day."""
        if pd.isna(value):
            return None
        if name in IN_WORDS:
            return self.words.value(name, value)
        if KINDS[name] == "flag":
            return self.words.flag(bool(value))
        if KINDS[name] == "date":
            return pd.Timestamp(value).to_pydatetime()
        if isinstance(value, (int, float)):
            return value if abs(value) <= EXACT or KINDS[name] != "id" else str(value)
        return str(value)

    def _write(self, sheet: Worksheet, row: int, column: int, cell: Any, kind: str) -> None:
        if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
            return
        if isinstance(cell, str):
            self._text(sheet, row, column, cell, kind)
        elif isinstance(cell, datetime.datetime):
            _done(sheet.write_datetime(row, column, cell, self.formats[kind]))
        else:
            _done(sheet.write_number(row, column, cell, self.formats[kind]))

    def _text(self, sheet: Worksheet, row: int, column: int, text: str, kind: str) -> None:
        text = printable(text)
        text = shortened(text, LONGEST, self.words.say("phrase.cut", length=len(text)))
        _done(sheet.write_string(row, column, text, self.formats[kind]))


def _id_or_text(cell: Any) -> Any:
    return None if cell is None else str(cell)


def _number_format(cell: Any) -> str:
    """A share is shown as one; hours are whole or not."""
    return "probability" if isinstance(cell, float) and 0 <= cell <= 1 else "general"


def _done(code: int | None) -> None:
    """XlsxWriter tells of a dropped or cut cell by its return code alone."""
    if code:
        raise ValueError(f"XlsxWriter refused a cell (code {code})")


def _for_print(sheet: Worksheet) -> None:
    sheet.set_landscape()
    sheet.repeat_rows(0)
    sheet.fit_to_pages(1, 0)


def _fitting(name: str, heading: str, cells: Iterable[Any]) -> float:
    """A width in which most cells are read whole; sentences wrap."""
    if name.startswith(SENTENCES):
        return SENTENCE_WIDTH
    longest = max((width(_said(name, cell)) for cell in cells), default=0)
    word = max(map(width, heading.split()), default=0)  # a heading breaks between its words, not within them
    return min(max(width(heading) / 1.6 + 3, min(1.2 * word + 2, 17), 6, longest + 2), 40)


def _said(name: str, cell: Any) -> str:
    if isinstance(cell, datetime.datetime):
        return str(cell.date())
    if isinstance(cell, (int, float)):
        return f"{cell:.0%}" if KINDS[name] == "probability" else f"{cell:,.0f}"
    return str(cell or "")


def _explained() -> list[str]:
    """The columns to explain: of those that repeat by number, the first."""
    repeated = tuple(f"_{number}" for number in range(2, 6))
    return [name for name in NAMES if not any(f"{mark}_" in f"{name}_" for mark in repeated)]


def _all_of(name: str) -> str:
    """The column, or where it repeats by number the first and the last of them."""
    same = [other for other in NAMES if re.sub(r"\d", "#", other) == re.sub(r"\d", "#", name)]
    return name if len(same) == 1 else f"{same[0]} … {same[-1]}"


def _lines(text: object, columns: int) -> int:
    """How many lines a text takes in a cell so wide; a little more than its width, for words are not broken."""
    wrapped = (
        [math.ceil(width(line) * 1.1 / columns) for line in str(text).splitlines()] if isinstance(text, str) else []
    )
    return max(sum(max(count, 1) for count in wrapped), 1)
