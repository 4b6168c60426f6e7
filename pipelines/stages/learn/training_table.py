"""The stages from raw tables to the training table; nothing is learned yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.label import label
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.sequence import PREPARE_STAGES, run_stages


def count_steps(job: Job) -> int:
    """The number of steps that `make_training_table` takes."""
    return len(PREPARE_STAGES) + len(job.settings.targets) + 1


def make_training_table(job: Job, step: Callable[[str], None]) -> dict[str, Any]:
    """Run the stages; return what each returned, by the name of its step. `step` is called with each name."""
    done = run_stages(PREPARE_STAGES, job, step)
    for target in job.settings.targets:
        done[f"label {target}"] = label(job, target)
        step(f"label {target}")
    return done | run_stages((assemble,), job, step)
