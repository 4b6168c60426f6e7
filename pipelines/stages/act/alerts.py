"""Compute the rule-based alerts for the accounts of the act date and mark the new ones (independent of any model)."""

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
    """Write `alerts.parquet`, one row per (account_id, as_of, code), and its summary; return the summary."""
    con = warehouse.connect_feature_engine(job.settings)
    inputs = rule_inputs(con, job)
    computed = warehouse.materialize(con, "computed_alerts", rules.compute_alerts(inputs))
    flagged = rules.flag_new(computed, _recent_alerts(con, job), job.settings)
    warehouse.write_parquet(flagged, job.folder / ALERTS, order_by=[*reversed(KEY), rules.code_position(flagged.code)])
    rows = read_alerts(job)
    summary = {
        "as_of": job.day.isoformat(),
        **count_by_code(rows),
        "digest": hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest(),
        "unavailable_rules": [
            code for code in rules.ALERT_CODES if code not in {rule.__name__ for rule in rules.available_rules(inputs)}
        ],
    }
    atomic.write_bytes(job.folder / ALERTS_SUMMARY, json.dumps(summary, indent=1).encode())
    return summary


def rule_inputs(con: Any, job: Job) -> FeatureInputs:
    """Inputs of the rules: clean tables, terms, the person windows, and `activity` (usage to compare with the account's
    past)."""
    spine = read_spine(con, job)
    derived = read_tables(con, job.folder / artifacts.WINDOWS, RULE_WINDOWS)
    derived |= read_tables(con, job.folder / artifacts.LEDGER, ("term_states",))
    days = read_person_days(con, job).semi_join(spine, "account_id")
    compared = activity(days, as_of_dates(spine), job.settings).semi_join(spine, KEY)
    materialize = partial(warehouse.materialize, con)
    derived |= {"observations": spine, "activity": materialize("activity", compared)}
    return FeatureInputs({**warehouse.clean_tables(con, job.data), **derived}, job.settings, materialize)


def _recent_alerts(con: Any, job: Job) -> ir.Table:
    """Read the alerts of lists within `alerts.cooldown_days` before the day; one row per (list, account_id, code)."""
    lists = published_lists.recent_alert_paths(job)
    if lists:
        tables = (warehouse.read_parquet(con, path) for path in lists)
        return ibis.union(
            *(old_names.rename_columns(table, old_names.ALERT_COLUMNS) for table in tables), distinct=False
        )
    id_type = read_spine(con, job).account_id.type()
    return ibis.memtable(
        [], schema={"account_id": id_type, "code": "string", "latest_cause_on": "date", "first_reported_on": "date"}
    )


def count_by_code(alert_rows: pd.DataFrame) -> dict[str, Any]:
    """Number of alerts by code, and number of new alerts by code."""
    by_code = alert_rows.groupby("code")["is_new"].agg(["size", "sum"]).reindex(list(rules.ALERT_CODES), fill_value=0)
    return {"by_code": by_code["size"].astype(int).to_dict(), "new": by_code["sum"].astype(int).to_dict()}


if __name__ == "__main__":
    main(alerts)
