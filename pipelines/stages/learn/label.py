"""Write the labels: outcome of every observation, if it is final on the day of the run."""

from __future__ import annotations

from typing import Any

import ibis.expr.types as ir

from renewals.models.target import Outcomes
from renewals.models.targets import load_targets
from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage.artifacts import LABELS, read_outcomes, read_spine
from renewals.pipelines.storage.engine import warehouse

STEP = Step(after="featurize", commands=("learn",))


def label(job: Job, *names: str) -> dict[str, Any]:
    """Write the labels of the named targets (default: all); return the numbers of rows, final and positive labels.

    Raises ConfigError for an unknown target.
    """
    con = warehouse.connect(job.settings.engine)
    spine = read_spine(con, job)
    outcomes = Outcomes(job.day, **read_outcomes(con, job))
    try:
        targets = load_targets(names or job.settings.targets)
    except ValueError as error:
        raise ConfigError(f"targets: {error}") from None
    counts = {}
    for name, target in targets.items():
        path = job.folder / LABELS / f"{name}.parquet"
        warehouse.write_parquet(target.label(spine, outcomes), path, order_by=["as_of", "account_id", "renewal_id"])
        counts[name] = _count_labels(warehouse.read_parquet(con, path))
    return {"labels": counts}


def _count_labels(labels: ir.Table) -> dict[str, int]:
    counted = labels.agg(rows=labels.count(), final=labels.label.count(), positive=labels.label.sum())
    row: dict[str, int] = counted.to_pyarrow().to_pylist()[0]
    return row


if __name__ == "__main__":
    main(label)
