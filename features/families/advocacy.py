"""Advocacy: referrals by customers and trials of further products (J5, K2, K6)."""

from __future__ import annotations

import ibis.expr.types as ir

from renewals.features.family import Family
from renewals.features.point_in_time import as_of_rows, days_ago

advocacy = Family("advocacy", en="Referrals", zh="转介绍", theme="value")


@advocacy.source
def referral(referrals: ir.Table, spine: ir.Table) -> ir.Table:
    """Referrals made by then: one row per (account_id, as_of, referral).

    `converted_ago` is the days since the referred account became a customer, null if it did not.
    """
    known = as_of_rows("referrals", referrals, spine)
    return known.mutate(converted_ago=days_ago(known, known.converted_at))


@advocacy.source
def trial(trials: ir.Table, spine: ir.Table) -> ir.Table:
    """Trials requested by then: one row per (account_id, as_of, trial).

    `finished_ago` is the days since it was finished, null if it was not.
    """
    known = as_of_rows("trials", trials, spine)
    return known.mutate(finished_ago=days_ago(known, known.finished_at))


@advocacy.feature(
    days=(365,), unit="referrals", risk="low", actionable=True, empty=0,
    en="companies it recommended us to in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天推荐了 {value:.0f} 家公司（同类客户：{peer:.0f} 家）",
)  # fmt: skip
def referrals_made(referral: ir.Table, days: int) -> ir.Value:
    """Number of referrals made in the window."""
    return (referral.days_ago <= days).sum()


@advocacy.feature(
    days=(365,), unit="referrals", risk="low", actionable=False, empty=0,
    en="recommended companies that became customers in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 家被推荐公司成为客户（同类客户：{peer:.0f} 家）",
)  # fmt: skip
def referrals_converted(referral: ir.Table, days: int) -> ir.Value:
    """Number of referrals that became customers in the window."""
    return (referral.converted_ago <= days).fill_null(False).sum()


@advocacy.feature(
    days=(90, 365), unit="trials", risk="low", actionable=True, empty=0,
    en="trials asked for in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天申请试用 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def trials_requested(trial: ir.Table, days: int) -> ir.Value:
    """Number of trials of a further product requested in the window (J5)."""
    return (trial.days_ago <= days).sum()


@advocacy.feature(
    unit="trials", risk="low", actionable=True, empty=0,
    en="trials under way: {value:.0f} (peers: {peer:.0f})",
    zh="正在试用 {value:.0f} 项（同类客户：{peer:.0f} 项）",
)  # fmt: skip
def open_trials(trial: ir.Table) -> ir.Value:
    """Number of trials requested within 180 days and not finished (J5)."""
    return (trial.finished_at.isnull() & (trial.days_ago <= 180)).sum()


@advocacy.feature(
    days=(365,), unit="trials", risk="low", actionable=True, empty=0,
    en="trials carried to their end in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天完成试用 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def trials_finished(trial: ir.Table, days: int) -> ir.Value:
    """Number of trials finished in the window (J5)."""
    return (trial.finished_ago <= days).fill_null(False).sum()
