"""Scorecard of a company: ten measures and both renewal rates, by month, quarter, year and segment (K1 to K10).

All inputs are restricted to what was known before one day. Facts are summed per account and month, then months into
periods, then accounts into segments; a measure is a function of these totals (`features.scorecard.measures`). Outcomes
of contracts, customers and recurring revenue come from the ledger and are not recomputed here (R9): a renewal counts in
the month in which the ledger books it, a customer is lost in the month in which the roll-forward loses it.

Terms used here:

period    a calendar month, or the three or twelve months that end with it (a quarter, a year), named by its last month.
opening   recurring revenue on the day before the period, as its first month opened with it; a *customer of the opening*
          had something running, pending or paused.
closing   recurring revenue on the last day of the period, as its last month closed with it.
open      a period is *open* until the grace after its last day has passed: until then some of its terms are pending,
          and a rate would count them as kept or as lost. An open rate has no value; its numerator and denominator
          contain the decided renewals only.

Money is integer cents of the reporting currency until a measure converts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.point_in_time import (
    completed_months,
    date_of,
    day_of,
    known_person_days,
    known_rows,
    month_days,
    month_of,
    next_month,
)
from renewals.features.policy import Policy, Scorecard
from renewals.features.revenue.roll_forward import LONGEST_YEAR, MULTI_YEAR_COLUMNS
from renewals.features.scorecard.measures import MEASURES, MONTHS_PER_YEAR, Measure, cents_to_units
from renewals.features.spine import size_band
from renewals.features.versions import accounts_by_date

PERIOD_MONTHS = {"month": 1, "quarter": 3, "trailing_year": MONTHS_PER_YEAR}
"""Number of months in a period of each kind."""
SEGMENTS = {
    "company": ("whole company", "全公司"),
    "size_band": ("size band", "客户规模"),
    "industry": ("industry", "行业"),
    "plan": ("plan", "套餐"),
    "channel": ("channel", "获客渠道"),
    "cohort": ("year of first contract", "首次签约年份"),
    "csm": ("customer-success manager", "客户成功经理"),
}
"""Segment kinds with their labels in English and Chinese. Size and plan are those at the opening of the period (for
accounts that came later, those they started with); the others are those known at the end of the period, so that a new
manager changes no earlier period."""
UNKNOWN_SEGMENT = "unknown"
"""Segment of accounts for which the value is missing."""
LOSS_COLUMNS = ("period_kind", "period", "loss_reason", "preventable", "contracts", "arr", "state")
SCORECARD_COLUMNS = (
    *("period_kind", "period", "period_start", "period_end", "segment_kind", "segment"),
    *("measure", "unit", "value", "numerator", "denominator", "state"),
)


# --- facts: each function returns one row per (month, account_id) -------------------------------


def renewal_facts(renewals: ir.Table, as_of: date, policy: Policy) -> ir.Table:
    """Counts and amounts of the renewals of each month, by outcome, one row per (month, account_id).

    A decided renewal counts in the month in which it is booked. A pending one counts in that of its due day or, where
    that is already final, in the earliest open month, in which it would be booked if it was decided now.
    """
    first_open = ibis.literal((as_of - timedelta(days=policy.grace.after_days)).replace(day=1), "date")
    due_month = ibis.greatest(month_of(renewals.due_at), first_open)
    days = day_of(renewals.end_date) - day_of(renewals.start_date)
    sets = renewals.mutate(
        month=renewals.booked_month.fill_null(due_month), open=_.renewed.isnull(), long=days > LONGEST_YEAR
    )
    decided_long = sets.long & ~sets.open
    return sets.group_by("month", "account_id").agg(
        long_decided=decided_long.sum(),
        long_renewed=decided_long.ifelse(sets.renewed, 0).sum(),
        long_decided_amount=decided_long.ifelse(sets.amount_due, 0).sum(),
        long_renewed_amount=decided_long.ifelse(sets.amount_renewed, 0).sum(),
        due=_.count(),
        pending=_.open.sum(),
        renewed=_.renewed.fill_null(0).sum(),
        due_amount=_.amount_due.sum(),
        pending_amount=_.open.ifelse(_.amount_due, 0).sum(),
        renewed_amount=_.amount_renewed.fill_null(0).sum(),
        kept_amount=_.amount_kept.fill_null(0).sum(),
        due_plan=_.plan.max(),
    )


def revenue_facts(roll_forward: ir.Table) -> ir.Table:
    """Recurring revenue with its movements and plans, and customers, one row per (month, account_id)."""
    return roll_forward.select("month", "account_id", *REVENUE_COLUMNS, monthly_opening=_.opening)


def loss_facts(entries: ir.Table, options: Scorecard) -> ir.Table:
    """ARR due of the contracts lost, and what of it nobody could have prevented (R13), one row per (month, account_id).

    A contract without a recorded reason counts as one that could have been kept.
    """
    lost = entries.filter(_.renewed == 0).mutate(month=_.booked_month, amount=_.amount_due.fill_null(0))
    unpreventable = _is_unpreventable(lost.loss_reason, options)
    return lost.group_by("month", "account_id").agg(
        lost_amount=_.amount.sum(), unpreventable_amount=unpreventable.ifelse(lost.amount, 0).sum()
    )


def _is_unpreventable(reason: ir.Value, options: Scorecard) -> ir.BooleanValue:
    return reason.strip().lower().isin(options.unpreventable_reasons).fill_null(False)


def expansion_facts(
    roll_forward: ir.Table, expansions: ir.Table, contracts: ir.Table, policy: Policy, options: Scorecard
) -> ir.Table:
    """Expansion credited to sales, and to customer success (M6), one row per (month, account_id).

    Sales is credited until some months after the first paid contract of the account was signed, by its size band at the
    opening of the month. The first purchase of the month decides, of those known before the month was final.
    """
    is_paid = (contracts.arr > 0) & (contracts.kind.fill_null("subscription") == "subscription")
    customers = contracts.filter(is_paid).group_by("account_id")
    customers = customers.agg(signed=_.signed_at.coalesce(_.start_date).min().cast("timestamp").truncate("D"))
    known_days = day_of(expansions.known_at) - day_of(month_of(expansions.happened_at) + ibis.interval(months=1))
    in_time = expansions.filter(known_days < policy.grace.after_days)
    purchases = in_time.group_by("account_id", month=month_of(in_time.happened_at)).agg(bought=_.happened_at.min())
    band = size_band(cents_to_units(_.opening.nullif(0).coalesce(_.closing)), policy)
    credited = options.sales_expansion_months
    rows = (
        roll_forward.mutate(expansion=_.upsell + _.cross_sell)
        .filter(_.expansion != 0)
        .left_join(customers, "account_id", rname="{name}_customer")
        .left_join(purchases, ["account_id", "month"], rname="{name}_bought")
        .mutate(band=band, happened=_.bought.coalesce(_.month).cast("timestamp"))
    )
    is_of_sales = ibis.cases(
        (rows.band == "small", rows.happened < rows.signed + ibis.interval(months=credited.small)),
        (rows.band == "medium", rows.happened < rows.signed + ibis.interval(months=credited.medium)),
        else_=rows.happened < rows.signed + ibis.interval(months=credited.large),
    ).fill_null(False)
    return rows.select(
        *("month", "account_id"),
        sales_expansion=is_of_sales.ifelse(rows.expansion, 0),
        cs_expansion=is_of_sales.ifelse(0, rows.expansion),
    )


def onboarding_facts(intervals: ir.Table, trials: ir.Table | None, policy: Policy) -> ir.Table:
    """New customers by the month of their first contract, with their first trial, one row per (month, account_id).

    A trial counts if it was requested, and finished, before the onboarding ended.
    """
    customers = intervals.filter(_.amount > 0).group_by("account_id").agg(begin=_.start_day.min())
    customers = customers.mutate(month=month_of(date_of(customers.begin)), began=ibis.literal(1))
    if trials is None:
        return customers.drop("begin")
    trial_order = ibis.row_number().over(group_by="account_id", order_by=["requested_at", "finished_at"])
    first_trials = (
        trials.mutate(nth=trial_order)
        .filter(_.nth == 0)
        .select("account_id", requested=day_of(_.requested_at), finished=day_of(_.finished_at))
    )
    onboarding_end = _.begin + policy.journey.onboarding_days
    return (
        customers.left_join(first_trials, "account_id")
        .mutate(in_time=(_.requested < onboarding_end).fill_null(False))
        .mutate(done=_.in_time & (_.finished < onboarding_end).fill_null(False))
        .select(
            *("month", "account_id", "began"),
            trial_asked=_.in_time.ifelse(1, 0),
            trial_finished=_.done.ifelse(1, 0),
            trial_days=_.done.ifelse(_.finished - _.requested, ibis.null("int32")),
        )
    )


def survey_facts(surveys: ir.Table) -> ir.Table:
    """Numbers of promoters, detractors and answers of NPS surveys, one row per (month, account_id)."""
    scored = surveys.filter(_.kind == "nps", _.score.notnull()).mutate(month=month_of(_.answered_at))
    return scored.group_by("month", "account_id").agg(
        promoters=(_.score >= 9).sum(), detractors=(_.score <= 6).sum(), answers=_.count()
    )


def referral_facts(referrals: ir.Table) -> ir.Table:
    """Numbers of referrals made and converted, by referring account, one row per (month, account_id)."""
    invitations = referrals.select("account_id", month=month_of(_.referred_at), invitations=1, conversions=0)
    conversions = referrals.filter(_.converted_at.notnull()).select(
        "account_id", month=month_of(_.converted_at), invitations=0, conversions=1
    )
    events = invitations.union(conversions).group_by("month", "account_id")
    return events.agg(invitations=_.invitations.sum(), conversions=_.conversions.sum())


def referral_revenue_facts(referrals: ir.Table, roll_forward: ir.Table, months: Sequence[date]) -> ir.Table:
    """ARR of referred accounts and the cost of their rewards, one row per (month, account_id).

    Both are assigned to the referred account, from the month of its conversion. Its ARR counts once if several accounts
    referred it; each reward counts.
    """
    cost = referrals.filter(_.converted_at.notnull()).select(
        month=month_of(_.converted_at),
        account_id="referred_account_id",
        arr=ibis.literal(0, "int64"),
        reward=(_.reward_cost.fill_null(0.0) * 100).round().cast("int64"),
    )
    customers = cost.group_by("account_id").agg(since=_.month.min())
    revenue = roll_forward.inner_join(customers, "account_id").filter(_.month >= _.since)
    events = cost.union(revenue.select("month", "account_id", arr="closing", reward=ibis.literal(0, "int64")))
    until = _table_from_rows([{"until": month} for month in months], until="date")
    cumulative = events.join(until, events.month <= until.until).group_by("account_id", month=_.until)
    return _stack_facts(
        events.group_by("month", "account_id").agg(referral_arr=_.arr.sum()),
        cumulative.agg(referral_arr_so_far=_.arr.sum(), reward_so_far=_.reward.sum()),
    )


def usage_facts(person_days: ir.Table, months: Sequence[date]) -> ir.Table:
    """User-days with a north-star action, and users with one in the last 28 days, one row per (month, account_id).

    A day may have several rows in `person_days`, one for each arrival of its events.
    """
    active = person_days.filter(_.north_star > 0).select("account_id", "user_id", "day").distinct()
    dated = active.join(month_days(months), "day")
    people = dated.group_by("month", "account_id", "user_id").agg(days=_.count(), recent=_.recent.any())
    return people.group_by("month", "account_id").agg(user_days=_.days.sum(), users=_.recent.sum())


# --- months into periods, accounts into segments ------------------------------------------------

STOCK_COLUMNS = ("closing", "closing_customer", *MULTI_YEAR_COLUMNS, "referral_arr_so_far", "reward_so_far")
"""Facts taken at the end of a period, not summed over its months."""
FLOW_COLUMNS = (
    *("due", "pending", "renewed", "due_amount", "pending_amount", "renewed_amount", "kept_amount"),
    *("long_decided", "long_renewed", "long_decided_amount", "long_renewed_amount"),
    *("monthly_opening", "new", "churn", "contraction", "upsell", "cross_sell", "price"),
    *("contracted", "paused", "fx", "correction", "lost"),
    *("lost_amount", "unpreventable_amount", "sales_expansion", "cs_expansion"),
    *("began", "trial_asked", "trial_finished", "promoters", "detractors", "answers"),
    *("invitations", "conversions", "referral_arr", "user_days", "users"),
)
"""Facts summed over the months of a period."""
REVENUE_COLUMNS = (
    *("opening", "closing", "new", "churn", "contraction", "upsell", "cross_sell", "price"),
    *("contracted", "paused", "fx", "correction", *MULTI_YEAR_COLUMNS),
    *("lost", "opening_customer", "closing_customer", "opening_plan", "closing_plan"),
)
"""Facts that the roll-forward gives as they are."""
PLAN_COLUMNS = ("opening_plan", "closing_plan", "due_plan")
FACT_TYPES = {
    **dict.fromkeys(("opening", "opening_customer", *STOCK_COLUMNS, *FLOW_COLUMNS), "int64"),
    "trial_days": "int32",
    **dict.fromkeys(PLAN_COLUMNS, "string"),
}
"""Type of each fact of an account in a month."""
OPENING_COLUMNS = (
    *("opening_lost", "opening_now", "opening_churned", "opening_kept", "opening_upsell", "opening_cross_sell"),
)
SUMMED_COLUMNS = ("opening", "opening_customer", *STOCK_COLUMNS, *FLOW_COLUMNS, *OPENING_COLUMNS)
"""Columns summed over the accounts of a segment."""
PERIOD_KEY = ("period_kind", "period")


def scorecard(
    inputs: Mapping[str, ir.Table],
    as_of: date,
    policy: Policy,
    options: Scorecard,
    first_day: date,
    materialize: Callable[[ir.Table], ir.Table] = lambda t: t,
) -> ir.Table:
    """Compute all measures by period and segment, one row per (period, segment, measure).

    The periods are the newest `options.months` months, and the quarters and years that end with them. `inputs` contains
    `entries`, `renewals`, `expansions`, `roll_forward` (by account) and `revenue_intervals` of the ledger of `as_of`,
    the raw `accounts` and `contracts`, and, where available, `trials`, `surveys`, `referrals` and the rolled-up
    `person_days`. `first_day` is a day of the first month with revenue. A segment without any data for a measure has no
    row; the company as a whole has a row for each measure.
    """
    known = _known_inputs(inputs, as_of)
    months = completed_months(first_day, as_of)
    spans = _period_months(months, as_of, options.months)
    facts = materialize(_collect_facts(known, months, as_of, policy, options))
    account_sums = _sum_by_account(facts, spans, policy)
    periods = spans.drop("month").distinct()
    segments = _account_segments(known, periods)
    accounts = materialize(account_sums.left_join(segments, [*PERIOD_KEY, "account_id"], rname="{name}_described"))
    totals = materialize(_segment_totals(accounts, periods).cross_join(_first_recorded_months(known)))
    return ibis.union(*(_measure_rows(m, totals, known, policy) for m in MEASURES.values())).select(*SCORECARD_COLUMNS)


def losses_by_reason(entries: ir.Table, as_of: date, policy: Policy, options: Scorecard, first_day: date) -> ir.Table:
    """Contracts of the company that came due and were lost, by recorded reason (R13), in the periods of the scorecard.

    One row per (period_kind, period, loss_reason); the reason is null where none is recorded. `arr` is the ARR due.
    """
    spans = _period_months(completed_months(first_day, as_of), as_of, options.months)
    lost = entries.filter(_.renewed == 0).join(spans, entries.booked_month == spans.month)
    return (
        lost.mutate(state=(_.elapsed >= policy.grace.after_days).ifelse("final", "open"))
        .group_by(*PERIOD_KEY, "loss_reason", "state")
        .agg(contracts=_.count(), arr=cents_to_units(_.amount_due.fill_null(0).sum()))
        .mutate(preventable=~_is_unpreventable(_.loss_reason, options))
        .select(*LOSS_COLUMNS)
    )


def _known_inputs(inputs: Mapping[str, ir.Table], as_of: date) -> dict[str, ir.Table]:
    """The inputs restricted to what was known before the day; the ledger's tables already are."""
    raw = ("accounts", "contracts", "trials", "surveys", "referrals")
    known = {name: known_rows(name, inputs[name], as_of) for name in raw if name in inputs}
    if "person_days" in inputs:
        known["person_days"] = known_person_days(inputs["person_days"], as_of)
    return {**inputs, **known}


def _period_months(months: Sequence[date], as_of: date, month_count: int) -> ir.Table:
    """Periods with each of their months, one row per (period_kind, period, month).

    `elapsed` is the number of days from the end of the period to `as_of`.
    """
    rows = [
        {
            "period_kind": kind,
            "period": f"{last:%Y-%m}",
            "period_start": period_months[0],
            "last": last,
            "period_end": next_month(last),
            "days": (next_month(last) - period_months[0]).days,
            "months": len(period_months),
            "elapsed": (as_of - next_month(last)).days,
            "month": month,
        }
        for number, last in list(enumerate(months, start=1))[-month_count:]
        for kind, length in PERIOD_MONTHS.items()
        if number >= length
        for period_months in [months[number - length : number]]
        for month in period_months
    ]
    types = dict.fromkeys(PERIOD_KEY, "string") | dict.fromkeys(("days", "months", "elapsed"), "int64")
    return _table_from_rows(rows, **types, **dict.fromkeys(("period_start", "last", "period_end", "month"), "date"))


def _table_from_rows(rows: list[dict[str, Any]], **types: str) -> ir.Table:
    """Memory table of the given rows and column types; `rows` may be empty."""
    import pyarrow as pa

    return ibis.memtable(pa.Table.from_pylist(rows, schema=ibis.schema(types).to_pyarrow()))


def _collect_facts(
    inputs: Mapping[str, ir.Table], months: Sequence[date], as_of: date, policy: Policy, options: Scorecard
) -> ir.Table:
    """All facts from all inputs, one row per (month, account_id)."""
    roll_forward = inputs["roll_forward"]
    facts = [
        renewal_facts(inputs["renewals"], as_of, policy),
        revenue_facts(roll_forward),
        loss_facts(inputs["entries"], options),
        expansion_facts(roll_forward, inputs["expansions"], inputs["contracts"], policy, options),
        onboarding_facts(inputs["revenue_intervals"], inputs.get("trials"), policy),
    ]
    if "surveys" in inputs:
        facts.append(survey_facts(inputs["surveys"]))
    if "referrals" in inputs:
        facts += [
            referral_facts(inputs["referrals"]),
            referral_revenue_facts(inputs["referrals"], roll_forward, months),
        ]
    if "person_days" in inputs:
        facts.append(usage_facts(inputs["person_days"], months))
    return _stack_facts(*facts)


def _stack_facts(*tables: ir.Table) -> ir.Table:
    """Tables of different facts combined into one table with all `FACT_TYPES`, one row per (month, account_id)."""

    def with_all_facts(table: ir.Table) -> ir.Table:
        facts = {name: table[name] if name in table.columns else ibis.null() for name in FACT_TYPES}
        return table.select(
            "month", "account_id", **{name: facts[name].cast(kind) for name, kind in FACT_TYPES.items()}
        )

    rows = ibis.union(*map(with_all_facts, tables))
    # Each fact comes from one table only, so the maximum is its value.
    return rows.group_by("month", "account_id").agg(**{name: rows[name].max() for name in FACT_TYPES})


def _sum_by_account(facts: ir.Table, period_months: ir.Table, policy: Policy) -> ir.Table:
    """Facts summed per account and period, with plan and size band, one row per (period_kind, period, account_id)."""
    at_start, at_end = _.month == _.period_start, _.month == _.last
    rows = (
        facts.join(period_months, "month")
        .group_by(*PERIOD_KEY, "account_id")
        .agg(
            **{name: _[name].sum(where=at_start).fill_null(0) for name in ("opening", "opening_customer")},
            **{name: _[name].sum(where=at_end).fill_null(0) for name in STOCK_COLUMNS},
            **{name: _[name].sum().fill_null(0) for name in FLOW_COLUMNS},
            trial_days=_.trial_days.max(),
            opening_plan=_.opening_plan.max(where=at_start),
            last_plan=_.closing_plan.max(where=at_end),
            any_plan=ibis.coalesce(_.closing_plan.max(), _.due_plan.max()),
        )
        .mutate(size=ibis.coalesce(*(_[name].nullif(0) for name in ("opening", "closing", "new", "due_amount"))))
        .mutate(size_band=size_band(cents_to_units(_.size), policy))
        .mutate(plan=ibis.coalesce(_.opening_plan, _.last_plan, _.any_plan))
    )
    return _add_opening_columns(rows)


def _add_opening_columns(rows: ir.Table) -> ir.Table:
    """Add what customers of the opening kept, lost and bought; they lose at most the opening revenue.

    What they hold now leaves out exchange rates, corrections, pauses and what came back after a loss: neither
    currencies nor late papers move a rate.
    """
    is_paying = _.opening > 0

    def if_customer(value: ir.Value) -> ir.Value:
        return is_paying.ifelse(value, 0)

    churned = ibis.least(_.churn, _.opening)
    losses = _.churn + _.contraction
    retained = retained_revenue(_.opening, losses)
    return rows.mutate(
        opening_lost=((_.opening_customer > 0) & (_.lost > 0)).ifelse(1, 0),
        opening_now=if_customer(retained_revenue(_.opening + retained_gains(_), losses)),
        opening_churned=if_customer(churned),
        opening_kept=if_customer(retained),
        opening_upsell=if_customer(_.upsell),
        opening_cross_sell=if_customer(_.cross_sell),
    )


def retained_revenue(opening: ir.Value, lost: ir.Value) -> ir.Value:
    """Opening revenue less `lost`, at least zero: an account cannot lose more than it paid (R5)."""
    return ibis.greatest(opening - lost, 0)


def retained_gains(movements: Any) -> ir.Value:
    """Movements by which the revenue of customers of the opening grows in net retention (R5)."""
    return movements.upsell + movements.cross_sell + movements.price + movements.contracted


def _account_segments(inputs: Mapping[str, ir.Table], periods: ir.Table) -> ir.Table:
    """Attributes of each account as known at the end of each period, and the year of its first contract.

    One row per (period_kind, period, account_id).
    """
    ends = periods.select(*PERIOD_KEY, as_of="period_end", day=day_of(_.period_end))
    attributes = accounts_by_date(inputs["accounts"], ends).select("account_id", "as_of", "industry", "channel", "csm")
    cohorts = inputs["contracts"].group_by("account_id").agg(cohort=_.start_date.min().year().cast("string"))
    described = ends.join(attributes, "as_of").left_join(cohorts, "account_id", rname="{name}_first")
    return described.select(*PERIOD_KEY, "account_id", "industry", "channel", "csm", "cohort")


def _segment_totals(accounts: ir.Table, periods: ir.Table) -> ir.Table:
    """Accounts summed over each segment, one row per (period_kind, period, segment_kind, segment)."""
    parts = []
    for kind in SEGMENTS:
        segment = ibis.literal("all") if kind == "company" else accounts[kind].cast("string").fill_null(UNKNOWN_SEGMENT)
        labelled = accounts.mutate(segment_kind=ibis.literal(kind), segment=segment)
        parts.append(
            labelled.group_by(*PERIOD_KEY, "segment_kind", "segment").agg(
                **{name: _[name].sum() for name in SUMMED_COLUMNS}, trial_days=_.trial_days.median()
            )
        )
    return ibis.union(*parts).join(periods, PERIOD_KEY)


EVENT_MONTHS = {
    "trials": lambda t: month_of(t.requested_at),
    "referrals": lambda t: month_of(t.referred_at),
    "person_days": lambda t: month_of(date_of(t.day)),
}
"""Month of a row, by table. In these tables a month without a row means zero events, but only from the first row on."""


def _first_recorded_months(inputs: Mapping[str, ir.Table]) -> ir.Table:
    """First month of each table of `EVENT_MONTHS` as columns of one row; null for a missing table."""
    first_months = _table_from_rows([{"one": 1}], one="int8")
    for name, month in EVENT_MONTHS.items():
        if name in inputs:
            rows = inputs[name]
            first_months = first_months.cross_join(rows.agg(**{f"{name}_from": month(rows).min()}))
        else:
            first_months = first_months.mutate(**{f"{name}_from": ibis.null("date")})
    return first_months.drop("one")


def _measure_rows(m: Measure, totals: ir.Table, inputs: Mapping[str, ir.Table], policy: Policy) -> ir.Table:
    """Values of one measure, one row per row of totals that has data for it, and per period of the company.

    A month before the first row of a required table is `absent`, not zero.
    """
    result = m.compute(totals)
    wait = {"at_once": 0, "grace": policy.grace.after_days, "onboarding": policy.journey.onboarding_days}[m.final_after]
    is_available = ibis.literal(all(need in inputs for need in m.needs))
    for need in set(m.needs) & set(EVENT_MONTHS):
        is_available = is_available & (totals.period_start >= totals[f"{need}_from"]).fill_null(False)
    final = totals.elapsed >= wait
    missing = ibis.null("float64")
    has_value = is_available & (final | ibis.literal(m.provisional))
    denominator = missing if result.denominator is None else result.denominator
    amount = result.numerator if m.unit in ("count", "money", "days") else denominator
    has_data = (totals.segment_kind == "company") | (is_available & (amount.fill_null(0.0) != 0.0))
    return totals.filter(has_data).select(
        *(name for name in SCORECARD_COLUMNS if name in totals.columns),
        measure=ibis.literal(m.name),
        unit=ibis.literal(m.unit),
        value=has_value.ifelse(result.value, missing),
        numerator=is_available.ifelse(result.numerator, missing),
        denominator=is_available.ifelse(denominator, missing),
        state=ibis.cases((~is_available, "absent"), (~final, "open"), else_="final"),
    )
