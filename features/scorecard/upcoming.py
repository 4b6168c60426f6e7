"""What is known of the quarters to come: which renewals fall due, which of them are decided, and how past ones went.

The book is opened on a day *ahead*, with the contracts known today: what has a follow-on by now is renewed there, and
whatever else falls due until then is lost, as if nobody bought again. These are the renewals to be foretold; the past
and its money are the ledger's own (R1, R4, R5), so that a forecast and the scorecard speak of the same thing.

quarter   three months, numbered from the day: 1 is the first to come, 0 the newest past one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.due_groups import renewals
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.scorecard.totals import retained_revenue
from renewals.features.spine import month_starts, size_band

FORECAST_QUARTERS = 4
"""Quarters foretold: a score reaches no further than a year."""
HISTORY_QUARTERS = 8
"""Past quarters from which rates, kept shares and growth are taken."""


def quarter_start(day: date, number: int) -> date:
    """The first day of a quarter, counted from the month of the day."""
    months = day.year * 12 + day.month - 1 + 3 * (number - 1)
    return date(months // 12, months % 12 + 1, 1)


def quarter_months(day: date, number: int) -> list[date]:
    """The first days of a quarter's months."""
    return month_starts(quarter_start(day, number), quarter_start(day, number + 1))[:-1]


def horizon_end(day: date, policy: Policy) -> date:
    """The day the book is opened on: the last quarter is over there, and its grace."""
    return quarter_start(day, FORECAST_QUARTERS + 1) + timedelta(days=policy.grace.after_days + 1)


def renewal_sets(ledger: RenewalLedger) -> ir.Table:
    """Every renewal with what became of it, one row per (account_id, end_date) and, should it recur, known_at.

    Money in cents; `growth` is what was bought on top, with every rise of price. `followed_at` is when the first
    follow-on was settled, `moves_at` when it starts, `lasts_until` when the last one ends, and
    `began` when the oldest of the contracts did.
    """
    settled = ledger.terms.select("contract_id", "settled_at")
    parts = ledger.entries.filter(~_.amended, _.known_at < _.matured_at)
    when = (
        parts.left_join(settled, parts.follow_on_id == settled.contract_id)
        .group_by("account_id", "end_date", known_at=_.set_known_at)
        .agg(
            began=_.start_date.min(),
            followed_at=_.settled_at.min(),
            moves_at=_.follow_on_start.min(),
            lasts_until=_.follow_on_end.max(),
        )
    )
    zero = ibis.literal(0, "int64")
    return (
        renewals(ledger.entries)
        .mutate(growth=_.upsell + _.cross_sell + ibis.greatest(_.price_change, zero))
        .join(when, ["account_id", "end_date", "known_at"])
        .select(
            *("account_id", "end_date", "due_at", "matured_at", "began", "followed_at", "moves_at"),
            *("lasts_until", "renewed", "amount_due", "amount_renewed", "amount_kept", "growth"),
        )
    )


def account_quarters(roll_forward: ir.Table, day: date, numbers: Sequence[int], policy: Policy) -> ir.Table:
    """What each account paid at a quarter's opening, lost, kept and pays at its end, one row per (quarter, account_id).

    Money in cents, as the scorecard has it: `lost` is what churned and contracted, of which at most the opening counts
    in `kept`. Size is that of the opening, or of the closing where there was none.
    """
    months = [
        {"quarter": number, "month": first, "place": place}
        for number in numbers
        for place, first in enumerate(quarter_months(day, number))
    ]
    calendar = ibis.memtable(months, schema={"quarter": "int64", "month": "date", "place": "int64"})
    return (
        roll_forward.join(calendar, "month")
        .group_by("quarter", "account_id")
        .agg(
            opening=_sum_cents_or_zero(_.opening, _.place == 0),
            closing=_sum_cents_or_zero(_.closing, _.place == 2),
            lost=_sum_cents_or_zero(_.churn + _.contraction),
        )
        .mutate(kept=retained_revenue(_.opening, _.lost), size=_.opening.nullif(0).coalesce(_.closing))
        .mutate(size_band=size_band(_.size / 100.0, policy))
        .drop("size")
    )


def _sum_cents_or_zero(value: ir.Value, where: ir.Value | None = None) -> ir.Value:
    return value.sum(where=where).cast("int64").fill_null(0)
