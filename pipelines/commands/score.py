"""The whole of acting on a day: the same feature stages as learning, then the champion, then the list."""

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
"""What the head of customer success reads beside the list; a list without it is still a list."""


def run_score(job: Job) -> dict[str, Any]:
    """From raw tables to a published list for the day; `failed_stages` names the parts that failed, and why."""
    run_scoring_stages(job)
    failed = {stage.__name__: why for stage in OPTIONAL_STAGES if (why := _try_stage(stage, job))}
    published = publish(job, failed) | {"failed_stages": failed}
    report_notices(published["notices"], job.settings.list.language)
    return published


def _try_stage(stage: Callable[[Job], Any], job: Job) -> str | None:
    """Run a stage that the list can do without; why it failed, or None. What it left of before is taken away."""
    try:
        stage(job)
    except RunError as stop:
        why = str(stop)
    except Exception as error:  # whatever it is, the list is published
        raise_if_received()
        log = write_traceback(error, job.data, f"score, {stage.__name__}")
        why = f"internal error ({type(error).__name__}); the traceback is in {log}: please report it with that file"
    else:
        return None
    structlog.get_logger().warning(
        "optional part failed; the list is published without it", stage=stage.__name__, why=why
    )
    shutil.rmtree(job.folder / stage.__name__, ignore_errors=True)
    return why


def run_scoring_stages(job: Job) -> None:
    """Bring the act side up to date: features, scores and reasons of the day, not yet published."""
    with progress(len(STAGES), "score") as step:
        run_stages(STAGES, job, step)
