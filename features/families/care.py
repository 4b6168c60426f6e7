"""Care: the playbooks that were run for the account, and how long ago (M1).

Accounts are treated because they look at risk: without these features a model would attribute the effect of a treatment
to the account's own strength. So neither direction is risky, and their effect is estimated by `renewals effect`.
"""

from __future__ import annotations

import ibis.expr.types as ir
from ibis import _

from renewals.features.family import Family, decay_weight
from renewals.features.point_in_time import as_of_rows

care = Family("care", en="Playbooks run", zh="已做的干预", theme="care", needs=("interventions",))


@care.source
def treatment(interventions: ir.Table, spine: ir.Table) -> ir.Table:
    """Playbooks started in the past two years: one row per (account_id, as_of, playbook run).

    `mark` is its weight, 1 on the day of the start and decreasing.
    """
    started = as_of_rows("interventions", interventions, spine).filter(_.days_ago <= 730)
    return started.mutate(mark=decay_weight(_.days_ago))


@care.feature(
    days=(90, 365), unit="playbooks", risk="either", actionable=True, empty=0,
    en="playbooks begun in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天启动了 {value:.0f} 个行动方案（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def playbooks_started(treatment: ir.Table, days: int) -> ir.Value:
    """Number of interventions started in the window (M1)."""
    return (treatment.days_ago <= days).sum()


@care.feature(
    unit="playbooks", risk="either", actionable=True, empty=0,
    en="playbooks run so far, long ago counting less: {value:.1f} (peers: {peer:.1f})",
    zh="已启动的行动方案（越久远计得越少）：{value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def playbooks_decayed(treatment: ir.Table) -> ir.Value:
    """Sum over the interventions of two years of weights that halve every 180 days since the start (M1)."""
    return treatment.mark.sum()
