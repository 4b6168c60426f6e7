"""Hyperparameter search: facts after the cutoff change no trial, and a resumed search equals an uninterrupted one."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState, create_trial
from pydantic import ValidationError

from renewals.models.evaluation import tuning
from renewals.models.metrics import log_loss_per_row
from renewals.models.settings import (
    CalibrationSettings,
    FoldSettings,
    GateSettings,
    LightGBMSettings,
    LinearSettings,
    TuneSettings,
)
from renewals.models.training import walk_forward
from renewals.models.training.splits import InsufficientHistoryError, observations, term_weights
from tests.models.drawn import CATALOGUE, training_table

OPTIONS = SimpleNamespace(
    folds=FoldSettings(origins=2, first_train_share=0.4, min_renewals=30, min_events=5),
    linear=LinearSettings(inverse_penalties=(0.01,), near_term_days=0),
    lightgbm=LightGBMSettings(num_rounds=(8,), tree_weights=(0.5,), min_data_in_leaf=20, parallel_fits=1),
    calibration=CalibrationSettings(),
)
TUNE = TuneSettings(
    trials=14,
    search_space={
        "lightgbm.learning_rate": (0.01, 0.1, 0.3),
        "lightgbm.max_depth": (1, 2, 3),
        "calibration.prior_renewals": (0.0, 1000.0),
    },
)
GATE = GateSettings(min_renewals=20, min_events=5, bootstrap_samples=100)
UNTIL = pd.Timestamp(2024, 6, 1)

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="module")
def training():
    table = training_table()
    early = (table["days_to_renewal"] < 100) & (table["account_id"] < "a040")
    return table.assign(renewal_signed=early & (table["renewal"] == 1))


@pytest.fixture(scope="module")
def final(training):
    return observations(training, "renewal", UNTIL.date())


@pytest.fixture(scope="module")
def cutoff(final):
    return tuning.search_cutoff(final, TUNE.holdout_share)


@pytest.fixture(scope="module")
def past(training, cutoff):
    return tuning.SearchData.from_training(training, CATALOGUE, "renewal", cutoff, OPTIONS)


@pytest.fixture(scope="module")
def study(past):
    return run_search(past)


def run_search(past, tune=TUNE, study=None, options=OPTIONS):
    study = study or optuna.create_study()
    tuning.run_trials(study, past, options, tune, lambda trial: None)
    return study


def finished_trials(study):
    """Setting, state and value of each finished trial."""
    return [
        (trial.user_attrs[tuning.SETTING_ATTRIBUTE], trial.state, trial.value)
        for trial in tuning.finished_trials(study)
    ]


# --- law of time -----------------------------------------------------------------------------------------


def test_facts_after_the_cutoff_change_no_trial(training, cutoff, past, study):
    late = (training["as_of"] >= cutoff) | (training["renewal_matured_at"] > cutoff)
    changed = training.assign(
        renewal=training["renewal"].where(~late, 1 - training["renewal"]),
        use=training["use"].where(~late, 99.0),
        plan=training["plan"].where(~late, "unheard of"),
        renewal_signed=training["renewal_signed"] & ~late,
        renewal_matured_at=training["renewal_matured_at"] + pd.to_timedelta(np.where(late, 9, 0), "D"),
    )
    assert 0 < late.sum() < len(training)
    search_data = tuning.SearchData.from_training(changed, CATALOGUE, "renewal", cutoff, OPTIONS)
    assert finished_trials(run_search(search_data)) == finished_trials(study)
    assert search_data.schema == past.schema
    without_late = tuning.SearchData.from_training(training[~late], CATALOGUE, "renewal", cutoff, OPTIONS)
    assert (
        finished_trials(run_search(without_late, TUNE.model_copy(update={"trials": 1}))) == finished_trials(study)[:1]
    )


def test_final_outcomes_change_a_trial(training, cutoff, study):
    early = training.index == training.index[training["renewal_matured_at"] < cutoff - pd.Timedelta(days=300)][-1]
    changed = training.assign(renewal=training["renewal"].where(~early, 1 - training["renewal"]))
    search_data = tuning.SearchData.from_training(changed, CATALOGUE, "renewal", cutoff, OPTIONS)
    assert tuning.trial_loss(search_data, OPTIONS, OPTIONS.calibration) != finished_trials(study)[0][2]


def test_holdout_is_the_newest_share_of_the_terms_whatever_their_outcome(final, cutoff):
    held = tuning.holdout_rows(final, cutoff)
    assert TUNE.holdout_share <= final.loc[final["as_of"] >= cutoff, "term"].nunique() / final["term"].nunique() < 0.35
    assert (held["as_of"] >= cutoff).all()
    assert not held["renewal_signed"].any()
    assert tuning.holdout_rows(final.assign(notice_given=True), cutoff).empty
    assert tuning.search_cutoff(final.assign(label=1 - final["label"]), TUNE.holdout_share) == cutoff


def test_labels_within_the_embargo_or_before_their_cohort_are_unknown(training, cutoff):
    slow, cancelled = OPTIONS.folds.model_copy(update={"embargo_days": 90}), training["account_id"] < "a050"
    early = training["renewal_matured_at"].mask(cancelled, training["as_of"] + pd.Timedelta(days=10))
    known = tuning.observations_known_on(training.assign(renewal_matured_at=early), "renewal", cutoff, slow)
    assert known["matured_at"].max() <= cutoff - pd.Timedelta(days=90)
    assert len(known) < len(tuning.observations_known_on(training, "renewal", cutoff, OPTIONS.folds))


# --- loss of a trial ---------------------------------------------------------------------------------


def test_trial_loss_is_the_loss_of_the_walk_forward_predictions(past):
    steps = walk_forward.fit_origins(past.observed, past.schema, OPTIONS)
    predictions = walk_forward.predict_at_origins(
        past.observed, steps, walk_forward.select_at_origins(past.observed, steps, OPTIONS), OPTIONS
    )
    rows = predictions[~predictions["renewal_signed"]]
    age = (past.cutoff - rows["as_of"]).dt.days / OPTIONS.calibration.half_life_days
    weight = term_weights(rows["term"]) * 0.5**age
    expected = np.average(log_loss_per_row(rows["label"], rows["probability"]), weights=weight)
    assert len(rows) < len(predictions)
    assert tuning.trial_loss(past, OPTIONS, OPTIONS.calibration) == pytest.approx(expected, abs=1e-12)


def test_all_trials_are_weighted_with_the_same_calibration_settings(past):
    hasty = CalibrationSettings(half_life_days=30, prior_renewals=1e9)
    short_half_life = tuning.TrialSettings.with_setting(
        OPTIONS, {"calibration.half_life_days": 30, "calibration.prior_renewals": 1e9}
    )
    default = tuning.TrialSettings.with_setting(OPTIONS, {"calibration.prior_renewals": 1e9})
    losses = (
        tuning.trial_loss(past, short_half_life, OPTIONS.calibration),
        tuning.trial_loss(past, default, OPTIONS.calibration),
    )
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert abs(tuning.trial_loss(past, short_half_life, hasty) - losses[0]) > 1e-4
    study = run_search(past, TuneSettings(trials=4, search_space={"calibration.half_life_days": (30, 730)}))
    loss_by_half_life = {setting["calibration.half_life_days"]: loss for setting, _, loss in finished_trials(study)}
    assert loss_by_half_life[30] == tuning.trial_loss(
        past, tuning.TrialSettings.with_setting(OPTIONS, {"calibration.half_life_days": 30}), OPTIONS.calibration
    )


def test_linear_part_is_fitted_once_for_all_trials(training, cutoff, monkeypatch):
    fitted = []
    fit = walk_forward.fit_linear
    monkeypatch.setattr(walk_forward, "fit_linear", lambda *args: fitted.append(1) or fit(*args))
    search_data = tuning.SearchData.from_training(training, CATALOGUE, "renewal", cutoff, OPTIONS)
    run_search(search_data, TUNE.model_copy(update={"trials": 4}))
    assert len(fitted) == len(search_data.folds)


# --- the study ----------------------------------------------------------------------------------------


def test_search_starts_with_the_current_setting_and_ends_no_worse(study):
    first = tuning.finished_trials(study)[0]
    assert first.user_attrs[tuning.SETTING_ATTRIBUTE] == tuning.current_setting(OPTIONS, list(TUNE.search_space))
    assert first.state == TrialState.COMPLETE
    assert tuning.best_trial(study).value <= first.value


def test_current_setting_is_added_to_the_search_space():
    now = {"lightgbm.learning_rate": 0.05}
    assert tuning.add_current_setting({"lightgbm.learning_rate": (0.1, 0.3)}, now) == {
        "lightgbm.learning_rate": (0.05, 0.1, 0.3)
    }


def test_resumed_search_equals_an_uninterrupted_search(past, study):
    half = run_search(past, TUNE.model_copy(update={"trials": 6}))
    assert len(finished_trials(half)) == 6
    assert finished_trials(run_search(past, study=half)) == finished_trials(study)
    assert len({str(setting) for setting, _, _ in finished_trials(study)}) > 6


def test_different_seed_tries_different_settings(past, study):
    second_study = run_search(past, TUNE.model_copy(update={"seed": 8, "trials": 4}))
    assert finished_trials(second_study)[0] == finished_trials(study)[0]
    assert finished_trials(second_study)[1:] != finished_trials(study)[1:4]


@pytest.mark.parametrize("before", [0, 3])
def test_interrupted_trial_is_the_only_one_lost(past, study, before, monkeypatch):
    resumed = run_search(past, TUNE.model_copy(update={"trials": before})) if before else optuna.create_study()
    with monkeypatch.context() as cut:
        cut.setattr(tuning, "trial_loss", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_search(past, study=resumed)
    assert [trial.state for trial in resumed.trials][before:] == [TrialState.RUNNING]
    five = run_search(past, TUNE.model_copy(update={"trials": 5}), resumed)
    assert finished_trials(five) == finished_trials(study)[:5]
    assert [trial.state for trial in resumed.trials].count(TrialState.FAIL) == 1


def test_repeated_setting_is_not_trained_again(past, monkeypatch):
    two, calls, trial_loss = {"lightgbm.max_depth": (1, 3)}, [], tuning.trial_loss
    monkeypatch.setattr(tuning, "trial_loss", lambda *args: calls.append(1) or trial_loss(*args))
    trials = finished_trials(run_search(past, TuneSettings(trials=5, search_space=two)))
    assert len(calls) == len({str(setting) for setting, _, _ in trials}) == len({loss for _, _, loss in trials}) == 2


def test_bad_setting_is_pruned_before_its_last_origin(past):
    long = replace(past, folds=[past.folds[0]] * 3)
    losses = iter([0.5, 0.5, 0.5, 0.5, 0.5, 0.9])

    def fake_loss(past, options, calibration, report):
        loss = next(losses)
        for number in range(2):
            report(number, loss)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "trial_loss", fake_loss)
        states = [trial.state for trial in run_search(long, TUNE.model_copy(update={"trials": 6})).trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED]


def test_last_origin_prunes_nothing(past):
    reported = []
    tuning.trial_loss(past, OPTIONS, OPTIONS.calibration, lambda number, _: reported.append(number))
    assert reported == list(range(len(past.folds) - 1))


def test_pruned_trial_is_never_the_best():
    study = optuna.create_study()
    for state, value in ((TrialState.PRUNED, 0.1), (TrialState.COMPLETE, 0.5), (TrialState.COMPLETE, 0.5)):
        study.add_trial(create_trial(state=state, value=value, intermediate_values={0: value}))
    assert tuning.best_trial(study).number == 1


def test_minutes_are_counted_over_all_runs():
    start = datetime(2024, 1, 1)
    trial = create_trial(value=0.5)
    trial.datetime_start, trial.datetime_complete = start, start + timedelta(minutes=31)
    study = optuna.create_study()
    study.add_trial(trial)
    assert not tuning.is_budget_used(study, TUNE)
    study.add_trial(trial)
    assert tuning.is_budget_used(study, TUNE)
    assert not tuning.is_budget_used(study, TUNE.model_copy(update={"minutes": 63}))


# --- the result ---------------------------------------------------------------------------------------


def compare(past, final, setting, current=OPTIONS, gate=GATE):
    held = tuning.holdout_rows(final, past.cutoff)
    return tuning.compare_with_current(past, held, tuning.TrialSettings.with_setting(OPTIONS, setting), current, gate)


BLIND = {"linear.inverse_penalties": (1e-9,), "lightgbm.tree_weights": (0.0,)}
"""A setting outside the search space that is certainly worse: the model predicts the same for all accounts."""


def test_best_setting_is_better_worse_or_not_different(past, final):
    assert compare(past, final, BLIND)["verdict"] == "worse"
    assert compare(past, final, {}, tuning.TrialSettings.with_setting(OPTIONS, BLIND))["verdict"] == "better"
    same = compare(past, final, {})
    assert (same["verdict"], same["gain"]) == ("no_difference", {"value": 0.0, "low": 0.0, "high": 0.0})
    held = tuning.holdout_rows(final, past.cutoff)
    assert (same["rows"], same["terms"]) == (len(held), held["term"].nunique())
    assert same["at_lead"]["lead_days"] == GATE.lead_days
    assert 0 < same["at_lead"]["terms"] < same["terms"]


def test_too_few_outcomes_give_no_verdict(past, final):
    comparison = compare(past, final, BLIND, gate=GATE.model_copy(update={"min_renewals": 10_000}))
    assert comparison["verdict"] == comparison["at_lead"]["verdict"] == "too_few"
    assert "gain" not in comparison


def test_compared_models_do_not_train_on_the_holdout(past, final):
    held = tuning.holdout_rows(final, past.cutoff)
    before = tuning._predict_holdout(past, held, OPTIONS)
    assert np.array_equal(tuning._predict_holdout(past, held.assign(label=1 - held["label"]), OPTIONS), before)
    assert past.observed["matured_at"].max() <= past.cutoff


def test_history_too_short_raises_an_error_with_the_reason(training):
    early = training[training["as_of"] < "2021-06-01"]
    with pytest.raises(InsufficientHistoryError, match=r"folds\.min_renewals"):
        tuning.SearchData.from_training(early, CATALOGUE, "renewal", pd.Timestamp(2021, 3, 1), OPTIONS)
    with pytest.raises(InsufficientHistoryError, match="no outcome is final"):
        tuning.search_cutoff(observations(training, "renewal", datetime(2020, 1, 1).date()), 0.2)
    decided = training.assign(renewal_signed=True)
    with pytest.raises(
        InsufficientHistoryError,
        match=r"there are 0 for testing, 0 of the rarer outcome\. At the present pace there will not",
    ):
        tuning.SearchData.from_training(decided, CATALOGUE, "renewal", pd.Timestamp(2023, 6, 1), OPTIONS)


@pytest.mark.parametrize(
    ("search_space", "message"),
    [
        ({}, "at least one"),
        ({"folds.origins": (1, 2)}, "folds.origins"),
        ({"lightgbm.num_rounds": (100,)}, "lightgbm.num_rounds"),
        ({"lightgbm.seed": (1, 2)}, "lightgbm.seed"),
        ({"lightgbm.parallel_fits": (1, 2)}, "lightgbm.parallel_fits"),
        ({"lightgbm.depth": (1, 2)}, "lightgbm.depth"),
        ({"lightgbm.max_depth": (0, 2)}, "lightgbm.max_depth cannot be 0"),
    ],
)
def test_only_numbers_of_the_learner_can_be_searched(search_space, message):
    with pytest.raises(ValidationError, match=message):
        TuneSettings(search_space=search_space)


def test_search_values_are_sorted_and_keep_the_type_of_their_setting():
    search_space = TuneSettings(
        search_space={"lightgbm.lambda_l2": (3, 1, 1), "lightgbm.max_depth": (2, 1)}
    ).search_space
    assert search_space == {"lightgbm.lambda_l2": (1.0, 3.0), "lightgbm.max_depth": (1, 2)}
    assert [type(value) for values in search_space.values() for value in values] == [float, float, int, int]
