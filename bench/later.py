"""A fair test of a model on dates after its training day: what was said then, and what became of it.

`learned` stands on `until` and learns as `renewals learn` does. `afterwards` stands on `end`, when the outcomes are
final, and builds the observations from `until` on by the same stages, each as it was known on its own date.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Python looks beside the script first, where `features.py` would be taken for the package. Imported before the others.
sys.path.append(sys.path.pop(0))

from renewals.models import metrics
from renewals.models.evaluation import baselines
from renewals.models.training.ensemble import EnsembleModel
from renewals.models.training.splits import observations
from renewals.pipelines.commands.learn import learn
from renewals.pipelines.runtime.errors import GateRejectedError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.stages.learn.label import label
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows


def settings(*overrides: str) -> Settings:
    """The shipped parameters with overrides."""
    return read_settings(Path(__file__).parents[1] / "params.yaml", overrides)


def learned(tables: Path, work: Path, until: date, options: Settings) -> Job:
    """Learn until a day; a refusal by the gate is said, and the model is tested all the same."""
    job = Job(options, str(tables), work, work / "lists", until=until)
    try:
        learn(job)
    except GateRejectedError as refusal:
        print(f"gate: {refusal}")
    return job


def afterwards(job: Job, end: date) -> pd.DataFrame:
    """The observations from the training day on, whose outcome was final at `end`, with label and features."""
    assert job.until is not None
    work = job.data / "later"
    work.mkdir(exist_ok=True)
    for shared in ("clean", "rollup"):
        if not (work / shared).exists():
            os.symlink((job.data / shared).resolve(), work / shared)
    first = job.settings.spine.model_copy(update={"first_month": f"{job.until:%Y-%m}"})
    options = job.settings.model_copy(update={"spine": first})
    later = replace(job, settings=options, data=work, until=end)
    for stage in (spine, windows, ledger, featurize, label, assemble):
        stage(later)
    rows = pd.read_parquet(work / "learn" / "training.parquet")
    return rows[pd.to_datetime(rows["as_of"]) >= pd.Timestamp(job.until)]


def tested(
    job: Job, later: pd.DataFrame, end: date, target: str, lead: int | None
) -> tuple[pd.DataFrame, dict[str, np.ndarray[Any, Any]]]:
    """The observations `later` of a target, one a renewal at the lead, and what model and baselines say of each."""
    assert job.until is not None
    past = pd.read_parquet(job.data / "learn" / "training.parquet")
    train = observations(past, target, job.until)
    final = observations(later, target, end)
    open_then = final[~final["renewal_signed"].astype(bool)]
    rows = metrics.select_at_lead(open_then, lead) if lead else open_then
    model = EnsembleModel.from_files(files(job.data / "models" / target))
    numbers = [name for name in model.schema.names if name not in model.schema.categories]
    said = {"model": model.probability(rows)}
    for name, baseline in baselines.BASELINES.items():
        told = baseline(train, rows, numbers)
        if told is not None:
            said[name] = told
    return rows, said


def files(folder: Path) -> dict[str, bytes]:
    """A model's files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def line(name: str, rows: pd.DataFrame, chance: np.ndarray[Any, Any]) -> dict[str, Any]:
    """One row of the printed table: AUC with its account-clustered interval, log loss, calibration."""
    truth = rows["label"].to_numpy()
    low, high = metrics.auc_interval(truth, chance, rows["account_id"], metrics.Resampling())
    return {
        "": name,
        "AUC": metrics.auc(truth, chance),
        "90 % from": low,
        "to": high,
        "log loss": metrics.log_loss(truth, chance),
        "slope": metrics.calibration_slope(truth, chance) if len(np.unique(chance)) > 1 else np.nan,
        "error": metrics.calibration_error(truth, chance),
    }


def table(lines: list[dict[str, Any]]) -> str:
    """The printed table."""
    return pd.DataFrame(lines).to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep="")
