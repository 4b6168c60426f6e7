"""Use of the product: by how many people, how often, how broadly, how deeply (U1 to U3), and its change (U4, U5)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, Family
from renewals.features.point_in_time import DAYS_PER_YEAR
from renewals.features.usage_windows import (
    CHANGE_WINDOW_DAYS,
    PERSON_COUNT_RANGES,
    TREND_MONTHS,
    WEEKDAY_RANGES,
    WINDOW_DAYS,
)

usage = Family("usage", en="Use of the product", zh="产品使用", theme="adoption", needs=("usage_events",))


# --- sources -----------------------------------------------------------------------------------


@usage.source
def person(person_windows: ir.Table) -> ir.Table:
    return person_windows


@usage.source
def account(account_windows: ir.Table) -> ir.Table:
    return account_windows


@usage.source
def session(account_windows: ir.Table, person_windows: ir.Table) -> ir.Table:
    """Use of each account with the days of use summed over its people: one row per (account_id, as_of)."""
    days = person_windows.group_by(*KEY).agg(
        **{f"person_days_{s}": _[f"days_{s}"].sum() for s in PERSON_COUNT_RANGES["days"]}
    )
    return account_windows.join(days, KEY)


@usage.source
def seat(person_windows: ir.Table, terms: ir.Table) -> ir.Table:
    """Active people and the most seats of a running term: one row per (account_id, as_of) with known seats."""
    active = {f"active_{w}d": _[f"active_{w}d"].sum() for w in WINDOW_DAYS}
    seats = terms.filter(_.running).group_by(*KEY).agg(seats=_.seats.max()).filter(_.seats > 0)
    joined = seats.left_join(person_windows.group_by(*KEY).agg(**active), KEY)
    return joined.mutate(**{name: _[name].fill_null(0) for name in active})


def window_column(table: ir.Table, measure: str, days: int, before: bool = False) -> ir.Value:
    """Column of a measure over the last `days`, or with `before` over the `days` before those."""
    return table[f"{measure}_{days}d{'_before' if before else ''}"]


def symmetric_change(now: ir.Value, then: ir.Value) -> ir.Value:
    """(now - then) / (now + then): -1 if it stopped, 0 if unchanged, 1 if new; null if both are zero."""
    both = (now + then).cast("float64")
    return (now - then).cast("float64") / both.nullif(0.0)


def pace_change(now: ir.Value, days: int, past: ir.Value, past_days: int) -> ir.Value:
    """`symmetric_change` between the daily rate of a short window and that of the account's longer past (U4)."""
    return symmetric_change(now.cast("float64") / days, past.cast("float64") / past_days)


# --- features ----------------------------------------------------------------------------------


@usage.feature(
    days=WINDOW_DAYS, unit="people", risk="low", actionable=True, empty=0,
    en="people who used the product in earnest in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 人使用产品核心功能（同类客户：{peer:.0f} 人）",
)  # fmt: skip
def active_people(person: ir.Table, days: int) -> ir.Value:
    """Number of people with at least one north-star action in the window (U1)."""
    return window_column(person, "active", days).sum()


@usage.feature(
    days=(28, 90), unit="people", risk="low", actionable=True, empty=0,
    en="people who opened the product in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 人打开过产品（同类客户：{peer:.0f} 人）",
)  # fmt: skip
def people_with_any_use(person: ir.Table, days: int) -> ir.Value:
    """Number of people with any event in the window, north-star or not (U1 measures both)."""
    return (window_column(person, "days", days) > 0).sum()


@usage.feature(
    days=WINDOW_DAYS, unit="days", risk="low", actionable=True, empty=0,
    en="in use on {value:.0f} of the last {days} days (peers: {peer:.0f})",
    zh="近 {days} 天中有 {value:.0f} 天在使用（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def active_days(account: ir.Table, days: int) -> ir.Value:
    """Number of days in the window with a north-star action by anybody (U2)."""
    return window_column(account, "active_days", days).max()


@usage.feature(
    days=WINDOW_DAYS, unit="actions", risk="low", actionable=True, empty=0,
    en="key actions in the last {days} days: {value:,.0f} (peers: {peer:,.0f})",
    zh="近 {days} 天有 {value:,.0f} 次关键操作（同类客户：{peer:,.0f} 次）",
)  # fmt: skip
def key_actions(account: ir.Table, days: int) -> ir.Value:
    """Number of north-star actions in the window (U1)."""
    return window_column(account, "north_star", days).max()


@usage.feature(
    days=(28, 90, 180, 365), unit="share", risk="low", actionable=True,
    en="{value:.0%} of all activity in the last {days} days was key actions (peers: {peer:.0%})",
    zh="近 {days} 天的操作中 {value:.0%} 为关键操作（同类客户：{peer:.0%}）",
)  # fmt: skip
def key_action_share(account: ir.Table, days: int) -> ir.Value:
    """North-star actions over all actions in the window (U1)."""
    return window_column(account, "north_star", days).max() / window_column(account, "actions", days).max().nullif(0.0)


@usage.feature(
    days=(28, 90, 180, 365), unit="share", risk="low", actionable=True,
    en="{value:.0%} of activity in the last {days} days was in the core workflow (peers: {peer:.0%})",
    zh="近 {days} 天的操作中 {value:.0%} 属于核心业务流程（同类客户：{peer:.0%}）",
)  # fmt: skip
def core_workflow_share(account: ir.Table, days: int) -> ir.Value:
    """Actions in the configured core workflow over all actions in the window (S4)."""
    return window_column(account, "core", days).max() / window_column(account, "actions", days).max().nullif(0.0)


@usage.feature(
    days=(28, 90, 180), unit="features", risk="low", actionable=True, empty=0,
    en="different features used in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天用到 {value:.0f} 个不同功能（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def features_used(account: ir.Table, days: int) -> ir.Value:
    """Breadth of use: number of different product features used in the window (U2)."""
    return window_column(account, "features", days).max()


@usage.feature(
    days=(28, 90), unit="people", risk="low", actionable=True, empty=0,
    en="people who acted on what the product shows in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天有 {value:.0f} 人用产品推动行动（同类客户：{peer:.0f} 人）",
)  # fmt: skip
def people_at_act_level(person: ir.Table, days: int) -> ir.Value:
    """Number of people who reached the deepest level of use (act) in the window (U3)."""
    return (window_column(person, "level", days) == 3).sum()


@usage.feature(
    days=(28, 90), unit="level 1 to 3", risk="low", actionable=True,
    en="people reached depth {value:.1f} of 3 on average in the last {days} days (peers: {peer:.1f})",
    zh="近 {days} 天人均使用深度为 {value:.1f} 级（共 3 级，同类客户：{peer:.1f}）",
)  # fmt: skip
def usage_depth(person: ir.Table, days: int) -> ir.Value:
    """Mean over people of the deepest level that each reached in the window (U3)."""
    return window_column(person, "level", days).nullif(0).cast("float64").mean()


@usage.feature(
    days=(28, 90, 180, 365), unit="minutes", risk="low", actionable=True,
    en="{value:.0f} minutes per person and active day in the last {days} days (peers: {peer:.0f})",
    zh="近 {days} 天人均每个使用日 {value:.0f} 分钟（同类客户：{peer:.0f} 分钟）",
)  # fmt: skip
def session_minutes(session: ir.Table, days: int) -> ir.Value:
    """Minutes in the product per person and day of use in the window (U2).

    Short and rare sessions are an early red flag. Null if no duration is known.
    """
    return (
        window_column(session, "seconds", days).max().nullif(0.0)
        / 60.0
        / window_column(session, "person_days", days).max().nullif(0)
    )


@usage.feature(
    days=(28, 90, 180, 365), unit="days", risk="low", actionable=True,
    en="each active person came on {value:.1f} of the last {days} days (peers: {peer:.1f})",
    zh="近 {days} 天每位使用者平均使用 {value:.1f} 天（同类客户：{peer:.1f} 天）",
)  # fmt: skip
def use_days_per_user(person: ir.Table, days: int) -> ir.Value:
    """Mean days of use in the window per person with any use (U2, login frequency)."""
    return window_column(person, "days", days).nullif(0).cast("float64").mean()


@usage.feature(
    days=(28, 90), unit="share", risk="low", actionable=True,
    en="{value:.0%} of the bought seats active in the last {days} days (peers: {peer:.0%})",
    zh="近 {days} 天席位激活率 {value:.0%}（同类客户：{peer:.0%}）",
)  # fmt: skip
def seat_activation(seat: ir.Table, days: int) -> ir.Value:
    """Active people in the window over bought seats (U2); null if the seats are missing."""
    return (seat[f"active_{days}d"].cast("float64") / seat.seats.cast("float64")).max()


@usage.feature(
    days=CHANGE_WINDOW_DAYS, unit="change", risk="low", actionable=True,
    en="active people against the {days} days before, from -1 (stopped) to +1 (new): {value:+.2f} (peers: {peer:+.2f})",
    zh="活跃人数较此前 {days} 天的变化（-1 为停止，+1 为新增）：{value:+.2f}（同类客户：{peer:+.2f}）",
)  # fmt: skip
def active_people_change(person: ir.Table, days: int) -> ir.Value:
    """Change of active people against the window before (U4): (now - before) / (now + before)."""
    return symmetric_change(*(window_column(person, "active", days, before).sum() for before in (False, True)))


@usage.feature(
    days=CHANGE_WINDOW_DAYS, unit="change", risk="low", actionable=True,
    en="key actions against the {days} days before, from -1 (stopped) to +1 (new): {value:+.2f} (peers: {peer:+.2f})",
    zh="关键操作较此前 {days} 天的变化（-1 为停止，+1 为新增）：{value:+.2f}（同类客户：{peer:+.2f}）",
)  # fmt: skip
def key_actions_change(account: ir.Table, days: int) -> ir.Value:
    """Change of key actions against the window before (U4): (now - before) / (now + before)."""
    return symmetric_change(*(window_column(account, "north_star", days, before).max() for before in (False, True)))


@usage.feature(
    days=(7, 28, 90), unit="change", risk="low", actionable=True,
    en="key actions of {days} days against a year, from -1 (stopped) to +1 (new): {value:+.2f} (peers: {peer:+.2f})",
    zh="近 {days} 天关键操作相对自身过去一年的变化（-1 为停止，+1 为新增）：{value:+.2f}（同类客户：{peer:+.2f}）",
)  # fmt: skip
def usage_vs_baseline(account: ir.Table, days: int) -> ir.Value:
    """Change of the daily rate of key actions in the window against the account's past year, from -1 to 1 (U4)."""
    return pace_change(
        window_column(account, "north_star", days).max(), days, account.north_star_365d.max(), DAYS_PER_YEAR
    )


@usage.feature(
    unit="days", risk="high", actionable=True, empty=366,
    en="last used {value:.0f} days ago (peers: {peer:.0f})",
    zh="最近一次使用在 {value:.0f} 天前（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since_last_use(person: ir.Table) -> ir.Value:
    """Days since the last use by anybody (U4); 366 if there was none for a year."""
    return person.last_day_ago.min()


@usage.feature(
    unit="people", risk="low", actionable=True, empty=0,
    en="people who used it in earnest in the past year: {value:.0f} (peers: {peer:.0f})",
    zh="过去一年共有 {value:.0f} 人使用过（同类客户：{peer:.0f} 人）",
)  # fmt: skip
def active_people_in_year(person: ir.Table) -> ir.Value:
    """Number of people with a north-star action in the past year (U2)."""
    return person.active_365d.sum()


@usage.feature(
    unit="share", risk="high", actionable=True,
    en="{value:.0%} of the people of the past year have not been active for 90 days (peers: {peer:.0%})",
    zh="过去一年的使用者中 {value:.0%} 已 90 天未活跃（同类客户：{peer:.0%}）",
)  # fmt: skip
def lapsed_people_share(person: ir.Table) -> ir.Value:
    """Share of the people active within a year who were not active within 90 days (U5)."""
    lapsed = ((person.active_365d == 1) & (person.active_90d == 0)).sum()
    return lapsed.cast("float64") / person.active_365d.sum().nullif(0)


@usage.feature(
    unit="share", risk="high", actionable=True,
    en="one person does {value:.0%} of the key actions of the last 90 days (peers: {peer:.0%})",
    zh="近 90 天 {value:.0%} 的关键操作集中在一人身上（同类客户：{peer:.0%}）",
)  # fmt: skip
def busiest_person_share(account: ir.Table) -> ir.Value:
    """Share of the north-star actions of 90 days that the most active person did (U5)."""
    return account.busiest_90d.max() / account.north_star_90d.max().nullif(0.0)


@usage.feature(
    unit="level 1 to 3", risk="low", actionable=True,
    en="depth of use (levels 1 to 3), last 90 days against the 90 before: {value:+.1f} (peers: {peer:+.1f})",
    zh="近 90 天使用深度较此前 90 天变化 {value:+.1f} 级（同类客户：{peer:+.1f}）",
)  # fmt: skip
def usage_depth_change(person: ir.Table) -> ir.Value:
    """Mean deepest level per person in 90 days less that of the 90 days before (U3: movement between reviews)."""
    now, then = (
        window_column(person, "level", 90, before).nullif(0).cast("float64").mean() for before in (False, True)
    )
    return now - then


@usage.feature(
    unit="days a month", risk="low", actionable=True,
    en="days in use, change from month to month over half a year: {value:+.1f} (peers: {peer:+.1f})",
    zh="近半年每月活跃天数的变化趋势：{value:+.1f} 天/月（同类客户：{peer:+.1f}）",
)  # fmt: skip
def activity_trend(account: ir.Table) -> ir.Value:
    """Slope of the days with a north-star action over six periods of four weeks (U4)."""
    middle = (TREND_MONTHS - 1) / 2
    spread = sum((middle - k) ** 2 for k in range(TREND_MONTHS))
    return sum((middle - k) * days.cast("float64") for k, days in enumerate(_monthly_active_days(account))) / spread


@usage.feature(
    unit="share", risk="high", actionable=True,
    en="days in use swing from month to month by {value:.0%} (peers: {peer:.0%})",
    zh="每月活跃天数的波动幅度为 {value:.0%}（同类客户：{peer:.0%}）",
)  # fmt: skip
def activity_variability(account: ir.Table) -> ir.Value:
    """Standard deviation over mean of the days with a north-star action in six periods of four weeks (U4)."""
    months = [days.cast("float64") for days in _monthly_active_days(account)]
    mean = sum(months) / TREND_MONTHS
    variance = sum((days - mean) ** 2 for days in months) / TREND_MONTHS
    return variance.sqrt() / mean.nullif(0.0)


def _monthly_active_days(account: ir.Table) -> list[ir.Value]:
    return [account[f"active_days_month_{k}"].max() for k in range(TREND_MONTHS)]


@usage.feature(
    unit="change", risk="low", actionable=True,
    en="days in use in four weeks against a year ago, from -1 (stopped) to +1 (new): {value:+.2f} (peers: {peer:+.2f})",
    zh="近四周活跃天数较去年同期的变化（-1 为停止，+1 为新增）：{value:+.2f}（同类客户：{peer:+.2f}）",
)  # fmt: skip
def active_days_year_over_year(account: ir.Table) -> ir.Value:
    """Change of the days with a north-star action in 28 days against the same 28 days a year ago (U4).

    Null if there were none a year ago.
    """
    then = account.active_days_last_year.max().nullif(0)
    return symmetric_change(account.active_days_month_0.max(), then)


@usage.feature(
    unit="share", risk="either", actionable=False,
    en="{value:.0%} of the days in use of 90 days fall on one day of the week (peers: {peer:.0%})",
    zh="近 90 天的活跃日中 {value:.0%} 集中在一周的同一天（同类客户：{peer:.0%}）",
)  # fmt: skip
def busiest_weekday_share(account: ir.Table) -> ir.Value:
    """Share of the days with a north-star action in 90 days on the commonest weekday (U2); 1/7 if evenly spread."""
    days = [account[f"active_days_{name}"].max() for name in WEEKDAY_RANGES]
    return ibis.greatest(*days).cast("float64") / sum(days).nullif(0)
