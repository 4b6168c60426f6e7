"""The printed feature catalogue equals the one of the code."""

import pytest

from renewals.features.registry import FAMILIES
from renewals.pipelines.commands.feature_docs import PAGE_PATH, RULES, feature_rules, features_page
from tests.root import ROOT


def test_the_page_is_up_to_date():
    printed = (ROOT / PAGE_PATH).read_text(encoding="utf-8")
    assert printed == features_page(), "run `python -m renewals.pipelines.commands.feature_docs`"


def test_features_cite_only_existing_rules():
    cited = {rule for family in FAMILIES.values() for feature in family.features for rule in feature_rules(feature)}
    assert cited <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_feature_cites_every_rule(rule):
    assert any(rule in feature_rules(feature) for family in FAMILIES.values() for feature in family.features)
