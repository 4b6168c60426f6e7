"""What a manager should hear of whatever the model says: rules, each with its evidence (U4, S3, J2, T1, T3).

A rule is a function named by the alert's code. Its parameters name what it reads; one with a default may be missing.
It returns one row per (account_id, as_of) for which it speaks, with `EVIDENCE`.

What was told before is not news: `with_news` says which alerts are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import date
from statistics import NormalDist

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.adoption import FIRST_VALUE_SHARE, ONBOARDING
from renewals.features.families.adoption import start as starts
from renewals.features.families.sentiment import FOLLOW_UP_DAYS, follow_up
from renewals.features.families.stakeholders import PERSON, decider
from renewals.features.families.tickets import limits_of, ticket
from renewals.features.family import KEY
from renewals.features.point_in_time import (
    YEAR,
    Calendar,
    Stretch,
    as_known,
    date_of,
    day_of,
    hours_between,
    hours_waiting,
    marked,
    outside,
)
from renewals.features.policy import TIERS, Policy
from renewals.features.registry import Known
from renewals.features.usage_windows import days_in

EVIDENCE = {
    "began_ago": "int64",
    "newest_ago": "int64",
    "concerned": "int64",
    "tier": "string",
    "figure": "float64",
    "usual": "float64",
}
"""Days since it began and since its newest cause was known (null where it has no day of its own), how many people,
tickets or answers it concerns, the highest tier among them, its figure and what that should have been."""

TOLD = ("code", "began", "newest", "concerned", "tier", "figure", "usual")
"""What is told of an alert; the days as dates."""

NOW, BEFORE, A_YEAR = 28, 84, 364
STRETCHES = {
    "now": Stretch(0, NOW),
    "before": Stretch(NOW, NOW + BEFORE),
    "year_now": Stretch(A_YEAR, A_YEAR + NOW),
    "year_before": Stretch(A_YEAR + NOW, A_YEAR + NOW + BEFORE),
}
"""Four weeks, the twelve before them, and the same of a year ago; whole weeks, so that each holds as many week-ends."""
TRUST = 50.0
"""A season seen in so many person-days counts half; the rest is what a wider circle shows."""


# --- use against its own past and season (U4) ----------------------------------------------------------


def activity(person_days: ir.Table, dates: Iterable[date], policy: Policy) -> ir.Table:
    """Person-days with a north-star action in each of `STRETCHES`: one row per (account_id, as_of).

    Quiet periods are left out; `length_` counts the days. Person-days rather than actions: one busy hour of one person
    makes hundreds of these.
    """
    calendar, rests = Calendar(dates, (), STRETCHES), policy.alerts.rests
    active = outside(person_days.filter(_.north_star > 0), rests)
    bits = marked(active, ("account_id", "user_id"), calendar, {})
    seen = bits.join(calendar.masks(STRETCHES), ["bucket", "known_from"]).group_by(*KEY)
    counted = seen.agg(**{name: days_in(_.any_day, name) for name in STRETCHES})
    return counted.join(calendar.lengths(STRETCHES, rests), "as_of")


def usage_drop(activity: ir.Table, accounts: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Far fewer active person-days than the account's own pace and season lead to expect (U4).

    The season is the step that the others of its region took over the same days, and by how much the account's own
    step differed from theirs a year ago. It may excuse a drop and never makes one: who does not grow with the others
    has lost nothing. Levels of other accounts do not enter. Silent where quiet periods leave too few days.
    """
    rules = policy.alerts
    rows = _in_season(activity, accounts, spine)
    usual = rows.before * rows.share
    fewer = (rows.now <= (1 - rules.drop) * usual) & (usual >= rules.least_use)
    judged = fewer & (rows.length_now * 2 >= NOW) & (rows.length_before * 2 >= BEFORE)
    sure = _deviation(rows.now, rows.before, rows.share) <= NormalDist().inv_cdf(rules.chance)
    return rows.mutate(usual=usual).filter(judged & sure).select(
        *KEY, began_ago=ibis.literal(NOW), newest_ago=ibis.null("int64"), concerned=ibis.null("int64"),
        tier=ibis.null("string"), figure="now", usual="usual",
    )  # fmt: skip


def _deviation(count: ir.NumericValue, before: ir.NumericValue, share: ir.FloatingValue) -> ir.FloatingValue:
    """How far a count lies from `share` of another, in standard deviations of chance.

    Both are taken for Poisson counts, whose square roots spread alike (Huffman 1984).
    """
    expected = ((before + 0.375) * share).sqrt()
    return 2.0 * ((count + 0.375).cast("float64").sqrt() - expected) / (1.0 + share).sqrt()


def _in_season(activity: ir.Table, accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Activity with `share`, the part of `before` to be expected in `now`: one row per (account_id, as_of)."""
    placed = as_known("accounts", accounts, spine).group_by(*KEY).agg(region=_.region.max())
    rows = activity.join(spine.select(*KEY, "account_age"), KEY)
    rows = rows.left_join(placed, KEY, rname="{name}_placed")
    steady = {year: rows[f"length_{year}now"] / rows[f"length_{year}before"].nullif(0) for year in ("", "year_")}
    rows = rows.mutate(
        pace=rows.before * steady[""],
        year_pace=rows.year_before * steady["year_"],
        steady=steady[""],
        year_steady=steady["year_"],
        settled=rows.account_age >= NOW + BEFORE,
        year_settled=rows.account_age >= A_YEAR + NOW + BEFORE,
    )
    season, year_season = (_season(rows, year) for year in ("", "year_"))
    own = (rows.year_now + TRUST * year_season) / (rows.year_pace + TRUST) / year_season
    eased = ibis.least(season * rows.year_settled.ifelse(own, 1.0), 1.0)
    return rows.mutate(share=rows.steady * eased)


def _season(rows: ir.Table, year: str) -> ir.FloatingValue:
    """The step that others took between the stretches: those of the region, as far as they are many, else all."""
    everywhere = _step(rows, year, ["as_of"], ibis.literal(1.0))
    return _step(rows, year, ["as_of", "region"], everywhere)


def _step(rows: ir.Table, year: str, circle: list[str], otherwise: ir.FloatingValue) -> ir.FloatingValue:
    """Whole numbers are added up, and only then divided: a sum must not hang on the order of rows."""
    there, then = (
        _of_others(rows[f"{year}settled"].ifelse(rows[f"{year}{name}"], 0), circle) for name in ("now", "before")
    )
    return (there + TRUST * otherwise) / (then * rows[f"{year}steady"] + TRUST)


def _of_others(count: ir.NumericValue, circle: list[str]) -> ir.NumericValue:
    """The sum over the others of a circle: an account is not measured by itself."""
    return count.sum().over(group_by=circle) - count


# --- sponsors (S3), first value (J2), support (T1), satisfaction (T3) -----------------------------------


def sponsor_lost(people_then: ir.Table, policy: Policy) -> ir.Table:
    """S or A people who left, as far as that was heard of lately (S3)."""
    gone = people_then.filter(_.tier.isin(["S", "A"]), _.heard_ago <= policy.alerts.hold_days)
    return gone.group_by(*KEY).agg(
        began_ago=_.left_ago.max(), newest_ago=_.heard_ago.min(), concerned=_.count(), tier=_highest(gone.tier),
        figure=_.left_ago.min(), usual=ibis.null("float64"),
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
    used = there.select(*PERSON, "tier", "met_ago").join(
        person_windows.select(*PERSON, "last_day_ago", "days_365d"), PERSON
    )
    used = used.join(spine.select(*KEY, "account_age"), KEY)
    looked = ibis.greatest(ibis.least(used.account_age, YEAR) - used.last_day_ago, NOW)
    used = used.mutate(
        missed=used.days_365d * used.last_day_ago / looked,
        silence=ibis.least(used.last_day_ago, ibis.coalesce(used.met_ago, used.last_day_ago)),
    )
    silent = used.filter(
        _.missed >= rules.silent_visits, _.silence > silent_days, _.silence <= silent_days + rules.hold_days
    )
    return silent.group_by(*KEY).agg(
        began_ago=_.silence.max(), newest_ago=_.silence.min() - silent_days, concerned=_.count(),
        tier=_highest(silent.tier), figure=_.silence.min(), usual=ibis.null("float64"),
    )  # fmt: skip


def first_value_missed(first_uses: ir.Table, terms: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Too few of the first seats were active within the first thirty days, which are lately over (J2)."""
    decided = ONBOARDING[0]
    begun = starts(first_uses, terms, spine)
    missed = begun.filter((_.activated_30 < FIRST_VALUE_SHARE) & (_.account_age <= decided + policy.alerts.hold_days))
    return missed.group_by(*KEY).agg(
        began_ago=_.account_age.max(), newest_ago=_.account_age.max() - decided, concerned=_.by_30.max().fill_null(0),
        tier=ibis.null("string"), figure=_.activated_30.max(), usual=ibis.literal(FIRST_VALUE_SHARE),
    )  # fmt: skip


def sla_breach(tickets: ir.Table, spine: ir.Table, policy: Policy) -> ir.Table:
    """Grave tickets that wait beyond a time limit, or that passed one just now (T1).

    `figure` counts those still waiting. A ticket that waits for ever is told for the days an alert is held.
    """
    rules = policy.alerts
    grave = _passed(ticket(tickets, spine, policy), policy).filter(_.severity.isin(rules.severities))
    passed = grave.filter((_.passed_ago <= rules.recent_days) | (_.waiting & (_.passed_ago <= rules.hold_days)))
    return passed.group_by(*KEY).agg(
        began_ago=_.passed_ago.max(), newest_ago=_.passed_ago.min(), concerned=_.count(), tier=ibis.null("string"),
        figure=_.waiting.sum(), usual=ibis.null("float64"),
    )  # fmt: skip


def _passed(known: ir.Table, policy: Policy) -> ir.Table:
    """Tickets with `passed_ago`, the days since the first limit passed (null: none has), and whether they wait."""
    respond, allowed = limits_of(known, policy)
    now = hours_waiting(known, known.opened_at)
    closed = hours_between(known.opened_at, known.resolved_at)
    answered = ibis.coalesce(hours_between(known.opened_at, known.first_response_at), closed)
    answer_late = ibis.coalesce(answered, now) > respond
    close_late = ibis.coalesce(closed, now) > allowed
    unpassed = ibis.null("float64")
    first = ibis.greatest(answer_late.ifelse(now - respond, -1.0), close_late.ifelse(now - allowed, -1.0))
    first = (answer_late | close_late).ifelse(first, unpassed)
    waiting = (answered.isnull() & answer_late) | (known.open & close_late)
    return known.mutate(passed_ago=(first / 24.0).ceil().cast("int64"), waiting=waiting)


def low_score_not_followed_up(
    surveys: ir.Table, spine: ir.Table, policy: Policy, people_then: ir.Table | None = None
) -> ir.Table:
    """Low answers that nobody followed up within the time limit (T3); `figure` is the lowest score."""
    known = follow_up(surveys, spine)
    left = known.filter(_.forgotten == 1, _.answered_ago <= FOLLOW_UP_DAYS + policy.alerts.hold_days)
    if people_then is None:
        graded = left.mutate(tier=ibis.null("string"))
    else:
        graded = left.left_join(people_then.select(*PERSON, "tier"), PERSON, rname="{name}_then")
    return graded.group_by(*KEY).agg(
        began_ago=_.answered_ago.max(), newest_ago=_.answered_ago.min() - FOLLOW_UP_DAYS, concerned=_.count(),
        tier=_highest(graded.tier), figure=_.score.min(), usual=ibis.null("float64"),
    )  # fmt: skip


def _highest(tier: ir.StringValue) -> ir.StringValue:
    """The highest tier of a group; null where nobody has one."""
    place = ibis.cases(*((tier == name, number) for number, name in enumerate(TIERS))).min()
    return ibis.cases(*((place == number, name) for number, name in enumerate(TIERS)))


# --- all rules ------------------------------------------------------------------------------------------

RULES: tuple[Callable[..., ir.Table], ...] = (
    usage_drop,
    sponsor_lost,
    sponsor_silent,
    first_value_missed,
    sla_breach,
    low_score_not_followed_up,
)
CODES = tuple(rule.__name__ for rule in RULES)
"""In the order of the data contract, which is that of the list."""


def usable(known: Known) -> list[Callable[..., ir.Table]]:
    """The rules that the given tables allow."""
    return [rule for rule in RULES if not any(known.missing(name) for name in _reads(rule, needed=True))]


def _reads(rule: Callable[..., ir.Table], *, needed: bool) -> list[str]:
    parameters = inspect.signature(rule).parameters.values()
    return [one.name for one in parameters if one.default is inspect.Parameter.empty or not needed]


def alerts(known: Known) -> ir.Table:
    """Every alert with its evidence and the days it began and was last fed: one row per (account_id, as_of, code)."""
    parts = [_spoken(rule, known) for rule in usable(known)]
    days = known["spine"].select(*KEY, "day")
    told = ibis.union(*parts).join(days, KEY)
    dates = {name: date_of(told["day"] - told[f"{name}_ago"]) for name in ("began", "newest")}
    return told.mutate(**dates).select(*KEY, "day", *TOLD)


def _spoken(rule: Callable[..., ir.Table], known: Known) -> ir.Table:
    given = [name for name in _reads(rule, needed=False) if not known.missing(name)]
    rows = rule(**{name: known[name] for name in given})
    figures = {name: rows[name].cast(kind) for name, kind in EVIDENCE.items()}
    return rows.select(*KEY, code=ibis.literal(rule.__name__), **figures)


def place(code: ir.StringValue) -> ir.IntegerValue:
    """The place of a code among all of them."""
    return ibis.cases(*((code == name, place) for place, name in enumerate(CODES)))


def with_news(found: ir.Table, told: ir.Table, policy: Policy) -> ir.Table:
    """The alerts with `is_new` and `told_on`, when they were last new: one row per (account_id, as_of, code).

    `told` is what earlier lists said. The same cause is not told as new again within the quiet days, though it went and
    came back; a newer one, another sponsor who left, is.
    """
    before = told.group_by("account_id", "code").agg(newest_before=_.newest.max(), told_before=_.told_on.max())
    rows = found.left_join(before, ["account_id", "code"], rname="{name}_told")
    rows = rows.mutate(told_ago=_["day"] - day_of(_.told_before))
    same = rows.newest.isnull() | (rows.newest <= rows.newest_before).fill_null(False)
    heard = same & (rows.told_ago < policy.alerts.quiet_days).fill_null(False)
    return rows.select(*KEY, *TOLD, is_new=~heard, told_on=heard.ifelse(rows.told_before, rows.as_of))
