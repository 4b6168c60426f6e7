"""Measure the gain of each group of feature families over usage alone (S2: activity alone cannot predict renewal).

Trains the renewal model with usage alone, then with stakeholders, with tickets, and with all families, on the same
rows and with the same hyperparameter search; tests each on later dates at 90 days' lead. The gain over usage alone is
paired: both models are resampled with the same accounts.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import format_table, later_observations, learn_until, metrics_row, settings

from renewals.examples.company import simulate_company, write_company
from renewals.features.registry import FAMILIES
from renewals.models import metrics
from renewals.models.training import walk_forward
from renewals.models.training.schema import Schema
from renewals.models.training.splits import observations
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import read_catalogue, read_training

OPENSTACK = Path(__file__).parents[2] / "shared" / "data" / "openstack"
USAGE = ("usage", "adoption")
STEPS = {
    "usage alone": USAGE,
    "and stakeholders": (*USAGE, "stakeholders", "contact"),
    "and tickets": (*USAGE, "stakeholders", "contact", "tickets"),
    "and the rest": tuple(FAMILIES),
}
CLOCK = ("days_to_renewal",)
"""Every model has the days to the renewal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lead", type=int, default=90)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="renewals-ablation-"))
    write_company(simulate_company(args.accounts, seed=args.seed), work / "tables")
    company = settings("targets=[renewal]")
    compare_families(f"the example company, {args.accounts} accounts", work / "tables", work, company, date(2025, 3, 1),
            date(2026, 7, 1), args.lead)  # fmt: skip
    if OPENSTACK.is_dir():
        work = Path(tempfile.mkdtemp(prefix="renewals-ablation-openstack-"))
        chosen = settings("grace.after_days=180", "targets=[renewal]")
        compare_families("OpenStack", OPENSTACK, work, chosen, date(2021, 1, 1), date(2026, 8, 14), args.lead)


def compare_families(title: str, tables: Path, work: Path, options: Any, until: date, end: date, lead: int) -> None:
    """Train on one company and print the metrics of each step, with the gain over usage alone."""
    job = learn_until(tables, work, until, options)
    matured = observations(later_observations(job, end), "renewal", end)
    rows = metrics.select_at_lead(matured[metrics.is_undecided(matured)], lead)
    predictions = {name: predict_with_families(job, families, rows) for name, families in STEPS.items()}
    print(f"\n{title}: {len(rows)} later renewals, {rows['label'].mean():.1%} renewed, lead {lead} days")
    print(
        format_table(
            [
                metrics_row(name, rows, probability) | gain(rows, probability, predictions["usage alone"])
                for name, probability in predictions.items()
            ]
        )
    )


def predict_with_families(job: Job, families: tuple[str, ...], rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Train a model on these families alone and return its probabilities of the rows."""
    assert job.until is not None
    catalogue = [f for f in read_catalogue(job.folder) if f["family"] in families or f["name"] in CLOCK]
    observed = observations(read_training(job), "renewal", job.until)
    schema = Schema.from_catalogue(catalogue, observed, "renewal", job.settings.lightgbm.monotone)
    steps = walk_forward.fit_origins(observed, schema, job.settings)
    choice = walk_forward.select_model(observed, steps, pd.Timestamp(job.until), job.settings)
    return walk_forward.fit_model(observed, schema, choice, job.settings).probability(rows)


def gain(rows: pd.DataFrame, probability: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> dict[str, float]:
    """Gain in AUC and log loss over another model on the same rows, with account-clustered intervals."""
    truth = rows["label"].to_numpy()
    resampling = metrics.Resampling()
    drawn = resampling.draw(rows["account_id"])

    def auc(weights: np.ndarray[Any, Any] | None) -> float:
        return metrics.auc(truth, probability, weights) - metrics.auc(truth, reference, weights)

    def loss(weights: np.ndarray[Any, Any] | None) -> float:
        return metrics.log_loss(truth, reference, weights) - metrics.log_loss(truth, probability, weights)

    columns = {}
    for name, metric in (("AUC", auc), ("loss", loss)):
        low, high = resampling.interval(np.array([metric(w) for w in drawn]))
        columns |= {f"{name} gain": metric(None), f"{name} 90 % from": low, f"{name} to": high}
    return columns


if __name__ == "__main__":
    main()
