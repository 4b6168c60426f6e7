"""Compute the same sixteen columns with another tool: `python bench/peers.py NAME FOLDER OUT DATE ...`.

Each tool reads the clean events of FOLDER. For each (account_id, as_of) it computes the people, days and events of
7, 28, 90 and 180 days, the features of 28, 90 and 180, and the days since the last use. It writes them to OUT and
prints one JSON line of its CPU and wall seconds and its peak memory. Imports nothing of this project: Featuretools
needs an older pandas, so it has its own environment.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

WINDOWS = (7, 28, 90, 180)
COLUMNS = ["account_id", "user_id", "feature", "occurred_at", "recorded_at"]
KEY = ["account_id", "as_of"]


def column_names(days: int) -> dict[str, str]:
    """Names of the columns of a window, as in the feature catalogue, by measure."""
    names = {"people": f"active_people_{days}d", "days": f"active_days_{days}d", "events": f"key_actions_{days}d"}
    return names if days == 7 else names | {"features": f"features_used_{days}d"}


def pandas_loop(events: Path, dates: list[datetime]) -> pd.DataFrame:
    """Typical pandas code: for each date filter the known rows, for each window filter again and aggregate."""
    rows = pd.read_parquet(events, columns=COLUMNS)
    rows["day"] = rows.occurred_at.dt.normalize()
    parts_of_dates = []
    for as_of in dates:
        known = rows[(rows.occurred_at < as_of) & (rows.recorded_at < as_of)]
        parts = []
        for days in WINDOWS:
            in_window = known[known.occurred_at >= as_of - timedelta(days=days)].groupby("account_id")
            columns = {"people": ("user_id", "nunique"), "days": ("day", "nunique"), "events": ("day", "size")}
            columns["features"] = ("feature", "nunique")
            parts.append(in_window.agg(**{name: columns[measure] for measure, name in column_names(days).items()}))
        year = known[known.occurred_at >= as_of - timedelta(days=365)]
        last = (as_of - year.groupby("account_id").day.max()).dt.days.rename("days_since_last_use")
        parts_of_dates.append(pd.concat([*parts, last], axis=1).assign(as_of=as_of))
    return pd.concat(parts_of_dates).reset_index()


def pandas_vectorised(events: Path, dates: list[datetime]) -> pd.DataFrame:
    """Roll up once to (account, person, feature, day, day known), then aggregate per date and window."""
    rows = pd.read_parquet(events, columns=COLUMNS)
    rows["day"] = rows.occurred_at.dt.normalize()
    rows["known"] = rows.recorded_at.dt.normalize().clip(lower=rows.day)
    keys = ["account_id", "user_id", "feature", "day", "known"]
    rolled = rows.groupby(keys, observed=True).size().rename("n").reset_index()
    del rows
    parts_of_dates = []
    for as_of in dates:
        known = rolled[(rolled.day < as_of) & (rolled.known < as_of) & (rolled.day >= as_of - timedelta(days=365))]
        age = (as_of - known.day).dt.days
        parts = [age.groupby(known.account_id).min().rename("days_since_last_use")]
        for days in WINDOWS:
            in_window = known[age <= days]
            names = column_names(days)
            for measure, column in (("people", "user_id"), ("days", "day"), ("features", "feature")):
                if measure in names:
                    pairs = in_window[["account_id", column]].drop_duplicates()
                    parts.append(pairs.groupby("account_id").size().rename(names[measure]))
            parts.append(in_window.groupby("account_id").n.sum().rename(names["events"]))
        parts_of_dates.append(pd.concat(parts, axis=1).assign(as_of=as_of))
    return pd.concat(parts_of_dates).reset_index()


def polars_streaming(events: Path, dates: list[datetime]) -> pd.DataFrame:
    """One lazy Polars plan per date, collected by the streaming engine."""
    import polars as pl

    rows = pl.scan_parquet(events).select(COLUMNS).with_columns(day=pl.col("occurred_at").dt.date())
    plans = []
    for as_of in dates:
        columns = []
        for days in WINDOWS:
            in_window = pl.col("occurred_at") >= as_of - timedelta(days=days)
            measures = {
                "people": pl.col("user_id").filter(in_window).n_unique(),
                "days": pl.col("day").filter(in_window).n_unique(),
                "events": in_window.sum(),
                "features": pl.col("feature").filter(in_window).n_unique(),
            }
            columns += [measures[measure].alias(name) for measure, name in column_names(days).items()]
        last = (pl.lit(as_of).cast(pl.Date) - pl.col("day").max()).dt.total_days().alias("days_since_last_use")
        known = rows.filter(
            pl.col("occurred_at") < as_of,
            pl.col("recorded_at") < as_of,
            pl.col("occurred_at") >= as_of - timedelta(days=365),
        )
        plans.append(known.group_by("account_id").agg(*columns, last).with_columns(as_of=pl.lit(as_of)))
    return pl.concat([plan.collect(engine="streaming") for plan in plans]).to_pandas()


def featuretools(events: Path, dates: list[datetime]) -> pd.DataFrame:
    """Deep feature synthesis with cut-off times; it has one time per event, so late events are visible too early."""
    import featuretools as ft

    rows = pd.read_parquet(events, columns=COLUMNS)
    rows["day"] = rows.occurred_at.dt.strftime("%Y-%m-%d")
    entities = ft.EntitySet("company")
    kinds = {"user_id": "Categorical", "feature": "Categorical", "day": "Categorical"}
    entities = entities.add_dataframe(
        dataframe_name="events", dataframe=rows.reset_index(names="id").drop(columns="recorded_at"), index="id",
        time_index="occurred_at", logical_types=kinds,
    )  # fmt: skip
    accounts = pd.DataFrame({"account_id": sorted(rows.account_id.unique())})
    entities = entities.add_dataframe(dataframe_name="accounts", dataframe=accounts, index="account_id")
    entities = entities.add_relationship("accounts", "account_id", "events", "account_id")
    instants = [as_of - timedelta(microseconds=1) for as_of in dates]
    cutoffs = accounts.merge(pd.DataFrame({"time": instants}), how="cross")
    columns = cutoffs.rename(columns={"time": "as_of"}).set_index(KEY)
    for days in WINDOWS:
        matrix, _features = ft.dfs(
            entityset=entities, target_dataframe_name="accounts", cutoff_time=cutoffs, training_window=f"{days} days",
            agg_primitives=["count", "num_unique"], trans_primitives=[], max_depth=1, cutoff_time_in_index=True,
        )  # fmt: skip
        feature_names = {
            "people": "NUM_UNIQUE(events.user_id)",
            "days": "NUM_UNIQUE(events.day)",
            "events": "COUNT(events)",
        }
        feature_names["features"] = "NUM_UNIQUE(events.feature)"
        matrix.index = matrix.index.set_names(KEY)
        for measure, name in column_names(days).items():
            columns[name] = matrix[feature_names[measure]].astype(float)
    result = columns.reset_index()
    result["as_of"] = result.as_of + timedelta(microseconds=1)
    return result


PEERS = {
    "pandas, a loop a date": pandas_loop,
    "pandas, rolled up first": pandas_vectorised,
    "Polars, streaming": polars_streaming,
    "Featuretools, cut-off times": featuretools,
}


def resources_used() -> dict[str, float]:
    """CPU seconds and peak memory in GB of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 2**20}


def main(name: str, folder: str, out: str, *days: str) -> None:
    before, started = resources_used()["cpu"], time.perf_counter()
    dates = [datetime.fromisoformat(day) for day in days]
    result: Any = PEERS[name](Path(folder) / "usage_events.parquet", dates)
    cost = {"wall": time.perf_counter() - started, **resources_used()}
    result.to_parquet(out)
    print(json.dumps(cost | {"cpu": cost["cpu"] - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
