"""Scorecard measures: each is a function of the totals with its definition as text (K1 to K10, R4 to R15, M6).

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


def count(number: ir.Value, of: ir.Value | None = None) -> MeasureValue:
    """Measure value of a count; its denominator is the count that it is a part of, if given."""
    return MeasureValue(as_float(number), as_float(number), None if of is None else as_float(of))


def money(cents: ir.Value, of: ir.Value | None = None) -> MeasureValue:
    """Measure value of an amount in cents, in units of the reporting currency; its denominator as for `count`."""
    return MeasureValue(cents_to_units(cents), cents_to_units(cents), None if of is None else cents_to_units(of))


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
    en=("customers", "accounts with a paid contract on the last day of the period, running, pending or paused"),
    zh=("客户数", "期末持有付费合同的客户数，含结果未定与暂停的客户"),
)  # fmt: skip
def customers(t: ir.Table) -> MeasureValue:
    return count(t.closing_customer)


@measure(
    rule="K1", unit="money", provisional=True,
    en=("ARR", "recurring revenue a year on the last day of the period, pending terms included"),
    zh=("年度经常性收入", "期末的年度经常性收入，含结果未定的合同"),
)  # fmt: skip
def arr(t: ir.Table) -> MeasureValue:
    return money(t.closing)


@measure(
    rule="R1", unit="count", provisional=True, better=None,
    en=(
        "renewals due",
        "renewals whose last contract ended in the period; an account's contracts of one end are one; one that was "
        "decided after its month was final counts in the earliest month still open; rolling contracts are never due",
    ),
    zh=(
        "到期续约数",
        "期内到期的续约数；同一客户同日到期的合同算一次续约；所属月份已定后才有结果的计入最早的未定月份；滚动合同不算到期",
    ),
)  # fmt: skip
def renewals_due(t: ir.Table) -> MeasureValue:
    return count(t.due)


@measure(
    rule="R2", unit="count", provisional=True, better=None,
    en=("renewals pending", "of the renewals due, those still within the grace: neither renewed nor lost"),
    zh=("未定续约数", "到期续约中仍在宽限期内、既未续约也未流失的数量"),
)  # fmt: skip
def renewals_pending(t: ir.Table) -> MeasureValue:
    return count(t.pending, of=t.due)


@measure(
    rule="R2", unit="money", provisional=True, better=None,
    en=("ARR pending", "ARR of the renewals pending, in no rate yet; its denominator is the ARR due"),
    zh=("未定续约金额", "未定续约的年度经常性收入，尚未计入任何比率；分母为到期金额"),
)  # fmt: skip
def arr_pending(t: ir.Table) -> MeasureValue:
    return money(t.pending_amount, of=t.due_amount)


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
    rule="R15", unit="share",
    en=(
        "renewal rate by count, terms up to a year",
        "of the renewals due and decided whose longest contract ran for at most a year, those bought again",
    ),
    zh=("续约率（按客户数，期限一年以内）", "结果已定、最长合同期限不超过一年的续约中，再次购买的数量占比"),
)  # fmt: skip
def logo_renewal_rate_one_year(t: ir.Table) -> MeasureValue:
    return share(t.renewed - t.long_renewed, t.due - t.pending - t.long_decided)


@measure(
    rule="R15", unit="share",
    en=(
        "renewal rate by count, longer terms",
        "of the renewals due and decided whose longest contract ran for more than a year, those bought again",
    ),
    zh=("续约率（按客户数，期限超过一年）", "结果已定、最长合同期限超过一年的续约中，再次购买的数量占比"),
)  # fmt: skip
def logo_renewal_rate_multi_year(t: ir.Table) -> MeasureValue:
    return share(t.long_renewed, t.long_decided)


@measure(
    rule="R15", unit="share",
    en=(
        "renewal rate by revenue, terms up to a year",
        "of the ARR due and decided in renewals whose longest contract ran for at most a year, that of the contracts "
        "bought again",
    ),
    zh=("续约率（按金额，期限一年以内）", "结果已定、最长合同期限不超过一年的到期金额中，再次购买的合同所占的金额"),
)  # fmt: skip
def revenue_renewal_rate_one_year(t: ir.Table) -> MeasureValue:
    decided = t.due_amount - t.pending_amount - t.long_decided_amount
    return money_share(t.renewed_amount - t.long_renewed_amount, decided)


@measure(
    rule="R15", unit="share",
    en=(
        "renewal rate by revenue, longer terms",
        "of the ARR due and decided in renewals whose longest contract ran for more than a year, that of the contracts "
        "bought again",
    ),
    zh=("续约率（按金额，期限超过一年）", "结果已定、最长合同期限超过一年的到期金额中，再次购买的合同所占的金额"),
)  # fmt: skip
def revenue_renewal_rate_multi_year(t: ir.Table) -> MeasureValue:
    return money_share(t.long_renewed_amount, t.long_decided_amount)


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
    en=(
        "customers lost",
        "customers with nothing left running, pending or paused at a month's end, in the months of the period; one "
        "that was merged goes on in its heir",
    ),
    zh=("流失客户数", "期内各月末不再有任何执行中、未定或暂停合同的客户数；被合并的客户由合并后的客户延续，不算流失"),
)  # fmt: skip
def customers_lost(t: ir.Table) -> MeasureValue:
    return count(t.lost)


@measure(
    rule="K1", unit="share", better="down",
    en=("customer churn", "customers of the opening lost in the period, over customers of the opening"),
    zh=("客户流失率", "期初客户中在期内流失的数量除以期初客户数"),
)  # fmt: skip
def customer_churn(t: ir.Table) -> MeasureValue:
    return share(t.opening_lost, t.opening_customer)


@measure(
    rule="K1", unit="money", better="down",
    en=(
        "ARR churned",
        "ARR of the contracts that ended in the period and were not bought again, rolling ones included, whoever held "
        "them",
    ),
    zh=("流失金额", "期内结束且未续的合同（含滚动合同）的年度经常性收入"),
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
    rule="R13", unit="share", better="down",
    en=(
        "preventable share of what was lost",
        "ARR due of the contracts lost in the period, less that lost for a reason that nobody could have prevented "
        "(the setting scorecard.unpreventable_reasons: a customer that closed down), over all of it; without a reason "
        "recorded it counts as preventable",
    ),
    zh=(
        "可避免的流失占比",
        "期内流失合同的到期金额中，扣除无法避免的原因（设置 scorecard.unpreventable_reasons，如客户倒闭）后所占的比例；"
        "未记录原因的视为可避免",
    ),
)  # fmt: skip
def preventable_loss_share(t: ir.Table) -> MeasureValue:
    return money_share(t.lost_amount - t.unpreventable_amount, t.lost_amount)


@measure(
    rule="R5", unit="share",
    en=(
        "gross retention (GRR)",
        "opening ARR less what its customers churned and contracted, over the opening ARR; never above 100 %; "
        "exchange rates, corrections and pauses are in neither",
    ),
    zh=("总留存率（GRR）", "期初金额减去期初客户的流失与缩减，再除以期初金额；不超过 100%；不计汇率、更正与暂停"),
)  # fmt: skip
def gross_retention(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_kept, t.opening)


@measure(
    rule="R5", unit="share",
    en=(
        "net retention (NRR)",
        "opening ARR with all that its customers bought, every price rise and the steps of ramps, less what they "
        "churned and contracted, over the opening ARR; exchange rates, corrections, pauses and what came back after a "
        "loss are left out",
    ),
    zh=(
        "净留存率（NRR）",
        "期初金额加上期初客户的增购、交叉购买、提价与阶梯合同的增长，减去其流失与缩减，再除以期初金额；"
        "不计汇率、更正、暂停与流失后的回归",
    ),
)  # fmt: skip
def net_retention(t: ir.Table) -> MeasureValue:
    return money_share(t.opening_now, t.opening)


@measure(
    rule="R14", unit="share", provisional=True, better=None,
    en=(
        "multi-year share",
        "ARR at the closing in terms sold for more than a year, with all steps of a ramp, over the ARR at the closing: "
        "it is nobody's renewal today and flatters the rates",
    ),
    zh=("多年期合同占比", "期末金额中售出期限超过一年（含阶梯合同各阶段）的部分：今天无需续约，会美化各比率"),
)  # fmt: skip
def multi_year_share(t: ir.Table) -> MeasureValue:
    return money_share(t.multi_year, t.closing)


@measure(
    rule="R14", unit="money", provisional=True, better=None,
    en=(
        "the cliff: multi-year ARR due within a year",
        "of the ARR at the closing in terms sold for more than a year, what ends within 365 days after it, as known "
        "then, or has ended and is pending; its denominator is all of that ARR",
    ),
    zh=(
        "多年期合同一年内到期金额（断崖）",
        "期末多年期合同金额中，按当时所知将在期末后 365 天内到期或已到期未定的部分；分母为多年期合同金额",
    ),
)  # fmt: skip
def cliff(t: ir.Table) -> MeasureValue:
    return money(t.multi_year_due, of=t.multi_year)


@measure(
    rule="R10", unit="money",
    en=(
        "growth by contract",
        "ARR by which the steps of ramps, agreed when they were signed, raised the revenue in the period; below zero "
        "where they lowered it; no up-sell",
    ),
    zh=("合同约定的增长", "签约时已约定的阶梯合同在期内带来的金额变化（下降为负），不算增购"),
)  # fmt: skip
def contracted_growth(t: ir.Table) -> MeasureValue:
    return money(t.contracted)


@measure(
    rule="R10", unit="money", better=None,
    en=(
        "ARR paused",
        "ARR that came back from pauses in the period less what pauses took out: a pause keeps the customer, and is "
        "neither churn nor contraction",
    ),
    zh=("暂停金额", "期内恢复的金额减去因暂停移出的金额：暂停的客户仍是客户，既不算流失也不算缩减"),
)  # fmt: skip
def paused_arr(t: ir.Table) -> MeasureValue:
    return money(t.paused)


@measure(
    rule="R9", unit="money", better=None,
    en=("effect of exchange rates", "ARR by which changed rates moved what each month opened with; in no rate"),
    zh=("汇率影响", "汇率变化使各月期初金额增减的部分，不计入任何比率"),
)  # fmt: skip
def fx_effect(t: ir.Table) -> MeasureValue:
    return money(t.fx)


@measure(
    rule="R9", unit="money", better=None,
    en=(
        "corrections",
        "ARR by which papers that came late changed what a final month had closed with, and what mergers moved from "
        "one account to another; no final month changes, and it is in no rate",
    ),
    zh=("更正", "迟到的单据对已定月份期末金额的更正，以及客户合并在账户之间的转移；已定月份不变，也不计入任何比率"),
)  # fmt: skip
def corrections(t: ir.Table) -> MeasureValue:
    return money(t.correction)


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
    rule="M6", unit="money",
    en=(
        "expansion by sales",
        "ARR of the up-sell and cross-sell in the first months after an account's first contract was signed (the "
        "setting scorecard.sales_expansion_months, by size band)",
    ),
    zh=(
        "销售的扩展金额",
        "客户首份合同签订后最初几个月内的增购与交叉销售金额（月数按规模，见设置 scorecard.sales_expansion_months）",
    ),
)  # fmt: skip
def sales_expansion(t: ir.Table) -> MeasureValue:
    return money(t.sales_expansion)


@measure(
    rule="M6", unit="money",
    en=("expansion by customer success", "ARR of all later up-sell and cross-sell"),
    zh=("客户成功的扩展金额", "其后的全部增购与交叉销售金额"),
)  # fmt: skip
def cs_expansion(t: ir.Table) -> MeasureValue:
    return money(t.cs_expansion)


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
    return share(t.invitations, t.opening_customer)


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
    return share(t.conversions, t.opening_customer)


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
