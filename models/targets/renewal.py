"""Target `renewal`: the account renews the contracts that come due (domain R1 to R3)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.models.target import KEY, Outcomes, Target


def outcome(spine: ir.Table, outcomes: Outcomes) -> ir.Table:
    """Outcome of the renewal of each observation: label (1 renewed, 0 lost, null) and matured_at.

    Returns one row per (account_id, as_of). A renewal may be lost and booked again with the same end date: the newest
    one that the observation knew of and that was still running is taken.
    """
    renewals = outcomes.renewals.select(
        "account_id", "known_at", "due_at", "matured_at", renewal_date=_.end_date.cast("date"), label=_.renewed
    )
    newest = ibis.row_number().over(group_by=list(KEY), order_by=_.known_at.desc())
    observed = (
        spine.inner_join(renewals, ["account_id", "renewal_date"])
        .filter(_.known_at < _.as_of.cast("timestamp"), _.due_at.cast("date") >= _.as_of)
        .mutate(nth=newest)
        .filter(_.nth == 0)
        .select(*KEY, "label", "matured_at")
    )
    return spine.left_join(observed, KEY).select(*KEY, "label", "matured_at")


TARGET = Target(
    name="renewal",
    en="Will this renewal be followed by a new paid term?",
    zh="本次到期的合同会续约吗？",
    maturity="the day after the grace that follows the end of the term, for every contract of the renewal",
    outcome=outcome,
)
