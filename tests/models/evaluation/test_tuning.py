"""A search stands in the past: what comes later moves no trial, and it goes on as if it had never been stopped."""

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
def day(final):
    return tuning.search_cutoff(final, TUNE.holdout_share)


@pytest.fixture(scope="module")
def past(training, day):
    return tuning.SearchData.from_training(training, CATALOGUE, "renewal", day, OPTIONS)


@pytest.fixture(scope="module")
def study(past):
    return searched(past)


def searched(past, tune=TUNE, study=None, options=OPTIONS):
    study = study or optuna.create_study()
    tuning.run_trials(study, past, options, tune, lambda trial: None)
    return study


def tried(study):
    """What counts of a study: setting, state and value of each trial that was not cut off."""
    return [
        (trial.user_attrs[tuning.SETTING_ATTRIBUTE], trial.state, trial.value)
        for trial in tuning.finished_trials(study)
    ]


# --- the law ------------------------------------------------------------------------------------------


def test_nothing_that_was_not_final_on_its_day_moves_a_trial(training, day, past, study):
    late = (training["as_of"] >= day) | (training["renewal_matured_at"] > day)
    changed = training.assign(
        renewal=training["renewal"].where(~late, 1 - training["renewal"]),
        use=training["use"].where(~late, 99.0),
        plan=training["plan"].where(~late, "unheard of"),
        renewal_signed=training["renewal_signed"] & ~late,
        renewal_matured_at=training["renewal_matured_at"] + pd.to_timedelta(np.where(late, 9, 0), "D"),
    )
    assert 0 < late.sum() < len(training)
    then = tuning.SearchData.from_training(changed, CATALOGUE, "renewal", day, OPTIONS)
    assert tried(searched(then)) == tried(study)
    assert then.schema == past.schema
    gone = tuning.SearchData.from_training(training[~late], CATALOGUE, "renewal", day, OPTIONS)
    assert tried(searched(gone, TUNE.model_copy(update={"trials": 1}))) == tried(study)[:1]


def test_what_was_final_does_move_them(training, day, study):
    early = training.index == training.index[training["renewal_matured_at"] < day - pd.Timedelta(days=300)][-1]
    changed = training.assign(renewal=training["renewal"].where(~early, 1 - training["renewal"]))
    then = tuning.SearchData.from_training(changed, CATALOGUE, "renewal", day, OPTIONS)
    assert tuning.trial_loss(then, OPTIONS, OPTIONS.calibration) != tried(study)[0][2]


def test_what_is_held_out_is_the_newest_share_of_the_terms_whatever_became_of_them(final, day):
    held = tuning.holdout_rows(final, day)
    assert TUNE.holdout_share <= final.loc[final["as_of"] >= day, "term"].nunique() / final["term"].nunique() < 0.35
    assert (held["as_of"] >= day).all()
    assert not held["renewal_signed"].any()
    assert tuning.search_cutoff(final.assign(label=1 - final["label"]), TUNE.holdout_share) == day


def test_a_label_that_still_travels_or_came_before_its_cohort_is_not_there_yet(training, day):
    slow, cancelled = OPTIONS.folds.model_copy(update={"embargo_days": 90}), training["account_id"] < "a050"
    early = training["renewal_matured_at"].mask(cancelled, training["as_of"] + pd.Timedelta(days=10))
    known = tuning.observations_known_on(training.assign(renewal_matured_at=early), "renewal", day, slow)
    assert known["matured_at"].max() <= day - pd.Timedelta(days=90)
    assert len(known) < len(tuning.observations_known_on(training, "renewal", day, OPTIONS.folds))


# --- the value of a trial -----------------------------------------------------------------------------


def test_a_trial_is_worth_what_its_backtest_would_have_said(past):
    steps = walk_forward.fit_origins(past.observed, past.schema, OPTIONS)
    told = walk_forward.predict_at_origins(
        past.observed, steps, walk_forward.select_at_origins(past.observed, steps, OPTIONS), OPTIONS
    )
    rows = told[~told["renewal_signed"]]
    age = (past.cutoff - rows["as_of"]).dt.days / OPTIONS.calibration.half_life_days
    weight = term_weights(rows["term"]) * 0.5**age
    expected = np.average(log_loss_per_row(rows["label"], rows["probability"]), weights=weight)
    assert len(rows) < len(told)
    assert tuning.trial_loss(past, OPTIONS, OPTIONS.calibration) == pytest.approx(expected, abs=1e-12)


def test_all_trials_are_measured_with_one_yardstick(past):
    hasty = CalibrationSettings(half_life_days=30, prior_renewals=1e9)
    own = tuning.TrialSettings.with_setting(
        OPTIONS, {"calibration.half_life_days": 30, "calibration.prior_renewals": 1e9}
    )
    usual = tuning.TrialSettings.with_setting(OPTIONS, {"calibration.prior_renewals": 1e9})
    by_one = tuning.trial_loss(past, own, OPTIONS.calibration), tuning.trial_loss(past, usual, OPTIONS.calibration)
    assert by_one[0] == pytest.approx(by_one[1], abs=1e-6)
    assert abs(tuning.trial_loss(past, own, hasty) - by_one[0]) > 1e-4
    study = searched(past, TuneSettings(trials=4, search_space={"calibration.half_life_days": (30, 730)}))
    worth = {setting["calibration.half_life_days"]: loss for setting, _, loss in tried(study)}
    assert worth[30] == tuning.trial_loss(
        past, tuning.TrialSettings.with_setting(OPTIONS, {"calibration.half_life_days": 30}), OPTIONS.calibration
    )


def test_the_linear_part_is_fitted_once_for_all_trees(training, day, monkeypatch):
    fitted = []
    fit = walk_forward.fit_linear
    monkeypatch.setattr(walk_forward, "fit_linear", lambda *given: fitted.append(1) or fit(*given))
    fresh = tuning.SearchData.from_training(training, CATALOGUE, "renewal", day, OPTIONS)
    searched(fresh, TUNE.model_copy(update={"trials": 4}))
    assert len(fitted) == len(fresh.folds)


# --- the study ----------------------------------------------------------------------------------------


def test_the_search_begins_with_the_setting_in_force_and_ends_no_worse(study):
    first = tuning.finished_trials(study)[0]
    assert first.user_attrs[tuning.SETTING_ATTRIBUTE] == tuning.current_setting(OPTIONS, list(TUNE.search_space))
    assert first.state == TrialState.COMPLETE
    assert tuning.best_trial(study).value <= first.value


def test_settings_in_force_are_a_rung_of_their_ladder():
    now = {"lightgbm.learning_rate": 0.05}
    assert tuning.add_current_setting({"lightgbm.learning_rate": (0.1, 0.3)}, now) == {
        "lightgbm.learning_rate": (0.05, 0.1, 0.3)
    }


def test_some_and_some_more_are_all(past, study):
    half = searched(past, TUNE.model_copy(update={"trials": 6}))
    assert len(tried(half)) == 6
    assert tried(searched(past, study=half)) == tried(study)
    assert len({str(setting) for setting, _, _ in tried(study)}) > 6


def test_another_seed_tries_other_settings(past, study):
    other = searched(past, TUNE.model_copy(update={"seed": 8, "trials": 4}))
    assert tried(other)[0] == tried(study)[0]
    assert tried(other)[1:] != tried(study)[1:4]


@pytest.mark.parametrize("before", [0, 3])
def test_a_trial_that_was_cut_off_is_lost_alone(past, study, before, monkeypatch):
    resumed = searched(past, TUNE.model_copy(update={"trials": before})) if before else optuna.create_study()
    with monkeypatch.context() as cut:
        cut.setattr(tuning, "trial_loss", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            searched(past, study=resumed)
    assert [trial.state for trial in resumed.trials][before:] == [TrialState.RUNNING]
    five = searched(past, TUNE.model_copy(update={"trials": 5}), resumed)
    assert tried(five) == tried(study)[:5]
    assert [trial.state for trial in resumed.trials].count(TrialState.FAIL) == 1


def test_a_setting_that_is_drawn_again_is_not_learned_again(past, monkeypatch):
    two, learned, loss_of = {"lightgbm.max_depth": (1, 3)}, [], tuning.trial_loss
    monkeypatch.setattr(tuning, "trial_loss", lambda *given: learned.append(1) or loss_of(*given))
    found = tried(searched(past, TuneSettings(trials=5, search_space=two)))
    assert len(learned) == len({str(setting) for setting, _, _ in found}) == len({loss for _, _, loss in found}) == 2


def test_a_setting_far_behind_is_stopped_before_its_last_origin(past):
    long = replace(past, folds=[past.folds[0]] * 3)
    worth = iter([0.5, 0.5, 0.5, 0.5, 0.5, 0.9])

    def loss_of(past, options, yardstick, heed):
        loss = next(worth)
        for number in range(2):
            heed(number, loss)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "trial_loss", loss_of)
        states = [trial.state for trial in searched(long, TUNE.model_copy(update={"trials": 6})).trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED]


def test_the_last_origin_stops_nothing(past):
    heard = []
    tuning.trial_loss(past, OPTIONS, OPTIONS.calibration, lambda number, _: heard.append(number))
    assert heard == list(range(len(past.folds) - 1))


def test_a_trial_that_was_stopped_early_is_never_the_best():
    study = optuna.create_study()
    for state, value in ((TrialState.PRUNED, 0.1), (TrialState.COMPLETE, 0.5), (TrialState.COMPLETE, 0.5)):
        study.add_trial(create_trial(state=state, value=value, intermediate_values={0: value}))
    assert tuning.best_trial(study).number == 1


def test_minutes_are_counted_over_all_runs():
    begun = datetime(2024, 1, 1)
    trial = create_trial(value=0.5)
    trial.datetime_start, trial.datetime_complete = begun, begun + timedelta(minutes=31)
    study = optuna.create_study()
    study.add_trial(trial)
    assert not tuning.is_budget_used(study, TUNE)
    study.add_trial(trial)
    assert tuning.is_budget_used(study, TUNE)
    assert not tuning.is_budget_used(study, TUNE.model_copy(update={"minutes": 63}))


# --- the result ---------------------------------------------------------------------------------------


def verdict(past, final, found, now=OPTIONS, asked=GATE):
    held = tuning.holdout_rows(final, past.cutoff)
    return tuning.compare_with_current(past, held, tuning.TrialSettings.with_setting(OPTIONS, found), now, asked)


BLIND = {"linear.inverse_penalties": (1e-9,), "lightgbm.tree_weights": (0.0,)}
"""Not to be searched, but surely worse: a model that tells nobody from anybody."""


def test_what_was_found_is_better_worse_or_not_told_apart(past, final):
    assert verdict(past, final, BLIND)["verdict"] == "worse"
    assert verdict(past, final, {}, tuning.TrialSettings.with_setting(OPTIONS, BLIND))["verdict"] == "better"
    same = verdict(past, final, {})
    assert (same["verdict"], same["gain"]) == ("no_difference", {"value": 0.0, "low": 0.0, "high": 0.0})
    held = tuning.holdout_rows(final, past.cutoff)
    assert (same["rows"], same["terms"]) == (len(held), held["term"].nunique())
    assert same["at_lead"]["lead_days"] == GATE.lead_days
    assert 0 < same["at_lead"]["terms"] < same["terms"]


def test_too_few_outcomes_judge_nothing(past, final):
    said = verdict(past, final, BLIND, asked=GATE.model_copy(update={"min_renewals": 10_000}))
    assert said["verdict"] == said["at_lead"]["verdict"] == "too_few"
    assert "gain" not in said


def test_the_models_that_are_compared_have_seen_nothing_held_out(past, final):
    held = tuning.holdout_rows(final, past.cutoff)
    before = tuning._predict_holdout(past, held, OPTIONS)
    assert np.array_equal(tuning._predict_holdout(past, held.assign(label=1 - held["label"]), OPTIONS), before)
    assert past.observed["matured_at"].max() <= past.cutoff


def test_a_history_too_short_is_refused_in_words(training):
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
    ("search_space", "said"),
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
def test_only_numbers_of_the_learner_can_be_searched(search_space, said):
    with pytest.raises(ValidationError, match=said):
        TuneSettings(search_space=search_space)


def test_a_ladder_goes_up_and_keeps_the_kind_of_its_setting():
    found = TuneSettings(search_space={"lightgbm.lambda_l2": (3, 1, 1), "lightgbm.max_depth": (2, 1)}).search_space
    assert found == {"lightgbm.lambda_l2": (1.0, 3.0), "lightgbm.max_depth": (1, 2)}
    assert [type(rung) for rungs in found.values() for rung in rungs] == [float, float, int, int]
