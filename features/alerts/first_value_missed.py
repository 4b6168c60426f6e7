"""First value not reached within the onboarding days (J2)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.adoption import FIRST_VALUE_SHARE, ONBOARDING_DAYS, start
from renewals.features.family import KEY
from renewals.features.policy import Policy


def first_value_missed(first_uses: ir.Table, terms: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Alert on new accounts with too few of their first seats active in the first thirty days (J2)."""
    decided = ONBOARDING_DAYS[0]
    onboarding = start(first_uses, terms, spine)
    missed = onboarding.filter(_.activated_30 < FIRST_VALUE_SHARE, _.account_age <= decided + policy.alerts.expire_days)
    return missed.group_by(*KEY).agg(
        started_ago=_.account_age.max(), latest_cause_ago=_.account_age.max() - decided,
        count=_.by_30.max().fill_null(0), tier=ibis.null("string"),
        value=_.activated_30.max(), expected=ibis.literal(FIRST_VALUE_SHARE),
    )  # fmt: skip
