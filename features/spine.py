"""Spine: one row per (account_id, as_of) with a main renewal within the horizon (data contract, "Observations").

All values were known at `as_of`: the terms, cancellations and payments known by then, as the ledger settled them
(`features.revenue.ledger.RenewalLedger.term_states`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, quantize
from renewals.features.point_in_time import (
    date_of,
    day_number,
    day_of,
    days_ago,
    days_until,
    has_passed,
    known_rates,
    states_as_of,
)
from renewals.features.policy import Policy
from renewals.features.versions import accounts_as_of


def month_starts(first: date, last: date) -> list[date]:
    """First days of months in [first, last]."""
    start, end = first.year * 12 + first.month - 1, last.year * 12 + last.month - 1
    months = (date(n // 12, n % 12 + 1, 1) for n in range(start, end + 1))
    return [month for month in months if first <= month <= last]


def dates_table(dates: Iterable[date]) -> ir.Table:
    """As-of dates with their day numbers, one row per date."""
    return ibis.memtable(
        [{"as_of": d, "day": day_number(d)} for d in dates], schema=ibis.schema({"as_of": "date", "day": "int32"})
    )


def candidate_observations(rows: ir.Table, dates: Iterable[date]) -> ir.Table:
    """Every account of a table combined with every date: one row per (account_id, as_of)."""
    return rows.select("account_id").distinct().cross_join(dates_table(dates))


def running_terms(term_states: ir.Table, spine: ir.Table) -> ir.Table:
    """Terms known at each observation, and whether they run: one row per (account_id, as_of, term).

    Adds `due_in` (days to the end of the term, or of its ramp), `decides_in` (days to its decision: where it renews by
    itself, its notice period comes off, R12), `began_ago` (days since the start), `has_started`, `stopped` (cancelled)
    and `running`. A term that was replaced by what continues it is no longer running; otherwise
    its revenue would count twice.
    """
    known = states_as_of(term_states, spine)
    known = known.mutate(
        began_ago=days_ago(known, known.start_date),
        due_in=days_until(known, known.renewal_date),
        has_started=has_passed(known, known.start_date),
        stopped=known.cancelled_at.notnull(),
    )
    notice = known.auto_renew.fill_null(True).ifelse(known.notice_days.fill_null(0), 0)
    known = known.mutate(decides_in=known.due_in - notice)
    has_ended = has_passed(known, known.end_date).fill_null(False)
    is_replaced = has_passed(known, known.replaced_at).fill_null(False)
    return known.mutate(running=known.has_started & ~has_ended & ~known.stopped & ~is_replaced)


def terms(term_states: ir.Table, rates: ir.Table | None, spine: ir.Table, policy: Policy) -> ir.Table:
    """Terms known at each observation: one row per (account_id, as_of, term).

    Adds to `running_terms` `pays` (the account's payments are known) and `value`, the ARR in the reporting currency at
    the rate known then.
    """
    known = running_terms(term_states, spine).mutate(pays=_.paid_at.notnull().any().over(group_by=KEY))
    return _add_reporting_value(known, rates, spine, policy)


def _add_reporting_value(known_terms: ir.Table, rates: ir.Table | None, spine: ir.Table, policy: Policy) -> ir.Table:
    """Add `value`, the ARR in the reporting currency; null if no rate was known."""
    known_terms = known_terms.mutate(_currency=_.currency.fill_null(policy.money.reporting_currency))
    home = _._currency == policy.money.reporting_currency
    if rates is None:
        return known_terms.mutate(value=home.ifelse(quantize(_.arr), ibis.null("float64"))).drop("_currency")
    quoted = known_rates(rates, spine)
    joined = known_terms.left_join(
        quoted, [known_terms.as_of == quoted.as_of, known_terms._currency == quoted.currency], rname="{name}_quoted"
    )
    value = quantize(_.arr.cast("float64") * home.ifelse(1.0, _.rate))
    return joined.mutate(value=value).drop("_currency", "as_of_quoted", "currency_quoted", "rate")


def observations(known_terms: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Accounts with a running contract whose main renewal is within the horizon: one row per (account_id, as_of).

    `known_terms` is `terms(...)` over every candidate. A renewal is the set of terms that end on one day; the main one
    has the largest ARR (ties: the earlier end). Rolling contracts are no renewal (R15). `days_to_decision` and
    `decision_date` are those of the first of its terms to be decided, `notice_given` is true if the customer gave
    notice of all of them (R12).
    """
    running = known_terms.filter(_.running)
    sets = (
        running.filter(~_.rolling)
        .mutate(end_day=day_of(_.renewal_date))
        .group_by(*KEY, "end_day")
        .agg(
            arr_due=_.value.sum(),
            days_to_renewal=_.due_in.min(),
            renewal_date=_.renewal_date.max(),
            term_start=_.start_date.min(),
            term_age=_.began_ago.max(),
            renewal_signed=_.signed_ahead.any(),
            days_to_decision=_.decides_in.min(),
            notice_given=_.notice_given.notnull().all(),
        )
    )
    order = ibis.window(group_by=KEY, order_by=[ibis.desc("arr_due"), "end_day"])
    main = sets.mutate(place=ibis.row_number().over(order)).filter(_.place == 0).drop("place", "end_day")
    totals = running.group_by(*KEY).agg(arr=_.value.sum())
    firsts = known_terms.filter(_.has_started).group_by(*KEY).agg(account_age=_.began_ago.max())
    rows = main.join(totals, KEY).join(firsts, KEY).join(spine.select(*KEY, "day"), KEY)
    rows = rows.filter(_.days_to_renewal <= policy.renewal.horizon_days)
    return rows.mutate(
        decision_date=date_of(rows.day + rows.days_to_decision),
        currency=ibis.literal(policy.money.reporting_currency),
        size_band=size_band(_.arr, policy),
        stage=journey_stage(rows, policy),
    )


def add_account_columns(rows: ir.Table, accounts: ir.Table) -> ir.Table:
    """Add the account's name and manager as known then: one row per (account_id, as_of)."""
    then = accounts_as_of(accounts, rows).select(*KEY, "account_name", "csm")
    return rows.left_join(then, KEY).drop("account_id_right", "as_of_right")


def size_band(arr: ir.Value, policy: Policy) -> ir.StringValue:
    """Size band of an account by ARR in the reporting currency (R7); null if no rate was known."""
    small, large = policy.money.size_bands
    return ibis.cases((arr < small, "small"), (arr <= large, "medium"), (arr > large, "large"))


def journey_stage(rows: ir.Table, policy: Policy) -> ir.StringValue:
    """Stage of the account's journey (J1): onboarding (the first days of the first term), pre_renewal or steady."""
    journey = policy.journey
    return ibis.cases(
        (rows.account_age < journey.onboarding_days, "onboarding"),
        (rows.days_to_renewal <= journey.pre_renewal_days, "pre_renewal"),
        else_="steady",
    )
