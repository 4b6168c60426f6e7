"""Compute one table of feature columns per family, with the metadata of the columns."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

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
from renewals.pipelines.storage.artifacts import FEATURES, LEDGER, WINDOWS, read_spine, read_tables
from renewals.pipelines.storage.engine import atomic, warehouse

STEP = Step(after="ledger", commands=("learn", "score"))


def featurize(job: Job, *names: str) -> dict[str, Any]:
    """Compute the columns of the named families, or of all in `families`, and write one table for each."""
    unknown = sorted(set(names) - set(FAMILIES))
    if unknown:
        raise ConfigError(f"no feature family {unknown[0]!r}; there are: {', '.join(FAMILIES)}")
    con = warehouse.connect_feature_engine(job.settings)
    known = FeatureInputs(_load_inputs(con, job), job.settings, partial(warehouse.materialize, con))
    chosen = names or job.settings.families
    counts = {}
    with progress(len(chosen), "features") as step:
        for name in chosen:
            counts[name] = _write_family(name, known, job)
            step(name)
    return {"columns": counts}


def _load_inputs(con: Any, job: Job) -> dict[str, Any]:
    computed = read_tables(con, job.folder / WINDOWS, WINDOW_TABLES) | read_tables(
        con, job.folder / LEDGER, ("outcomes",)
    )
    return {**warehouse.clean_tables(con, job.data), **computed, "spine": read_spine(con, job)}


def _write_family(name: str, inputs: FeatureInputs, job: Job) -> int:
    """Write the columns and metadata of a family, and the tables it lacks; return the number of columns."""
    family = FAMILIES[name]
    features = available_features(family, inputs)
    metadata = {"missing_tables": missing_tables(family, inputs), "features": feature_metadata(features)}
    folder = job.folder / FEATURES
    atomic.write_bytes(folder / f"{name}.json", json.dumps(metadata, indent=1, ensure_ascii=False).encode())
    warehouse.write_parquet(family_table(family, inputs), folder / f"{name}.parquet", order_by=["as_of", "account_id"])
    return len(features)


if __name__ == "__main__":
    main(featurize)
