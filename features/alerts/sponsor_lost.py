"""Departure of a tier S or A person (S3)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.alert import highest_tier
from renewals.features.family import KEY
from renewals.features.policy import Policy


def sponsor_lost(people_then: ir.Table, policy: Policy) -> ir.Table:
    """Alert on tier S or A people whose departure became known in the last `expire_days` (S3)."""
    gone = people_then.filter(_.tier.isin(["S", "A"]), _.heard_ago <= policy.alerts.expire_days)
    return gone.group_by(*KEY).agg(
        started_ago=_.left_ago.max(), latest_cause_ago=_.heard_ago.min(), count=_.count(),
        tier=highest_tier(gone.tier), value=_.left_ago.min(), expected=ibis.null("float64"),
    )  # fmt: skip
