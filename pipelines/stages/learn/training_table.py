"""Run the stages from raw tables to the training table (no model is trained)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.label import label
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.sequence import PREPARE_STAGES, run_stages


def count_steps(job: Job) -> int:
    """Number of steps of `make_training_table`, for the progress bar."""
    return len(PREPARE_STAGES) + len(job.settings.targets) + 1


def make_training_table(job: Job, step: Callable[[str], None]) -> dict[str, Any]:
    """Run the stages up to the training table; return their results by step name. `step` is called with each name."""
    results = run_stages(PREPARE_STAGES, job, step)
    for target in job.settings.targets:
        results[f"label {target}"] = label(job, target)
        step(f"label {target}")
    return results | run_stages((assemble,), job, step)
