"""Sum the rolled-up person-days into the windows of every observation."""

from __future__ import annotations

from typing import Any

import ibis.expr.types as ir

from renewals.features.families.adoption import first_uses
from renewals.features.family import KEY
from renewals.features.point_in_time import Calendar
from renewals.features.usage_windows import WINDOW_DAYS, account_windows, person_windows
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.artifacts import read_person_days, read_spine
from renewals.pipelines.storage.engine import engine_errors, warehouse

STEP = Step(after="spine", commands=("learn", "score"))

WINDOW_TABLES = {"person_windows": person_windows, "account_windows": account_windows, "first_uses": first_uses}


def windows(job: Job) -> dict[str, Any]:
    """Write the tables of `WINDOW_TABLES` (windows by person, by account, first uses); return row counts by name."""
    con = warehouse.connect_feature_engine(job.settings)
    spine = read_spine(con, job)
    calendar = Calendar(as_of_dates(spine), WINDOW_DAYS)
    return {name: _write_windows(name, spine, calendar, con, job) for name in WINDOW_TABLES}


def _write_windows(name: str, spine: ir.Table, calendar: Calendar, con: Any, job: Job) -> int:
    days = read_person_days(con, job)
    table = WINDOW_TABLES[name](days, calendar).semi_join(spine.select(*KEY), KEY)
    order = [key for key in ("as_of", "account_id", "user_id") if key in table.columns]
    return warehouse.write_in_engine(table, job.folder / artifacts.WINDOWS / f"{name}.parquet", order_by=order)


def as_of_dates(spine: ir.Table) -> list[Any]:
    """Distinct as-of dates of a spine, in ascending order."""
    with engine_errors.translate_engine_errors("spine"):
        return spine.select("as_of").distinct().order_by("as_of").to_pyarrow()["as_of"].to_pylist()


if __name__ == "__main__":
    main(windows)
