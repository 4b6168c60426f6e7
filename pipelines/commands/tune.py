"""Command `renewals tune`: reuse or build the training table, then search hyperparameters for each target."""

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
    """Tune one target, or all; on a terminal also print the results as sentences."""
    require_configured_target(job, target)
    reusable = trained_models.find_model_folder(job) is not None or has_training_table(job)
    if not reusable:
        prepare_training_table(job)
    targets = job.settings.targets if target is None else (target,)
    results = {name: tune(job, name) for name in targets}
    if is_interactive():
        print_reports(job, targets)
    return {"until": str(job.day), "targets": results, "training_table": "reused" if reusable else "new"}


def has_training_table(job: Job) -> bool:
    """True if an earlier search left a training table of the same date and input tables in the data folder."""
    source_file, table = job.data / TUNE_TRAINING_TABLE, job.folder / TRAINING
    if not (
        source_file.is_file()
        and table.is_file()
        and json.loads(source_file.read_bytes()) == _training_table_source(job)
    ):
        return False
    text = old_features_text(feature["name"] for feature in read_archived_catalogue(job.folder))
    if text is not None:
        structlog.get_logger().warning(f"the training table contains {text} and is built again", table=str(table))
    return text is None


def prepare_training_table(job: Job) -> None:
    """Build the training table from the input tables; trains nothing."""
    stages = find_stages("learn")
    with progress(len(stages), "prepare") as step:
        run_stages(stages, job, step)
    atomic.write_bytes(job.data / TUNE_TRAINING_TABLE, to_json_bytes(_training_table_source(job)))
    old_names.remove_old_versions(job.data, [TUNE_TRAINING_TABLE])


def _training_table_source(job: Job) -> dict[str, Any]:
    return {"until": str(job.day), "tables": job.tables, "training_sha256": training_digest(job)}


def print_reports(job: Job, targets: tuple[str, ...]) -> None:
    """Print the results of each target on standard error."""
    from rich.console import Console
    from rich.text import Text

    from renewals.reports.sentences.tuning import tuning_sentences
    from renewals.reports.words import Messages

    texts, console = Messages(job.settings.list.language), Console(stderr=True)
    for target in targets:
        for sentence in tuning_sentences(read_report(job, target), texts):
            console.print(Text(sentence))


if __name__ == "__main__":
    from renewals.pipelines.runtime.stage_main import main

    main(run_tune)
