"""The whole of asking whether interventions helped: observations of the past with features and outcomes, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.assemble import assemble
from pipelines.check import check
from pipelines.effect import NOTES, effect, logged, studied, written
from pipelines.featurize import featurize
from pipelines.freshness import freshness
from pipelines.label import label
from pipelines.ledger import ledger
from pipelines.rollup import rollup
from pipelines.spine import spine
from pipelines.stage import Job, on_terminal, progress
from pipelines.windows import windows

if TYPE_CHECKING:
    from models.effect import Found, Refused

PREPARE = (check, logged, freshness, rollup, spine, windows, ledger, featurize, label, assemble)
"""`logged` comes early: without a table of interventions all the rest would be in vain."""


def study(job: Job) -> dict[str, Any]:
    """From raw tables to the effect of each playbook; a person at a terminal is shown a table."""
    past = set_apart(job)
    with progress(len(PREPARE) + 1, "effect") as step:
        for stage in PREPARE:
            stage(past)
            step(stage.__name__)
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

    from lists.effect import COLUMNS, headings, row, sentence
    from lists.words import Words

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
    from pipelines.stage import main

    main(study)
