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
from renewals.models.metrics import Resampling, at_lead, gain, losses
from renewals.models.settings import RENEWAL, Calibration, Folds, Gate, Ladders, LightGBM, Linear, Tune
from renewals.models.training import walk_forward
from renewals.models.training.additive import Additive
from renewals.models.training.ensemble import Floats
from renewals.models.training.schema import Schema
from renewals.models.training.splits import Fold, TooFew, observations, rolling, weights

Setting = dict[str, int | float]
"""A value of each searched setting, by its key."""

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
SET = "set"
"""Where a trial keeps its setting: Optuna knows only the rungs."""
PATIENT = 5
"""So many trials are finished before one may be stopped early."""


@dataclass(frozen=True)
class Settled:
    """The options of one trial."""

    folds: Folds
    linear: Linear
    lightgbm: LightGBM
    calibration: Calibration

    @staticmethod
    def of(options: walk_forward.Options, setting: Mapping[str, float]) -> Settled:
        """The options in force, but for this setting."""
        sections = {name: getattr(options, name) for name in ("folds", "linear", "lightgbm", "calibration")}
        for key, value in setting.items():
            section, _, name = key.partition(".")
            sections[section] = sections[section].model_copy(update={name: value})
        return Settled(**sections)


def in_force(options: walk_forward.Options, keys: Sequence[str]) -> Setting:
    """The setting in force."""
    return {key: getattr(getattr(options, section), name) for key in keys for section, _, name in [key.partition(".")]}


def with_in_force(ladders: Ladders, now: Setting) -> Ladders:
    """The ladders with the setting in force as a rung of each, so that the search can begin with it."""
    return {key: tuple(sorted({*rungs, now[key]})) for key, rungs in ladders.items()}


# --- what a trial may see ---------------------------------------------------------------------------


def stands_on(final: pd.DataFrame, held_out: float) -> pd.Timestamp:
    """The newest day on or after which the share `held_out` of the terms was still observed.

    `final` are the rows whose outcome is final by now; no label has a say. Raises TooFew where there is none.
    """
    if not len(final):
        raise TooFew("no outcome is final yet: history is too short for a search")
    last_seen = final.groupby("term")["as_of"].max().sort_values()
    return last_seen.iloc[int((1 - held_out) * (len(last_seen) - 1))]


def known_on(training: pd.DataFrame, target: str, day: pd.Timestamp, options: Folds) -> pd.DataFrame:
    """The observations as they stood on the day of the search; one row per (account_id, as_of).

    What was not final, and so all that was observed later, goes before anything is reckoned from it, even how long a
    grace is.
    """
    by = day - pd.Timedelta(days=options.embargo_days)
    matured_at = pd.to_datetime(training[f"{target}_matured_at"])
    return observations(training[matured_at <= by], target, by.date(), options.treated)


@dataclass(frozen=True)
class Past:
    """The observations of the search, cut at its origins; what does not change between trials is kept."""

    observed: pd.DataFrame
    schema: Schema
    values: Floats
    folds: list[Fold]
    day: pd.Timestamp
    _lines: dict[tuple[int, Linear], dict[float, Additive]] = field(default_factory=dict)

    @staticmethod
    def of(
        training: pd.DataFrame,
        catalogue: Sequence[Mapping[str, Any]],
        target: str,
        day: pd.Timestamp,
        options: walk_forward.Options,
    ) -> Past:
        """What a search on this day may see. Raises TooFew where there is too little to learn from or to judge by."""
        observed = known_on(training, target, day, options.folds)
        schema = Schema.of(catalogue, observed, target, options.lightgbm.monotone)
        return Past(observed, schema, schema.values(observed), rolling(observed, options.folds, target), day)

    def step(self, number: int, options: walk_forward.Options) -> walk_forward.Step:
        """What every recipe says at one origin. The linear part is fitted once for all settings of the trees."""
        rows = (self.observed, self.values, self.schema, self.folds[number], options)
        key = (number, options.linear)
        if key not in self._lines:
            self._lines[key] = walk_forward.lines_at(*rows)
        return walk_forward.step_at(*rows, self._lines[key])

    def steps(self, options: walk_forward.Options) -> list[walk_forward.Step]:
        """The same at all of them."""
        return [self.step(number, options) for number in range(len(self.folds))]


# --- what a trial is worth ----------------------------------------------------------------------------

Heed = Callable[[int, float], None]
"""Told, after each origin but the last, its number and the log loss so far; may stop the trial by raising."""


def loss_of(
    past: Past, options: walk_forward.Options, yardstick: Calibration, heed: Heed = lambda _, __: None
) -> float:
    """The log loss of what models with these options would have said before the day of the search.

    Rows of a term weigh one together, and what was said long ago less, by the half-life of `yardstick`: that of the
    options in force, whatever is tried. What was decided already is left out.
    """
    steps: list[walk_forward.Step] = []
    told: list[pd.DataFrame] = []
    loss = np.nan
    for number in range(len(past.folds)):
        step = past.step(number, options)
        choice = walk_forward.choose(past.observed, steps, step.fold.origin, options)
        told.append(walk_forward.said(past.observed, step, choice, options))
        steps.append(step)
        rows = pd.concat(told, ignore_index=True)
        rows = rows[~rows["decided"].astype(bool)]
        if len(rows):
            weight = weights(rows["term"]) * walk_forward.freshness(rows["as_of"], past.day, yardstick)
            loss = float(np.average(losses(rows["label"], rows["probability"]), weights=weight))
            if number + 1 < len(past.folds):
                heed(number, loss)
    return loss


# --- the search ---------------------------------------------------------------------------------------


def go_on(
    study: optuna.Study, past: Past, options: walk_forward.Options, tune: Tune, tell: Callable[[FrozenTrial], None]
) -> None:
    """Try settings until the budget is spent; `tell` hears of each when it is done.

    A trial that was cut off by the end of its process is marked failed and drawn once more.
    """
    for lost in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(lost.number, state=TrialState.FAIL)
    now = in_force(options, list(tune.ladders))
    ladders = with_in_force(tune.ladders, now)
    while not spent(study, tune):
        tell(_tried(study, past, options, ladders, tune.seed))


def spent(study: optuna.Study, tune: Tune) -> bool:
    """Whether the trials or the minutes of a study are used up."""
    done = finished(study)
    took = sum((trial.duration.total_seconds() for trial in done if trial.duration is not None), 0.0)
    return len(done) >= tune.trials or took >= 60 * tune.minutes


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count, in order; those cut off do not."""
    return study.get_trials(deepcopy=False, states=DONE)


def _tried(study: optuna.Study, past: Past, options: walk_forward.Options, ladders: Ladders, seed: int) -> FrozenTrial:
    number = len(finished(study))
    study.sampler = optuna.samplers.TPESampler(seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=PATIENT, n_warmup_steps=1)
    if not number and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        now = in_force(options, list(ladders))
        study.enqueue_trial({key: rungs.index(now[key]) for key, rungs in ladders.items()})
    trial = study.ask()
    setting = {key: rungs[trial.suggest_int(key, 0, len(rungs) - 1)] for key, rungs in ladders.items()}
    trial.set_user_attr(SET, setting)
    known = _known(study, setting)
    if known is not None:
        return study.tell(trial, known)
    try:
        loss = loss_of(past, Settled.of(options, setting), options.calibration, _pruning(trial))
    except optuna.TrialPruned:
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, loss)


def _known(study: optuna.Study, setting: Setting) -> float | None:
    """The log loss of a setting that is drawn once more: it would be the same."""
    ran = (trial for trial in finished(study) if trial.state == TrialState.COMPLETE)
    return next((trial.value for trial in ran if trial.user_attrs[SET] == setting), None)


def _pruning(trial: Trial) -> Heed:
    def heed(number: int, loss: float) -> None:
        trial.report(loss, number)
        if trial.should_prune():
            raise optuna.TrialPruned

    return heed


def best(study: optuna.Study) -> FrozenTrial:
    """The trial with the lowest log loss among those that ran to their end; the first of equal ones."""
    return min(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=lambda t: (t.values[0], t.number))


def changes(setting: Mapping[str, float], now: Mapping[str, float]) -> Setting:
    """What a setting has other than the one in force."""
    return {key: value for key, value in setting.items() if value != now[key]}


# --- judged on what was held out ----------------------------------------------------------------------


def held_out(final: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    """The rows on which the result is judged: observed from the day of the search on, and not decided yet."""
    return final[(final["as_of"] >= day) & ~final["decided"].astype(bool)].reset_index(drop=True)


def compared(
    past: Past, held: pd.DataFrame, found: Settled, options: walk_forward.Options, asked: Gate
) -> dict[str, Any]:
    """How much better the setting that was found speaks of the held-out rows than the one in force.

    Both learn what the search could see. The verdict is over all rows, as in the search; for renewals the gain at the
    lead of the gate stands beside it. `too_few` where the gate would not judge by so few outcomes.
    """
    rows = held.assign(found=_words(past, held, found), now=_words(past, held, options))
    whole = _gained(rows, asked)
    if past.schema.target != RENEWAL:
        return whole
    return {**whole, "at_lead": {"lead_days": asked.lead_days, **_gained(at_lead(rows, asked.lead_days), asked)}}


def _words(past: Past, held: pd.DataFrame, options: walk_forward.Options) -> Floats:
    """What a model of the day of the search, with these options, says of the held-out rows."""
    choice = walk_forward.choose(past.observed, past.steps(options), past.day, options)
    return walk_forward.learn(past.observed, past.schema, choice, options).probability(held)


def _gained(rows: pd.DataFrame, asked: Gate) -> dict[str, Any]:
    terms, events = gate.counted(rows) if len(rows) else (0, 0.0)
    told = {"rows": len(rows), "terms": terms, "events": events}
    if terms < asked.min_renewals or events < asked.min_events:
        return {**told, "verdict": "too_few"}
    mean, low, high = gain(
        rows["label"], rows["found"], rows["now"], rows["account_id"],
        Resampling(asked.bootstrap, asked.confidence), weights(rows["term"]),
    )  # fmt: skip
    return {**told, "verdict": verdict(low, high), "gain": {"value": mean, "low": low, "high": high}}
