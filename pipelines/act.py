"""The whole of acting on a day: the same feature stages as learning, then the champion, then the list."""

from __future__ import annotations

from typing import Any

from pipelines.assemble import assemble
from pipelines.check import check
from pipelines.featurize import featurize
from pipelines.publishing import publish
from pipelines.rollup import rollup
from pipelines.score import score
from pipelines.spine import spine
from pipelines.stage import Job, progress
from pipelines.windows import windows

STAGES = (check, rollup, spine, windows, featurize, assemble)


def act(job: Job) -> dict[str, Any]:
    """From raw tables to a published list for the day."""
    with progress(len(STAGES) + 1, "score") as step:
        prepare(job, step)
        result = score(job)
        step("list")
    return result


def prepare(job: Job, step: Any) -> None:
    """Bring the act side up to date."""
    for stage in STAGES:
        stage(job)
        step(stage.__name__)
