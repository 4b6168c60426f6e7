"""Backtest the forecast (must show 6): forecasts at past quarter starts, compared with the actual results.

For each seed an example company of six years. At each quarter start after the first one with a model, the forecast of
the next four quarters is made from what was known then: probabilities of models that had not seen the outcome, and
shock, kept shares and growth from final quarters. The output is the share of intervals that contain the actual
result, and bias and error next to those of the two naive forecasts, by the number of quarters ahead.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import format_table, settings

from renewals.examples.company import simulate_company, write_company
from renewals.features.scorecard import upcoming
from renewals.features.scorecard.totals import UNKNOWN_SEGMENT
from renewals.features.spine import month_starts
from renewals.models.forecast import simulation as forecasts
from renewals.models.forecast.benchmarks import QUARTERS_AHEAD, actual_measures
from renewals.models.forecast.quarter_effect import fit_quarter_effect_sd
from renewals.models.forecast.renewal_schedule import (
    QUARTERS_PER_YEAR,
    ForecastInputs,
    build_schedule,
    forecast_accounts,
)
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.act.forecast import SEGMENT_COLUMNS, forecast_inputs, load_inputs
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.stages.prepare.ledger import open_ledger
from renewals.pipelines.stages.sequence import find_stages
from renewals.pipelines.storage.engine import warehouse

QUICK = ("targets=[renewal]", "folds.origins=6", "folds.first_train_share=0.3", "linear.inverse_penalties=[0.01]",
         "lightgbm.num_rounds=[50]", "lightgbm.tree_weights=[0.5]", "engine.threads=1",
         "lightgbm.parallel_fits=1")  # fmt: skip
"""One set of hyperparameters, six models: a forecast uses the newest model, which may be months old."""
BACKTEST = "backtest.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=600)
    parser.add_argument("--months", type=int, default=72)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--quarters", type=int, default=12, help="number of quarter starts to forecast from, the newest ones"
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tables", type=Path, help="folder of your tables, instead of example companies")
    parser.add_argument("--until", type=date.fromisoformat, help="with --tables: the day until which they are known")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--work", type=Path, help="folder to keep; trained models in it are used again")
    args = parser.parse_args()
    params = settings(*QUICK, f"forecast.draws={args.draws}", *args.overrides)
    work = args.work or Path(tempfile.mkdtemp(prefix="renewals-forecast-"))
    if args.tables:
        backtest = backtest_forecasts(train_company(args.tables, args.until, work, params), args.quarters)
    else:
        seeds = range(1, args.seeds + 1)
        backtest = pd.concat(
            backtest_example(seed, work / f"s{seed}", args, params).assign(seed=seed) for seed in seeds
        )
    backtest.to_parquet(work / "judged.parquet")
    print_report(backtest)


def backtest_example(seed: int, work: Path, args: argparse.Namespace, params: Settings) -> pd.DataFrame:
    until = (pd.Timestamp(2023, 1, 1) + pd.DateOffset(months=args.months)).date()
    if not (work / "learn" / "models" / "renewal" / BACKTEST).exists():
        write_company(simulate_company(args.accounts, args.months, seed), work / "company")
    backtest = backtest_forecasts(train_company(work / "company", until, work, params), args.quarters)
    print(f"seed {seed}: {backtest['origin'].nunique()} quarter starts", flush=True)
    return backtest


def train_company(tables: Path, until: date, work: Path, params: Settings) -> Job:
    """Train on a company by one walk-forward pass, so that each model has seen only outcomes final on its day."""
    job = Job(params, str(tables), work, work / "lists", until=until)
    if not (work / "learn" / "models" / "renewal" / BACKTEST).exists():
        for stage in find_stages("learn"):
            stage(job)
        train(job, "renewal")
    return job


def backtest_forecasts(job: Job, count: int) -> pd.DataFrame:
    """Forecast and actual result; one row per (origin, quarter, segment, measure) whose quarter is final by now."""
    assert job.until is not None
    predictions = pd.read_parquet(job.folder / "models" / "renewal" / BACKTEST)
    first = predictions["as_of"].min().date()
    grace_days = job.settings.grace.after_days
    starts = [day for day in month_starts(first, job.until) if day.month % 3 == 1]
    final_starts = [day for day in starts if (job.until - upcoming.quarter_start(day, 2)).days > grace_days]
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    ledger = open_ledger(tables, job.until, job.settings)
    origins = []
    for day in final_starts[-count:]:
        known = load_inputs(tables, day, job.settings)
        origins.append(
            compare_origin(known, forecast_inputs(ledger, tables["accounts"], day, job.until), predictions, job)
        )
    return pd.concat(origins, ignore_index=True)


def compare_origin(known: ForecastInputs, later: ForecastInputs, predictions: pd.DataFrame, job: Job) -> pd.DataFrame:
    """Forecast of one day, joined with the actual results."""
    options = job.settings.forecast
    origin = known.day
    at_origin = predictions[predictions["as_of"] == origin]
    shock = fit_quarter_effect_sd(predictions, origin, options.quarter_effect_sd)
    forecast = forecasts.forecast_measures(known, at_origin, shock, options, SEGMENT_COLUMNS, UNKNOWN_SEGMENT)
    due = build_schedule(known, at_origin)
    accounts = forecast_accounts(known, due)
    segments = forecasts.segment_membership(accounts, SEGMENT_COLUMNS, UNKNOWN_SEGMENT)
    actuals = actual_measures(later, accounts, segments.membership)
    actual_rows = pd.concat(
        [forecasts.to_rows(name, segments.names, came=actuals[name]) for name in forecasts.BENCHMARKED_MEASURES]
    )
    keys = ["quarter", "segment_kind", "segment", "measure"]
    compared = forecast.merge(actual_rows, on=keys, validate="one_to_one").dropna(subset="came")
    return compared.assign(origin=origin, spread=shock.mean, shocks=shock.quarters)


def print_report(backtest: pd.DataFrame) -> None:
    company = backtest[backtest["segment_kind"] == "company"]
    print(f"\nspread of the shared shock, in log-odds: {company['spread'].mean():.3f} on average")
    print("\ncoverage of the intervals, whole company; a quarter forecast from several days counts each time")
    print(format_table([coverage_row(rows, name, measure) for name, measure, rows in groups_of_quarters(company)]))
    print("\nbias and error (root mean square), in percentage points or per cent of the renewed ARR")
    print(format_table([error_row(rows, name, measure) for name, measure, rows in groups_of_quarters(company)]))
    print("\ncoverage by segment, all quarters ahead")
    by_segment = backtest[(backtest["quarter"] <= QUARTERS_PER_YEAR) & (backtest["segment_kind"] != "company")]
    groups = by_segment.groupby(["segment_kind", "measure"], sort=False)
    print(format_table([coverage_row(rows, kind, measure) for (kind, measure), rows in groups]))


def groups_of_quarters(company: pd.DataFrame) -> Any:
    for measure in forecasts.BENCHMARKED_MEASURES:
        rows = company[company["measure"] == measure]
        for quarter in QUARTERS_AHEAD:
            yield f"{quarter} ahead", measure, rows[rows["quarter"] == quarter]
        yield "all quarters", measure, rows[rows["quarter"] <= QUARTERS_PER_YEAR]
        yield "the year", measure, rows[rows["quarter"] > QUARTERS_PER_YEAR]


def coverage_row(rows: pd.DataFrame, name: str, measure: str) -> dict[str, Any]:
    inside = rows["came"].between(rows["low"], rows["high"])
    share, count = inside.mean(), len(inside)
    return {"measure": measure, "": name, "forecasts": count, "inside": share,
            "+-": 1.64 * np.sqrt(share * (1 - share) / max(count, 1)),
            "below": (rows["came"] < rows["low"]).mean(), "above": (rows["came"] > rows["high"]).mean(),
            "width": (rows["high"] - rows["low"]).mean()}  # fmt: skip


def error_row(rows: pd.DataFrame, name: str, measure: str) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": measure, "": name}
    for forecaster in ("expected", "by_last_year", "by_size"):
        error = rows[forecaster] - rows["came"]
        error = error / rows["came"] if measure == "arr_renewed" else error
        row |= {f"{forecaster} bias": 100 * error.mean(), f"{forecaster} error": 100 * np.sqrt((error**2).mean())}
    return row


if __name__ == "__main__":
    main()
