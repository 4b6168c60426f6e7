"""Command `renewals forecast`: score the accounts of a date, then forecast the next four quarters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.commands.score import run_scoring_stages
from renewals.pipelines.runtime.console import is_interactive
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.act.forecast import forecast
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import FORECAST as PARQUET
from renewals.pipelines.storage.notices import report_notices
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.words import Messages

if TYPE_CHECKING:
    import pandas as pd

TABLE_MEASURES = (
    *("arr_due", "arr_decided", "arr_renewed", "by_last_year", "arr_at_risk", "gross_retention", "net_retention"),
)
"""Measures printed for each quarter, in this order; `by_last_year` is the renewed ARR at last year's rate."""

INTERVAL_MEASURES = ("arr_renewed", "gross_retention", "net_retention")
"""Measures that are printed with their interval."""


def run_forecast(job: Job) -> dict[str, Any]:
    """Run the pipeline from input tables to the forecast; on a terminal also print the company's totals."""
    run_scoring_stages(job)
    result = forecast(job)
    report_notices(read_scored_list(job)[0]["notices"], job.settings.list.language)
    if is_interactive():
        print_forecast(result, job)
    return result


def print_forecast(result: dict[str, Any], job: Job) -> None:
    """Print the company's next four quarters and year as a table on standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts, folder = Messages(job.settings.list.language), Path(result["folder"])
    rows = data_files.load_frame(folder / PARQUET).query("segment_kind == 'company'")
    currency, confidence = job.settings.money.reporting_currency, job.settings.forecast.confidence
    title = texts.text("forecast.title", as_of=result["as_of"], currency=currency)
    table = Table(title=Text(title), title_justify="left")
    table.add_column(Text(texts.text("forecast.period")))
    for name in TABLE_MEASURES:
        table.add_column(Text(texts.text(f"forecast.{name}")), justify="right")
    for (kind, first, last), period in rows.groupby(["period_kind", "period_start", "period"]):
        cells = format_cells(period.set_index("measure"))
        table.add_row(Text(texts.text(f"forecast.{kind}", first=f"{first:%Y-%m}", last=last)), *map(Text, cells))
    console = Console(stderr=True)
    console.print(table)
    console.print(Text(texts.text("forecast.note", confidence=confidence)))
    console.print(Text(texts.text("forecast.file", folder=folder)))


def format_cells(period: pd.DataFrame) -> list[str]:
    """Table cells of one period, in the order of `TABLE_MEASURES`: expected value, with interval where there is one."""
    return [_format_cell(period, name) for name in TABLE_MEASURES]


def _format_cell(period: pd.DataFrame, name: str) -> str:
    measure, column = ("arr_renewed", name) if name == "by_last_year" else (name, "expected")
    if measure not in period.index:
        return "–"
    row = period.loc[measure].to_dict()
    low, high = (_format_value(row[end], row["unit"]) for end in ("low", "high"))
    value = _format_value(row[column], row["unit"])
    return f"{value} ({low} – {high})" if name in INTERVAL_MEASURES else value


def _format_value(value: float, unit: str) -> str:
    if value != value:
        return "–"
    return f"{value:.1%}" if unit == "share" else f"{value:,.0f}"


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_forecast)
