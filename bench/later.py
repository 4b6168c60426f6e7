"""Test a model on dates after its training day: train on the past, predict later renewals, compare with the outcomes.

`learn_until` trains on `until` as `renewals learn` does. `later_observations` builds the observations from `until`
on with the same stages, each as known on its own date; its day is `end`, when the outcomes are final.
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

# Python searches the script's folder first and would import `bench/features.py` as the package: move it to the end.
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


def learn_until(tables: Path, work: Path, until: date, options: Settings) -> Job:
    """Train until a day and return the job; a rejection by the gate is printed, and the model is tested anyway."""
    job = Job(options, str(tables), work, work / "lists", until=until)
    try:
        learn(job)
    except GateRejectedError as rejection:
        print(f"gate: {rejection}")
    return job


def later_observations(job: Job, end: date) -> pd.DataFrame:
    """Observations from the training day on with a final outcome at `end`, with label and features.

    One row per (account_id, as_of).
    """
    assert job.until is not None
    work = job.data / "later"
    work.mkdir(exist_ok=True)
    for shared in ("clean", "rollup"):
        if not (work / shared).exists():
            os.symlink((job.data / shared).resolve(), work / shared)
    first = job.settings.spine.model_copy(update={"first_month": f"{job.until:%Y-%m}"})
    options = job.settings.model_copy(update={"spine": first})
    later = replace(job, settings=options, data=work, until=end)
    for stage in (ledger, spine, windows, featurize, label, assemble):
        stage(later)
    rows = pd.read_parquet(work / "learn" / "training.parquet")
    return rows[pd.to_datetime(rows["as_of"]) >= pd.Timestamp(job.until)]


def predict_later(
    job: Job, later: pd.DataFrame, end: date, target: str, lead: int | None
) -> tuple[pd.DataFrame, dict[str, np.ndarray[Any, Any]]]:
    """Predict the later observations of a target by the model and by each baseline.

    Returns the rows (with a lead: one per renewal, at that lead) and the probabilities of each model by its name.
    """
    assert job.until is not None
    past = pd.read_parquet(job.data / "learn" / "training.parquet")
    train = observations(past, target, job.until)
    matured = observations(later, target, end)
    unsigned = matured[metrics.is_undecided(matured)]
    rows = metrics.select_at_lead(unsigned, lead) if lead else unsigned
    model = EnsembleModel.from_files(read_model_files(job.data / "models" / target))
    numbers = [name for name in model.schema.names if name not in model.schema.categories]
    predictions = {"model": model.probability(rows)}
    for name, baseline in baselines.BASELINES.items():
        probability = baseline(train, rows, numbers)
        if probability is not None:
            predictions[name] = probability
    return rows, predictions


def read_model_files(folder: Path) -> dict[str, bytes]:
    """Content of each file of a model, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def metrics_row(name: str, rows: pd.DataFrame, probability: np.ndarray[Any, Any]) -> dict[str, Any]:
    """One row of the printed table: AUC with its account-clustered interval, log loss, calibration."""
    truth = rows["label"].to_numpy()
    low, high = metrics.auc_interval(truth, probability, rows["account_id"], metrics.Resampling())
    return {
        "": name,
        "AUC": metrics.auc(truth, probability),
        "90 % from": low,
        "to": high,
        "log loss": metrics.log_loss(truth, probability),
        "slope": metrics.calibration_slope(truth, probability) if len(np.unique(probability)) > 1 else np.nan,
        "error": metrics.calibration_error(truth, probability),
    }


def format_table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a text table."""
    return pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.3f}", na_rep="")
