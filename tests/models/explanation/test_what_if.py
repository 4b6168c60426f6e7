"""What is tried of a figure, and how far its other windows move along."""

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


def rising(*figures):
    return np.sort(np.array(figures, float))


def test_kin_are_the_other_windows_of_the_same_figure_that_the_model_reads():
    assert sibling_windows(WINDOWS[0], CATALOGUE, ["people_28d", "people_90d", "people_a_28d"]) == ["people_90d"]
    assert sibling_windows(OF_A[1], CATALOGUE, [own["name"] for own in CATALOGUE]) == ["people_a_28d"]
    assert sibling_windows(SEATS, CATALOGUE, ["seats"]) == []


def test_what_can_be_tried_is_a_number_that_a_manager_moves_and_the_model_reads():
    names = ["plan", "seats", "people_90d", "nobody", "people_28d"]
    assert [own["name"] for own in what_if_features(names, CATALOGUE, ["plan", "seats", "people_28d"])] == [
        "people_28d"
    ]


def test_steps_are_figures_of_peers_as_the_sentence_rounds_them_within_what_training_showed():
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
    assert grid_values(WINDOWS[0], rising(0, 0, 0, 0, 1), (0, 9)) == [0, 1], "each once"
    assert grid_values(WINDOWS[0], rising(), (0, 9)) == []


def test_a_standing_counts_those_level_half():
    assert percentile_rank(np.array([0.0, 1.0, 1.5, 9.0]), rising(0, 1, 1, 2)).tolist() == [0.125, 0.5, 0.75, 1.0]
    assert np.isnan(percentile_rank(np.array([NAN]), rising(1))).all()
    assert np.isnan(percentile_rank(np.array([1.0]), rising())).all()


def test_another_window_climbs_as_many_ranks():
    short, long = FeatureWindow(np.array([2.0]), np.arange(11.0)), FeatureWindow(np.array([20.0]), 10 * np.arange(11.0))
    assert shift_by_rank(np.array([5.0]), short, long).tolist() == [50]
    assert shift_by_rank(np.array([0.0]), short, long).tolist() == [0]
    beyond = FeatureWindow(np.array([95.0]), long.peer_values)
    assert shift_by_rank(np.array([2.0]), short, beyond).tolist() == [95], "what does not move moves nothing"


@pytest.mark.parametrize(("wished", "is_sign"), [(9.0, 1), (0.0, -1)])
def test_it_never_moves_the_other_way(wished, is_sign):
    rng = np.random.default_rng(5)
    own = FeatureWindow(rng.poisson(2, 200).astype(float), np.sort(rng.poisson(2, 50).astype(float)))
    other = FeatureWindow(rng.normal(5, 3, 200), np.sort(rng.normal(5, 3, 30)))
    there = shift_by_rank(np.full(200, wished), own, other)
    climbed = np.sign(
        percentile_rank(np.full(200, wished), own.peer_values) - percentile_rank(own.values, own.peer_values)
    )
    assert (is_sign * climbed >= 0).all()
    assert (is_sign * (there - other.values) >= 0).all()
    assert (there != other.values).mean() > 0.5
    assert np.isin(there[there != other.values], other.peer_values).all(), "figures that somebody has"


def test_where_either_is_not_known_nothing_moves_along():
    window, other = (
        FeatureWindow(np.array([NAN, 1.0]), rising(0, 1, 2)),
        FeatureWindow(np.array([1.0, NAN]), rising(0, 1, 2)),
    )
    there = shift_by_rank(np.array([2.0, 2.0]), window, other)
    assert there[0] == 1
    assert np.isnan(there[1])
    assert shift_by_rank(
        np.array([2.0]), FeatureWindow(np.array([1.0]), rising(0, 1, 2)), FeatureWindow(np.array([7.0]), rising())
    ) == [7]


def test_the_columns_of_a_figure_once_one_of_its_windows_is_as_wished():
    windows = {name: FeatureWindow(np.array([1.0]), rising(0, 1, 2)) for name in ("people_28d", "people_90d")}
    there = shift_windows("people_28d", np.array([2.0]), windows)
    assert {name: own.tolist() for name, own in there.items()} == {"people_28d": [2], "people_90d": [2]}
