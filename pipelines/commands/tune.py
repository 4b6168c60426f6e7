"""The whole of a search: the training table of the day as it was left, or made now, and then each target's study."""

from __future__ import annotations

import json
from typing import Any

import structlog

from renewals.pipelines.preflight import require_configured_target
from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.tune import read_report, tune
from renewals.pipelines.stages.sequence import find_stages, run_stages
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.artifacts import (
    TRAINING,
    TUNE_TRAINING_TABLE,
    read_archived_catalogue,
    to_json_bytes,
    training_digest,
)
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.old_features import old_features_text
from renewals.pipelines.storage.registry import trained_models


def run_tune(job: Job, target: str | None = None) -> dict[str, Any]:
    """Search for one target, or for each; a person at a terminal is told in words what was found."""
    require_configured_target(job, target)
    known = trained_models.find_model_folder(job) is not None or has_training_table(job)
    if not known:
        prepare_training_table(job)
    asked = job.settings.targets if target is None else (target,)
    told = {name: tune(job, name) for name in asked}
    if is_interactive():
        print_reports(job, asked)
    return {"until": str(job.day), "targets": told, "training_table": "reused" if known else "new"}


def has_training_table(job: Job) -> bool:
    """Whether an earlier search made the training table that lies in the data folder, of the same day and tables."""
    said, table = job.data / TUNE_TRAINING_TABLE, job.folder / TRAINING
    if not (said.is_file() and table.is_file() and json.loads(said.read_bytes()) == _training_table_source(job)):
        return False
    text = old_features_text(feature["name"] for feature in read_archived_catalogue(job.folder))
    if text is not None:
        structlog.get_logger().warning(f"the training table holds {text} and is made anew", table=str(table))
    return text is None


def prepare_training_table(job: Job) -> None:
    """From raw tables to the training table; learns nothing."""
    stages = find_stages("learn")
    with progress(len(stages), "prepare") as step:
        run_stages(stages, job, step)
    atomic.write_bytes(job.data / TUNE_TRAINING_TABLE, to_json_bytes(_training_table_source(job)))
    old_names.remove_remade(job.data, [TUNE_TRAINING_TABLE])


def _training_table_source(job: Job) -> dict[str, Any]:
    return {"until": str(job.day), "tables": job.tables, "training_sha256": training_digest(job)}


def print_reports(job: Job, targets: tuple[str, ...]) -> None:
    """What was found for each target, on standard error."""
    from rich.console import Console
    from rich.text import Text

    from renewals.reports.sentences.tuning import tuning_sentences
    from renewals.reports.words import Messages

    words, console = Messages(job.settings.list.language), Console(stderr=True)
    for target in targets:
        for sentence in tuning_sentences(read_report(job, target), words):
            console.print(Text(sentence))


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_tune)
