"""Prediction targets: a question about an observation, its label, and the day on which the label is final.

To add a target, write a file in `models/targets/` that defines `TARGET`, and add its name to `params.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import RENEWAL_KEY

EXPANSION_DAYS = 180
"""Days from an observation in which an expansion counts for its label (data contract, "Observations and labels")."""


@dataclass(frozen=True)
class Outcomes:
    """Inputs of the labels: tables of the ledger (`features.revenue.ledger.RenewalLedger`) of the day `known_until`."""

    known_until: date
    term_states: ir.Table
    term_outcomes: ir.Table
    expansions: ir.Table


@dataclass(frozen=True)
class Target:
    """A prediction target: its question as text, and the function that computes its outcome.

    `outcome` returns one row per observation with `label` (0, 1 or null) and `matured_at`.
    """

    name: str
    en: str
    zh: str
    maturity: str
    outcome: Callable[[ir.Table, Outcomes], ir.Table]

    def label(self, spine: ir.Table, outcomes: Outcomes) -> ir.Table:
        """Label each observation: one row per (account_id, renewal_id, as_of) with label (int8, null until final) and
        matured_at.

        `matured_at` is null where that day is not known yet because the contract is still running.
        """
        labelled = self.outcome(spine, outcomes)
        is_final = _.matured_at <= _midnight(outcomes.known_until)
        return labelled.select(
            *RENEWAL_KEY,
            label=is_final.fill_null(False).ifelse(_.label, ibis.null()).cast("int8"),
            matured_at=_.matured_at.cast("timestamp"),
        )


def expansion_labels(spine: ir.Table, outcomes: Outcomes, kinds: tuple[str, ...]) -> ir.Table:
    """Label an account 1 if an expansion of these kinds happened and was known in the next 180 days, else 0.

    The label stands on the main row of an account with a running contract; on other rows it is null. Returns one row
    per observation. An account whose contract ended is labelled 0 too: it did not expand.
    """
    horizon = ibis.interval(days=EXPANSION_DAYS)
    rows = spine.select(*RENEWAL_KEY, has_label=_.is_main & _.runs)
    accounts = rows.filter(_.has_label).mutate(ends=_.as_of.cast("date") + horizon)
    events = outcomes.expansions.filter(_.kind.isin(kinds)).select("account_id", "happened_at", "known_at", "voided_at")
    hits = (
        accounts.inner_join(events, "account_id")
        .filter(
            _.happened_at.cast("date") >= _.as_of.cast("date"),
            _.happened_at.cast("date") < _.ends,
            _.known_at < _.ends.cast("timestamp"),
            _.voided_at.isnull() | (_.voided_at >= _.ends.cast("timestamp")),
        )
        .select(*RENEWAL_KEY, hit=ibis.literal(1))
        .distinct()
    )
    joined = rows.left_join(hits, RENEWAL_KEY)
    return joined.select(
        *RENEWAL_KEY,
        label=_.has_label.ifelse(_.hit.fill_null(0), ibis.null("int8")),
        matured_at=_.has_label.ifelse((_.as_of.cast("date") + horizon).cast("timestamp"), ibis.null("timestamp")),
    )


def _midnight(day: date) -> ir.Value:
    return ibis.literal(day, "date").cast("timestamp")
