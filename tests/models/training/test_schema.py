"""What a model may read: of a catalogue everything but the actions that our people log (domain M5)."""

import pytest

from renewals.models.training.schema import Schema
from tests.models.drawn import CATALOGUE, training_table

LOGGED = [{**feature, "action": feature["name"] in ("tickets", "plan")} for feature in CATALOGUE]


def test_a_logged_action_is_no_part_of_a_schema():
    schema = Schema.from_catalogue(LOGGED, training_table(accounts=5), "renewal", monotone=True)
    assert schema.names == ("use", "noise", "days_to_renewal")
    assert schema.categories == {}
    assert len(schema.signs) == len(schema.category_counts) == 3


def test_it_is_where_it_is_asked_for():
    rows = training_table(accounts=5)
    assert Schema.from_catalogue(LOGGED, rows, "renewal", True, actions=True) == Schema.from_catalogue(
        CATALOGUE, rows, "renewal", True
    )


def test_a_table_without_its_columns_is_enough():
    """A company that logs nothing has no such columns."""
    rows = training_table(accounts=5).drop(columns=["tickets", "plan"])
    assert Schema.from_catalogue(LOGGED, rows, "renewal", monotone=True).names == ("use", "noise", "days_to_renewal")


def test_actions_alone_are_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no features available for training"):
        Schema.from_catalogue(
            [feature for feature in LOGGED if feature["action"]], training_table(accounts=5), "renewal", True
        )
