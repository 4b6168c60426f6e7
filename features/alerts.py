"""What a manager should hear of whatever the model says: rules, each with its evidence (U4, S3, J2, T1, T3).

A rule is a function named by the alert's code. Its parameters name what it reads; one with a default may be missing.
It returns one row per (account_id, as_of) for which it speaks, with `EVIDENCE_TYPES`.

What was told before is not news: `flag_new` says which alerts are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import date
from statistics import NormalDist

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.adoption import FIRST_VALUE_SHARE, ONBOARDING_DAYS
from renewals.features.families.adoption import start as starts
from renewals.features.families.sentiment import FOLLOW_UP_DAYS, follow_up
from renewals.features.families.stakeholders import PERSON_KEY, decider
from renewals.features.families.tickets import ticket, time_limits
from renewals.features.family import KEY
from renewals.features.point_in_time import (
    DAYS_PER_YEAR,
    Calendar,
    DayRange,
    as_of_rows,
    date_of,
    day_masks,
    day_of,
    exclude_periods,
    hours_ago,
    hours_between,
)
from renewals.features.policy import TIERS, Policy
from renewals.features.registry import FeatureInputs
from renewals.features.usage_windows import days_in_range

EVIDENCE_TYPES = {
    "started_ago": "int64",
    "latest_cause_ago": "int64",
    "count": "int64",
    "tier": "string",
    "value": "float64",
    "expected": "float64",
}
"""Days since it began and since its newest cause was known (null where it has no day of its own), how many people,
tickets or answers it concerns, the highest tier among them, its figure and what that should have been."""

ALERT_COLUMNS = ("code", "started_on", "latest_cause_on", "count", "tier", "value", "expected")
"""What is told of an alert; the days as dates."""

CURRENT_DAYS, BASELINE_DAYS, SEASON_LAG_DAYS = 28, 84, 364
COMPARISON_RANGES = {
    "now": DayRange(0, CURRENT_DAYS),
    "before": DayRange(CURRENT_DAYS, CURRENT_DAYS + BASELINE_DAYS),
    "year_now": DayRange(SEASON_LAG_DAYS, SEASON_LAG_DAYS + CURRENT_DAYS),
    "year_before": DayRange(SEASON_LAG_DAYS + CURRENT_DAYS, SEASON_LAG_DAYS + CURRENT_DAYS + BASELINE_DAYS),
}
"""Four weeks, the twelve before them, and the same of a year ago; whole weeks, so that each holds as many week-ends."""
PRIOR_PERSON_DAYS = 50.0
"""A season seen in so many person-days counts half; the rest is what a wider circle shows."""


# --- use against its own past and season (U4) ----------------------------------------------------------


def activity(person_days: ir.Table, dates: Iterable[date], policy: Policy) -> ir.Table:
    """Person-days with a north-star action in each of `COMPARISON_RANGES`: one row per (account_id, as_of).

    Quiet periods are left out; `length_` counts the days. Person-days rather than actions: one busy hour of one person
    makes hundreds of these.
    """
    calendar, rests = Calendar(dates, (), COMPARISON_RANGES), policy.alerts.quiet_ranges
    active = exclude_periods(person_days.filter(_.north_star > 0), rests)
    bits = day_masks(active, ("account_id", "user_id"), calendar, {})
    seen = bits.join(calendar.range_masks(COMPARISON_RANGES), ["bucket", "known_from"]).group_by(*KEY)
    counted = seen.agg(**{name: days_in_range(_.any_day, name) for name in COMPARISON_RANGES})
    return counted.join(calendar.range_lengths(COMPARISON_RANGES, rests), "as_of")


def usage_drop(activity: ir.Table, accounts: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Far fewer active person-days than the account's own pace and season lead to expect (U4).

    The season is the step that the others of its region took over the same days, and by how much the account's own
    step differed from theirs a year ago. It may excuse a drop and never makes one: who does not grow with the others
    has lost nothing. Levels of other accounts do not enter. Silent where quiet periods leave too few days.
    """
    rules = policy.alerts
    rows = _add_expected_share(activity, accounts, spine)
    expected = rows.before * rows.share
    fewer = (rows.now <= (1 - rules.min_usage_drop) * expected) & (expected >= rules.min_expected_person_days)
    judged = fewer & (rows.length_now * 2 >= CURRENT_DAYS) & (rows.length_before * 2 >= BASELINE_DAYS)
    sure = _poisson_z_score(rows.now, rows.before, rows.share) <= NormalDist().inv_cdf(rules.max_p_value)
    return rows.mutate(expected=expected).filter(judged & sure).select(
        *KEY, started_ago=ibis.literal(CURRENT_DAYS), latest_cause_ago=ibis.null("int64"), count=ibis.null("int64"),
        tier=ibis.null("string"), value="now", expected="expected",
    )  # fmt: skip


def _poisson_z_score(count: ir.NumericValue, before: ir.NumericValue, share: ir.FloatingValue) -> ir.FloatingValue:
    """How far a count lies from `share` of another, in standard deviations of chance.

    Both are taken for Poisson counts, whose square roots spread alike (Huffman 1984).
    """
    expected = ((before + 0.375) * share).sqrt()
    return 2.0 * ((count + 0.375).cast("float64").sqrt() - expected) / (1.0 + share).sqrt()


def _add_expected_share(activity: ir.Table, accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Activity with `share`, the part of `before` to be expected in `now`: one row per (account_id, as_of)."""
    placed = as_of_rows("accounts", accounts, spine).group_by(*KEY).agg(region=_.region.max())
    rows = activity.join(spine.select(*KEY, "account_age"), KEY)
    rows = rows.left_join(placed, KEY, rname="{name}_placed")
    steady = {year: rows[f"length_{year}now"] / rows[f"length_{year}before"].nullif(0) for year in ("", "year_")}
    rows = rows.mutate(
        pace=rows.before * steady[""],
        year_pace=rows.year_before * steady["year_"],
        steady=steady[""],
        year_steady=steady["year_"],
        settled=rows.account_age >= CURRENT_DAYS + BASELINE_DAYS,
        year_settled=rows.account_age >= SEASON_LAG_DAYS + CURRENT_DAYS + BASELINE_DAYS,
    )
    season, year_season = (_seasonal_ratio(rows, year) for year in ("", "year_"))
    own = (rows.year_now + PRIOR_PERSON_DAYS * year_season) / (rows.year_pace + PRIOR_PERSON_DAYS) / year_season
    eased = ibis.least(season * rows.year_settled.ifelse(own, 1.0), 1.0)
    return rows.mutate(share=rows.steady * eased)


def _seasonal_ratio(rows: ir.Table, prefix: str) -> ir.FloatingValue:
    """The step that others took between the stretches: those of the region, as far as they are many, else all."""
    everywhere = _peer_ratio(rows, prefix, ["as_of"], ibis.literal(1.0))
    return _peer_ratio(rows, prefix, ["as_of", "region"], everywhere)


def _peer_ratio(rows: ir.Table, prefix: str, peer_group: list[str], prior: ir.FloatingValue) -> ir.FloatingValue:
    """Whole numbers are added up, and only then divided: a sum must not hang on the order of rows."""
    there, then = (
        _sum_over_peers(rows[f"{prefix}settled"].ifelse(rows[f"{prefix}{name}"], 0), peer_group)
        for name in ("now", "before")
    )
    return (there + PRIOR_PERSON_DAYS * prior) / (then * rows[f"{prefix}steady"] + PRIOR_PERSON_DAYS)


def _sum_over_peers(count: ir.NumericValue, peer_group: list[str]) -> ir.NumericValue:
    """The sum over the others of a circle: an account is not measured by itself."""
    return count.sum().over(group_by=peer_group) - count


# --- sponsors (S3), first value (J2), support (T1), satisfaction (T3) -----------------------------------


def sponsor_lost(people_then: ir.Table, policy: Policy) -> ir.Table:
    """S or A people who left, as far as that was heard of lately (S3)."""
    gone = people_then.filter(_.tier.isin(["S", "A"]), _.heard_ago <= policy.alerts.expire_days)
    return gone.group_by(*KEY).agg(
        started_ago=_.left_ago.max(), latest_cause_ago=_.heard_ago.min(), count=_.count(),
        tier=_highest_tier(gone.tier), value=_.left_ago.min(), expected=ibis.null("float64"),
    )  # fmt: skip


def sponsor_silent(
    people_then: ir.Table,
    person_windows: ir.Table,
    spine: ir.Table,
    policy: Policy,
    touchpoints: ir.Table | None = None,
) -> ir.Table:
    """S or A people who are there, came often enough to be missed, and are neither seen nor met any more (S3).

    Silence is told from a slow rhythm by the visits that were to be expected in it at the person's own pace.
    """
    rules, silent_days = policy.alerts, policy.stakeholders.silent_days
    if touchpoints is None:
        there = people_then.filter(_.left_ago.isnull(), _.tier.isin(["S", "A"])).mutate(met_ago=ibis.null("int64"))
    else:
        there = decider(people_then, touchpoints, spine)
    used = there.select(*PERSON_KEY, "tier", "met_ago").join(
        person_windows.select(*PERSON_KEY, "last_day_ago", "days_365d"), PERSON_KEY
    )
    used = used.join(spine.select(*KEY, "account_age"), KEY)
    looked = ibis.greatest(ibis.least(used.account_age, DAYS_PER_YEAR) - used.last_day_ago, CURRENT_DAYS)
    used = used.mutate(
        missed=used.days_365d * used.last_day_ago / looked,
        silence=ibis.least(used.last_day_ago, ibis.coalesce(used.met_ago, used.last_day_ago)),
    )
    silent = used.filter(
        _.missed >= rules.missed_visits, _.silence > silent_days, _.silence <= silent_days + rules.expire_days
    )
    return silent.group_by(*KEY).agg(
        started_ago=_.silence.max(), latest_cause_ago=_.silence.min() - silent_days, count=_.count(),
        tier=_highest_tier(silent.tier), value=_.silence.min(), expected=ibis.null("float64"),
    )  # fmt: skip


def first_value_missed(first_uses: ir.Table, terms: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Too few of the first seats were active within the first thirty days, which are lately over (J2)."""
    decided = ONBOARDING_DAYS[0]
    begun = starts(first_uses, terms, spine)
    missed = begun.filter((_.activated_30 < FIRST_VALUE_SHARE) & (_.account_age <= decided + policy.alerts.expire_days))
    return missed.group_by(*KEY).agg(
        started_ago=_.account_age.max(), latest_cause_ago=_.account_age.max() - decided,
        count=_.by_30.max().fill_null(0), tier=ibis.null("string"),
        value=_.activated_30.max(), expected=ibis.literal(FIRST_VALUE_SHARE),
    )  # fmt: skip


def sla_breach(tickets: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Grave tickets that wait beyond a time limit, or that passed one just now (T1).

    `value` counts those still waiting. A ticket that waits for ever is told for the days an alert is held.
    """
    rules = policy.alerts
    grave = _add_breach_age(ticket(tickets, spine, policy), policy).filter(_.severity.isin(rules.severities))
    passed = grave.filter(
        (_.passed_ago <= rules.recent_breach_days) | (_.waiting & (_.passed_ago <= rules.expire_days))
    )
    return passed.group_by(*KEY).agg(
        started_ago=_.passed_ago.max(), latest_cause_ago=_.passed_ago.min(), count=_.count(), tier=ibis.null("string"),
        value=_.waiting.sum(), expected=ibis.null("float64"),
    )  # fmt: skip


def _add_breach_age(rows: ir.Table, policy: Policy) -> ir.Table:
    """Tickets with `passed_ago`, the days since the first limit passed (null: none has), and whether they wait."""
    respond, allowed = time_limits(rows, policy)
    now = hours_ago(rows, rows.opened_at)
    closed = hours_between(rows.opened_at, rows.resolved_at)
    answered = ibis.coalesce(hours_between(rows.opened_at, rows.first_response_at), closed)
    answer_late = ibis.coalesce(answered, now) > respond
    close_late = ibis.coalesce(closed, now) > allowed
    unpassed = ibis.null("float64")
    first = ibis.greatest(answer_late.ifelse(now - respond, -1.0), close_late.ifelse(now - allowed, -1.0))
    first = (answer_late | close_late).ifelse(first, unpassed)
    waiting = (answered.isnull() & answer_late) | (rows.open & close_late)
    return rows.mutate(passed_ago=(first / 24.0).ceil().cast("int64"), waiting=waiting)


def low_score_not_followed_up(
    surveys: ir.Table, spine: ir.Table, policy: Policy, people_then: ir.Table | None = None
) -> ir.Table:
    """Low answers that nobody followed up within the time limit (T3); `value` is the lowest score."""
    known = follow_up(surveys, spine)
    left = known.filter(_.forgotten == 1, _.answered_ago <= FOLLOW_UP_DAYS + policy.alerts.expire_days)
    if people_then is None:
        graded = left.mutate(tier=ibis.null("string"))
    else:
        graded = left.left_join(people_then.select(*PERSON_KEY, "tier"), PERSON_KEY, rname="{name}_then")
    return graded.group_by(*KEY).agg(
        started_ago=_.answered_ago.max(), latest_cause_ago=_.answered_ago.min() - FOLLOW_UP_DAYS, count=_.count(),
        tier=_highest_tier(graded.tier), value=_.score.min(), expected=ibis.null("float64"),
    )  # fmt: skip


def _highest_tier(tier: ir.StringValue) -> ir.StringValue:
    """The highest tier of a group; null where nobody has one."""
    place = ibis.cases(*((tier == name, number) for number, name in enumerate(TIERS))).min()
    return ibis.cases(*((place == number, name) for number, name in enumerate(TIERS)))


# --- all rules ------------------------------------------------------------------------------------------

ALERT_RULES: tuple[Callable[..., ir.Table], ...] = (
    usage_drop,
    sponsor_lost,
    sponsor_silent,
    first_value_missed,
    sla_breach,
    low_score_not_followed_up,
)
ALERT_CODES = tuple(rule.__name__ for rule in ALERT_RULES)
"""In the order of the data contract, which is that of the list."""


def available_rules(inputs: FeatureInputs) -> list[Callable[..., ir.Table]]:
    """The rules that the given tables allow."""
    return [
        rule
        for rule in ALERT_RULES
        if not any(inputs.is_missing(name) for name in _input_names(rule, required_only=True))
    ]


def _input_names(rule: Callable[..., ir.Table], *, required_only: bool) -> list[str]:
    parameters = inspect.signature(rule).parameters.values()
    return [one.name for one in parameters if one.default is inspect.Parameter.empty or not required_only]


def compute_alerts(inputs: FeatureInputs) -> ir.Table:
    """Every alert with its evidence and the days it began and was last fed: one row per (account_id, as_of, code)."""
    parts = [_run_rule(rule, inputs) for rule in available_rules(inputs)]
    days = inputs["spine"].select(*KEY, "day")
    told = ibis.union(*parts).join(days, KEY)
    dates = {f"{name}_on": date_of(told["day"] - told[f"{name}_ago"]) for name in ("started", "latest_cause")}
    return told.mutate(**dates).select(*KEY, "day", *ALERT_COLUMNS)


def _run_rule(rule: Callable[..., ir.Table], inputs: FeatureInputs) -> ir.Table:
    given = [name for name in _input_names(rule, required_only=False) if not inputs.is_missing(name)]
    rows = rule(**{name: inputs[name] for name in given})
    figures = {name: rows[name].cast(kind) for name, kind in EVIDENCE_TYPES.items()}
    return rows.select(*KEY, code=ibis.literal(rule.__name__), **figures)


def code_position(code: ir.StringValue) -> ir.IntegerValue:
    """The place of a code among all of them."""
    return ibis.cases(*((code == name, place) for place, name in enumerate(ALERT_CODES)))


def flag_new(current: ir.Table, published: ir.Table, policy: Policy) -> ir.Table:
    """The alerts with `is_new` and `first_reported_on`, when they were last new: one row per (account_id, as_of, code).

    `published` is what earlier lists said. The same cause is not told as new again within the quiet days, though it
    went and came back; a newer one, another sponsor who left, is.
    """
    before = published.group_by("account_id", "code").agg(
        newest_before=_.latest_cause_on.max(), told_before=_.first_reported_on.max()
    )
    rows = current.left_join(before, ["account_id", "code"], rname="{name}_told")
    rows = rows.mutate(told_ago=_["day"] - day_of(_.told_before))
    same = rows.latest_cause_on.isnull() | (rows.latest_cause_on <= rows.newest_before).fill_null(False)
    heard = same & (rows.told_ago < policy.alerts.cooldown_days).fill_null(False)
    return rows.select(
        *KEY, *ALERT_COLUMNS, is_new=~heard, first_reported_on=heard.ifelse(rows.told_before, rows.as_of)
    )
