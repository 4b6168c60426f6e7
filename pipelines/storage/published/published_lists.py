"""What was published before: the earlier lists, and the figures behind the newest of them.

The figures of a published list are kept in the data folder as they were given to the models, in double precision:
next month's change is split by scoring them again. A list whose figures are missing is still a list.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import structlog

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.artifacts import ALERTS, SCORING
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.published import hindsight, list_archive
from renewals.pipelines.storage.published.list_folder import corrupted_files
from renewals.pipelines.storage.published.manifest import RISK_LIST, UNREADABLE, read_manifest

ALERT_HISTORY_FOLDER = "alert_history"
SCORE_COLUMNS = ["account_id", "as_of", "renewal_date", "status", "renewal_probability"]
MAX_EARLIER_LISTS = 12
"""So many lists before the day are shown beside it; a run opens each of them once."""


@dataclass(frozen=True)
class PreviousList:
    """An earlier list: its day, what its manifest says, and what it said; `listed` has one row per account."""

    day: date
    manifest: dict[str, Any]
    scores: pd.DataFrame

    @property
    def model(self) -> tuple[str, str]:
        """Name and version of the model behind its chances of renewal."""
        model = self.manifest["models"]["renewal"]
        return str(model["name"]), str(model["version"])


def latest_list(job: Job) -> PreviousList | None:
    """The newest whole list before the day the run stands on; None where there is none."""
    return next(iter_previous_lists(job), None)


def iter_previous_lists(job: Job) -> Iterator[PreviousList]:
    """Every whole list before the day the run stands on, the newest first.

    One that is harmed is passed over, and one made with hindsight: it is no history.
    """
    opened = {} if job.opened is None else job.opened
    whole = 0
    for day in sorted(_dates_in_folder(job.lists, before=job.day), reverse=True):
        folder = job.lists / day.isoformat()
        one = opened[folder] if folder in opened else _open(day, folder)
        if whole < MAX_EARLIER_LISTS:  # older ones are asked for once: they are not held
            opened[folder] = one
        if one is not None:
            whole += 1
            yield one


def _open(day: date, folder: Path) -> PreviousList | None:
    """The list of a day; None where it is harmed, or was made with hindsight."""
    try:
        manifest = read_manifest(folder)
        if spoilt := corrupted_files(folder, manifest):
            raise ValueError(f"{spoilt[0]} differs from its manifest (SHA-256)")
        if hindsight.is_hindsight_list(manifest):
            return None
        one = PreviousList(day, manifest, pd.read_parquet(folder / RISK_LIST, columns=SCORE_COLUMNS))
        _ = one.model
    except UNREADABLE as fault:
        structlog.get_logger().warning("earlier list skipped", list=str(folder), why=str(fault))
        return None
    return one


def _dates_in_folder(folder: Path, before: date) -> list[date]:
    """The days by which something in a folder is called; what is called otherwise is nobody's list."""
    days = []
    for path in folder.glob("????-??-??*"):
        try:
            days.append(date.fromisoformat(path.name.removesuffix(".parquet")))
        except ValueError:
            continue
    return [day for day in days if day < before]


def features_path(job: Job, day: date) -> Path:
    """Where the figures behind the list of a day are kept."""
    return list_archive.archive_folder(job, day) / SCORING


def alert_history_path(job: Job, day: date) -> Path:
    """Where the alerts that the list of a day told are kept."""
    return _alert_history_folder(job) / f"{day.isoformat()}.parquet"


def _alert_history_folder(job: Job) -> Path:
    return old_names.current_folder(job.data, ALERT_HISTORY_FOLDER)


def recent_alert_paths(job: Job) -> list[Path]:
    """The alerts of every list of the quiet days before the day the run stands on."""
    quiet = timedelta(days=job.settings.alerts.cooldown_days)
    return [
        alert_history_path(job, day)
        for day in sorted(_dates_in_folder(_alert_history_folder(job), before=job.day))
        if day >= job.day - quiet
    ]


def archive_alerts(job: Job) -> None:
    """Keep the alerts of the list just published, and let go of those long told."""
    with atomic.atomic_path(alert_history_path(job, job.day)) as unfinished:
        shutil.copyfile(job.folder / ALERTS, unfinished)
    long_ago = job.day - 2 * timedelta(days=job.settings.alerts.cooldown_days)
    for day in _dates_in_folder(_alert_history_folder(job), before=long_ago):
        alert_history_path(job, day).unlink(missing_ok=True)
