"""Commitment of the account: its terms, their price and payment (R1 to R7)."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY, RENEWAL_KEY, Family, as_number, quantize
from renewals.features.point_in_time import hours_between

commitment = Family("commitment", en="Contract", zh="合同", theme="contract")


# --- sources -----------------------------------------------------------------------------------


@commitment.source
def observation(observations: ir.Table) -> ir.Table:
    """The spine: one row per (account_id, renewal_id, as_of)."""
    return observations


@commitment.source
def term(terms: ir.Table) -> ir.Table:
    """Running terms: one row per (account_id, as_of, term)."""
    return terms.filter(_.running)


@commitment.source
def main(terms: ir.Table, observations: ir.Table) -> ir.Table:
    """Largest term of the renewal: one row per (account_id, renewal_id, as_of)."""
    members = terms.filter(_.running | _.overdue).rename(renewal_id="in_renewal")
    due = members.semi_join(observations, RENEWAL_KEY)
    order = ibis.window(group_by=RENEWAL_KEY, order_by=[_.value.desc(), _.contract_id])
    return due.mutate(place=ibis.row_number().over(order)).filter(_.place == 0)


@commitment.source
def started_term(terms: ir.Table) -> ir.Table:
    """Terms that have started, running or ended: one row per (account_id, as_of, term)."""
    return terms.filter(_.has_started)


@commitment.source
def earlier_term(terms: ir.Table, observations: ir.Table) -> ir.Table:
    """Earlier terms of the renewal's main product, with today's price and seats: one row per (renewal, as_of, term)."""
    now = main(terms, observations)
    before = terms.filter(_.has_started).select(
        *KEY, "product", old_value="value", old_seats="seats", old_began="began_ago", old_id="contract_id"
    )
    return now.join(before, [*KEY, "product"]).filter(_.old_began > _.began_ago, _.old_id != _.contract_id)


@commitment.source
def previous_term(terms: ir.Table, observations: ir.Table) -> ir.Table:
    """Latest earlier term of the main product; several rows if several started on the same day."""
    pairs = earlier_term(terms, observations)
    return pairs.join(pairs.group_by(*RENEWAL_KEY).agg(old_began=_.old_began.min()), [*RENEWAL_KEY, "old_began"])


@commitment.source
def first_term(terms: ir.Table, observations: ir.Table) -> ir.Table:
    """Earliest term of the main product; several rows if several started on the same day."""
    pairs = earlier_term(terms, observations)
    return pairs.join(pairs.group_by(*RENEWAL_KEY).agg(old_began=_.old_began.max()), [*RENEWAL_KEY, "old_began"])


# --- features ----------------------------------------------------------------------------------


@commitment.feature(
    unit="days", risk="either", actionable=False, clock=True,
    en="{value:.0f} days to the renewal (peers: {peer:.0f})",
    zh="距续约 {value:.0f} 天（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_to_renewal(observation: ir.Table) -> ir.Value:
    """Days to the end of the renewal's terms."""
    return observation.days_to_renewal.max()


@commitment.feature(
    unit="stage", risk="either", actionable=False, category=True, clock=True,
    en="stage of the journey: {value} (most peers: {peer})",
    zh="客户旅程阶段：{value}（多数同类客户：{peer}）",
)  # fmt: skip
def journey_stage(observation: ir.Table) -> ir.Value:
    """Stage of the account's journey: onboarding, steady or before its renewal (J1)."""
    return observation.stage.max()


@commitment.feature(
    unit="days", risk="either", actionable=False, clock=True,
    en="customer for {value:.0f} days (peers: {peer:.0f})",
    zh="成为客户已 {value:.0f} 天（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def account_age(observation: ir.Table) -> ir.Value:
    """Days since the start of the account's first term (J1)."""
    return observation.account_age.max()


@commitment.feature(
    unit="days", risk="either", actionable=False, clock=True,
    en="{value:.0f} days into the current term (peers: {peer:.0f})",
    zh="当前合同期已过 {value:.0f} 天（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def term_age(observation: ir.Table) -> ir.Value:
    """Days since the start of the current term of the renewal."""
    return observation.term_age.max()


@commitment.feature(
    unit="days", risk="low", actionable=False,
    en="the contract runs {value:.0f} days (peers: {peer:.0f})",
    zh="合同期 {value:.0f} 天（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def term_length(observation: ir.Table) -> ir.Value:
    """Length in days of the current term of the renewal: yearly, several years; unknown where it rolls on."""
    return (observation.term_age + observation.days_to_renewal).max()


@commitment.feature(
    unit="money a year", risk="either", actionable=False, theme="fit",
    en="annual recurring revenue {value:,.0f} (peers: {peer:,.0f})",
    zh="年度经常性收入 {value:,.0f}（同类客户：{peer:,.0f}）",
)  # fmt: skip
def arr(observation: ir.Table) -> ir.Value:
    """ARR of the account in the reporting currency: of all terms that run or are overdue."""
    return observation.account_arr.max()


@commitment.feature(
    unit="share", risk="either", actionable=False,
    en="{value:.0%} of the revenue is up for this renewal (peers: {peer:.0%})",
    zh="本次续约涉及 {value:.0%} 的收入（同类客户：{peer:.0%}）",
)  # fmt: skip
def arr_due_share(observation: ir.Table) -> ir.Value:
    """ARR of the renewal over the ARR of the account."""
    return (observation.arr_due / observation.account_arr.nullif(0.0)).max()


@commitment.feature(
    unit="yes or no", risk="low", actionable=False, empty=0,
    en="the follow-on contract is signed: {value} (peers: {peer})",
    zh="续约合同是否已签：{value}（同类客户：{peer}）",
)  # fmt: skip
def follow_on_signed(observation: ir.Table) -> ir.Value:
    """1 if a follow-on of the renewal is already signed, else 0."""
    return as_number(observation.renewal_signed.any())


@commitment.feature(
    unit="seats", risk="either", actionable=False, theme="fit",
    en="seats bought: {value:.0f} (peers: {peer:.0f})",
    zh="购买 {value:.0f} 个席位（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def seats(term: ir.Table) -> ir.Value:
    """Largest number of seats of any running term."""
    return term.seats.max()


@commitment.feature(
    unit="products", risk="low", actionable=True, empty=0,
    en="products under contract: {value:.0f} (peers: {peer:.0f})",
    zh="已购 {value:.0f} 种产品（同类客户：{peer:.0f} 种）",
)  # fmt: skip
def products(term: ir.Table) -> ir.Value:
    """Number of different products with a running term (J5)."""
    return term["product"].nunique()


@commitment.feature(
    unit="share", risk="low", actionable=True,
    en="auto-renewal agreed for {value:.0%} of the terms (peers: {peer:.0%})",
    zh="{value:.0%} 的合同约定自动续约（同类客户：{peer:.0%}）",
)  # fmt: skip
def auto_renew(term: ir.Table) -> ir.Value:
    """Share of running terms that renew automatically, of those for which this is known."""
    return as_number(term.auto_renew).mean()


@commitment.feature(
    unit="plan", risk="either", actionable=False, theme="fit", category=True,
    en="on plan {value} (most peers: {peer})",
    zh="套餐为 {value}（多数同类客户：{peer}）",
)  # fmt: skip
def plan(main: ir.Table) -> ir.Value:
    """Plan of the renewal's largest term (C2)."""
    return main.plan.max()


@commitment.feature(
    unit="money a seat and year", risk="high", actionable=False, theme="fit",
    en="pays {value:,.0f} a seat and year (peers: {peer:,.0f})",
    zh="每席位每年 {value:,.0f}（同类客户：{peer:,.0f}）",
)  # fmt: skip
def price_per_seat(main: ir.Table) -> ir.Value:
    """ARR per seat of the renewal's largest term."""
    return (main.value / main.seats.cast("float64").nullif(0.0)).max()


@commitment.feature(
    unit="terms", risk="low", actionable=False, empty=0,
    en="contracts so far: {value:.0f} (peers: {peer:.0f})",
    zh="迄今共 {value:.0f} 份合同（同类客户：{peer:.0f} 份）",
)  # fmt: skip
def terms_so_far(started_term: ir.Table) -> ir.Value:
    """Number of terms that have started, of all products."""
    return started_term.count()


@commitment.feature(
    unit="renewals", risk="low", actionable=False, empty=0,
    en="renewals of the main product so far: {value:.0f} (peers: {peer:.0f})",
    zh="主产品已续约 {value:.0f} 次（同类客户：{peer:.0f} 次）",
)  # fmt: skip
def renewals_so_far(earlier_term: ir.Table) -> ir.Value:
    """Number of different start days of earlier terms of the main product."""
    return earlier_term.old_began.nunique()


@commitment.feature(
    unit="terms", risk="high", actionable=False, empty=0,
    en="contracts cancelled so far: {value:.0f} (peers: {peer:.0f})",
    zh="迄今取消过 {value:.0f} 份合同（同类客户：{peer:.0f} 份）",
)  # fmt: skip
def cancelled_so_far(started_term: ir.Table) -> ir.Value:
    """Number of terms cancelled before their end, as known then."""
    return started_term.stopped.sum()


@commitment.feature(
    unit="days", risk="high", actionable=True, theme="fit",
    en="pays {value:.0f} days after the start of a term on average (peers: {peer:.0f})",
    zh="平均在合同开始后 {value:.0f} 天付款（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def payment_delay(started_term: ir.Table) -> ir.Value:
    """Mean days from the start of a term to its payment, as known then."""
    return quantize(hours_between(started_term.start_date, started_term.paid_at) / 24.0).mean()


@commitment.feature(
    unit="terms", risk="high", actionable=True, theme="fit", empty=0,
    en="running contracts unpaid for over 30 days: {value:.0f} (peers: {peer:.0f})",
    zh="有 {value:.0f} 份执行中的合同逾期 30 天未付款（同类客户：{peer:.0f} 份）",
)  # fmt: skip
def unpaid_terms(term: ir.Table) -> ir.Value:
    """Number of running terms that started over 30 days ago without a known payment.

    0 if no payment of the account is known.
    """
    unpaid = (term.paid_at.isnull() & (term.began_ago > 30)).sum()
    return term.pays.any().ifelse(unpaid, 0)


@commitment.feature(
    unit="change", risk="high", actionable=False, theme="fit",
    en="price per seat changed by {value:+.0%} with the current term (peers: {peer:+.0%})",
    zh="本合同期每席位价格变化 {value:+.0%}（同类客户：{peer:+.0%}）",
)  # fmt: skip
def price_change(previous_term: ir.Table) -> ir.Value:
    """Relative change of the price per seat against the term before, same product.

    The change of the whole price if both terms lack seats.
    """
    return _relative_price_change(previous_term)


@commitment.feature(
    unit="change", risk="either", actionable=False, theme="fit",
    en="price per seat changed by {value:+.0%} since the first contract (peers: {peer:+.0%})",
    zh="自首份合同以来每席位价格变化 {value:+.0%}（同类客户：{peer:+.0%}）",
)  # fmt: skip
def price_change_since_first_term(first_term: ir.Table) -> ir.Value:
    """Relative change of the price per seat against the first term of the same product.

    It sums up all discounts and rises. The change of the whole price if both terms lack seats.
    """
    return _relative_price_change(first_term)


def _relative_price_change(pairs: ir.Table) -> ir.Value:
    per_term = pairs.value / pairs.old_value.nullif(0.0)
    per_seat = per_term * pairs.old_seats.nullif(0).cast("float64") / pairs.seats.nullif(0).cast("float64")
    lacks_seats = pairs.seats.isnull() & pairs.old_seats.isnull()
    return (lacks_seats.ifelse(per_term, per_seat) - 1.0).max()


@commitment.feature(
    unit="change", risk="low", actionable=False,
    en="seats changed by {value:+.0%} with the current term (peers: {peer:+.0%})",
    zh="本合同期席位数变化 {value:+.0%}（同类客户：{peer:+.0%}）",
)  # fmt: skip
def seats_change(previous_term: ir.Table) -> ir.Value:
    """Relative change of the seats against the term before, same product."""
    return (previous_term.seats.cast("float64") / previous_term.old_seats.cast("float64").nullif(0.0) - 1.0).max()


@commitment.feature(
    unit="days", risk="either", actionable=False,
    en="newest contract signed {value:.0f} days before its start (peers: {peer:.0f})",
    zh="最近一份合同提前 {value:.0f} 天签署（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_signed_before_start(main: ir.Table) -> ir.Value:
    """Days from signature to start of the current term; negative if it was signed late."""
    return (hours_between(main.signed_at, main.start_date) / 24.0).max()
