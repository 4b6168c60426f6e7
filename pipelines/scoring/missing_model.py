"""Notice on a list without a model: how many outcomes there are, how many are needed, and about when."""

from __future__ import annotations

import pandas as pd

from renewals.features.point_in_time import day_of
from renewals.models.settings import FoldSettings
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import LEDGER, read_tables
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.notices import Notice

PACE_DAYS = 365
"""Days whose final renewals give the pace."""
MAX_WAIT_DAYS = 10 * 365


def missing_model_notice(job: Job) -> Notice:
    """Notice with the final renewals and losses so far, those needed, and the month with enough of them."""
    outcomes = read_tables(warehouse.connect(job.settings.engine), job.folder / LEDGER, ("outcomes",))["outcomes"]
    final = outcomes.select("renewed", day=day_of(outcomes.matured_at)).to_pandas()
    return shortage_notice(final.assign(ago=(pd.Timestamp(job.day) - pd.Timestamp(0)).days - final["day"]), job)


def shortage_notice(final: pd.DataFrame, job: Job) -> Notice:
    """The notice for final renewals with `renewed` and `ago`, the days since each was final."""
    counts = count_needed(job.settings.folds) | {"renewals": len(final), "losses": int((final["renewed"] == 0).sum())}
    wait = days_to_wait(final, job.settings.folds)
    if wait is None:
        return Notice("no_model", counts)
    if not wait:
        return Notice("no_model_enough", counts)
    ready = pd.Timestamp(job.day) + pd.Timedelta(days=wait)
    return Notice("no_model_until", counts | {"month": f"{ready:%Y-%m}"})


def count_needed(folds: FoldSettings) -> dict[str, int]:
    """Final renewals and losses that are needed: for training, and the same again for a test."""
    return {"needed_renewals": 2 * folds.min_renewals, "needed_losses": 2 * folds.min_events}


def days_to_wait(final: pd.DataFrame, folds: FoldSettings) -> int | None:
    """Days until there are enough outcomes at the pace of the last year; None if that is not in sight."""
    needed, recent = count_needed(folds), final[final["ago"] <= PACE_DAYS]
    waits = []
    for name, rows, lately in (
        ("needed_renewals", final, recent),
        ("needed_losses", final[final["renewed"] == 0], recent[recent["renewed"] == 0]),
    ):
        missing = max(needed[name] - len(rows), 0)
        if missing and lately.empty:
            return None
        waits.append(missing * PACE_DAYS / max(len(lately), 1))
    return None if max(waits) > MAX_WAIT_DAYS else int(max(waits))
