"""One table of columns per feature family, and what each column means."""

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
from renewals.pipelines.stages.prepare.windows import WINDOW_TABLES
from renewals.pipelines.storage.artifacts import FEATURES, LEDGER, WINDOWS, read_spine, read_tables
from renewals.pipelines.storage.engine import atomic, warehouse


def featurize(job: Job, *names: str) -> dict[str, Any]:
    """Write the columns of these families, or of all."""
    unknown = sorted(set(names) - set(FAMILIES))
    if unknown:
        raise ConfigError(f"no feature family {unknown[0]!r}; there are: {', '.join(FAMILIES)}")
    con = warehouse.connect_feature_engine(job.settings)
    known = FeatureInputs(_load_inputs(con, job), job.settings, partial(warehouse.materialize, con))
    chosen = names or tuple(FAMILIES)
    counts = {}
    with progress(len(chosen), "features") as step:
        for name in chosen:
            counts[name] = _write_family(name, known, job)
            step(name)
    return {"columns": counts}


def _load_inputs(con: Any, job: Job) -> dict[str, Any]:
    made = read_tables(con, job.folder / WINDOWS, WINDOW_TABLES) | read_tables(con, job.folder / LEDGER, ("outcomes",))
    return {**warehouse.clean_tables(con, job.data), **made, "spine": read_spine(con, job)}


def _write_family(name: str, inputs: FeatureInputs, job: Job) -> int:
    """Write a family's columns and what they mean; without its tables there are rows and no columns, and it says so."""
    family = FAMILIES[name]
    features = available_features(family, inputs)
    told = {"missing_tables": missing_tables(family, inputs), "features": feature_metadata(features)}
    folder = job.folder / FEATURES
    atomic.write_bytes(folder / f"{name}.json", json.dumps(told, indent=1, ensure_ascii=False).encode())
    warehouse.write_parquet(family_table(family, inputs), folder / f"{name}.parquet", order_by=["as_of", "account_id"])
    return len(features)


if __name__ == "__main__":
    main(featurize)
