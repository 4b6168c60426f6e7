"""The parts of a score change add up, and only features that changed in its direction explain it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.explanation.score_change import PARTS, SCALES, changed_features, decompose_change
from renewals.models.settings import CalibrationSettings, FoldSettings, LightGBMSettings, LinearSettings
from renewals.models.training import walk_forward
from renewals.models.training.calibration import SigmoidCalibration
from renewals.models.training.ensemble import EnsembleModel
from renewals.models.training.schema import Schema
from renewals.models.training.splits import observations
from tests.models.drawn import CATALOGUE, training_table

CLOCK = {"days_to_renewal"}
NUMBERS = ["use", "tickets", "noise"]


def train(seed: int, sigmoid: SigmoidCalibration, catalogue=CATALOGUE) -> EnsembleModel:
    options = SimpleNamespace(
        folds=FoldSettings(origins=2, min_renewals=30, min_events=5),
        linear=LinearSettings(inverse_penalties=(0.03,)),
        lightgbm=LightGBMSettings(
            num_rounds=(30,), tree_weights=(0.5,), min_data_in_leaf=20, parallel_fits=1, seed=seed
        ),
        calibration=CalibrationSettings(),
    )
    observed = observations(training_table(seed=seed), "renewal", pd.Timestamp(2023, 6, 1).date())
    schema = Schema.from_catalogue(catalogue, observed, "renewal", True)
    recipe = walk_forward.default_candidate(options.linear, options.lightgbm)
    return walk_forward.fit_model(observed, schema, walk_forward.SelectedModel(recipe, sigmoid, (), 0, 0), options)


@pytest.fixture(scope="module")
def old():
    return train(0, SigmoidCalibration(0.9, 0.2, 0.3, -0.1, {"plan": {"pro": 0.4, "basic": -0.2}}))


@pytest.fixture(scope="module")
def new():
    return train(1, SigmoidCalibration(1.2, -0.3, 0.1, 0.2))


def two_dates(seed: int, count: int = 40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same accounts after a month: values change, disappear and appear; some stay the same."""
    rng = np.random.default_rng(seed)
    before = training_table(seed=seed).sample(count, random_state=seed).reset_index(drop=True)
    now = before.assign(days_to_renewal=before["days_to_renewal"] - 30)
    for name in NUMBERS:
        step = rng.normal(scale=rng.choice([0.0, 0.5, 20.0]), size=count)
        now[name] = (before[name] + step).where(rng.random(count) > 0.2, np.nan)
    return before, now.assign(plan=rng.choice(["basic", "pro", "never met"], count))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_parts_add_up_to_the_change_of_every_score(old, new, seed):
    before, now = two_dates(seed)
    parts = decompose_change(old, new, before, now, CLOCK)
    assert np.abs(parts["probability_before"] - old.probability(before)).max() == 0
    assert np.abs(parts["probability_now"] - new.probability(now)).max() == 0
    for scale in SCALES:
        change = parts[f"{scale}_now"] - parts[f"{scale}_before"]
        assert np.abs(change - sum(parts[f"{scale}_{part}"] for part in PARTS)).max() < 1e-9


def test_unchanged_input_has_a_part_of_zero(old, new):
    before, now = two_dates(3)
    quiet = before.assign(days_to_renewal=now["days_to_renewal"])
    assert (decompose_change(old, old, before, now, CLOCK)["probability_model"] == 0).all()
    assert (decompose_change(old, old, before, quiet, CLOCK)["probability_data"] == 0).all()
    assert (decompose_change(old, old, before, now.assign(days_to_renewal=before["days_to_renewal"]), CLOCK)[
        "probability_clock"
    ] == 0).all()  # fmt: skip
    same = decompose_change(old, new, before, before, CLOCK)
    assert (same[["margin_data", "margin_clock"]] == 0).all(axis=None)
    assert np.abs(same["margin_model"] - (new.margin(before) - old.margin(before))).max() == 0


def test_data_and_clock_are_symmetric(old):
    """If the sets of clock and data features are exchanged, their parts are exchanged too."""
    before, now = two_dates(5)
    original = decompose_change(old, old, before, now, CLOCK)
    swapped = decompose_change(old, old, before, now, set(old.schema.names) - CLOCK)
    for scale in SCALES:
        assert np.allclose(original[f"{scale}_data"], swapped[f"{scale}_clock"], rtol=0, atol=1e-12)
    reverse = decompose_change(old, old, now, before, CLOCK)
    assert np.allclose(original["margin_data"], -reverse["margin_data"], rtol=0, atol=1e-12)


def test_model_part_is_the_difference_of_the_models_on_current_values(old, new):
    before, now = two_dates(6)
    parts = decompose_change(old, new, before, now, CLOCK)
    assert np.allclose(parts["margin_model"], new.margin(now) - old.margin(now), rtol=0, atol=1e-12)


def test_new_model_may_read_a_feature_that_the_old_values_lack(old):
    more = [*CATALOGUE, {**CATALOGUE[0], "name": "renewal_signed"}]
    before, now = two_dates(7)
    model = train(2, SigmoidCalibration(), more)
    parts = decompose_change(old, model, before.drop(columns="renewal_signed"), now, CLOCK)
    assert np.abs(parts["probability_now"] - model.probability(now)).max() == 0


def test_error_names_a_feature_that_is_no_longer_computed(old, new):
    before, now = two_dates(7)
    with pytest.raises((KeyError, ValueError), match="tickets"):
        decompose_change(old, new, before, now.drop(columns="tickets"), CLOCK)


def one_account(**changes: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    first = {"use": 0.0, "tickets": 2.0, "noise": 0.0, "plan": "pro", "days_to_renewal": 200.0}
    return pd.DataFrame([first]), pd.DataFrame([{**first, **changes}])


def changed_names(old: EnsembleModel, before: pd.DataFrame, now: pd.DataFrame, direction: float) -> list[str]:
    (row,) = changed_features(old, before, now, CATALOGUE, CLOCK, np.array([direction]))
    return [str(feature["name"]) for feature in row]


def test_largest_change_comes_first(old):
    assert changed_names(old, *one_account(use=-2.0, tickets=3.0), -1.0)[:2] == ["use", "tickets"]


def test_feature_that_changed_against_the_score_is_left_out(old):
    """More use explains a higher probability, and never a lower one."""
    assert "use" not in changed_names(old, *one_account(use=2.0), -1.0)
    assert changed_names(old, *one_account(use=2.0), 1.0) == ["use"]


def test_feature_that_changed_against_its_declared_risk_is_left_out(old):
    """Less of a risk is never shown as worse, even if the model learned so."""
    turned = [{**feature, "risk": "high" if feature["name"] == "use" else feature["risk"]} for feature in CATALOGUE]
    assert changed_features(old, *one_account(use=-2.0), turned, CLOCK, np.array([-1.0])) == [[]]


def test_clock_and_unchanged_features_are_left_out(old):
    before, now = one_account(days_to_renewal=10.0)
    assert changed_names(old, before, now, -1.0) == changed_names(old, before, now, 1.0) == []


def test_without_feature_texts_no_feature_is_shown(old):
    before, now = one_account(use=-2.0)
    assert changed_features(old, before, now, [], CLOCK, np.array([-1.0])) == [[]]
