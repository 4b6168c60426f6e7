"""Command `renewals score`: build the features of a date, score all accounts with the champion and publish the list."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import structlog

from renewals.pipelines.runtime.console import progress
from renewals.pipelines.runtime.errors import RunError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.runner import write_traceback
from renewals.pipelines.runtime.signals import raise_if_received
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.sequence import find_stages, run_stages
from renewals.pipelines.storage.notices import report_notices

STAGES, OPTIONAL_STAGES = find_stages("score"), find_stages("score", optional=True)
"""Stages for the head of customer success; the list is published even if they fail."""


def run_score(job: Job) -> dict[str, Any]:
    """Score all accounts of the as-of date and publish the list.

    `failed_stages` of the result has the optional stages that failed, each with its error message.
    """
    run_scoring_stages(job)
    failed = {stage.__name__: reason for stage in OPTIONAL_STAGES if (reason := _try_stage(stage, job))}
    published = publish(job, failed) | {"failed_stages": failed}
    report_notices(published["notices"], job.settings.list.language)
    return published


def _try_stage(stage: Callable[[Job], Any], job: Job) -> str | None:
    """Run an optional stage; return why it failed, or None. Its earlier outputs are deleted if it fails."""
    try:
        stage(job)
    except RunError as run_error:
        reason = str(run_error)
    except Exception as error:  # any error: the list is still published
        raise_if_received()
        log = write_traceback(error, job.data, f"score, {stage.__name__}")
        reason = f"internal error ({type(error).__name__}); the traceback is in {log}: please report it with that file"
    else:
        return None
    structlog.get_logger().warning(
        "optional part failed; the list is published without it", stage=stage.__name__, why=reason
    )
    shutil.rmtree(job.folder / stage.__name__, ignore_errors=True)
    return reason


def run_scoring_stages(job: Job) -> None:
    """Run all stages up to features, scores and reasons of the date, without publishing."""
    with progress(len(STAGES), "score") as step:
        run_stages(STAGES, job, step)
