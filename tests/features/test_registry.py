"""The whole catalogue, walked: every feature says what it is, and asks only for tables that are there."""

from __future__ import annotations

import re
import string

import ibis
import pytest

from renewals.features.family import THEMES, Family, column_name
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


def known(*tables: str, **made: ibis.Table) -> FeatureInputs:
    """What may be asked of these tables and the spine."""
    given = {name: ibis.table(clean_schema(name), name=name) for name in tables}
    spine = ibis.table({"account_id": "string", "as_of": "date"}, name="spine")
    return FeatureInputs({**given, **made, "spine": spine}, Policy())


def test_no_two_columns_have_one_name():
    names = [feature.name for feature in FEATURES]
    assert len(names) == len(set(names))
    assert not {"account_id", "as_of"} & set(names)


def test_names_are_plain():
    assert [f.name for f in FEATURES if not re.fullmatch(r"[a-z][a-z0-9_]*", f.name)] == []


def test_every_feature_says_what_it_is():
    assert [f.name for f in FEATURES if not f.meaning.strip().endswith((".", ")"))] == []
    assert [f.name for f in FEATURES if not f.unit or f.risk not in ("low", "high", "either")] == []
    assert [f.name for f in FEATURES if not isinstance(f.actionable, bool)] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_sentence_names_the_figure_and_its_peers(language):
    """And nothing that nobody could fill in."""
    for feature in FEATURES:
        asked = {name for _, name, _, _ in string.Formatter().parse(getattr(feature, language)) if name}
        assert {"value", "peer"} <= asked, feature.name
        assert asked <= {"value", "peer", *feature.params}, feature.name


def test_no_english_sentence_sets_a_count_before_its_noun():
    """A count may be 1, and "1 tickets" is no English: it stands behind a colon. Measures may stand before theirs."""
    counted = [f for f in FEATURES if f.unit not in MEASURES and re.search(r"\{value:,?\.0f\} (\{|\w)", f.en)]
    assert [f.name for f in counted] == []


MEASURES = {"days", "hours", "minutes", "money a year", "money a seat and year"}


def test_every_chinese_sentence_is_chinese_and_no_english_one():
    chinese = re.compile(r"[\u4e00-\u9fff]")
    assert [f.name for f in FEATURES if not chinese.search(f.zh) or chinese.search(f.en)] == []


def test_every_theme_is_spoken_of_and_no_other():
    assert {f.theme for f in FEATURES} == set(THEMES)


def test_what_is_said_of_deciders_tells_of_value_and_what_is_said_of_staff_of_use():
    """But for who is gone: that is a theme of its own."""
    tiers = {f.theme: set() for f in FEATURES}
    for f in FEATURES:
        tiers[f.theme] |= {f.params["tier"]} if "tier" in f.params else set()
    assert {theme: own for theme, own in tiers.items() if own} == {
        **{"value": {"S", "A"}, "sponsor": {"S", "A"}, "adoption": {"B"}}
    }


def test_a_feature_may_speak_of_another_theme_than_its_family_for_one_value():
    family = Family("example", "value")

    @family.feature(unit="x", risk="low", actionable=True, theme={"B": "adoption"}, en="", zh="", tier=("S", "B"))
    def of_tier(observation, tier):
        """Some."""

    @family.feature(unit="x", risk="low", actionable=True, theme="support", en="", zh="")
    def of_all(observation):
        """All."""

    assert [f.theme for f in family.features] == ["value", "adoption", "support"]


def test_a_category_is_filled_with_nothing():
    assert [f.name for f in FEATURES if f.kind == "category" and f.empty is not None] == []


def test_a_column_is_named_after_its_function_and_parameters():
    assert column_name("active_people", {"days": 28}) == "active_people_28d"
    assert column_name("people_active", {"tier": "S", "days": 90}) == "people_active_s_90d"
    assert column_name("arr", {}) == "arr"


def test_a_feature_without_words_cannot_be_declared():
    family = Family("example", "value")
    with pytest.raises(TypeError, match="docstring"):

        @family.feature(unit="x", risk="low", actionable=True, en="{value} {peer}", zh="{value} {peer}")
        def silent(observation):
            return observation.count()


NEEDS = [(family.name, need) for family in FAMILIES.values() for need in family.needs]


@pytest.mark.parametrize(("family", "need"), NEEDS)
def test_a_family_is_absent_where_a_table_it_needs_is(family, need):
    assert available_features(FAMILIES[family], known(*[name for name in TABLES if name != need])) == []


def test_two_tables_are_enough_to_begin_with():
    """Accounts and contracts alone: what was bought, and by whom."""
    there = {name for name, family in FAMILIES.items() if available_features(family, known("accounts", "contracts"))}
    assert there == {"commitment", "fit"}


def test_a_feature_is_left_out_where_its_source_has_no_table():
    """Where nobody logs contacts the other features of the stakeholders stay."""
    given = [name for name in TABLES if name != "touchpoints"]
    windows = {"person_windows": ibis.table({"account_id": "string", "as_of": "date"}, name="person_windows")}
    names = {feature.name for feature in available_features(FAMILIES["stakeholders"], known(*given, **windows))}
    assert "people_known_s" in names
    assert not {"days_since_contact_s", "decision_makers_contacted_share_90d"} & names


def test_a_source_that_asks_for_what_is_no_table_is_a_mistake():
    """Otherwise a word misspelt would switch its features off in silence."""
    family = Family("example", "value")

    @family.source
    def line(tikets):
        return tikets

    @family.feature(unit="x", risk="low", actionable=True, en="{value} {peer}", zh="{value} {peer}")
    def lines(line):
        """How many."""
        return line.count()

    with pytest.raises(KeyError, match="tikets"):
        available_features(family, known("accounts"))


def test_an_observation_with_no_rows_has_the_declared_empty_values(company):
    """Nothing is known of quiet but its contract: every count is its `empty`, every mean is null."""
    found = company()
    told = ("seat", "start")  # these hold a row for quiet: none of its seats is in use
    features = [f for f in FEATURES if f.family not in ("commitment", "fit") and f.source not in told]
    unlike = {f.name: (value, f.empty) for f in features if (value := found(f.family, f.name)["quiet"]) != f.empty}
    assert unlike == {}


def test_the_missing_tables_of_a_family_are_named():
    assert missing_tables(FAMILIES["advocacy"], known("accounts", "contracts", "usage_events")) == [
        "referrals",
        "trials",
    ]
    assert missing_tables(FAMILIES["advocacy"], known("accounts", "contracts", "referrals", "trials")) == []


def test_an_action_is_what_reads_a_table_of_our_actions_whole():
    """By way of the evidence in such a table it is none, and neither is what reads other tables alone."""
    family = Family("example", "value")

    @family.source
    def met(touchpoints, spine):
        return touchpoints

    @family.source
    def heard(customer_touchpoints, spine):
        return customer_touchpoints

    @family.feature(unit="x", risk="low", actionable=True, en="", zh="")
    def meetings(met):
        """Some."""

    @family.feature(unit="x", risk="low", actionable=True, en="", zh="")
    def calls(heard):
        """Some."""

    assert {feature.name: feature.action for feature in family.features} == {"meetings": True, "calls": False}


def test_the_tables_of_our_actions():
    """Plays, contacts, surveys sent and followed up, goals agreed on: all that a manager logs of what they do."""
    logged = {name for name, table in TABLES.items() if table.logs_actions}
    assert logged == {"interventions", "touchpoints", "surveys", "value_goals"}
    assert {feature.family for feature in FEATURES if feature.action} == {
        *("care", "contact", "stakeholders", "sentiment", "value"),
    }


def test_what_no_action_of_ours_can_move_is_known_by_its_reading():
    """The features of contact, surveys and goals that stay evidence."""
    kept = {f.compute.__name__ for f in FEATURES if f.family in ("contact", "sentiment", "value") and not f.action}
    assert kept == {
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
    table = family_table(FAMILIES["advocacy"], known("accounts", "contracts", "usage_events"))
    assert table.columns == ("account_id", "as_of")


def test_meanings_are_plain_values():
    (first, *_) = feature_metadata(FAMILIES["usage"].features)
    assert first["name"] == "active_people_7d"
    assert first["function"] == "active_people"
    assert first["params"] == {"days": 7}
    assert first["theme"] == "adoption"
    assert set(first) >= {"family", "theme", "meaning", "unit", "risk", "actionable", "kind", "en", "zh", "empty"}
