"""What each family of features adds to usage alone (domain S2: activity alone cannot predict renewal).

Learns the renewal model from usage alone, then with stakeholders, with tickets, and with everything else, on the same
rows, by the same recipe search; judges each on later dates at 90 days' lead. The gain over usage alone is paired:
the same accounts are drawn with replacement for both.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import afterwards, learned, line, settings, table

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
"""Every model knows how far away the renewal is."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=4000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--lead", type=int, default=90)
    asked = options.parse_args()
    work = Path(tempfile.mkdtemp(prefix="renewals-ablation-"))
    write_company(simulate_company(asked.accounts, seed=asked.seed), work / "tables")
    company = settings("targets=[renewal]")
    ablated(f"the example company, {asked.accounts} accounts", work / "tables", work, company, date(2025, 3, 1),
            date(2026, 7, 1), asked.lead)  # fmt: skip
    if OPENSTACK.is_dir():
        work = Path(tempfile.mkdtemp(prefix="renewals-ablation-openstack-"))
        chosen = settings("grace.after_days=180", "targets=[renewal]")
        ablated("OpenStack", OPENSTACK, work, chosen, date(2021, 1, 1), date(2026, 8, 14), asked.lead)


def ablated(words: str, tables: Path, work: Path, chosen: Any, until: date, end: date, lead: int) -> None:
    job = learned(tables, work, until, chosen)
    final = observations(afterwards(job, end), "renewal", end)
    rows = metrics.select_at_lead(final[~final["renewal_signed"].astype(bool)], lead)
    said = {name: spoken(job, families, rows) for name, families in STEPS.items()}
    print(f"\n{words}: {len(rows)} later renewals, {rows['label'].mean():.1%} renewed, lead {lead} days")
    print(table([line(name, rows, chance) | gain(rows, chance, said["usage alone"]) for name, chance in said.items()]))


def spoken(job: Job, families: tuple[str, ...], rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """What a model of these families alone says of the rows."""
    assert job.until is not None
    catalogue = [f for f in read_catalogue(job.folder) if f["family"] in families or f["name"] in CLOCK]
    observed = observations(read_training(job), "renewal", job.until)
    schema = Schema.from_catalogue(catalogue, observed, "renewal", job.settings.lightgbm.monotone)
    steps = walk_forward.fit_origins(observed, schema, job.settings)
    choice = walk_forward.select_model(observed, steps, pd.Timestamp(job.until), job.settings)
    return walk_forward.fit_model(observed, schema, choice, job.settings).probability(rows)


def gain(rows: pd.DataFrame, chance: np.ndarray[Any, Any], before: np.ndarray[Any, Any]) -> dict[str, float]:
    """AUC and log loss gained over another model on the same rows, with the interval of accounts drawn together."""
    truth = rows["label"].to_numpy()
    resampling = metrics.Resampling()
    drawn = resampling.draw(rows["account_id"])

    def auc(weights: np.ndarray[Any, Any] | None) -> float:
        return metrics.auc(truth, chance, weights) - metrics.auc(truth, before, weights)

    def loss(weights: np.ndarray[Any, Any] | None) -> float:
        return metrics.log_loss(truth, before, weights) - metrics.log_loss(truth, chance, weights)

    said = {}
    for name, gained in (("AUC", auc), ("loss", loss)):
        low, high = resampling.interval(np.array([gained(w) for w in drawn]))
        said |= {f"{name} gained": gained(None), f"{name} 90 % from": low, f"{name} to": high}
    return said


if __name__ == "__main__":
    main()
