"""Tests that every engine computes the same features as DuckDB, and thus as the oracle."""

from __future__ import annotations

import pytest

from renewals.features.registry import FAMILIES
from renewals.pipelines.storage.engine import spark
from tests.engines.warehouse_engine import WarehouseEngine, compare_answers
from tests.engines.warehouses import InPostgres, InSpark
from tests.properties.accounts import DATES, POLICY


@pytest.fixture
def assert_equal_features(world, expected, record_property):
    """Function that asserts that a warehouse computes DuckDB's features; the number compared is printed at the end."""

    def compare(name, warehouse):
        comparison = compare_answers(name, expected, WarehouseEngine(warehouse, world, DATES, POLICY).results())
        record_property("engine", str(comparison))
        assert comparison.differences == {}

    return compare


def test_sail_features_equal_duckdb(sail, assert_equal_features, tmp_path):
    assert_equal_features("Spark Connect (Sail)", InSpark(spark.connect(sail), tmp_path))


@pytest.mark.spark
def test_spark_features_equal_duckdb(spark_connect, assert_equal_features, tmp_path):
    assert_equal_features("Spark", InSpark(spark.connect(spark_connect), tmp_path))


@pytest.mark.postgres
def test_postgres_features_equal_duckdb(postgres, assert_equal_features):
    assert_equal_features("PostgreSQL", InPostgres(postgres))


def test_difference_names_feature_account_and_day(expected):
    """A slightly changed value is one difference; a missing observation is one difference per column of the family."""
    changed = next(key for key, row in expected["tickets"].items() if row["first_response_hours_365d"])
    expected_row = expected["tickets"][changed]
    changed_row = expected_row | {"first_response_hours_365d": expected_row["first_response_hours_365d"] * (1 + 1e-8)}
    one_changed = compare_answers(
        "another", expected, expected | {"tickets": expected["tickets"] | {changed: changed_row}}
    )
    assert list(one_changed.differences) == ["tickets.first_response_hours_365d"]
    assert f"of {changed[2]} on {changed[1]}" in one_changed.differences["tickets.first_response_hours_365d"]
    remaining = {key: row for key, row in expected["advocacy"].items() if key != changed}
    one_missing = compare_answers("another", expected, expected | {"advocacy": remaining})
    assert {name.partition(".")[0] for name in one_missing.differences} == {"advocacy"}
    assert len(one_missing.differences) == len(expected_row.keys() & {"account_id", "as_of", "renewal_id"}) + len(
        FAMILIES["advocacy"].features
    )
