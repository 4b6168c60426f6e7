"""What `score` leaves for the stages and commands behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.renamed_settings import rename_play
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import LIST, SCORE_SUMMARY
from renewals.pipelines.storage.old_keys import upgrade_manifest
from renewals.reports.columns import cast_columns

if TYPE_CHECKING:
    import pandas as pd


def read_stage_frame(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A Parquet file of an earlier stage. Raises MissingInputError."""
    try:
        return data_files.load_frame(path, columns=columns)
    except FileNotFoundError:
        raise MissingInputError(f"{path} is not there: run the stages before `score` for this date first") from None


def read_scored_list(job: Job) -> tuple[dict[str, Any], pd.DataFrame]:
    """What `score` wrote for the act date: what it stands on, and the list. Raises MissingInputError."""
    try:
        standing = upgrade_manifest(data_files.load_json(job.folder / SCORE_SUMMARY))
    except FileNotFoundError:
        raise MissingInputError(f"no scores in {job.data}: run `renewals score --as-of {job.day}` first") from None
    if "what_if_features" not in standing:
        raise MissingInputError(f"the scores in {job.data} are of an older release: run `renewals score` again")
    if standing["as_of"] != job.day.isoformat():
        raise MissingInputError(
            f"the scores in {job.data} are for {standing['as_of']}: run `renewals score --as-of {job.day}` first"
        )
    # What an older release scored has no notices.
    plays = {key: rename_play(play) for key, play in standing["playbooks"].items()}
    return {"notices": [], **standing, "playbooks": plays}, cast_columns(read_stage_frame(job.folder / LIST))
