"""Command `renewals backtest`: train models up to the cutoff if there are none, then write the backtest report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.backtest import backtest
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.stages.sequence import find_stages, run_stages
from renewals.pipelines.storage.artifacts import BACKTEST_FOLDER, BACKTEST_REPORT
from renewals.pipelines.storage.registry.trained_models import find_model_folder

if TYPE_CHECKING:
    from rich.table import Table

    from renewals.reports.words import Messages

STAGES = find_stages("learn")
"""The stages up to the training table."""


def run_backtest(job: Job) -> dict[str, Any]:
    """Write the backtest report and return its result; on a terminal also print the model next to the baselines.

    Uses the models that `renewals learn` left in the data folder for this date. Without them, the stages up to `train`
    run first, in the learning folder. Registers nothing and changes no champion.
    """
    model_folder = find_model_folder(job)
    targets = () if model_folder else job.settings.targets
    with progress((len(STAGES) if targets else 0) + len(targets) + 1, "backtest") as step:
        if targets:
            run_stages(STAGES, job, step)
        for target in targets:
            train(job, target)
            step(f"train {target}")
        result = backtest(job, model_folder or job.folder)
        step("backtest")
    if is_interactive():
        print_report(result, job)
    return {**result, "models": "reused" if model_folder else "new"}


def print_report(result: dict[str, Any], job: Job) -> None:
    """Print a table of the model and the baselines for each target, on standard error."""
    from rich.console import Console
    from rich.text import Text

    from renewals.reports.html.backtest_page import untrained_text
    from renewals.reports.words import Messages

    texts, console = Messages(job.settings.list.language), Console(stderr=True)
    for target in result["targets"]:
        report = json.loads((job.data / BACKTEST_FOLDER / target / BACKTEST_REPORT).read_bytes())
        console.print(_report_table(report, texts) if report["trained"] else Text(untrained_text(report, texts)))
    console.print(Text(texts.text("backtest.file", page=result["page"])))


def _report_table(report: dict[str, Any], texts: Messages) -> Table:
    from rich.table import Table
    from rich.text import Text

    from renewals.reports.html.backtest_page import comparison_table, target_heading

    comparison = comparison_table(report, texts)
    table = Table(title=Text(target_heading(report, texts)), title_justify="left")
    for number, heading in enumerate(comparison.headings):
        table.add_column(Text(heading), justify="right" if number else "left")
    for row in comparison.rows:
        table.add_row(*map(Text, row))
    return table


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_backtest)
