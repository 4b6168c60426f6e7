"""Tests of the calibration: many out-of-fold predictions change the sigmoid and the segment offsets, few do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.settings import CalibrationSettings
from renewals.models.training.calibration import SigmoidCalibration, add_segment_effects, fit_sigmoid, segment_effects


def test_sigmoid_recovers_slope_and_intercept_from_many_renewals():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=40_000)
    truth = (rng.random(40_000) < 1 / (1 + np.exp(-(0.5 * margin + 0.4)))).astype(np.int8)
    sigmoid = fit_sigmoid(margin, np.zeros(40_000), truth, np.ones(40_000), CalibrationSettings())
    assert (sigmoid.slope, sigmoid.intercept) == (pytest.approx(0.5, abs=0.06), pytest.approx(0.4, abs=0.06))


def test_few_renewals_hardly_change_the_sigmoid():
    rng = np.random.default_rng(0)
    margin, truth = rng.normal(size=60), rng.integers(0, 2, 60).astype(np.int8)
    some = fit_sigmoid(margin, np.zeros(60), truth, np.ones(60), CalibrationSettings())
    few = fit_sigmoid(margin, np.zeros(60), truth, np.full(60, 0.5), CalibrationSettings())
    assert abs(some.slope - 1) < 0.15
    assert few.slope == 1.0


def test_last_days_before_the_renewal_have_a_separate_slope():
    rng = np.random.default_rng(0)
    margin, proximity = rng.normal(size=40_000), (rng.random(40_000) < 0.5).astype(float)
    truth = (rng.random(40_000) < 1 / (1 + np.exp(-(1 + proximity) * margin))).astype(np.int8)
    sigmoid = fit_sigmoid(margin, proximity, truth, np.ones(40_000), CalibrationSettings(prior_renewals=0))
    assert sigmoid.slope == pytest.approx(1.0, abs=0.1)
    assert sigmoid.near_slope == pytest.approx(1.0, abs=0.2)
    assert replace(sigmoid, near_slope=0.0).probability(np.ones(1), 1.0) < sigmoid.probability(np.ones(1), 1.0)


def simulate(true_offsets, rows=4000, seed=0):
    """Log-odds, segments and outcomes of random rows; `true_offsets` is the log-odds offset of each industry."""
    rng = np.random.default_rng(seed)
    log_odds, industry = rng.normal(1.0, 1.0, rows), rng.choice(sorted(true_offsets), rows)
    truth = (rng.random(rows) < expit(log_odds + np.vectorize(true_offsets.get)(industry))).astype(np.int8)
    return log_odds, pd.DataFrame({"industry": industry}), truth


def test_large_segment_offsets_are_recovered():
    true_offsets = {"banks": 0.8, "farms": -0.8, "mills": 0.0, "shops": 0.0}
    log_odds, segments, truth = simulate(true_offsets)
    sigmoid = add_segment_effects(
        SigmoidCalibration(), log_odds, segments, truth, np.ones(len(log_odds)), CalibrationSettings()
    )
    assert sigmoid.segments["industry"] == pytest.approx(true_offsets, abs=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_segments_that_differ_only_by_chance_get_small_offsets(seed):
    log_odds, segments, truth = simulate(dict.fromkeys("abcdefgh", 0.0), rows=800, seed=seed)
    sigmoid = add_segment_effects(SigmoidCalibration(), log_odds, segments, truth, np.ones(800), CalibrationSettings())
    observed_rates = [truth[segments["industry"] == name].mean() for name in "abcdefgh"]
    assert np.ptp(observed_rates) > 0.05
    assert max(map(abs, sigmoid.segments["industry"].values())) < 0.12


def test_large_segment_is_shrunk_less_than_a_small_one():
    log_odds = np.zeros(2200)
    member = np.column_stack([np.arange(2200) < 2000, np.arange(2200) >= 2000]).astype(float)
    truth = np.concatenate([np.arange(2000) % 10 < 7, np.arange(200) % 10 < 7]).astype(np.int8)
    large, small = segment_effects(log_odds, member, truth, np.ones(2200))
    assert small < large < np.log(7 / 3)


def test_too_few_renewals_give_no_segment_offsets():
    log_odds, segments, truth = simulate({"banks": 2.0, "farms": -2.0}, rows=400)
    assert (
        add_segment_effects(SigmoidCalibration(), log_odds, segments, truth, np.full(400, 0.05), CalibrationSettings())
        == SigmoidCalibration()
    )


def test_unknown_segment_has_offset_zero():
    sigmoid = SigmoidCalibration(segments={"industry": {"banks": 0.5}, "plan": {"gold": -0.25}})
    rows = pd.DataFrame({"industry": ["banks", "mines", None], "plan": ["gold", "gold", "tin"]})
    assert sigmoid.segment_offset(rows).tolist() == [0.25, -0.25, 0.0]
    assert sigmoid.probability(np.zeros(3), 0.0, sigmoid.segment_offset(rows))[0] == pytest.approx(expit(0.25))


def test_sigmoid_survives_a_round_trip_through_json():
    sigmoid = SigmoidCalibration(0.9, 0.1, 0.2, -0.1, {"plan": {"gold": -0.25}})
    assert SigmoidCalibration.from_json({**sigmoid.to_json(), "method": "sigmoid"}) == sigmoid


def test_json_without_segments_can_be_read_but_not_without_slope():
    old = {name: value for name, value in SigmoidCalibration(0.9, 0.1).to_json().items() if name != "segments"}
    assert SigmoidCalibration.from_json(old) == SigmoidCalibration(0.9, 0.1)
    with pytest.raises(KeyError, match="slope"):
        SigmoidCalibration.from_json({"segments": {}})


def test_terms_of_the_log_odds_are_added_in_a_fixed_order():
    """Floating-point sums depend on their order, and repeated scoring must give bit-identical results."""
    calibration = SigmoidCalibration(0.951440343, 0.002746335, 6.5029e-05, -0.000245713)
    rng = np.random.default_rng(3)
    margin, proximity, offset = rng.normal(0, 2, 2000), rng.uniform(0, 1, 2000), rng.normal(0, 0.01, 2000)
    expected = [
        (0.951440343 + 6.5029e-05 * near) * row_margin + 0.002746335 + -0.000245713 * near + row_offset
        for row_margin, near, row_offset in zip(margin.tolist(), proximity.tolist(), offset.tolist(), strict=True)
    ]
    assert calibration.log_odds(margin, proximity, offset).tolist() == expected
