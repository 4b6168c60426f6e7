"""Models of a simulated company, trained in a second or two, and a registry with three versions of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.learn.evaluate import evaluate
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.stages.learn.train import train
from tests.models.drawn import CATALOGUE, training_table

TARGET = "renewal"
DAY = date(2024, 6, 1)
QUICK = (
    "linear.inverse_penalties=[1.0]",
    "lightgbm.num_rounds=[40]",
    "lightgbm.tree_weights=[0.2]",
    "lightgbm.parallel_fits=1",
    "folds.origins=2",
    "folds.min_renewals=30",
    "folds.min_events=5",
    "gate.bootstrap_samples=50",
    "gate.confidence=0.98",
    "gate.lead_days=60",
    "gate.min_renewals=20",
    "gate.min_events=5",
    "gate.slope_range=[-5.0, 10.0]",
    "gate.max_calibration_error=0.5",
)
STRICT = "gate.min_renewals=100000"
"""A limit that no model of this company can reach."""


def with_training_table(folder: Path, *overrides: str) -> Job:
    """Write a training table and return a job that reads it."""
    (folder / "learn").mkdir(parents=True)
    training_table().to_parquet(folder / "learn" / "training.parquet")
    (folder / "learn" / "features.json").write_text(json.dumps({"features": CATALOGUE, "missing_families": []}))
    (folder / "learn" / "freshness.json").write_text(json.dumps({"notices": []}))
    return Job(read_settings(None, [*QUICK, *overrides]), "", folder, folder / "lists", until=DAY)


def with_settings(job: Job, *overrides: str) -> Job:
    """The same job with other settings."""
    return replace(job, settings=read_settings(None, [*QUICK, *overrides]))


def learned(job: Job, *overrides: str) -> dict[str, Any]:
    """Train, evaluate and register with these settings, and return the result of `register`."""
    changed = with_settings(job, *overrides)
    train(changed, TARGET)
    evaluate(changed, TARGET)
    return register(changed, TARGET)


def three_versions(folder: Path) -> Job:
    """Register three versions: 1 and 2 pass the gate and 2 is the champion; 3 is rejected."""
    job = with_training_table(folder)
    learned(job)
    learned(job, "lightgbm.seed=8")
    learned(job, "lightgbm.seed=9", STRICT)
    return job


def copied(job: Job, folder: Path) -> Job:
    """Copy the registry with its artifacts; the copy reads no file of the original."""
    shutil.copytree(job.data, folder, ignore=shutil.ignore_patterns(".*"))
    return replace(job, data=folder)
