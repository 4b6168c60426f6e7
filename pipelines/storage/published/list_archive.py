"""What stands behind a published list, kept whole for those who ask: `published/<as_of>/` in the data folder.

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

from renewals.features.point_in_time import known_on
from renewals.pipelines.runtime.errors import Busy, InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import artifacts, data_files, folders
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import hindsight as training_day

if TYPE_CHECKING:
    import pandas as pd


FOLDER, ABOUT = "published", "published.json"
BEGUN, ROWS = "begun.parquet", "rows.parquet"
"""One row per intervention begun since the list before; and one row per account: how many of its rows were known."""
FILES = (
    *(artifacts.LIST, artifacts.SCORE, artifacts.SCORING, artifacts.CATALOGUE),
    *(artifacts.CONTRIBUTIONS, artifacts.PEERS, artifacts.PLAYS, artifacts.ALERTS),
    *(artifacts.DISAGREEMENTS, artifacts.TALLY),
    *(f"{artifacts.FORECAST_FOLDER}/{name}" for name in (artifacts.FORECAST, artifacts.FORECAST_SUMMARY)),
    *(artifacts.RENEWALS, artifacts.EXPANSIONS),
)
"""Files of the act side that are kept, where they are there."""
KEPT = 12
"""So many days are kept, the newest."""
TRIES = 5

Read = TypeVar("Read")


@dataclass(frozen=True)
class Since:
    """The day of the last list, and what was begun since; `begun` has one row per intervention, `COLUMNS`."""

    last: date
    begun: pd.DataFrame


def folder_of(job: Job, day: date) -> Path:
    """Where what stands behind the list of a day is kept."""
    return job.data / FOLDER / day.isoformat()


def days(job: Job, file: str = ABOUT, hindsight: bool = False) -> list[date]:
    """The days of which this file is kept, rising: of lists made in their time, or of those made with hindsight."""
    kept = [path for path in (job.data / FOLDER).glob("????-??-??") if (path / file).is_file()]
    return sorted(date.fromisoformat(path.name) for path in kept if _with_hindsight(path) == hindsight)


def _with_hindsight(kept: Path) -> bool:
    return (kept / ABOUT).is_file() and training_day.is_marked(_load_about(kept))


def _load_about(kept: Path) -> dict[str, Any]:
    about: dict[str, Any] = data_files.load_json(kept / ABOUT)
    return about


def keep_day(job: Job, key: str, since: Since | None, hindsight: bool = False) -> None:
    """Keep what stands behind the list just published, in the place of what was kept of that day; drop the oldest days.

    `key` is the list's own, `since` what was begun since the list before. Days of lists made with `hindsight` are
    counted apart: they push none of the others out, and where one made in its time is kept nothing changes.
    """
    kept = folder_of(job, job.day)
    if hindsight and training_day.stands_in_time(kept, _load_about):
        structlog.get_logger().warning("`explain` and `whatif` go on reading the list made in its time", kept=str(kept))
        return
    staged = kept.with_name(f".{kept.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    for name in FILES:
        if (job.side / name).is_file():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(job.side / name, staged / name)
    if since is not None:
        since.begun.to_parquet(staged / BEGUN)
    _count_rows(job).to_parquet(staged / ROWS)
    last = since.last.isoformat() if since else None
    about = {"key": key, "as_of": job.day.isoformat(), "last": last, training_day.MARK: hindsight}
    atomic.write_bytes(staged / ABOUT, json.dumps(about).encode())
    folders.replace_folder(staged, kept)
    for day in (*days(job)[:-KEPT], *days(job, hindsight=True)[:-KEPT]):
        if day != job.day:
            shutil.rmtree(folder_of(job, day))


def _count_rows(job: Job) -> pd.DataFrame:
    """How many rows of each account were known on the day: one row per account, one column per table."""
    import pandas as pd

    con = warehouse.connect(job.settings.engine)
    counts = {}
    for name, table in warehouse.clean_tables(con, job.data).items():
        if "account_id" in table.columns:
            known = known_on(name, table, job.day)
            counted = known.group_by("account_id").agg(rows=known.count()).to_pandas()
            counts[name] = counted.set_index(counted["account_id"].astype(object))["rows"]
    return pd.DataFrame(counts).fillna(0).astype("int64").rename_axis("account_id").reset_index()


def read_day(job: Job, read: Callable[[Job], Read]) -> Read:
    """What `read` makes of the files kept of the day, all of one list: it is given a job whose side is their folder.

    Raises `InputMissing` where no list of the day was published.
    """
    for _ in range(TRIES):
        before = read_about(job)
        try:
            found = read(replace(job, apart=f"{FOLDER}/{job.day.isoformat()}"))
        except Exception:
            if read_about(job) == before:
                raise
            continue  # a new list took its place meanwhile
        if read_about(job) == before:
            return found
    raise Busy(f"the list of {job.day} is being published again and again: try later")


def read_about(job: Job) -> dict[str, Any]:
    """What is known of the list kept of a day: its key, and the day of the list before it."""
    try:
        return _load_about(folder_of(job, job.day))
    except FileNotFoundError:
        raise InputMissing(_missing(job)) from None


def _missing(job: Job) -> str:
    there = ", ".join(str(day) for day in sorted([*days(job), *days(job, hindsight=True)])[-3:])
    newest = f"; the newest there are: {there}" if there else ""
    return f"no list of {job.day} is published in {job.data}{newest}. Run `renewals score --as-of {job.day}` first"


def since_last(day: Job) -> Since | None:
    """What was begun since the list before, as it stood when the list was published; `day` is what `read_day` gives."""

    last = read_about(day)["last"]
    return Since(date.fromisoformat(last), data_files.load_frame(day.side / BEGUN)) if last else None
