"""Stakeholders: engagement of the customer's people by tier (S1 to S4).

Staff may log in although the decision makers have left.
"""

from __future__ import annotations

from collections.abc import Iterable

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.families.usage import window_column
from renewals.features.family import KEY, Family, Theme, as_number, decay_weight
from renewals.features.patterns import normalize_text, split_words, word_patterns
from renewals.features.point_in_time import as_of_rows, days_ago
from renewals.features.policy import TIERS, Policy

stakeholders = Family("stakeholders", en="People and contacts", zh="关键人与联系", theme="value", needs=("people",))


PERSON_KEY = (*KEY, "user_id")
TIER_THEMES: dict[str, Theme] = {"B": "adoption"}
"""Theme by tier: features of key staff are about adoption, those of higher tiers about value (S2)."""


GRADE_COLUMNS = ("effective_tier", "role_normalized")
"""Columns that `grade_people` adds to the people."""


def tier_of(text: str, policy: Policy) -> str | None:
    """Highest tier with a pattern that matches the words of a title or role (S1); None if there is none."""
    words, tiers = split_words(text), policy.stakeholders.tiers
    return next((tier for tier in TIERS if tier in tiers and word_patterns(tiers[tier]).match(words)), None)


TEXT_TYPES = {"text": "string", "tier": "string", "normalized": "string"}
"""Types of the table of titles and roles: the text, its tier, and the normalized text."""


def text_rows(texts: Iterable[str], policy: Policy) -> list[dict[str, str | None]]:
    """Rows of `TEXT_TYPES`, one per text; an empty normalized text is null."""
    return [{"text": t, "tier": tier_of(t, policy), "normalized": normalize_text(t) or None} for t in texts]


def grade_people(people: ir.Table, texts: ir.Table) -> ir.Table:
    """Add `effective_tier` (the tier as given or by title, then role) and `role_normalized` to the people (S1).

    `texts` has a row of `TEXT_TYPES` for each title and each role.
    """
    columns = people.columns
    by_title = people.left_join(texts.select(title="text", title_tier="tier"), "title", rname="{name}_text")
    by_role = texts.select(role="text", role_tier="tier", role_normalized="normalized")
    both = by_title.left_join(by_role, "role", rname="{name}_text")
    return both.select(*columns, "role_normalized", effective_tier=ibis.coalesce(_.tier, _.title_tier, _.role_tier))


# --- sources -----------------------------------------------------------------------------------


def people_then(people: ir.Table, spine: ir.Table) -> ir.Table:
    """People known at each observation: one row per (account_id, as_of, user_id).

    `people` are graded by `grade_people`. Of several periods of a person the newest that has started counts, and of its
    versions the one that arrived last: the row of a period is written again when it ends. `left_ago` is the days since
    the person left, null while there; `heard_ago` the days since this became known.
    """
    known = as_of_rows("people", people, spine)
    known = known.mutate(role=known.role_normalized, left_ago=days_ago(known, known.valid_to))
    written_ago = days_ago(known, known.recorded_at)
    heard_ago = ibis.least(known.left_ago, ibis.coalesce(written_ago, known.left_ago))
    known = known.mutate(heard_ago=known.left_ago.notnull().ifelse(heard_ago, None))
    arrived = ibis.coalesce(known.recorded_at, known.valid_from)
    order = [t.desc(nulls_first=False) for t in (known.valid_from, arrived)]
    newest = ibis.window(group_by=PERSON_KEY, order_by=[*order, "left_ago", "effective_tier", "role"])
    then = known.mutate(place=ibis.row_number().over(newest)).filter(_.place == 0)
    return then.select(*PERSON_KEY, "role", "left_ago", "heard_ago", tier="effective_tier")


@stakeholders.source
def member(people_then: ir.Table, person_windows: ir.Table) -> ir.Table:
    """People known at the account, with tier and use by window: one row per (account_id, as_of, person)."""
    used = people_then.left_join(person_windows, PERSON_KEY, rname="{name}_used")
    return used.mutate(here=_.left_ago.isnull())


@stakeholders.source
def decider(people_then: ir.Table, touchpoints: ir.Table, spine: ir.Table) -> ir.Table:
    """S and A people who have not left: one row per (account_id, as_of, person).

    `met_ago` is the days since the last contact with them.
    """
    contacts = as_of_rows("touchpoints", touchpoints, spine).group_by(*PERSON_KEY).agg(met_ago=_.days_ago.min())
    present = people_then.filter(_.left_ago.isnull(), _.tier.isin(["S", "A"]))
    return present.left_join(contacts, PERSON_KEY, rname="{name}_met")


@stakeholders.source
def contact(touchpoints: ir.Table, people_then: ir.Table, spine: ir.Table) -> ir.Table:
    """Touchpoints of the past year with kind and person's tier: one row per (account_id, as_of, touchpoint)."""
    known = as_of_rows("touchpoints", touchpoints, spine).filter(_.days_ago <= 365)
    return known.left_join(people_then.select(*PERSON_KEY, "tier"), PERSON_KEY)


@stakeholders.source
def customer_contact(customer_touchpoints: ir.Table, people_then: ir.Table, spine: ir.Table) -> ir.Table:
    """Touchpoints of the past year that are no action of ours: one row per (account_id, as_of, touchpoint).

    The columns are those of `contact`.
    """
    return contact(customer_touchpoints, people_then, spine)


@stakeholders.source
def sponsor(people_then: ir.Table, person_windows: ir.Table, policy: Policy) -> ir.Table:
    """S and A people who have not left and used the product within a year: one row per (account_id, as_of, person).

    `silent` is 1 if the last use was more than the configured days ago.
    """
    deciders = people_then.filter(_.left_ago.isnull(), _.tier.isin(["S", "A"]))
    used = deciders.join(person_windows.select(*PERSON_KEY, "last_day_ago"), PERSON_KEY)
    return used.mutate(silent=(_.last_day_ago > policy.stakeholders.silent_days).ifelse(1, 0))


@stakeholders.source
def role(people_then: ir.Table, person_windows: ir.Table, policy: Policy) -> ir.Table:
    """Job roles with a steady user: one row per (account_id, as_of, role)."""
    steady = person_windows.filter(_.active_days_28d >= policy.usage.steady_days)
    joined = people_then.filter(_.left_ago.isnull(), _.role.notnull()).join(steady.select(*PERSON_KEY), PERSON_KEY)
    return joined.select(*KEY, "role").distinct()


def is_in_tier(table: ir.Table, tier: str) -> ir.BooleanValue:
    """True for rows about a person of this tier."""
    return (table.tier == tier).fill_null(False)


# --- features ----------------------------------------------------------------------------------


@stakeholders.feature(
    tier=TIERS, unit="people", risk="low", actionable=True, theme=TIER_THEMES, empty=0,
    en="{tier} known at the account: {value:.0f} (peers: {peer:.0f})",
    zh="已知 {value:.0f} 位{tier}（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def people_known(member: ir.Table, tier: str) -> ir.Value:
    """Number of people of the tier who have not left (S1)."""
    return (is_in_tier(member, tier) & member.here).sum()


@stakeholders.feature(
    tier=TIERS, days=(28, 90), unit="people", risk="low", actionable=True, theme=TIER_THEMES, empty=0,
    en="{tier} who used the product in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 位{tier}使用产品（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def people_active(member: ir.Table, tier: str, days: int) -> ir.Value:
    """Number of people of the tier with a north-star action in the window (S2, S4)."""
    return (is_in_tier(member, tier) & (window_column(member, "active", days) == 1)).sum()


@stakeholders.feature(
    tier=TIERS, days=(28, 90, 180, 365), unit="days", risk="low", actionable=True, theme=TIER_THEMES, empty=0,
    en="person-days of use by {tier} in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天{tier}共使用 {value:.0f} 人天（同类客户：{peer:.0f} 人天）",
)  # fmt: skip
def use_days(member: ir.Table, tier: str, days: int) -> ir.Value:
    """Person-days with use by people of the tier in the window (S2)."""
    return is_in_tier(member, tier).ifelse(window_column(member, "days", days), 0).sum()


@stakeholders.feature(
    tier=TIERS, days=(28, 90, 365), unit="days", risk="low", actionable=True, theme=TIER_THEMES,
    en="{tier} used the product on {value:.1f} of the last {days} days each (peers: {peer:.1f})",
    zh="近 {days} 天{tier}人均使用 {value:.1f} 天（同类客户：{peer:.1f} 天）",
)  # fmt: skip
def use_days_per_person(member: ir.Table, tier: str, days: int) -> ir.Value:
    """Mean days with use per person of the tier who has not left, people without use included (S2, S4).

    Use of the whole account mixes decision makers with the staff who work with the product; this feature does not, and
    it does not depend on their number.
    """
    is_counted = is_in_tier(member, tier) & member.here
    used = is_counted.ifelse(window_column(member, "days", days).fill_null(0), 0).sum()
    return used.cast("float64") / is_counted.sum().nullif(0)


@stakeholders.feature(
    tier=TIERS, unit="share", risk="low", actionable=True, theme=TIER_THEMES,
    en="{value:.0%} of the use of the last 90 days was by {tier} (peers: {peer:.0%})",
    zh="近 90 天的使用中 {value:.0%} 来自{tier}（同类客户：{peer:.0%}）",
)  # fmt: skip
def share_of_use(member: ir.Table, tier: str) -> ir.Value:
    """Person-days of the tier over those of everybody known at the account, 90 days (S4: does the boss use it?)."""
    days = is_in_tier(member, tier).ifelse(member.days_90d, 0).sum()
    return days.cast("float64") / member.days_90d.sum().nullif(0)


@stakeholders.feature(
    tier=("S", "A"), unit="change", risk="low", actionable=True,
    en="90 days of use by {tier} against a year, from -1 (stopped) to +1 (new): {value:+.2f} (peers: {peer:+.2f})",
    zh="{tier}近 90 天的使用相对过去一年的变化（-1 为停止，+1 为新增）：{value:+.2f}（同类客户：{peer:+.2f}）",
)  # fmt: skip
def tier_usage_vs_baseline(member: ir.Table, tier: str) -> ir.Value:
    """Change of the tier's daily use in 90 days against its past year, from -1 to 1 (S2, U4)."""
    now, year = (is_in_tier(member, tier).ifelse(member[c], 0).sum().cast("float64") for c in ("days_90d", "days_365d"))
    quick, slow = now / 90, year / 365
    return (quick - slow) / (quick + slow).nullif(0.0)


@stakeholders.feature(
    tier=TIERS, unit="days", risk="high", actionable=True, theme=TIER_THEMES, empty=366,
    en="{tier} last used the product {value:.0f} days ago (peers: {peer:.0f})",
    zh="{tier}最近一次使用在 {value:.0f} 天前（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since_use(member: ir.Table, tier: str) -> ir.Value:
    """Days since the last use by anybody of the tier (S4); 366 if there was none for a year."""
    return member.last_day_ago.min(where=is_in_tier(member, tier)).fill_null(366)


@stakeholders.feature(
    tier=TIERS, unit="days", risk="high", actionable=True, theme=TIER_THEMES, empty=366,
    en="{tier} last met {value:.0f} days ago (peers: {peer:.0f})",
    zh="最近一次与{tier}接触在 {value:.0f} 天前（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since_contact(contact: ir.Table, tier: str) -> ir.Value:
    """Days since the last contact with anybody of the tier; 366 if there was none for a year (S2)."""
    return contact.days_ago.min(where=is_in_tier(contact, tier)).fill_null(366)


@stakeholders.feature(
    tier=TIERS, days=(90, 180, 365), unit="contacts", risk="low", actionable=True, theme=TIER_THEMES, empty=0,
    en="contacts with {tier} in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天与{tier}接触 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def contacts(contact: ir.Table, tier: str, days: int) -> ir.Value:
    """Number of touchpoints with people of the tier in the window (S2)."""
    return (is_in_tier(contact, tier) & (contact.days_ago <= days)).sum()


@stakeholders.feature(
    tier=TIERS, days=(90, 365), unit="contacts", risk="low", actionable=True, theme=TIER_THEMES, empty=0,
    en="contacts begun by {tier} in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天{tier}主动联系 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def customer_contacts(customer_contact: ir.Table, tier: str, days: int) -> ir.Value:
    """Number of touchpoints with people of the tier in the window that the customer initiated (S2, M5)."""
    return (is_in_tier(customer_contact, tier) & (customer_contact.days_ago <= days)).sum()


@stakeholders.feature(
    days=(90, 180), unit="share", risk="low", actionable=True,
    en="{value:.0%} of decision makers and department heads were met in the last {days} days (peers: {peer:.0%})",
    zh="近 {days} 天接触到 {value:.0%} 的决策者和部门负责人（同类客户：{peer:.0%}）",
)  # fmt: skip
def decision_makers_contacted_share(decider: ir.Table, days: int) -> ir.Value:
    """Share of the S and A people who have not left with a contact in the window (S2)."""
    return as_number((decider.met_ago <= days).fill_null(False)).mean()


@stakeholders.feature(
    tier=("S", "A"), days=(90, 365), unit="people", risk="high", actionable=True, theme="sponsor", empty=0,
    en="{tier} who left in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 位{tier}离开（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def people_left(member: ir.Table, tier: str, days: int) -> ir.Value:
    """Number of people of the tier who left in the window (S3); the effect of a loss lasts about a year."""
    return (is_in_tier(member, tier) & (member.left_ago <= days).fill_null(False)).sum()


@stakeholders.feature(
    tier=("S", "A"), unit="people", risk="high", actionable=True, theme="sponsor", empty=0,
    en="{tier} who left, long ago counting less: {value:.1f} (peers: {peer:.1f})",
    zh="已离开的{tier}人数（越久远计得越少）：{value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def departures_decayed(member: ir.Table, tier: str) -> ir.Value:
    """Sum over the people of the tier who left of weights that halve every 180 days since (S3)."""
    return decay_weight(member.left_ago).sum(where=is_in_tier(member, tier)).fill_null(0)


@stakeholders.feature(
    unit="people", risk="high", actionable=True, theme="sponsor", empty=0,
    en="decision makers and department heads who have fallen silent: {value:.0f} (peers: {peer:.0f})",
    zh="{value:.0f} 位曾活跃的决策者或部门负责人已沉默（同类客户：{peer:.0f} 位）",
)  # fmt: skip
def sponsors_silent(sponsor: ir.Table) -> ir.Value:
    """Number of S and A people who have not left and used it within a year, but not within the configured days (S3)."""
    return sponsor.silent.sum()


@stakeholders.feature(
    unit="roles", risk="low", actionable=True, theme="adoption", empty=0,
    en="job roles with people who use it steadily: {value:.0f} (peers: {peer:.0f})",
    zh="有 {value:.0f} 种岗位的人员稳定使用（同类客户：{peer:.0f} 种）",
)  # fmt: skip
def steady_roles(role: ir.Table) -> ir.Value:
    """Number of job roles with a person active on enough days of the last 28 (J3: two by the end of onboarding)."""
    return role.count()
