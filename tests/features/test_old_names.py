"""The table of renamed feature columns."""

from renewals.features.old_names import RENAMED_FEATURES, old_feature_names
from renewals.features.registry import FAMILIES
from tests.root import ROOT

NAMES = {feature.name for family in FAMILIES.values() for feature in family.features}


def test_the_committed_table_equals_that_of_the_code():
    lines = (ROOT / "docs" / "renames" / "features.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    assert {old: new for old, new, _reason in rows} == RENAMED_FEATURES
    assert len(rows) == len(RENAMED_FEATURES)


def test_every_new_name_is_a_feature_and_no_old_one_is():
    assert set(RENAMED_FEATURES.values()) <= NAMES
    assert not set(RENAMED_FEATURES) & NAMES
    assert len(set(RENAMED_FEATURES.values())) == len(RENAMED_FEATURES)


def test_old_names_are_listed_in_their_order():
    assert old_feature_names(["seats", "unpaid", "departures_felt_s", "arr"]) == ["unpaid", "departures_felt_s"]
