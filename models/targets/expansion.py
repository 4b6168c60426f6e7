"""Target `expansion`: the account expands by up-sell or cross-sell (domain R6, J5)."""

from __future__ import annotations

import ibis.expr.types as ir

from renewals.models.target import Outcomes, Target, expansion_labels


def outcome(spine: ir.Table, outcomes: Outcomes) -> ir.Table:
    """Label 1 if an up-sell or cross-sell follows within 180 days, else 0; one row per observation."""
    return expansion_labels(spine, outcomes, ("upsell", "cross_sell"))


TARGET = Target(
    name="expansion",
    en="Will the account expand, by up-sell or cross-sell, within 180 days?",
    zh="客户会在 180 天内增购（席位、版本或新产品）吗？",
    maturity="when the 180 days have passed",
    outcome=outcome,
)
