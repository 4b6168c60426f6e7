"""Spine: one row per (account_id, as_of) with a main renewal within the horizon (data contract, "Observations").

All values were known at `as_of`: the terms, cancellations and payments known by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, quantize
from renewals.features.point_in_time import (
    as_of_rows,
    day_number,
    day_of,
    days_ago,
    days_until,
    has_passed,
    known_rates,
)
from renewals.features.policy import Policy

RENEWAL_KEY = (*KEY, "end_date")


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


def candidate_observations(contracts: ir.Table, dates: Iterable[date]) -> ir.Table:
    """Every account with a contract combined with every date: one row per (account_id, as_of)."""
    return contracts.select("account_id").distinct().cross_join(dates_table(dates))


def terms(contracts: ir.Table, rates: ir.Table | None, spine: ir.Table, policy: Policy) -> ir.Table:
    """Terms known at each observation: one row per (account_id, as_of, contract).

    Adds `due_in` (days to the nominal end), `began_ago` (days since the start), `has_started`, `signed_ahead` (a
    follow-on of it is signed), `running`, and `value`, its ARR in the reporting currency at the rate known then. A term
    replaced by its own early follow-on is no longer running; otherwise its revenue would count twice.
    """
    known = as_of_rows("contracts", contracts, spine)
    known = known.mutate(
        product=_.product.fill_null("core"),
        began_ago=days_ago(known, known.start_date),
        due_in=days_until(known, known.end_date),
        has_started=_has_started(known),
        stopped=known.cancelled_at.notnull(),
        pays=known.paid_at.notnull().any().over(group_by=KEY),
    )
    followed = _find_follow_ons(known, policy)
    known = known.join(followed, [*KEY, "contract_id"], how="left", rname="{name}_followed")
    known = known.mutate(
        signed_ahead=_.signed_ahead.fill_null(False),
        running=_.has_started & ~_has_ended(known) & ~_.stopped & ~_.replaced.fill_null(False),
    )
    return _add_reporting_value(known, rates, spine, policy)


def _has_started(known_terms: ir.Table) -> ir.BooleanValue:
    """True if the start of a term has passed; a term cancelled by then never ran."""
    never_ran = (known_terms.cancelled_at <= known_terms.start_date).fill_null(False)
    return has_passed(known_terms, known_terms.start_date) & ~never_ran


def _has_ended(known_terms: ir.Table) -> ir.BooleanValue:
    return has_passed(known_terms, known_terms.end_date)


def _find_follow_ons(known_terms: ir.Table, policy: Policy) -> ir.Table:
    """Terms that a known term follows on (R2): one row per (account_id, as_of, contract)."""
    later = known_terms.filter(~_.stopped).select(
        *KEY,
        "product",
        next_id="contract_id",
        next_start="began_ago",
        next_end="due_in",
        next_has_started="has_started",
    )
    pairs = known_terms.select(*KEY, "product", "contract_id", "began_ago", "due_in").join(later, [*KEY, "product"])
    gap = _.due_in + _.next_start
    pairs = pairs.filter(
        _.next_id != _.contract_id,
        _.next_end > _.due_in,
        _.next_start < _.began_ago,
        -gap >= -policy.grace.before_days,
        -gap <= policy.grace.after_days,
    )
    return pairs.group_by(*KEY, "contract_id").agg(signed_ahead=ibis.literal(True), replaced=_.next_has_started.any())


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
    has the largest ARR (ties: the earlier end).
    """
    running = known_terms.filter(_.running)
    sets = (
        running.mutate(end_day=day_of(_.end_date))
        .group_by(*KEY, "end_day")
        .agg(
            arr_due=_.value.sum(),
            days_to_renewal=_.due_in.min(),
            renewal_date=_.end_date.max().date(),
            term_start=_.start_date.min().date(),
            term_age=_.began_ago.max(),
            renewal_signed=_.signed_ahead.any(),
        )
    )
    order = ibis.window(group_by=KEY, order_by=[ibis.desc("arr_due"), "end_day"])
    main = sets.mutate(place=ibis.row_number().over(order)).filter(_.place == 0).drop("place", "end_day")
    totals = running.group_by(*KEY).agg(arr=_.value.sum())
    firsts = known_terms.filter(_.has_started).group_by(*KEY).agg(account_age=_.began_ago.max())
    rows = main.join(totals, KEY).join(firsts, KEY).join(spine.select(*KEY, "day"), KEY)
    rows = rows.filter(_.days_to_renewal <= policy.renewal.horizon_days)
    return rows.mutate(
        currency=ibis.literal(policy.money.reporting_currency),
        size_band=size_band(_.arr, policy),
        stage=journey_stage(rows, policy),
    )


def add_account_columns(rows: ir.Table, accounts: ir.Table) -> ir.Table:
    """Add the account's name and manager as known then: one row per (account_id, as_of)."""
    known = as_of_rows("accounts", accounts, rows)
    newest = ibis.window(group_by=KEY, order_by=[_.days_ago.asc(nulls_first=False)])
    then = known.mutate(place=ibis.row_number().over(newest)).filter(_.place == 0)
    return rows.left_join(then.select(*KEY, "account_name", "csm"), KEY).drop("account_id_right", "as_of_right")


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
