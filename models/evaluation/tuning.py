"""Hyperparameter search for one company, on its past only.

The search has a cutoff day in the past. A trial does not use anything that was not final on that day: neither rows
observed later, nor the later outcome of an earlier row. A trial is the backtest of one setting up to that day. Its
value is the log loss of the predictions, each by a model of an earlier day with the hyperparameters and the sigmoid
that could be selected on that day. Rows observed from the cutoff on, with the newest outcomes, are held out. When the
search has ended, the best setting is compared with the current one on them, once.

Each hyperparameter has a ladder of values; a trial takes one rung of each. The draw of a trial depends on the seed and
on the trials finished before it, so ten trials and ten more give the same result as twenty.
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
from renewals.models.metrics import Resampling, is_undecided, log_loss_gain, log_loss_per_row, select_at_lead
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
"""A value of each searched hyperparameter, by its key."""

FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED)
SETTING_ATTRIBUTE = "setting"
"""Attribute of a trial that holds its setting, because Optuna stores only the rungs."""
MIN_FINISHED_TRIALS = 5
"""Number of finished trials before a trial may be stopped early."""


@dataclass(frozen=True)
class TrialSettings:
    """Training settings of one trial."""

    folds: FoldSettings
    linear: LinearSettings
    lightgbm: LightGBMSettings
    calibration: CalibrationSettings

    @staticmethod
    def with_setting(settings: walk_forward.TrainingSettings, setting: Mapping[str, float]) -> TrialSettings:
        """Copy the current training settings, with the values of `setting`."""
        sections = {name: getattr(settings, name) for name in ("folds", "linear", "lightgbm", "calibration")}
        for key, value in setting.items():
            section, _, name = key.partition(".")
            sections[section] = sections[section].model_copy(update={name: value})
        return TrialSettings(**sections)


def current_setting(settings: walk_forward.TrainingSettings, keys: Sequence[str]) -> Setting:
    """Values of the searched hyperparameters in the current training settings."""
    return {key: getattr(getattr(settings, section), name) for key in keys for section, _, name in [key.partition(".")]}


def add_current_setting(search_space: SearchSpace, current: Setting) -> SearchSpace:
    """Add the current values to the ladders, so that the search can start with them."""
    return {key: tuple(sorted({*rungs, current[key]})) for key, rungs in search_space.items()}


# --- data of a trial --------------------------------------------------------------------------------


def search_cutoff(final: pd.DataFrame, holdout_share: float) -> pd.Timestamp:
    """Newest day such that the share `holdout_share` of the terms was still observed on or after it.

    `final` holds the rows with a final outcome; labels are not used. Raises InsufficientHistoryError if there
    are no rows.
    """
    if not len(final):
        raise InsufficientHistoryError("no outcome is final yet: history is too short for a search")
    last_seen = final.groupby("term")["as_of"].max().sort_values()
    return last_seen.iloc[int((1 - holdout_share) * (len(last_seen) - 1))]


def observations_known_on(
    training: pd.DataFrame, target: str, cutoff: pd.Timestamp, settings: FoldSettings
) -> pd.DataFrame:
    """Select observations whose labels were final an embargo before the cutoff; one row per (account_id, as_of).

    Rows that were not final then, and so all later observations, are removed before anything is computed from the
    table, even the length of the grace.
    """
    deadline = cutoff - pd.Timedelta(days=settings.embargo_days)
    matured_at = pd.to_datetime(training[f"{target}_matured_at"])
    return observations(training[matured_at <= deadline], target, deadline.date(), settings.treated_rows)


@dataclass(frozen=True)
class SearchData:
    """Observations and folds of the search, with a cache of the linear models.

    The linear models do not depend on the settings of the trees.
    """

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
        cutoff: pd.Timestamp,
        settings: walk_forward.TrainingSettings,
    ) -> SearchData:
        """Build the data that a search with this cutoff may use.

        Raises InsufficientHistoryError if there is too little history to train or to test on.
        """
        observed = observations_known_on(training, target, cutoff, settings.folds)
        schema = Schema.from_catalogue(catalogue, observed, target, settings.lightgbm.monotone)
        return SearchData(
            observed, schema, schema.values(observed), rolling_origin_folds(observed, settings.folds, target), cutoff
        )

    def fit_origin(self, number: int, settings: walk_forward.TrainingSettings) -> walk_forward.OriginFit:
        """Fit all candidates at one origin.

        The linear part is fitted once for all settings of the trees.
        """
        rows = (self.observed, self.values, self.schema, self.folds[number], settings)
        key = (number, settings.linear)
        if key not in self._linear_models:
            self._linear_models[key] = walk_forward.fit_linear_models(*rows)
        return walk_forward.fit_origin(*rows, self._linear_models[key])

    def fit_all_origins(self, settings: walk_forward.TrainingSettings) -> list[walk_forward.OriginFit]:
        """Fit all candidates at every origin."""
        return [self.fit_origin(number, settings) for number in range(len(self.folds))]


# --- loss of a trial ----------------------------------------------------------------------------------

ProgressCallback = Callable[[int, float], None]
"""Called after each origin but the last with its number and the log loss so far; may stop the trial by raising."""


def trial_loss(
    data: SearchData,
    settings: walk_forward.TrainingSettings,
    base_calibration: CalibrationSettings,
    on_progress: ProgressCallback = lambda _, __: None,
) -> float:
    """Log loss of the predictions before the cutoff by models with these settings.

    Rows of a term have a total weight of one. Older predictions have less weight, by the half-life of
    `base_calibration`, the current settings, whatever the trial uses. Renewals already signed are left out.
    """
    origin_fits: list[walk_forward.OriginFit] = []
    predictions: list[pd.DataFrame] = []
    loss = np.nan
    for number in range(len(data.folds)):
        origin_fit = data.fit_origin(number, settings)
        selection = walk_forward.select_model(data.observed, origin_fits, origin_fit.fold.origin, settings)
        predictions.append(walk_forward.predict_at_origin(data.observed, origin_fit, selection, settings))
        origin_fits.append(origin_fit)
        rows = pd.concat(predictions, ignore_index=True)
        rows = rows[is_undecided(rows)]
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
    """Run trials until the budget is used; call `on_trial` with each finished one.

    A trial that was interrupted by the end of its process is marked as failed and drawn again.
    """
    for interrupted in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(interrupted.number, state=TrialState.FAIL)
    current = current_setting(settings, list(tune_settings.search_space))
    search_space = add_current_setting(tune_settings.search_space, current)
    while not is_budget_used(study, tune_settings):
        on_trial(_run_trial(study, data, settings, search_space, tune_settings.seed))


def is_budget_used(study: optuna.Study, tune_settings: TuneSettings) -> bool:
    """True if the trials or the minutes of a study are used up."""
    finished = finished_trials(study)
    seconds = sum((trial.duration.total_seconds() for trial in finished if trial.duration is not None), 0.0)
    return len(finished) >= tune_settings.trials or seconds >= 60 * tune_settings.minutes


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Completed and pruned trials of a study, in order; interrupted ones do not count."""
    return study.get_trials(deepcopy=False, states=FINISHED_STATES)


def _run_trial(
    study: optuna.Study, data: SearchData, settings: walk_forward.TrainingSettings, search_space: SearchSpace, seed: int
) -> FrozenTrial:
    number = len(finished_trials(study))
    study.sampler = optuna.samplers.TPESampler(seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=MIN_FINISHED_TRIALS, n_warmup_steps=1)
    if not number and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        current = current_setting(settings, list(search_space))
        study.enqueue_trial({key: rungs.index(current[key]) for key, rungs in search_space.items()})
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
    """Log loss of an earlier trial with the same setting, or None; it would be the same again."""
    completed = (trial for trial in finished_trials(study) if trial.state == TrialState.COMPLETE)
    return next((trial.value for trial in completed if trial.user_attrs[SETTING_ATTRIBUTE] == setting), None)


def _pruning_callback(trial: Trial) -> ProgressCallback:
    def report_progress(number: int, loss: float) -> None:
        trial.report(loss, number)
        if trial.should_prune():
            raise optuna.TrialPruned

    return report_progress


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The completed trial with the lowest log loss; the first of equal ones."""
    return min(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=lambda t: (t.values[0], t.number))


def changed_setting(setting: Mapping[str, float], current: Mapping[str, float]) -> Setting:
    """The values of a setting that differ from the current one."""
    return {key: value for key, value in setting.items() if value != current[key]}


# --- comparison on the held-out rows -------------------------------------------------------------------


def holdout_rows(final: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    """Held-out rows: observed from the cutoff on, with a final outcome and no signed renewal."""
    return final[(final["as_of"] >= cutoff) & is_undecided(final)].reset_index(drop=True)


def compare_with_current(
    data: SearchData,
    holdout: pd.DataFrame,
    best: TrialSettings,
    settings: walk_forward.TrainingSettings,
    gate_settings: GateSettings,
) -> dict[str, Any]:
    """Compare the best setting with the current one on the held-out rows, by log loss.

    Both models are trained on the data of the search. The verdict is over all rows, as in the search; for renewals the
    gain at the gate's lead time is added. The verdict is `too_few` with fewer terms or outcomes than the gate requires.
    """
    rows = holdout.assign(best=_predict_holdout(data, holdout, best), current=_predict_holdout(data, holdout, settings))
    report = _gain_report(rows, gate_settings)
    if data.schema.target != RENEWAL:
        return report
    return {
        **report,
        "at_lead": {
            "lead_days": gate_settings.lead_days,
            **_gain_report(select_at_lead(rows, gate_settings.lead_days), gate_settings),
        },
    }


def _predict_holdout(data: SearchData, holdout: pd.DataFrame, settings: walk_forward.TrainingSettings) -> Floats:
    """Predict the held-out rows with a model of the cutoff day, trained with these settings."""
    selection = walk_forward.select_model(data.observed, data.fit_all_origins(settings), data.cutoff, settings)
    return walk_forward.fit_model(data.observed, data.schema, selection, settings).probability(holdout)


def _gain_report(rows: pd.DataFrame, gate_settings: GateSettings) -> dict[str, Any]:
    terms, events = gate.count_terms(rows) if len(rows) else (0, 0.0)
    counts = {"rows": len(rows), "terms": terms, "events": events}
    if terms < gate_settings.min_renewals or events < gate_settings.min_events:
        return {**counts, "verdict": "too_few"}
    mean, low, high = log_loss_gain(
        rows["label"], rows["best"], rows["current"], rows["account_id"],
        Resampling(gate_settings.bootstrap_samples, gate_settings.confidence), term_weights(rows["term"]),
    )  # fmt: skip
    return {**counts, "verdict": verdict(low, high), "gain": {"value": mean, "low": low, "high": high}}
