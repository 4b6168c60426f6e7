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
SPOKEN = (
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


def messages(language: str) -> list[tuple[str, str]]:
    return [(said.context, said.id) for said in load_catalog(language) if said.id]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_is_translated_from_the_english_that_stands_now(language: str) -> None:
    """`make words` mends a catalogue that has fallen behind; a person translates what it marks."""
    assert messages(language) == messages("en")
    told = [said for said in load_catalog(language) if said.id]
    assert not [said.context for said in told if not said.string]
    assert not [said.context for said in told if said.fuzzy]
    assert not load_catalog(language).obsolete


def test_every_key_is_there_once() -> None:
    keys = [key for key, _ in messages("en")]
    assert len(keys) == len(set(keys)) == len(ENGLISH)


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_same_figures(language: str) -> None:
    other = MESSAGES[language]
    assert {k: placeholders(v) for k, v in other.items()} == {k: placeholders(v) for k, v in ENGLISH.items()}


def test_chinese_is_translated_and_uses_its_own_punctuation() -> None:
    untranslated = [key for key, said in MESSAGES["zh"].items() if said.isascii()]
    assert not untranslated
    western = re.compile(r"[\u4e00-\u9fff}][,:;()]|[(][\u4e00-\u9fff]")
    assert not [said for said in MESSAGES["zh"].values() if western.search(re.sub(r"\{[^}]*\}", "}", said))]


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_column_value_and_parameter_has_words(language: str) -> None:
    own = Messages(language)
    for name in COLUMN_NAMES:
        assert own.heading(name)
        assert own.description(name, **ListOptions().explanation_values)
    assert all(f"{column}.{value}" in MESSAGES[language] for column, values in CODED.items() for value in values)
    said = own.phrases().params
    assert all(value in said[name] for name, values in PARAMETERS.items() for value in values)


def test_every_key_asked_for_exists() -> None:
    asked = {
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
        if re.fullmatch(rf"({SPOKEN})\.\w+", node.value)
    }
    assert len(asked) > 10
    assert asked <= set(ENGLISH)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_measure_of_the_forecast_has_a_name_and_a_definition(language: str) -> None:
    own = Messages(language)
    assert all(own.text(f"forecast.{name}") and own.text(f"forecast.about.{name}") for name in MEASURE_UNITS)


def test_an_unknown_key_or_value() -> None:
    with pytest.raises(KeyError):
        Messages("en").text("heading.nothing")
    assert Messages("en").value("stage", "limbo") == "limbo"
    assert Messages("en").value("family", "usage") == "Use of the product"


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_theme_has_a_name_of_its_own_and_what_is_given_is_marked(language: str) -> None:
    own = Messages(language)
    names = {own.theme(theme, actionable) for theme in THEMES for actionable in (True, False)}
    assert len(names) == 2 * len(THEMES)
    assert all(f"theme.{theme}" in MESSAGES[language] for theme in THEMES)


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_feature_can_be_told(language: str) -> None:
    """With a figure, without one, and with no parameter left as a code."""
    phrases = Messages(language).phrases()
    for family in FAMILIES.values():
        for feature in feature_metadata(family.features):
            value, peer = ("pro", "basic") if feature["kind"] == "category" else (1.0, 2.0)
            assert render_sentence(feature, value, peer, phrases) != render_sentence(feature, None, None, phrases)
            codes = {n: v for n, v in feature["params"].items() if isinstance(v, str) and f"{{{n}" in feature[language]}
            assert not [code for name, code in codes.items() if code not in phrases.params.get(name, {})]
        assert f"family.{family.name}" in MESSAGES[language]
