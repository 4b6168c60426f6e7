"""Low survey score without follow-up (T3)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.alert import highest_tier
from renewals.features.families.sentiment import FOLLOW_UP_DAYS, follow_up
from renewals.features.families.stakeholders import PERSON_KEY
from renewals.features.family import KEY
from renewals.features.policy import Policy


def low_score_not_followed_up(
    surveys: ir.Table, spine: ir.Table, policy: Policy, people_then: ir.Table | None = None
) -> ir.Table:
    """Alert on low survey answers without follow-up within the time limit (T3); `value` is the lowest score."""
    known = follow_up(surveys, spine)
    forgotten = known.filter(_.forgotten == 1, _.answered_ago <= FOLLOW_UP_DAYS + policy.alerts.expire_days)
    if people_then is None:
        graded = forgotten.mutate(tier=ibis.null("string"))
    else:
        graded = forgotten.left_join(people_then.select(*PERSON_KEY, "tier"), PERSON_KEY, rname="{name}_then")
    return graded.group_by(*KEY).agg(
        started_ago=_.answered_ago.max(), latest_cause_ago=_.answered_ago.min() - FOLLOW_UP_DAYS, count=_.count(),
        tier=highest_tier(graded.tier), value=_.score.min(), expected=ibis.null("float64"),
    )  # fmt: skip
