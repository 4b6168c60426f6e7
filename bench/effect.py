"""Did it help? The planted effect of an intervention beside what `renewals effect` finds, company by company.

Each seed is a company of its own. The truth is the mean, over the very accounts that were treated, of the probability
with which their renewal was decided less the one it would have had without that intervention and all else the same
(`ground_truth/interventions.parquet`, read by nothing but this bench). Then the same question on a company too small
for it.

    python bench/effect.py --seeds 1 20 --keep effect.csv      # resumes where a killed run stopped
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from later import settings, table
from scipy.special import logit

from renewals.examples.company import simulate_company, write_company
from renewals.models.ranking.treatment_effect import EffectEstimate, NoEstimate, is_treated
from renewals.pipelines.commands.effect import STAGES, effect_job
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.effect import estimate_effects

UNTIL = date(2026, 6, 1)
MONTHS = 41
LEAST_TOLD = 0.98
TOO_FEW = 300
"""Accounts of a company that is too small."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[20], help="how many, or the first and the last")
    options.add_argument("--accounts", type=int, default=2000)
    options.add_argument("--keep", type=Path, help="a CSV file: seeds already in it are not run again")
    asked = options.parse_args()
    first, last = (1, asked.seeds[0]) if len(asked.seeds) == 1 else asked.seeds
    done = pd.read_csv(asked.keep) if asked.keep and asked.keep.exists() else pd.DataFrame(columns=["seed", "playbook"])
    for seed in range(first, last + 1):
        if not ((done["seed"] == seed) & (done["playbook"] == "*")).any():
            found = pd.DataFrame(one_company(asked.accounts, seed))
            done = pd.concat([done, found], ignore_index=True) if len(done) else found
            if asked.keep:
                done.to_csv(asked.keep, index=False)
        print(table(done[(done["seed"] == seed)].to_dict("records")), flush=True)
    summary(done[done["seed"].between(first, last)])
    print(f"\na company of {TOO_FEW} accounts, seed {first}:")
    print("\n".join(line["refused"] or "answered" for line in one_company(TOO_FEW, first)))


def summary(done: pd.DataFrame) -> None:
    """Any intervention: how often the planted effect lay inside the interval; then each playbook."""
    print("\nplanted effect inside its 90 % interval, in points")
    answered = done[done["low"].notna()].astype({"inside": int})
    means = answered.groupby("playbook", sort=False).agg(
        companies=("seed", "nunique"), inside=("inside", "sum"), treated=("treated", "mean"), truth=("truth", "mean"),
        estimate=("points", "mean"), spread=("points", "std"), naive=("unadjusted_difference", "mean"),
    )  # fmt: skip
    print(table(means.reset_index().to_dict("records")))


def one_company(accounts: int, seed: int) -> list[dict[str, Any]]:
    """Truth, estimate, interval and naive difference in points, of any intervention and of each playbook."""
    with tempfile.TemporaryDirectory(prefix="renewals-effect-") as folder:
        work, begun = Path(folder), time.process_time()
        write_company(simulate_company(accounts, MONTHS, seed), work / "company")
        job = effect_job(Job(settings(), str(work / "company"), work / "data", work / "lists", as_of=UNTIL))
        for stage in STAGES:
            stage(job)
        rows, told = estimate_effects(job)
        truth = planted(rows, work / "company" / "ground_truth" / "interventions.parquet")
        lines = [line(one, truth[is_treated(truth, one.playbook)]) for one in told]
    return [{"seed": seed, **one, "seconds": time.process_time() - begun} for one in lines]


def planted(rows: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The treated rows with the probabilities of their renewal, with and without the intervention.

    The truth is told of core contracts; where an account's add-ons, of an end of their own, outweigh its core contract
    the main renewal is theirs, and the row has none.
    """
    truth = pd.read_parquet(file).rename(columns={"playbook": "planted_playbook"})
    treated = rows.loc[rows["treated"] != "", ["account_id", "renewal_date", "treated", "started_at"]]
    treated = treated.assign(started_on=treated["started_at"].dt.normalize())
    keys = ["account_id", "started_on", "renewal_date"]
    found = treated.merge(truth, on=keys, how="left", validate="one_to_one")
    told = found["probability"].notna()
    if told.mean() < LEAST_TOLD or (found["treated"] != found["planted_playbook"])[told].any():
        raise ValueError(f"the truth of {(~told).sum()} of {len(told)} treated observations is not known, or another's")
    return found


def line(told: EffectEstimate | NoEstimate, truth: pd.DataFrame) -> dict[str, Any]:
    """One printed row."""
    with_it, without = truth["probability"].mean(), truth["probability_without"].mean()
    known = {"playbook": told.playbook, "treated": told.treated, "untold": int(truth["probability"].isna().sum()),
             "truth": 100 * (with_it - without)}  # fmt: skip
    if isinstance(told, NoEstimate):
        return known | {"low": None, "refused": f"{told.playbook}: {told.reason} {dict(told.figures)}"}
    points = {name: 100 * getattr(told, name) for name in ("points", "low", "high", "unadjusted_difference")}
    odds = {"log-odds truth": logit(with_it) - logit(without), "log-odds": told.log_odds}
    inside = points["low"] <= known["truth"] <= points["high"]
    return known | points | odds | {"inside": inside, "effective": told.effective_sample_size, "refused": None}


if __name__ == "__main__":
    main()
