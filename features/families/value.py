"""Value: goals agreed, reached and missed, and reports of value to the customer (J4)."""

from __future__ import annotations

import ibis.expr.types as ir

from renewals.features.family import Family, as_number, decay_weight
from renewals.features.point_in_time import as_of_rows

value = Family("value", en="Value goals", zh="价值目标", theme="value", needs=("value_goals",))


@value.source
def goal(value_goals: ir.Table, spine: ir.Table) -> ir.Table:
    """Goals known then: one row per (account_id, as_of, goal)."""
    return as_of_rows("value_goals", value_goals, spine)


@value.source
def outcome(goal_outcomes: ir.Table) -> ir.Table:
    """Goals reached or due by then, with the days since each: one row per (account_id, as_of, goal)."""
    return goal_outcomes


@value.source
def report(touchpoints: ir.Table, spine: ir.Table) -> ir.Table:
    """Value reports and reviews known then: one row per (account_id, as_of, touchpoint)."""
    known = as_of_rows("touchpoints", touchpoints, spine)
    return known.filter(known.kind.isin(["value_report", "review"]))


@value.feature(
    unit="goals", risk="low", actionable=True, empty=0,
    en="value goals agreed in the past year: {value:.0f} (peers: {peer:.0f})",
    zh="过去一年约定了 {value:.0f} 个价值目标（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def goals_set(goal: ir.Table) -> ir.Value:
    """Number of goals agreed within a year (J4)."""
    return (goal.days_ago <= 365).sum()


@value.feature(
    days=(180, 365), unit="goals", risk="low", actionable=True, empty=0,
    en="value goals reached in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天达成 {value:.0f} 个价值目标（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def goals_reached(outcome: ir.Table, days: int) -> ir.Value:
    """Number of goals reached in the window (J4)."""
    return (outcome.reached_ago <= days).fill_null(False).sum()


@value.feature(
    unit="goals", risk="low", actionable=True, empty=0,
    en="value goals reached, long ago counting less: {value:.1f} (peers: {peer:.1f})",
    zh="已达成的价值目标（越久远计得越少）：{value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def goals_reached_decayed(outcome: ir.Table) -> ir.Value:
    """Sum over all goals reached of weights that halve every year since (J4): value shown lasts for years."""
    return decay_weight(outcome.reached_ago, 365).sum().fill_null(0)


@value.feature(
    unit="goals", risk="high", actionable=True, empty=0,
    en="value goals past their date and not reached: {value:.0f} (peers: {peer:.0f})",
    zh="有 {value:.0f} 个价值目标已过期未达成（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def goals_overdue(outcome: ir.Table) -> ir.Value:
    """Number of goals agreed in the past two years whose due date has passed without being reached (J4)."""
    return (outcome.achieved_at.isnull() & (outcome.due_ago >= 1) & (outcome.days_ago <= 730)).fill_null(False).sum()


@value.feature(
    unit="share", risk="low", actionable=True,
    en="{value:.0%} of the value goals due so far were reached (peers: {peer:.0%})",
    zh="到期的价值目标中 {value:.0%} 已达成（同类客户：{peer:.0%}）",
)  # fmt: skip
def goals_reached_share(outcome: ir.Table) -> ir.Value:
    """Share reached of the goals whose due date has passed, or that are reached (J4)."""
    is_counted = ((outcome.due_ago >= 1) | outcome.achieved_at.notnull()).fill_null(False)
    return as_number(outcome.achieved_at.notnull()).mean(where=is_counted)


@value.feature(
    unit="days", risk="high", actionable=True, empty=366,
    en="the last value report or review was {value:.0f} days ago (peers: {peer:.0f})",
    zh="最近一次价值报告或业务回顾在 {value:.0f} 天前（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since_report_or_review(report: ir.Table) -> ir.Value:
    """Days since the last value report or review (J4); 366 if there was none for a year."""
    return report.days_ago.min().clip(upper=366)


@value.feature(
    unit="reports", risk="low", actionable=True, empty=0,
    en="value reports and reviews in the past year: {value:.0f} (peers: {peer:.0f})",
    zh="过去一年提交价值报告或回顾 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def reports_and_reviews(report: ir.Table) -> ir.Value:
    """Number of value reports and reviews of a year (J4)."""
    return (report.days_ago <= 365).sum()


@value.feature(
    unit="goals", risk="either", actionable=True, empty=0,
    en="value goals still open: {value:.0f} (peers: {peer:.0f})",
    zh="尚未达成的价值目标 {value:.0f} 个（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def goals_open(goal: ir.Table) -> ir.Value:
    """Number of goals agreed in the past two years and not reached yet, due or not (J4)."""
    return (goal.achieved_at.isnull() & (goal.days_ago <= 730)).sum()
