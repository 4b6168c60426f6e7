"""The printed feature catalogue equals the one of the code."""

import pytest

from renewals.features.registry import FAMILIES
from tests.docs_pages import load_page

PAGE = load_page("features")
RULES, feature_rules = PAGE.RULES, PAGE.feature_rules


def test_the_page_is_up_to_date():
    assert PAGE.PAGE_PATH.read_text(encoding="utf-8") == PAGE.features_page(), "run `make docs`"


def test_features_cite_only_existing_rules():
    cited = {rule for family in FAMILIES.values() for feature in family.features for rule in feature_rules(feature)}
    assert cited <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_feature_cites_every_rule(rule):
    assert any(rule in feature_rules(feature) for family in FAMILIES.values() for feature in family.features)
