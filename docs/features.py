"""Write the feature catalogue docs/features.md: `python docs/features.py`.

The page lists each feature with its meaning, theme, English and Chinese text, and the rules it implements. It is
generated from the code only; a test compares it with the code.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from renewals.features.family import THEMES, Feature
from renewals.features.registry import FAMILIES
from renewals.reports.words import Messages

PAGE_PATH = Path(__file__).with_name("features.md")
RULE_PATTERN = re.compile(r"\b([JUSTC]\d)\b")
RULES = {
    "J1": ("stages of the journey", "客户旅程阶段"),
    "J2": ("first value reached or missed", "首次价值"),
    "J3": ("at least two job roles in steady use", "至少两种岗位稳定使用"),
    "J4": ("continuous value: goals, reports, contacts spread over the term", "持续价值：目标、报告与均匀的接触"),
    "J5": ("expansion in addition to renewal", "增购与续约并看"),
    "U1": ("a login is not active use", "活跃不等于登录"),
    "U2": ("breadth and depth of use", "使用的广度与深度"),
    "U3": ("usage levels and moves between them", "使用层级及其变化"),
    "U4": ("usage drops against the account's own history and season", "相对自身历史与季节的下滑"),
    "U5": ("core users", "核心用户"),
    "S1": ("stakeholders in tiers S, A and B", "干系人分级"),
    "S2": ("engagement per tier", "各层级的参与度"),
    "S3": ("loss of a sponsor", "关键人流失"),
    "S4": ("use by decision makers and in the core workflow", "老板是否使用、是否进入业务流程"),
    "T1": ("ticket kinds, severities and time limits", "工单类型、等级与时限"),
    "T2": ("responses and resolution", "响应与解决"),
    "T3": ("satisfaction, recommendation and silence", "满意度、推荐度与沉默"),
    "C1": ("fit with the ideal customer", "与理想客户的契合度"),
    "C2": ("renewal by sales source", "按销售来源的续约表现"),
}
"""Short descriptions of the rules that features implement, in English and Chinese."""


def feature_rules(feature: Feature) -> list[str]:
    """The rules named in a feature's meaning, such as J1."""
    return RULE_PATTERN.findall(feature.meaning)


def features_page() -> str:
    """The whole page as Markdown."""
    features = [feature for family in FAMILIES.values() for feature in family.features]
    features_by_rule: dict[str, list[str]] = defaultdict(list)
    for feature in features:
        for rule in feature_rules(feature):
            features_by_rule[rule] += [feature.name] if feature.name not in features_by_rule[rule] else []
    parts = [PAGE_HEAD.format(columns=len(features), families=len(FAMILIES))]
    for name, family in FAMILIES.items():
        needs = f" Needs: {', '.join(f'`{table}`' for table in family.needs)}." if family.needs else ""
        parts.append(f"## {name}\n\n{len(family.features)} columns.{needs}")
        parts.append(_markdown_table(FEATURE_HEAD, _feature_rows(family.features)))
    parts += ["## Themes · 主题", _markdown_table(THEME_HEAD, _theme_rows(features))]
    parts += ["## Rules · 规则", _markdown_table(RULE_HEAD, _rule_rows(features_by_rule))]
    return "\n\n".join(parts) + "\n"


PAGE_HEAD = """# Features · 特征目录

{columns} columns in {families} families, printed by `make docs`; do not edit. The name of a column is its
function and its parameters. *Risky when* is the side of the peers on which a value is a risk. Features that *can be
acted on* are shown to managers separately from those that only describe the customer. A *theme* is the cause that an
account manager would name; a list shows each theme once per account. Features that are not *read by models* count
logged actions of our people: they are shown, but do not change the score (domain M5)."""
THEME_HEAD = ("theme", "English", "中文", "columns")
RULE_HEAD = ("rule", "English", "中文", "columns")
FEATURE_HEAD = (
    *("columns", "theme", "meaning", "unit", "risky when", "can be acted on", "read by models", "English", "中文"),
)


def _theme_rows(features: list[Feature]) -> Iterable[tuple[str, ...]]:
    for theme in THEMES:
        columns = ", ".join(f"`{feature.name}`" for feature in features if feature.theme == theme)
        yield theme, Messages("en").value("theme", theme), Messages("zh").value("theme", theme), columns


def _rule_rows(features_by_rule: dict[str, list[str]]) -> Iterable[tuple[str, ...]]:
    for rule, (en, zh) in RULES.items():
        yield rule, en, zh, ", ".join(f"`{name}`" for name in features_by_rule[rule])


def _feature_rows(features: Iterable[Feature]) -> Iterable[tuple[str, ...]]:
    """One row per feature function: its columns differ only in their parameters."""
    by_function: dict[str, list[Feature]] = defaultdict(list)
    for feature in features:
        by_function[feature.compute.__name__].append(feature)
    for variants in by_function.values():
        first = variants[0]
        columns = ", ".join(f"`{feature.name}`" for feature in variants)
        acted, read = ("yes" if flag else "no" for flag in (first.actionable, not first.action))
        meaning = " ".join(first.meaning.split())
        themes = ", ".join(dict.fromkeys(feature.theme for feature in variants))
        yield columns, themes, meaning, first.unit, first.risk, acted, read, first.en, first.zh


def _markdown_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE_PATH.write_text(features_page(), encoding="utf-8")
