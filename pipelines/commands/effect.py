"""The whole of asking whether interventions helped: observations of the past with features and outcomes, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.effect import NOTE_KEYS, effect, estimate_effects, load_interventions, write_report
from renewals.pipelines.stages.sequence import find_stages, run_stages

if TYPE_CHECKING:
    from renewals.models.ranking.treatment_effect import EffectEstimate, NoEstimate

CHECK, *OTHER_STAGES = find_stages("learn")
STAGES = (CHECK, load_interventions, *OTHER_STAGES)
"""`load_interventions` runs early: without a table of interventions the run ends there."""


def run_effect(job: Job) -> dict[str, Any]:
    """From raw tables to the effect of each playbook; a person at a terminal is shown a table."""
    past = effect_job(job)
    with progress(len(STAGES) + 1, "effect") as step:
        run_stages(STAGES, past, step)
        rows, told = estimate_effects(past)
        result = write_report(rows, told, past)
        step(effect.__name__)
    if is_interactive():
        print_estimates(told, result, job)
    return result


def effect_job(job: Job) -> Job:
    """The same run over the past of its day, in a folder of its own and for renewals only."""
    settings = job.settings.model_copy(update={"targets": ("renewal",)})
    return replace(job, settings=settings, until=job.day, as_of=None, workspace="effect")


def print_estimates(estimates: Sequence[EffectEstimate | NoEstimate], result: dict[str, Any], job: Job) -> None:
    """A table and a sentence for each playbook, on standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from renewals.reports.sentences.treatment_effect import TABLE_COLUMNS, effect_sentence, table_headings, table_row
    from renewals.reports.words import Messages

    words = Messages(job.settings.list.language)
    table = Table(title=Text(words.text("effect.title", as_of=result["as_of"])), title_justify="left")
    for name, heading in zip(TABLE_COLUMNS, table_headings(words, result["confidence"]), strict=True):
        table.add_column(Text(heading), justify="left" if name in ("playbook", "verdict") else "right")
    for one in estimates:
        table.add_row(*map(Text, table_row(one, words)))
    console = Console(stderr=True)
    console.print(table)
    for said in (
        *(effect_sentence(one, words) for one in estimates),
        *(words.text(f"effect.{note}") for note in NOTE_KEYS),
    ):
        console.print(Text(said))


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_effect)
