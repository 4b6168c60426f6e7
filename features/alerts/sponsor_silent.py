"""Tier S or A person who is no longer active or in contact (S3)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.alert import CURRENT_DAYS, highest_tier
from renewals.features.families.stakeholders import PERSON_KEY, decider
from renewals.features.family import KEY
from renewals.features.point_in_time import DAYS_PER_YEAR
from renewals.features.policy import Policy


def sponsor_silent(
    people_then: ir.Table,
    person_windows: ir.Table,
    spine: ir.Table,
    policy: Policy,
    touchpoints: ir.Table | None = None,
) -> ir.Table:
    """Alert on tier S or A people who used the product regularly and now show neither use nor contact (S3).

    Silence differs from a slow rhythm by the number of visits expected in it at the person's usual pace.
    """
    rules, silent_days = policy.alerts, policy.stakeholders.silent_days
    if touchpoints is None:
        sponsors = people_then.filter(_.left_ago.isnull(), _.tier.isin(["S", "A"])).mutate(met_ago=ibis.null("int64"))
    else:
        sponsors = decider(people_then, touchpoints, spine)
    used = sponsors.select(*PERSON_KEY, "tier", "met_ago").join(
        person_windows.select(*PERSON_KEY, "last_day_ago", "days_365d"), PERSON_KEY
    )
    used = used.join(spine.select(*KEY, "account_age"), KEY)
    observed_days = ibis.greatest(ibis.least(used.account_age, DAYS_PER_YEAR) - used.last_day_ago, CURRENT_DAYS)
    used = used.mutate(
        missed=used.days_365d * used.last_day_ago / observed_days,
        silence=ibis.least(used.last_day_ago, ibis.coalesce(used.met_ago, used.last_day_ago)),
    )
    silent = used.filter(
        _.missed >= rules.missed_visits, _.silence > silent_days, _.silence <= silent_days + rules.expire_days
    )
    return silent.group_by(*KEY).agg(
        started_ago=_.silence.max(), latest_cause_ago=_.silence.min() - silent_days, count=_.count(),
        tier=highest_tier(silent.tier), value=_.silence.min(), expected=ibis.null("float64"),
    )  # fmt: skip
