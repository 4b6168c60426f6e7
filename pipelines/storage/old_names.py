"""Old names of files and columns that are kept in data folders and in the registry, and their new ones.

A folder is renamed in one step, the first time it is used. Files and columns are read under either name, so nothing is
rewritten: a run that is killed leaves a folder that reads the same. What the next run makes again is not read under its
old name; the stage that makes it removes the old file.
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
"""Folders of the data folder that no run makes again: the old name, by the new one."""
FILES = {
    "feedback_log.parquet": "answers.parquet",
    "list.json": "published.json",
    "new_interventions.parquet": "begun.parquet",
    "row_counts.parquet": "rows.parquet",
    "prescribed_playbooks.parquet": "plays.parquet",
    "peer_medians.parquet": "peers.parquet",
    "product_features.json": "features.json",
}
"""Files in kept folders, by their new names."""
MODEL_FILES = {
    "model_card.json": "training.json",
    "drift_reference.json": "reference.json",
    "additive_model.json": "linear.json",
    "predictions_by_model_age.parquet": "aged.parquet",
}
"""Files of a trained or registered model, by their new names."""
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
"""What runs make again, by its new place in the folder of its stage."""

ALERT_COLUMNS = {
    "began": "started_on",
    "newest": "latest_cause_on",
    "concerned": "count",
    "figure": "value",
    "usual": "expected",
    "told_on": "first_reported_on",
}
"""Columns of alerts, and their new names; so are the tables below."""
COLLECTED_ACTION_COLUMNS = {"list_answered": "list_as_of"}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alerts.parquet": ALERT_COLUMNS,
    "contributions.parquet": {"peers": "peer_group"},
    "disagreements.parquet": {"right": "correct_side"},
    "feedback_log.parquet": {"begun": "started_on", "key": "list_key", "file": "file_sha256"},
    "new_interventions.parquet": {"started": "started_on", "then": "previous_probability", "now": "probability"},
    "prescribed_playbooks.parquet": {"gain": "expected_gain", "worth": "gain_per_hour"},
}
"""By the new name of the file."""
ARCHIVE_KEYS = {"last": "previous_list"}
TALLY_KEYS = {"right": "accuracy", "enough": "min_final"}


def current_folder(data: Path, name: str) -> Path:
    """A folder of the data folder; where it is there under its old name it is renamed first, in one step.

    A data folder that cannot be written is read under the old name. Raises `DataContractError` where answers lie under
    both names: an earlier release collected after this one.
    """
    new, old = data / name, data / FOLDERS[name]
    if not old.is_dir():
        return new
    try:
        if not new.is_dir() or not any(new.iterdir()):
            old.rename(new)
        elif name == "feedback":
            raise DataContractError(
                f"answers lie in {new} and, collected by an earlier release since, in {old}: move {old} away, and run "
                "`renewals collect` again with the workbooks that came in since"
            )
        else:
            _move_entries(old, new)
    except OSError:
        # Another run renamed it meanwhile, or nothing can be written here.
        return new if new.is_dir() else old
    return new


def _move_entries(old: Path, new: Path) -> None:
    """Move what only the old folder holds; of a day that both hold the new one counts."""
    for entry in sorted(old.iterdir()):
        if not (new / entry.name).exists():
            entry.rename(new / entry.name)
    if not any(old.iterdir()):
        old.rmdir()


def existing_file(path: Path) -> Path:
    """The path of a kept file: under its old name where it is there under that one only."""
    old = FILES.get(path.name) or MODEL_FILES.get(path.name)
    return path.with_name(old) if old and not path.exists() and path.with_name(old).exists() else path


def rename_file(path: Path) -> None:
    """Give a file its new name, in one step, where it is there under its old one only."""
    old = existing_file(path)
    if old != path:
        old.rename(path)


def rename_keys(tree: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A mapping under the new names of its keys."""
    return {names.get(key, key): value for key, value in tree.items()}


def read_frame(path: Path, **options: Any) -> pd.DataFrame:
    """A Parquet file as a frame, under the new names of its columns; `options` are those of `pandas.read_parquet`."""
    import pandas as pd

    file, names = existing_file(path), COLUMNS.get(path.name, {})
    if names and options.get("columns"):
        import pyarrow.parquet as pq

        there = pq.read_schema(file).names
        old = {new: own for own, new in names.items() if own in there}
        options = options | {"columns": [old.get(column, column) for column in options["columns"]]}
    return pd.read_parquet(file, **options).rename(columns=names)


def rename_columns(rows: ir.Table, names: Mapping[str, str]) -> ir.Table:
    """A table under the new names of its columns."""
    return rows.rename({new: old for old, new in names.items() if old in rows.columns})


def rename_model_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a model by their new names."""
    new = {old: name for name, old in MODEL_FILES.items()}
    return {new.get(name, name): content for name, content in files.items()}


def remove_remade(folder: Path, names: Iterable[str]) -> None:
    """Remove what was made under old names of these files of a folder, now that they are made under the new ones."""
    import shutil

    for name in names:
        old = folder / REMADE_FILES[name]
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        elif os.path.lexists(old):
            old.unlink(missing_ok=True)
