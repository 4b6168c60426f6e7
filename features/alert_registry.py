"""All alerts: rules that are independent of every model, each with its evidence (U4, S3, J2, T1, T3).

`compute_alerts` runs the rules of `features/alerts/`; `flag_new` marks the alerts that no earlier list has reported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features import alerts
from renewals.features.alert import ALERT_COLUMNS, EVIDENCE_TYPES
from renewals.features.discovery import module_names
from renewals.features.family import KEY
from renewals.features.point_in_time import date_of, day_of
from renewals.features.policy import Policy
from renewals.features.registry import FeatureInputs

ALERT_CODES = module_names(alerts.__path__, alerts.ORDER)
"""The codes in their order on the list."""
ALERT_RULES: tuple[Callable[..., ir.Table], ...] = tuple(
    getattr(import_module(f"renewals.features.alerts.{code}"), code) for code in ALERT_CODES
)


def available_rules(inputs: FeatureInputs) -> list[Callable[..., ir.Table]]:
    """Rules whose required tables are available."""
    return [
        rule
        for rule in ALERT_RULES
        if not any(inputs.is_missing(name) for name in _input_names(rule, required_only=True))
    ]


def _input_names(rule: Callable[..., ir.Table], *, required_only: bool) -> list[str]:
    parameters = inspect.signature(rule).parameters.values()
    return [p.name for p in parameters if p.default is inspect.Parameter.empty or not required_only]


def compute_alerts(inputs: FeatureInputs) -> ir.Table:
    """Run all available rules: one row per (account_id, as_of, code) with the evidence and the days of its causes."""
    parts = [_run_rule(rule, inputs) for rule in available_rules(inputs)]
    days = inputs["spine"].select(*KEY, "day")
    rows = ibis.union(*parts).join(days, KEY)
    dates = {f"{name}_on": date_of(rows["day"] - rows[f"{name}_ago"]) for name in ("started", "latest_cause")}
    return rows.mutate(**dates).select(*KEY, "day", *ALERT_COLUMNS)


def _run_rule(rule: Callable[..., ir.Table], inputs: FeatureInputs) -> ir.Table:
    available = [name for name in _input_names(rule, required_only=False) if not inputs.is_missing(name)]
    rows = rule(**{name: inputs[name] for name in available})
    evidence = {name: rows[name].cast(kind) for name, kind in EVIDENCE_TYPES.items()}
    return rows.select(*KEY, code=ibis.literal(rule.__name__), **evidence)


def code_position(code: ir.StringValue) -> ir.IntegerValue:
    """Position of an alert code in `ALERT_CODES`."""
    return ibis.cases(*((code == name, place) for place, name in enumerate(ALERT_CODES)))


def flag_new(current: ir.Table, published: ir.Table, policy: Policy) -> ir.Table:
    """Add `is_new` and `first_reported_on`, the day an alert was last new: one row per (account_id, as_of, code).

    `published` holds the alerts of earlier lists. A cause that was reported is not new again within `cooldown_days`,
    even if the alert disappeared and came back; a newer cause, such as another departure, is new.
    """
    reported = published.group_by("account_id", "code").agg(
        newest_before=_.latest_cause_on.max(), reported_before=_.first_reported_on.max()
    )
    rows = current.left_join(reported, ["account_id", "code"], rname="{name}_reported")
    rows = rows.mutate(reported_ago=_["day"] - day_of(_.reported_before))
    same_cause = rows.latest_cause_on.isnull() | (rows.latest_cause_on <= rows.newest_before).fill_null(False)
    repeated = same_cause & (rows.reported_ago < policy.alerts.cooldown_days).fill_null(False)
    return rows.select(
        *KEY, *ALERT_COLUMNS, is_new=~repeated, first_reported_on=repeated.ifelse(rows.reported_before, rows.as_of)
    )
