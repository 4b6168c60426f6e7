"""The same features on every engine: what another engine says is what DuckDB says, and that is what the oracle says."""

from __future__ import annotations

import pytest

from renewals.features.registry import FAMILIES
from renewals.pipelines.storage.engine import spark
from tests.engines.elsewhere import Elsewhere, compared
from tests.engines.warehouses import InPostgres, InSpark
from tests.properties.accounts import DATES, POLICY


@pytest.fixture
def same(world, expected, record_property):
    """`same("name", warehouse)`: no feature differs there; how many were compared is printed at the end."""

    def compare(name, warehouse):
        comparison = compared(name, expected, Elsewhere(warehouse, world, DATES, POLICY).found())
        record_property("engine", str(comparison))
        assert comparison.unlike == {}

    return compare


def test_sail_says_what_duckdb_says(sail, same, tmp_path):
    same("Spark Connect (Sail)", InSpark(spark.connect(sail), tmp_path))


@pytest.mark.spark
def test_spark_says_what_duckdb_says(spark_connect, same, tmp_path):
    same("Spark", InSpark(spark.connect(spark_connect), tmp_path))


@pytest.mark.postgres
def test_postgres_says_what_duckdb_says(postgres, same):
    same("PostgreSQL", InPostgres(postgres))


def test_a_difference_is_told_by_feature_account_and_day(expected):
    """One value a little off, and one observation lost: the first is one feature, the second all of a family's."""
    account, as_of = next(key for key, row in expected["tickets"].items() if row["first_response_hours_365d"])
    right = expected["tickets"][account, as_of]
    off = right | {"first_response_hours_365d": right["first_response_hours_365d"] * (1 + 1e-8)}
    wrong = compared("another", expected, expected | {"tickets": expected["tickets"] | {(account, as_of): off}})
    assert list(wrong.unlike) == ["tickets.first_response_hours_365d"]
    assert f"of {account} on {as_of}" in wrong.unlike["tickets.first_response_hours_365d"]
    lost = {key: row for key, row in expected["advocacy"].items() if key != (account, as_of)}
    fewer = compared("another", expected, expected | {"advocacy": lost})
    assert {name.partition(".")[0] for name in fewer.unlike} == {"advocacy"}
    assert len(fewer.unlike) == len(right.keys() & {"account_id", "as_of"}) + len(FAMILIES["advocacy"].features)
