"""The linear part: lines that stand still beyond what was seen, weigh in proportion, and keep their sign."""

import numpy as np
import pytest
from scipy.special import expit

from renewals.models.settings import LinearSettings
from renewals.models.training.additive import (
    AdditiveFitter,
    AdditiveModel,
    CategoryEffects,
    NearTermEffects,
    PiecewiseLinear,
    near_term_proximity,
)

ROWS = 1200


@pytest.fixture(scope="module")
def drawn():
    """Columns: use (counts), a category of three, days to the renewal; the truth hangs on use and on the category."""
    rng = np.random.default_rng(3)
    use, plan, days = (
        rng.poisson(4, ROWS).astype(float),
        rng.integers(0, 3, ROWS).astype(float),
        rng.uniform(1, 365, ROWS),
    )
    use[rng.random(ROWS) < 0.1] = np.nan
    margin = np.nan_to_num(use - 4, nan=-2.0) * 0.5 + (plan == 2)
    truth = (rng.random(ROWS) < expit(margin)).astype(np.int8)
    return np.column_stack([use, plan, days]), truth


def fit(drawn, signs=(0, 0, 0), strength=1.0, **options) -> AdditiveModel:
    values, truth = drawn
    return AdditiveFitter(values, np.ones(ROWS), [None, 3, None], signs, 2, LinearSettings(**options)).fit(
        truth, strength
    )


def heights(part, values):
    """What a part adds at each value."""
    return AdditiveModel(0.0, (part,), None).contributions(values[:, None])[:, 0]


def test_a_line_is_straight_between_its_knots_and_flat_beyond():
    line = PiecewiseLinear((0.0, 2.0), (-1.0, 1.0), missing=0.5)
    assert list(heights(line, np.array([-9.0, 0.0, 1.0, 2.0, 9.0, np.nan]))) == [-1.0, -1.0, 0.0, 1.0, 1.0, 0.5]


def test_a_category_has_its_step_and_an_unknown_one_that_of_the_missing():
    steps = CategoryEffects((0.3, -0.3), missing=0.1)
    assert list(heights(steps, np.array([1.0, 0.0, np.nan]))) == [-0.3, 0.3, 0.1]


def test_nearness_rises_to_one_on_the_day_and_is_nothing_before():
    assert list(near_term_proximity(np.array([90.0, 60.0, 30.0, 0.0, np.nan]), 60)) == [0.0, 0.0, 0.5, 1.0, 0.0]


def test_the_second_line_counts_in_proportion_to_nearness():
    flat = PiecewiseLinear((0.0,), (0.0,), 0.0)
    model = AdditiveModel(
        0.2, (CategoryEffects((1.0,), 0.0), flat), NearTermEffects(1, 60.0, (CategoryEffects((2.0,), 0.0), flat))
    )
    assert list(model.margin(np.array([[0.0, 90.0], [0.0, 30.0], [0.0, 0.0]]))) == pytest.approx([1.2, 2.2, 3.2])


def test_it_finds_what_was_drawn(drawn):
    model = fit(drawn)
    use, plan, _ = model.effects
    assert np.all(np.diff(heights(use, np.array([1.0, 4.0, 8.0]))) > 0.5)
    assert heights(use, np.array([np.nan]))[0] < heights(use, np.array([4.0]))[0]
    assert heights(plan, np.array([2.0]))[0] - heights(plan, np.array([0.0]))[0] == pytest.approx(1.0, abs=0.5)


def test_contributions_are_centred_on_the_training_rows(drawn):
    model = fit(drawn, near_term_days=0)
    assert np.abs(model.contributions(drawn[0]).mean(axis=0)).max() < 1e-6


def test_a_declared_sign_is_kept_against_the_rows(drawn):
    model = fit(drawn, signs=(-1, 0, 0))
    seen = np.arange(0.0, 12.0)
    assert np.all(np.diff(heights(model.effects[0], seen)) <= 1e-9)
    assert np.all(np.diff(heights(model.near_term.effects[0], seen)) <= 1e-9)


def test_a_strong_ridge_says_little(drawn):
    weak, strong = fit(drawn, strength=1.0), fit(drawn, strength=1e-4)
    assert np.abs(strong.contributions(drawn[0])).max() < 0.2 < np.abs(weak.contributions(drawn[0])).max()


def test_a_column_that_never_changes_or_is_never_known_adds_nothing(drawn):
    values, truth = drawn
    still = np.column_stack([values, np.ones(ROWS), np.full(ROWS, np.nan)])
    model = AdditiveFitter(still, np.ones(ROWS), [None, 3, None, None, None], (0,) * 5, 2, LinearSettings()).fit(
        truth, 1.0
    )
    assert not model.contributions(still)[:, 3:].any()


def test_it_comes_back_from_json(drawn):
    model, names = fit(drawn), ["use", "plan", "days_to_renewal"]
    assert AdditiveModel.from_json(model.to_json(names), names) == model
    with pytest.raises(ValueError, match="has no effect for tickets"):
        AdditiveModel.from_json(model.to_json(names), [*names, "tickets"])
