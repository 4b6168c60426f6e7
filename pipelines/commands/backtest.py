"""The whole of a back-test: what was learned until the day, or learning it now, and then the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.job import Job, on_terminal, progress
from renewals.pipelines.stages.learn.backtest import FOLDER, REPORT, backtest
from renewals.pipelines.stages.learn.label import label
from renewals.pipelines.stages.learn.train import AGED, CARD, MODELS, SCHEMA, options_fingerprint, sha256, train
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.freshness import freshness
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from renewals.reports.words import Words

PREPARE = (check, freshness, rollup, spine, windows, ledger, featurize)


def retrace(job: Job) -> dict[str, Any]:
    """The report of the day; a person at a terminal is shown the model beside the baselines.

    What `renewals learn` left in the data folder for this day is judged as it stands; otherwise the stages up to
    `train` run first, beside what learning left. Nothing is registered, and no champion changes.
    """
    known = learned_at(job)
    targets = () if known else job.settings.targets
    with progress((len(PREPARE) + 1 if targets else 0) + 2 * len(targets) + 1, "backtest") as step:
        for stage in PREPARE if targets else ():
            stage(job)
            step(stage.__name__)
        for target in targets:
            label(job, target)
            step(f"label {target}")
        if targets:
            assemble(job)
            step("assemble")
        for target in targets:
            train(job, target)
            step(f"train {target}")
        result = backtest(job, known or job.side)
        step("backtest")
    if on_terminal():
        show(result, job)
    return {**result, "learned": "before" if known else "now"}


def learned_at(job: Job) -> Path | None:
    """The folder whose models are of this day and of the training table on the side of learning; None without one.

    That of the last learning comes first, under whatever settings it was. What else lies on the side may be of a trial
    or an earlier back-test: it must have been trained under the settings of this job.
    """
    table = job.side / "training.parquet"
    if not table.is_file():
        return None
    wanted = {"until": str(job.day), "training_sha256": sha256(table.read_bytes())}
    if _all_are(wanted, job.data, job):
        return job.data
    return job.side if _all_are(wanted | {"options_sha256": options_fingerprint(job)}, job.side, job) else None


def _all_are(wanted: dict[str, str], home: Path, job: Job) -> bool:
    """Whether every target was tried and the cards of those that were trained say what is wanted."""
    cards = [_card(home, target) for target in job.settings.targets]
    trained = [card for card in cards if card]
    return (
        None not in cards
        and bool(trained)
        and all(card.get(name) == value for card in trained for name, value in wanted.items())
    )


def _card(home: Path, target: str) -> dict[str, Any] | None:
    """The card of a model; empty where none could be trained, None where it cannot be judged."""
    folder = home / MODELS / target
    if not (folder / SCHEMA).is_file():
        return None
    if not json.loads((folder / SCHEMA).read_bytes())["trained"]:
        return {}
    found: dict[str, Any] = json.loads((folder / CARD).read_bytes())
    return found if (folder / AGED).is_file() else None


def show(result: dict[str, Any], job: Job) -> None:
    """For each target a table of the model beside the baselines, on standard error."""
    from rich.console import Console
    from rich.text import Text

    from renewals.reports.html.backtest_page import untrained
    from renewals.reports.words import Words

    words, console = Words(job.settings.list.language), Console(stderr=True)
    for target in result["targets"]:
        report = json.loads((job.data / FOLDER / target / REPORT).read_bytes())
        console.print(_table(report, words) if report["trained"] else Text(untrained(report, words)))
    console.print(Text(words.say("backtest.file", page=result["page"])))


def _table(report: dict[str, Any], words: Words) -> Table:
    from rich.table import Table
    from rich.text import Text

    from renewals.reports.html.backtest_page import beside, heading

    shown = beside(report, words)
    table = Table(title=Text(heading(report, words)), title_justify="left")
    for number, name in enumerate(shown.headings):
        table.add_column(Text(name), justify="right" if number else "left")
    for row in shown.rows:
        table.add_row(*map(Text, row))
    return table


if __name__ == "__main__":
    from renewals.pipelines.runtime.job import main

    main(retrace)
