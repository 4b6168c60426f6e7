"""The whole of a search: the training table of the day as it was left, or made now, and then each target's study."""

from __future__ import annotations

import json
from typing import Any

from renewals.pipelines.preflight import target_learned
from renewals.pipelines.runtime.console import on_terminal, progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.training_table import count_steps, make_training_table
from renewals.pipelines.stages.learn.tune import read_report, tune
from renewals.pipelines.storage.artifacts import TRAINING, TUNE_TABLES, as_json, training_digest
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import trained_models


def seek(job: Job, target: str | None = None) -> dict[str, Any]:
    """Search for one target, or for each; a person at a terminal is told in words what was found."""
    target_learned(job, target)
    known = trained_models.learned_at(job) is not None or prepared(job)
    if not known:
        prepare(job)
    asked = job.settings.targets if target is None else (target,)
    told = {name: tune(job, name) for name in asked}
    if on_terminal():
        show(job, asked)
    return {"until": str(job.day), "targets": told, "learned": "before" if known else "now"}


def prepared(job: Job) -> bool:
    """Whether an earlier search made the training table that lies in the data folder, of the same day and tables."""
    said, table = job.data / TUNE_TABLES, job.side / TRAINING
    return said.is_file() and table.is_file() and json.loads(said.read_bytes()) == _of(job)


def prepare(job: Job) -> None:
    """From raw tables to the training table; learns nothing."""
    with progress(count_steps(job), "prepare") as step:
        make_training_table(job, step)
    atomic.write_bytes(job.data / TUNE_TABLES, as_json(_of(job)))


def _of(job: Job) -> dict[str, Any]:
    return {"until": str(job.day), "tables": job.tables, "training_sha256": training_digest(job)}


def show(job: Job, targets: tuple[str, ...]) -> None:
    """What was found for each target, on standard error."""
    from rich.console import Console
    from rich.text import Text

    from renewals.reports.sentences.tuning import sentences
    from renewals.reports.words import Words

    words, console = Words(job.settings.list.language), Console(stderr=True)
    for target in targets:
        for sentence in sentences(read_report(job, target), words):
            console.print(Text(sentence))


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(seek)
