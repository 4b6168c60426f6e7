"""What is predicted: a question about an account on a day, what the answer was, and when that is final.

A new target is one file in `models/targets/` that holds a `TARGET`, and its name in `params.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

KEY = ("account_id", "as_of")
EXPANSION_DAYS = 180
"""How long after an observation an expansion is its answer (data contract, "Observations and labels")."""


@dataclass(frozen=True)
class Outcomes:
    """All that labels are made of: what the contracts known before the day `known_until` came to.

    `renewals` and `expansions` are the tables that the functions of these names in `features.revenue.ledger` return.
    """

    known_until: date
    renewals: ir.Table
    expansions: ir.Table


@dataclass(frozen=True)
class Target:
    """A question, in words, and the outcome that answers it.

    `outcome` gives one row per (account_id, as_of) with `label` (0, 1 or null) and `matured_at`.
    """

    name: str
    en: str
    zh: str
    maturity: str
    outcome: Callable[[ir.Table, Outcomes], ir.Table]

    def label(self, spine: ir.Table, outcomes: Outcomes) -> ir.Table:
        """The answers known by now, one row per (account_id, as_of): label (int8, null until final), matured_at.

        `matured_at` is null where the day is not known either, for the contract still runs.
        """
        answered = self.outcome(spine.select(*_spine_columns(spine)), outcomes)
        final = _.matured_at <= _midnight(outcomes.known_until)
        return answered.select(
            *KEY,
            label=final.fill_null(False).ifelse(_.label, ibis.null()).cast("int8"),
            matured_at=_.matured_at.cast("timestamp"),
        )


def expansion_labels(spine: ir.Table, outcomes: Outcomes, kinds: tuple[str, ...]) -> ir.Table:
    """Whether an expansion of these kinds happened, and was known, in the days after: one row per (account_id, as_of).

    An account that bought nothing is 0, also where its contract ended: a customer who left did not expand.
    """
    horizon = ibis.interval(days=EXPANSION_DAYS)
    asked = spine.mutate(ends=_.as_of + horizon)
    events = outcomes.expansions.filter(_.kind.isin(kinds)).select("account_id", "happened_at", "known_at", "voided_at")
    hits = (
        asked.inner_join(events, "account_id")
        .filter(
            _.happened_at.cast("date") >= _.as_of,
            _.happened_at.cast("date") < _.ends,
            _.known_at < _.ends.cast("timestamp"),
            _.voided_at.isnull() | (_.voided_at >= _.ends.cast("timestamp")),
        )
        .select(*KEY, hit=ibis.literal(1))
        .distinct()
    )
    joined = asked.left_join(hits, KEY)
    return joined.select(*KEY, label=_.hit.fill_null(0), matured_at=_.ends.cast("timestamp"))


def _spine_columns(spine: ir.Table) -> list[ir.Value]:
    days = [spine[name].cast("date").name(name) for name in ("as_of", "renewal_date") if name in spine.columns]
    return [spine.account_id, *days]


def _midnight(day: date) -> ir.Value:
    return ibis.literal(day, "date").cast("timestamp")
