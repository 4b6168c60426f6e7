"""Target `renewal`: the account renews the contracts that come due (domain R1 to R3)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, RENEWAL_KEY
from renewals.features.point_in_time import day_of
from renewals.features.spine import DUE, running_terms
from renewals.models.target import Outcomes, Target


def outcome(spine: ir.Table, outcomes: Outcomes) -> ir.Table:
    """Outcome of the renewal of each observation: label (1 renewed, 0 lost, null) and matured_at.

    Returns one row per (account_id, renewal_id, as_of). The renewal consists of the terms that the observation saw
    running to its date; it is renewed if any of them was, and final once all of them are. A term that was amended later
    has the outcome of what took its place, and one that was never paid that of the term it would have continued. An
    observation that saw no renewal due has no label.
    """
    due = spine.filter(_.renewal_state == DUE).select(*RENEWAL_KEY)
    days = due.select(*KEY, day=day_of(_.as_of)).distinct()
    running = running_terms(outcomes.term_states, days).filter(_.running, ~_.rolling)
    members = running.select(*KEY, "term", renewal_id="in_renewal")
    observed = due.inner_join(members, RENEWAL_KEY)
    decided = observed.left_join(outcomes.term_outcomes, "term", rname="{name}_of_term").group_by(*RENEWAL_KEY)
    labels = decided.agg(closed=_.renewed.notnull().all(), label=_.renewed.max(), matured_at=_.matured_at.max()).mutate(
        label=_.closed.ifelse(_.label, ibis.null("int8"))
    )
    return spine.select(*RENEWAL_KEY).left_join(labels, RENEWAL_KEY).select(*RENEWAL_KEY, "label", "matured_at")


TARGET = Target(
    name="renewal",
    en="Will this renewal be followed by a new paid term?",
    zh="本次到期的合同会续约吗？",
    maturity="the day after the grace that follows the end of the term, for every contract of the renewal",
    outcome=outcome,
)
