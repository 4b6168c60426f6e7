"""What was done for the account: playbooks begun, and how long ago (M1).

Who is treated was chosen, for looking at risk: a model that does not see the treatment takes its effect for the
account's own strength. So these are risky neither way, and what they are worth is for `renewals effect` to say.
"""

from __future__ import annotations

import ibis.expr.types as ir
from ibis import _

from renewals.features.family import Family, decay_weight
from renewals.features.point_in_time import as_of_rows

care = Family("care", theme="care", needs=("interventions",))


@care.source
def treatment(interventions: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of, playbook begun in the past two years): `mark`, 1 on its day and fading."""
    begun = as_of_rows("interventions", interventions, spine).filter(_.days_ago <= 730)
    return begun.mutate(mark=decay_weight(_.days_ago))


@care.feature(
    days=(90, 365), unit="playbooks", risk="either", actionable=True, empty=0,
    en="playbooks begun in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天启动了 {value:.0f} 个行动方案（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def playbooks_started(treatment: ir.Table, days: int) -> ir.Value:
    """Interventions begun in the window (M1)."""
    return (treatment.days_ago <= days).sum()


@care.feature(
    unit="playbooks", risk="either", actionable=True, empty=0,
    en="playbooks run so far, long ago counting less: {value:.1f} (peers: {peer:.1f})",
    zh="已启动的行动方案（越久远计得越少）：{value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def playbooks_decayed(treatment: ir.Table) -> ir.Value:
    """Interventions of two years, each counting half as much for every 180 days since it began (M1)."""
    return treatment.mark.sum()
