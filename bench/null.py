"""Test the gate where there is nothing to learn: outcomes drawn at random over the example company.

The features stay, and the outcomes of the renewals are permuted among them, at the same rate: all rows of a renewal
get the same new outcome, final on the same day. A good gate promotes none of these models. With `--real` seeds the
same company with another seed keeps its outcomes: there the gate should promote.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import settings

from renewals.examples.company import simulate_company, write_company
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.evaluate import evaluate
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.stages.sequence import find_stages

TARGET = "renewal"
RENEWAL = ["account_id", "renewal_date"]
MONTHS, UNTIL = 42, date(2026, 6, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds with random outcomes")
    parser.add_argument("--real", type=int, default=3, help="number of companies that keep their real outcomes")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    args = parser.parse_args()
    params = settings("targets=[renewal]", "scorecard.months=1", *args.overrides)
    seeds = range(args.first, args.first + args.seeds)
    with tempfile.TemporaryDirectory(prefix="renewals-null-") as name:
        work = Path(name)
        random = _run_random(work, args.accounts, params, seeds) if seeds else []
        real = [
            _run_gate(
                f"real outcomes, seed {seed}", prepare_company(work / f"real-{seed}", args.accounts, seed, params)
            )
            for seed in range(args.first, args.first + args.real)
        ]
    print(f"\npromoted: random outcomes {sum(random)} of {len(random)}; real outcomes {sum(real)} of {len(real)}")
    return int(any(random))


def _run_random(work: Path, accounts: int, params: Any, seeds: range) -> list[bool]:
    """Test the gate with each seed's random outcomes, on one training table; True for each promoted model."""
    job = prepare_company(work / "company", accounts, 7, params)
    return [
        _run_gate(f"random outcomes, seed {seed}", with_random_outcomes(job, work / f"drawn-{seed}", seed))
        for seed in seeds
    ]


def prepare_company(work: Path, accounts: int, seed: int, params: Any) -> Job:
    """Build the example company up to its training table."""
    write_company(simulate_company(accounts, MONTHS, seed), work / "tables")
    job = Job(params, str(work / "tables"), work, work / "lists", until=UNTIL)
    for stage in find_stages("learn"):
        stage(job)
    return job


def with_random_outcomes(job: Job, folder: Path, seed: int) -> Job:
    """Return a job with its own folder, whose training table has randomly permuted outcomes."""
    training = pd.read_parquet(job.folder / "training.parquet")
    (folder / "learn").mkdir(parents=True)
    permute_outcomes(training, seed).to_parquet(folder / "learn" / "training.parquet")
    for name in ("features.json", "freshness.json"):
        os.symlink(job.folder / name, folder / "learn" / name)
    return replace(job, data=folder)


def permute_outcomes(training: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Permute the outcomes of the final renewals; rows without an outcome keep none."""
    matured = training[training[TARGET].notna()]
    number = matured.groupby(RENEWAL, sort=True).ngroup()
    outcomes = matured.groupby(number)[TARGET].first().to_numpy()
    permuted = np.random.default_rng(seed).permutation(outcomes)[number.to_numpy()]
    outcome = training[TARGET].copy()
    outcome.loc[matured.index] = permuted
    return training.assign(**{TARGET: outcome})


def _run_gate(title: str, job: Job) -> bool:
    """Train, evaluate and register a model; print the gate's decision and return True if it was promoted."""
    try:
        train(job, TARGET)
        evaluate(job, TARGET)
        decision = register(job, TARGET)
    finally:
        shutil.rmtree(job.data, ignore_errors=True)
    print(f"{title}: {'promoted' if decision['passed'] else 'rejected: ' + '; '.join(decision['reasons'])}", flush=True)
    return bool(decision["passed"])


if __name__ == "__main__":
    sys.exit(main())
