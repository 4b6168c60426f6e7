"""Walking forward: no word is judged by an outcome that was not final, and chance is not followed."""

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
from renewals.models.training.splits import observations
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
def steps(observed):
    return walk_forward.fit_origins(observed, Schema.from_catalogue(CATALOGUE, observed, "renewal", True), OPTIONS)


@pytest.fixture(scope="module")
def chosen(observed, steps):
    return walk_forward.select_at_origins(observed, steps, OPTIONS)


def test_origins_worked_on_side_by_side_stand_in_order_and_say_the_same(observed, steps):
    together = SimpleNamespace(
        **{**vars(OPTIONS), "lightgbm": OPTIONS.lightgbm.model_copy(update={"parallel_fits": 3})}
    )
    again = walk_forward.fit_origins(observed, Schema.from_catalogue(CATALOGUE, observed, "renewal", True), together)
    assert [step.fold.origin for step in again] == sorted(step.fold.origin for step in steps)
    for one, other in zip(again, steps, strict=True):
        for recipe in walk_forward.list_candidates(OPTIONS.linear, OPTIONS.lightgbm):
            assert np.array_equal(one.margin(recipe), other.margin(recipe))


def test_a_choice_on_a_day_does_not_see_what_became_final_after(observed, steps):
    day = steps[-1].fold.origin
    late = observed["matured_at"] > day
    changed = observed.assign(label=observed["label"].where(~late, 1 - observed["label"]))
    assert walk_forward.select_model(changed, steps, day, OPTIONS) == walk_forward.select_model(
        observed, steps, day, OPTIONS
    )


def test_the_first_model_of_a_backtest_has_no_past_to_choose_by(observed, steps, chosen):
    told = walk_forward.predict_at_origins(observed, steps, chosen, OPTIONS)
    first = told[told["origin"] == steps[0].fold.origin]
    usual = steps[0].margin(walk_forward.default_candidate(OPTIONS.linear, OPTIONS.lightgbm))
    assert np.array_equal(first["margin"], usual)
    assert np.allclose(first["probability"], SigmoidCalibration().probability(usual))


def test_the_linear_part_also_speaks_alone_and_uncalibrated(observed, steps, chosen):
    told = walk_forward.predict_at_origins(observed, steps, chosen, OPTIONS)
    strength = walk_forward.default_candidate(OPTIONS.linear, OPTIONS.lightgbm).inverse_penalty
    values = Schema.from_catalogue(CATALOGUE, observed, "renewal", True).values(observed)
    alone = [step.linear_models[strength].margin(values[step.fold.test]) for step in steps]
    assert told["linear"].to_numpy() == pytest.approx(expit(np.concatenate(alone)))


def test_a_backtest_speaks_once_of_every_row_after_the_first_origin(observed, steps, chosen):
    told = walk_forward.predict_at_origins(observed, steps, chosen, OPTIONS)
    assert len(told) == (observed["as_of"] >= steps[0].fold.origin).sum()
    assert (told["as_of"] >= told["origin"]).all()


def test_what_was_decided_already_judges_nobody(observed, steps):
    blank = walk_forward.select_model(observed.assign(renewal_signed=True), steps, UNTIL, OPTIONS)
    assert (blank.rows, blank.sigmoid) == (0, SigmoidCalibration())


def test_a_recipe_that_is_clearly_better_is_taken():
    usual, better = Hyperparameters(0.01, 100, 0.0), Hyperparameters(0.01, 100, 1.0)
    terms, weight = pd.Series(range(100)), np.ones(100)
    said = {usual: np.full(100, 0.7), better: np.full(100, 0.7) - np.linspace(0.05, 0.15, 100)}
    assert walk_forward._select_candidate(said, usual, terms, weight) == better


def test_a_recipe_that_is_better_by_chance_is_not():
    usual, lucky = Hyperparameters(0.01, 100, 0.0), Hyperparameters(0.01, 100, 1.0)
    terms, weight = pd.Series(range(100)), np.ones(100)
    noise = np.random.default_rng(0).normal(0.0, 0.3, 100)
    said = {usual: np.full(100, 0.7), lucky: 0.699 + noise - noise.mean()}
    assert walk_forward._select_candidate(said, usual, terms, weight) == usual


def test_models_of_every_age_speak_of_each_later_row_and_the_youngest_says_what_the_backtest_says(
    observed, steps, chosen
):
    schema = Schema.from_catalogue(CATALOGUE, observed, "renewal", True)
    aged = walk_forward.predict_by_model_age(observed, schema, steps, chosen, OPTIONS)
    told = walk_forward.predict_at_origins(observed, steps, chosen, OPTIONS)
    assert len(aged) == sum((observed["as_of"] >= step.fold.origin).sum() for step in steps)
    assert (aged["origin"] <= aged["as_of"]).all()
    assert aged["out_of_range_share"].between(0, 1).all()
    newest = aged.sort_values("origin", kind="stable").drop_duplicates(["account_id", "as_of"], keep="last")
    both = told.merge(newest, on=["account_id", "as_of", "origin"], suffixes=("", "_aged"), validate="one_to_one")
    assert len(both) == len(told)
    assert np.array_equal(both["probability"], both["probability_aged"])


def test_the_kept_model_and_those_it_was_calibrated_on_are_moderated_each_by_its_own_doubt(observed, steps):
    sigmoid, recipe = SigmoidCalibration(0.9, 0.1, 0.2, 0.0), Hyperparameters(0.03, 20, 0.5)
    schema = Schema.from_catalogue(CATALOGUE, observed, "renewal", True)
    model = walk_forward.fit_model(observed, schema, walk_forward.SelectedModel(recipe, sigmoid, (), 0, 0), OPTIONS)
    left = walk_forward.shrinkage_factor(model.linear)
    assert (model.calibration.slope, model.calibration.near_slope) == pytest.approx((0.9 * left, 0.2 * left))
    said = [step.margin(recipe) / (0.5 * step.linear_margins[0.03] + 0.5 * step.tree_margins[20]) for step in steps]
    assert [part.std() for part in said] == pytest.approx([0.0] * len(steps), abs=1e-9)
    assert 0.5 < said[0].mean() < said[-1].mean() < left < 1
    values = schema.values(observed.iloc[steps[0].fold.test])
    assert np.allclose(steps[0].predict_margin(values, recipe), steps[0].margin(recipe))
