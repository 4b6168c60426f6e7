"""Upcoming renewals by quarter, with those already decided, and the outcomes of past quarters.

The ledger is opened for a *future* day, with what is known today: a term that has a follow-on by now is renewed there,
unless it still has to be paid, and every other term due until then is lost. These are the renewals to forecast. The
past and its money come from the same ledger (R1, R4, R5), so that forecast and scorecard agree: a final month is the
same whatever day the ledger is opened for.

quarter   three months, numbered from the day: 1 is the next to start, 0 the newest past one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.ledger import RenewalLedger, renewals
from renewals.features.scorecard.totals import retained_gains, retained_revenue
from renewals.features.spine import month_starts, size_band

FORECAST_QUARTERS = 4
"""Number of quarters to forecast: a score reaches no further than a year."""
HISTORY_QUARTERS = 8
"""Number of past quarters from which rates, kept shares and growth are estimated."""


def quarter_start(day: date, number: int) -> date:
    """First day of quarter `number`, counted from the month of `day`."""
    months = day.year * 12 + day.month - 1 + 3 * (number - 1)
    return date(months // 12, months % 12 + 1, 1)


def quarter_months(day: date, number: int) -> list[date]:
    """First days of the three months of quarter `number`."""
    return month_starts(quarter_start(day, number), quarter_start(day, number + 1))[:-1]


def horizon_end(day: date, policy: Policy) -> date:
    """Day for which the ledger is opened: the last forecast quarter, its grace and the time to pay have passed then."""
    waiting = policy.grace.after_days + policy.renewal.payment_days + 1
    return quarter_start(day, FORECAST_QUARTERS + 1) + timedelta(days=waiting)


def renewal_sets(ledger: RenewalLedger) -> ir.Table:
    """Every renewal with its outcome, dates and amounts, one row per (account_id, end_date).

    A renewal that recurs has one row per known_at. Money in cents; `growth` is the expansion on top of the amount kept,
    including price rises. `followed_at` is the time when the first follow-on became known, `moves_at` its start,
    `lasts_until` the end of the last follow-on, and `began` the start of the oldest contract. `booked_month` is the
    month in whose rates it counts, null while it is pending.
    """
    dates = (
        ledger.entries.filter(_.set_known_at.notnull())
        .group_by("account_id", "end_date", known_at=_.set_known_at)
        .agg(
            followed_at=_.follow_on_known_at.min(),
            moves_at=_.follow_on_start.min(),
            lasts_until=_.follow_on_end.max(),
        )
    )
    zero = ibis.literal(0, "int64")
    return (
        renewals(ledger.entries)
        .mutate(began=_.start_date, growth=_.upsell + _.cross_sell + ibis.greatest(_.price_change, zero))
        .join(dates, ["account_id", "end_date", "known_at"])
        .select(
            *("account_id", "end_date", "due_at", "matured_at", "booked_month", "began", "followed_at", "moves_at"),
            *("lasts_until", "renewed", "amount_due", "amount_renewed", "amount_kept", "growth"),
        )
    )


def account_quarters(roll_forward: ir.Table, day: date, numbers: Sequence[int], policy: Policy) -> ir.Table:
    """Revenue of each account at a quarter's opening, gained, lost and kept in it, one row per (quarter, account_id).

    Money in cents, as in the scorecard: `gained` is expansion, price rises and the steps of ramps, `lost` churn plus
    contraction; in `kept` and `retained`, the numerators of GRR and NRR, at most what the account had is lost. The size
    band is that of the opening revenue, or of the closing revenue if the opening is zero.
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
            gained=_sum_cents_or_zero(retained_gains(_)),
            lost=_sum_cents_or_zero(_.churn + _.contraction),
        )
        .mutate(
            kept=retained_revenue(_.opening, _.lost),
            retained=retained_revenue(_.opening + _.gained, _.lost),
            size=_.opening.nullif(0).coalesce(_.closing),
        )
        .mutate(size_band=size_band(_.size / 100.0, policy))
        .drop("size", "closing")
    )


def _sum_cents_or_zero(value: ir.Value, where: ir.Value | None = None) -> ir.Value:
    return value.sum(where=where).cast("int64").fill_null(0)
