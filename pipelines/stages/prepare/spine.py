"""Build the spine: one row per observation (account_id, renewal_id, as_of), for training or for one act date."""

from __future__ import annotations

from datetime import date
from typing import Any

import ibis.expr.types as ir

from renewals.features import spine as spines
from renewals.pipelines.runtime.errors import ConfigError, DataContractError
from renewals.pipelines.runtime.job import Job, parse_date
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage.artifacts import LEDGER, SPINE, read_tables
from renewals.pipelines.storage.engine import warehouse

STEP = Step(after="ledger", commands=("learn", "score"))


def spine(job: Job) -> dict[str, Any]:
    """Write the spine (training months or act date); return counts and dates.

    Raises DataContractError if there is no observation, ConfigError if there is no training month.
    """
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    dates = [job.as_of] if job.as_of else learning_dates(tables, job)
    term_states = read_tables(con, job.folder / LEDGER, ("term_states",))["term_states"]
    rows = build_observations(tables, term_states, dates, job)
    path = job.folder / SPINE
    count = warehouse.write_parquet(rows, path, order_by=["as_of", "account_id", "renewal_id"])
    if not count:
        raise DataContractError(_no_observations_message(tables["contracts"], job))
    return {"observations": count, "dates": len(dates), "first": str(dates[0]), "last": str(dates[-1])}


def learning_dates(tables: dict[str, ir.Table], job: Job) -> list[date]:
    """Month starts before the job's day that are used for training, at most `spine.max_months`."""
    settings = job.settings.spine
    start = (
        parse_date(f"{settings.first_month}-01", "spine.first_month")
        if settings.first_month
        else _history_start(tables)
    )
    months = [day for day in spines.month_starts(start, job.day) if day < job.day][-settings.max_months :]
    if not months:
        raise ConfigError(
            f"no training data before {job.day}: contracts and usage events start on {start}; use a later --until"
        )
    return months


def _history_start(tables: dict[str, ir.Table]) -> date:
    """The first day with both contracts and usage events; before it, every account would look silent."""
    first_times = tables["contracts"].start_date.min(), tables["usage_events"].occurred_at.min()
    starts = [start for column in first_times if (start := column.to_pyarrow().as_py())]
    return max(starts).date()


def build_observations(tables: dict[str, ir.Table], term_states: ir.Table, dates: list[date], job: Job) -> ir.Table:
    """Build the observations of these dates, as known on each date; one row per (account_id, renewal_id, as_of)."""
    candidates = spines.candidate_observations(term_states, dates)
    terms = spines.terms(term_states, tables.get("rates"), candidates, job.settings)
    rows = spines.observations(terms, candidates, job.settings)
    return spines.add_account_columns(rows, tables["accounts"])


def _no_observations_message(contracts: ir.Table, job: Job) -> str:
    first = contracts.start_date.min().to_pyarrow().as_py()
    last = contracts.end_date.max().to_pyarrow().as_py()
    return (
        f"no account has a running contract with its renewal within {job.settings.renewal.horizon_days} days on "
        f"{job.day}; the contracts run from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    )


if __name__ == "__main__":
    main(spine)
