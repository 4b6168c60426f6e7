"""Target `cross_sell`: the account buys a product it does not have (domain R6)."""

from __future__ import annotations

import ibis.expr.types as ir

from renewals.models.target import Outcomes, Target, expansion_labels


def outcome(spine: ir.Table, outcomes: Outcomes) -> ir.Table:
    """Label 1 if a cross-sell follows within 180 days, else 0; one row per observation."""
    return expansion_labels(spine, outcomes, ("cross_sell",))


TARGET = Target(
    name="cross_sell",
    en="Will the account buy a product it never had within 180 days?",
    zh="客户会在 180 天内购买新产品吗？",
    maturity="when the 180 days have passed",
    outcome=outcome,
)
