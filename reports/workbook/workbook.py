"""The risk list as an Excel workbook: a summary, a sheet per manager, the playbooks, and the meaning of every column.

The number of accounts and of managers' sheets is limited; the workbook states if there are more.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from renewals.models.ranking.worklist import RANKED
from renewals.reports.columns import COLUMN_NAMES, TARGETS
from renewals.reports.family_names import family_name
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
"""Keys of the titles of the sheets, except the managers' sheets."""


@dataclass(frozen=True)
class WorkbookData:
    """Data of the workbook in addition to the list."""

    models: Mapping[str, str]
    """Model of each predicted target."""
    untrained_targets: Collection[str] = ()
    """Targets without a model."""
    missing_families: Collection[str] = ()
    """Families of features without an input table."""
    library: Mapping[str, playbooks.PlaybookRecord] = field(default_factory=dict)
    """Playbooks by id."""
    interventions: tuple[datetime.date, pd.DataFrame] | None = None
    """Date of the previous list, and one row per playbook started after it."""
    previous_list: tuple[datetime.date, pd.DataFrame] | None = None
    """Date of the previous list, and its `account_id`, `renewal_id` and `renewal_probability`; one row per renewal."""
    forecast: Sequence[Mapping[str, Any]] = ()
    """The company's forecast of the day: records with `period_kind`, `period`, `measure`, `expected`, `low`, `high`."""
    scorecard: Mapping[str, Any] | None = None
    """Scorecard of the day."""
    disagreements: tuple[pd.DataFrame, Mapping[str, Any]] | None = None
    """Renewals on which managers disagreed with the list, and the tally of who was right."""
    fingerprint: str = ""
    """Fingerprint of all inputs of the list, as in its manifest."""
    notices: Sequence[Mapping[str, str]] = ()
    """Notices to read before the list: texts by language."""
    history: Sequence[Mapping[str, str]] = ()
    """What the models did with columns of which only today's value is known: texts by language."""


def build_workbook(
    risk_list: pd.DataFrame, data: WorkbookData, options: ListOptions, failures: RenderFailures | None = None
) -> bytes:
    """Build the workbook as bytes; the same values give the same bytes.

    Its sheets are the summary, one sheet per manager, the whole list if it has several managers, the playbooks, the
    interventions since the previous list, the disagreements, the accounts without a score, and the meaning of every
    column. Cells of an account that cannot be made are left out and counted in `failures`.
    """
    as_of = risk_list["as_of"].iloc[0].date() if len(risk_list) else None
    sink = io.BytesIO()
    notices = [notice[options.language] for notice in data.notices]
    with open_writer(sink, Messages(options.language), as_of, failures, notices) as writer:
        rows = risk_list.assign(alerts=risk_list["alerts"].map(writer.messages.alerts, na_action="ignore"))
        is_ranked = rows["status"].isin(RANKED)
        scored, not_scored = rows[is_ranked], rows[~is_ranked]
        shown = account_sheet.add_theme_headings(scored.head(options.workbook_rows), writer)
        titles = {name: writer.messages.text(f"sheet.{name}") for name in SHEET_KEYS}
        no_manager_title = writer.messages.text("page.nobody")
        portfolios = manager_sheet.build_portfolios(shown, options.workbook_managers, titles.values(), no_manager_title)
        summary = _build_summary(risk_list, shown, portfolios, data, writer, options)
        summary_sheet.write_summary(writer, titles["summary"], risk_list, summary, options)
        cells = account_sheet.build_cells(shown, LIST_COLUMNS, writer)
        _write_manager_sheets(writer, portfolios, cells, risk_list, data)
        if _has_several_managers(shown):
            account_sheet.write_table(writer, titles["list"], cells, frozen_columns=2)
        _write_playbooks(writer, titles["playbooks"], data.library)
        if data.interventions is not None and len(data.interventions[1]):
            _write_interventions(writer, titles["interventions"], *data.interventions)
        if data.disagreements is not None and len(data.disagreements[0]):
            _write_disagreements(writer, titles["disagreements"], *data.disagreements)
        if len(not_scored):
            not_scored_cells = account_sheet.build_cells(
                not_scored.head(options.workbook_rows), NOT_SCORED_COLUMNS, writer
            )
            account_sheet.write_table(writer, titles["not_scored"], not_scored_cells, frozen_columns=1)
        provenance = _provenance_lines(writer.messages, data, (len(shown), len(scored), len(not_scored)))
        _write_column_guide(writer, titles["columns"], str(as_of or ""), provenance, options)
    return sink.getvalue()


def _has_several_managers(shown: pd.DataFrame) -> bool:
    """True if the accounts shown have several managers; otherwise the whole list would repeat the only manager's
    sheet."""
    return shown["csm"].nunique(dropna=False) > 1


def _build_summary(
    risk_list: pd.DataFrame,
    shown: pd.DataFrame,
    portfolios: Sequence[ManagerPortfolio],
    data: WorkbookData,
    writer: WorkbookWriter,
    options: ListOptions,
) -> summary_sheet.SummaryData:
    without_sheet = shown["csm"].nunique(dropna=False) - len(portfolios)
    sheet = writer.messages.text("sheet.list")
    notes = [writer.messages.text("summary.no_sheet", number=without_sheet, sheet=sheet)] if without_sheet else []
    comparison = compare_lists(risk_list, *data.previous_list, options) if data.previous_list else None
    history = [one[options.language] for one in data.history]
    return summary_sheet.SummaryData(comparison, data.forecast, data.scorecard, notes, history)


def _write_manager_sheets(
    writer: WorkbookWriter,
    portfolios: Sequence[ManagerPortfolio],
    cells: account_sheet.AccountCells,
    risk_list: pd.DataFrame,
    data: WorkbookData,
) -> None:
    """Write a sheet for each of these managers, and the hidden sheet for reading their answers back."""
    if risk_list.empty:
        return
    day, currencies = risk_list["as_of"].iloc[0].date(), risk_list["currency"].dropna().unique()
    currency = str(currencies[0]) if len(currencies) == 1 else None
    choices = manager_sheet.playbook_choices(data.library, writer.messages.language)
    sheets = [
        (portfolio, manager_sheet.write_manager_sheet(writer, portfolio, cells, currency, len(choices), day))
        for portfolio in portfolios
    ]
    manager_sheet.write_metadata(writer, data.fingerprint, day, sheets, choices)


def _write_playbooks(writer: WorkbookWriter, title: str, library: Mapping[str, playbooks.PlaybookRecord]) -> None:
    """Write the playbook library; one row per playbook."""
    if rows := [playbooks.sheet_row(playbook, writer.messages) for playbook in library.values()]:
        writer.add_text_sheet(title, [writer.messages.text(f"plays.{name}") for name in playbooks.SHEET_COLUMNS], rows)


def _write_interventions(
    writer: WorkbookWriter, title: str, previous_day: datetime.date, interventions: pd.DataFrame
) -> None:
    """Write the playbooks started since the previous list, with the probabilities then and now; one row per start."""
    keys = ("heading.account_name", "heading.account_id", "heading.csm", "plays.name", "since.started")
    names = ["account_name", "account_id", "csm", "playbook", "started_on", "previous_probability", "probability"]
    cells = interventions[names].astype(object).where(interventions[names].notna(), None).values.tolist()
    rows = [[*map(_id_or_text, row[:4]), *row[4:]] for row in cells]
    headings = [writer.messages.text(key) for key in (*keys, "since.then", "since.now")]
    writer.add_text_sheet(
        title, headings, rows, writer.messages.text("since.note", last=writer.messages.day(previous_day))
    )


def _write_disagreements(writer: WorkbookWriter, title: str, table: pd.DataFrame, tally: Mapping[str, Any]) -> None:
    """Write the managers' disagreements with the list, and who was right; one row per list and account."""
    headings = [writer.messages.text(key) for key in disagreements.heading_keys()]
    note = " ".join(disagreements.tally_sentences(tally, writer.messages))
    writer.add_text_sheet(title, headings, disagreements.sheet_rows(table, writer.messages, writer.failures), note)


def _id_or_text(cell: Any) -> Any:
    return None if cell is None else str(cell)


def _write_column_guide(
    writer: WorkbookWriter, title: str, as_of: str, provenance: list[str], options: ListOptions
) -> None:
    """Write the sheet with the data and models behind the list, and the meaning of every column."""
    text = writer.messages.text
    sheet = writer.add_sheet(title)
    top_lines = [
        text("columns.as_of", as_of=as_of and writer.messages.day(as_of)),
        *provenance,
        text("columns.capacity_line"),
    ]
    for row, line in enumerate(top_lines):
        writer.write_text(sheet, row, 0, line, "text" if row else "title")
    header_row = len(top_lines) + 1
    meanings = [(text(f"answer.{name}"), text(f"answer.about.{name}"), "") for name in ANSWER_COLUMNS]
    meanings += [
        (writer.messages.heading(n), writer.messages.description(n, **options.explanation_values), _column_range(n))
        for n in _columns_to_explain()
    ]
    keys = [text(f"columns.{key}") for key in ("heading", "meaning", "column")]
    for position, heading in enumerate(keys):
        writer.write_text(sheet, header_row, position, heading, "head")
    writer.write_rows(sheet, header_row + 1, meanings, ("text", "wrapped", "text"))
    for row, (_, meaning, _) in enumerate(meanings, start=header_row + 1):
        sheet.set_row(row, LINE_HEIGHT * count_lines(meaning, DESCRIPTION_WIDTH))
    for position, width in enumerate((28, DESCRIPTION_WIDTH, 60)):
        sheet.set_column(position, position, width)


def _provenance_lines(messages: Messages, data: WorkbookData, counts: tuple[int, int, int]) -> list[str]:
    """Lines on the basis of the list: numbers of rows, models, and missing families of features."""
    shown, scored, not_scored = counts
    lines = [messages.text("columns.rows", scored=scored, others=not_scored)]
    if shown < scored:
        lines.append(messages.text("columns.more_rows", shown=shown, all=scored))
    lines += _model_lines(messages, data)
    if data.missing_families:
        families = messages.text("and").join(family_name(name, messages) for name in data.missing_families)
        lines.append(messages.text("columns.missing_families", families=families))
    return lines


def _model_lines(messages: Messages, data: WorkbookData) -> Iterable[str]:
    for target in TARGETS:
        name = messages.text(f"target.{target}")
        if target in data.models:
            yield messages.text("columns.model", target=name, model=data.models[target])
        elif target in data.untrained_targets:
            yield messages.text("columns.no_model", target=name)


def _columns_to_explain() -> list[str]:
    """Names of the columns to explain; of numbered columns only the first."""
    repeated = tuple(f"_{number}" for number in range(2, 6))
    return [name for name in COLUMN_NAMES if not any(f"{suffix}_" in f"{name}_" for suffix in repeated)]


def _column_range(name: str) -> str:
    """Name of a column; for numbered columns, the names of the first and the last."""
    same = [column for column in COLUMN_NAMES if re.sub(r"\d", "#", column) == re.sub(r"\d", "#", name)]
    return name if len(same) == 1 else f"{same[0]} … {same[-1]}"
