"""Lines read off at once are to the last bit what each part says of its column."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.training.additive import AdditiveModel, CategoryEffects, NearTermEffects, PiecewiseLinear

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
HEIGHTS = st.floats(-5, 5, allow_nan=False)
LINES = st.lists(st.tuples(NUMBERS, HEIGHTS), min_size=1, max_size=12, unique_by=lambda knot: knot[0])
DAYS = PiecewiseLinear((0.0,), (0.0,), 0.0)


@st.composite
def parts(draw):
    """A broken line, and steps of three categories."""
    knots = sorted(draw(LINES))
    line = PiecewiseLinear(tuple(at for at, _ in knots), tuple(height for _, height in knots), draw(HEIGHTS))
    return line, CategoryEffects(tuple(draw(HEIGHTS) for _ in range(3)), draw(HEIGHTS)), DAYS


def heights(part, values):
    """The height of a part at each value, as NumPy reads it off."""
    unknown = np.isnan(values)
    if isinstance(part, PiecewiseLinear):
        return np.where(unknown, part.missing, np.interp(values, part.knots, part.values))
    return np.array([*part.values, part.missing])[np.where(unknown, len(part.values), values).astype(np.int64)]


@settings(max_examples=60, deadline=None)
@given(far=parts(), near=parts(), seed=st.integers(0, 9999))
def test_lines_are_their_parts(far, near, seed):
    rng = np.random.default_rng(seed)
    use = np.concatenate([far[0].knots, near[0].knots, [-2e6, 2e6, 0.0, np.nan], rng.uniform(-1e6, 1e6, 600)])
    codes = rng.choice([0.0, 1.0, 2.0, np.nan], len(use))
    values = np.column_stack([use, codes, rng.choice([0.0, 7.0, 59.0, 60.0, 300.0, np.nan], len(use))])
    model = AdditiveModel(0.1, far, NearTermEffects(2, 60.0, near))
    apart = [np.column_stack([heights(part, values[:, j]) for j, part in enumerate(own)]) for own in (far, near)]
    close = model.near_term.proximity(values)[:, None]
    assert np.array_equal(model.contributions(values), apart[0] + close * apart[1])
    assert np.array_equal(model.contributions(values, threads=2), model.contributions(values))


def test_a_line_may_stand_upright():
    line = PiecewiseLinear((0.0, 5e-324, 1.0), (0.0, 2.0, 1.0), 0.0)
    model = AdditiveModel(0.0, (line,), None)
    values = np.array([[-1.0], [0.0], [5e-324], [0.5], [2.0]])
    assert model.contributions(values).ravel().tolist() == [0.0, 0.0, 2.0, 1.5, 1.0]


def test_a_line_is_level_however_far_beyond_its_ends():
    model = AdditiveModel(0.0, (PiecewiseLinear((-1.0, 1.0), (2.0, 3.0), 0.0),), None)
    assert model.contributions(np.array([[-np.inf], [np.inf]])).ravel().tolist() == [2.0, 3.0]


def test_a_code_without_a_step_is_as_unknown():
    model = AdditiveModel(0.0, (CategoryEffects((1.0, 2.0), 0.5),), None)
    assert model.contributions(np.array([[1.0], [2.0], [np.nan], [-1.0]])).ravel().tolist() == [2.0, 0.5, 0.5, 0.5]
