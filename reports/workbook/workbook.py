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
from renewals.reports.columns import COLUMN_NAMES, TARGETS
from renewals.reports.list_summary import compare_lists
from renewals.reports.render_failures import RenderFailures
from renewals.reports.sentences import disagreements, playbooks
from renewals.reports.settings import ListOptions
from renewals.reports.words import Messages
from renewals.reports.workbook import account_sheet, manager_sheet, summary_sheet
from renewals.reports.workbook.account_sheet import LIST_COLUMNS, NOT_SCORED_COLUMNS
from renewals.reports.workbook.feedback_layout import ANSWER_COLUMNS
from renewals.reports.workbook.manager_sheet import ManagerPortfolio
from renewals.reports.workbook.writer import LINE_HEIGHT, WorkbookWriter, count_lines, open_writer

DESCRIPTION_WIDTH = 90
SHEET_KEYS = ("summary", "list", "playbooks", "interventions", "disagreements", "not_scored", "columns")
"""The sheets that are not a manager's, by the words that name them."""


@dataclass(frozen=True)
class WorkbookData:
    """What stands behind a list."""

    models: Mapping[str, str]
    """The model of each predicted target."""
    untrained_targets: Collection[str] = ()
    """The targets that have none."""
    missing_families: Collection[str] = ()
    """The families of features for which no table was given."""
    library: Mapping[str, playbooks.PlaybookRecord] = field(default_factory=dict)
    """The library, by the plays' ids."""
    interventions: tuple[datetime.date, pd.DataFrame] | None = None
    """The day of the last list, and one row per playbook begun after it."""
    previous_list: tuple[datetime.date, pd.DataFrame] | None = None
    """The day of the last list, and what it said; one row per account: `account_id`, `renewal_probability`."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """What the forecast of the day says of the whole company: `period_kind`, `period`, `measure`, `expected`, `low`,
    `high`."""
    scorecard: Mapping[str, Any] | None = None
    """The scorecard of the day."""
    disagreements: tuple[pd.DataFrame, Mapping[str, Any]] | None = None
    """The renewals that managers saw otherwise, and the tally of who was right."""
    fingerprint: str = ""
    """The fingerprint of all that the list was made from, as its manifest tells it."""
    notices: Sequence[Mapping[str, str]] = ()
    """What is to be known before the list is read: sentences by language."""


def build_workbook(
    risk_list: pd.DataFrame, data: WorkbookData, options: ListOptions, failures: RenderFailures | None = None
) -> bytes:
    """The workbook's bytes: the summary, a sheet per manager, the whole list where there are several, the plays, what
    was done since the last list, the accounts not scored, and what every column means. The same values give the same
    bytes. What cannot be shown of an account is left out and counted in `failures`."""
    as_of = risk_list["as_of"].iloc[0].date() if len(risk_list) else None
    sink = io.BytesIO()
    notices = [notice[options.language] for notice in data.notices]
    with open_writer(sink, Messages(options.language), as_of, failures, notices) as book:
        told = risk_list.assign(alerts=risk_list["alerts"].map(book.messages.alerts, na_action="ignore"))
        scored, others = told[told["status"] == SCORED], told[told["status"] != SCORED]
        shown = account_sheet.add_theme_headings(scored.head(options.workbook_rows), book)
        titles = {name: book.messages.text(f"sheet.{name}") for name in SHEET_KEYS}
        nobody = book.messages.text("page.nobody")
        own = manager_sheet.build_portfolios(shown, options.workbook_managers, titles.values(), nobody)
        summary = _build_summary(risk_list, shown, own, data, book, options)
        summary_sheet.write_summary(book, titles["summary"], risk_list, summary, options)
        cells = account_sheet.build_cells(shown, LIST_COLUMNS, book)
        _write_manager_sheets(book, own, cells, risk_list, data)
        if _has_several_managers(shown):
            account_sheet.write_table(book, titles["list"], cells, frozen_columns=2)
        _write_playbooks(book, titles["playbooks"], data.library)
        if data.interventions is not None and len(data.interventions[1]):
            _write_interventions(book, titles["interventions"], *data.interventions)
        if data.disagreements is not None and len(data.disagreements[0]):
            _write_disagreements(book, titles["disagreements"], *data.disagreements)
        if len(others):
            rest = account_sheet.build_cells(others.head(options.workbook_rows), NOT_SCORED_COLUMNS, book)
            account_sheet.write_table(book, titles["not_scored"], rest, frozen_columns=1)
        standing = _provenance_lines(book.messages, data, (len(shown), len(scored), len(others)))
        _write_column_guide(book, titles["columns"], str(as_of or ""), standing, options)
    return sink.getvalue()


def _has_several_managers(shown: pd.DataFrame) -> bool:
    """Whether the whole list says more than the sheet of its one manager would."""
    return shown["csm"].nunique(dropna=False) > 1


def _build_summary(
    risk_list: pd.DataFrame,
    shown: pd.DataFrame,
    portfolios: Sequence[ManagerPortfolio],
    data: WorkbookData,
    writer: WorkbookWriter,
    options: ListOptions,
) -> summary_sheet.SummaryData:
    without = shown["csm"].nunique(dropna=False) - len(portfolios)
    sheet = writer.messages.text("sheet.list")
    notes = [writer.messages.text("summary.no_sheet", number=without, sheet=sheet)] if without else []
    since = compare_lists(risk_list, *data.previous_list, options) if data.previous_list else None
    return summary_sheet.SummaryData(since, data.forecast, data.scorecard, notes)


def _write_manager_sheets(
    writer: WorkbookWriter,
    portfolios: Sequence[ManagerPortfolio],
    cells: account_sheet.AccountCells,
    risk_list: pd.DataFrame,
    data: WorkbookData,
) -> None:
    """A sheet for each of these managers, and the hidden one by which their answers are read back."""
    if risk_list.empty:
        return
    day, currencies = risk_list["as_of"].iloc[0].date(), risk_list["currency"].dropna().unique()
    currency = str(currencies[0]) if len(currencies) == 1 else None
    played = manager_sheet.playbook_choices(data.library, writer.messages.language)
    sheets = [
        (one, manager_sheet.write_manager_sheet(writer, one, cells, currency, len(played), day)) for one in portfolios
    ]
    manager_sheet.write_metadata(writer, data.fingerprint, day, sheets, played)


def _write_playbooks(writer: WorkbookWriter, title: str, library: Mapping[str, playbooks.PlaybookRecord]) -> None:
    """The library; one row per play."""
    if told := [playbooks.sheet_row(play, writer.messages) for play in library.values()]:
        writer.add_text_sheet(title, [writer.messages.text(f"plays.{name}") for name in playbooks.SHEET_COLUMNS], told)


def _write_interventions(
    writer: WorkbookWriter, title: str, previous_day: datetime.date, interventions: pd.DataFrame
) -> None:
    """The playbooks begun since the last list, and the chances then and now; one row per playbook begun."""
    keys = ("heading.account_name", "heading.account_id", "heading.csm", "plays.name", "since.started")
    names = ["account_name", "account_id", "csm", "playbook", "started_on", "previous_probability", "probability"]
    cells = interventions[names].astype(object).where(interventions[names].notna(), None).values.tolist()
    rows = [[*map(_id_or_text, own[:4]), *own[4:]] for own in cells]
    headings = [writer.messages.text(key) for key in (*keys, "since.then", "since.now")]
    writer.add_text_sheet(
        title, headings, rows, writer.messages.text("since.note", last=writer.messages.day(previous_day))
    )


def _write_disagreements(writer: WorkbookWriter, title: str, table: pd.DataFrame, tally: Mapping[str, Any]) -> None:
    """Where managers saw it otherwise than the list, and who was right; one row per list and account."""
    headings = [writer.messages.text(key) for key in disagreements.heading_keys()]
    note = " ".join(disagreements.tally_sentences(tally, writer.messages))
    writer.add_text_sheet(title, headings, disagreements.sheet_rows(table, writer.messages, writer.failures), note)


def _id_or_text(cell: Any) -> Any:
    return None if cell is None else str(cell)


def _write_column_guide(
    writer: WorkbookWriter, title: str, as_of: str, provenance: list[str], options: ListOptions
) -> None:
    """The sheet that says what the list stands on and what every column means."""
    say = writer.messages.text
    sheet = writer.add_sheet(title)
    first = [
        say("columns.as_of", as_of=as_of and writer.messages.day(as_of)),
        *provenance,
        say("columns.capacity_line"),
    ]
    for row, line in enumerate(first):
        writer.write_text(sheet, row, 0, line, "text" if row else "title")
    head = len(first) + 1
    meanings = [(say(f"answer.{name}"), say(f"answer.about.{name}"), "") for name in ANSWER_COLUMNS]
    meanings += [
        (writer.messages.heading(n), writer.messages.description(n, **options.explanation_values), _column_range(n))
        for n in _columns_to_explain()
    ]
    keys = [say(f"columns.{key}") for key in ("heading", "meaning", "column")]
    for place, heading in enumerate(keys):
        writer.write_text(sheet, head, place, heading, "head")
    writer.write_rows(sheet, head + 1, meanings, ("text", "wrapped", "text"))
    for row, (_, meaning, _) in enumerate(meanings, start=head + 1):
        sheet.set_row(row, LINE_HEIGHT * count_lines(meaning, DESCRIPTION_WIDTH))
    for place, columns in enumerate((28, DESCRIPTION_WIDTH, 60)):
        sheet.set_column(place, place, columns)


def _provenance_lines(messages: Messages, data: WorkbookData, counts: tuple[int, int, int]) -> list[str]:
    """What the list stands on: its rows, its models, and what nobody told."""
    shown, scored, others = counts
    said = [messages.text("columns.rows", scored=scored, others=others)]
    if shown < scored:
        said.append(messages.text("columns.more_rows", shown=shown, all=scored))
    said += _model_lines(messages, data)
    if data.missing_families:
        families = messages.text("and").join(messages.text(f"family.{name}") for name in data.missing_families)
        said.append(messages.text("columns.missing_families", families=families))
    return said


def _model_lines(messages: Messages, data: WorkbookData) -> Iterable[str]:
    for target in TARGETS:
        name = messages.text(f"target.{target}")
        if target in data.models:
            yield messages.text("columns.model", target=name, model=data.models[target])
        elif target in data.untrained_targets:
            yield messages.text("columns.no_model", target=name)


def _columns_to_explain() -> list[str]:
    """The columns to explain: of those that repeat by number, the first."""
    repeated = tuple(f"_{number}" for number in range(2, 6))
    return [name for name in COLUMN_NAMES if not any(f"{mark}_" in f"{name}_" for mark in repeated)]


def _column_range(name: str) -> str:
    """The column, or where it repeats by number the first and the last of them."""
    same = [other for other in COLUMN_NAMES if re.sub(r"\d", "#", other) == re.sub(r"\d", "#", name)]
    return name if len(same) == 1 else f"{same[0]} … {same[-1]}"
