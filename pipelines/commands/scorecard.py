"""Command `renewals scorecard`: check the tables, roll up usage, build the ledger and compute the scorecard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from renewals.features.scorecard.measures import MEASURES, Measure
from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.act.scorecard import scorecard
from renewals.pipelines.stages.sequence import find_stages, run_stages
from renewals.pipelines.storage.artifacts import SCORECARD
from renewals.reports.settings import Language
from renewals.reports.words import Messages

STAGES = (*find_stages("scorecard"), scorecard)
MAX_MONTHS = 6
"""Number of latest months to print."""


def run_scorecard(job: Job) -> dict[str, Any]:
    """Compute the scorecard of the as-of date from the input tables; on a terminal also print it."""
    with progress(len(STAGES), "scorecard") as step:
        result = run_stages(STAGES, job, step)["scorecard"]
    if is_interactive():
        print_scorecard(result, job)
    return result


def print_scorecard(result: dict[str, Any], job: Job) -> None:
    """Print the company's latest final year and latest months as a table on standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    language: Language = job.settings.list.language
    text, folder = Messages(language).text, Path(result["folder"])
    rows = _company_rows(folder)
    columns = _shown_periods(rows)
    currency = job.settings.money.reporting_currency
    table = Table(title=Text(text("metrics.title", as_of=result["as_of"], currency=currency)), title_justify="left")
    table.add_column(Text(text("metrics.measure")))
    for kind, period in columns:
        table.add_column(Text(text("metrics.year", period=period) if kind != "month" else period), justify="right")
    for measure in MEASURES.values():
        if measure.name not in result["missing_measures"]:
            cells = (
                _format_value(measure, rows.get((measure.name, *column)), text("metrics.open")) for column in columns
            )
            table.add_row(Text(f"{measure.rule}  {getattr(measure, language)[0]}"), *map(Text, cells))
    console = Console(stderr=True)
    console.print(table)
    console.print(Text(text("metrics.note")))
    if result["missing_measures"]:
        names = (getattr(MEASURES[name], language)[0] for name in result["missing_measures"])
        console.print(Text(text("metrics.missing", missing=", ".join(names))))
    console.print(Text(text("metrics.file", folder=folder)))


def _company_rows(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The rows of the whole company by measure, kind of period and period."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / SCORECARD, filters=[("segment_kind", "=", "company")]).to_pylist()
    return {(row["measure"], row["period_kind"], row["period"]): row for row in rows}


def _shown_periods(rows: dict[tuple[str, str, str], dict[str, Any]]) -> list[tuple[str, str]]:
    """The periods to print, as (kind, period): the latest final year (else the latest year) and the latest months."""
    years = sorted({period for _, kind, period in rows if kind == "trailing_year"})
    final = [period for period in years if rows["customer_churn", "trailing_year", period]["state"] == "final"]
    months = sorted({period for _, kind, period in rows if kind == "month"})
    return [
        *(("trailing_year", period) for period in (final or years)[-1:]),
        *(("month", m) for m in months[-MAX_MONTHS:]),
    ]


def _format_value(measure: Measure, row: dict[str, Any] | None, open_text: str) -> str:
    """A value as text; a dash without a row or value, `open_text` for an open period."""
    if row is None or row["value"] is None:
        return open_text if row is not None and row["state"] == "open" else "–"
    value = row["value"]
    match measure.unit:
        case "share":
            return f"{value:.1%}"
        case "ratio":
            return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.3f}"
        case "points":
            return f"{value:+.0f}"
        case _:
            return f"{value:,.0f}"


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_scorecard)
