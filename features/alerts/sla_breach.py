"""Severe ticket past a time limit (T1)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.tickets import ticket, time_limits
from renewals.features.family import KEY
from renewals.features.point_in_time import hours_ago, hours_between
from renewals.features.policy import Policy


def sla_breach(tickets: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Alert on severe tickets that wait past a time limit, or passed one in the last days (T1).

    `value` counts the tickets that still wait. A ticket that is never closed is reported for `expire_days` only.
    """
    rules = policy.alerts
    severe = _add_breach_age(ticket(tickets, spine, policy), policy).filter(_.severity.isin(rules.severities))
    passed = severe.filter(
        (_.passed_ago <= rules.recent_breach_days) | (_.waiting & (_.passed_ago <= rules.expire_days))
    )
    return passed.group_by(*KEY).agg(
        started_ago=_.passed_ago.max(), latest_cause_ago=_.passed_ago.min(), count=_.count(), tier=ibis.null("string"),
        value=_.waiting.sum(), expected=ibis.null("float64"),
    )  # fmt: skip


def _add_breach_age(rows: ir.Table, policy: Policy) -> ir.Table:
    """Add `passed_ago`, days since the first limit passed (null: not passed), and `waiting`, whether work is due."""
    respond, allowed = time_limits(rows, policy)
    now = hours_ago(rows, rows.opened_at)
    closed = hours_between(rows.opened_at, rows.resolved_at)
    answered = ibis.coalesce(hours_between(rows.opened_at, rows.first_response_at), closed)
    answer_late = ibis.coalesce(answered, now) > respond
    close_late = ibis.coalesce(closed, now) > allowed
    unpassed = ibis.null("float64")
    first = ibis.greatest(answer_late.ifelse(now - respond, -1.0), close_late.ifelse(now - allowed, -1.0))
    first = (answer_late | close_late).ifelse(first, unpassed)
    waiting = (answered.isnull() & answer_late) | (rows.open & close_late)
    return rows.mutate(passed_ago=(first / 24.0).ceil().cast("int64"), waiting=waiting)
