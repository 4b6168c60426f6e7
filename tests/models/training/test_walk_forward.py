"""Tests of walk-forward validation: it uses final outcomes only, and does not select a candidate by chance."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.settings import CalibrationSettings, FoldSettings, LightGBMSettings, LinearSettings
from renewals.models.training import walk_forward
from renewals.models.training.calibration import SigmoidCalibration
from renewals.models.training.ensemble import Hyperparameters
from renewals.models.training.schema import Schema
from renewals.models.training.splits import KEY, observations
from tests.models.drawn import CATALOGUE, training_table

OPTIONS = SimpleNamespace(
    folds=FoldSettings(origins=3, first_train_share=0.3, min_renewals=30, min_events=5),
    linear=LinearSettings(inverse_penalties=(0.001, 0.03)),
    lightgbm=LightGBMSettings(num_rounds=(5, 20), tree_weights=(0.0, 1.0), min_data_in_leaf=20, parallel_fits=1),
    calibration=CalibrationSettings(),
)
UNTIL = pd.Timestamp(2024, 6, 1)


@pytest.fixture(scope="module")
def observed():
    return observations(training_table(), "renewal", UNTIL.date())


@pytest.fixture(scope="module")
def origin_fits(observed):
    return walk_forward.fit_origins(observed, Schema.from_catalogue(CATALOGUE, observed, "renewal", True), OPTIONS)


@pytest.fixture(scope="module")
def selections(observed, origin_fits):
    return walk_forward.select_at_origins(observed, origin_fits, OPTIONS)


def test_parallel_origins_have_the_same_order_and_margins(observed, origin_fits):
    parallel_options = SimpleNamespace(
        **{**vars(OPTIONS), "lightgbm": OPTIONS.lightgbm.model_copy(update={"parallel_fits": 3})}
    )
    parallel_fits = walk_forward.fit_origins(
        observed, Schema.from_catalogue(CATALOGUE, observed, "renewal", True), parallel_options
    )
    assert [fit.fold.origin for fit in parallel_fits] == sorted(fit.fold.origin for fit in origin_fits)
    for parallel_fit, fit in zip(parallel_fits, origin_fits, strict=True):
        for candidate in walk_forward.list_candidates(OPTIONS.linear, OPTIONS.lightgbm):
            assert np.array_equal(parallel_fit.margin(candidate), fit.margin(candidate))


def test_selection_ignores_outcomes_final_after_the_day(observed, origin_fits):
    day = origin_fits[-1].fold.origin
    late = observed["matured_at"] > day
    changed = observed.assign(label=observed["label"].where(~late, 1 - observed["label"]))
    assert walk_forward.select_model(changed, origin_fits, day, OPTIONS) == walk_forward.select_model(
        observed, origin_fits, day, OPTIONS
    )


def test_first_origin_uses_the_default_candidate_uncalibrated(observed, origin_fits, selections):
    predictions = walk_forward.predict_at_origins(observed, origin_fits, selections, OPTIONS)
    first = predictions[predictions["origin"] == origin_fits[0].fold.origin]
    default_margin = origin_fits[0].margin(walk_forward.default_candidate(OPTIONS.linear, OPTIONS.lightgbm))
    assert np.array_equal(first["margin"], default_margin)
    assert np.allclose(first["probability"], SigmoidCalibration().probability(default_margin))


def test_linear_baseline_is_the_uncalibrated_linear_part(observed, origin_fits, selections):
    predictions = walk_forward.predict_at_origins(observed, origin_fits, selections, OPTIONS)
    strength = walk_forward.default_candidate(OPTIONS.linear, OPTIONS.lightgbm).inverse_penalty
    values = Schema.from_catalogue(CATALOGUE, observed, "renewal", True).values(observed)
    margins = [fit.linear_models[strength].margin(values[fit.fold.test]) for fit in origin_fits]
    assert predictions["linear"].to_numpy() == pytest.approx(expit(np.concatenate(margins)))


def test_backtest_predicts_each_row_after_the_first_origin_once(observed, origin_fits, selections):
    predictions = walk_forward.predict_at_origins(observed, origin_fits, selections, OPTIONS)
    assert len(predictions) == (observed["as_of"] >= origin_fits[0].fold.origin).sum()
    assert (predictions["as_of"] >= predictions["origin"]).all()


@pytest.mark.parametrize("decision", ["renewal_signed", "notice_given"])
def test_decided_renewals_are_not_used_for_selection(observed, origin_fits, decision):
    selection = walk_forward.select_model(observed.assign(**{decision: True}), origin_fits, UNTIL, OPTIONS)
    assert (selection.rows, selection.sigmoid) == (0, SigmoidCalibration())


def test_clearly_better_candidate_is_selected():
    default, better = Hyperparameters(0.01, 100, 0.0), Hyperparameters(0.01, 100, 1.0)
    terms, weight = pd.Series(range(100)), np.ones(100)
    losses = {default: np.full(100, 0.7), better: np.full(100, 0.7) - np.linspace(0.05, 0.15, 100)}
    assert walk_forward._select_candidate(losses, default, terms, weight) == better


def test_candidate_that_is_better_by_chance_is_not_selected():
    default, lucky = Hyperparameters(0.01, 100, 0.0), Hyperparameters(0.01, 100, 1.0)
    terms, weight = pd.Series(range(100)), np.ones(100)
    noise = np.random.default_rng(0).normal(0.0, 0.3, 100)
    losses = {default: np.full(100, 0.7), lucky: 0.699 + noise - noise.mean()}
    assert walk_forward._select_candidate(losses, default, terms, weight) == default


def test_models_of_every_age_predict_each_later_row_and_the_newest_equals_the_backtest(
    observed, origin_fits, selections
):
    schema = Schema.from_catalogue(CATALOGUE, observed, "renewal", True)
    by_age = walk_forward.predict_by_model_age(observed, schema, origin_fits, selections, OPTIONS)
    predictions = walk_forward.predict_at_origins(observed, origin_fits, selections, OPTIONS)
    assert len(by_age) == sum((observed["as_of"] >= fit.fold.origin).sum() for fit in origin_fits)
    assert (by_age["origin"] <= by_age["as_of"]).all()
    assert by_age["out_of_range_share"].between(0, 1).all()
    newest = by_age.sort_values("origin", kind="stable").drop_duplicates(KEY, keep="last")
    joined = predictions.merge(newest, on=[*KEY, "origin"], suffixes=("", "_aged"), validate="one_to_one")
    assert len(joined) == len(predictions)
    assert np.array_equal(joined["probability"], joined["probability_aged"])


def test_final_model_and_origin_models_each_use_a_separate_shrinkage_factor(observed, origin_fits):
    sigmoid, candidate = SigmoidCalibration(0.9, 0.1, 0.2, 0.0), Hyperparameters(0.03, 20, 0.5)
    schema = Schema.from_catalogue(CATALOGUE, observed, "renewal", True)
    model = walk_forward.fit_model(observed, schema, walk_forward.SelectedModel(candidate, sigmoid, (), 0, 0), OPTIONS)
    factor = walk_forward.shrinkage_factor(model.linear)
    assert (model.calibration.slope, model.calibration.near_slope) == pytest.approx((0.9 * factor, 0.2 * factor))
    ratios = [
        fit.margin(candidate) / (0.5 * fit.linear_margins[0.03] + 0.5 * fit.tree_margins[20]) for fit in origin_fits
    ]
    assert [ratio.std() for ratio in ratios] == pytest.approx([0.0] * len(origin_fits), abs=1e-9)
    assert 0.5 < ratios[0].mean() < ratios[-1].mean() < factor < 1
    values = schema.values(observed.iloc[origin_fits[0].fold.test])
    assert np.allclose(origin_fits[0].predict_margin(values, candidate), origin_fits[0].margin(candidate))
