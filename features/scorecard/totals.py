"""The scorecard of a company: ten measures and both renewal rates, by month, quarter, year and segment (K1 to K10).

Everything is as known before one day. What moved is added up per account and month, months into periods, accounts into
segments; a measure is then a function of these totals, with its definition in words beside it. What became of contracts
and of recurring revenue comes from the ledger and is not worked out again.

Words used here:

period    a calendar month, or the three or twelve months that end with it (a quarter, a year), called by the last one.
opening   what recurred on the day before the period began; a *customer of the opening* had any.
closing   what recurred on the last day of the period.
settles   a period is *open* until the grace after its last day has passed: until then some of its terms are pending,
          and a rate would show them as kept or as lost. An open rate has no value; its numerator and denominator hold
          what is decided so far.

Money is integer cents of the reporting currency until it is a measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.point_in_time import (
    completed_months,
    date_of,
    day_number,
    day_of,
    known_person_days,
    known_rows,
    month_days,
    month_of,
    next_month,
)
from renewals.features.policy import Policy
from renewals.features.revenue.ledger import Materialize
from renewals.features.scorecard.measures import MEASURES, MONTHS_PER_YEAR, Measure, cents_to_units
from renewals.features.spine import size_band

PERIOD_MONTHS = {"month": 1, "quarter": 3, "trailing_year": MONTHS_PER_YEAR}
"""How many months a period of each kind has."""
SEGMENTS = {
    "company": ("whole company", "全公司"),
    "size_band": ("size band", "客户规模"),
    "industry": ("industry", "行业"),
    "plan": ("plan", "套餐"),
    "channel": ("channel", "获客渠道"),
    "cohort": ("year of first contract", "首次签约年份"),
    "csm": ("customer-success manager", "客户成功经理"),
}
"""What the company is divided by, in English and Chinese. Size and plan are those at the opening of the period (for who
came later, those they came with); the others are what is known of the account now."""
UNKNOWN_SEGMENT = "unknown"
"""The segment of an account of which it is not known."""
SCORECARD_COLUMNS = (
    *("period_kind", "period", "period_start", "period_end", "segment_kind", "segment"),
    *("measure", "unit", "value", "numerator", "denominator", "state"),
)


# --- what is added up: one row per (month, account_id) from each of these ----------------------


def renewal_facts(renewals: ir.Table, policy: Policy) -> ir.Table:
    """What became of the renewals due in the month, one row per (month, account_id).

    A renewal is due on the last day one of its contracts ends, the day that the grace counts from.
    """
    after = ibis.interval(days=policy.grace.after_days + 1)
    sets = renewals.mutate(month=month_of(_.matured_at - after), open=_.renewed.isnull())
    return sets.group_by("month", "account_id").agg(
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
    """Recurring revenue rolled forward, one row per (month, account_id)."""
    names = ("opening", "closing", "new", "churn", "contraction", "upsell", "cross_sell")
    return roll_forward.select("month", "account_id", *names, monthly_opening=_.opening)


def plan_facts(intervals: ir.Table, months: Sequence[date]) -> ir.Table:
    """The plan of the largest contract at the month's opening and closing, one row per (month, account_id)."""
    edges = [
        {"month": month, "opens": opens, "edge": day_number(first) - 1}
        for month in months
        for opens, first in ((True, month), (False, next_month(month)))
    ]
    largest = ibis.row_number().over(group_by=["month", "account_id", "opens"], order_by=[-_.amount, _.term]) == 0
    return (
        intervals.cross_join(_table_from_rows(edges, month="date", opens="boolean", edge="int64"))
        .filter(_.start_day <= _.edge, _.end_day > _.edge)
        .mutate(main=largest)
        .filter(_.main)
        .group_by("month", "account_id")
        .agg(opening_plan=_.plan.max(where=_.opens), closing_plan=_.plan.max(where=~_.opens))
    )


def onboarding_facts(intervals: ir.Table, trials: ir.Table | None, policy: Policy) -> ir.Table:
    """Customers whose first contract began in the month, and their first trial, one row per (month, account_id)."""
    begun = intervals.filter(_.amount > 0).group_by("account_id").agg(begin=_.start_day.min())
    begun = begun.mutate(month=month_of(date_of(begun.begin)), began=ibis.literal(1))
    if trials is None:
        return begun.drop("begin")
    first = ibis.row_number().over(group_by="account_id", order_by=["requested_at", "finished_at"])
    tried = (
        trials.mutate(nth=first)
        .filter(_.nth == 0)
        .select("account_id", asked=day_of(_.requested_at), finished=day_of(_.finished_at))
    )
    over = _.begin + policy.journey.onboarding_days
    return (
        begun.left_join(tried, "account_id")
        .mutate(in_time=(_.asked < over).fill_null(False))
        .mutate(done=_.in_time & (_.finished < over).fill_null(False))
        .select(
            *("month", "account_id", "began"),
            trial_asked=_.in_time.ifelse(1, 0),
            trial_finished=_.done.ifelse(1, 0),
            trial_days=_.done.ifelse(_.finished - _.asked, ibis.null("int32")),
        )
    )


def survey_facts(surveys: ir.Table) -> ir.Table:
    """The answers to how likely one is to recommend us, one row per (month, account_id)."""
    scored = surveys.filter(_.kind == "nps", _.score.notnull()).mutate(month=month_of(_.answered_at))
    return scored.group_by("month", "account_id").agg(
        promoters=(_.score >= 9).sum(), detractors=(_.score <= 6).sum(), answers=_.count()
    )


def referral_facts(referrals: ir.Table) -> ir.Table:
    """Referrals made and referrals that became customers, by who made them, one row per (month, account_id)."""
    made = referrals.select("account_id", month=month_of(_.referred_at), invitations=1, conversions=0)
    bought = referrals.filter(_.converted_at.notnull()).select(
        "account_id", month=month_of(_.converted_at), invitations=0, conversions=1
    )
    both = made.union(bought).group_by("month", "account_id")
    return both.agg(invitations=_.invitations.sum(), conversions=_.conversions.sum())


def referral_revenue_facts(referrals: ir.Table, roll_forward: ir.Table, months: Sequence[date]) -> ir.Table:
    """What accounts that came by referral pay and what their rewards cost, one row per (month, account_id).

    Both belong to the account that came, from the month in which it bought. One that several recommended pays once, and
    each reward counts.
    """
    cost = referrals.filter(_.converted_at.notnull()).select(
        month=month_of(_.converted_at),
        account_id="referred_account_id",
        arr=ibis.literal(0, "int64"),
        reward=(_.reward_cost.fill_null(0.0) * 100).round().cast("int64"),
    )
    came = cost.group_by("account_id").agg(since=_.month.min())
    pays = roll_forward.inner_join(came, "account_id").filter(_.month >= _.since)
    both = cost.union(pays.select("month", "account_id", arr="closing", reward=ibis.literal(0, "int64")))
    until = _table_from_rows([{"until": month} for month in months], until="date")
    so_far = both.join(until, both.month <= until.until).group_by("account_id", month=_.until)
    return _stack_facts(
        both.group_by("month", "account_id").agg(referral_arr=_.arr.sum()),
        so_far.agg(referral_arr_so_far=_.arr.sum(), reward_so_far=_.reward.sum()),
    )


def usage_facts(person_days: ir.Table, months: Sequence[date]) -> ir.Table:
    """Days on which a user did what matters, and such users in the last 28 days, one row per (month, account_id).

    A day may have several rows, one for each arrival of its events.
    """
    active = person_days.filter(_.north_star > 0).select("account_id", "user_id", "day").distinct()
    dated = active.join(month_days(months), "day")
    people = dated.group_by("month", "account_id", "user_id").agg(days=_.count(), recent=_.recent.any())
    return people.group_by("month", "account_id").agg(user_days=_.days.sum(), users=_.recent.sum())


# --- months into periods, accounts into segments ------------------------------------------------

STOCK_COLUMNS = ("closing", "referral_arr_so_far", "reward_so_far")
"""What stands at the end of a period, and is not added up over its months."""
FLOW_COLUMNS = (
    *("due", "pending", "renewed", "due_amount", "pending_amount", "renewed_amount", "kept_amount"),
    *("monthly_opening", "new", "churn", "contraction", "upsell", "cross_sell"),
    *("began", "trial_asked", "trial_finished", "promoters", "detractors", "answers"),
    *("invitations", "conversions", "referral_arr", "user_days", "users"),
)
"""What is added up over the months of a period."""
PLAN_COLUMNS = ("opening_plan", "closing_plan", "due_plan")
FACT_TYPES = {
    **dict.fromkeys(("opening", *STOCK_COLUMNS, *FLOW_COLUMNS), "int64"),
    "trial_days": "int32",
    **dict.fromkeys(PLAN_COLUMNS, "string"),
}
"""All that is known of an account in a month, by type."""
OPENING_COLUMNS = (
    *("at_opening", "lost", "opening_now", "opening_churned", "opening_kept", "opening_upsell", "opening_cross_sell"),
)
SUMMED_COLUMNS = ("opening", *STOCK_COLUMNS, *FLOW_COLUMNS, "at_closing", *OPENING_COLUMNS)
"""What is added up over the accounts of a segment."""
PERIOD_KEY = ("period_kind", "period")


def scorecard(
    inputs: Mapping[str, ir.Table],
    as_of: date,
    policy: Policy,
    first_day: date,
    month_count: int,
    materialize: Materialize = lambda t: t,
) -> ir.Table:
    """Every measure of the newest months and the years that end with them, one row per (period, segment, measure).

    `inputs` holds `renewals`, `roll_forward` and `intervals` of the ledger of that day, the raw `accounts` and
    `contracts`, and where they were given `trials`, `surveys`, `referrals` and the rolled-up `person_days`. `first_day`
    is a day of the first month with revenue. What a segment has nothing of has no row; the whole company has all.
    """
    known = _known_inputs(inputs, as_of)
    months = completed_months(first_day, as_of)
    spans = _period_months(months, as_of, month_count)
    facts = materialize(_collect_facts(known, months, policy))
    did = _sum_by_account(facts, spans, policy)
    accounts = materialize(did.left_join(_account_segments(known), "account_id", rname="{name}_described"))
    periods = spans.drop("month").distinct()
    totals = materialize(_segment_totals(accounts, periods).cross_join(_first_recorded_months(known)))
    return ibis.union(*(_measure_rows(m, totals, known, policy) for m in MEASURES.values())).select(*SCORECARD_COLUMNS)


def _known_inputs(inputs: Mapping[str, ir.Table], as_of: date) -> dict[str, ir.Table]:
    """The inputs as known before the day; what the ledger made already is."""
    raw = ("accounts", "contracts", "trials", "surveys", "referrals")
    known = {name: known_rows(name, inputs[name], as_of) for name in raw if name in inputs}
    if "person_days" in inputs:
        known["person_days"] = known_person_days(inputs["person_days"], as_of)
    return {**inputs, **known}


def _period_months(months: Sequence[date], as_of: date, month_count: int) -> ir.Table:
    """Each month beside itself and beside the years it lies in, one row per (period_kind, period, month).

    `elapsed` is the number of days from the end of the period to the day the scorecard stands on.
    """
    rows = [
        {
            "period_kind": kind,
            "period": f"{last:%Y-%m}",
            "period_start": own[0],
            "last": last,
            "period_end": next_month(last),
            "days": (next_month(last) - own[0]).days,
            "months": len(own),
            "elapsed": (as_of - next_month(last)).days,
            "month": month,
        }
        for place, last in list(enumerate(months, start=1))[-month_count:]
        for kind, length in PERIOD_MONTHS.items()
        if place >= length
        for own in [months[place - length : place]]
        for month in own
    ]
    types = dict.fromkeys(PERIOD_KEY, "string") | dict.fromkeys(("days", "months", "elapsed"), "int64")
    return _table_from_rows(rows, **types, **dict.fromkeys(("period_start", "last", "period_end", "month"), "date"))


def _table_from_rows(rows: list[dict[str, Any]], **types: str) -> ir.Table:
    """A few rows as a table of these types, also where there are none."""
    import pyarrow as pa

    return ibis.memtable(pa.Table.from_pylist(rows, schema=ibis.schema(types).to_pyarrow()))


def _collect_facts(inputs: Mapping[str, ir.Table], months: Sequence[date], policy: Policy) -> ir.Table:
    """Everything that happened, one row per (month, account_id)."""
    carried, roll_forward = inputs["revenue_intervals"], inputs["roll_forward"]
    found = [
        renewal_facts(inputs["renewals"], policy),
        revenue_facts(roll_forward),
        plan_facts(carried, months),
        onboarding_facts(carried, inputs.get("trials"), policy),
    ]
    if "surveys" in inputs:
        found.append(survey_facts(inputs["surveys"]))
    if "referrals" in inputs:
        found += [
            referral_facts(inputs["referrals"]),
            referral_revenue_facts(inputs["referrals"], roll_forward, months),
        ]
    if "person_days" in inputs:
        found.append(usage_facts(inputs["person_days"], months))
    return _stack_facts(*found)


def _stack_facts(*tables: ir.Table) -> ir.Table:
    """Tables of different facts as one, with all `FACT_TYPES`, one row per (month, account_id)."""

    def whole(table: ir.Table) -> ir.Table:
        own = {name: table[name] if name in table.columns else ibis.null() for name in FACT_TYPES}
        return table.select("month", "account_id", **{name: own[name].cast(kind) for name, kind in FACT_TYPES.items()})

    rows = ibis.union(*map(whole, tables))
    # Each fact comes from one table only, so the greatest is the only one.
    return rows.group_by("month", "account_id").agg(**{name: rows[name].max() for name in FACT_TYPES})


def _sum_by_account(facts: ir.Table, period_months: ir.Table, policy: Policy) -> ir.Table:
    """What each account did in each period, and its plan and size, one row per (period_kind, period, account_id)."""
    at_start, at_end = _.month == _.period_start, _.month == _.last
    rows = (
        facts.join(period_months, "month")
        .group_by(*PERIOD_KEY, "account_id")
        .agg(
            opening=_.opening.sum(where=at_start).fill_null(0),
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
    """What customers of the opening kept, lost and bought: of each at most what it paid then is lost."""
    there = _.opening > 0

    def of_them(value: ir.Value) -> ir.Value:
        return there.ifelse(value, 0)

    churned = ibis.least(_.churn, _.opening)
    kept = retained_revenue(_.opening, _.churn + _.contraction)
    return rows.mutate(
        at_opening=there.ifelse(1, 0),
        at_closing=(_.closing > 0).ifelse(1, 0),
        lost=(there & (_.closing == 0)).ifelse(1, 0),
        opening_now=of_them(_.closing),
        opening_churned=of_them(churned),
        opening_kept=of_them(kept),
        opening_upsell=of_them(_.upsell),
        opening_cross_sell=of_them(_.cross_sell),
    )


def retained_revenue(opening: ir.Value, lost: ir.Value) -> ir.Value:
    """What an account kept of what it paid at the opening: it cannot lose more than that (R5)."""
    return ibis.greatest(opening - lost, 0)


def _account_segments(inputs: Mapping[str, ir.Table]) -> ir.Table:
    """How each account was sold and who holds it, as known now, one row per account_id."""
    firsts = inputs["contracts"].group_by("account_id").agg(cohort=_.start_date.min().year().cast("string"))
    told = inputs["accounts"].select("account_id", "industry", "channel", "csm")
    return told.left_join(firsts, "account_id").drop("account_id_right")


def _segment_totals(accounts: ir.Table, periods: ir.Table) -> ir.Table:
    """The accounts of each segment added up, one row per (period_kind, period, segment_kind, segment)."""
    parts = []
    for kind in SEGMENTS:
        segment = ibis.literal("all") if kind == "company" else accounts[kind].cast("string").fill_null(UNKNOWN_SEGMENT)
        added = accounts.mutate(segment_kind=ibis.literal(kind), segment=segment)
        parts.append(
            added.group_by(*PERIOD_KEY, "segment_kind", "segment").agg(
                **{name: _[name].sum() for name in SUMMED_COLUMNS}, trial_days=_.trial_days.median()
            )
        )
    return ibis.union(*parts).join(periods, PERIOD_KEY)


EVENT_MONTHS = {
    "trials": lambda t: month_of(t.requested_at),
    "referrals": lambda t: month_of(t.referred_at),
    "person_days": lambda t: month_of(date_of(t.day)),
}
"""Tables in which a month without a row is a month in which nothing happened, but only from their first row on."""


def _first_recorded_months(inputs: Mapping[str, ir.Table]) -> ir.Table:
    """The first month in each of these tables, one row in all."""
    found = _table_from_rows([{"one": 1}], one="int8")
    for name, month in EVENT_MONTHS.items():
        if name in inputs:
            rows = inputs[name]
            found = found.cross_join(rows.agg(**{f"{name}_from": month(rows).min()}))
        else:
            found = found.mutate(**{f"{name}_from": ibis.null("date")})
    return found.drop("one")


def _measure_rows(m: Measure, totals: ir.Table, inputs: Mapping[str, ir.Table], policy: Policy) -> ir.Table:
    """What one measure says, one row per row of totals that holds anything of it, and per period of the company.

    A month before its table's first row is not zero but absent.
    """
    reading = m.compute(totals)
    wait = {"at_once": 0, "grace": policy.grace.after_days, "onboarding": policy.journey.onboarding_days}[m.final_after]
    there = ibis.literal(all(need in inputs for need in m.needs))
    for need in set(m.needs) & set(EVENT_MONTHS):
        there = there & (totals.period_start >= totals[f"{need}_from"]).fill_null(False)
    final = totals.elapsed >= wait
    none = ibis.null("float64")
    told = there & (final | ibis.literal(m.provisional))
    of = none if reading.denominator is None else reading.denominator
    counted = reading.numerator if m.unit in ("count", "money", "days") else of
    something = (totals.segment_kind == "company") | (there & (counted.fill_null(0.0) != 0.0))
    return totals.filter(something).select(
        *(name for name in SCORECARD_COLUMNS if name in totals.columns),
        measure=ibis.literal(m.name),
        unit=ibis.literal(m.unit),
        value=told.ifelse(reading.value, none),
        numerator=there.ifelse(reading.numerator, none),
        denominator=there.ifelse(of, none),
        state=ibis.cases((~there, "absent"), (~final, "open"), else_="final"),
    )
