"""Tests of the additive model: shape of the effects, near-term weighting, declared signs and JSON."""

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
def training_data():
    """Values (use, plan, days to renewal) and labels; the labels depend on use (counts) and plan (three categories)."""
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


def fit(training_data, signs=(0, 0, 0), strength=1.0, **options) -> AdditiveModel:
    values, truth = training_data
    return AdditiveFitter(values, np.ones(ROWS), [None, 3, None], signs, 2, LinearSettings(**options)).fit(
        truth, strength
    )


def effect_at(effect, values):
    """Contribution of one effect at each value."""
    return AdditiveModel(0.0, (effect,), None).contributions(values[:, None])[:, 0]


def test_effect_is_linear_between_knots_and_constant_outside():
    effect = PiecewiseLinear((0.0, 2.0), (-1.0, 1.0), missing=0.5)
    assert list(effect_at(effect, np.array([-9.0, 0.0, 1.0, 2.0, 9.0, np.nan]))) == [-1.0, -1.0, 0.0, 1.0, 1.0, 0.5]


def test_missing_category_has_the_missing_effect():
    effects = CategoryEffects((0.3, -0.3), missing=0.1)
    assert list(effect_at(effects, np.array([1.0, 0.0, np.nan]))) == [-0.3, 0.3, 0.1]


def test_proximity_rises_from_zero_to_one_on_the_renewal_day():
    assert list(near_term_proximity(np.array([90.0, 60.0, 30.0, 0.0, np.nan]), 60)) == [0.0, 0.0, 0.5, 1.0, 0.0]


def test_near_term_effects_are_weighted_by_proximity():
    flat = PiecewiseLinear((0.0,), (0.0,), 0.0)
    model = AdditiveModel(
        0.2, (CategoryEffects((1.0,), 0.0), flat), NearTermEffects(1, 60.0, (CategoryEffects((2.0,), 0.0), flat))
    )
    assert list(model.margin(np.array([[0.0, 90.0], [0.0, 30.0], [0.0, 0.0]]))) == pytest.approx([1.2, 2.2, 3.2])


def test_fit_recovers_the_simulated_effects(training_data):
    model = fit(training_data)
    use, plan, _ = model.effects
    assert np.all(np.diff(effect_at(use, np.array([1.0, 4.0, 8.0]))) > 0.5)
    assert effect_at(use, np.array([np.nan]))[0] < effect_at(use, np.array([4.0]))[0]
    assert effect_at(plan, np.array([2.0]))[0] - effect_at(plan, np.array([0.0]))[0] == pytest.approx(1.0, abs=0.5)


def test_mean_contribution_over_training_rows_is_zero(training_data):
    model = fit(training_data, near_term_days=0)
    assert np.abs(model.contributions(training_data[0]).mean(axis=0)).max() < 1e-6


def test_declared_sign_holds_against_the_data(training_data):
    model = fit(training_data, signs=(-1, 0, 0))
    counts = np.arange(0.0, 12.0)
    assert np.all(np.diff(effect_at(model.effects[0], counts)) <= 1e-9)
    assert np.all(np.diff(effect_at(model.near_term.effects[0], counts)) <= 1e-9)


def test_strong_penalty_gives_small_contributions(training_data):
    weak, strong = fit(training_data, strength=1.0), fit(training_data, strength=1e-4)
    assert (
        np.abs(strong.contributions(training_data[0])).max() < 0.2 < np.abs(weak.contributions(training_data[0])).max()
    )


def test_constant_or_always_missing_column_contributes_nothing(training_data):
    values, truth = training_data
    extended = np.column_stack([values, np.ones(ROWS), np.full(ROWS, np.nan)])
    model = AdditiveFitter(extended, np.ones(ROWS), [None, 3, None, None, None], (0,) * 5, 2, LinearSettings()).fit(
        truth, 1.0
    )
    assert not model.contributions(extended)[:, 3:].any()


def test_model_survives_a_round_trip_through_json(training_data):
    model, names = fit(training_data), ["use", "plan", "days_to_renewal"]
    assert AdditiveModel.from_json(model.to_json(names), names) == model
    with pytest.raises(ValueError, match="has no effect for tickets"):
        AdditiveModel.from_json(model.to_json(names), [*names, "tickets"])
