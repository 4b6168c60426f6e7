"""Spine: the renewals due, and every other customer (R11; data contract, "Observations, second edition").

All values were known at `as_of`: the terms, cancellations and payments known by then, as the ledger settled them
(`features.revenue.ledger.RenewalLedger.term_states`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, RENEWAL_KEY, quantize
from renewals.features.point_in_time import (
    date_of,
    day_number,
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

    Adds `in_renewal` (the `renewal_id` of the set that it belongs to), `ends` (the end of the term, or of its ramp;
    null where it rolls on), `due_in` (days to that end), `decides_in` (days to its decision: where it renews by itself,
    its notice period comes off, R12), `notice_in` (the same, null without a notice period), `began_ago` (days since the
    start), `has_started`, `stopped` (cancelled), `running` and `overdue`: ended within the grace, and nothing follows
    yet (R9). A term that was replaced by what continues it is no longer running; otherwise its revenue would count
    twice.
    """
    known = states_as_of(term_states, spine)
    known = known.mutate(
        began_ago=days_ago(known, known.start_date),
        has_started=has_passed(known, known.start_date),
        stopped=known.cancelled_at.notnull(),
    )
    has_ended = has_passed(known, known.end_date).fill_null(False) | known.stopped
    is_replaced = has_passed(known, known.replaced_at).fill_null(False)
    overdue = known.has_started & has_ended & known.is_open & ~is_replaced
    ends = known.stopped.ifelse(known.cancelled_at.cast("date"), known.renewal_date)
    known = known.mutate(
        running=known.has_started & ~has_ended & ~is_replaced,
        overdue=overdue,
        ends=(known.rolling & ~overdue).ifelse(ibis.null("date"), ends),
    )
    notice = known.auto_renew.fill_null(True).ifelse(known.notice_days, ibis.null("int64"))
    due_in = days_until(known, known.ends)
    return known.mutate(
        in_renewal=renewal_id(known.account_id, known.ends),
        due_in=due_in,
        notice_in=due_in - notice,
        decides_in=due_in - notice.fill_null(0),
    )


def renewal_id(account_id: ir.Value, ends: ir.Value) -> ir.StringValue:
    """Identifier of a renewal: the account's id, a colon, and the end date, which is left out where there is none."""
    return account_id.cast("string") + ":" + ends.cast("timestamp").strftime("%Y-%m-%d").fill_null("")


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


DUE, OVERDUE, NOT_DUE = "due", "overdue", "not_due"
"""Values of `renewal_state`: the renewal ends within the horizon; it ended within the grace and nothing follows; the
customer has no such renewal."""


def observations(known_terms: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Renewals due within the horizon, and every other customer (R11): one row per (account_id, renewal_id, as_of).

    `known_terms` is `terms(...)` over every candidate. A renewal is the set of terms that end on one day; rolling
    contracts are none (R15). A customer without a renewal within the horizon, and without one that is overdue, has one
    row, `not_due`: about the end of its largest set, with the amounts and products of all its terms. `is_main` marks
    one row of each account: the renewal with the largest ARR that is due (ties: the earlier end), else overdue, else
    the row that is not due. `account_arr` is the ARR of all terms that run or are overdue, `runs` is true if any runs.
    """
    members = known_terms.filter(_.running | _.overdue).mutate(renewal_id=_.in_renewal)
    rows = renewal_sets(members, policy).join(_amounts(members, RENEWAL_KEY, policy), RENEWAL_KEY)
    states = [(rows.renewal_state == state, place) for place, state in enumerate((DUE, OVERDUE, NOT_DUE))]
    rows = rows.mutate(_state=ibis.cases(*states))
    order = ibis.window(group_by=KEY, order_by=["_state", ibis.desc("arr_due"), "days_to_renewal", "renewal_id"])
    rows = rows.mutate(_place=ibis.row_number().over(order))
    rows = rows.filter((_.renewal_state != NOT_DUE) | (_._place == 0)).mutate(is_main=_._place == 0)
    accounts = known_terms.filter(_.has_started).group_by(*KEY).agg(account_age=_.began_ago.max())
    accounts = accounts.join(members.group_by(*KEY).agg(runs=_.running.any()), KEY)
    accounts = accounts.join(
        _amounts(members, KEY, policy).rename("all_{name}"), [("account_id", "all_account_id"), ("as_of", "all_as_of")]
    )
    rows = rows.drop("_state", "_place").join(accounts, KEY).join(spine.select(*KEY, "day"), KEY)
    is_whole = rows.renewal_state == NOT_DUE
    return rows.mutate(
        **{name: is_whole.ifelse(rows[f"all_{name}"], rows[name]) for name in AMOUNTS},
        account_arr=_.all_arr_due,
        renewal_date=date_of(rows.day + rows.days_to_renewal),
        notice_date=date_of(rows.day + rows.days_to_notice),
        decision_date=date_of(rows.day + rows.days_to_decision),
        currency=ibis.literal(policy.money.reporting_currency),
        size_band=size_band(_.all_arr_due, policy),
        stage=journey_stage(rows, policy),
    ).drop("all_account_id", "all_as_of", *(f"all_{name}" for name in AMOUNTS))


def renewal_sets(members: ir.Table, policy: Policy) -> ir.Table:
    """Sets of terms that end on one day: one row per (account_id, renewal_id, as_of).

    `days_to_decision` is that of the first term to be decided. `renewal_signed` is true if any of them is followed by a
    further term, which decides the outcome; `signed` if each is, or renews by itself and its last day for notice
    has passed, where notices are recorded at all; `notice_given` if the customer gave notice of all of them (R12).
    """
    members = members.mutate(_notices=_.notice_given.notnull().any().over(group_by="as_of"))
    renews_itself = (
        members._notices
        & members.auto_renew.fill_null(False)
        & members.notice_given.isnull()
        & (members.notice_in < 0).fill_null(False)
    )
    sets = members.mutate(_signed=members.signed_ahead | renews_itself).group_by(*RENEWAL_KEY).agg(
        days_to_renewal=_.due_in.min(),
        term_start=_.start_date.min(),
        term_age=_.began_ago.max(),
        renewal_signed=_.signed_ahead.any(),
        signed=_._signed.all(),
        days_to_notice=_.notice_in.min(),
        days_to_decision=_.decides_in.min(),
        notice_given=_.notice_given.notnull().all(),
        _overdue=_.overdue.any(),
    )  # fmt: skip
    is_due = (sets.days_to_renewal <= policy.renewal.horizon_days).fill_null(False)
    state = ibis.cases((sets._overdue, OVERDUE), (is_due, DUE), else_=NOT_DUE)
    return sets.mutate(renewal_state=state).drop("_overdue")


AMOUNTS = ("arr_due", "contract_amount", "contract_currency", "products")


def _amounts(members: ir.Table, key: Sequence[str], policy: Policy) -> ir.Table:
    """ARR in the reporting currency, that in the contracts' own (null where they differ), and products: one row per
    key."""
    members = members.mutate(_currency=_.currency.fill_null(policy.money.reporting_currency))
    one_currency = _._currency.nunique() == 1
    sums = members.group_by(*key).agg(
        arr_due=_.value.sum(),
        contract_amount=one_currency.ifelse(quantize(_.arr).sum(), ibis.null("float64")),
        contract_currency=one_currency.ifelse(_._currency.max(), ibis.null("string")),
    )
    names = members.select(*key, "product").distinct().group_by(*key)
    return sums.join(names.agg(products=_["product"].collect().sort().join(", ")), key)


def add_account_columns(rows: ir.Table, accounts: ir.Table) -> ir.Table:
    """Add the account's name and manager as known then: one row per row of `rows`."""
    then = accounts_as_of(accounts, rows.select(*KEY, "day").distinct()).select(*KEY, "account_name", "csm")
    return rows.left_join(then, KEY).drop("account_id_right", "as_of_right")


def size_band(arr: ir.Value, policy: Policy) -> ir.StringValue:
    """Size band of an account by ARR in the reporting currency (R7); null if no rate was known."""
    small, large = policy.money.size_bands
    return ibis.cases((arr < small, "small"), (arr <= large, "medium"), (arr > large, "large"))


def journey_stage(rows: ir.Table, policy: Policy) -> ir.StringValue:
    """Stage of the account's journey (J1): onboarding (the first days of the first term), pre_renewal or steady.

    A contract that has just ended is still before its renewal.
    """
    journey = policy.journey
    return ibis.cases(
        (rows.account_age < journey.onboarding_days, "onboarding"),
        (rows.days_to_renewal <= journey.pre_renewal_days, "pre_renewal"),
        else_="steady",
    )
