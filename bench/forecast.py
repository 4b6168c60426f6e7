"""Must show 6: the forecast made at quarter starts of the past, and what came of it.

For each seed an example company of six years; at each quarter start after the first that a model stood on, the forecast
of the four quarters ahead by what was known then: probabilities of models that had not seen the outcome, and shock,
kept shares and growth from quarters that were final. Printed: how often the interval held what happened, and bias and
error beside the two naive forecasts, by how many quarters ahead.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import settings, table

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
from renewals.pipelines.stages.act.forecast import SEGMENT_COLUMNS, forecast_inputs, load_inputs, open_ledger
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.stages.sequence import find_stages
from renewals.pipelines.storage.engine import warehouse

QUICK = ("targets=[renewal]", "folds.origins=6", "folds.first_train_share=0.3", "linear.inverse_penalties=[0.01]",
         "lightgbm.num_rounds=[50]", "lightgbm.tree_weights=[0.5]", "engine.threads=1",
         "lightgbm.parallel_fits=1")  # fmt: skip
"""One recipe, six models: a forecast stands on the newest of them, which may be months old."""
BACKTEST = "backtest.parquet"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=600)
    options.add_argument("--months", type=int, default=72)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--quarters", type=int, default=12, help="quarter starts to forecast from, the newest ones")
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--tables", type=Path, help="tables of your own instead of example companies")
    options.add_argument("--until", type=date.fromisoformat, help="with --tables: the day they are known until")
    options.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options.add_argument("--work", type=Path, help="kept, and what was learned there is used again")
    asked = options.parse_args()
    chosen = settings(*QUICK, f"forecast.draws={asked.draws}", *asked.overrides)
    work = asked.work or Path(tempfile.mkdtemp(prefix="renewals-forecast-"))
    if asked.tables:
        judged = backtested(learned(asked.tables, asked.until, work, chosen), asked.quarters)
    else:
        seeds = range(1, asked.seeds + 1)
        judged = pd.concat(one_company(seed, work / f"s{seed}", asked, chosen).assign(seed=seed) for seed in seeds)
    judged.to_parquet(work / "judged.parquet")
    report(judged)


def one_company(seed: int, work: Path, asked: argparse.Namespace, chosen: Settings) -> pd.DataFrame:
    until = (pd.Timestamp(2023, 1, 1) + pd.DateOffset(months=asked.months)).date()
    if not (work / "learn" / "models" / "renewal" / BACKTEST).exists():
        write_company(simulate_company(asked.accounts, asked.months, seed), work / "company")
    judged = backtested(learned(work / "company", until, work, chosen), asked.quarters)
    print(f"seed {seed}: {judged['origin'].nunique()} quarter starts", flush=True)
    return judged


def learned(tables: Path, until: date, work: Path, chosen: Settings) -> Job:
    """A company whose history has been walked through once, each model seeing only what was final on its day."""
    job = Job(chosen, str(tables), work, work / "lists", until=until)
    if not (work / "learn" / "models" / "renewal" / BACKTEST).exists():
        for stage in find_stages("learn"):
            stage(job)
        train(job, "renewal")
    return job


def backtested(job: Job, count: int) -> pd.DataFrame:
    """Forecast and outcome, one row per (origin, quarter, segment, measure) whose quarter is final by now."""
    assert job.until is not None
    said = pd.read_parquet(job.folder / "models" / "renewal" / BACKTEST)
    first = said["as_of"].min().date()
    wait = job.settings.grace.after_days
    starts = [day for day in month_starts(first, job.until) if day.month % 3 == 1]
    closed = [day for day in starts if (job.until - upcoming.quarter_start(day, 2)).days > wait]
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    book = open_ledger(con, tables, job.until, job.until, job)
    judged = []
    for day in closed[-count:]:
        then = load_inputs(con, tables, day, job)
        judged.append(one_origin(then, forecast_inputs(book, tables["accounts"], day, job.until), said, job))
    return pd.concat(judged, ignore_index=True)


def one_origin(known: ForecastInputs, later: ForecastInputs, said: pd.DataFrame, job: Job) -> pd.DataFrame:
    """What would have been forecast on the day, and what came."""
    options = job.settings.forecast
    stood = known.day
    chances = said[said["as_of"] == stood]
    shock = fit_quarter_effect_sd(said, stood, options.quarter_effect_sd)
    told = forecasts.forecast_measures(known, chances, shock, options, SEGMENT_COLUMNS, UNKNOWN_SEGMENT)
    due = build_schedule(known, chances)
    accounts = forecast_accounts(known, due)
    parts = forecasts.segment_membership(accounts, SEGMENT_COLUMNS, UNKNOWN_SEGMENT)
    happened = actual_measures(later, accounts, parts.membership)
    truth = pd.concat(
        [forecasts.to_rows(name, parts.names, came=happened[name]) for name in forecasts.BENCHMARKED_MEASURES]
    )
    keys = ["quarter", "segment_kind", "segment", "measure"]
    judged = told.merge(truth, on=keys, validate="one_to_one").dropna(subset="came")
    return judged.assign(origin=stood, spread=shock.mean, shocks=shock.quarters)


def report(judged: pd.DataFrame) -> None:
    company = judged[judged["segment_kind"] == "company"]
    print(f"\nspread of the shared shock, in log-odds: {company['spread'].mean():.3f} on average")
    print("\ncoverage of the intervals, whole company; one quarter foretold from several days counts each time")
    print(table([covered(rows, name, measure) for name, measure, rows in parts(company)]))
    print("\nbias and error (root mean square), in percentage points or per cent of what was renewed")
    print(table([beside(rows, name, measure) for name, measure, rows in parts(company)]))
    print("\ncoverage by segment, all quarters ahead")
    whole = judged[(judged["quarter"] <= QUARTERS_PER_YEAR) & (judged["segment_kind"] != "company")]
    some = whole.groupby(["segment_kind", "measure"], sort=False)
    print(table([covered(rows, kind, measure) for (kind, measure), rows in some]))


def parts(company: pd.DataFrame) -> Any:
    for measure in forecasts.BENCHMARKED_MEASURES:
        rows = company[company["measure"] == measure]
        for quarter in QUARTERS_AHEAD:
            yield f"{quarter} ahead", measure, rows[rows["quarter"] == quarter]
        yield "all quarters", measure, rows[rows["quarter"] <= QUARTERS_PER_YEAR]
        yield "the year", measure, rows[rows["quarter"] > QUARTERS_PER_YEAR]


def covered(rows: pd.DataFrame, name: str, measure: str) -> dict[str, Any]:
    held = rows["came"].between(rows["low"], rows["high"])
    share, count = held.mean(), len(held)
    return {"measure": measure, "": name, "forecasts": count, "held": share,
            "+-": 1.64 * np.sqrt(share * (1 - share) / max(count, 1)),
            "below": (rows["came"] < rows["low"]).mean(), "above": (rows["came"] > rows["high"]).mean(),
            "width": (rows["high"] - rows["low"]).mean()}  # fmt: skip


def beside(rows: pd.DataFrame, name: str, measure: str) -> dict[str, Any]:
    found: dict[str, Any] = {"measure": measure, "": name}
    for speaker in ("expected", "by_last_year", "by_size"):
        off = rows[speaker] - rows["came"]
        off = off / rows["came"] if measure == "arr_renewed" else off
        found |= (
            {f"{speaker} bias": 100 * off.mean(), "error": 100 * np.sqrt((off**2).mean())}
            if 0
            else {f"{speaker} bias": 100 * off.mean(), f"{speaker} error": 100 * np.sqrt((off**2).mean())}
        )
    return found


if __name__ == "__main__":
    main()
