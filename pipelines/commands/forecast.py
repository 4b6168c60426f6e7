"""The whole of forecasting from a day: everything that the day's scores need, then the forecast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.commands.score import prepare
from renewals.pipelines.runtime.console import on_terminal
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.act.forecast import forecast
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import FORECAST as PARQUET
from renewals.pipelines.storage.notices import report_notices
from renewals.pipelines.storage.scored_list import read_scored
from renewals.reports.words import Words

if TYPE_CHECKING:
    import pandas as pd

SHOWN = (*("arr_due", "arr_decided", "arr_renewed", "by_last_year", "arr_at_risk", "gross_retention", "net_retention"),)
"""What a person is shown of each quarter, in this order; `by_last_year` is the renewed ARR at last year's rate."""

BETWEEN = ("arr_renewed", "gross_retention", "net_retention")
"""Of these a person is shown the interval as well."""


def foretell(job: Job) -> dict[str, Any]:
    """From raw tables to the forecast of the day; a person at a terminal is shown the whole company."""
    prepare(job)
    result = forecast(job)
    report_notices(read_scored(job)[0]["notices"], job.settings.list.language)
    if on_terminal():
        show(result, job)
    return result


def show(result: dict[str, Any], job: Job) -> None:
    """The quarters ahead and the year of the whole company, as a table on standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    words, folder = Words(job.settings.list.language), Path(result["folder"])
    rows = data_files.load_frame(folder / PARQUET).query("segment_kind == 'company'")
    currency, confidence = job.settings.money.reporting_currency, job.settings.forecast.confidence
    title = words.say("forecast.title", as_of=result["as_of"], currency=currency)
    table = Table(title=Text(title), title_justify="left")
    table.add_column(Text(words.say("forecast.period")))
    for name in SHOWN:
        table.add_column(Text(words.say(f"forecast.{name}")), justify="right")
    for (kind, first, last), period in rows.groupby(["period_kind", "period_start", "period"]):
        cells = cells_of(period.set_index("measure"))
        table.add_row(Text(words.say(f"forecast.{kind}", first=f"{first:%Y-%m}", last=last)), *map(Text, cells))
    console = Console(stderr=True)
    console.print(table)
    console.print(Text(words.say("forecast.note", confidence=confidence)))
    console.print(Text(words.say("forecast.file", folder=folder)))


def cells_of(period: pd.DataFrame) -> list[str]:
    """One period as people write it: what is expected, and from where to where where it is uncertain."""
    return [_cell(period, name) for name in SHOWN]


def _cell(period: pd.DataFrame, name: str) -> str:
    measure, column = ("arr_renewed", name) if name == "by_last_year" else (name, "expected")
    if measure not in period.index:
        return "–"
    row = period.loc[measure].to_dict()
    low, high = (_written(row[end], row["unit"]) for end in ("low", "high"))
    middle = _written(row[column], row["unit"])
    return f"{middle} ({low} – {high})" if name in BETWEEN else middle


def _written(value: float, unit: str) -> str:
    if value != value:
        return "–"
    return f"{value:.1%}" if unit == "share" else f"{value:,.0f}"


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(foretell)
