"""The tables say what LightGBM says: of random boosters, on rows with all that a number may be."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.kernels import jit, treeshap
from renewals.models.kernels.treeshap import TreeShap

FEATURES, WORDS = 7, 4
ODD = [
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


def drawn(rng, rows: int) -> np.ndarray:
    """Numbers fine and coarse, much of it nought or unknown; a category; a column that never changes."""
    values = rng.normal(size=(rows, FEATURES))
    values[:, 1] = values[:, 1].round(1)
    values[:, 2] = rng.poisson(0.7, rows)
    values[:, 3] = values[:, 3] * (rng.random(rows) < 0.3)
    values[:, WORDS] = rng.integers(0, 40, rows)
    values[rng.random(values.shape) < 0.15] = np.nan
    values[:, 5], values[:, 6] = 3.0, np.nan_to_num(values[:, 6])
    return values


def odd(rng, rows: int) -> np.ndarray:
    """Ordinary rows, a third of their figures replaced by odd ones."""
    values = drawn(rng, rows)
    return np.where(rng.random(values.shape) < 0.33, rng.choice(ODD, values.shape), values)


def grown(seed: int, rounds: int = 6, **asked) -> lgb.Booster:
    rng = np.random.default_rng(seed)
    values = drawn(rng, 400)
    pull = np.nan_to_num(values[:, 0] * values[:, 1] + values[:, 3]) + (values[:, WORDS] % 3 == 1)
    truth = (pull + rng.normal(size=400) > 0.5).astype(int)
    fixed = {"objective": "binary", "seed": seed, "bagging_freq": 1, "num_threads": 1, "verbosity": -1}
    fixed |= {"min_data_per_group": 5, "cat_smooth": 1.0}
    return lgb.train(fixed | asked, lgb.Dataset(values, truth, categorical_feature=[WORDS]), rounds)


def compared(booster: lgb.Booster, values: np.ndarray) -> None:
    """Contributions within 1e-9 of LightGBM's, margins to the last bit, and the one the sum of the other."""
    tables, theirs = TreeShap.of(booster), booster.predict(values, pred_contrib=True, num_threads=1)
    ours, margin = tables.contributions(values), tables.margin(values)
    assert np.abs(ours - theirs[:, :-1]).max() < 1e-9
    assert abs(tables.base - theirs[0, -1]) < 1e-9
    assert np.array_equal(margin, booster.predict(values, raw_score=True, num_threads=1))
    assert np.abs(tables.base + ours.sum(axis=1) - margin).max() < 1e-9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), asked=BOOSTERS)
def test_random_boosters_on_odd_rows(seed, asked):
    compared(grown(seed, **asked), odd(np.random.default_rng(seed), 300))


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_what_is_too_deep_for_a_table_is_worked_out(monkeypatch, bits):
    monkeypatch.setattr(treeshap, "MAX_BITS", bits)
    booster = grown(5, num_leaves=40, min_data_in_leaf=2)
    tables = TreeShap.of(booster)
    assert (np.diff(tables.pieces.first_output) == 0).any(), "nothing was too deep"
    compared(booster, odd(np.random.default_rng(6), 300))


def test_a_tree_of_depth_three_is_one_table():
    tables = TreeShap.of(grown(1, rounds=9, max_depth=3, num_leaves=8))
    assert len(tables.pieces.first_cell) - 1 == 9


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_stand_alone_whatever_the_blocks_and_threads(monkeypatch, threads):
    tables, values = TreeShap.of(grown(2, num_leaves=31)), odd(np.random.default_rng(3), 700)
    whole = tables.contributions(values), tables.margin(values)
    monkeypatch.setattr(jit, "ROWS_PER_TASK", 37)
    assert np.array_equal(tables.contributions(values, threads), whole[0])
    assert np.array_equal(tables.margin(values, threads), whole[1])
    assert np.array_equal(tables.contributions(values[600:]), whole[0][600:])


def test_several_boosters_are_added_up():
    one, other = grown(1), grown(2, zero_as_missing=True)
    values = odd(np.random.default_rng(4), 100)
    both, parts = TreeShap.of(one, other), (TreeShap.of(one), TreeShap.of(other))
    apart = sum(part.contributions(values) for part in parts)
    assert np.abs(both.contributions(values) - apart).max() < 1e-12
    assert both.base == pytest.approx(sum(part.base for part in parts))


def test_trees_without_a_split_and_no_rows():
    rows = lgb.Dataset(np.ones((50, 2)), np.ones(50))
    booster = lgb.train({"objective": "regression", "verbosity": -1, "num_threads": 1}, rows, 3)
    tables = TreeShap.of(booster)
    assert tables.base == pytest.approx(1.0)
    assert not tables.contributions(np.ones((4, 2))).any()
    assert np.array_equal(tables.margin(np.ones((4, 2))), booster.predict(np.ones((4, 2)), raw_score=True))
    assert tables.contributions(np.ones((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"objective": "regression", "linear_tree": True}, "linear"),
        ({"boosting": "rf", "bagging_fraction": 0.5}, "mean of its trees"),
        ({"objective": "multiclass", "num_class": 2}, "2 outcomes"),
    ],
)
def test_what_is_not_a_sum_of_constant_leaves_is_refused(asked, words):
    with pytest.raises(ValueError, match=words):
        TreeShap.of(grown(1, **asked))


def test_another_number_of_columns_is_refused():
    with pytest.raises(ValueError, match="3 columns for a booster of 7"):
        TreeShap.of(grown(1)).contributions(np.ones((1, 3)))
