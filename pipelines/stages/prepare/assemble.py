"""Assemble the feature table: the training table, or the scoring table of an act date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ibis.expr.types as ir

from renewals.features.family import RENEWAL_KEY
from renewals.features.point_in_time import known_rows
from renewals.models.training.treated import mark_treated
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import current_state, data_files
from renewals.pipelines.storage.artifacts import CATALOGUE, FEATURES, HISTORY, LABELS, SCORING, TRAINING, read_spine
from renewals.pipelines.storage.engine import atomic, warehouse

STEP = Step(after="label", commands=("learn", "score"))


def assemble(job: Job) -> dict[str, Any]:
    """Join spine and feature families, for training also labels and `treated`; write one row per observation.

    Also writes the feature catalogue.
    """
    con = warehouse.connect(job.settings.engine)
    rows = read_spine(con, job)
    present, missing = list_families(job.folder / FEATURES, job.settings.families)
    for name in present:
        rows = join_columns(rows, warehouse.read_parquet(con, job.folder / FEATURES / f"{name}.parquet"))
    if job.as_of is None:
        rows = join_treated(join_labels(rows, con, job), con, job)
    path = job.folder / (SCORING if job.as_of else TRAINING)
    count = warehouse.write_parquet(rows, path, order_by=["as_of", "account_id", "renewal_id"])
    metadata = [
        feature for family in present for feature in load_feature_metadata(job.folder / FEATURES / f"{family}.json")
    ]
    catalogue: dict[str, Any] = {"features": metadata, "missing_families": missing}
    if job.as_of is None:
        tables = warehouse.clean_tables(con, job.data)
        catalogue[HISTORY] = current_state.describe_history(tables, job.settings.source)
    atomic.write_bytes(job.folder / CATALOGUE, json.dumps(catalogue, indent=1, ensure_ascii=False).encode())
    return {"rows": count, "columns": len(metadata), "missing_families": missing}


def list_families(folder: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the families with features, and of those without because an input table is missing.

    Raises MissingInputError if `featurize` has not run for a family.
    """
    missing = [name for name in names if not (folder / f"{name}.json").exists()]
    if missing:
        raise MissingInputError(f"{folder}: no columns of family {missing[0]!r} yet; run featurize first")
    present = [name for name in names if load_feature_metadata(folder / f"{name}.json")]
    return present, [name for name in names if name not in present]


def load_feature_metadata(path: Path) -> list[dict[str, Any]]:
    """Load the metadata of the features of one family: one dictionary per feature."""
    features: list[dict[str, Any]] = data_files.load_json(path)["features"]
    return features


def join_columns(rows: ir.Table, columns: ir.Table) -> ir.Table:
    """Join the columns of one family to the rows."""
    # A column of a family may have the name of a spine column (`arr`): the family's column is the feature.
    shared = [column for column in columns.columns if column in rows.columns and column not in RENEWAL_KEY]
    return rows.drop(*shared).left_join(columns, RENEWAL_KEY).drop(*(f"{key}_right" for key in RENEWAL_KEY))


def join_labels(rows: ir.Table, con: Any, job: Job) -> ir.Table:
    """Join the label of each target and the time at which it is final (`<target>_matured_at`)."""
    for target in job.settings.targets:
        labels = warehouse.read_parquet(con, job.folder / LABELS / f"{target}.parquet")
        columns = labels.select(*RENEWAL_KEY, **{target: labels.label, f"{target}_matured_at": labels.matured_at})
        rows = join_columns(rows, columns)
    return rows


def join_treated(rows: ir.Table, con: Any, job: Job) -> ir.Table:
    """Join `treated` if interventions are logged: it marks outcomes that an intervention may have influenced."""
    tables, folds = warehouse.clean_tables(con, job.data), job.settings.folds
    if "interventions" not in tables:
        return rows
    known = known_rows("interventions", tables["interventions"], job.day)
    return join_columns(rows, mark_treated(rows, known, folds.decided_days))


if __name__ == "__main__":
    main(assemble)
