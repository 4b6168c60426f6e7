"""Tests of the compiled contributions of an additive model: bit-identical to NumPy's interpolation."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.training.additive import AdditiveModel, CategoryEffects, NearTermEffects, PiecewiseLinear

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
EFFECTS = st.floats(-5, 5, allow_nan=False)
KNOTS = st.lists(st.tuples(NUMBERS, EFFECTS), min_size=1, max_size=12, unique_by=lambda knot: knot[0])
DAYS = PiecewiseLinear((0.0,), (0.0,), 0.0)


@st.composite
def effects(draw):
    """Random effects of three columns: piecewise linear, three categories, and zero for the days."""
    knots = sorted(draw(KNOTS))
    line = PiecewiseLinear(tuple(position for position, _ in knots), tuple(value for _, value in knots), draw(EFFECTS))
    return line, CategoryEffects(tuple(draw(EFFECTS) for _ in range(3)), draw(EFFECTS)), DAYS


def effect_at(effect, values):
    """Contribution of an effect at each value, computed with NumPy."""
    missing = np.isnan(values)
    if isinstance(effect, PiecewiseLinear):
        return np.where(missing, effect.missing, np.interp(values, effect.knots, effect.values))
    return np.array([*effect.values, effect.missing])[np.where(missing, len(effect.values), values).astype(np.int64)]


@settings(max_examples=60, deadline=None)
@given(base=effects(), near_term=effects(), seed=st.integers(0, 9999))
def test_contributions_equal_numpy_interpolation(base, near_term, seed):
    rng = np.random.default_rng(seed)
    use = np.concatenate([base[0].knots, near_term[0].knots, [-2e6, 2e6, 0.0, np.nan], rng.uniform(-1e6, 1e6, 600)])
    codes = rng.choice([0.0, 1.0, 2.0, np.nan], len(use))
    values = np.column_stack([use, codes, rng.choice([0.0, 7.0, 59.0, 60.0, 300.0, np.nan], len(use))])
    model = AdditiveModel(0.1, base, NearTermEffects(2, 60.0, near_term))
    expected = [
        np.column_stack([effect_at(effect, values[:, j]) for j, effect in enumerate(group)])
        for group in (base, near_term)
    ]
    proximity = model.near_term.proximity(values)[:, None]
    assert np.array_equal(model.contributions(values), expected[0] + proximity * expected[1])
    assert np.array_equal(model.contributions(values, threads=2), model.contributions(values))


def test_knots_may_be_adjacent_floats():
    line = PiecewiseLinear((0.0, 5e-324, 1.0), (0.0, 2.0, 1.0), 0.0)
    model = AdditiveModel(0.0, (line,), None)
    values = np.array([[-1.0], [0.0], [5e-324], [0.5], [2.0]])
    assert model.contributions(values).ravel().tolist() == [0.0, 0.0, 2.0, 1.5, 1.0]


def test_effect_is_constant_up_to_infinity():
    model = AdditiveModel(0.0, (PiecewiseLinear((-1.0, 1.0), (2.0, 3.0), 0.0),), None)
    assert model.contributions(np.array([[-np.inf], [np.inf]])).ravel().tolist() == [2.0, 3.0]


def test_code_without_an_effect_is_treated_as_missing():
    model = AdditiveModel(0.0, (CategoryEffects((1.0, 2.0), 0.5),), None)
    assert model.contributions(np.array([[1.0], [2.0], [np.nan], [-1.0]])).ravel().tolist() == [2.0, 0.5, 0.5, 0.5]
