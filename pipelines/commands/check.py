"""`renewals check`: the raw tables against their contract and, for a day, whether they are fresh enough for it."""

from __future__ import annotations

from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.freshness import assess_freshness, finding_notices, stop_or_warn
from renewals.pipelines.storage.notices import add_texts


def check_tables(job: Job) -> dict[str, Any]:
    """Check the raw tables against their contract and, where a day is given, whether they are fresh enough for it.

    Raises what `check` and `freshness` raise.
    """
    checked = check(job)
    if job.as_of is None:
        return checked
    report, findings = assess_freshness(job)
    stop_or_warn(findings, job)
    return checked | {"freshness": report, "notices": add_texts(finding_notices(findings))}
