"""What the gate says where there is nothing to learn: outcomes drawn at random over the example company.

The features stay as they are and the outcomes of the renewals are dealt anew among them, at the same rate: all rows of
a renewal get the same dealt outcome, final on the same day. A gate worth its name promotes none of these models. With
`--real` seeds the same company of another seed keeps its own outcomes: there the gate should promote.
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
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=20, help="how often outcomes are drawn at random")
    options.add_argument("--real", type=int, default=3, help="companies that keep their own outcomes")
    options.add_argument("--accounts", type=int, default=1000)
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    asked = options.parse_args()
    chosen = settings("targets=[renewal]", "scorecard.months=1", *asked.overrides)
    numbers = range(asked.first, asked.first + asked.seeds)
    with tempfile.TemporaryDirectory(prefix="renewals-null-") as name:
        work = Path(name)
        drawn = _drawn(work, asked.accounts, chosen, numbers) if numbers else []
        real = [_told(f"own outcomes, seed {seed}", prepared(work / f"real-{seed}", asked.accounts, seed, chosen))
                for seed in range(asked.first, asked.first + asked.real)]  # fmt: skip
    print(
        f"\ndrawn at random: promoted {sum(drawn)} of {len(drawn)}; own outcomes: promoted {sum(real)} of {len(real)}"
    )
    return int(any(drawn))


def _drawn(work: Path, accounts: int, chosen: Any, numbers: range) -> list[bool]:
    """Whether each seed's model was promoted; the training table is built once."""
    job = prepared(work / "company", accounts, 7, chosen)
    return [_told(f"random outcomes, seed {seed}", dealt_anew(job, work / f"drawn-{seed}", seed)) for seed in numbers]


def prepared(work: Path, accounts: int, seed: int, chosen: Any) -> Job:
    """The example company up to its training table."""
    write_company(simulate_company(accounts, MONTHS, seed), work / "tables")
    job = Job(chosen, str(work / "tables"), work, work / "lists", until=UNTIL)
    for stage in find_stages("learn"):
        stage(job)
    return job


def dealt_anew(job: Job, folder: Path, seed: int) -> Job:
    """A job of its own folder whose training table has the outcomes of its renewals dealt at random."""
    training = pd.read_parquet(job.folder / "training.parquet")
    (folder / "learn").mkdir(parents=True)
    shuffled(training, seed).to_parquet(folder / "learn" / "training.parquet")
    for name in ("features.json", "freshness.json"):
        os.symlink(job.folder / name, folder / "learn" / name)
    return replace(job, data=folder)


def shuffled(training: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same rows, the outcomes of final renewals exchanged among them; rows without one stay without."""
    final = training[training[TARGET].notna()]
    number = final.groupby(RENEWAL, sort=True).ngroup()
    outcomes = final.groupby(number)[TARGET].first().to_numpy()
    dealt = np.random.default_rng(seed).permutation(outcomes)[number.to_numpy()]
    told = training[TARGET].copy()
    told.loc[final.index] = dealt
    return training.assign(**{TARGET: told})


def _told(words: str, job: Job) -> bool:
    """Learn, judge, register; print what the gate said; whether it let the model serve."""
    try:
        train(job, TARGET)
        evaluate(job, TARGET)
        said = register(job, TARGET)
    finally:
        shutil.rmtree(job.data, ignore_errors=True)
    print(f"{words}: {'promoted' if said['passed'] else 'refused: ' + '; '.join(said['reasons'])}", flush=True)
    return bool(said["passed"])


if __name__ == "__main__":
    sys.exit(main())
