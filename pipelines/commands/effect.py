"""The whole of asking whether interventions helped: observations of the past with features and outcomes, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.console import on_terminal, progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.effect import NOTES, effect, logged, studied, written
from renewals.pipelines.stages.learn.label import label
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.sequence import PREPARE, run_stages

if TYPE_CHECKING:
    from renewals.models.ranking.treatment_effect import Found, Refused

STAGES = (PREPARE[0], logged, *PREPARE[1:], label, assemble)
"""`logged` comes early: without a table of interventions all the rest would be in vain."""


def study(job: Job) -> dict[str, Any]:
    """From raw tables to the effect of each playbook; a person at a terminal is shown a table."""
    past = set_apart(job)
    with progress(len(STAGES) + 1, "effect") as step:
        run_stages(STAGES, past, step)
        rows, told = studied(past)
        result = written(rows, told, past)
        step(effect.__name__)
    if on_terminal():
        show(told, result, job)
    return result


def set_apart(job: Job) -> Job:
    """The same run over the past of its day, in a folder of its own and for renewals only."""
    settings = job.settings.model_copy(update={"targets": ("renewal",)})
    return replace(job, settings=settings, until=job.day, as_of=None, apart="effect")


def show(told: Sequence[Found | Refused], result: dict[str, Any], job: Job) -> None:
    """A table and a sentence for each playbook, on standard error."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from renewals.reports.sentences.treatment_effect import COLUMNS, headings, row, sentence
    from renewals.reports.words import Words

    words = Words(job.settings.list.language)
    table = Table(title=Text(words.say("effect.title", as_of=result["as_of"])), title_justify="left")
    for name, heading in zip(COLUMNS, headings(words, result["confidence"]), strict=True):
        table.add_column(Text(heading), justify="left" if name in ("playbook", "verdict") else "right")
    for one in told:
        table.add_row(*map(Text, row(one, words)))
    console = Console(stderr=True)
    console.print(table)
    for said in (*(sentence(one, words) for one in told), *(words.say(f"effect.{note}") for note in NOTES)):
        console.print(Text(said))


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(study)
