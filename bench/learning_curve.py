"""Measure the model on the example company in several sizes, next to the oracle, the best possible prediction.

For each size: AUC and log loss of model, oracle and baselines 90 days before the end, on dates after training; the
model's share of the oracle's AUC above one half; and its calibration slope. Share and slope are given as observed and
as expected (each outcome weighted by the oracle's probability of it, which removes the chance of the draw).
`inside` is the share of renewals with a true probability, the oracle's, inside the model's 80 % interval.
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
from later import format_table, later_observations, learn_until, metrics_row, predict_later, read_model_files, settings

from renewals.examples.company import simulate_company, write_company
from renewals.models.metrics import auc, calibration_slope
from renewals.models.training.ensemble import EnsembleModel

CONFIDENCE = 0.8
Metric = Callable[..., float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[500, 2000, 8000, 20_000])
    parser.add_argument("--until", type=date.fromisoformat, default=date(2025, 3, 1))
    parser.add_argument("--end", type=date.fromisoformat, default=date(2026, 7, 1))
    parser.add_argument("--lead", type=int, default=90)
    parser.add_argument("--seed", type=int, nargs="+", default=[7])
    args = parser.parse_args()
    curve = []
    for accounts, seed in itertools.product(args.accounts, args.seed):
        work = Path(tempfile.mkdtemp(prefix=f"renewals-{accounts}-{seed}-"))
        curve.append(measure_size(accounts, seed, work, args))
    print("\nlearning curve")
    print(format_table(curve))
    if len(args.seed) > 1:
        print(f"\nmeans over {len(args.seed)} companies per size")
        means = pd.DataFrame(curve).drop(columns="seed").groupby("accounts", as_index=False).mean()
        print(format_table(means.to_dict("records")))


def measure_size(accounts: int, seed: int, work: Path, args: argparse.Namespace) -> dict[str, object]:
    started = time.perf_counter()
    write_company(simulate_company(accounts, seed=seed), work / "company")
    job = learn_until(work / "company", work, args.until, settings("targets=[renewal]"))
    later_rows = later_observations(job, args.end)
    rows, predictions = predict_later(job, later_rows, args.end, "renewal", args.lead)
    rows, predictions = join_oracle(rows, predictions, work / "company" / "ground_truth" / "oracle.parquet")
    lines = [metrics_row(name, rows, probability) for name, probability in predictions.items()]
    summary = f"{len(rows)} later renewals, {rows['label'].mean():.1%} renewed"
    print(f"\n{accounts} accounts, seed {seed}, until {args.until}: {summary}")
    print(format_table(lines), flush=True)
    auc_gain = {entry[""]: entry["AUC"] - 0.5 for entry in lines}
    expected = {
        name: expected_metric(auc, predictions["oracle"], predictions[name]) - 0.5 for name in ("oracle", "model")
    }
    low, high = EnsembleModel.from_files(read_model_files(work / "models" / "renewal")).interval(
        predictions["model"], CONFIDENCE
    )
    inside = ((low <= predictions["oracle"]) & (predictions["oracle"] <= high)).mean()
    slope = next(entry["slope"] for entry in lines if entry[""] == "model")
    seconds = time.perf_counter() - started
    return {"accounts": accounts, "seed": seed, "oracle": auc_gain["oracle"] + 0.5, "model": auc_gain["model"] + 0.5,
            "share of the oracle's": auc_gain["model"] / auc_gain["oracle"],
            "expected": expected["model"] / expected["oracle"], "slope": slope,
            "expected slope": expected_metric(calibration_slope, predictions["oracle"], predictions["model"]),
            "inside": inside, "logistic regression's": auc_gain["logistic_regression"] / auc_gain["oracle"],
            "seconds": seconds}  # fmt: skip


def expected_metric(metric: Metric, truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:
    """Expected value of a metric if each renewal has its true probability."""
    return metric(np.repeat([1, 0], len(predicted)), np.tile(predicted, 2), np.concatenate([truth, 1 - truth]))


def join_oracle(rows: pd.DataFrame, predictions: dict, truth: Path) -> tuple[pd.DataFrame, dict]:
    """The rows that the oracle covers, and the predictions with the oracle's first."""
    oracle = pd.read_parquet(truth)
    for frame in (rows, oracle):
        for day in ("as_of", "renewal_date"):
            frame[day] = pd.to_datetime(frame[day]).astype("datetime64[us]")
    keys = ["account_id", "as_of", "renewal_date"]
    joined = rows[keys].merge(oracle[[*keys, "oracle_probability"]], on=keys, how="left", validate="one_to_one")
    covered = joined["oracle_probability"].notna().to_numpy()
    predictions = {"oracle": joined["oracle_probability"].to_numpy(), **predictions}
    return rows[covered], {name: probability[covered] for name, probability in predictions.items()}


if __name__ == "__main__":
    main()
