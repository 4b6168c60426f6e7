"""Whose outcome an intervention had a hand in, so that learning does not take it for the account's own (domain M1)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.models.target import KEY
from renewals.models.training.splits import TREATED_COLUMN


def mark_treated(spine: ir.Table, interventions: ir.Table, decided_days: int) -> ir.Table:
    """Whether an intervention worked on each observation's renewal, one row per (account_id, as_of): `treated`, 0 or 1.

    It started on the day of the observation or later, and more than `decided_days` before the renewal. What one that
    came earlier has changed by then stands in what the customer does; one that came later met a decision that had
    fallen: who has decided to leave is no longer treated, and to count it would mark the renewed. `interventions` are
    those known on the training day.
    """
    begun = interventions.select("account_id", "started_at")
    asked = spine.select(*KEY, "renewal_date")
    last = _.renewal_date.cast("timestamp") - ibis.interval(days=decided_days)
    hits = (
        asked.inner_join(begun, "account_id")
        .filter(_.started_at >= _.as_of.cast("timestamp"), _.started_at < last)
        .select(*KEY, hit=ibis.literal(1))
        .distinct()
    )
    joined = asked.left_join(hits, KEY)
    return joined.select(*KEY, _.hit.fill_null(0).cast("int8").name(TREATED_COLUMN))
