"""Command `renewals demo`: generate the example company, train models on its history and publish a list."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from renewals.pipelines.commands.example import example
from renewals.pipelines.commands.learn import learn
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.runtime.job import Job, parse_date
from renewals.pipelines.storage.published.manifest import RISK_LIST
from renewals.pipelines.storage.registry.model_registry import UI_URL, ui_command

LIST_COLUMNS = ("rank", "account_name", "csm", "renewal_date", "arr", "renewal_probability", "risk_band", "reason_1")
MAX_ROWS = 10


def demo(job: Job) -> dict[str, Any]:
    """Generate the example company, train at `dates.until` and publish the list of `dates.as_of`."""
    example(job)
    dates = job.settings.dates
    training = learn(replace(job, until=parse_date(dates.until, "dates.until")))
    publication = run_score(replace(job, as_of=parse_date(dates.as_of, "dates.as_of")))
    print_list(Path(publication["folder"]))
    print(f"The runs in MLflow: {ui_command(job)}\nthen open {UI_URL}", file=sys.stderr)
    return {"company": job.tables, "learned": training, "published": publication}


def print_list(folder: Path) -> None:
    """Print the first rows of the list and the paths of its files on standard error."""
    import pandas as pd
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = pd.read_parquet(folder / RISK_LIST, columns=list(LIST_COLUMNS))
    table = Table(title=Text(f"the first {MAX_ROWS} of {len(rows)} accounts"), title_justify="left")
    for name in LIST_COLUMNS:
        table.add_column(
            name, overflow="fold", justify="right" if name in ("rank", "arr", "renewal_probability") else "left"
        )
    for row in rows.head(MAX_ROWS).itertuples(index=False):
        table.add_row(*(Text(_format_cell(name, value)) for name, value in zip(LIST_COLUMNS, row, strict=True)))
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    console.print(table)
    names = {
        "The list": "risk_list.csv",
        "workbook": "risk_list.xlsx",
        "page": "risk_list.html",
        "scorecard": "scorecard.html",
    }
    console.print(
        Text("  ·  ".join(f"{label}: {folder / name}" for label, name in names.items() if (folder / name).exists()))
    )


def _format_cell(name: str, value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    if name == "renewal_probability":
        return f"{value:.0%}"
    return f"{value:,.0f}" if name == "arr" else str(value)
