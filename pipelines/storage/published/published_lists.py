"""Access to earlier published lists, their features and their alerts.

The features of a published list are archived in the data folder in double precision, as the models received them: the
next list scores them again to decompose its score changes. A list without archived features is still valid.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import structlog

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.artifacts import ALERTS, SCORING
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.old_keys import add_renewal_id
from renewals.pipelines.storage.published import hindsight, list_archive
from renewals.pipelines.storage.published.list_folder import corrupted_files
from renewals.pipelines.storage.published.manifest import RISK_LIST, UNREADABLE, read_manifest

ALERT_HISTORY_FOLDER = "alert_history"
SCORE_COLUMNS = ["account_id", "renewal_id", "as_of", "renewal_date", "status", "renewal_probability"]
MAX_EARLIER_LISTS = 12
"""Number of earlier lists that are shown next to the new one; a run reads each of them once and caches it."""


@dataclass(frozen=True)
class PreviousList:
    """Earlier list: its date, manifest and scores; `scores` has the `SCORE_COLUMNS` and one row per renewal."""

    day: date
    manifest: dict[str, Any]
    scores: pd.DataFrame

    @property
    def model(self) -> tuple[str, str] | None:
        """Name and version of the model of its renewal probabilities; None for a list without a model."""
        model = self.manifest["models"].get("renewal")
        return None if model is None else (str(model["name"]), str(model["version"]))


def latest_list(job: Job) -> PreviousList | None:
    """Newest usable list before the date of the run; None if there is none."""
    return next(iter_previous_lists(job), None)


def iter_previous_lists(job: Job) -> Iterator[PreviousList]:
    """Iterate over the usable lists before the date of the run, newest first.

    Damaged lists and lists made with hindsight, which are not history, are skipped.
    """
    cache = {} if job.opened is None else job.opened
    usable = 0
    for day in sorted(_dates_in_folder(job.lists, before=job.day), reverse=True):
        folder = job.lists / day.isoformat()
        previous = cache[folder] if folder in cache else _open(day, folder)
        if usable < MAX_EARLIER_LISTS:  # older lists are needed only once and are not cached
            cache[folder] = previous
        if previous is not None:
            usable += 1
            yield previous


def _open(day: date, folder: Path) -> PreviousList | None:
    """Read the list in a folder; None, with a warning, if it is damaged; None if it was made with hindsight."""
    try:
        manifest = read_manifest(folder)
        if corrupted := corrupted_files(folder, manifest):
            raise ValueError(f"{corrupted[0]} differs from its manifest (SHA-256)")
        if hindsight.is_hindsight_list(manifest):
            return None
        previous = PreviousList(day, manifest, _read_scores(folder / RISK_LIST))
        _ = previous.model
    except UNREADABLE as error:
        structlog.get_logger().warning("earlier list skipped", list=str(folder), why=str(error))
        return None
    return previous


def _read_scores(path: Path) -> pd.DataFrame:
    """Scores of a list; lists of older releases have no `renewal_id`, which is added."""
    present = set(pq.read_schema(path).names)
    rows = pd.read_parquet(path, columns=[name for name in SCORE_COLUMNS if name in present])
    return add_renewal_id(rows)[SCORE_COLUMNS]


def _dates_in_folder(folder: Path, before: date) -> list[date]:
    """Dates before `before` that are names of files or folders in a folder; other names are ignored."""
    days = []
    for path in folder.glob("????-??-??*"):
        try:
            days.append(date.fromisoformat(path.name.removesuffix(".parquet")))
        except ValueError:
            continue
    return [day for day in days if day < before]


def features_path(job: Job, day: date) -> Path:
    """Path of the archived features of the list of a date."""
    return list_archive.archive_folder(job, day) / SCORING


def alert_history_path(job: Job, day: date) -> Path:
    """Path of the archived alerts of the list of a date."""
    return _alert_history_folder(job) / f"{day.isoformat()}.parquet"


def _alert_history_folder(job: Job) -> Path:
    return old_names.current_folder(job.data, ALERT_HISTORY_FOLDER)


def recent_alert_paths(job: Job) -> list[Path]:
    """Paths of the archived alerts of the lists within `alerts.cooldown_days` before the date of the run."""
    cooldown = timedelta(days=job.settings.alerts.cooldown_days)
    return [
        alert_history_path(job, day)
        for day in sorted(_dates_in_folder(_alert_history_folder(job), before=job.day))
        if day >= job.day - cooldown
    ]


def archive_alerts(job: Job) -> None:
    """Archive the alerts of the list just published, and delete archives older than twice the cooldown."""
    with atomic.atomic_path(alert_history_path(job, job.day)) as unfinished:
        shutil.copyfile(job.folder / ALERTS, unfinished)
    oldest = job.day - 2 * timedelta(days=job.settings.alerts.cooldown_days)
    for day in _dates_in_folder(_alert_history_folder(job), before=oldest):
        alert_history_path(job, day).unlink(missing_ok=True)
