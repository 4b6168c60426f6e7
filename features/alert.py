"""The evidence of an alert: the columns that every rule in `features/alerts/` returns."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from renewals.features.policy import TIERS

EVIDENCE_TYPES = {
    "started_ago": "int64",
    "latest_cause_ago": "int64",
    "count": "int64",
    "tier": "string",
    "value": "float64",
    "expected": "float64",
}
"""Days since the start and days since the newest cause became known (null where it has no day of its own), the number
of people, tickets or answers concerned, the highest tier among them, the measured value and its expected value."""

CURRENT_DAYS = 28
"""The four weeks of usage that count as current."""

ALERT_COLUMNS = ("code", "started_on", "latest_cause_on", "count", "tier", "value", "expected")
"""The columns of a computed alert; days are dates."""


def highest_tier(tier: ir.StringValue) -> ir.StringValue:
    """Highest tier of a group; null where no one has a tier."""
    position = ibis.cases(*((tier == name, number) for number, name in enumerate(TIERS))).min()
    return ibis.cases(*((position == number, name) for number, name in enumerate(TIERS)))
