"""Which settings of the learner suit a company, asked of its past alone.

The search stands on a day in the past. What was not final on it does not exist for a trial: not the rows observed
later, nor the late outcome of an earlier row. A trial is the back-test of one setting up to that day, and its value the
log loss of what would have been said, each word by a model of an earlier day with the recipe and the sigmoid that this
day could choose. Rows observed from the day on, the newest outcomes of all, are held out; on them the best setting is
held against the one in force, once, when the search has ended.

Each setting has a ladder of values; a trial is a rung on each. How a trial is drawn hangs on the seed and on the trials
finished before it, so that ten trials and ten more are twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, Trial, TrialState

from renewals.models.evaluation import gate
from renewals.models.evaluation.backtest import verdict
from renewals.models.metrics import Resampling, log_loss_gain, log_loss_per_row, select_at_lead
from renewals.models.settings import (
    RENEWAL,
    CalibrationSettings,
    FoldSettings,
    GateSettings,
    LightGBMSettings,
    LinearSettings,
    SearchSpace,
    TuneSettings,
)
from renewals.models.training import walk_forward
from renewals.models.training.additive import AdditiveModel
from renewals.models.training.ensemble import Floats
from renewals.models.training.schema import Schema
from renewals.models.training.splits import (
    Fold,
    InsufficientHistoryError,
    observations,
    rolling_origin_folds,
    term_weights,
)

Setting = dict[str, int | float]
"""A value of each searched setting, by its key."""

FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED)
SETTING_ATTRIBUTE = "setting"
"""Where a trial keeps its setting: Optuna knows only the rungs."""
MIN_FINISHED_TRIALS = 5
"""So many trials are finished before one may be stopped early."""


@dataclass(frozen=True)
class TrialSettings:
    """The options of one trial."""

    folds: FoldSettings
    linear: LinearSettings
    lightgbm: LightGBMSettings
    calibration: CalibrationSettings

    @staticmethod
    def with_setting(options: walk_forward.TrainingSettings, setting: Mapping[str, float]) -> TrialSettings:
        """The options in force, but for this setting."""
        sections = {name: getattr(options, name) for name in ("folds", "linear", "lightgbm", "calibration")}
        for key, value in setting.items():
            section, _, name = key.partition(".")
            sections[section] = sections[section].model_copy(update={name: value})
        return TrialSettings(**sections)


def current_setting(settings: walk_forward.TrainingSettings, keys: Sequence[str]) -> Setting:
    """The setting in force."""
    return {key: getattr(getattr(settings, section), name) for key in keys for section, _, name in [key.partition(".")]}


def add_current_setting(search_space: SearchSpace, current: Setting) -> SearchSpace:
    """The ladders with the setting in force as a rung of each, so that the search can begin with it."""
    return {key: tuple(sorted({*rungs, current[key]})) for key, rungs in search_space.items()}


# --- what a trial may see ---------------------------------------------------------------------------


def search_cutoff(final: pd.DataFrame, holdout_share: float) -> pd.Timestamp:
    """The newest day on or after which the share `holdout_rows` of the terms was still observed.

    `final` are the rows whose outcome is final by now; no label has a say. Raises InsufficientHistoryError where there
    is none.
    """
    if not len(final):
        raise InsufficientHistoryError("no outcome is final yet: history is too short for a search")
    last_seen = final.groupby("term")["as_of"].max().sort_values()
    return last_seen.iloc[int((1 - holdout_share) * (len(last_seen) - 1))]


def observations_known_on(
    training: pd.DataFrame, target: str, cutoff: pd.Timestamp, settings: FoldSettings
) -> pd.DataFrame:
    """The observations as they stood on the day of the search; one row per (account_id, as_of).

    What was not final, and so all that was observed later, goes before anything is reckoned from it, even how long a
    grace is.
    """
    by = cutoff - pd.Timedelta(days=settings.embargo_days)
    matured_at = pd.to_datetime(training[f"{target}_matured_at"])
    return observations(training[matured_at <= by], target, by.date(), settings.treated_rows)


@dataclass(frozen=True)
class SearchData:
    """The observations of the search, cut at its origins; what does not change between trials is kept."""

    observed: pd.DataFrame
    schema: Schema
    values: Floats
    folds: list[Fold]
    cutoff: pd.Timestamp
    _linear_models: dict[tuple[int, LinearSettings], dict[float, AdditiveModel]] = field(default_factory=dict)

    @staticmethod
    def from_training(
        training: pd.DataFrame,
        catalogue: Sequence[Mapping[str, Any]],
        target: str,
        day: pd.Timestamp,
        options: walk_forward.TrainingSettings,
    ) -> SearchData:
        """What a search on this day may see. Raises InsufficientHistoryError where there is too little to learn from or
        to judge by."""
        observed = observations_known_on(training, target, day, options.folds)
        schema = Schema.from_catalogue(catalogue, observed, target, options.lightgbm.monotone)
        return SearchData(
            observed, schema, schema.values(observed), rolling_origin_folds(observed, options.folds, target), day
        )

    def fit_origin(self, number: int, options: walk_forward.TrainingSettings) -> walk_forward.OriginFit:
        """What every recipe says at one origin. The linear part is fitted once for all settings of the trees."""
        rows = (self.observed, self.values, self.schema, self.folds[number], options)
        key = (number, options.linear)
        if key not in self._linear_models:
            self._linear_models[key] = walk_forward.fit_linear_models(*rows)
        return walk_forward.fit_origin(*rows, self._linear_models[key])

    def fit_all_origins(self, options: walk_forward.TrainingSettings) -> list[walk_forward.OriginFit]:
        """The same at all of them."""
        return [self.fit_origin(number, options) for number in range(len(self.folds))]


# --- what a trial is worth ----------------------------------------------------------------------------

ProgressCallback = Callable[[int, float], None]
"""Told, after each origin but the last, its number and the log loss so far; may stop the trial by raising."""


def trial_loss(
    data: SearchData,
    settings: walk_forward.TrainingSettings,
    base_calibration: CalibrationSettings,
    on_progress: ProgressCallback = lambda _, __: None,
) -> float:
    """The log loss of what models with these options would have said before the day of the search.

    Rows of a term weigh one together, and what was said long ago less, by the half-life of `base_calibration`: that of
    the options in force, whatever is tried. What was decided already is left out.
    """
    steps: list[walk_forward.OriginFit] = []
    told: list[pd.DataFrame] = []
    loss = np.nan
    for number in range(len(data.folds)):
        step = data.fit_origin(number, settings)
        choice = walk_forward.select_model(data.observed, steps, step.fold.origin, settings)
        told.append(walk_forward.predict_at_origin(data.observed, step, choice, settings))
        steps.append(step)
        rows = pd.concat(told, ignore_index=True)
        rows = rows[~rows["renewal_signed"].astype(bool)]
        if len(rows):
            weight = term_weights(rows["term"]) * walk_forward.recency_weights(
                rows["as_of"], data.cutoff, base_calibration
            )
            loss = float(np.average(log_loss_per_row(rows["label"], rows["probability"]), weights=weight))
            if number + 1 < len(data.folds):
                on_progress(number, loss)
    return loss


# --- the search ---------------------------------------------------------------------------------------


def run_trials(
    study: optuna.Study,
    data: SearchData,
    settings: walk_forward.TrainingSettings,
    tune_settings: TuneSettings,
    on_trial: Callable[[FrozenTrial], None],
) -> None:
    """Try settings until the budget is spent; `on_trial` hears of each when it is done.

    A trial that was cut off by the end of its process is marked failed and drawn once more.
    """
    for lost in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(lost.number, state=TrialState.FAIL)
    now = current_setting(settings, list(tune_settings.search_space))
    search_space = add_current_setting(tune_settings.search_space, now)
    while not is_budget_used(study, tune_settings):
        on_trial(_run_trial(study, data, settings, search_space, tune_settings.seed))


def is_budget_used(study: optuna.Study, tune_settings: TuneSettings) -> bool:
    """Whether the trials or the minutes of a study are used up."""
    done = finished_trials(study)
    took = sum((trial.duration.total_seconds() for trial in done if trial.duration is not None), 0.0)
    return len(done) >= tune_settings.trials or took >= 60 * tune_settings.minutes


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count, in order; those cut off do not."""
    return study.get_trials(deepcopy=False, states=FINISHED_STATES)


def _run_trial(
    study: optuna.Study, data: SearchData, settings: walk_forward.TrainingSettings, search_space: SearchSpace, seed: int
) -> FrozenTrial:
    number = len(finished_trials(study))
    study.sampler = optuna.samplers.TPESampler(seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=MIN_FINISHED_TRIALS, n_warmup_steps=1)
    if not number and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        now = current_setting(settings, list(search_space))
        study.enqueue_trial({key: rungs.index(now[key]) for key, rungs in search_space.items()})
    trial = study.ask()
    setting = {key: rungs[trial.suggest_int(key, 0, len(rungs) - 1)] for key, rungs in search_space.items()}
    trial.set_user_attr(SETTING_ATTRIBUTE, setting)
    known = _known_loss(study, setting)
    if known is not None:
        return study.tell(trial, known)
    try:
        loss = trial_loss(
            data, TrialSettings.with_setting(settings, setting), settings.calibration, _pruning_callback(trial)
        )
    except optuna.TrialPruned:
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, loss)


def _known_loss(study: optuna.Study, setting: Setting) -> float | None:
    """The log loss of a setting that is drawn once more: it would be the same."""
    ran = (trial for trial in finished_trials(study) if trial.state == TrialState.COMPLETE)
    return next((trial.value for trial in ran if trial.user_attrs[SETTING_ATTRIBUTE] == setting), None)


def _pruning_callback(trial: Trial) -> ProgressCallback:
    def heed(number: int, loss: float) -> None:
        trial.report(loss, number)
        if trial.should_prune():
            raise optuna.TrialPruned

    return heed


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The trial with the lowest log loss among those that ran to their end; the first of equal ones."""
    return min(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=lambda t: (t.values[0], t.number))


def changed_setting(setting: Mapping[str, float], current: Mapping[str, float]) -> Setting:
    """What a setting has other than the one in force."""
    return {key: value for key, value in setting.items() if value != current[key]}


# --- judged on what was held out ----------------------------------------------------------------------


def holdout_rows(final: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    """The rows on which the result is judged: observed from the day of the search on, and not decided yet."""
    return final[(final["as_of"] >= cutoff) & ~final["renewal_signed"].astype(bool)].reset_index(drop=True)


def compare_with_current(
    data: SearchData,
    holdout: pd.DataFrame,
    best: TrialSettings,
    settings: walk_forward.TrainingSettings,
    gate_settings: GateSettings,
) -> dict[str, Any]:
    """How much better the setting that was found speaks of the held-out rows than the one in force.

    Both learn what the search could see. The verdict is over all rows, as in the search; for renewals the gain at the
    lead of the gate stands beside it. `too_few` where the gate would not judge by so few outcomes.
    """
    rows = holdout.assign(best=_predict_holdout(data, holdout, best), current=_predict_holdout(data, holdout, settings))
    whole = _gain_report(rows, gate_settings)
    if data.schema.target != RENEWAL:
        return whole
    return {
        **whole,
        "at_lead": {
            "lead_days": gate_settings.lead_days,
            **_gain_report(select_at_lead(rows, gate_settings.lead_days), gate_settings),
        },
    }


def _predict_holdout(data: SearchData, holdout: pd.DataFrame, settings: walk_forward.TrainingSettings) -> Floats:
    """What a model of the day of the search, with these options, says of the held-out rows."""
    choice = walk_forward.select_model(data.observed, data.fit_all_origins(settings), data.cutoff, settings)
    return walk_forward.fit_model(data.observed, data.schema, choice, settings).probability(holdout)


def _gain_report(rows: pd.DataFrame, gate_settings: GateSettings) -> dict[str, Any]:
    terms, events = gate.count_terms(rows) if len(rows) else (0, 0.0)
    told = {"rows": len(rows), "terms": terms, "events": events}
    if terms < gate_settings.min_renewals or events < gate_settings.min_events:
        return {**told, "verdict": "too_few"}
    mean, low, high = log_loss_gain(
        rows["label"], rows["best"], rows["current"], rows["account_id"],
        Resampling(gate_settings.bootstrap_samples, gate_settings.confidence), term_weights(rows["term"]),
    )  # fmt: skip
    return {**told, "verdict": verdict(low, high), "gain": {"value": mean, "low": low, "high": high}}
