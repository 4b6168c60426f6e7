"""Fit: the kind of customer (C1, C2), which cannot be changed and is shown separately from what can be."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.commitment import main
from renewals.features.family import KEY, Family
from renewals.features.point_in_time import as_of_rows, day_of, matured_outcomes
from renewals.features.policy import Policy
from renewals.features.spine import size_band
from renewals.features.versions import accounts_as_of, accounts_by_date

fit = Family("fit", en="Fit", zh="客户匹配度", theme="fit")

FIT_DIMENSIONS = ("industry", "region", "channel", "size_band", "plan", "cohort")
"""Attributes of the sale to a customer (C2); the cohort is the year of its first contract."""
PRIOR_RENEWALS = 30.0
"""Number of renewals at which a group's own rate has the same weight as the rate of all customers."""


# --- sources -----------------------------------------------------------------------------------


def outcomes(renewals: ir.Table, accounts: ir.Table, contracts: ir.Table, policy: Policy) -> ir.Table:
    """Final renewals with the customer's attributes of the sale, as known when they matured: one row per renewal."""
    final = renewals.filter(_.renewed.notnull()).select(
        "account_id", "matured_at", "plan", "renewed",
        size_band=size_band(_.amount_due.cast("float64") / 100.0, policy),
    )  # fmt: skip
    final = final.mutate(as_of=_.matured_at.date())
    days = final.select(*KEY, day=day_of(_.matured_at)).distinct()
    attributes = accounts_as_of(accounts, days).select(*KEY, "industry", "region", "channel")
    starts = as_of_rows("contracts", contracts, days).group_by(*KEY)
    cohorts = starts.agg(cohort=_.start_date.min().year().cast("string"))
    joined = final.left_join(attributes, KEY, rname="{name}_attributes").left_join(cohorts, KEY, rname="{name}_first")
    return joined.select("account_id", "matured_at", "renewed", *FIT_DIMENSIONS)


@fit.source
def customer(accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Account attributes as known then: one row per (account_id, as_of)."""
    return accounts_as_of(accounts, spine)


@fit.source
def similar_customers(outcomes: ir.Table, accounts: ir.Table, terms: ir.Table, spine: ir.Table) -> ir.Table:
    """Renewal rates of *other*, similarly sold customers, known by then: one row per (account_id, as_of).

    One column per dimension: the rate of customers with the same value, shrunk towards `base`, the rate of all other
    customers.
    """
    final = matured_outcomes(outcomes, spine).mutate(everyone=ibis.literal("all"))
    customers = _sale_attributes(customer(accounts, spine), terms, spine)
    rates = _peer_outcomes(customers, final, "everyone").select(*KEY, base=_.renewed_count / _.terms.nullif(0.0))
    for dimension in FIT_DIMENSIONS:
        similar = _peer_outcomes(customers, final, dimension).select(*KEY, "renewed_count", number="terms")
        rates = rates.join(similar, KEY).mutate(
            **{dimension: (_.renewed_count + PRIOR_RENEWALS * _.base) / (_.number + PRIOR_RENEWALS)}
        )
        rates = rates.drop("renewed_count", "number")
    return rates


@fit.source
def related_account(outcomes: ir.Table, accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Final renewals of related accounts (parent, sisters, daughters): one row per (account_id, as_of, renewal).

    Both the relation and the outcome are as known by then.
    """
    family = accounts_by_date(accounts, spine).select(
        "as_of", "account_id", parent=ibis.coalesce(_.parent_account_id, _.account_id)
    )
    relatives = family.select("as_of", "parent", relative="account_id")
    pairs = spine.select(*KEY).join(family, KEY).join(relatives, ["as_of", "parent"]).filter(_.relative != _.account_id)
    final = matured_outcomes(outcomes, spine).select("as_of", "renewed", relative="account_id")
    return pairs.join(final, ["as_of", "relative"])


def _sale_attributes(customer: ir.Table, terms: ir.Table, spine: ir.Table) -> ir.Table:
    """Attributes of the sale of each observed customer, as known then: one row per (account_id, as_of)."""
    year = (_.as_of - _.account_age.as_interval("D")).year().cast("string")
    rows = spine.select(*KEY, "size_band", cohort=year, everyone=ibis.literal("all"))
    rows = rows.left_join(customer.select(*KEY, "industry", "region", "channel"), KEY, rname="{name}_known")
    return rows.left_join(main(terms, spine).select(*KEY, "plan"), KEY, rname="{name}_main")


def _peer_outcomes(customers: ir.Table, final: ir.Table, dimension: str) -> ir.Table:
    """Renewals due and renewed of other customers with the same `dimension`: one row per (account_id, as_of)."""
    counts = {"terms": _.count(), "renewed_count": _.renewed.sum()}
    totals = final.group_by("as_of", dimension).agg(**counts)
    account_totals = final.group_by("as_of", dimension, "account_id").agg(**counts)
    rows = customers.select(*KEY, dimension).left_join(totals, ["as_of", dimension], rname="{name}_all")
    rows = rows.left_join(account_totals, ["as_of", dimension, "account_id"], rname="{name}_own")
    remaining = {name: (_[name].fill_null(0) - _[f"{name}_own"].fill_null(0)).cast("float64") for name in counts}
    return rows.select(*KEY, **remaining)


@fit.feature(
    unit="industry", risk="either", actionable=False, category=True,
    en="industry: {value} (most peers: {peer})",
    zh="行业：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def industry(customer: ir.Table) -> ir.Value:
    """Industry of the account (C1)."""
    return customer.industry.max()


@fit.feature(
    unit="region", risk="either", actionable=False, category=True,
    en="region: {value} (most peers: {peer})",
    zh="地区：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def region(customer: ir.Table) -> ir.Value:
    """Region of the account (C1)."""
    return customer.region.max()


@fit.feature(
    unit="channel", risk="either", actionable=False, category=True,
    en="won through {value} (most peers: {peer})",
    zh="获客渠道：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def channel(customer: ir.Table) -> ir.Value:
    """Channel through which the account was won (C1, C2)."""
    return customer.channel.max()


@fit.feature(
    unit="people", risk="either", actionable=False,
    en="employees: {value:,.0f} (peers: {peer:,.0f})",
    zh="员工 {value:,.0f} 人（同类客户：{peer:,.0f} 人）",
)  # fmt: skip
def employee_count(customer: ir.Table) -> ir.Value:
    """Number of employees of the account (C1)."""
    return customer.employee_count.max()


@fit.feature(
    dimension=FIT_DIMENSIONS, unit="share", risk="low", actionable=False,
    en="of other customers of the same {dimension}, {value:.0%} renewed so far (peers: {peer:.0%})",
    zh="同{dimension}的其他客户至今续约率为 {value:.0%}（同类客户：{peer:.0%}）",
)  # fmt: skip
def similar_customers_renewal_rate(similar_customers: ir.Table, dimension: str) -> ir.Value:
    """Renewal rate of other customers with the same attribute of the sale, from outcomes final by then (C2).

    Shrunk towards the rate of all other customers; the account's own outcomes never count.
    """
    return similar_customers[dimension].max()


@fit.feature(
    unit="share", risk="low", actionable=False,
    en="renewal rate of customers sold alike, above or below all others: {value:+.1%} (peers: {peer:+.1%})",
    zh="同类销售来源客户的续约率与整体之差：{value:+.1%}（同类客户：{peer:+.1%}）",
)  # fmt: skip
def similar_customers_lift(similar_customers: ir.Table) -> ir.Value:
    """Mean renewal rate of similar customers over all dimensions, less the rate of all others (C1).

    It measures the fit with the ideal customer.
    """
    return (
        sum(similar_customers[dimension] for dimension in FIT_DIMENSIONS) / len(FIT_DIMENSIONS) - similar_customers.base
    ).max()


@fit.feature(
    unit="renewals", risk="high", actionable=False, empty=0,
    en="renewals lost so far at its parent and sister companies: {value:.0f} (peers: {peer:.0f})",
    zh="其母公司及兄弟公司迄今有 {value:.0f} 次未续约（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def related_accounts_lost_renewals(related_account: ir.Table) -> ir.Value:
    """Number of lost renewals of the account's parent, sisters and daughters, final by then (R3)."""
    return (1 - related_account.renewed).sum()


@fit.feature(
    unit="share", risk="low", actionable=False,
    en="its parent and sister companies renewed {value:.0%} so far (peers: {peer:.0%})",
    zh="其母公司及兄弟公司迄今续约率为 {value:.0%}（同类客户：{peer:.0%}）",
)  # fmt: skip
def related_accounts_renewal_rate(related_account: ir.Table) -> ir.Value:
    """Renewal rate of the account's parent, sisters and daughters, final by then; null without any renewal."""
    return related_account.renewed.cast("float64").mean()
