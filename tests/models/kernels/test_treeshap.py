"""Tests of TreeSHAP by tables: equal to LightGBM for random boosters, on rows with all kinds of float values."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.kernels import jit, treeshap
from renewals.models.kernels.treeshap import TreeShap

FEATURES, CATEGORY = 7, 4
EDGE_VALUES = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1e-36,
    -1e-36,
    1e-35,
    treeshap.ZERO_THRESHOLD,
    -treeshap.ZERO_THRESHOLD,
    1e300,
    -1.0,
    -0.5,
    2.7,
]
BOOSTERS = st.fixed_dictionaries(
    {
        "max_depth": st.sampled_from([-1, 1, 2, 3, 4, 6, 12]),
        "num_leaves": st.sampled_from([2, 5, 8, 31, 90]),
        "min_data_in_leaf": st.sampled_from([1, 5, 40]),
        "zero_as_missing": st.booleans(),
        "use_missing": st.booleans(),
        "extra_trees": st.booleans(),
        "max_bin": st.sampled_from([4, 255]),
        "bagging_fraction": st.sampled_from([0.5, 1.0]),
        "boosting": st.sampled_from(["gbdt", "dart"]),
        "monotone_constraints": st.sampled_from([None, [1, -1, 0, 0, 0, 0, 0]]),
    }
)


def typical_rows(rng, rows: int) -> np.ndarray:
    """Rows with fine and coarse numbers, many zero or missing, one category and one constant column."""
    values = rng.normal(size=(rows, FEATURES))
    values[:, 1] = values[:, 1].round(1)
    values[:, 2] = rng.poisson(0.7, rows)
    values[:, 3] = values[:, 3] * (rng.random(rows) < 0.3)
    values[:, CATEGORY] = rng.integers(0, 40, rows)
    values[rng.random(values.shape) < 0.15] = np.nan
    values[:, 5], values[:, 6] = 3.0, np.nan_to_num(values[:, 6])
    return values


def edge_case_rows(rng, rows: int) -> np.ndarray:
    """Typical rows with a third of the values replaced by edge values."""
    values = typical_rows(rng, rows)
    return np.where(rng.random(values.shape) < 0.33, rng.choice(EDGE_VALUES, values.shape), values)


def train_booster(seed: int, rounds: int = 6, **parameters) -> lgb.Booster:
    rng = np.random.default_rng(seed)
    values = typical_rows(rng, 400)
    signal = np.nan_to_num(values[:, 0] * values[:, 1] + values[:, 3]) + (values[:, CATEGORY] % 3 == 1)
    truth = (signal + rng.normal(size=400) > 0.5).astype(int)
    fixed = {"objective": "binary", "seed": seed, "bagging_freq": 1, "num_threads": 1, "verbosity": -1}
    fixed |= {"min_data_per_group": 5, "cat_smooth": 1.0}
    return lgb.train(fixed | parameters, lgb.Dataset(values, truth, categorical_feature=[CATEGORY]), rounds)


def assert_equals_lightgbm(booster: lgb.Booster, values: np.ndarray) -> None:
    """Assert contributions within 1e-9 of LightGBM's, bit-identical margins, and contributions that add up to them."""
    tables, expected = TreeShap.of(booster), booster.predict(values, pred_contrib=True, num_threads=1)
    contributions, margin = tables.contributions(values), tables.margin(values)
    assert np.abs(contributions - expected[:, :-1]).max() < 1e-9
    assert abs(tables.base - expected[0, -1]) < 1e-9
    assert np.array_equal(margin, booster.predict(values, raw_score=True, num_threads=1))
    assert np.abs(tables.base + contributions.sum(axis=1) - margin).max() < 1e-9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), parameters=BOOSTERS)
def test_random_boosters_on_edge_case_rows(seed, parameters):
    assert_equals_lightgbm(train_booster(seed, **parameters), edge_case_rows(np.random.default_rng(seed), 300))


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_subtrees_too_deep_for_a_table_are_computed_directly(monkeypatch, bits):
    monkeypatch.setattr(treeshap, "MAX_BITS", bits)
    booster = train_booster(5, num_leaves=40, min_data_in_leaf=2)
    tables = TreeShap.of(booster)
    assert (np.diff(tables.pieces.first_output) == 0).any(), "no subtree was too deep"
    assert_equals_lightgbm(booster, edge_case_rows(np.random.default_rng(6), 300))


def test_tree_of_depth_three_is_one_table():
    tables = TreeShap.of(train_booster(1, rounds=9, max_depth=3, num_leaves=8))
    assert len(tables.pieces.first_cell) - 1 == 9


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_result_of_a_row_does_not_depend_on_blocks_and_threads(monkeypatch, threads):
    tables, values = TreeShap.of(train_booster(2, num_leaves=31)), edge_case_rows(np.random.default_rng(3), 700)
    expected = tables.contributions(values), tables.margin(values)
    monkeypatch.setattr(jit, "ROWS_PER_TASK", 37)
    assert np.array_equal(tables.contributions(values, threads), expected[0])
    assert np.array_equal(tables.margin(values, threads), expected[1])
    assert np.array_equal(tables.contributions(values[600:]), expected[0][600:])


def test_contributions_of_several_boosters_add_up():
    first, second = train_booster(1), train_booster(2, zero_as_missing=True)
    values = edge_case_rows(np.random.default_rng(4), 100)
    both, parts = TreeShap.of(first, second), (TreeShap.of(first), TreeShap.of(second))
    summed = sum(part.contributions(values) for part in parts)
    assert np.abs(both.contributions(values) - summed).max() < 1e-12
    assert both.base == pytest.approx(sum(part.base for part in parts))


def test_trees_without_a_split_and_tables_without_rows():
    rows = lgb.Dataset(np.ones((50, 2)), np.ones(50))
    booster = lgb.train({"objective": "regression", "verbosity": -1, "num_threads": 1}, rows, 3)
    tables = TreeShap.of(booster)
    assert tables.base == pytest.approx(1.0)
    assert not tables.contributions(np.ones((4, 2))).any()
    assert np.array_equal(tables.margin(np.ones((4, 2))), booster.predict(np.ones((4, 2)), raw_score=True))
    assert tables.contributions(np.ones((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "regression", "linear_tree": True}, "linear"),
        ({"boosting": "rf", "bagging_fraction": 0.5}, "mean of its trees"),
        ({"objective": "multiclass", "num_class": 2}, "2 outcomes"),
    ],
)
def test_booster_that_is_not_a_sum_of_constant_leaves_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        TreeShap.of(train_booster(1, **parameters))


def test_wrong_number_of_columns_is_refused():
    with pytest.raises(ValueError, match="3 columns for a booster of 7"):
        TreeShap.of(train_booster(1)).contributions(np.ones((1, 3)))
