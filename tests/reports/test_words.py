import ast
import inspect
import re
import string

import pytest

from renewals.features.alert_registry import ALERT_CODES
from renewals.features.family import THEMES
from renewals.features.policy import SEVERITIES, TICKET_KINDS, TIERS
from renewals.features.registry import FAMILIES, feature_metadata
from renewals.models.explanation.reasons import render_sentence
from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, STATUSES
from renewals.pipelines.commands import explain, forecast, scorecard, whatif
from renewals.pipelines.stages.act.forecast import MEASURE_UNITS
from renewals.reports import words
from renewals.reports.family_names import family_name
from renewals.reports.html import backtest_page
from renewals.reports.risk_list import COLUMN_NAMES
from renewals.reports.sentences import disagreements, playbooks, treatment_effect, tuning
from renewals.reports.settings import ListOptions
from renewals.reports.words import MESSAGES, Messages, load_catalog
from renewals.reports.workbook import account_sheet, manager_sheet, summary_sheet, workbook

ENGLISH = MESSAGES["en"]
CODED = {
    "status": STATUSES,
    "risk_band": RISK_BANDS,
    "quadrant": QUADRANTS,
    "alerts": ALERT_CODES,
    "alert": ALERT_CODES,
}
KEY_PREFIXES = (
    "heading|about|sheet|columns|phrase|explain|forecast|flag|effect|backtest|tune|plays|since|whatif|summary|"
    "disagreements|metrics"
)
SHEETS = (workbook, summary_sheet, manager_sheet, account_sheet)
REPORTS = (
    explain,
    forecast,
    scorecard,
    treatment_effect,
    backtest_page,
    tuning,
    words,
    playbooks,
    whatif,
    disagreements,
)
PARAMETERS = {"tier": TIERS, "kind": TICKET_KINDS, "severity": SEVERITIES}


def placeholders(text: str) -> set[tuple[str | None, str | None]]:
    return {(name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None}


TRANSLATED = sorted(set(MESSAGES) - {"en"})


def message_ids(language: str) -> list[tuple[str, str]]:
    return [(message.context, message.id) for message in load_catalog(language) if message.id]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_is_translated_from_the_current_english(language: str) -> None:
    """`make words` updates an outdated catalogue; a person translates the entries that it marks."""
    assert message_ids(language) == message_ids("en")
    catalog = [message for message in load_catalog(language) if message.id]
    assert not [message.context for message in catalog if not message.string]
    assert not [message.context for message in catalog if message.fuzzy]
    assert not load_catalog(language).obsolete


def test_message_keys_are_unique() -> None:
    keys = [key for key, _ in message_ids("en")]
    assert len(keys) == len(set(keys)) == len(ENGLISH)


@pytest.mark.parametrize("language", TRANSLATED)
def test_translation_has_the_same_placeholders(language: str) -> None:
    translated = MESSAGES[language]
    assert {k: placeholders(v) for k, v in translated.items()} == {k: placeholders(v) for k, v in ENGLISH.items()}


def test_chinese_is_translated_and_uses_chinese_punctuation() -> None:
    untranslated = [key for key, text in MESSAGES["zh"].items() if text.isascii()]
    assert not untranslated
    western = re.compile(r"[\u4e00-\u9fff}][,:;()]|[(][\u4e00-\u9fff]")
    assert not [text for text in MESSAGES["zh"].values() if western.search(re.sub(r"\{[^}]*\}", "}", text))]


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_column_value_and_parameter_has_a_text(language: str) -> None:
    texts = Messages(language)
    for name in COLUMN_NAMES:
        assert texts.heading(name)
        assert texts.description(name, **ListOptions().explanation_values)
    assert all(f"{column}.{value}" in MESSAGES[language] for column, values in CODED.items() for value in values)
    params = texts.phrases().params
    assert all(value in params[name] for name, values in PARAMETERS.items() for value in values)


def test_every_key_in_the_code_exists() -> None:
    keys = {
        node.value
        for module in (
            *SHEETS,
            explain,
            forecast,
            scorecard,
            treatment_effect,
            backtest_page,
            tuning,
            words,
            playbooks,
            whatif,
            disagreements,
        )
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(rf"({KEY_PREFIXES})\.\w+", node.value)
    }
    assert len(keys) > 10
    assert keys <= set(ENGLISH)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_measure_of_the_forecast_has_a_name_and_a_definition(language: str) -> None:
    texts = Messages(language)
    assert all(texts.text(f"forecast.{name}") and texts.text(f"forecast.about.{name}") for name in MEASURE_UNITS)


def test_unknown_key_is_an_error_and_unknown_value_is_returned() -> None:
    with pytest.raises(KeyError):
        Messages("en").text("heading.nothing")
    assert Messages("en").value("stage", "limbo") == "limbo"
    assert family_name("usage", Messages("en")) == "Use of the product"


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_theme_names_are_unique_and_differ_for_background_reasons(language: str) -> None:
    texts = Messages(language)
    names = {texts.theme(theme, actionable) for theme in THEMES for actionable in (True, False)}
    assert len(names) == 2 * len(THEMES)
    assert all(f"theme.{theme}" in MESSAGES[language] for theme in THEMES)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_feature_has_a_sentence(language: str) -> None:
    """With a value, without a value, and with no parameter shown as a code."""
    phrases = Messages(language).phrases()
    for family in FAMILIES.values():
        for feature in feature_metadata(family.features):
            value, peer = ("pro", "basic") if feature["kind"] == "category" else (1.0, 2.0)
            assert render_sentence(feature, value, peer, phrases) != render_sentence(feature, None, None, phrases)
            codes = {n: v for n, v in feature["params"].items() if isinstance(v, str) and f"{{{n}" in feature[language]}
            assert not [code for name, code in codes.items() if code not in phrases.params.get(name, {})]
        assert getattr(family, language)
