"""What the rules say of the accounts of the act date, apart from any model, and what of it is new."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from renewals.features import alerts as rules
from renewals.features.family import KEY
from renewals.features.registry import Known
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.stages.prepare.windows import dates_of
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.artifacts import (
    ALERTS,
    ALERTS_SUMMARY,
    read_alerts,
    read_person_days,
    read_spine,
    read_tables,
)
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import published_lists

WINDOWS = ("person_windows", "first_uses")


def alerts(job: Job) -> dict[str, Any]:
    """Write `alerts.parquet`, one row per (account_id, as_of, code), and how many there are of each code."""
    con = warehouse.heavy(job.settings)
    known = known_to_rules(con, job)
    found = warehouse.for_now(con, "found_alerts", rules.alerts(known))
    told = rules.with_news(found, _told(con, job), job.settings)
    warehouse.write_parquet(told, job.side / ALERTS, order_by=[*reversed(KEY), rules.place(told.code)])
    rows = read_alerts(job)
    standing = {
        "as_of": job.day.isoformat(),
        **counts(rows),
        "digest": hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest(),
        "absent": [code for code in rules.CODES if code not in {rule.__name__ for rule in rules.usable(known)}],
    }
    atomic.write_bytes(job.side / ALERTS_SUMMARY, json.dumps(standing, indent=1).encode())
    return standing


def known_to_rules(con: Any, job: Job) -> Known:
    """What the rules may ask for: the tables, the windows of people, and the use to compare with its own past."""
    spine = read_spine(con, job)
    made = read_tables(con, job.side / artifacts.WINDOWS, WINDOWS)
    days = read_person_days(con, job).semi_join(spine, "account_id")
    compared = rules.activity(days, dates_of(spine), job.settings).semi_join(spine, KEY)
    settle = partial(warehouse.for_now, con)
    made |= {"spine": spine, "activity": settle("activity", compared)}
    return Known({**warehouse.clean_tables(con, job.data), **made}, job.settings, settle)


def _told(con: Any, job: Job) -> ir.Table:
    """What the lists of the quiet days before told: one row per (list, account_id, code)."""
    lists = published_lists.told_lately(job)
    if lists:
        return ibis.union(*(warehouse.read(con, path) for path in lists), distinct=False)
    kind = read_spine(con, job).account_id.type()
    return ibis.memtable([], schema={"account_id": kind, "code": "string", "newest": "date", "told_on": "date"})


def counts(told: pd.DataFrame) -> dict[str, Any]:
    """How many alerts there are of each code, and how many of them are new."""
    by_code = told.groupby("code")["is_new"].agg(["size", "sum"]).reindex(list(rules.CODES), fill_value=0)
    return {"by_code": by_code["size"].astype(int).to_dict(), "new": by_code["sum"].astype(int).to_dict()}


if __name__ == "__main__":
    main(alerts)
