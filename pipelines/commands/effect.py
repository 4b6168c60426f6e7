"""Command `renewals effect`: build past observations with features and outcomes, then estimate playbook effects."""

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
"""`load_interventions` runs early: without a table of interventions it raises before the slow stages."""


def run_effect(job: Job) -> dict[str, Any]:
    """Estimate the effect of each playbook from the input tables; on a terminal also print a table."""
    past_job = effect_job(job)
    with progress(len(STAGES) + 1, "effect") as step:
        run_stages(STAGES, past_job, step)
        rows, estimates = estimate_effects(past_job)
        result = write_report(rows, estimates, past_job)
        step(effect.__name__)
    if is_interactive():
        print_estimates(estimates, result, job)
    return result


def effect_job(job: Job) -> Job:
    """The job for past observations before the as-of date: in its own folder, with only the renewal target."""
    settings = job.settings.model_copy(update={"targets": ("renewal",)})
    return replace(job, settings=settings, until=job.day, as_of=None, workspace="effect")


def print_estimates(estimates: Sequence[EffectEstimate | NoEstimate], result: dict[str, Any], job: Job) -> None:
    """Print a table and one sentence per playbook on standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from renewals.reports.sentences.treatment_effect import TABLE_COLUMNS, effect_sentence, table_headings, table_row
    from renewals.reports.words import Messages

    texts = Messages(job.settings.list.language)
    table = Table(title=Text(texts.text("effect.title", as_of=result["as_of"])), title_justify="left")
    for name, heading in zip(TABLE_COLUMNS, table_headings(texts, result["confidence"]), strict=True):
        table.add_column(Text(heading), justify="left" if name in ("playbook", "verdict") else "right")
    for estimate in estimates:
        table.add_row(*map(Text, table_row(estimate, texts)))
    console = Console(stderr=True)
    console.print(table)
    for sentence in (
        *(effect_sentence(estimate, texts) for estimate in estimates),
        *(texts.text(f"effect.{note}") for note in NOTE_KEYS),
    ):
        console.print(Text(sentence))


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_effect)
