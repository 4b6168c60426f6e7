"""Each reason to refuse a model, one at a time."""

import copy

import pytest

from renewals.models.evaluation.gate import failed_checks
from renewals.models.settings import GateSettings

GATE = GateSettings(min_renewals=60, min_events=15, slope_range=(0.6, 1.6), max_calibration_error=0.1)
GOOD = {
    "rows": 200,
    "terms": 200,
    "events": 40.0,
    "auc": {"value": 0.77, "low": 0.72, "high": 0.82},
    "calibration_slope": {"value": 1.0, "low": 0.8, "high": 1.2},
    "calibration_error": 0.05,
    "calibration_error_by_chance": 0.04,
    "gain_over": {
        "base_rate": {"value": 0.05, "low": 0.02, "high": 0.08},
        "last_outcome": {"value": 0.02, "low": 0.01, "high": 0.03},
        "logistic_regression": {"value": 0.01, "low": -0.01, "high": 0.03},
    },
    "segments": {
        "size_band small": {
            "terms": 80,
            "events": 20.0,
            "mean_predicted": 0.7,
            "mean_observed": 0.68,
            "bias": {"value": 0.02, "low": -0.1, "high": 0.14},
            "calibration_slope": {"value": 0.9, "low": 0.5, "high": 1.3},
        }
    },
}
WORSE = {"value": -0.03, "low": -0.05, "high": -0.01}


def changed_metrics(path: str, value: object) -> dict:
    metrics = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    branch = metrics
    for parent in parents:
        branch = branch[parent]
    branch[last] = value
    return metrics


def test_a_good_model_passes():
    assert failed_checks(GOOD, GATE) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("terms", 59, "gate.min_renewals"),
        ("events", 14.0, "gate.min_events"),
        (
            "gain_over.base_rate",
            {"value": 0.01, "low": -0.01, "high": 0.03},
            "not significantly better than the base rate",
        ),
        (
            "gain_over.logistic_regression",
            {"value": -0.03, "low": -0.05, "high": -0.01},
            "worse than the baseline logistic",
        ),
        (
            "gain_over.last_outcome",
            {"value": -0.03, "low": -0.05, "high": -0.01},
            "worse than the baseline last outcome",
        ),
        ("segments.size_band small.bias", {"value": 0.2, "low": 0.11, "high": 0.3}, "in size_band small (80 terms)"),
        ("segments.size_band small.bias", {"value": -0.2, "low": -0.3, "high": -0.11}, "significantly beyond 0.1"),
        ("segments.size_band small.calibration_slope", {"value": 0.3, "low": 0.1, "high": 0.5}, "gate.slope_range"),
        ("calibration_slope", {"value": 0.3, "low": 0.1, "high": 0.5}, "gate.slope_range"),
        ("calibration_slope", {"value": 2.0, "low": 1.7, "high": 2.5}, "gate.slope_range"),
        ("calibration_error", 0.15, "gate.max_calibration_error"),
    ],
)
def test_each_failed_check_has_its_message(path, value, message):
    (reason,) = failed_checks(changed_metrics(path, value), GATE)
    assert message in reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("terms", 60),
        ("events", 15.0),
        ("calibration_slope", {"value": 0.4, "low": 0.2, "high": 0.6}),
        ("gain_over.logistic_regression", {"value": -0.01, "low": -0.03, "high": 0.01}),
        ("gain_over.linear", {"value": -0.002, "low": -0.003, "high": -0.001}),
        ("segments.size_band small.bias", {"value": 0.2, "low": 0.1, "high": 0.3}),
        ("segments.size_band small.calibration_slope", {"value": None, "low": None, "high": None}),
    ],
)
def test_a_model_at_a_limit_passes(path, value):
    assert failed_checks(changed_metrics(path, value), GATE) == []
