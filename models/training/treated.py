"""Mark observations with a treated renewal, so that training can exclude them (domain M1)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import RENEWAL_KEY
from renewals.models.training.splits import TREATED_COLUMN


def mark_treated(spine: ir.Table, interventions: ir.Table, decided_days: int) -> ir.Table:
    """Mark the observations with a treated renewal: one row per observation with `treated`, 0 or 1.

    An observation is treated if an intervention started on its day or later, and more than `decided_days` before the
    decision (R12: the renewal date, or the last day for notice). The effect of earlier interventions is already visible
    in the customer's behaviour. Later ones start after the decision: accounts that have decided to leave are no longer
    treated, so that counting them would mark mostly renewed accounts. `interventions` are those known on the training
    day.
    """
    starts = interventions.select("account_id", "started_at")
    decision = "decision_date" if "decision_date" in spine.columns else "renewal_date"
    observations = spine.select(*RENEWAL_KEY, decision_date=spine[decision])
    limit = _.decision_date.cast("timestamp") - ibis.interval(days=decided_days)
    hits = (
        observations.inner_join(starts, "account_id")
        .filter(_.started_at >= _.as_of.cast("timestamp"), _.started_at < limit)
        .select(*RENEWAL_KEY, hit=ibis.literal(1))
        .distinct()
    )
    joined = observations.left_join(hits, RENEWAL_KEY)
    return joined.select(*RENEWAL_KEY, _.hit.fill_null(0).cast("int8").name(TREATED_COLUMN))
