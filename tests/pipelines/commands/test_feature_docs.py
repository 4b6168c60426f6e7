"""The printed catalogue is the code's own."""

import pytest

from renewals.features.registry import FAMILIES
from renewals.pipelines.commands.feature_docs import PAGE_PATH, RULES, feature_rules, features_page
from tests.root import ROOT


def test_the_page_is_not_stale():
    printed = (ROOT / PAGE_PATH).read_text(encoding="utf-8")
    assert printed == features_page(), "run `python -m renewals.pipelines.commands.feature_docs`"


def test_a_feature_names_only_rules_that_there_are():
    cited = {rule for family in FAMILIES.values() for feature in family.features for rule in feature_rules(feature)}
    assert cited <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_feature(rule):
    assert any(rule in feature_rules(feature) for family in FAMILIES.values() for feature in family.features)
