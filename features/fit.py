"""What kind of customer it is (C1, C2): not to be changed, and shown apart from what can be."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from features.family import KEY, Family
from features.windows import as_known

fit = Family("fit")


@fit.source
def customer(accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of): the account as it was known then."""
    known = as_known("accounts", accounts, spine)
    newest = ibis.window(group_by=KEY, order_by=[_.days_ago.asc(nulls_first=False)])
    return known.mutate(place=ibis.row_number().over(newest)).filter(_.place == 0)


@fit.feature(
    unit="industry", risk="either", actionable=False, category=True,
    en="industry: {value} (most peers: {peer})",
    zh="行业：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def industry(customer: ir.Table) -> ir.Value:
    """The account's industry (C1)."""
    return customer.industry.max()


@fit.feature(
    unit="region", risk="either", actionable=False, category=True,
    en="region: {value} (most peers: {peer})",
    zh="地区：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def region(customer: ir.Table) -> ir.Value:
    """The account's region (C1)."""
    return customer.region.max()


@fit.feature(
    unit="channel", risk="either", actionable=False, category=True,
    en="won through {value} (most peers: {peer})",
    zh="获客渠道：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def channel(customer: ir.Table) -> ir.Value:
    """The channel the account came by (C1, C2)."""
    return customer.channel.max()


@fit.feature(
    unit="people", risk="either", actionable=False,
    en="employees: {value:,.0f} (peers: {peer:,.0f})",
    zh="员工 {value:,.0f} 人（同类客户：{peer:,.0f} 人）",
)  # fmt: skip
def employees(customer: ir.Table) -> ir.Value:
    """The account's number of employees (C1)."""
    return customer.employee_count.max()
