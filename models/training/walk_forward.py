"""Walking forward through history: what would have been said on each day, by a model that stood on that day.

One walk serves three ends, and none may see a label before it was final:

* *choice*: every recipe (ridge strength, number of trees, share of the trees) speaks at every origin; the model that
  stands on a day takes the recipe whose earlier words came truest;
* *calibration*: the sigmoid is fitted on those earlier words, each said by a model that was trained before the row it
  speaks of;
* *back-test*: at each origin, recipe and sigmoid come from the origins before it alone.

The model that is kept learns from every final row, with the recipe and the sigmoid of the whole walk. Keeping back
the last stretch for calibration instead would lose the newest outcomes, about a year of them, from the booster;
here no calibration row is ever judged by a model that had seen it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from threadpoolctl import threadpool_limits

from renewals.models.metrics import EPSILON, log_loss_per_row
from renewals.models.settings import RENEWAL, CalibrationSettings, FoldSettings, LightGBMSettings, LinearSettings
from renewals.models.training.additive import AdditiveModel, near_term_proximity
from renewals.models.training.calibration import SigmoidCalibration, add_segment_effects, fit_sigmoid
from renewals.models.training.ensemble import EnsembleModel, Floats, Hyperparameters, fit_linear, fit_trees
from renewals.models.training.schema import LEAD_COLUMN, Schema
from renewals.models.training.splits import KEY, Fold, lead_weights, rolling_origin_folds, term_weights
from renewals.models.training.uncertainty import logistic_normal_scale

Result = TypeVar("Result")

LINEAR_BASELINE = "linear"
"""The baseline that is the model's own linear part: what trees and sigmoid must add to."""
MIN_STANDARD_ERRORS = 2.0
"""Standard errors by which a recipe must be better than the usual one to be taken."""


class TrainingSettings(Protocol):
    """The parts of the configuration that learning reads."""

    @property
    def folds(self) -> FoldSettings:
        """Where history is cut."""
        ...

    @property
    def linear(self) -> LinearSettings:
        """The linear part."""
        ...

    @property
    def lightgbm(self) -> LightGBMSettings:
        """The trees."""
        ...

    @property
    def calibration(self) -> CalibrationSettings:
        """The sigmoid."""
        ...


@dataclass(frozen=True)
class OriginFit:
    """What every recipe said, at one origin, of the rows observed from it on, and the models that said it."""

    fold: Fold
    schema: Schema
    linear_margins: Mapping[float, Floats]
    tree_margins: Mapping[int, Floats]
    linear_models: Mapping[float, AdditiveModel]
    booster: lgb.Booster

    def margin(self, hyperparameters: Hyperparameters) -> Floats:
        """The moderated log-odds of one recipe for each row of the fold's test."""
        margin = (1 - hyperparameters.tree_weight) * self.linear_margins[
            hyperparameters.inverse_penalty
        ] + hyperparameters.tree_weight * self.tree_margins[hyperparameters.num_rounds]
        return margin * shrinkage_factor(self.linear_models[hyperparameters.inverse_penalty])

    def predict_margin(self, values: Floats, recipe: Hyperparameters) -> Floats:
        """The same for any rows."""
        trees, line = _tree_margin(self.booster, values, recipe.num_rounds), self.linear_models[recipe.inverse_penalty]
        return ((1 - recipe.tree_weight) * line.margin(values) + recipe.tree_weight * trees) * shrinkage_factor(line)


@dataclass(frozen=True)
class SelectedModel:
    """A recipe, the sigmoid that goes with it, and the log loss of each recipe that was tried."""

    hyperparameters: Hyperparameters
    sigmoid: SigmoidCalibration
    candidate_losses: tuple[tuple[Hyperparameters, float], ...]
    rows: int
    terms: int


def list_candidates(linear: LinearSettings, trees: LightGBMSettings) -> list[Hyperparameters]:
    """Every recipe to be tried."""
    return list(
        itertools.starmap(
            Hyperparameters,
            itertools.product(sorted(linear.inverse_penalties), sorted(trees.num_rounds), sorted(trees.tree_weights)),
        )
    )


def default_candidate(linear: LinearSettings, trees: LightGBMSettings) -> Hyperparameters:
    """The recipe of a model with no past to choose by: the middle of each list."""
    kept = (sorted(tried) for tried in (linear.inverse_penalties, trees.num_rounds, trees.tree_weights))
    strength, rounds, share = (tried[len(tried) // 2] for tried in kept)
    return Hyperparameters(strength, int(rounds), share)


def fit_origins(observed: pd.DataFrame, schema: Schema, settings: TrainingSettings) -> list[OriginFit]:
    """What every recipe says at every origin. Raises InsufficientHistoryError where history allows no origin."""
    values, folds = schema.values(observed), rolling_origin_folds(observed, settings.folds, schema.target)

    def step(fold: Fold) -> OriginFit:
        return fit_origin(
            observed, values, schema, fold, settings, fit_linear_models(observed, values, schema, fold, settings)
        )

    return parallel_map(step, folds, settings.lightgbm.parallel_fits)


def parallel_map(work: Callable[[Fold], Result], folds: Sequence[Fold], threads: int) -> list[Result]:
    """What comes of each fold, in order; the last, which are the largest, are begun first.

    Each has one thread to itself, so that their number shows in no result.
    """
    # The limit is the process's: a fit's own would be lifted by whichever fit ends first.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return [*pool.map(work, reversed(folds))][::-1]


def fit_linear_models(
    observed: pd.DataFrame, values: Floats, schema: Schema, fold: Fold, settings: TrainingSettings
) -> dict[float, AdditiveModel]:
    """The linear part that stood at an origin, by strength; it hangs on no setting of the trees."""
    rows = observed.iloc[fold.train]
    truth, weight = rows["label"].to_numpy(), sample_weights(rows, schema, settings.folds)
    near = near_term_weights(rows, settings.linear)
    return fit_linear(
        values[fold.train], truth, weight, schema, settings.linear.inverse_penalties, settings.linear, near
    )


def fit_origin(
    observed: pd.DataFrame,
    values: Floats,
    schema: Schema,
    fold: Fold,
    settings: TrainingSettings,
    linear_models: Mapping[float, AdditiveModel],
) -> OriginFit:
    """What every recipe says at one origin, with the linear part that stood there (`fit_linear_models`)."""
    rows, ahead = observed.iloc[fold.train], values[fold.test]
    truth, weight = rows["label"].to_numpy(), sample_weights(rows, schema, settings.folds)
    booster = fit_trees(values[fold.train], truth, weight, schema, max(settings.lightgbm.num_rounds), settings.lightgbm)
    return OriginFit(
        fold,
        schema,
        {strength: line.margin(ahead) for strength, line in linear_models.items()},
        {r: _tree_margin(booster, ahead, r) for r in settings.lightgbm.num_rounds},
        linear_models,
        booster,
    )


def _tree_margin(booster: lgb.Booster, values: Floats, num_rounds: int) -> Floats:
    """The margin that the first so many trees give each row."""
    return np.asarray(booster.predict(values, raw_score=True, num_iteration=num_rounds, num_threads=1))


def shrinkage_factor(linear_model: AdditiveModel) -> float:
    """How much of a margin is left when all that other outcomes might have taught is averaged over (MacKay 1992).

    The likeliest model is surer than the mean of all likely ones; the fewer outcomes taught it, the more.
    """
    return float(1 / logistic_normal_scale(np.sqrt(linear_model.margin_variance)))


def sample_weights(rows: pd.DataFrame, schema: Schema, folds: FoldSettings) -> Floats:
    """One weight per row to learn from; a renewal's rows count for more about the lead at which it is to be known."""
    if schema.target != RENEWAL or not folds.focus_lead_days:
        return term_weights(rows["term"])
    return term_weights(rows["term"], lead_weights(rows[LEAD_COLUMN].to_numpy(np.float64), folds.focus_lead_days))


def near_term_weights(rows: pd.DataFrame, settings: LinearSettings) -> Floats:
    """One weight per row near the end, so that those of a term weigh one together there; 0 elsewhere."""
    close = (_row_proximity(rows, settings) > 0).astype(np.float64)
    return np.where(close, term_weights(rows["term"], close + EPSILON), 0.0)


def select_model(
    observed: pd.DataFrame, origin_fits: Sequence[OriginFit], day: pd.Timestamp, settings: TrainingSettings
) -> SelectedModel:
    """The recipe whose words came clearly truest, by what was final on `day`, and its sigmoid.

    Rows with a follow-on already signed say nothing of foresight and are left out. With too little said so far the
    middle recipe is taken as it is.
    """
    tried = list_candidates(settings.linear, settings.lightgbm)
    told = [_is_usable(observed, step, day) for step in origin_fits]
    places = (
        np.concatenate([step.fold.test[final] for step, final in zip(origin_fits, told, strict=True)])
        if origin_fits
        else np.zeros(0, int)
    )
    truth, terms = observed["label"].to_numpy()[places], observed["term"].iloc[places]
    if terms.nunique() < 2 or len(np.unique(truth)) < 2:
        return SelectedModel(
            default_candidate(settings.linear, settings.lightgbm),
            SigmoidCalibration(),
            (),
            len(places),
            terms.nunique(),
        )
    weight = term_weights(terms) * recency_weights(observed["as_of"].iloc[places], day, settings.calibration)
    spoken = {
        r: np.concatenate([s.margin(r)[final] for s, final in zip(origin_fits, told, strict=True)]) for r in tried
    }
    close = _row_proximity(observed.iloc[places], settings.linear)
    sigmoids = {r: fit_sigmoid(margin, close, truth, weight, settings.calibration) for r, margin in spoken.items()}
    missed = {r: log_loss_per_row(truth, sigmoids[r].probability(margin, close)) for r, margin in spoken.items()}
    kept = _select_candidate(missed, default_candidate(settings.linear, settings.lightgbm), terms, weight)
    means = tuple((recipe, float(np.average(loss, weights=weight))) for recipe, loss in missed.items())
    log_odds, segments = (
        sigmoids[kept].log_odds(spoken[kept], close),
        observed.iloc[places][_calibrated_segments(origin_fits, settings)],
    )
    sigmoid = add_segment_effects(sigmoids[kept], log_odds, segments, truth, weight, settings.calibration)
    return SelectedModel(kept, sigmoid, means, len(places), terms.nunique())


def _calibrated_segments(origin_fits: Sequence[OriginFit], settings: TrainingSettings) -> list[str]:
    """Of the segments to be calibrated, those that the model reads: they are there when it scores."""
    return [name for name in settings.calibration.segments if name in origin_fits[0].schema.categories]


def _select_candidate(
    losses: Mapping[Hyperparameters, Floats], default: Hyperparameters, terms: pd.Series, weight: Floats
) -> Hyperparameters:
    """The best recipe if it is better than the usual one by more than two standard errors over terms, else that one.

    Of two dozen recipes one is always best by chance; following chance costs more than it brings.
    """
    best = min(losses, key=lambda recipe: float(weight @ losses[recipe]))
    gains = pd.Series(weight * (losses[default] - losses[best])).groupby(terms.to_numpy()).sum()
    return best if gains.mean() > MIN_STANDARD_ERRORS * gains.std(ddof=1) / np.sqrt(len(gains)) else default


def _row_proximity(rows: pd.DataFrame, settings: LinearSettings) -> Floats:
    days = rows[LEAD_COLUMN].to_numpy(np.float64)
    return near_term_proximity(days, settings.near_term_days) if settings.near_term_days else np.zeros(len(rows))


def recency_weights(as_of: pd.Series, day: pd.Timestamp, settings: CalibrationSettings) -> Floats:
    """How much what was said on a day still counts; one number per row."""
    age = (day - as_of).dt.days.to_numpy(np.float64)
    return np.asarray(0.5 ** (age / settings.half_life_days))


def _is_usable(observed: pd.DataFrame, origin_fit: OriginFit, day: pd.Timestamp) -> npt.NDArray[np.bool_]:
    rows = observed.iloc[origin_fit.fold.test]
    return ((rows["matured_at"] <= day) & ~rows["renewal_signed"].astype(bool)).to_numpy()


def fit_model(
    observed: pd.DataFrame,
    schema: Schema,
    selection: SelectedModel,
    settings: TrainingSettings,
    hidden_effect_sd: float = 0.0,
) -> EnsembleModel:
    """The model of a choice, learned from every row given. Raises InsufficientHistoryError where all ended alike.

    `hidden_effect_sd` is what stays with an account and no column shows
    (`models.training.uncertainty.hidden_effect_sd`), in log-odds.
    """
    values, truth = schema.values(observed), observed["label"].to_numpy()
    weight = sample_weights(observed, schema, settings.folds)
    recipe = selection.hyperparameters
    near = near_term_weights(observed, settings.linear)
    with ThreadPoolExecutor(settings.lightgbm.parallel_fits) as pool:
        trees = pool.submit(fit_trees, values, truth, weight, schema, recipe.num_rounds, settings.lightgbm)
        lines = pool.submit(fit_linear, values, truth, weight, schema, [recipe.inverse_penalty], settings.linear, near)
    booster, line = trees.result(), lines.result()[recipe.inverse_penalty]
    spread = float(np.round(np.hypot(hidden_effect_sd, np.sqrt(line.margin_variance)), 9))
    calibration = selection.sigmoid.scale_slope(shrinkage_factor(line))
    return EnsembleModel(schema, line, booster, recipe.tree_weight, calibration, settings.linear.near_term_days, spread)


def select_at_origins(
    observed: pd.DataFrame, origin_fits: Sequence[OriginFit], settings: TrainingSettings
) -> list[SelectedModel]:
    """What the model standing at each origin could choose, by the origins before it."""
    return [
        select_model(observed, origin_fits[:number], step.fold.origin, settings)
        for number, step in enumerate(origin_fits)
    ]


def predict_at_origins(
    observed: pd.DataFrame,
    origin_fits: Sequence[OriginFit],
    selections: Sequence[SelectedModel],
    settings: TrainingSettings,
) -> pd.DataFrame:
    """What the model standing at each origin said, and what came of it; one row per tested observation.

    `selections` are the `select_at_origins` of these steps.
    """
    told = [
        predict_at_origin(observed, step, choice, settings)
        for step, choice in zip(origin_fits, selections, strict=True)
    ]
    return pd.concat(told, ignore_index=True)


def predict_at_origin(
    observed: pd.DataFrame, origin_fit: OriginFit, selection: SelectedModel, settings: TrainingSettings
) -> pd.DataFrame:
    """What the model of one origin said, with what it could choose; one row per test row.

    `linear_models` is what the linear part says alone, at the middle strength and uncalibrated: a baseline.
    """
    rows = observed.iloc[origin_fit.fold.test]
    margin, close = origin_fit.margin(selection.hyperparameters), _row_proximity(rows, settings.linear)
    chance = selection.sigmoid.probability(margin, close, selection.sigmoid.segment_offset(rows))
    alone = expit(origin_fit.linear_margins[default_candidate(settings.linear, settings.lightgbm).inverse_penalty])
    return rows[BACKTEST_COLUMNS].assign(
        origin=origin_fit.fold.origin, margin=margin, probability=chance, **{LINEAR_BASELINE: alone}
    )


def predict_by_model_age(
    observed: pd.DataFrame,
    schema: Schema,
    origin_fits: Sequence[OriginFit],
    selections: Sequence[SelectedModel],
    settings: TrainingSettings,
) -> pd.DataFrame:
    """What the model of each origin says of every later row, however old it is by then; one row per (origin, row).

    `probability` is of the recipe and the sigmoid that the origin could choose, as in `predict_at_origins`;
    `out_of_range_share` is how unlike its training rows the row was to that model.
    """
    values, told = schema.values(observed), []
    for step, choice in zip(origin_fits, selections, strict=True):
        later = np.flatnonzero(observed["as_of"] >= step.fold.origin)
        rows = observed.iloc[later]
        close, shift = _row_proximity(rows, settings.linear), choice.sigmoid.segment_offset(rows)
        chance = choice.sigmoid.probability(step.predict_margin(values[later], choice.hyperparameters), close, shift)
        strange = step.linear_models[choice.hyperparameters.inverse_penalty].out_of_range_share(values[later])
        told.append(rows[KEY].assign(origin=step.fold.origin, probability=chance, out_of_range_share=strange))
    return pd.concat(told, ignore_index=True)


BACKTEST_COLUMNS = [
    "account_id",
    "as_of",
    "renewal_date",
    "days_to_renewal",
    "renewal_signed",
    "term",
    "label",
    "matured_at",
]


def feature_importance(contributions: pd.DataFrame) -> dict[str, float]:
    """The mean distance each feature moves the margin, the greatest first."""
    return {str(name): float(mean) for name, mean in contributions.abs().mean().sort_values(ascending=False).items()}


def candidate_table(losses: Iterable[tuple[Hyperparameters, float]]) -> list[dict[str, Any]]:
    """The recipes tried with their log loss; one row per recipe."""
    return [
        {
            "inverse_penalty": r.inverse_penalty,
            "num_rounds": r.num_rounds,
            "tree_weight": r.tree_weight,
            "log_loss": loss,
        }
        for r, loss in losses
    ]
