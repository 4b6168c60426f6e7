"""Scorecard measures: each is a function of the totals with its definition as text (K1 to K10).

A measure is registered only with a name and a definition in English and Chinese, its unit, its domain rule and the time
from which a period is final for it. `features.scorecard.totals` computes the totals: one row per period and segment,
money in integer cents; its docstring defines opening, closing and open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import ibis.expr.types as ir

Unit = Literal["count", "share", "money", "ratio", "days", "points"]
FinalAfter = Literal["at_once", "grace", "onboarding"]
Better = Literal["up", "down"] | None

MONTHS_PER_YEAR = 12
"""Months in a year, used to compound a monthly loss."""


# --- registration of measures ------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureValue:
    """Value of a measure for each row of totals, with its numerator and denominator."""

    value: ir.Value
    numerator: ir.Value
    denominator: ir.Value | None = None


@dataclass(frozen=True)
class Measure:
    """One measure with its name and definition, each in English and Chinese."""

    name: str
    rule: str
    unit: Unit
    needs: tuple[str, ...]
    """Optional input tables that the measure requires."""
    final_after: FinalAfter
    """When a period is final: at its end, after the grace (R2), or after the onboarding of its new customers (J1)."""
    provisional: bool
    """True if an open period has a value too; it then counts pending renewals in their current state."""
    better: Better
    """The direction that is good for the company; None if neither is."""
    en: tuple[str, str]
    zh: tuple[str, str]
    compute: Callable[[ir.Table], MeasureValue]


MEASURES: dict[str, Measure] = {}
"""All measures by name, in display order."""


def measure(
    *,
    rule: str,
    unit: Unit,
    en: tuple[str, str],
    zh: tuple[str, str],
    needs: tuple[str, ...] = (),
    final_after: FinalAfter = "grace",
    provisional: bool = False,
    better: Better = "up",
) -> Callable[[Callable[[ir.Table], MeasureValue]], Callable[[ir.Table], MeasureValue]]:
    """Register a function of the totals as the measure of the same name."""

    def register(compute: Callable[[ir.Table], MeasureValue]) -> Callable[[ir.Table], MeasureValue]:
        name = compute.__name__
        MEASURES[name] = Measure(name, rule, unit, needs, final_after, provisional, better, en, zh, compute)
        return compute

    return register


def measure_definitions() -> list[dict[str, Any]]:
    """Definitions of all measures as JSON-compatible values, one dict per measure, for display on a page."""
    return [
        {
            "measure": m.name,
            "rule": m.rule,
            "unit": m.unit,
            "needs": list(m.needs),
            "final_after": m.final_after,
            "better": m.better,
            "name": {"en": m.en[0], "zh": m.zh[0]},
            "definition": {"en": m.en[1], "zh": m.zh[1]},
        }
        for m in MEASURES.values()
    ]


def missing_measures(tables: Iterable[str]) -> list[str]:
    """Names of the measures that need a table not in `tables`."""
    return [m.name for m in MEASURES.values() if not {*m.needs} <= {*tables}]


def count(number: ir.Value) -> MeasureValue:
    """Measure value of a count, without a denominator."""
    return MeasureValue(as_float(number), as_float(number))


def money(cents: ir.Value) -> MeasureValue:
    """Measure value of an amount in cents, converted to units of the reporting currency."""
    return MeasureValue(cents_to_units(cents), cents_to_units(cents))


def share(part: ir.Value, total: ir.Value) -> MeasureValue:
    """Measure value of `part` over `total`; null if `total` is zero."""
    return MeasureValue(as_float(part) / as_float(total).nullif(0.0), as_float(part), as_float(total))


def money_share(part: ir.Value, total: ir.Value) -> MeasureValue:
    """Measure value of one amount in cents over another; null if `total` is zero."""
    return share(cents_to_units(part), cents_to_units(total))


def as_float(number: ir.Value) -> ir.FloatingValue:
    """The number as float64, so that division gives a fraction on every engine."""
    return number.cast("float64")


def cents_to_units(cents: ir.Value) -> ir.FloatingValue:
    """Cents converted to units of the currency."""
    return as_float(cents) / 100.0


# --- the measures ------------------------------------------------------------------------------


@measure(
    rule="K1", unit="count", provisional=True,
    en=("customers", "accounts with recurring revenue on the last day of the period, those pending included"),
    zh=("客户数", "期末有经常性收入的客户数，含到期后仍在宽限期内、结果未定的客户"),
)  # fmt: skip
def customers(t: ir.Table) -> MeasureValue:
    return count(t.at_closing)


@measure(
    rule="K1", unit="money", provisional=True,
    en=("ARR", "recurring revenue a year on the last day of the period, pending terms included"),
    zh=("年度经常性收入", "期末的年度经常性收入，含结果未定的合同"),
)  # fmt: skip
def arr(t: ir.Table) -> MeasureValue:
    return money(t.closing)


@measure(
    rule="R1", unit="count", provisional=True, better=None,
    en=("renewals due", "renewals whose last contract ended in the period; an account's contracts of one end are one"),
    zh=("到期续约数", "期内到期的续约数；同一客户同日到期的合同算一次续约"),
)  # fmt: skip
def renewals_due(t: ir.Table) -> MeasureValue:
    return count(t.due)


@measure(
    rule="R2", unit="count", provisional=True, better=None,
    en=("renewals pending", "of the renewals due, those still within the grace: neither renewed nor lost"),
    zh=("未定续约数", "到期续约中仍在宽限期内、既未续约也未流失的数量"),
)  # fmt: skip
def renewals_pending(t: ir.Table) -> MeasureValue:
    return MeasureValue(as_float(t.pending), as_float(t.pending), as_float(t.due))


@measure(
    rule="R2", unit="money", provisional=True, better=None,
    en=("ARR pending", "ARR of the renewals pending, in no rate yet; its denominator is the ARR due"),
    zh=("未定续约金额", "未定续约的年度经常性收入，尚未计入任何比率；分母为到期金额"),
)  # fmt: skip
def arr_pending(t: ir.Table) -> MeasureValue:
    return MeasureValue(
        cents_to_units(t.pending_amount), cents_to_units(t.pending_amount), cents_to_units(t.due_amount)
    )


@measure(
    rule="R4", unit="share",
    en=("renewal rate by count", "renewals bought again over renewals due in the period and decided"),
    zh=("续约率（按客户数）", "期内到期且结果已定的续约中，再次购买的数量占比"),
)  # fmt: skip
def logo_renewal_rate(t: ir.Table) -> MeasureValue:
    return share(t.renewed, t.due - t.pending)


@measure(
    rule="R4", unit="share",
    en=("renewal rate by revenue", "ARR due of the contracts bought again, at any price, over the ARR due and decided"),
    zh=("续约率（按金额）", "结果已定的到期金额中，再次购买的合同（不论新价）所占的到期金额"),
)  # fmt: skip
def revenue_renewal_rate(t: ir.Table) -> MeasureValue:
    return money_share(t.renewed_amount, t.due_amount - t.pending_amount)


@measure(
    rule="R5", unit="share",
    en=(
        "pure renewal rate",
        "ARR kept of the ARR due and decided: what was not bought again, or was bought smaller or cheaper, is lost; "
        "what was bought beyond it does not count, so it is never above 100 %",
    ),
    zh=("纯续约率", "结果已定的到期金额中保留下来的部分：未续、缩减与降价均扣除，增购不计入，因此不超过 100%"),
)  # fmt: skip
def pure_renewal_rate(t: ir.Table) -> MeasureValue:
    return money_share(t.kept_amount, t.due_amount - t.pending_amount)


@measure(
    rule="K1", unit="count", better="down",
    en=("customers lost", "customers of the opening without any recurring revenue at the closing"),
    zh=("流失客户数", "期初有经常性收入、期末已无的客户数"),
)  # fmt: skip
def customers_lost(t: ir.Table) -> MeasureValue:
    return count(t.lost)


@measure(
    rule="K1", unit="share", better="down",
    en=("customer churn", "customers lost over customers of the opening"),
    zh=("客户流失率", "流失客户数除以期初客户数"),
)  # fmt: skip
def customer_churn(t: ir.Table) -> MeasureValue:
    return share(t.lost, t.at_opening)


@measure(
    rule="K1", unit="money", better="down",
    en=("ARR churned", "ARR of the contracts that ended in the period and were not bought again, whoever held them"),
    zh=("流失金额", "期内到期且未续的合同的年度经常性收入"),
)  # fmt: skip
def churned_arr(t: ir.Table) -> MeasureValue:
    return money(t.churn)


@measure(
    rule="K1", unit="share", better="down",
    en=(
        "revenue churn",
        "ARR churned by customers of the opening, of each at most what it paid then, over the opening ARR",
    ),
    zh=("收入流失率", "期初客户流失的金额（每户不超过其期初金额）除以期初年度经常性收入"),
)  # fmt: skip
def revenue_churn(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_churned, t.opening)


@measure(
    rule="R8", unit="share", better="down",
    en=(
        "revenue churn compounded to a year",
        "1 - (1 - m)^12, where m is a month's ARR churned over that month's opening ARR (for a year, the mean of its "
        "months weighted by ARR): twelve times m would count what is already lost",
    ),
    zh=("年化收入流失率（复利）", "1-(1-m)^12，m 为当月流失金额除以月初金额（全年取按金额加权的月均值），而非 12×m"),
)  # fmt: skip
def yearly_churn(t: ir.Table) -> MeasureValue:
    monthly = money_share(t.churn, t.monthly_opening)
    return MeasureValue(_compound_yearly(monthly.value), monthly.numerator, monthly.denominator)


def _compound_yearly(monthly: ir.Value) -> ir.Value:
    """Yearly loss for a monthly loss, where each month's loss is taken from the remainder (R8)."""
    return 1.0 - (1.0 - monthly) ** float(MONTHS_PER_YEAR)


@measure(
    rule="R8", unit="money", better="down",
    en=("ARR to replace in a year", "revenue churn compounded to a year, of the ARR at the closing"),
    zh=("一年需补回的金额", "按复利年化的收入流失率乘以期末年度经常性收入"),
)  # fmt: skip
def yearly_loss(t: ir.Table) -> MeasureValue:
    amount = yearly_churn(t).value * cents_to_units(t.closing)
    return MeasureValue(amount, amount)


@measure(
    rule="K1", unit="money", better="down",
    en=("ARR contracted", "ARR by which contracts became smaller or cheaper in the period"),
    zh=("缩减金额", "期内合同缩减或降价减少的年度经常性收入"),
)  # fmt: skip
def contracted_arr(t: ir.Table) -> MeasureValue:
    return money(t.contraction)


@measure(
    rule="R5", unit="share",
    en=(
        "gross retention (GRR)",
        "opening ARR less what its customers churned and contracted, over the opening ARR; never above 100 %",
    ),
    zh=("总留存率（GRR）", "期初金额减去期初客户的流失与缩减，再除以期初金额；不超过 100%"),
)  # fmt: skip
def gross_retention(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_kept, t.opening)


@measure(
    rule="R5", unit="share",
    en=(
        "net retention (NRR)",
        "closing ARR of the customers of the opening, with all they bought and every price rise, over the opening ARR",
    ),
    zh=("净留存率（NRR）", "期初客户的期末金额（含增购、交叉购买与提价）除以期初金额"),
)  # fmt: skip
def net_retention(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_now, t.opening)


@measure(
    rule="K1", unit="money",
    en=("ARR of new customers", "ARR at its first month's end of customers who never had any before"),
    zh=("新客户金额", "首次有经常性收入的客户在首月末的年度经常性收入"),
)  # fmt: skip
def new_arr(t: ir.Table) -> MeasureValue:
    return money(t.new)


@measure(
    rule="K3", unit="share",
    en=("up-sell rate", "up-sell ARR (more seats, a higher plan) of customers of the opening over the opening ARR"),
    zh=("增购率", "期初客户的增购金额（加席位、升套餐）除以期初金额"),
)  # fmt: skip
def upsell_rate(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_upsell, t.opening)


@measure(
    rule="K4", unit="share",
    en=("cross-sell rate", "ARR of products that customers of the opening did not have before, over the opening ARR"),
    zh=("交叉销售率", "期初客户新购此前没有的产品的金额除以期初金额"),
)  # fmt: skip
def cross_sell_rate(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_cross_sell, t.opening)


@measure(
    rule="K2", unit="share", needs=("trials",), final_after="onboarding",
    en=(
        "onboarding: asked for a trial",
        "customers who asked for a trial before their onboarding was over, of those whose first contract began in the "
        "period",
    ),
    zh=("上线：申请试用占比", "首份合同在期内开始的客户中，在上线期结束前申请过试用的占比"),
)  # fmt: skip
def trial_asked(t: ir.Table) -> MeasureValue:
    return share(t.trial_asked, t.began)


@measure(
    rule="K2", unit="share", needs=("trials",), final_after="onboarding",
    en=("onboarding: finished the trial", "of those who asked, who finished their first trial before onboarding ended"),
    zh=("上线：完成试用占比", "申请试用的新客户中，在上线期结束前完成首次试用的占比"),
)  # fmt: skip
def trial_finished(t: ir.Table) -> MeasureValue:
    return share(t.trial_finished, t.trial_asked)


@measure(
    rule="K2", unit="days", needs=("trials",), final_after="onboarding", better="down",
    en=("onboarding: days to finish", "median days from asking for the trial to finishing it, of those who finished"),
    zh=("上线：完成试用天数", "完成试用的新客户从申请到完成的天数中位数"),
)  # fmt: skip
def trial_days(t: ir.Table) -> MeasureValue:
    return MeasureValue(as_float(t.trial_days), as_float(t.trial_days), as_float(t.trial_finished))


@measure(
    rule="K5", unit="points", needs=("surveys",), final_after="at_once",
    en=("NPS", "per cent of promoters (9 to 10) less per cent of detractors (0 to 6), of the answers of the period"),
    zh=("净推荐值（NPS）", "期内回答中推荐者（9–10 分）百分比减去贬损者（0–6 分）百分比"),
)  # fmt: skip
def nps(t: ir.Table) -> MeasureValue:
    balance = share(t.promoters - t.detractors, t.answers)
    return MeasureValue(balance.value * 100.0, balance.numerator, balance.denominator)


@measure(
    rule="K6", unit="ratio", needs=("referrals",), final_after="at_once",
    en=("invitations per customer", "referrals made in the period per customer of the opening"),
    zh=("人均邀请数", "期内的推荐次数除以期初客户数"),
)  # fmt: skip
def invitations_per_customer(t: ir.Table) -> MeasureValue:
    return share(t.invitations, t.at_opening)


@measure(
    rule="K6", unit="share", needs=("referrals",), final_after="at_once",
    en=(
        "conversion of invitations",
        "referred companies that bought in the period per referral made in it; above 100 % where earlier ones buy now",
    ),
    zh=("邀请转化率", "期内成交的被推荐公司数除以期内推荐次数；早先的推荐在期内成交时可能超过 100%"),
)  # fmt: skip
def invitation_conversion(t: ir.Table) -> MeasureValue:
    return share(t.conversions, t.invitations)


@measure(
    rule="K6", unit="ratio", needs=("referrals",), final_after="at_once",
    en=(
        "viral coefficient",
        "customers x invitations per customer x conversion / customers: referred companies that bought in the period "
        "per customer of the opening; above 1 the company grows by itself",
    ),
    zh=("病毒系数", "客户数×人均邀请数×转化率÷客户数，即期内成交的被推荐公司数除以期初客户数；大于 1 则自然增长"),
)  # fmt: skip
def viral_coefficient(t: ir.Table) -> MeasureValue:
    return share(t.conversions, t.at_opening)


@measure(
    rule="K7", unit="count", needs=("person_days",), final_after="at_once",
    en=(
        "daily users (DAU)",
        "users with a north-star action in a day, on average over all days of the period; the unnamed use of an "
        "account is one user",
    ),
    zh=("日活跃用户（DAU）", "每天有核心功能操作的用户数，取期内所有日子的平均；同一客户的匿名使用算一个用户"),
)  # fmt: skip
def dau(t: ir.Table) -> MeasureValue:
    return share(t.user_days, t.days)


@measure(
    rule="K8", unit="count", needs=("person_days",), final_after="at_once",
    en=(
        "monthly users (MAU)",
        "users with a north-star action in the 28 days that end with a month, on average over the months of the period",
    ),
    zh=("月活跃用户（MAU）", "截至月末 28 天内有核心功能操作的用户数，取期内各月平均"),
)  # fmt: skip
def mau(t: ir.Table) -> MeasureValue:
    return share(t.users, t.months)


@measure(
    rule="K8", unit="share", needs=("person_days",), final_after="at_once",
    en=("DAU over MAU", "daily over monthly users: how much of the month a user is there"),
    zh=("日活月活比", "日活跃用户除以月活跃用户：用户每月有多少天在用"),
)  # fmt: skip
def dau_per_mau(t: ir.Table) -> MeasureValue:
    return share(dau(t).value, mau(t).value)


@measure(
    rule="K9", unit="money", needs=("referrals",),
    en=(
        "referral revenue",
        "revenue in the period of accounts that came by referral, since they bought: a twelfth of every closing ARR",
    ),
    zh=("推荐带来的收入", "经推荐成交的客户自成交起在期内的收入：各月末年度经常性收入的十二分之一之和"),
)  # fmt: skip
def referral_revenue(t: ir.Table) -> MeasureValue:
    return MeasureValue(_per_month(t.referral_arr), _per_month(t.referral_arr))


@measure(
    rule="K10", unit="ratio", needs=("referrals",),
    en=(
        "return on referral spend",
        "to the end of the period, all revenue of accounts that came by referral over all that the rewards cost",
    ),
    zh=("推荐投入回报", "截至期末，经推荐成交的客户的累计收入除以累计推荐奖励成本"),
)  # fmt: skip
def referral_return(t: ir.Table) -> MeasureValue:
    return share(_per_month(t.referral_arr_so_far), cents_to_units(t.reward_so_far))


def _per_month(cents_a_year: ir.Value) -> ir.FloatingValue:
    return cents_to_units(cents_a_year) / float(MONTHS_PER_YEAR)
