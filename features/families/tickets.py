"""Support tickets: number and kind, response times, time limits and backlog (T1, T2)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from renewals.features.family import Family, quantize
from renewals.features.point_in_time import as_of_rows, days_ago, hours_ago, hours_between
from renewals.features.policy import SEVERITIES, TICKET_KINDS, Policy

tickets = Family("tickets", en="Support", zh="服务工单", theme="support", needs=("tickets",))


@tickets.source
def ticket(tickets: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Tickets known then, with response times and lateness: one row per (account_id, as_of, ticket).

    Adds `open`, the hours to first response and to resolution, `resolved_ago` in days, and `late`, 1 if a time limit
    has passed.
    """
    known = as_of_rows("tickets", tickets, spine)
    reopened = known.reopened_at.notnull() & (known.reopened_at > known.resolved_at).fill_null(True)
    return known.mutate(
        open=known.resolved_at.isnull() | reopened,
        first_response_hours=quantize(hours_between(known.opened_at, known.first_response_at)),
        resolution_hours=quantize(hours_between(known.opened_at, known.resolved_at)),
        resolved_ago=days_ago(known, known.resolved_at),
        late=_is_late(known, policy).ifelse(1, 0),
    )


def _is_late(rows: ir.Table, policy: Policy) -> ir.BooleanValue:
    """True if a time limit has passed: the ticket's own, or that of its severity (T1).

    Without a response or resolution the time up to now counts.
    """
    respond, resolve = time_limits(rows, policy)
    now = hours_ago(rows, rows.opened_at)
    answered = ibis.coalesce(
        hours_between(rows.opened_at, rows.first_response_at), hours_between(rows.opened_at, rows.resolved_at), now
    )
    solved = ibis.coalesce(hours_between(rows.opened_at, rows.resolved_at), now)
    return (answered > respond) | (solved > resolve)


def time_limits(rows: ir.Table, policy: Policy) -> tuple[ir.FloatingValue, ir.FloatingValue]:
    """Hours allowed for the first response and for the resolution: the ticket's own promise, or by severity (T1)."""
    limits = policy.tickets.limits
    respond = ibis.cases(
        *((rows.severity == s, float(limit.first_response_hours)) for s, limit in limits.items()), else_=1e9
    )
    resolve = ibis.cases(
        *((rows.severity == s, float(limit.resolution_hours)) for s, limit in limits.items()), else_=1e9
    )
    return respond, ibis.coalesce(hours_between(rows.opened_at, rows.due_at), resolve)


@tickets.feature(
    kind=TICKET_KINDS, severity=SEVERITIES, days=(90, 180), unit="tickets", risk="high", actionable=True, empty=0,
    en="{kind} of {severity} severity opened in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天提交 {value:.0f} 个{severity}级{kind}（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def tickets_opened(ticket: ir.Table, kind: str, severity: str, days: int) -> ir.Value:
    """Number of tickets of a kind and severity opened in the window (T1)."""
    return ((ticket.kind == kind) & (ticket.severity == severity) & (ticket.days_ago <= days)).sum()


@tickets.feature(
    days=(7, 28, 90, 180), unit="tickets", risk="high", actionable=True, empty=0,
    en="tickets opened in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天提交 {value:.0f} 个工单（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def tickets_total(ticket: ir.Table, days: int) -> ir.Value:
    """Number of tickets opened in the window (T2)."""
    return (ticket.days_ago <= days).sum()


@tickets.feature(
    days=(90, 180, 365), unit="hours", risk="high", actionable=True,
    en="tickets of the last {days} days were first answered after {value:.0f} hours on average (peers: {peer:.0f})",
    zh="近 {days} 天工单首次响应平均 {value:.0f} 小时（同类客户：{peer:.0f} 小时）",
)  # fmt: skip
def first_response_hours(ticket: ir.Table, days: int) -> ir.Value:
    """Mean hours to the first response of tickets opened in the window and answered by now (T2)."""
    return ticket.first_response_hours.mean(where=ticket.days_ago <= days)


@tickets.feature(
    days=(90, 180, 365), unit="hours", risk="high", actionable=True,
    en="tickets closed in the last {days} days took {value:.0f} hours on average (peers: {peer:.0f})",
    zh="近 {days} 天关闭的工单平均用时 {value:.0f} 小时（同类客户：{peer:.0f} 小时）",
)  # fmt: skip
def resolution_hours(ticket: ir.Table, days: int) -> ir.Value:
    """Mean hours from opening to resolution of tickets resolved in the window (T2)."""
    return ticket.resolution_hours.mean(where=(ticket.resolved_ago <= days).fill_null(False))


@tickets.feature(
    days=(90, 180, 365), unit="tickets", risk="high", actionable=True, empty=0,
    en="tickets of the last {days} days past their time limit: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 个工单超出时限（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def sla_breaches(ticket: ir.Table, days: int) -> ir.Value:
    """Number of tickets opened in the window whose time limit has passed, answered late or still open (T1)."""
    return ((ticket.late == 1) & (ticket.days_ago <= days)).sum()


@tickets.feature(
    days=(180,), unit="share", risk="high", actionable=True,
    en="{value:.0%} of the tickets of the last {days} days ran past their time limit (peers: {peer:.0%})",
    zh="近 {days} 天 {value:.0%} 的工单超出时限（同类客户：{peer:.0%}）",
)  # fmt: skip
def sla_breach_share(ticket: ir.Table, days: int) -> ir.Value:
    """Share of the tickets opened in the window whose time limit has passed (T1)."""
    recent = ticket.days_ago <= days
    return ((ticket.late == 1) & recent).sum().cast("float64") / recent.sum().nullif(0)


@tickets.feature(
    unit="tickets", risk="high", actionable=True, empty=0,
    en="tickets open today: {value:.0f} (peers: {peer:.0f})",
    zh="目前有 {value:.0f} 个工单未解决（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def backlog(ticket: ir.Table) -> ir.Value:
    """Number of tickets open at the date (T2)."""
    return ticket.open.sum()


@tickets.feature(
    unit="days", risk="high", actionable=True, empty=0,
    en="the oldest open ticket has waited {value:.0f} days (peers: {peer:.0f})",
    zh="最久的未解决工单已等待 {value:.0f} 天（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def backlog_age(ticket: ir.Table) -> ir.Value:
    """Age in days of the oldest open ticket (T2)."""
    return ticket.days_ago.max(where=ticket.open).fill_null(0)


@tickets.feature(
    severity=("high",), unit="tickets", risk="high", actionable=True, empty=0,
    en="tickets of {severity} severity open today: {value:.0f} (peers: {peer:.0f})",
    zh="目前有 {value:.0f} 个{severity}级工单未解决（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def backlog_of(ticket: ir.Table, severity: str) -> ir.Value:
    """Number of open tickets of one severity (T2)."""
    return (ticket.open & (ticket.severity == severity)).sum()


@tickets.feature(
    days=(90, 180), unit="tickets", risk="high", actionable=True, empty=0,
    en="tickets of the last {days} days reopened: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 个工单被重新打开（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def tickets_reopened(ticket: ir.Table, days: int) -> ir.Value:
    """Number of tickets opened in the window and reopened by now (T2)."""
    return (ticket.reopened_at.notnull() & (ticket.days_ago <= days)).sum()


@tickets.feature(
    days=(90, 180), unit="tickets", risk="high", actionable=True, empty=0,
    en="tickets of the last {days} days escalated: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 个工单升级处理（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def tickets_escalated(ticket: ir.Table, days: int) -> ir.Value:
    """Number of tickets opened in the window and escalated by now (T1)."""
    return (ticket.escalated_at.notnull() & (ticket.days_ago <= days)).sum()


@tickets.feature(
    unit="requests", risk="high", actionable=True, empty=0,
    en="feature requests without an answer: {value:.0f} (peers: {peer:.0f})",
    zh="有 {value:.0f} 个需求未得到答复（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def requests_unanswered(ticket: ir.Table) -> ir.Value:
    """Number of feature requests of the past year without response or resolution (T2: each must be answered)."""
    waiting = ticket.first_response_at.isnull() & ticket.resolved_at.isnull()
    return ((ticket.kind == "request") & waiting & (ticket.days_ago <= 365)).sum()
