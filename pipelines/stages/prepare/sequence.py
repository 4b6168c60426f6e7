"""The stages that every command runs before it learns or scores, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.freshness import freshness
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows

Stage = Callable[[Job], Any]

CHECK_TABLES: tuple[Stage, ...] = (check, freshness, rollup)
"""To clean tables, fresh enough for the day, and usage by person and day."""
OBSERVE: tuple[Stage, ...] = (*CHECK_TABLES, spine, windows, ledger)
"""To the observations, and what was known of each."""
PREPARE_STAGES: tuple[Stage, ...] = (*OBSERVE, featurize)
"""To the features of every observation."""


def run_stages(stages: Iterable[Stage], job: Job, step: Callable[[str], None]) -> dict[str, Any]:
    """Run stages in their order; return what each returned, by its name. `step` is called with the name of each."""
    done = {}
    for stage in stages:
        done[stage.__name__] = stage(job)
        step(stage.__name__)
    return done
