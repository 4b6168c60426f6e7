"""The example company in several sizes; the model beside the oracle, the most that anyone could know.

For each size: AUC and log loss 90 days before the end, on dates after training, of model, oracle and baselines, and
the share of the oracle's AUC above one half that the model reached and the slope of its calibration: as they came out,
and as they were to be expected of what the model said (each outcome weighed by the oracle's probability of it, which
takes out the luck of the draw).
`inside` is the share of the renewals whose true chance, the oracle's, lies in the model's 80 % interval.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import afterwards, files, learned, line, settings, table, tested

from renewals.examples.company import simulate_company, write_company
from renewals.models.metrics import auc, calibration_slope
from renewals.models.training.ensemble import EnsembleModel

CONFIDENCE = 0.8
Metric = Callable[..., float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, nargs="+", default=[500, 2000, 8000, 20_000])
    options.add_argument("--until", type=date.fromisoformat, default=date(2025, 3, 1))
    options.add_argument("--end", type=date.fromisoformat, default=date(2026, 7, 1))
    options.add_argument("--lead", type=int, default=90)
    options.add_argument("--seed", type=int, nargs="+", default=[7])
    asked = options.parse_args()
    curve = []
    for accounts, seed in itertools.product(asked.accounts, asked.seed):
        work = Path(tempfile.mkdtemp(prefix=f"renewals-{accounts}-{seed}-"))
        curve.append(one_size(accounts, seed, work, asked))
    print("\nthe curve of learning")
    print(table(curve))
    if len(asked.seed) > 1:
        print(f"\nmeans over {len(asked.seed)} companies a size")
        means = pd.DataFrame(curve).drop(columns="seed").groupby("accounts", as_index=False).mean()
        print(table(means.to_dict("records")))


def one_size(accounts: int, seed: int, work: Path, asked: argparse.Namespace) -> dict[str, object]:
    begun = time.perf_counter()
    write_company(simulate_company(accounts, seed=seed), work / "company")
    job = learned(work / "company", work, asked.until, settings("targets=[renewal]"))
    later = afterwards(job, asked.end)
    rows, said = tested(job, later, asked.end, "renewal", asked.lead)
    rows, said = beside_the_oracle(rows, said, work / "company" / "ground_truth" / "oracle.parquet")
    lines = [line(name, rows, chance) for name, chance in said.items()]
    about = f"{len(rows)} later renewals, {rows['label'].mean():.1%} renewed"
    print(f"\n{accounts} accounts, seed {seed}, until {asked.until}: {about}")
    print(table(lines), flush=True)
    seen = {entry[""]: entry["AUC"] - 0.5 for entry in lines}
    expected = {name: expected_of(auc, said["oracle"], said[name]) - 0.5 for name in ("oracle", "model")}
    low, high = EnsembleModel.from_files(files(work / "models" / "renewal")).interval(said["model"], CONFIDENCE)
    inside = ((low <= said["oracle"]) & (said["oracle"] <= high)).mean()
    slope = next(entry["slope"] for entry in lines if entry[""] == "model")
    seconds = time.perf_counter() - begun
    return {"accounts": accounts, "seed": seed, "oracle": seen["oracle"] + 0.5, "model": seen["model"] + 0.5,
            "share of the oracle's": seen["model"] / seen["oracle"],
            "expected": expected["model"] / expected["oracle"], "slope": slope,
            "expected slope": expected_of(calibration_slope, said["oracle"], said["model"]), "inside": inside,
            "logistic regression's": seen["logistic_regression"] / seen["oracle"], "seconds": seconds}  # fmt: skip


def expected_of(metric: Metric, truth: np.ndarray[Any, Any], said: np.ndarray[Any, Any]) -> float:
    """The figure to be expected where each renewal comes with its true probability."""
    return metric(np.repeat([1, 0], len(said)), np.tile(said, 2), np.concatenate([truth, 1 - truth]))


def beside_the_oracle(rows: pd.DataFrame, said: dict, truth: Path) -> tuple[pd.DataFrame, dict]:
    """The rows the oracle speaks of, with its word beside the others'."""
    oracle = pd.read_parquet(truth)
    for frame in (rows, oracle):
        for day in ("as_of", "renewal_date"):
            frame[day] = pd.to_datetime(frame[day]).astype("datetime64[us]")
    keys = ["account_id", "as_of", "renewal_date"]
    known = rows[keys].merge(oracle[[*keys, "oracle_probability"]], on=keys, how="left", validate="one_to_one")
    told = known["oracle_probability"].notna().to_numpy()
    said = {"oracle": known["oracle_probability"].to_numpy(), **said}
    return rows[told], {name: chance[told] for name, chance in said.items()}


if __name__ == "__main__":
    main()
