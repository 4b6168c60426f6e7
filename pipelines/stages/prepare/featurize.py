"""Compute one table of feature columns per family, with the metadata of the columns."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from renewals.features.family import RENEWAL_KEY, Feature
from renewals.features.registry import (
    FAMILIES,
    FeatureInputs,
    available_features,
    family_table,
    feature_metadata,
    missing_tables,
)
from renewals.pipelines.runtime.console import progress
from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.stages.prepare.windows import WINDOW_TABLES
from renewals.pipelines.storage import current_state
from renewals.pipelines.storage.artifacts import FEATURES, LEDGER, WINDOWS, read_spine, read_tables
from renewals.pipelines.storage.engine import atomic, warehouse

STEP = Step(after="windows", commands=("learn", "score"))

ROW_ORDER = ["as_of", "account_id", "renewal_id"]


def featurize(job: Job, *names: str) -> dict[str, Any]:
    """Compute the columns of the named families, or of all in `families`, and write one table for each.

    Columns of today's state are hidden. Features without any value are left out of training: no model can learn from
    them.
    """
    unknown = sorted(set(names) - set(FAMILIES))
    if unknown:
        raise ConfigError(f"no feature family {unknown[0]!r}; there are: {', '.join(FAMILIES)}")
    con = warehouse.connect_feature_engine(job.settings)
    tables = _load_inputs(con, job)
    hidden = current_state.hidden_columns(tables, job.settings.source)
    tables = current_state.hide_columns(tables, hidden | {"term_states": hidden.get("contracts", ())})
    known = FeatureInputs(tables, job.settings, partial(warehouse.materialize, con))
    chosen = names or job.settings.families
    counts = {}
    with progress(len(chosen), "features") as step:
        for name in chosen:
            counts[name] = _write_family(name, known, job)
            step(name)
    return {"columns": counts}


def _load_inputs(con: Any, job: Job) -> dict[str, Any]:
    computed = read_tables(con, job.folder / WINDOWS, WINDOW_TABLES) | read_tables(
        con, job.folder / LEDGER, ("outcomes", "term_states")
    )
    return {**warehouse.clean_tables(con, job.data), **computed, "observations": read_spine(con, job)}


def _write_family(name: str, inputs: FeatureInputs, job: Job) -> int:
    """Write the columns and metadata of a family, and the tables it lacks; return the number of columns."""
    family = FAMILIES[name]
    features = available_features(family, inputs)
    folder = job.folder / FEATURES
    warehouse.write_parquet(family_table(family, inputs), folder / f"{name}.parquet", order_by=ROW_ORDER)
    if job.as_of is None and features:
        features = _drop_features_without_values(folder / f"{name}.parquet", features)
    metadata = {"missing_tables": missing_tables(family, inputs), "features": feature_metadata(features)}
    atomic.write_bytes(folder / f"{name}.json", json.dumps(metadata, indent=1, ensure_ascii=False).encode())
    return len(features)


def _drop_features_without_values(path: Path, features: list[Feature]) -> list[Feature]:
    """Remove the features that are null in every row from a written table, and return the others."""
    rows = warehouse.read_parquet(warehouse.connect(), path)
    counts = rows.agg(**{feature.name: rows[feature.name].count() for feature in features}).to_pyarrow().to_pylist()[0]
    with_values = [feature for feature in features if counts[feature.name]]
    if len(with_values) < len(features):
        warehouse.write_parquet(rows.select(*RENEWAL_KEY, *(f.name for f in with_values)), path, order_by=ROW_ORDER)
    return with_values


if __name__ == "__main__":
    main(featurize)
