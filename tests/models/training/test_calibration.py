"""From margin to probability: what many forward words show is mended, what chance shows is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.settings import CalibrationSettings
from renewals.models.training.calibration import SigmoidCalibration, add_segment_effects, fit_sigmoid, segment_effects


def test_the_sigmoid_mends_what_many_renewals_show():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=40_000)
    truth = (rng.random(40_000) < 1 / (1 + np.exp(-(0.5 * margin + 0.4)))).astype(np.int8)
    found = fit_sigmoid(margin, np.zeros(40_000), truth, np.ones(40_000), CalibrationSettings())
    assert (found.slope, found.intercept) == (pytest.approx(0.5, abs=0.06), pytest.approx(0.4, abs=0.06))


def test_few_renewals_hardly_move_the_sigmoid():
    rng = np.random.default_rng(0)
    margin, truth = rng.normal(size=60), rng.integers(0, 2, 60).astype(np.int8)
    some = fit_sigmoid(margin, np.zeros(60), truth, np.ones(60), CalibrationSettings())
    few = fit_sigmoid(margin, np.zeros(60), truth, np.full(60, 0.5), CalibrationSettings())
    assert abs(some.slope - 1) < 0.15
    assert few.slope == 1.0


def test_the_last_days_have_a_slope_of_their_own():
    rng = np.random.default_rng(0)
    margin, close = rng.normal(size=40_000), (rng.random(40_000) < 0.5).astype(float)
    truth = (rng.random(40_000) < 1 / (1 + np.exp(-(1 + close) * margin))).astype(np.int8)
    found = fit_sigmoid(margin, close, truth, np.ones(40_000), CalibrationSettings(prior_renewals=0))
    assert found.slope == pytest.approx(1.0, abs=0.1)
    assert found.near_slope == pytest.approx(1.0, abs=0.2)
    assert replace(found, near_slope=0.0).probability(np.ones(1), 1.0) < found.probability(np.ones(1), 1.0)


def drawn(shifts, rows=4000, seed=0):
    """Log-odds, the industry of each row, and outcomes that stray from what was said by `shifts`."""
    rng = np.random.default_rng(seed)
    said, industry = rng.normal(1.0, 1.0, rows), rng.choice(sorted(shifts), rows)
    truth = (rng.random(rows) < expit(said + np.vectorize(shifts.get)(industry))).astype(np.int8)
    return said, pd.DataFrame({"industry": industry}), truth


def test_a_segment_that_strays_far_is_mended():
    shifts = {"banks": 0.8, "farms": -0.8, "mills": 0.0, "shops": 0.0}
    said, segments, truth = drawn(shifts)
    found = add_segment_effects(SigmoidCalibration(), said, segments, truth, np.ones(len(said)), CalibrationSettings())
    assert found.segments["industry"] == pytest.approx(shifts, abs=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_segments_that_stray_by_chance_alone_are_hardly_moved(seed):
    said, segments, truth = drawn(dict.fromkeys("abcdefgh", 0.0), rows=800, seed=seed)
    found = add_segment_effects(SigmoidCalibration(), said, segments, truth, np.ones(800), CalibrationSettings())
    by_chance = [truth[segments["industry"] == name].mean() for name in "abcdefgh"]
    assert np.ptp(by_chance) > 0.05
    assert max(map(abs, found.segments["industry"].values())) < 0.12


def test_a_large_segment_is_believed_sooner_than_a_small_one():
    said = np.zeros(2200)
    member = np.column_stack([np.arange(2200) < 2000, np.arange(2200) >= 2000]).astype(float)
    truth = np.concatenate([np.arange(2000) % 10 < 7, np.arange(200) % 10 < 7]).astype(np.int8)
    large, small = segment_effects(said, member, truth, np.ones(2200))
    assert small < large < np.log(7 / 3)


def test_few_renewals_shift_no_segment():
    said, segments, truth = drawn({"banks": 2.0, "farms": -2.0}, rows=400)
    assert (
        add_segment_effects(SigmoidCalibration(), said, segments, truth, np.full(400, 0.05), CalibrationSettings())
        == SigmoidCalibration()
    )


def test_a_segment_that_was_never_met_is_left_as_it_is():
    moved = SigmoidCalibration(segments={"industry": {"banks": 0.5}, "plan": {"gold": -0.25}})
    rows = pd.DataFrame({"industry": ["banks", "mines", None], "plan": ["gold", "gold", "tin"]})
    assert moved.segment_offset(rows).tolist() == [0.25, -0.25, 0.0]
    assert moved.probability(np.zeros(3), 0.0, moved.segment_offset(rows))[0] == pytest.approx(expit(0.25))


def test_a_sigmoid_comes_back_from_its_file():
    moved = SigmoidCalibration(0.9, 0.1, 0.2, -0.1, {"plan": {"gold": -0.25}})
    assert SigmoidCalibration.from_json({**moved.to_json(), "method": "sigmoid"}) == moved


def test_a_model_of_before_segments_were_calibrated_can_be_read_but_none_without_a_slope():
    old = {name: value for name, value in SigmoidCalibration(0.9, 0.1).to_json().items() if name != "segments"}
    assert SigmoidCalibration.from_json(old) == SigmoidCalibration(0.9, 0.1)
    with pytest.raises(KeyError, match="slope"):
        SigmoidCalibration.from_json({"segments": {}})


def test_the_terms_of_the_log_odds_are_added_in_one_order():
    """Floating-point sums depend on their order: a list that is made again must be the same to the bit."""
    calibration = SigmoidCalibration(0.951440343, 0.002746335, 6.5029e-05, -0.000245713)
    rng = np.random.default_rng(3)
    margin, proximity, offset = rng.normal(0, 2, 2000), rng.uniform(0, 1, 2000), rng.normal(0, 0.01, 2000)
    expected = [
        (0.951440343 + 6.5029e-05 * near) * own + 0.002746335 + -0.000245713 * near + shift
        for own, near, shift in zip(margin.tolist(), proximity.tolist(), offset.tolist(), strict=True)
    ]
    assert calibration.log_odds(margin, proximity, offset).tolist() == expected
