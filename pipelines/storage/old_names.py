"""Old and new names of files and columns in data folders and in the registry.

A folder is renamed in one step when it is first used. Files and columns are read under both names and are never
rewritten, so a killed run does no harm. Files that the next run writes again are not read under their old names; the
stage that writes them removes the old files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import DataContractError

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

FOLDERS = {"alert_history": "told", "feedback": "returned", "list_archive": "published"}
"""Old names by new ones of subfolders of the data folder that no run writes again."""
FILES = {
    "feedback_log.parquet": "answers.parquet",
    "list.json": "published.json",
    "new_interventions.parquet": "begun.parquet",
    "row_counts.parquet": "rows.parquet",
    "prescribed_playbooks.parquet": "plays.parquet",
    "peer_medians.parquet": "peers.parquet",
    "product_features.json": "features.json",
}
"""Old names by new ones of files in those subfolders."""
MODEL_FILES = {
    "model_card.json": "training.json",
    "drift_reference.json": "reference.json",
    "additive_model.json": "linear.json",
    "predictions_by_model_age.parquet": "aged.parquet",
}
"""Old names by new ones of files of a trained or registered model."""
REMADE_FILES = {
    "validation_report.json": "certificate.json",
    "tune/training_table.json": "tune/tables.json",
    "ledger/revenue_intervals.parquet": "ledger/carried.parquet",
    "prescribed_playbooks.parquet": "plays.parquet",
    "peer_medians.parquet": "peers.parquet",
    "strength_features.parquet": "strengths.parquet",
    "not_scored_reasons.parquet": "unscored.parquet",
    "what_if_grid.parquet": "whatif.parquet",
    "score_changes.parquet": "change.parquet",
    "challenger_scores.parquet": "shadow.parquet",
    "model_load_checks": "tried",
}
"""Old names by new ones of files and folders that runs write again, relative to the folder of their stage."""

ALERT_COLUMNS = {
    "began": "started_on",
    "newest": "latest_cause_on",
    "concerned": "count",
    "figure": "value",
    "usual": "expected",
    "told_on": "first_reported_on",
}
"""New names by old ones of the columns of alerts; the tables below have the same form."""
COLLECTED_ACTION_COLUMNS = {"list_answered": "list_as_of"}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alerts.parquet": ALERT_COLUMNS,
    "contributions.parquet": {"peers": "peer_group"},
    "disagreements.parquet": {"right": "correct_side"},
    "feedback_log.parquet": {"begun": "started_on", "key": "list_key", "file": "file_sha256"},
    "new_interventions.parquet": {"started": "started_on", "then": "previous_probability", "now": "probability"},
    "prescribed_playbooks.parquet": {"gain": "expected_gain", "worth": "gain_per_hour"},
}
"""New names of columns by old ones, for each file by its new name."""
ARCHIVE_KEYS = {"last": "previous_list"}
TALLY_KEYS = {"right": "accuracy", "enough": "min_final"}


def current_folder(data: Path, name: str) -> Path:
    """Path of a subfolder of the data folder; a folder with the old name is renamed first, in one step.

    If the data folder is read-only, returns the path with the old name. Raises `DataContractError` if answers exist
    under both names, because an earlier release ran `renewals collect` after this one.
    """
    new, old = data / name, data / FOLDERS[name]
    if not old.is_dir():
        return new
    try:
        if not new.is_dir() or not any(new.iterdir()):
            old.rename(new)
        elif name == "feedback":
            raise DataContractError(
                f"there are answers in {new} and newer ones, collected by an earlier release, in {old}: move {old} "
                "away, and run `renewals collect` again with the workbooks received since then"
            )
        else:
            _move_entries(old, new)
    except OSError:
        # Another run has renamed it in the meantime, or the data folder is read-only.
        return new if new.is_dir() else old
    return new


def _move_entries(old: Path, new: Path) -> None:
    """Move the entries that only the old folder has; of an entry in both folders the new one is used."""
    for entry in sorted(old.iterdir()):
        if not (new / entry.name).exists():
            entry.rename(new / entry.name)
    if not any(old.iterdir()):
        old.rmdir()


def existing_file(path: Path) -> Path:
    """Path of a stored file: with its old name if only that file exists, else unchanged."""
    old = FILES.get(path.name) or MODEL_FILES.get(path.name)
    return path.with_name(old) if old and not path.exists() and path.with_name(old).exists() else path


def rename_file(path: Path) -> None:
    """Rename a stored file from its old name to `path`, in one step, if only the old one exists."""
    old = existing_file(path)
    if old != path:
        old.rename(path)


def rename_keys(tree: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Copy of a mapping with renamed keys; `names` maps old keys to new ones."""
    return {names.get(key, key): value for key, value in tree.items()}


def read_frame(path: Path, **options: Any) -> pd.DataFrame:
    """Read a Parquet file, under either name, as a frame with the new column names.

    `options` are those of `pandas.read_parquet`.
    """
    import pandas as pd

    file, names = existing_file(path), COLUMNS.get(path.name, {})
    if names and options.get("columns"):
        import pyarrow.parquet as pq

        file_columns = pq.read_schema(file).names
        old_names = {new: old for old, new in names.items() if old in file_columns}
        options = options | {"columns": [old_names.get(column, column) for column in options["columns"]]}
    return pd.read_parquet(file, **options).rename(columns=names)


def rename_columns(rows: ir.Table, names: Mapping[str, str]) -> ir.Table:
    """Copy of a table with renamed columns; `names` maps old columns to new ones."""
    return rows.rename({new: old for old, new in names.items() if old in rows.columns})


def rename_model_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of a model with their new names, content by name."""
    new_names = {old: new for new, old in MODEL_FILES.items()}
    return {new_names.get(name, name): content for name, content in files.items()}


def remove_old_versions(folder: Path, names: Iterable[str]) -> None:
    """Remove from a folder the old versions of these files; `names` are the new names, as in `REMADE_FILES`."""
    import shutil

    for name in names:
        old = folder / REMADE_FILES[name]
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        elif os.path.lexists(old):
            old.unlink(missing_ok=True)
