"""The whole of acting on a day: the same feature stages as learning, then the champion, then the list."""

from __future__ import annotations

from typing import Any

import structlog

from pipelines.alerts import alerts
from pipelines.assemble import assemble
from pipelines.check import check
from pipelines.disagreements import disagreements
from pipelines.errors import Stop
from pipelines.featurize import featurize
from pipelines.forecast import forecast
from pipelines.ledger import ledger
from pipelines.publishing import publish
from pipelines.rollup import rollup
from pipelines.score import score
from pipelines.scorecard import scorecard
from pipelines.spine import spine
from pipelines.stage import Job, progress
from pipelines.windows import windows

STAGES = (check, rollup, spine, windows, ledger, disagreements, featurize, alerts, assemble, score)
BESIDE = (scorecard, forecast)
"""What the head of customer success reads beside the list; a list without it is still a list."""


def act(job: Job) -> dict[str, Any]:
    """From raw tables to a published list for the day."""
    prepare(job)
    for stage in BESIDE:
        try:
            stage(job)
        except Stop as stop:
            structlog.get_logger().warning("the list is published without it", stage=stage.__name__, why=str(stop))
    return publish(job)


def prepare(job: Job) -> None:
    """Bring the act side up to date: features, scores and reasons of the day, not yet published."""
    with progress(len(STAGES), "score") as step:
        for stage in STAGES:
            stage(job)
            step(stage.__name__)
