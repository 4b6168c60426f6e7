"""Read the outputs of `score` for the stages and commands that follow it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.renamed_settings import rename_playbook_keys
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import HISTORY, LIST, SCORE_SUMMARY
from renewals.pipelines.storage.old_keys import add_renewal_id, upgrade_manifest
from renewals.reports.columns import cast_columns

if TYPE_CHECKING:
    import pandas as pd


def read_stage_frame(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file of an earlier stage. Raises MissingInputError."""
    try:
        return data_files.load_frame(path, columns=columns)
    except FileNotFoundError:
        raise MissingInputError(f"{path} is missing: run the stages before `score` for this date first") from None


def _upgrade_list(listed: pd.DataFrame) -> pd.DataFrame:
    """Add what lists of older releases lack; they have one renewal, the main one, for each account."""
    return add_renewal_id(listed) if "is_main" in listed else add_renewal_id(listed).assign(is_main=True)


def read_scored_list(job: Job) -> tuple[dict[str, Any], pd.DataFrame]:
    """Summary and list that `score` wrote for the scoring date; the list has one row per renewal or other
    customer.

    Raises MissingInputError if they are missing, or are for another date or from an older release.
    """
    try:
        summary = upgrade_manifest(data_files.load_json(job.folder / SCORE_SUMMARY))
    except FileNotFoundError:
        raise MissingInputError(f"no scores in {job.data}: run `renewals score --as-of {job.day}` first") from None
    if "what_if_features" not in summary:
        raise MissingInputError(f"the scores in {job.data} are from an older release: run `renewals score` again")
    if summary["as_of"] != job.day.isoformat():
        raise MissingInputError(
            f"the scores in {job.data} are for {summary['as_of']}: run `renewals score --as-of {job.day}` first"
        )
    # Summaries of older releases have neither notices nor sentences about columns without a history.
    playbooks = {key: rename_playbook_keys(playbook) for key, playbook in summary["playbooks"].items()}
    listed = cast_columns(_upgrade_list(read_stage_frame(job.folder / LIST)))
    return {"notices": [], HISTORY: [], **summary, "playbooks": playbooks}, listed
