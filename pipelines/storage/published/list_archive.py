"""What stands behind a published list, kept whole for those who ask: `list_archive/<as_of>/` in the data folder.

A run that scores another day overwrites `act/`; what `explain`, `whatif` and `publish` read must not change beneath
them. So each published list leaves a copy, which is exchanged whole, and readers need no lock.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from renewals.features.point_in_time import known_rows
from renewals.pipelines.runtime.errors import MissingInputError, RunLockedError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import artifacts, data_files, folders, old_names
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import hindsight as training_day

if TYPE_CHECKING:
    import pandas as pd


FOLDER, METADATA_FILE = "list_archive", "list.json"
INTERVENTIONS_FILE, ROW_COUNTS_FILE = "new_interventions.parquet", "row_counts.parquet"
"""One row per intervention begun since the list before; and one row per account: how many of its rows were known."""
ARCHIVED_FILES = (
    *(artifacts.LIST, artifacts.SCORE_SUMMARY, artifacts.SCORING, artifacts.CATALOGUE),
    *(artifacts.CONTRIBUTIONS, artifacts.PEER_MEDIANS, artifacts.PRESCRIBED_PLAYBOOKS, artifacts.ALERTS),
    *(artifacts.DISAGREEMENTS, artifacts.DISAGREEMENTS_SUMMARY),
    *(f"{artifacts.FORECAST_FOLDER}/{name}" for name in (artifacts.FORECAST, artifacts.FORECAST_SUMMARY)),
    *(artifacts.RENEWALS, artifacts.EXPANSIONS),
)
"""Files of the act side that are kept, where they are there."""
MAX_ARCHIVED_DAYS = 12
"""So many days are kept, the newest."""
MAX_ATTEMPTS = 5

Content = TypeVar("Content")


@dataclass(frozen=True)
class InterventionsSince:
    """The day of the last list, and what was begun since; `begun` has one row per intervention, `COLUMNS`."""

    last_list_day: date
    interventions: pd.DataFrame


def archive_folder(job: Job, day: date) -> Path:
    """Where what stands behind the list of a day is kept."""
    return old_names.current_folder(job.data, FOLDER) / day.isoformat()


def archived_days(job: Job, file: str = METADATA_FILE, hindsight: bool = False) -> list[date]:
    """The days of which this file is kept, rising: of lists made in their time, or of those made with hindsight."""
    root = old_names.current_folder(job.data, FOLDER)
    kept = [path for path in root.glob("????-??-??") if old_names.existing_file(path / file).is_file()]
    return sorted(date.fromisoformat(path.name) for path in kept if _is_hindsight_archive(path) == hindsight)


def _is_hindsight_archive(folder: Path) -> bool:
    return old_names.existing_file(folder / METADATA_FILE).is_file() and training_day.is_hindsight_list(
        _load_about(folder)
    )


def _load_about(kept: Path) -> dict[str, Any]:
    about: dict[str, Any] = data_files.load_json(old_names.existing_file(kept / METADATA_FILE))
    return old_names.rename_keys(about, old_names.ARCHIVE_KEYS)


def archive_list(job: Job, key: str, interventions: InterventionsSince | None, hindsight: bool = False) -> None:
    """Keep what stands behind the list just published, in the place of what was kept of that day; drop the oldest days.

    `key` is the list's own, `interventions` what was begun since the list before. Days of lists made with `hindsight`
    are counted apart: they push none of the others out, and where one made in its time is kept nothing changes.
    """
    kept = archive_folder(job, job.day)
    if hindsight and training_day.has_original_list(kept, _load_about):
        structlog.get_logger().warning(
            "list made with hindsight is not archived: explain and whatif keep using the earlier list", kept=str(kept)
        )
        return
    staged = kept.with_name(f".{kept.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    for name in ARCHIVED_FILES:
        if (job.folder / name).is_file():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(job.folder / name, staged / name)
    if interventions is not None:
        interventions.interventions.to_parquet(staged / INTERVENTIONS_FILE)
    _count_rows_per_account(job).to_parquet(staged / ROW_COUNTS_FILE)
    last = interventions.last_list_day.isoformat() if interventions else None
    about = {"key": key, "as_of": job.day.isoformat(), "previous_list": last, training_day.HINDSIGHT_KEY: hindsight}
    atomic.write_bytes(staged / METADATA_FILE, json.dumps(about).encode())
    folders.replace_folder(staged, kept)
    for day in (*archived_days(job)[:-MAX_ARCHIVED_DAYS], *archived_days(job, hindsight=True)[:-MAX_ARCHIVED_DAYS]):
        if day != job.day:
            shutil.rmtree(archive_folder(job, day))


def _count_rows_per_account(job: Job) -> pd.DataFrame:
    """How many rows of each account were known on the day: one row per account, one column per table."""
    import pandas as pd

    con = warehouse.connect(job.settings.engine)
    counts = {}
    for name, table in warehouse.clean_tables(con, job.data).items():
        if "account_id" in table.columns:
            known = known_rows(name, table, job.day)
            counted = known.group_by("account_id").agg(rows=known.count()).to_pandas()
            counts[name] = counted.set_index(counted["account_id"].astype(object))["rows"]
    return pd.DataFrame(counts).fillna(0).astype("int64").rename_axis("account_id").reset_index()


def read_archived_list(job: Job, reader: Callable[[Job], Content]) -> Content:
    """What `reader` makes of the files kept of the day, all of one list: it is given a job whose side is their folder.

    Raises `MissingInputError` where no list of the day was published.
    """
    for _ in range(MAX_ATTEMPTS):
        before = read_metadata(job)
        try:
            found = reader(replace(job, workspace=str(archive_folder(job, job.day).relative_to(job.data))))
        except Exception:
            if read_metadata(job) == before:
                raise
            continue  # a new list took its place meanwhile
        if read_metadata(job) == before:
            return found
    raise RunLockedError(f"the list of {job.day} is being published again and again: try later")


def read_metadata(job: Job) -> dict[str, Any]:
    """What is known of the list kept of a day: its key, and the day of the list before it."""
    try:
        return _load_about(archive_folder(job, job.day))
    except FileNotFoundError:
        raise MissingInputError(_missing_list_message(job)) from None


def _missing_list_message(job: Job) -> str:
    there = ", ".join(str(day) for day in sorted([*archived_days(job), *archived_days(job, hindsight=True)])[-3:])
    newest = f"; the newest there are: {there}" if there else ""
    return f"no list of {job.day} is published in {job.data}{newest}. Run `renewals score --as-of {job.day}` first"


def load_interventions_since(archive_job: Job) -> InterventionsSince | None:
    """What was begun since the list before, as it stood when the list was published; `archive_job` is what
    `read_archived_list` gives."""

    last = read_metadata(archive_job)["previous_list"]
    return (
        InterventionsSince(date.fromisoformat(last), data_files.load_frame(archive_job.folder / INTERVENTIONS_FILE))
        if last
        else None
    )
