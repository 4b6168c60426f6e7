"""Grid of what-if values of a feature, and the shift of its sibling windows."""

import numpy as np
import pytest

from renewals.models.explanation.what_if import (
    FeatureWindow,
    grid_values,
    percentile_rank,
    shift_by_rank,
    shift_windows,
    sibling_windows,
    what_if_features,
)

NAN = float("nan")
PEOPLE = {"family": "usage", "function": "people", "kind": "number", "actionable": True, "en": "{value:.0f} people"}
SEATS = {**PEOPLE, "name": "seats", "function": "seats", "params": {}, "actionable": False}
PLAN = {**PEOPLE, "name": "plan", "function": "plan", "params": {}, "kind": "category"}
WINDOWS = [{**PEOPLE, "name": f"people_{days}d", "params": {"days": days}} for days in (28, 90, 365)]
OF_A = [{**PEOPLE, "name": f"people_a_{days}d", "params": {"days": days, "tier": "A"}} for days in (28, 90)]
CATALOGUE = [*WINDOWS, *OF_A, SEATS, PLAN]


def sorted_array(*values):
    return np.sort(np.array(values, float))


def test_sibling_windows_are_further_windows_of_a_feature_in_the_model():
    assert sibling_windows(WINDOWS[0], CATALOGUE, ["people_28d", "people_90d", "people_a_28d"]) == ["people_90d"]
    assert sibling_windows(OF_A[1], CATALOGUE, [feature["name"] for feature in CATALOGUE]) == ["people_a_28d"]
    assert sibling_windows(SEATS, CATALOGUE, ["seats"]) == []


def test_what_if_features_are_actionable_numbers_that_the_model_reads():
    names = ["plan", "seats", "people_90d", "nobody", "people_28d"]
    assert [feature["name"] for feature in what_if_features(names, CATALOGUE, ["plan", "seats", "people_28d"])] == [
        "people_28d"
    ]


def test_grid_has_rounded_peer_values_within_the_training_range():
    peers = np.arange(101.0) / 10
    assert grid_values(WINDOWS[0], peers, (-np.inf, np.inf)) == [1, 2, 5, 8, 9]
    assert grid_values(WINDOWS[0], peers, (2, 8.5)) == [2, 5, 8]
    assert grid_values({**WINDOWS[0], "en": "{value:.0%}"}, np.arange(101.0) / 100, (0, 1)) == [
        0.1,
        0.25,
        0.5,
        0.75,
        0.9,
    ]
    assert grid_values(WINDOWS[0], sorted_array(0, 0, 0, 0, 1), (0, 9)) == [0, 1], "no duplicates"
    assert grid_values(WINDOWS[0], sorted_array(), (0, 9)) == []


def test_percentile_rank_counts_ties_half():
    assert percentile_rank(np.array([0.0, 1.0, 1.5, 9.0]), sorted_array(0, 1, 1, 2)).tolist() == [0.125, 0.5, 0.75, 1.0]
    assert np.isnan(percentile_rank(np.array([NAN]), sorted_array(1))).all()
    assert np.isnan(percentile_rank(np.array([1.0]), sorted_array())).all()


def test_sibling_window_moves_by_the_same_number_of_ranks():
    short, long = FeatureWindow(np.array([2.0]), np.arange(11.0)), FeatureWindow(np.array([20.0]), 10 * np.arange(11.0))
    assert shift_by_rank(np.array([5.0]), short, long).tolist() == [50]
    assert shift_by_rank(np.array([0.0]), short, long).tolist() == [0]
    beyond = FeatureWindow(np.array([95.0]), long.peer_values)
    assert shift_by_rank(np.array([2.0]), short, beyond).tolist() == [95], "a feature that stays moves no sibling"


@pytest.mark.parametrize(("target", "sign"), [(9.0, 1), (0.0, -1)])
def test_sibling_window_never_moves_in_the_opposite_direction(target, sign):
    rng = np.random.default_rng(5)
    window = FeatureWindow(rng.poisson(2, 200).astype(float), np.sort(rng.poisson(2, 50).astype(float)))
    sibling = FeatureWindow(rng.normal(5, 3, 200), np.sort(rng.normal(5, 3, 30)))
    shifted = shift_by_rank(np.full(200, target), window, sibling)
    direction = np.sign(
        percentile_rank(np.full(200, target), window.peer_values) - percentile_rank(window.values, window.peer_values)
    )
    assert (sign * direction >= 0).all()
    assert (sign * (shifted - sibling.values) >= 0).all()
    assert (shifted != sibling.values).mean() > 0.5
    assert np.isin(shifted[shifted != sibling.values], sibling.peer_values).all(), "values that some peer has"


def test_sibling_stays_if_either_value_is_unknown():
    window, sibling = (
        FeatureWindow(np.array([NAN, 1.0]), sorted_array(0, 1, 2)),
        FeatureWindow(np.array([1.0, NAN]), sorted_array(0, 1, 2)),
    )
    shifted = shift_by_rank(np.array([2.0, 2.0]), window, sibling)
    assert shifted[0] == 1
    assert np.isnan(shifted[1])
    assert shift_by_rank(
        np.array([2.0]),
        FeatureWindow(np.array([1.0]), sorted_array(0, 1, 2)),
        FeatureWindow(np.array([7.0]), sorted_array()),
    ) == [7]


def test_shift_windows_returns_all_windows_of_a_feature():
    windows = {name: FeatureWindow(np.array([1.0]), sorted_array(0, 1, 2)) for name in ("people_28d", "people_90d")}
    shifted = shift_windows("people_28d", np.array([2.0]), windows)
    assert {name: values.tolist() for name, values in shifted.items()} == {"people_28d": [2], "people_90d": [2]}
