"""Target `upsell`: the account buys more seats or a higher plan (domain R6)."""

from __future__ import annotations

import ibis.expr.types as ir

from renewals.models.target import Outcomes, Target, expansion_labels


def outcome(spine: ir.Table, outcomes: Outcomes) -> ir.Table:
    """Label 1 if an up-sell follows within 180 days, else 0; one row per observation."""
    return expansion_labels(spine, outcomes, ("upsell",))


TARGET = Target(
    name="upsell",
    en="Will the account buy more seats or a higher plan within 180 days?",
    zh="客户会在 180 天内增购席位或升级版本吗？",
    maturity="when the 180 days have passed",
    outcome=outcome,
)
