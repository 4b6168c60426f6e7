"""Sentiment in surveys: recommendation (NPS) and satisfaction (CSAT), by tier, and missing answers (T3)."""

from __future__ import annotations

import ibis.expr.types as ir

from renewals.features.families.stakeholders import PERSON_KEY, TIER_THEMES, is_in_tier
from renewals.features.family import KEY, Family, Theme, as_number, quantize
from renewals.features.point_in_time import as_of_rows, days_ago, hours_ago, hours_between

sentiment = Family("sentiment", en="Satisfaction", zh="满意度", theme="value", needs=("surveys",))

SURVEY_KINDS = ("nps", "csat")
SURVEY_THEMES: dict[str, Theme] = {"csat": "support"}
"""Theme of a survey kind: satisfaction is asked after a ticket, recommendation is about the product (T3)."""
FOLLOW_UP_DAYS = 14
"""A low score without a follow-up within this many days counts as not followed up (T3)."""


@sentiment.source
def survey(survey_outcomes: ir.Table) -> ir.Table:
    """Surveys answered or without an answer by then: one row per (account_id, as_of, survey)."""
    return survey_outcomes


@sentiment.source
def follow_up(surveys: ir.Table, spine: ir.Table) -> ir.Table:
    """Surveys known then: one row per (account_id, as_of, survey).

    `forgotten` is 1 for a low score without a follow-up within `FOLLOW_UP_DAYS`.
    """
    known = as_of_rows("surveys", surveys, spine)
    return known.mutate(answered_ago=days_ago(known, known.answered_at), forgotten=_lacks_follow_up(known).ifelse(1, 0))


@sentiment.source
def tier_survey(survey_outcomes: ir.Table, people_then: ir.Table) -> ir.Table:
    """Surveys answered or without an answer, with the person's tier: one row per (account_id, as_of, survey)."""
    return survey_outcomes.left_join(people_then.select(*PERSON_KEY, "tier"), PERSON_KEY)


@sentiment.source
def newest_answer(survey_outcomes: ir.Table) -> ir.Table:
    """Answers of the newest day with one, within a year: one row per (account_id, as_of, kind, answer)."""
    known = survey_outcomes
    answers = known.filter(known.score.notnull() & (known.answered_ago <= 365))
    days = answers.answered_ago.min().over(group_by=[*KEY, "kind"])
    return answers.mutate(newest_ago=days).filter(lambda rows: rows.answered_ago == rows.newest_ago)


def _lacks_follow_up(rows: ir.Table) -> ir.BooleanValue:
    low = ((rows.kind == "nps") & (rows.score <= 6)) | ((rows.kind == "csat") & (rows.score <= 2))
    waited = hours_ago(rows, rows.answered_at) > FOLLOW_UP_DAYS * 24
    return (low & rows.followed_up_at.isnull() & waited).fill_null(False)


def is_answered(table: ir.Table, kind: str, days: int) -> ir.BooleanValue:
    """True for rows with an answer of this kind given in the window."""
    return ((table.kind == kind) & table.score.notnull() & (table.answered_ago <= days)).fill_null(False)


@sentiment.feature(
    survey_kind=SURVEY_KINDS, days=(180, 365), unit="points", risk="low", actionable=True, theme=SURVEY_THEMES,
    en="{survey_kind} score {value:.1f} on average over the last {days} days (peers: {peer:.1f})",
    zh="近 {days} 天{survey_kind}平均分 {value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def survey_score(survey: ir.Table, survey_kind: str, days: int) -> ir.Value:
    """Mean score of the answers given in the window (T3)."""
    return quantize(survey.score).mean(where=is_answered(survey, survey_kind, days))


@sentiment.feature(
    tier=("S", "A", "B"), unit="points", risk="low", actionable=True, theme=TIER_THEMES,
    en="NPS of {tier}: {value:.1f} on average over the past year (peers: {peer:.1f})",
    zh="过去一年{tier}的 NPS 平均为 {value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def nps_of(tier_survey: ir.Table, tier: str) -> ir.Value:
    """Mean NPS score of people of the tier in a year (T3: with who answered)."""
    return quantize(tier_survey.score).mean(where=is_answered(tier_survey, "nps", 365) & is_in_tier(tier_survey, tier))


@sentiment.feature(
    unit="points", risk="low", actionable=True,
    en="NPS of the last 180 days against the 180 before: {value:+.1f} points (peers: {peer:+.1f})",
    zh="近 180 天 NPS 较此前 180 天变化 {value:+.1f} 分（同类客户：{peer:+.1f}）",
)  # fmt: skip
def nps_change(survey: ir.Table) -> ir.Value:
    """Mean NPS score of 180 days less that of the 180 days before (T3)."""
    now = is_answered(survey, "nps", 180)
    then = is_answered(survey, "nps", 360) & ~now
    scores = quantize(survey.score)
    return scores.mean(where=now) - scores.mean(where=then)


@sentiment.feature(
    unit="share", risk="low", actionable=True,
    en="{value:.0%} of the surveys of the past year were answered (peers: {peer:.0%})",
    zh="过去一年 {value:.0%} 的调查得到答复（同类客户：{peer:.0%}）",
)  # fmt: skip
def survey_response_rate(survey: ir.Table) -> ir.Value:
    """Share of surveys of a year answered, of those answered or two weeks old (T3: no answer is a signal too)."""
    return as_number(survey.answered_at.notnull()).mean(where=survey.days_ago <= 365)


@sentiment.feature(
    unit="answers", risk="high", actionable=True, empty=0,
    en="low scores not followed up within two weeks: {value:.0f} (peers: {peer:.0f})",
    zh="有 {value:.0f} 个低分两周内未跟进（同类客户：{peer:.0f} 个）",
)  # fmt: skip
def low_scores_without_follow_up(follow_up: ir.Table) -> ir.Value:
    """Number of low scores of a year, over two weeks old, without a follow-up (T3)."""
    return ((follow_up.forgotten == 1) & (follow_up.answered_ago <= 365)).fill_null(False).sum()


@sentiment.feature(
    survey_kind=SURVEY_KINDS, unit="points", risk="low", actionable=True, theme=SURVEY_THEMES,
    en="latest {survey_kind} score: {value:.1f} (peers: {peer:.1f})",
    zh="最近一次{survey_kind}得分 {value:.1f}（同类客户：{peer:.1f}）",
)  # fmt: skip
def latest_survey_score(newest_answer: ir.Table, survey_kind: str) -> ir.Value:
    """Mean score of the newest day with an answer, within a year (T3)."""
    return quantize(newest_answer.score).mean(where=newest_answer.kind == survey_kind)


@sentiment.feature(
    survey_kind=SURVEY_KINDS, unit="points", risk="high", actionable=True, theme=SURVEY_THEMES,
    en="highest and lowest {survey_kind} score of the past year lie {value:.1f} points apart (peers: {peer:.1f})",
    zh="过去一年{survey_kind}最高分与最低分相差 {value:.1f} 分（同类客户：{peer:.1f} 分）",
)  # fmt: skip
def survey_score_range(survey: ir.Table, survey_kind: str) -> ir.Value:
    """Highest less lowest score of a year (T3): disagreement among the people of the account."""
    answered = is_answered(survey, survey_kind, 365)
    return survey.score.max(where=answered) - survey.score.min(where=answered)


@sentiment.feature(
    tier=("S", "A", "B"), unit="share", risk="low", actionable=True, theme=TIER_THEMES,
    en="{value:.0%} of the surveys sent to {tier} in the past year were answered (peers: {peer:.0%})",
    zh="过去一年发给{tier}的调查 {value:.0%} 得到答复（同类客户：{peer:.0%}）",
)  # fmt: skip
def survey_response_rate_of(tier_survey: ir.Table, tier: str) -> ir.Value:
    """Share of surveys of a year to the tier's people answered, of those answered or two weeks old (T3)."""
    is_counted = is_in_tier(tier_survey, tier) & (tier_survey.days_ago <= 365)
    return as_number(tier_survey.answered_at.notnull()).mean(where=is_counted)


@sentiment.feature(
    unit="days", risk="high", actionable=True,
    en="surveys of the past year were answered after {value:.1f} days on average (peers: {peer:.1f})",
    zh="过去一年调查平均 {value:.1f} 天后得到答复（同类客户：{peer:.1f} 天）",
)  # fmt: skip
def survey_response_days(survey: ir.Table) -> ir.Value:
    """Mean days from sending to answer, of the answered surveys of a year (T3)."""
    waited = quantize(hours_between(survey.sent_at, survey.answered_at) / 24.0)
    return waited.mean(where=survey.days_ago <= 365)


@sentiment.feature(
    unit="days", risk="high", actionable=True, empty=366,
    en="the last answer to any survey came {value:.0f} days ago (peers: {peer:.0f})",
    zh="最近一次调查答复在 {value:.0f} 天前（同类客户：{peer:.0f} 天）",
)  # fmt: skip
def days_since_survey_response(newest_answer: ir.Table) -> ir.Value:
    """Days since the last answer to any survey; 366 if there was none for a year (T3)."""
    return newest_answer.answered_ago.min()
