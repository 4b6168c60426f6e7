"""Command `renewals check`: validate the input tables and, for a given date, check that they are recent enough."""

from __future__ import annotations

from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.freshness import assess_freshness, finding_notices, stop_or_warn
from renewals.pipelines.storage.notices import add_texts


def check_tables(job: Job) -> dict[str, Any]:
    """Validate the input tables; with an as-of date also check that they are recent enough for it.

    Raises the errors of `check` and `freshness`.
    """
    result = check(job)
    if job.as_of is None:
        return result
    report, findings = assess_freshness(job)
    stop_or_warn(findings, job)
    return result | {"freshness": report, "notices": add_texts(finding_notices(findings))}
