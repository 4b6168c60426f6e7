"""Walk-forward validation: at each origin date, fit on labels final by then and predict the later observations.

The same predictions serve three purposes, none of which uses a label before it was final:

* *selection*: every candidate (inverse ridge penalty, number of trees, weight of the trees) predicts at every origin; a
  model trained on a day uses the candidate with the best predictions at earlier origins;
* *calibration*: the sigmoid is fitted on those predictions, which are out-of-fold: each comes from a model trained
  before the row;
* *back-test*: at each origin, candidate and sigmoid are selected from earlier origins only.

The final model is trained on every final row, with the candidate and the sigmoid of all origins. Holding out the latest
rows for calibration instead would take the newest outcomes, about a year, away from the booster. Here no row is used
for calibration with a prediction of a model that was trained on it.
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

from renewals.models.metrics import EPSILON, days_to_decision, is_undecided, log_loss_per_row
from renewals.models.settings import RENEWAL, CalibrationSettings, FoldSettings, LightGBMSettings, LinearSettings
from renewals.models.training.additive import AdditiveModel, near_term_proximity
from renewals.models.training.calibration import SigmoidCalibration, add_segment_effects, fit_sigmoid
from renewals.models.training.ensemble import EnsembleModel, Floats, Hyperparameters, fit_linear, fit_trees
from renewals.models.training.schema import LEAD_COLUMN, Schema
from renewals.models.training.splits import KEY, Fold, lead_weights, rolling_origin_folds, term_weights
from renewals.models.training.uncertainty import logistic_normal_scale

Result = TypeVar("Result")

LINEAR_BASELINE = "linear"
"""Name of the baseline that is the model's linear part, without trees and calibration."""
MIN_STANDARD_ERRORS = 2.0
"""Standard errors by which a candidate must be better than the default one to be selected."""


class TrainingSettings(Protocol):
    """The sections of the configuration that training uses."""

    @property
    def folds(self) -> FoldSettings:
        """Origins and training rows."""
        ...

    @property
    def linear(self) -> LinearSettings:
        """Linear part."""
        ...

    @property
    def lightgbm(self) -> LightGBMSettings:
        """Boosted trees."""
        ...

    @property
    def calibration(self) -> CalibrationSettings:
        """Calibration."""
        ...


@dataclass(frozen=True)
class OriginFit:
    """Models fitted at one origin, and the margins that each candidate predicts for the test rows of the fold."""

    fold: Fold
    schema: Schema
    linear_margins: Mapping[float, Floats]
    tree_margins: Mapping[int, Floats]
    linear_models: Mapping[float, AdditiveModel]
    booster: lgb.Booster

    def margin(self, hyperparameters: Hyperparameters) -> Floats:
        """Shrunken margin (log-odds) of one candidate for each test row of the fold."""
        margin = (1 - hyperparameters.tree_weight) * self.linear_margins[
            hyperparameters.inverse_penalty
        ] + hyperparameters.tree_weight * self.tree_margins[hyperparameters.num_rounds]
        return margin * shrinkage_factor(self.linear_models[hyperparameters.inverse_penalty])

    def predict_margin(self, values: Floats, hyperparameters: Hyperparameters) -> Floats:
        """Shrunken margin of one candidate for any rows, given their encoded features."""
        trees, linear = (
            _tree_margin(self.booster, values, hyperparameters.num_rounds),
            self.linear_models[hyperparameters.inverse_penalty],
        )
        return (
            (1 - hyperparameters.tree_weight) * linear.margin(values) + hyperparameters.tree_weight * trees
        ) * shrinkage_factor(linear)


@dataclass(frozen=True)
class SelectedModel:
    """Selected candidate, its calibration, the log loss of each candidate, and the numbers of rows and terms used."""

    hyperparameters: Hyperparameters
    sigmoid: SigmoidCalibration
    candidate_losses: tuple[tuple[Hyperparameters, float], ...]
    rows: int
    terms: int


def list_candidates(linear: LinearSettings, trees: LightGBMSettings) -> list[Hyperparameters]:
    """List all candidates: combinations of inverse penalty, number of trees and tree weight."""
    return list(
        itertools.starmap(
            Hyperparameters,
            itertools.product(sorted(linear.inverse_penalties), sorted(trees.num_rounds), sorted(trees.tree_weights)),
        )
    )


def default_candidate(linear: LinearSettings, trees: LightGBMSettings) -> Hyperparameters:
    """Default candidate, used without past predictions: the middle value of each list."""
    sorted_values = (sorted(values) for values in (linear.inverse_penalties, trees.num_rounds, trees.tree_weights))
    strength, rounds, share = (values[len(values) // 2] for values in sorted_values)
    return Hyperparameters(strength, int(rounds), share)


def fit_origins(observed: pd.DataFrame, schema: Schema, settings: TrainingSettings) -> list[OriginFit]:
    """Fit all candidates at every origin. Raises InsufficientHistoryError if history is too short for any origin."""
    values, folds = schema.values(observed), rolling_origin_folds(observed, settings.folds, schema.target)

    def step(fold: Fold) -> OriginFit:
        return fit_origin(
            observed, values, schema, fold, settings, fit_linear_models(observed, values, schema, fold, settings)
        )

    return parallel_map(step, folds, settings.lightgbm.parallel_fits)


def parallel_map(work: Callable[[Fold], Result], folds: Sequence[Fold], threads: int) -> list[Result]:
    """Apply `work` to each fold in parallel; results are in the order of the folds.

    The last folds, which are the largest, start first. Each fold runs on one thread, so that the number of threads does
    not change any result.
    """
    # The BLAS limit applies to the process: if each fit set its own, the first fit to end would remove it for all.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return [*pool.map(work, reversed(folds))][::-1]


def fit_linear_models(
    observed: pd.DataFrame, values: Floats, schema: Schema, fold: Fold, settings: TrainingSettings
) -> dict[float, AdditiveModel]:
    """Fit the linear part at one origin, by inverse penalty; it does not depend on the settings of the trees."""
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
    """Fit the trees at one origin and predict its test rows; `linear_models` comes from `fit_linear_models`."""
    rows, test_values = observed.iloc[fold.train], values[fold.test]
    truth, weight = rows["label"].to_numpy(), sample_weights(rows, schema, settings.folds)
    booster = fit_trees(values[fold.train], truth, weight, schema, max(settings.lightgbm.num_rounds), settings.lightgbm)
    return OriginFit(
        fold,
        schema,
        {penalty: model.margin(test_values) for penalty, model in linear_models.items()},
        {num_rounds: _tree_margin(booster, test_values, num_rounds) for num_rounds in settings.lightgbm.num_rounds},
        linear_models,
        booster,
    )


def _tree_margin(booster: lgb.Booster, values: Floats, num_rounds: int) -> Floats:
    """Margin of each row from the first `num_rounds` trees."""
    return np.asarray(booster.predict(values, raw_score=True, num_iteration=num_rounds, num_threads=1))


def shrinkage_factor(linear_model: AdditiveModel) -> float:
    """Factor for the margin that accounts for the estimation error of the model (MacKay 1992); at most 1.

    The most likely model is more extreme than the mean over the posterior, the more so the fewer outcomes it was
    trained on.
    """
    return float(1 / logistic_normal_scale(np.sqrt(linear_model.margin_variance)))


def sample_weights(rows: pd.DataFrame, schema: Schema, folds: FoldSettings) -> Floats:
    """Training weight of each row; for renewals, rows near the lead time `focus_lead_days` have larger weights."""
    if schema.target != RENEWAL or not folds.focus_lead_days:
        return term_weights(rows["term"])
    return term_weights(rows["term"], lead_weights(days_to_decision(rows).to_numpy(np.float64), folds.focus_lead_days))


def near_term_weights(rows: pd.DataFrame, settings: LinearSettings) -> Floats:
    """Row weights for the near-term effects: near the end they sum to 1 per term; 0 for other rows."""
    is_near = (_row_proximity(rows, settings) > 0).astype(np.float64)
    return np.where(is_near, term_weights(rows["term"], is_near + EPSILON), 0.0)


def select_model(
    observed: pd.DataFrame, origin_fits: Sequence[OriginFit], day: pd.Timestamp, settings: TrainingSettings
) -> SelectedModel:
    """Select the candidate with the best past predictions of rows final on `day`, and fit its calibration.

    Rows with a follow-on already signed are excluded, because predicting them needs no foresight. With too few past
    predictions, the default candidate is returned without calibration.
    """
    candidates = list_candidates(settings.linear, settings.lightgbm)
    usable = [_is_usable(observed, fit, day) for fit in origin_fits]
    positions = (
        np.concatenate([fit.fold.test[mask] for fit, mask in zip(origin_fits, usable, strict=True)])
        if origin_fits
        else np.zeros(0, int)
    )
    truth, terms = observed["label"].to_numpy()[positions], observed["term"].iloc[positions]
    if terms.nunique() < 2 or len(np.unique(truth)) < 2:
        return SelectedModel(
            default_candidate(settings.linear, settings.lightgbm),
            SigmoidCalibration(),
            (),
            len(positions),
            terms.nunique(),
        )
    weight = term_weights(terms) * recency_weights(observed["as_of"].iloc[positions], day, settings.calibration)
    margins = {
        candidate: np.concatenate([fit.margin(candidate)[mask] for fit, mask in zip(origin_fits, usable, strict=True)])
        for candidate in candidates
    }
    proximity = _row_proximity(observed.iloc[positions], settings.linear)
    sigmoids = {
        candidate: fit_sigmoid(margin, proximity, truth, weight, settings.calibration)
        for candidate, margin in margins.items()
    }
    losses = {
        candidate: log_loss_per_row(truth, sigmoids[candidate].probability(margin, proximity))
        for candidate, margin in margins.items()
    }
    selected = _select_candidate(losses, default_candidate(settings.linear, settings.lightgbm), terms, weight)
    means = tuple((candidate, float(np.average(loss, weights=weight))) for candidate, loss in losses.items())
    log_odds, segments = (
        sigmoids[selected].log_odds(margins[selected], proximity),
        observed.iloc[positions][_calibrated_segments(origin_fits, settings)],
    )
    sigmoid = add_segment_effects(sigmoids[selected], log_odds, segments, truth, weight, settings.calibration)
    return SelectedModel(selected, sigmoid, means, len(positions), terms.nunique())


def _calibrated_segments(origin_fits: Sequence[OriginFit], settings: TrainingSettings) -> list[str]:
    """Calibration segments that are features of the model, and so are available at scoring."""
    return [name for name in settings.calibration.segments if name in origin_fits[0].schema.categories]


def _select_candidate(
    losses: Mapping[Hyperparameters, Floats], default: Hyperparameters, terms: pd.Series, weight: Floats
) -> Hyperparameters:
    """Candidate with the lowest loss if it beats the default by over two standard errors over terms, else the default.

    Among two dozen candidates one is always best by chance, and selecting by chance costs more than it gains.
    """
    best = min(losses, key=lambda candidate: float(weight @ losses[candidate]))
    gains = pd.Series(weight * (losses[default] - losses[best])).groupby(terms.to_numpy()).sum()
    return best if gains.mean() > MIN_STANDARD_ERRORS * gains.std(ddof=1) / np.sqrt(len(gains)) else default


def _row_proximity(rows: pd.DataFrame, settings: LinearSettings) -> Floats:
    days = rows[LEAD_COLUMN].to_numpy(np.float64)
    return near_term_proximity(days, settings.near_term_days) if settings.near_term_days else np.zeros(len(rows))


def recency_weights(as_of: pd.Series, day: pd.Timestamp, settings: CalibrationSettings) -> Floats:
    """Weight of each row that halves with every `half_life_days` of age at `day`."""
    age = (day - as_of).dt.days.to_numpy(np.float64)
    return np.asarray(0.5 ** (age / settings.half_life_days))


def _is_usable(observed: pd.DataFrame, origin_fit: OriginFit, day: pd.Timestamp) -> npt.NDArray[np.bool_]:
    rows = observed.iloc[origin_fit.fold.test]
    return ((rows["matured_at"] <= day) & is_undecided(rows)).to_numpy()


def fit_model(
    observed: pd.DataFrame,
    schema: Schema,
    selection: SelectedModel,
    settings: TrainingSettings,
    hidden_effect_sd: float = 0.0,
) -> EnsembleModel:
    """Train the selected candidate on all rows. Raises InsufficientHistoryError if all have the same outcome.

    `hidden_effect_sd` is the standard deviation, in log-odds, of account effects that no feature shows
    (`models.training.uncertainty.hidden_effect_sd`).
    """
    values, truth = schema.values(observed), observed["label"].to_numpy()
    weight = sample_weights(observed, schema, settings.folds)
    hyperparameters = selection.hyperparameters
    near_weight = near_term_weights(observed, settings.linear)
    with ThreadPoolExecutor(settings.lightgbm.parallel_fits) as pool:
        trees = pool.submit(fit_trees, values, truth, weight, schema, hyperparameters.num_rounds, settings.lightgbm)
        linear_fits = pool.submit(
            fit_linear, values, truth, weight, schema, [hyperparameters.inverse_penalty], settings.linear, near_weight
        )
    booster, linear = trees.result(), linear_fits.result()[hyperparameters.inverse_penalty]
    account_effect_sd = float(np.round(np.hypot(hidden_effect_sd, np.sqrt(linear.margin_variance)), 9))
    calibration = selection.sigmoid.scale_slope(shrinkage_factor(linear))
    return EnsembleModel(
        schema,
        linear,
        booster,
        hyperparameters.tree_weight,
        calibration,
        settings.linear.near_term_days,
        account_effect_sd,
    )


def select_at_origins(
    observed: pd.DataFrame, origin_fits: Sequence[OriginFit], settings: TrainingSettings
) -> list[SelectedModel]:
    """Select a candidate and fit its calibration at each origin, from the predictions of earlier origins only."""
    return [
        select_model(observed, origin_fits[:number], origin_fit.fold.origin, settings)
        for number, origin_fit in enumerate(origin_fits)
    ]


def predict_at_origins(
    observed: pd.DataFrame,
    origin_fits: Sequence[OriginFit],
    selections: Sequence[SelectedModel],
    settings: TrainingSettings,
) -> pd.DataFrame:
    """Back-test: out-of-fold predictions of all origins with their labels; one row per tested observation.

    `selections` is the output of `select_at_origins` for these origins.
    """
    predictions = [
        predict_at_origin(observed, origin_fit, selection, settings)
        for origin_fit, selection in zip(origin_fits, selections, strict=True)
    ]
    return pd.concat(predictions, ignore_index=True)


def predict_at_origin(
    observed: pd.DataFrame, origin_fit: OriginFit, selection: SelectedModel, settings: TrainingSettings
) -> pd.DataFrame:
    """Out-of-fold predictions of one origin with its selected candidate; one row per test row.

    Column `linear` is a baseline: the linear part alone, with the default penalty and without calibration.
    """
    rows = observed.iloc[origin_fit.fold.test]
    margin, proximity = origin_fit.margin(selection.hyperparameters), _row_proximity(rows, settings.linear)
    probability = selection.sigmoid.probability(margin, proximity, selection.sigmoid.segment_offset(rows))
    linear_probability = expit(
        origin_fit.linear_margins[default_candidate(settings.linear, settings.lightgbm).inverse_penalty]
    )
    return rows.assign(days_to_decision=days_to_decision(rows))[BACKTEST_COLUMNS].assign(
        origin=origin_fit.fold.origin, margin=margin, probability=probability, **{LINEAR_BASELINE: linear_probability}
    )


def predict_by_model_age(
    observed: pd.DataFrame,
    schema: Schema,
    origin_fits: Sequence[OriginFit],
    selections: Sequence[SelectedModel],
    settings: TrainingSettings,
) -> pd.DataFrame:
    """Predictions of each origin's model for all later rows, to measure how models age; one row per (origin, row).

    `probability` uses the candidate and calibration selected at the origin, as in `predict_at_origins`.
    `out_of_range_share` is the share of the row's numbers outside the training range of that model.
    """
    values, predictions = schema.values(observed), []
    for origin_fit, selection in zip(origin_fits, selections, strict=True):
        later = np.flatnonzero(observed["as_of"] >= origin_fit.fold.origin)
        rows = observed.iloc[later]
        proximity, offset = _row_proximity(rows, settings.linear), selection.sigmoid.segment_offset(rows)
        probability = selection.sigmoid.probability(
            origin_fit.predict_margin(values[later], selection.hyperparameters), proximity, offset
        )
        out_of_range = origin_fit.linear_models[selection.hyperparameters.inverse_penalty].out_of_range_share(
            values[later]
        )
        predictions.append(
            rows[KEY].assign(origin=origin_fit.fold.origin, probability=probability, out_of_range_share=out_of_range)
        )
    return pd.concat(predictions, ignore_index=True)


BACKTEST_COLUMNS = [
    *KEY,
    "renewal_date",
    "days_to_renewal",
    "days_to_decision",
    "renewal_signed",
    "notice_given",
    "term",
    "label",
    "matured_at",
]


def feature_importance(contributions: pd.DataFrame) -> dict[str, float]:
    """Feature importance: mean absolute contribution of each feature to the margin, largest first."""
    return {str(name): float(mean) for name, mean in contributions.abs().mean().sort_values(ascending=False).items()}


def candidate_table(losses: Iterable[tuple[Hyperparameters, float]]) -> list[dict[str, Any]]:
    """Rows of the candidates with their log loss, as dictionaries; one per candidate."""
    return [
        {
            "inverse_penalty": candidate.inverse_penalty,
            "num_rounds": candidate.num_rounds,
            "tree_weight": candidate.tree_weight,
            "log_loss": loss,
        }
        for candidate, loss in losses
    ]
