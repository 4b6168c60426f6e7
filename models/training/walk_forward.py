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

from renewals.models.metrics import EDGE, losses
from renewals.models.settings import RENEWAL, Calibration, Folds, LightGBM, Linear
from renewals.models.training.additive import Additive, closeness
from renewals.models.training.calibration import Sigmoid, fit_sigmoid, with_segments
from renewals.models.training.ensemble import Floats, Learned, Recipe, fit_linear, fit_trees
from renewals.models.training.schema import LEAD, Schema
from renewals.models.training.splits import KEY, Fold, relevance, rolling, weights
from renewals.models.training.uncertainty import widened

Made = TypeVar("Made")

LINEAR = "linear"
"""The baseline that is the model's own linear part: what trees and sigmoid must add to."""
CLEARLY = 2.0
"""Standard errors by which a recipe must be better than the usual one to be taken."""


class Options(Protocol):
    """The parts of the configuration that learning reads."""

    @property
    def folds(self) -> Folds:
        """Where history is cut."""
        ...

    @property
    def linear(self) -> Linear:
        """The linear part."""
        ...

    @property
    def lightgbm(self) -> LightGBM:
        """The trees."""
        ...

    @property
    def calibration(self) -> Calibration:
        """The sigmoid."""
        ...


@dataclass(frozen=True)
class Step:
    """What every recipe said, at one origin, of the rows observed from it on, and the models that said it."""

    fold: Fold
    schema: Schema
    linear: Mapping[float, Floats]
    trees: Mapping[int, Floats]
    lines: Mapping[float, Additive]
    booster: lgb.Booster

    def margin(self, recipe: Recipe) -> Floats:
        """The moderated log-odds of one recipe for each row of the fold's test."""
        margin = (1 - recipe.share) * self.linear[recipe.strength] + recipe.share * self.trees[recipe.rounds]
        return margin * moderation(self.lines[recipe.strength])

    def margin_of(self, values: Floats, recipe: Recipe) -> Floats:
        """The same for any rows."""
        trees, line = _told_by(self.booster, values, recipe.rounds), self.lines[recipe.strength]
        return ((1 - recipe.share) * line.margin(values) + recipe.share * trees) * moderation(line)


@dataclass(frozen=True)
class Choice:
    """A recipe, the sigmoid that goes with it, and the log loss of each recipe that was tried."""

    recipe: Recipe
    sigmoid: Sigmoid
    tried: tuple[tuple[Recipe, float], ...]
    rows: int
    terms: int


def recipes(linear: Linear, trees: LightGBM) -> list[Recipe]:
    """Every recipe to be tried."""
    return list(
        itertools.starmap(
            Recipe, itertools.product(sorted(linear.strengths), sorted(trees.rounds), sorted(trees.shares))
        )
    )


def middle(linear: Linear, trees: LightGBM) -> Recipe:
    """The recipe of a model with no past to choose by: the middle of each list."""
    kept = (sorted(tried) for tried in (linear.strengths, trees.rounds, trees.shares))
    strength, rounds, share = (tried[len(tried) // 2] for tried in kept)
    return Recipe(strength, int(rounds), share)


def walk(observed: pd.DataFrame, schema: Schema, options: Options) -> list[Step]:
    """What every recipe says at every origin. Raises TooFew where history allows no origin."""
    values, folds = schema.values(observed), rolling(observed, options.folds, schema.target)

    def step(fold: Fold) -> Step:
        return step_at(observed, values, schema, fold, options, lines_at(observed, values, schema, fold, options))

    return side_by_side(step, folds, options.lightgbm.threads)


def side_by_side(work: Callable[[Fold], Made], folds: Sequence[Fold], threads: int) -> list[Made]:
    """What comes of each fold, in order; the last, which are the largest, are begun first.

    Each has one thread to itself, so that their number shows in no result.
    """
    # The limit is the process's: a fit's own would be lifted by whichever fit ends first.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return [*pool.map(work, reversed(folds))][::-1]


def lines_at(
    observed: pd.DataFrame, values: Floats, schema: Schema, fold: Fold, options: Options
) -> dict[float, Additive]:
    """The linear part that stood at an origin, by strength; it hangs on no setting of the trees."""
    rows = observed.iloc[fold.train]
    truth, weight = rows["label"].to_numpy(), learning_weights(rows, schema, options.folds)
    near = near_weights(rows, options.linear)
    return fit_linear(values[fold.train], truth, weight, schema, options.linear.strengths, options.linear, near)


def step_at(
    observed: pd.DataFrame,
    values: Floats,
    schema: Schema,
    fold: Fold,
    options: Options,
    linear: Mapping[float, Additive],
) -> Step:
    """What every recipe says at one origin, with the linear part that stood there (`lines_at`)."""
    rows, ahead = observed.iloc[fold.train], values[fold.test]
    truth, weight = rows["label"].to_numpy(), learning_weights(rows, schema, options.folds)
    booster = fit_trees(values[fold.train], truth, weight, schema, max(options.lightgbm.rounds), options.lightgbm)
    return Step(
        fold,
        schema,
        {strength: line.margin(ahead) for strength, line in linear.items()},
        {r: _told_by(booster, ahead, r) for r in options.lightgbm.rounds},
        linear,
        booster,
    )


def _told_by(booster: lgb.Booster, values: Floats, rounds: int) -> Floats:
    """The margin that the first so many trees give each row."""
    return np.asarray(booster.predict(values, raw_score=True, num_iteration=rounds, num_threads=1))


def moderation(line: Additive) -> float:
    """How much of a margin is left when all that other outcomes might have taught is averaged over (MacKay 1992).

    The likeliest model is surer than the mean of all likely ones; the fewer outcomes taught it, the more.
    """
    return float(1 / widened(np.sqrt(line.uncertainty)))


def learning_weights(rows: pd.DataFrame, schema: Schema, folds: Folds) -> Floats:
    """One weight per row to learn from; a renewal's rows count for more about the lead at which it is to be known."""
    if schema.target != RENEWAL or not folds.focus_days:
        return weights(rows["term"])
    return weights(rows["term"], relevance(rows[LEAD].to_numpy(np.float64), folds.focus_days))


def near_weights(rows: pd.DataFrame, options: Linear) -> Floats:
    """One weight per row near the end, so that those of a term weigh one together there; 0 elsewhere."""
    close = (_closeness(rows, options) > 0).astype(np.float64)
    return np.where(close, weights(rows["term"], close + EDGE), 0.0)


def choose(observed: pd.DataFrame, steps: Sequence[Step], day: pd.Timestamp, options: Options) -> Choice:
    """The recipe whose words came clearly truest, by what was final on `day`, and its sigmoid.

    Rows with a follow-on already signed say nothing of foresight and are left out. With too little said so far the
    middle recipe is taken as it is.
    """
    tried = recipes(options.linear, options.lightgbm)
    told = [_final(observed, step, day) for step in steps]
    places = (
        np.concatenate([step.fold.test[final] for step, final in zip(steps, told, strict=True)])
        if steps
        else np.zeros(0, int)
    )
    truth, terms = observed["label"].to_numpy()[places], observed["term"].iloc[places]
    if terms.nunique() < 2 or len(np.unique(truth)) < 2:
        return Choice(middle(options.linear, options.lightgbm), Sigmoid(), (), len(places), terms.nunique())
    weight = weights(terms) * freshness(observed["as_of"].iloc[places], day, options.calibration)
    spoken = {r: np.concatenate([s.margin(r)[final] for s, final in zip(steps, told, strict=True)]) for r in tried}
    close = _closeness(observed.iloc[places], options.linear)
    sigmoids = {r: fit_sigmoid(margin, close, truth, weight, options.calibration) for r, margin in spoken.items()}
    missed = {r: losses(truth, sigmoids[r].of(margin, close)) for r, margin in spoken.items()}
    kept = _kept(missed, middle(options.linear, options.lightgbm), terms, weight)
    means = tuple((recipe, float(np.average(loss, weights=weight))) for recipe, loss in missed.items())
    log_odds, segments = sigmoids[kept].log_odds(spoken[kept], close), observed.iloc[places][_segments(steps, options)]
    sigmoid = with_segments(sigmoids[kept], log_odds, segments, truth, weight, options.calibration)
    return Choice(kept, sigmoid, means, len(places), terms.nunique())


def _segments(steps: Sequence[Step], options: Options) -> list[str]:
    """Of the segments to be calibrated, those that the model reads: they are there when it scores."""
    return [name for name in options.calibration.segments if name in steps[0].schema.categories]


def _kept(said: Mapping[Recipe, Floats], usual: Recipe, terms: pd.Series, weight: Floats) -> Recipe:
    """The best recipe if it is better than the usual one by more than two standard errors over terms, else that one.

    Of two dozen recipes one is always best by chance; following chance costs more than it brings.
    """
    best = min(said, key=lambda recipe: float(weight @ said[recipe]))
    gains = pd.Series(weight * (said[usual] - said[best])).groupby(terms.to_numpy()).sum()
    return best if gains.mean() > CLEARLY * gains.std(ddof=1) / np.sqrt(len(gains)) else usual


def _closeness(rows: pd.DataFrame, options: Linear) -> Floats:
    days = rows[LEAD].to_numpy(np.float64)
    return closeness(days, options.near_days) if options.near_days else np.zeros(len(rows))


def freshness(as_of: pd.Series, day: pd.Timestamp, options: Calibration) -> Floats:
    """How much what was said on a day still counts; one number per row."""
    age = (day - as_of).dt.days.to_numpy(np.float64)
    return np.asarray(0.5 ** (age / options.half_life_days))


def _final(observed: pd.DataFrame, step: Step, day: pd.Timestamp) -> npt.NDArray[np.bool_]:
    rows = observed.iloc[step.fold.test]
    return ((rows["matured_at"] <= day) & ~rows["decided"].astype(bool)).to_numpy()


def learn(observed: pd.DataFrame, schema: Schema, choice: Choice, options: Options, hidden: float = 0.0) -> Learned:
    """The model of a choice, learned from every row given. Raises TooFew where all ended alike.

    `hidden` is what stays with an account and no column shows (`models.training.uncertainty.hidden`), in log-odds.
    """
    values, truth = schema.values(observed), observed["label"].to_numpy()
    weight = learning_weights(observed, schema, options.folds)
    recipe = choice.recipe
    near = near_weights(observed, options.linear)
    with ThreadPoolExecutor(options.lightgbm.threads) as pool:
        trees = pool.submit(fit_trees, values, truth, weight, schema, recipe.rounds, options.lightgbm)
        lines = pool.submit(fit_linear, values, truth, weight, schema, [recipe.strength], options.linear, near)
    booster, line = trees.result(), lines.result()[recipe.strength]
    spread = float(np.round(np.hypot(hidden, np.sqrt(line.uncertainty)), 9))
    calibration = choice.sigmoid.steeper(moderation(line))
    return Learned(schema, line, booster, recipe.share, calibration, options.linear.near_days, spread)


def choices(observed: pd.DataFrame, steps: Sequence[Step], options: Options) -> list[Choice]:
    """What the model standing at each origin could choose, by the origins before it."""
    return [choose(observed, steps[:number], step.fold.origin, options) for number, step in enumerate(steps)]


def backtest(observed: pd.DataFrame, steps: Sequence[Step], chosen: Sequence[Choice], options: Options) -> pd.DataFrame:
    """What the model standing at each origin said, and what came of it; one row per tested observation.

    `chosen` are the `choices` of these steps.
    """
    told = [said(observed, step, choice, options) for step, choice in zip(steps, chosen, strict=True)]
    return pd.concat(told, ignore_index=True)


def said(observed: pd.DataFrame, step: Step, choice: Choice, options: Options) -> pd.DataFrame:
    """What the model of one origin said, with what it could choose; one row per test row.

    `linear` is what the linear part says alone, at the middle strength and uncalibrated: a baseline.
    """
    rows = observed.iloc[step.fold.test]
    margin, close = step.margin(choice.recipe), _closeness(rows, options.linear)
    chance = choice.sigmoid.of(margin, close, choice.sigmoid.shift(rows))
    alone = expit(step.linear[middle(options.linear, options.lightgbm).strength])
    return rows[SAID_OF].assign(origin=step.fold.origin, margin=margin, probability=chance, **{LINEAR: alone})


def aged(
    observed: pd.DataFrame, schema: Schema, steps: Sequence[Step], chosen: Sequence[Choice], options: Options
) -> pd.DataFrame:
    """What the model of each origin says of every later row, however old it is by then; one row per (origin, row).

    `probability` is of the recipe and the sigmoid that the origin could choose, as in `backtest`; `strangeness` is how
    unlike its training rows the row was to that model.
    """
    values, told = schema.values(observed), []
    for step, choice in zip(steps, chosen, strict=True):
        later = np.flatnonzero(observed["as_of"] >= step.fold.origin)
        rows = observed.iloc[later]
        close, shift = _closeness(rows, options.linear), choice.sigmoid.shift(rows)
        chance = choice.sigmoid.of(step.margin_of(values[later], choice.recipe), close, shift)
        strange = step.lines[choice.recipe.strength].beyond(values[later])
        told.append(rows[KEY].assign(origin=step.fold.origin, probability=chance, strangeness=strange))
    return pd.concat(told, ignore_index=True)


SAID_OF = ["account_id", "as_of", "renewal_date", "days_to_renewal", "decided", "term", "label", "matured_at"]


def importance(contributions: pd.DataFrame) -> dict[str, float]:
    """The mean distance each feature moves the margin, the greatest first."""
    return {str(name): float(mean) for name, mean in contributions.abs().mean().sort_values(ascending=False).items()}


def as_table(losses: Iterable[tuple[Recipe, float]]) -> list[dict[str, Any]]:
    """The recipes tried with their log loss; one row per recipe."""
    return [
        {"strength": r.strength, "rounds": r.rounds, "share_of_trees": r.share, "log_loss": loss} for r, loss in losses
    ]
