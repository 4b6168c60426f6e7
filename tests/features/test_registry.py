"""Checks over all features of the registry: metadata, sentences, required tables and actions."""

from __future__ import annotations

import re
import string

import ibis
import pytest

from renewals.features.family import RENEWAL_KEY, THEMES, Family, column_name
from renewals.features.policy import Policy
from renewals.features.registry import (
    FAMILIES,
    FeatureInputs,
    available_features,
    family_table,
    feature_metadata,
    missing_tables,
)
from renewals.features.tables import TABLES
from tests.oracle.worlds import clean_schema

FEATURES = [feature for family in FAMILIES.values() for feature in family.features]


def feature_inputs(*tables: str, **derived: ibis.Table) -> FeatureInputs:
    """Feature inputs with these tables and the spine."""
    raw = {name: ibis.table(clean_schema(name), name=name) for name in tables}
    keys = {"account_id": "string", "renewal_id": "string", "as_of": "date", "is_main": "bool"}
    observations = ibis.table(keys, name="observations")
    return FeatureInputs({**raw, **derived, "observations": observations}, Policy())


def test_feature_names_are_unique():
    names = [feature.name for feature in FEATURES]
    assert len(names) == len(set(names))
    assert not {"account_id", "as_of"} & set(names)


def test_feature_names_are_snake_case():
    assert [f.name for f in FEATURES if not re.fullmatch(r"[a-z][a-z0-9_]*", f.name)] == []


def test_every_feature_has_a_meaning_unit_and_risk():
    assert [f.name for f in FEATURES if not f.meaning.strip().endswith((".", ")"))] == []
    assert [f.name for f in FEATURES if not f.unit or f.risk not in ("low", "high", "either")] == []
    assert [f.name for f in FEATURES if not isinstance(f.actionable, bool)] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_sentence_contains_the_value_and_that_of_peers(language):
    """No other placeholders, except parameters of the feature, are allowed."""
    for feature in FEATURES:
        fields = {name for _, name, _, _ in string.Formatter().parse(getattr(feature, language)) if name}
        assert {"value", "peer"} <= fields, feature.name
        assert fields <= {"value", "peer", *feature.params}, feature.name


def test_no_english_sentence_has_a_count_before_its_noun():
    """A count may be 1, and "1 tickets" is wrong, so counts follow a colon. Measures may precede their unit."""
    counted = [f for f in FEATURES if f.unit not in MEASURES and re.search(r"\{value:,?\.0f\} (\{|\w)", f.en)]
    assert [f.name for f in counted] == []


MEASURES = {"days", "hours", "minutes", "money a year", "money a seat and year"}


def test_each_sentence_is_in_its_language():
    chinese = re.compile(r"[\u4e00-\u9fff]")
    assert [f.name for f in FEATURES if not chinese.search(f.zh) or chinese.search(f.en)] == []


def test_the_features_use_exactly_the_declared_themes():
    assert {f.theme for f in FEATURES} == set(THEMES)


def test_tiers_of_each_theme():
    """Decision makers: value, or sponsor for departures. Key staff: adoption."""
    tiers = {f.theme: set() for f in FEATURES}
    for f in FEATURES:
        tiers[f.theme] |= {f.params["tier"]} if "tier" in f.params else set()
    assert {theme: values for theme, values in tiers.items() if values} == {
        **{"value": {"S", "A"}, "sponsor": {"S", "A"}, "adoption": {"B"}}
    }


def test_the_theme_of_a_feature_may_depend_on_its_tier():
    family = Family("example", "Example", "示例", "value")

    @family.feature(unit="x", risk="low", actionable=True, theme={"B": "adoption"}, en="", zh="", tier=("S", "B"))
    def of_tier(observation, tier):
        """Return something."""

    @family.feature(unit="x", risk="low", actionable=True, theme="support", en="", zh="")
    def of_all(observation):
        """All."""

    assert [f.theme for f in family.features] == ["value", "adoption", "support"]


def test_a_category_has_no_empty_value():
    assert [f.name for f in FEATURES if f.kind == "category" and f.empty is not None] == []


def test_a_column_is_named_after_its_function_and_parameters():
    assert column_name("active_people", {"days": 28}) == "active_people_28d"
    assert column_name("people_active", {"tier": "S", "days": 90}) == "people_active_s_90d"
    assert column_name("arr", {}) == "arr"


def test_a_feature_without_a_docstring_cannot_be_declared():
    family = Family("example", "Example", "示例", "value")
    with pytest.raises(TypeError, match="docstring"):

        @family.feature(unit="x", risk="low", actionable=True, en="{value} {peer}", zh="{value} {peer}")
        def silent(observation):
            return observation.count()


NEEDS = [(family.name, need) for family in FAMILIES.values() for need in family.needs]


@pytest.mark.parametrize(("family", "need"), NEEDS)
def test_a_family_is_absent_without_a_table_it_needs(family, need):
    assert available_features(FAMILIES[family], feature_inputs(*[name for name in TABLES if name != need])) == []


def test_families_of_the_minimum_of_two_tables():
    """Accounts and contracts alone give the families of contracts and of fit."""
    available = {
        name for name, family in FAMILIES.items() if available_features(family, feature_inputs("accounts", "contracts"))
    }
    assert available >= {"commitment", "fit"}
    assert not [name for name in available if FAMILIES[name].needs or name == "advocacy"]


def test_a_feature_is_omitted_if_its_source_has_no_table():
    """Without touchpoints the remaining stakeholder features stay."""
    present = [name for name in TABLES if name != "touchpoints"]
    windows = {"person_windows": ibis.table({"account_id": "string", "as_of": "date"}, name="person_windows")}
    names = {
        feature.name for feature in available_features(FAMILIES["stakeholders"], feature_inputs(*present, **windows))
    }
    assert "people_known_s" in names
    assert not {"days_since_contact_s", "decision_makers_contacted_share_90d"} & names


def test_a_source_with_an_unknown_table_is_an_error():
    """A misspelt table name must not disable its features silently."""
    family = Family("example", "Example", "示例", "value")

    @family.source
    def line(tikets):
        return tikets

    @family.feature(unit="x", risk="low", actionable=True, en="{value} {peer}", zh="{value} {peer}")
    def lines(line):
        """Number of rows."""
        return line.count()

    with pytest.raises(KeyError, match="tikets"):
        available_features(family, feature_inputs("accounts"))


def test_an_observation_with_no_rows_has_the_declared_empty_values(company):
    """Quiet has a contract only: every count equals its `empty`, every mean is null."""
    features_of = company()
    sources = ("seat", "start")  # these contain a row for quiet: none of its seats is in use
    bare = feature_inputs("accounts", "contracts")
    of_contracts = {name for name, family in FAMILIES.items() if available_features(family, bare)}
    features = [f for f in FEATURES if f.family not in of_contracts and f.source not in sources]
    different = {
        f.name: (value, f.empty) for f in features if (value := features_of(f.family, f.name)["quiet"]) != f.empty
    }
    assert different == {}


def test_the_missing_tables_of_a_family_are_named():
    assert missing_tables(FAMILIES["advocacy"], feature_inputs("accounts", "contracts", "usage_events")) == [
        "referrals",
        "trials",
    ]
    assert missing_tables(FAMILIES["advocacy"], feature_inputs("accounts", "contracts", "referrals", "trials")) == []


def test_a_feature_that_reads_a_table_of_our_actions_is_an_action():
    """A feature that reads only the evidence in such a table, or only other tables, is not an action."""
    family = Family("example", "Example", "示例", "value")

    @family.source
    def contact_rows(touchpoints, spine):
        return touchpoints

    @family.source
    def customer_contact_rows(customer_touchpoints, spine):
        return customer_touchpoints

    @family.feature(unit="x", risk="low", actionable=True, en="", zh="")
    def meetings(contact_rows):
        """Some."""

    @family.feature(unit="x", risk="low", actionable=True, en="", zh="")
    def calls(customer_contact_rows):
        """Some."""

    assert {feature.name: feature.action for feature in family.features} == {"meetings": True, "calls": False}


def test_the_tables_of_our_actions():
    """Playbooks, contacts, surveys sent and followed up, goals agreed on: all that managers log of their work."""
    logged = {name for name, table in TABLES.items() if table.logs_actions}
    assert logged == {"interventions", "touchpoints", "surveys", "value_goals"}
    assert {feature.family for feature in FEATURES if feature.action} == {
        *("care", "contact", "stakeholders", "sentiment", "value"),
    }


def test_features_that_are_evidence_and_not_actions():
    """Features of contact, surveys and goals that are evidence and not actions."""
    evidence = {f.compute.__name__ for f in FEATURES if f.family in ("contact", "sentiment", "value") and not f.action}
    assert evidence == {
        *("days_since_customer_contact", "customer_contacts_total"),
        *(
            "survey_score",
            "nps_of",
            "nps_change",
            "survey_response_rate",
            "latest_survey_score",
            "survey_score_range",
            "survey_response_rate_of",
        ),
        *(
            "survey_response_days",
            "days_since_survey_response",
            "goals_reached",
            "goals_reached_decayed",
            "goals_overdue",
            "goals_reached_share",
        ),
    }


def test_a_family_without_its_tables_has_its_rows_and_no_columns():
    table = family_table(FAMILIES["advocacy"], feature_inputs("accounts", "contracts", "usage_events"))
    assert table.columns == RENEWAL_KEY


def test_feature_metadata_are_plain_values():
    (first, *_) = feature_metadata(FAMILIES["usage"].features)
    assert first["name"] == "active_people_7d"
    assert first["function"] == "active_people"
    assert first["params"] == {"days": 7}
    assert first["theme"] == "adoption"
    assert set(first) >= {"family", "theme", "meaning", "unit", "risk", "actionable", "kind", "en", "zh", "empty"}
