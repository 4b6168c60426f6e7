"""How the account took to the product: first value, and who came to it when (J2, U5)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.stakeholders import PERSON_KEY
from renewals.features.family import KEY, Family, as_number
from renewals.features.point_in_time import Calendar, as_of_rows, first_known_days

adoption = Family("adoption", theme="first_value", needs=("usage_events",))

ONBOARDING_DAYS = (30, 60)
"""The days by which onboarding is looked at (J1): the first thirty decide."""
FIRST_VALUE_SHARE = 0.25
"""First value (J2): this share of the bought seats active within the first thirty days."""
PROMPT_DAYS, HALF_YEAR_DAYS = 30, 180
"""Who came within the first thirty days came promptly, beside all who came within half a year (J2)."""


def first_uses(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    """When each person first did a north-star action, as then known: one row per (account_id, user_id, as_of)."""
    return first_known_days(person_days.filter(_.north_star > 0), ("account_id", "user_id"), calendar)


@adoption.source
def starter(first_uses: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of, person who ever was active): days since, and days after the account's start."""
    ages = spine.select(*KEY, "account_age")
    return first_uses.join(ages, KEY).mutate(after_start=_.account_age - _.first_day_ago)


@adoption.source
def start(first_uses: ir.Table, terms: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of): share of the first seats active by day 30 and 60; null before that day."""
    ages = spine.select(*KEY, "account_age")
    firsts = terms.join(ages, KEY).filter(_.has_started, _.began_ago == _.account_age).group_by(*KEY, "account_age")
    begun = starter(first_uses, spine).group_by(*KEY)
    people = begun.agg(**{f"by_{age}": (_.after_start < age).sum() for age in (*ONBOARDING_DAYS, HALF_YEAR_DAYS)})
    joined = firsts.agg(seats=_.seats.max()).left_join(people, KEY).drop("account_id_right", "as_of_right")
    joined = joined.join(spine.select(*KEY, "term_age"), KEY)
    seats = joined.seats.cast("float64").nullif(0.0)
    prompt = prompt_share(joined, joined.account_age, joined.term_age)
    return joined.mutate(
        prompt=prompt, **{f"activated_{age}": _activated_share(joined, seats, age) for age in ONBOARDING_DAYS}
    )


def prompt_share(counts: ir.Table, age: ir.NumericColumn, term_age: ir.NumericColumn) -> ir.FloatingValue:
    """The share of the first half year's people who came within thirty days; null where it tells nothing.

    That is before onboarding is over, and once the first term is: what it foretold has then come (J2).
    """
    told = (age >= max(ONBOARDING_DAYS)) & (term_age >= age)
    share = counts[f"by_{PROMPT_DAYS}"].cast("float64") / counts[f"by_{HALF_YEAR_DAYS}"].nullif(0)
    return told.ifelse(share, ibis.null("float64"))


def _activated_share(rows: ir.Table, seats: ir.Value, age: int) -> ir.Value:
    share = rows[f"by_{age}"].fill_null(0).cast("float64") / seats
    return (rows.account_age >= age).ifelse(share, ibis.null("float64"))


@adoption.source
def arrival(people: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of): how promptly people were there after the account's start (J2)."""
    known = as_of_rows("people", people, spine).filter(_.days_ago.notnull())
    joined = known.group_by(*PERSON_KEY).agg(joined_ago=_.days_ago.max())
    aged = joined.join(spine.select(*KEY, "account_age", "term_age"), KEY)
    after = aged.mutate(after_start=_.account_age - _.joined_ago)
    sums = {f"by_{age}": (_.after_start < age).sum() for age in (PROMPT_DAYS, HALF_YEAR_DAYS)}
    begun = after.group_by(*KEY, "account_age", "term_age").agg(**sums)
    return begun.mutate(prompt=prompt_share(begun, begun.account_age, begun.term_age))


@adoption.source
def core_user(first_uses: ir.Table, people_then: ir.Table, person_windows: ir.Table, spine: ir.Table) -> ir.Table:
    """One row per (account_id, as_of, core user): a head or key staff active within 60 days of the start (U5)."""
    early = starter(first_uses, spine).filter(_.after_start < max(ONBOARDING_DAYS)).select(*PERSON_KEY)
    heads = people_then.filter(_.tier.isin(["A", "B"])).join(early, PERSON_KEY)
    lately = person_windows.filter(_.active_90d == 1).select(*PERSON_KEY, active=ibis.literal(1))
    return heads.left_join(lately, PERSON_KEY, rname="{name}_lately").mutate(active=_.active.fill_null(0))


@adoption.feature(
    unit="share", risk="low", actionable=False,
    en="{value:.0%} of the first seats were active within 30 days of the start (peers: {peer:.0%})",
    zh="上线 30 天内 {value:.0%} 的席位被激活（同类客户：{peer:.0%}）",
)  # fmt: skip
def seat_activation_by_day_30(start: ir.Table) -> ir.Value:
    """People active by the 30th day after the account's start over the first seats (J2); null before that day."""
    return start.activated_30.max()


@adoption.feature(
    unit="share", risk="low", actionable=False,
    en="{value:.0%} of the first seats were active within 60 days of the start (peers: {peer:.0%})",
    zh="上线 60 天内 {value:.0%} 的席位被激活（同类客户：{peer:.0%}）",
)  # fmt: skip
def seat_activation_by_day_60(start: ir.Table) -> ir.Value:
    """People active by the 60th day after the account's start over the first seats (J1, J2); null before that day."""
    return start.activated_60.max()


@adoption.feature(
    unit="yes or no", risk="high", actionable=False,
    en="first value was missed: {value} (peers: {peer})",
    zh="是否错过首次价值：{value}（同类客户：{peer}）",
)  # fmt: skip
def first_value_missed(start: ir.Table) -> ir.Value:
    """Whether fewer than a quarter of the first seats were active by the 30th day (J2); null where not known."""
    return as_number((start.activated_30 < FIRST_VALUE_SHARE).any())


@adoption.feature(
    unit="yes or no", risk="high", actionable=False,
    en="first value was missed, and the first renewal is still to come: {value} (peers: {peer})",
    zh="错过首次价值且尚未首次续约：{value}（同类客户：{peer}）",
)  # fmt: skip
def first_value_missed_in_first_term(start: ir.Table) -> ir.Value:
    """Whether first value was missed and the account is still in its first term (J2): nobody has told us yet.

    Null where it is not known whether it was missed.
    """
    missed, first_term = start.activated_30 < FIRST_VALUE_SHARE, start.term_age >= start.account_age
    return as_number(ibis.cases((missed, first_term), (~missed, ibis.literal(False))).any())


@adoption.feature(
    unit="share", risk="low", actionable=False,
    en="of those who began using it in the first half year, {value:.0%} did in the first 30 days (peers: {peer:.0%})",
    zh="上线首半年内开始使用的人员中，{value:.0%} 在前 30 天内就已开始（同类客户：{peer:.0%}）",
)  # fmt: skip
def early_user_share(start: ir.Table) -> ir.Value:
    """People first active within 30 days of the start over those within 180 (J2): it does not hang on unused seats.

    Null in the first 60 days, and after the first term.
    """
    return start.prompt.max()


@adoption.feature(
    unit="share", risk="low", actionable=False,
    en="of those who joined in the first half year, {value:.0%} did in the first 30 days (peers: {peer:.0%})",
    zh="上线首半年内加入的人员中，{value:.0%} 在前 30 天内就已加入（同类客户：{peer:.0%}）",
)  # fmt: skip
def early_joiner_share(arrival: ir.Table) -> ir.Value:
    """People known to be there within 30 days of the start over those within 180 (J2), whatever they did.

    Null in the first 60 days, and after the first term.
    """
    return arrival.prompt.max()


@adoption.feature(
    unit="days", risk="high", actionable=False, empty=366,
    en="first used in earnest {value:.0f} days after the start (peers: {peer:.0f})",
    zh="上线后第 {value:.0f} 天才首次真正使用（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_to_first_use(starter: ir.Table) -> ir.Value:
    """Days from the account's start to its first north-star action, at most 366 (J2); 366 where there was none."""
    return starter.after_start.min().clip(lower=0, upper=366)


@adoption.feature(
    days=(28, 90), unit="people", risk="low", actionable=True, theme="adoption", empty=0,
    en="people active for the first time in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天新增 {value:.0f} 位首次活跃的使用者（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def newly_active_people(starter: ir.Table, days: int) -> ir.Value:
    """People whose first north-star action lies in the window (U5)."""
    return (starter.first_day_ago <= days).sum()


@adoption.feature(
    unit="people", risk="low", actionable=True, theme="adoption", empty=0,
    en="core users (department heads and key staff active from the start): {value:.0f} (peers: {peer:.0f})",
    zh="核心用户（上线初期即活跃的负责人和骨干）{value:.0f} 位（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def core_users(core_user: ir.Table) -> ir.Value:
    """People of tier A or B who were active within 60 days of the account's start (U5)."""
    return core_user.count()


@adoption.feature(
    unit="share", risk="low", actionable=True, theme="adoption",
    en="{value:.0%} of the core users were active in the last 90 days (peers: {peer:.0%})",
    zh="近 90 天 {value:.0%} 的核心用户仍活跃（同类客户：{peer:.0%}）",
)  # fmt: skip
def core_users_active_share(core_user: ir.Table) -> ir.Value:
    """Core users with a north-star action in 90 days over all of them (U5: their loss matters most)."""
    return core_user.active.sum().cast("float64") / core_user.count().nullif(0)
