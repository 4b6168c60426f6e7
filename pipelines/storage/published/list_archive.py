"""Archive of the data behind each published list: `list_archive/<as_of>/` in the data folder.

A run that scores another date overwrites `act/`, but the files that `explain`, `whatif` and `publish` read must not
change while they run. So each published list has its own copy, which is replaced in one step; readers need no lock.
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
"""Tables of the archive: one row per intervention started since the previous list, and one row per account with the
number of its known rows per input table."""
ARCHIVED_FILES = (
    *(artifacts.LIST, artifacts.SCORE_SUMMARY, artifacts.SCORING, artifacts.CATALOGUE),
    *(artifacts.CONTRIBUTIONS, artifacts.PEER_MEDIANS, artifacts.PRESCRIBED_PLAYBOOKS, artifacts.ALERTS),
    *(artifacts.DISAGREEMENTS, artifacts.DISAGREEMENTS_SUMMARY),
    *(f"{artifacts.FORECAST_FOLDER}/{name}" for name in (artifacts.FORECAST, artifacts.FORECAST_SUMMARY)),
    *(artifacts.TERM_STATES, artifacts.TERM_OUTCOMES, artifacts.EXPANSIONS),
)
"""Files of the folder `act` that are archived if they exist."""
MAX_ARCHIVED_DAYS = 12
"""Number of the newest lists that are kept, separately for lists with and without hindsight."""
MAX_ATTEMPTS = 5

Content = TypeVar("Content")


@dataclass(frozen=True)
class InterventionsSince:
    """Date of the previous list and the interventions started since then; one row per intervention."""

    last_list_day: date
    interventions: pd.DataFrame


def archive_folder(job: Job, day: date) -> Path:
    """Archive folder of the list of a date; it need not exist."""
    return old_names.current_folder(job.data, FOLDER) / day.isoformat()


def archived_days(job: Job, file: str = METADATA_FILE, hindsight: bool = False) -> list[date]:
    """Dates of the archived lists that contain `file`, ascending: lists made without hindsight, or only those with."""
    root = old_names.current_folder(job.data, FOLDER)
    archives = [path for path in root.glob("????-??-??") if old_names.existing_file(path / file).is_file()]
    return sorted(date.fromisoformat(path.name) for path in archives if _is_hindsight_archive(path) == hindsight)


def _is_hindsight_archive(folder: Path) -> bool:
    return old_names.existing_file(folder / METADATA_FILE).is_file() and training_day.is_hindsight_list(
        _load_metadata(folder)
    )


def _load_metadata(archive: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = data_files.load_json(old_names.existing_file(archive / METADATA_FILE))
    return old_names.rename_keys(metadata, old_names.ARCHIVE_KEYS)


def archive_list(job: Job, key: str, interventions: InterventionsSince | None, hindsight: bool = False) -> None:
    """Archive the data behind the list just published, replacing an archive of the same date; delete the oldest ones.

    `key` is the key of the list, `interventions` those started since the previous list. Lists made with `hindsight` are
    counted separately, so that they displace no others, and never replace an archived list made without hindsight.
    """
    archive = archive_folder(job, job.day)
    if hindsight and training_day.has_original_list(archive, _load_metadata):
        structlog.get_logger().warning(
            "list made with hindsight is not archived: explain and whatif keep using the earlier list",
            kept=str(archive),
        )
        return
    staged = archive.with_name(f".{archive.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    for name in ARCHIVED_FILES:
        if (job.folder / name).is_file():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(job.folder / name, staged / name)
    if interventions is not None:
        interventions.interventions.to_parquet(staged / INTERVENTIONS_FILE)
    _count_rows_per_account(job).to_parquet(staged / ROW_COUNTS_FILE)
    last = interventions.last_list_day.isoformat() if interventions else None
    metadata = {"key": key, "as_of": job.day.isoformat(), "previous_list": last, training_day.HINDSIGHT_KEY: hindsight}
    atomic.write_bytes(staged / METADATA_FILE, json.dumps(metadata).encode())
    folders.replace_folder(staged, archive)
    for day in (*archived_days(job)[:-MAX_ARCHIVED_DAYS], *archived_days(job, hindsight=True)[:-MAX_ARCHIVED_DAYS]):
        if day != job.day:
            shutil.rmtree(archive_folder(job, day))


def _count_rows_per_account(job: Job) -> pd.DataFrame:
    """Number of rows known at the job's date; one row per account, one column per input table."""
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
    """Call `reader` on the archive of the job's date and return its result; all files it reads are of the same list.

    `reader` gets a job with the archive as its folder, and is called again if the list is replaced in the meantime.
    Raises `MissingInputError` if no list of the date was published, `RunLockedError` after `MAX_ATTEMPTS` calls.
    """
    for _ in range(MAX_ATTEMPTS):
        before = read_metadata(job)
        try:
            content = reader(replace(job, workspace=str(archive_folder(job, job.day).relative_to(job.data))))
        except Exception:
            if read_metadata(job) == before:
                raise
            continue  # a new list has replaced the archive in the meantime
        if read_metadata(job) == before:
            return content
    raise RunLockedError(f"the list of {job.day} is being published repeatedly: try again later")


def read_metadata(job: Job) -> dict[str, Any]:
    """Metadata of the archived list of the job's date: its key and the date of the previous list.

    Raises `MissingInputError` if no list of the date was published.
    """
    try:
        return _load_metadata(archive_folder(job, job.day))
    except FileNotFoundError:
        raise MissingInputError(_missing_list_message(job)) from None


def _missing_list_message(job: Job) -> str:
    days = ", ".join(str(day) for day in sorted([*archived_days(job), *archived_days(job, hindsight=True)])[-3:])
    newest = f"; newest lists: {days}" if days else ""
    return f"no list of {job.day} is published in {job.data}{newest}. Run `renewals score --as-of {job.day}` first"


def load_interventions_since(archive_job: Job) -> InterventionsSince | None:
    """Read the interventions started between the previous list and this one; None if there was no previous list.

    `archive_job` is the job that `read_archived_list` passes to its reader.
    """
    last = read_metadata(archive_job)["previous_list"]
    return (
        InterventionsSince(date.fromisoformat(last), data_files.load_frame(archive_job.folder / INTERVENTIONS_FILE))
        if last
        else None
    )
