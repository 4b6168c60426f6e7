"""Tests of the features that a model uses: all of the catalogue except actions that our staff log (domain M5)."""

import pytest

from renewals.models.training.schema import Schema
from tests.models.drawn import CATALOGUE, training_table

LOGGED = [{**feature, "action": feature["name"] in ("tickets", "plan")} for feature in CATALOGUE]


def test_logged_actions_are_not_in_the_schema():
    schema = Schema.from_catalogue(LOGGED, training_table(accounts=5), "renewal", monotone=True)
    assert schema.names == ("use", "noise", "days_to_renewal")
    assert schema.categories == {}
    assert len(schema.signs) == len(schema.category_counts) == 3


def test_logged_actions_are_in_the_schema_on_request():
    rows = training_table(accounts=5)
    assert Schema.from_catalogue(LOGGED, rows, "renewal", True, actions=True) == Schema.from_catalogue(
        CATALOGUE, rows, "renewal", True
    )


def test_table_without_logged_actions_is_accepted():
    """A company that logs no actions does not have these columns."""
    rows = training_table(accounts=5).drop(columns=["tickets", "plan"])
    assert Schema.from_catalogue(LOGGED, rows, "renewal", monotone=True).names == ("use", "noise", "days_to_renewal")


def test_catalogue_of_logged_actions_only_is_refused():
    with pytest.raises(ValueError, match="no features available for training"):
        Schema.from_catalogue(
            [feature for feature in LOGGED if feature["action"]], training_table(accounts=5), "renewal", True
        )
