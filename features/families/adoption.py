"""Adoption of the product by the account: first value, and the times when people started to use it (J2, U5)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.stakeholders import PERSON_KEY
from renewals.features.family import KEY, Family, as_number
from renewals.features.point_in_time import Calendar, as_of_rows, first_known_days

adoption = Family("adoption", en="Adoption", zh="推广应用", theme="first_value", needs=("usage_events",))

ONBOARDING_DAYS = (30, 60)
"""Days after the start at which onboarding is measured (J1): the first thirty are decisive."""
FIRST_VALUE_SHARE = 0.25
"""First value (J2): share of the bought seats that must be active within the first thirty days."""
PROMPT_DAYS, HALF_YEAR_DAYS = 30, 180
"""People who started within 30 days are early; they are compared with all who started within half a year (J2)."""


def first_uses(person_days: ir.Table, calendar: Calendar) -> ir.Table:
    """First north-star action of each person, as known then: one row per (account_id, user_id, as_of)."""
    return first_known_days(person_days.filter(_.north_star > 0), ("account_id", "user_id"), calendar)


@adoption.source
def starter(first_uses: ir.Table, spine: ir.Table) -> ir.Table:
    """People who were ever active: one row per (account_id, as_of, person).

    Adds the days since the first north-star action, and `after_start`, its day after the account's start.
    """
    ages = spine.select(*KEY, "account_age")
    return first_uses.join(ages, KEY).mutate(after_start=_.account_age - _.first_day_ago)


@adoption.source
def start(first_uses: ir.Table, terms: ir.Table, spine: ir.Table) -> ir.Table:
    """Share of the first seats active by day 30 and 60: one row per (account_id, as_of); null before that day."""
    ages = spine.select(*KEY, "account_age")
    firsts = terms.join(ages, KEY).filter(_.has_started, _.began_ago == _.account_age).group_by(*KEY, "account_age")
    starters = starter(first_uses, spine).group_by(*KEY)
    people = starters.agg(**{f"by_{age}": (_.after_start < age).sum() for age in (*ONBOARDING_DAYS, HALF_YEAR_DAYS)})
    joined = firsts.agg(seats=_.seats.max()).left_join(people, KEY).drop("account_id_right", "as_of_right")
    joined = joined.join(spine.select(*KEY, "term_age"), KEY)
    seats = joined.seats.cast("float64").nullif(0.0)
    prompt = prompt_share(joined, joined.account_age, joined.term_age)
    return joined.mutate(
        prompt=prompt, **{f"activated_{age}": _activated_share(joined, seats, age) for age in ONBOARDING_DAYS}
    )


def prompt_share(counts: ir.Table, age: ir.NumericColumn, term_age: ir.NumericColumn) -> ir.FloatingValue:
    """Share of the people of the first half year who started within 30 days; null where it is not informative.

    That is before onboarding ends, and after the first term: by then the outcome that it predicts is known (J2).
    """
    is_informative = (age >= max(ONBOARDING_DAYS)) & (term_age >= age)
    share = counts[f"by_{PROMPT_DAYS}"].cast("float64") / counts[f"by_{HALF_YEAR_DAYS}"].nullif(0)
    return is_informative.ifelse(share, ibis.null("float64"))


def _activated_share(rows: ir.Table, seats: ir.Value, age: int) -> ir.Value:
    share = rows[f"by_{age}"].fill_null(0).cast("float64") / seats
    return (rows.account_age >= age).ifelse(share, ibis.null("float64"))


@adoption.source
def arrival(people: ir.Table, spine: ir.Table) -> ir.Table:
    """Share of the people who joined early after the account's start (J2): one row per (account_id, as_of)."""
    known = as_of_rows("people", people, spine).filter(_.days_ago.notnull())
    joined = known.group_by(*PERSON_KEY).agg(joined_ago=_.days_ago.max())
    aged = joined.join(spine.select(*KEY, "account_age", "term_age"), KEY)
    after = aged.mutate(after_start=_.account_age - _.joined_ago)
    sums = {f"by_{age}": (_.after_start < age).sum() for age in (PROMPT_DAYS, HALF_YEAR_DAYS)}
    counts = after.group_by(*KEY, "account_age", "term_age").agg(**sums)
    return counts.mutate(prompt=prompt_share(counts, counts.account_age, counts.term_age))


@adoption.source
def core_user(first_uses: ir.Table, people_then: ir.Table, person_windows: ir.Table, spine: ir.Table) -> ir.Table:
    """Core users (U5): one row per (account_id, as_of, person).

    A core user is of tier A or B and was active within 60 days of the account's start. `active` is 1 if they were
    active in the last 90 days.
    """
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
    """1 if fewer than a quarter of the first seats were active by the 30th day (J2), else 0; null if not known."""
    return as_number((start.activated_30 < FIRST_VALUE_SHARE).any())


@adoption.feature(
    unit="yes or no", risk="high", actionable=False,
    en="first value was missed, and the first renewal is still to come: {value} (peers: {peer})",
    zh="错过首次价值且尚未首次续约：{value}（同类客户：{peer}）",
)  # fmt: skip
def first_value_missed_in_first_term(start: ir.Table) -> ir.Value:
    """1 if first value was missed and the account is still in its first term (J2), else 0.

    In the first term no renewal has been decided yet. Null if it is not known whether first value was missed.
    """
    missed, first_term = start.activated_30 < FIRST_VALUE_SHARE, start.term_age >= start.account_age
    return as_number(ibis.cases((missed, first_term), (~missed, ibis.literal(False))).any())


@adoption.feature(
    unit="share", risk="low", actionable=False,
    en="of those who began using it in the first half year, {value:.0%} did in the first 30 days (peers: {peer:.0%})",
    zh="上线首半年内开始使用的人员中，{value:.0%} 在前 30 天内就已开始（同类客户：{peer:.0%}）",
)  # fmt: skip
def early_user_share(start: ir.Table) -> ir.Value:
    """People first active within 30 days of the start over those within 180 (J2); does not depend on unused seats.

    Null in the first 60 days, and after the first term.
    """
    return start.prompt.max()


@adoption.feature(
    unit="share", risk="low", actionable=False,
    en="of those who joined in the first half year, {value:.0%} did in the first 30 days (peers: {peer:.0%})",
    zh="上线首半年内加入的人员中，{value:.0%} 在前 30 天内就已加入（同类客户：{peer:.0%}）",
)  # fmt: skip
def early_joiner_share(arrival: ir.Table) -> ir.Value:
    """People known at the account within 30 days of the start over those within 180 (J2), with or without use.

    Null in the first 60 days, and after the first term.
    """
    return arrival.prompt.max()


@adoption.feature(
    unit="days", risk="high", actionable=False, empty=366,
    en="first used in earnest {value:.0f} days after the start (peers: {peer:.0f})",
    zh="上线后第 {value:.0f} 天才首次真正使用（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_to_first_use(starter: ir.Table) -> ir.Value:
    """Days from the account's start to its first north-star action, at most 366 (J2); 366 if there was none."""
    return starter.after_start.min().clip(lower=0, upper=366)


@adoption.feature(
    days=(28, 90), unit="people", risk="low", actionable=True, theme="adoption", empty=0,
    en="people active for the first time in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天新增 {value:.0f} 位首次活跃的使用者（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def newly_active_people(starter: ir.Table, days: int) -> ir.Value:
    """Number of people whose first north-star action is in the window (U5)."""
    return (starter.first_day_ago <= days).sum()


@adoption.feature(
    unit="people", risk="low", actionable=True, theme="adoption", empty=0,
    en="core users (department heads and key staff active from the start): {value:.0f} (peers: {peer:.0f})",
    zh="核心用户（上线初期即活跃的负责人和骨干）{value:.0f} 位（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def core_users(core_user: ir.Table) -> ir.Value:
    """Number of people of tier A or B who were active within 60 days of the account's start (U5)."""
    return core_user.count()


@adoption.feature(
    unit="share", risk="low", actionable=True, theme="adoption",
    en="{value:.0%} of the core users were active in the last 90 days (peers: {peer:.0%})",
    zh="近 90 天 {value:.0%} 的核心用户仍活跃（同类客户：{peer:.0%}）",
)  # fmt: skip
def core_users_active_share(core_user: ir.Table) -> ir.Value:
    """Share of the core users with a north-star action in 90 days (U5: their loss matters most)."""
    return core_user.active.sum().cast("float64") / core_user.count().nullif(0)
