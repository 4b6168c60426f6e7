"""The list as a workbook for Excel: a summary, a sheet per manager, the plays, and what every column means.

It shows a bounded number of accounts and of managers, and says so where there are more.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from renewals.models.ranking.worklist import SCORED
from renewals.reports.columns import NAMES, TARGETS
from renewals.reports.list_summary import moved
from renewals.reports.render_failures import Losses
from renewals.reports.sentences import disagreements, playbooks
from renewals.reports.settings import ListOptions
from renewals.reports.words import Words
from renewals.reports.workbook import account_sheet, manager_sheet, summary_sheet
from renewals.reports.workbook.account_sheet import NOT_SCORED, SHOWN
from renewals.reports.workbook.feedback_layout import ANSWERS
from renewals.reports.workbook.manager_sheet import Portfolio
from renewals.reports.workbook.writer import LINE, Book, lines, opened

MEANING_WIDTH = 90
TITLES = ("summary", "list", "playbooks", "since", "apart", "not_scored", "columns")
"""The sheets that are not a manager's, by the words that name them."""


@dataclass(frozen=True)
class Behind:
    """What stands behind a list."""

    models: Mapping[str, str]
    """The model of each predicted target."""
    absent: Collection[str] = ()
    """The targets that have none."""
    untold: Collection[str] = ()
    """The families of features for which no table was given."""
    plays: Mapping[str, playbooks.Play] = field(default_factory=dict)
    """The library, by the plays' ids."""
    since: tuple[datetime.date, pd.DataFrame] | None = None
    """The day of the last list, and one row per playbook begun after it."""
    last: tuple[datetime.date, pd.DataFrame] | None = None
    """The day of the last list, and what it said; one row per account: `account_id`, `renewal_probability`."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """What the forecast of the day says of the whole company: `period_kind`, `period`, `measure`, `expected`, `low`,
    `high`."""
    card: Mapping[str, Any] | None = None
    """The scorecard of the day."""
    apart: tuple[pd.DataFrame, Mapping[str, Any]] | None = None
    """The renewals that managers saw otherwise, and the tally of who was right."""
    key: str = ""
    """The fingerprint of all that the list was made from, as its manifest tells it."""
    notices: Sequence[Mapping[str, str]] = ()
    """What is to be known before the list is read: sentences by language."""


def as_workbook(listed: pd.DataFrame, behind: Behind, options: ListOptions, losses: Losses | None = None) -> bytes:
    """The workbook's bytes: the summary, a sheet per manager, the whole list where there are several, the plays, what
    was done since the last list, the accounts not scored, and what every column means. The same values give the same
    bytes. What cannot be shown of an account is left out and counted in `losses`."""
    as_of = listed["as_of"].iloc[0].date() if len(listed) else None
    sink = io.BytesIO()
    notices = [notice[options.language] for notice in behind.notices]
    with opened(sink, Words(options.language), as_of, losses, notices) as book:
        told = listed.assign(alerts=listed["alerts"].map(book.words.alerts, na_action="ignore"))
        scored, others = told[told["status"] == SCORED], told[told["status"] != SCORED]
        shown = account_sheet.under_themes(scored.head(options.workbook_rows), book)
        titles = {name: book.words.say(f"sheet.{name}") for name in TITLES}
        nobody = book.words.say("page.nobody")
        own = manager_sheet.portfolios(shown, options.workbook_managers, titles.values(), nobody)
        summary = _summary(listed, shown, own, behind, book, options)
        summary_sheet.write(book, titles["summary"], listed, summary, options)
        cells = account_sheet.cells(shown, SHOWN, book)
        _managers(book, own, cells, listed, behind)
        if _several(shown):
            account_sheet.table(book, titles["list"], cells, frozen=2)
        _plays(book, titles["playbooks"], behind.plays)
        if behind.since is not None and len(behind.since[1]):
            _since(book, titles["since"], *behind.since)
        if behind.apart is not None and len(behind.apart[0]):
            _apart(book, titles["apart"], *behind.apart)
        if len(others):
            rest = account_sheet.cells(others.head(options.workbook_rows), NOT_SCORED, book)
            account_sheet.table(book, titles["not_scored"], rest, frozen=1)
        standing = _standing(book.words, behind, (len(shown), len(scored), len(others)))
        _about(book, titles["columns"], str(as_of or ""), standing, options)
    return sink.getvalue()


def _several(shown: pd.DataFrame) -> bool:
    """Whether the whole list says more than the sheet of its one manager would."""
    return shown["csm"].nunique(dropna=False) > 1


def _summary(
    listed: pd.DataFrame,
    shown: pd.DataFrame,
    own: Sequence[Portfolio],
    behind: Behind,
    book: Book,
    options: ListOptions,
) -> summary_sheet.Told:
    without = shown["csm"].nunique(dropna=False) - len(own)
    sheet = book.words.say("sheet.list")
    notes = [book.words.say("summary.no_sheet", number=without, sheet=sheet)] if without else []
    since = moved(listed, *behind.last, options) if behind.last else None
    return summary_sheet.Told(since, behind.forecast, behind.card, notes)


def _managers(
    book: Book, own: Sequence[Portfolio], cells: account_sheet.Cells, listed: pd.DataFrame, behind: Behind
) -> None:
    """A sheet for each of these managers, and the hidden one by which their answers are read back."""
    if listed.empty:
        return
    day, currencies = listed["as_of"].iloc[0].date(), listed["currency"].dropna().unique()
    currency = str(currencies[0]) if len(currencies) == 1 else None
    played = manager_sheet.actions(behind.plays, book.words.language)
    sheets = [(one, manager_sheet.write(book, one, cells, currency, len(played), day)) for one in own]
    manager_sheet.hidden(book, behind.key, day, sheets, played)


def _plays(book: Book, title: str, plays: Mapping[str, playbooks.Play]) -> None:
    """The library; one row per play."""
    if told := [playbooks.row(play, book.words) for play in plays.values()]:
        book.plain(title, [book.words.say(f"plays.{name}") for name in playbooks.COLUMNS], told)


def _since(book: Book, title: str, last: datetime.date, begun: pd.DataFrame) -> None:
    """The playbooks begun since the last list, and the chances then and now; one row per playbook begun."""
    keys = ("heading.account_name", "heading.account_id", "heading.csm", "plays.name", "since.started")
    names = ["account_name", "account_id", "csm", "playbook", "started", "then", "now"]
    cells = begun[names].astype(object).where(begun[names].notna(), None).values.tolist()
    rows = [[*map(_id_or_text, own[:4]), *own[4:]] for own in cells]
    headings = [book.words.say(key) for key in (*keys, "since.then", "since.now")]
    book.plain(title, headings, rows, book.words.say("since.note", last=book.words.day(last)))


def _apart(book: Book, title: str, apart: pd.DataFrame, tally: Mapping[str, Any]) -> None:
    """Where managers saw it otherwise than the list, and who was right; one row per list and account."""
    headings = [book.words.say(key) for key in disagreements.headings()]
    note = " ".join(disagreements.tally(tally, book.words))
    book.plain(title, headings, disagreements.rows(apart, book.words, book.losses), note)


def _id_or_text(cell: Any) -> Any:
    return None if cell is None else str(cell)


def _about(book: Book, title: str, as_of: str, standing: list[str], options: ListOptions) -> None:
    """The sheet that says what the list stands on and what every column means."""
    say = book.words.say
    sheet = book.sheet(title)
    first = [say("columns.as_of", as_of=as_of and book.words.day(as_of)), *standing, say("columns.capacity_line")]
    for row, line in enumerate(first):
        book.text(sheet, row, 0, line, "text" if row else "title")
    head = len(first) + 1
    meanings = [(say(f"answer.{name}"), say(f"answer.about.{name}"), "") for name in ANSWERS]
    meanings += [(book.words.heading(n), book.words.about(n, **options.said), _all_of(n)) for n in _explained()]
    keys = [say(f"columns.{key}") for key in ("heading", "meaning", "column")]
    for place, heading in enumerate(keys):
        book.text(sheet, head, place, heading, "head")
    book.rows(sheet, head + 1, meanings, ("text", "wrapped", "text"))
    for row, (_, meaning, _) in enumerate(meanings, start=head + 1):
        sheet.set_row(row, LINE * lines(meaning, MEANING_WIDTH))
    for place, columns in enumerate((28, MEANING_WIDTH, 60)):
        sheet.set_column(place, place, columns)


def _standing(words: Words, behind: Behind, counts: tuple[int, int, int]) -> list[str]:
    """What the list stands on: its rows, its models, and what nobody told."""
    shown, scored, others = counts
    said = [words.say("columns.rows", scored=scored, others=others)]
    if shown < scored:
        said.append(words.say("columns.more_rows", shown=shown, all=scored))
    said += _models(words, behind)
    if behind.untold:
        families = words.say("and").join(words.say(f"family.{name}") for name in behind.untold)
        said.append(words.say("columns.untold", families=families))
    return said


def _models(words: Words, behind: Behind) -> Iterable[str]:
    for target in TARGETS:
        name = words.say(f"target.{target}")
        if target in behind.models:
            yield words.say("columns.model", target=name, model=behind.models[target])
        elif target in behind.absent:
            yield words.say("columns.no_model", target=name)


def _explained() -> list[str]:
    """The columns to explain: of those that repeat by number, the first."""
    repeated = tuple(f"_{number}" for number in range(2, 6))
    return [name for name in NAMES if not any(f"{mark}_" in f"{name}_" for mark in repeated)]


def _all_of(name: str) -> str:
    """The column, or where it repeats by number the first and the last of them."""
    same = [other for other in NAMES if re.sub(r"\d", "#", other) == re.sub(r"\d", "#", name)]
    return name if len(same) == 1 else f"{same[0]} … {same[-1]}"
