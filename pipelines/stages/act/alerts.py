"""What the rules say of the accounts of the act date, apart from any model, and what of it is new."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from renewals.features import alert_registry as rules
from renewals.features.alerts.usage_drop import activity
from renewals.features.family import KEY
from renewals.features.registry import FeatureInputs
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.stages.prepare.windows import as_of_dates
from renewals.pipelines.storage import artifacts, old_names
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

STEP = Step(after="featurize", commands=("score",))

RULE_WINDOWS = ("person_windows", "first_uses")


def alerts(job: Job) -> dict[str, Any]:
    """Write `alerts.parquet`, one row per (account_id, as_of, code), and how many there are of each code."""
    con = warehouse.connect_feature_engine(job.settings)
    known = rule_inputs(con, job)
    found = warehouse.materialize(con, "found_alerts", rules.compute_alerts(known))
    told = rules.flag_new(found, _recent_alerts(con, job), job.settings)
    warehouse.write_parquet(told, job.folder / ALERTS, order_by=[*reversed(KEY), rules.code_position(told.code)])
    rows = read_alerts(job)
    standing = {
        "as_of": job.day.isoformat(),
        **count_by_code(rows),
        "digest": hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest(),
        "unavailable_rules": [
            code for code in rules.ALERT_CODES if code not in {rule.__name__ for rule in rules.available_rules(known)}
        ],
    }
    atomic.write_bytes(job.folder / ALERTS_SUMMARY, json.dumps(standing, indent=1).encode())
    return standing


def rule_inputs(con: Any, job: Job) -> FeatureInputs:
    """What the rules may ask for: the tables, the windows of people, and the use to compare with its own past."""
    spine = read_spine(con, job)
    made = read_tables(con, job.folder / artifacts.WINDOWS, RULE_WINDOWS)
    days = read_person_days(con, job).semi_join(spine, "account_id")
    compared = activity(days, as_of_dates(spine), job.settings).semi_join(spine, KEY)
    settle = partial(warehouse.materialize, con)
    made |= {"spine": spine, "activity": settle("activity", compared)}
    return FeatureInputs({**warehouse.clean_tables(con, job.data), **made}, job.settings, settle)


def _recent_alerts(con: Any, job: Job) -> ir.Table:
    """What the lists of the quiet days before told: one row per (list, account_id, code)."""
    lists = published_lists.recent_alert_paths(job)
    if lists:
        tables = (warehouse.read_parquet(con, path) for path in lists)
        return ibis.union(*(old_names.rename_columns(t, old_names.ALERT_COLUMNS) for t in tables), distinct=False)
    kind = read_spine(con, job).account_id.type()
    return ibis.memtable(
        [], schema={"account_id": kind, "code": "string", "latest_cause_on": "date", "first_reported_on": "date"}
    )


def count_by_code(alert_rows: pd.DataFrame) -> dict[str, Any]:
    """How many alerts there are of each code, and how many of them are new."""
    by_code = alert_rows.groupby("code")["is_new"].agg(["size", "sum"]).reindex(list(rules.ALERT_CODES), fill_value=0)
    return {"by_code": by_code["size"].astype(int).to_dict(), "new": by_code["sum"].astype(int).to_dict()}


if __name__ == "__main__":
    main(alerts)
