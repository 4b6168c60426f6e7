"""Compare the planted effect of an intervention with the estimate of `renewals effect`, company by company.

Each seed is another company. The truth is the mean, over the treated accounts, of the renewal probability at the
decision less the probability without that intervention, everything else unchanged
(`ground_truth/interventions.parquet`, read only by this bench). Then the same on a company that is too small.

    python bench/effect.py --seeds 1 20 --keep effect.csv      # resumes where a stopped run ended
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from later import format_table, settings
from scipy.special import logit

from renewals.examples.company import simulate_company, write_company
from renewals.models.ranking.treatment_effect import EffectEstimate, NoEstimate, is_treated
from renewals.pipelines.commands.effect import STAGES, effect_job
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.effect import estimate_effects

UNTIL = date(2026, 6, 1)
MONTHS = 41
MIN_MATCHED_SHARE = 0.98
TOO_FEW = 300
"""Accounts of a company that is too small for an estimate."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[20], help="number of seeds, or the first and the last seed"
    )
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="a CSV file: seeds already in it are not run again")
    args = parser.parse_args()
    first, last = (1, args.seeds[0]) if len(args.seeds) == 1 else args.seeds
    done = pd.read_csv(args.keep) if args.keep and args.keep.exists() else pd.DataFrame(columns=["seed", "playbook"])
    for seed in range(first, last + 1):
        if not ((done["seed"] == seed) & (done["playbook"] == "*")).any():
            rows = pd.DataFrame(measure_company(args.accounts, seed))
            done = pd.concat([done, rows], ignore_index=True) if len(done) else rows
            if args.keep:
                done.to_csv(args.keep, index=False)
        print(format_table(done[(done["seed"] == seed)].to_dict("records")), flush=True)
    print_summary(done[done["seed"].between(first, last)])
    print(f"\na company of {TOO_FEW} accounts, seed {first}:")
    print("\n".join(line["refused"] or "answered" for line in measure_company(TOO_FEW, first)))


def print_summary(done: pd.DataFrame) -> None:
    """Print, for any intervention and each playbook, how often the planted effect lies inside the interval."""
    print("\nplanted effect inside its 90 % interval, in points")
    answered = done[done["low"].notna()]
    if answered.empty:
        print("no estimate: each was refused")
        return
    answered = answered.astype({"inside": int})
    means = answered.groupby("playbook", sort=False).agg(
        companies=("seed", "nunique"), inside=("inside", "sum"), treated=("treated", "mean"), truth=("truth", "mean"),
        estimate=("points", "mean"), spread=("points", "std"), naive=("unadjusted_difference", "mean"),
    )  # fmt: skip
    print(format_table(means.reset_index().to_dict("records")))


def measure_company(accounts: int, seed: int) -> list[dict[str, Any]]:
    """Truth, estimate, interval and unadjusted difference in points, of any intervention and of each playbook."""
    with tempfile.TemporaryDirectory(prefix="renewals-effect-") as folder:
        work, started = Path(folder), time.process_time()
        write_company(simulate_company(accounts, MONTHS, seed), work / "company")
        job = effect_job(Job(settings(), str(work / "company"), work / "data", work / "lists", as_of=UNTIL))
        for stage in STAGES:
            stage(job)
        rows, estimates = estimate_effects(job)
        truth = join_truth(rows, work / "company" / "ground_truth" / "interventions.parquet")
        lines = [estimate_row(estimate, truth[is_treated(truth, estimate.playbook)]) for estimate in estimates]
    return [{"seed": seed, **row, "seconds": time.process_time() - started} for row in lines]


def join_truth(rows: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The treated rows with the probabilities of their renewal, with and without the intervention.

    The truth covers core contracts. If an account's add-ons, with another end, are worth more than its core contract,
    they are the main renewal, and the row has no truth. Raises `ValueError` if too few rows have one.
    """
    truth = pd.read_parquet(file).rename(columns={"playbook": "planted_playbook"})
    treated = rows.loc[rows["treated"] != "", ["account_id", "renewal_date", "treated", "started_at"]]
    treated = treated.assign(started_on=treated["started_at"].dt.normalize())
    keys = ["account_id", "started_on", "renewal_date"]
    joined = treated.merge(truth, on=keys, how="left", validate="one_to_one")
    matched = joined["probability"].notna()
    if matched.mean() < MIN_MATCHED_SHARE or (joined["treated"] != joined["planted_playbook"])[matched].any():
        raise ValueError(
            f"{(~matched).sum()} of {len(matched)} treated observations have no truth, or one of another playbook"
        )
    return joined


def estimate_row(estimate: EffectEstimate | NoEstimate, truth: pd.DataFrame) -> dict[str, Any]:
    """One printed row."""
    with_it, without = truth["probability"].mean(), truth["probability_without"].mean()
    known = {"playbook": estimate.playbook, "treated": estimate.treated,
             "untold": int(truth["probability"].isna().sum()), "truth": 100 * (with_it - without)}  # fmt: skip
    if isinstance(estimate, NoEstimate):
        return known | {"low": None, "refused": f"{estimate.playbook}: {estimate.reason} {dict(estimate.figures)}"}
    points = {name: 100 * getattr(estimate, name) for name in ("points", "low", "high", "unadjusted_difference")}
    odds = {"log-odds truth": logit(with_it) - logit(without), "log-odds": estimate.log_odds}
    inside = points["low"] <= known["truth"] <= points["high"]
    return known | points | odds | {"inside": inside, "effective": estimate.effective_sample_size, "refused": None}


if __name__ == "__main__":
    main()
