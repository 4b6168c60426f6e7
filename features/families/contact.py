"""Contact with the customer: frequency, kind, initiator, and spread over the term (J4)."""

from __future__ import annotations

import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, RENEWAL_KEY, Family, quantize
from renewals.features.point_in_time import as_of_rows
from renewals.features.policy import CONTACT_KINDS

contact = Family("contact", en="Contact", zh="联系", theme="value", needs=("touchpoints",))


@contact.source
def touch(touchpoints: ir.Table, spine: ir.Table) -> ir.Table:
    """Touchpoints of the past year: one row per (account_id, as_of, touchpoint)."""
    return as_of_rows("touchpoints", touchpoints, spine).filter(_.days_ago <= 365)


@contact.source
def customer_touch(customer_touchpoints: ir.Table, spine: ir.Table) -> ir.Table:
    """Touchpoints of the past year that are no action of ours: one row per (account_id, as_of, touchpoint)."""
    return as_of_rows("touchpoints", customer_touchpoints, spine).filter(_.days_ago <= 365)


@contact.source
def term_touch(touchpoints: ir.Table, observations: ir.Table, spine: ir.Table) -> ir.Table:
    """Touchpoints of the current term: one row per (account_id, renewal_id, as_of, touchpoint).

    `place` is its position in the term, 0 at the start and 1 today.
    """
    ages = observations.select(*RENEWAL_KEY, "term_age")
    known = as_of_rows("touchpoints", touchpoints, spine).join(ages, KEY)
    return known.filter(_.days_ago <= _.term_age).mutate(place=quantize(1.0 - _.days_ago / _.term_age.cast("float64")))


@contact.feature(
    days=(28, 90, 365), unit="contacts", risk="low", actionable=True, empty=0,
    en="contacts in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天共接触 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def contacts_total(touch: ir.Table, days: int) -> ir.Value:
    """Number of touchpoints of any kind in the window (J4)."""
    return (touch.days_ago <= days).sum()


@contact.feature(
    kind=CONTACT_KINDS, unit="contacts", risk="low", actionable=True, empty=0,
    en="{kind} in the last 180 days: {value:.0f} (peers: {peer:.0f})",
    zh="近 180 天{kind} {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def contacts_by(touch: ir.Table, kind: str) -> ir.Value:
    """Number of touchpoints of one kind in 180 days, with any person (S2)."""
    return ((touch.kind == kind) & (touch.days_ago <= 180)).sum()


@contact.feature(
    kind=("visit", "training", "value_report", "review"), unit="days", risk="high", actionable=True, empty=366,
    en="{kind}: none for {value:.0f} days (peers: {peer:.0f})",
    zh="距上次{kind}已 {value:.0f} 天（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since(touch: ir.Table, kind: str) -> ir.Value:
    """Days since the last touchpoint of the kind; 366 if there was none for a year (S2, J4)."""
    return touch.days_ago.min(where=touch.kind == kind).fill_null(366)


@contact.feature(
    unit="months", risk="low", actionable=True, empty=0,
    en="months of the past year with any contact: {value:.0f} (peers: {peer:.0f})",
    zh="过去一年中有 {value:.0f} 个月有过接触（同类客户：{peer:.0f} 个月）",
)  # fmt: skip
def months_with_contact(touch: ir.Table) -> ir.Value:
    """Number of 30-day periods of the past year, counted back from the date, with a touchpoint (J4: spread)."""
    return ((touch.days_ago - 1) // 30).clip(upper=11).nunique()


@contact.feature(
    unit="place in the term", risk="high", actionable=True,
    en="contacts fall {value:.0%} of the way through the term so far, evenly spread is 50% (peers: {peer:.0%})",
    zh="本合同期的接触平均落在期初至今的 {value:.0%} 处，50% 为均匀分布（同类客户：{peer:.0%}）",
)  # fmt: skip
def contact_back_loading(term_touch: ir.Table) -> ir.Value:
    """Mean position of the term's contacts, 0 at the term's start and 1 at the date; an even spread gives 0.5 (J4)."""
    return term_touch.place.mean()


@contact.feature(
    unit="share", risk="low", actionable=True,
    en="{value:.0%} of the contacts of the last 180 days were begun by the customer (peers: {peer:.0%})",
    zh="近 180 天的接触中 {value:.0%} 由客户主动发起（同类客户：{peer:.0%}）",
)  # fmt: skip
def customer_initiated_share(touch: ir.Table) -> ir.Value:
    """Share of the touchpoints of 180 days that the customer initiated (S2)."""
    recent = touch.days_ago <= 180
    by_customer = (recent & (touch.initiated_by == "customer").fill_null(False)).sum()
    return by_customer.cast("float64") / recent.sum().nullif(0)


@contact.feature(
    unit="days", risk="high", actionable=True, empty=366,
    en="the customer last got in touch {value:.0f} days ago (peers: {peer:.0f})",
    zh="客户上次主动联系在 {value:.0f} 天前（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since_customer_contact(customer_touch: ir.Table) -> ir.Value:
    """Days since the customer last initiated a contact (S2); 366 if there was none for a year."""
    return customer_touch.days_ago.min()


@contact.feature(
    days=(90, 180, 365), unit="contacts", risk="low", actionable=True, empty=0,
    en="contacts begun by the customer in the last {days} days: {value:.0f} (peers: {peer:.0f})",
    zh="近 {days} 天客户主动联系 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def customer_contacts_total(customer_touch: ir.Table, days: int) -> ir.Value:
    """Touchpoints in the window initiated by the customer, or of a kind that is no action of ours (S2, M5)."""
    return (customer_touch.days_ago <= days).sum()
