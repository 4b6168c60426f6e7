"""The model of one target: a linear part and trees, their margins averaged, then a sigmoid to a probability.

With hundreds of outcomes a ridge regression on well-made curves is hard to beat, and shallow trees find what it
cannot say; each is fitted on its own and their log-odds are averaged, with a share that temporal folds choose
(`models/training/walk_forward.py`). Both are sums over features, so contributions are exact: base + contributions =
margin. The booster is LightGBM's own text and all else is JSON: nothing needs this repository to be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from renewals.models.settings import LightGBM, Linear
from renewals.models.training.additive import Additive, Design
from renewals.models.training.calibration import Sigmoid
from renewals.models.training.schema import Schema
from renewals.models.training.splits import TooFew
from renewals.models.training.uncertainty import around

if TYPE_CHECKING:
    from renewals.models.kernels.treeshap import TreeShap

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

BOOSTER, LINEAR, SIGMOID, SCHEMA = "model.txt", "linear.json", "calibration.json", "schema.json"
FILES = (BOOSTER, LINEAR, SIGMOID, SCHEMA)


@dataclass(frozen=True)
class Recipe:
    """What the temporal folds choose between."""

    strength: float
    """Inverse ridge penalty of the linear part."""
    rounds: int
    """Number of trees."""
    share: float
    """Weight of the trees' margin; the linear part has the rest."""


@dataclass(frozen=True)
class Learned:
    """A fitted model of one target."""

    schema: Schema
    linear: Additive
    booster: lgb.Booster
    share: float
    calibration: Sigmoid
    near_days: float
    spread: float
    """How far the accounts' own chances lie about what is said, in log-odds (`models/training/uncertainty.py`)."""

    def margin(self, frame: pd.DataFrame) -> Floats:
        """Log-odds before calibration; one number per row. Raises ValueError where columns are missing or infinite."""
        values = self.schema.values(frame)
        return (1 - self.share) * self.linear.margin(values) + self.share * self.trees.margin(values)

    def probability(self, frame: pd.DataFrame) -> Floats:
        """The calibrated probability; one number per row."""
        return self._calibrated(self.margin(frame), frame)

    def _calibrated(self, margin: Floats, frame: pd.DataFrame) -> Floats:
        close = self.schema.closeness(frame, self.near_days)
        return self.calibration.of(margin, close, self.calibration.shift(frame))

    def interval(self, probability: Floats, confidence: float) -> tuple[Floats, Floats]:
        """Where each account's own chance lies with this confidence, low and high; one of each per probability."""
        return around(probability, self.spread, confidence)

    def contributions(self, frame: pd.DataFrame, threads: int = 1) -> tuple[pd.DataFrame, float]:
        """What each feature adds to the margin, and the base: base + sum of a row = its margin; one row per row given.

        The linear part is centred on the training rows; the trees' are path-dependent TreeSHAP values.
        """
        values = self.schema.values(frame)
        return self._pushes(values, self.linear.contributions(values, threads), frame.index, threads), self.base

    def spoken(self, frame: pd.DataFrame) -> tuple[Floats, pd.DataFrame, Floats]:
        """Probability, contributions, and the share of figures outside what training rows usually showed; of each row.

        To the last bit what each says alone, but the figures are read and the lines read off once.
        """
        values = self.schema.values(frame)
        heights = self.linear.contributions(values)
        margin = (1 - self.share) * self.linear.sum(heights) + self.share * self.trees.margin(values)
        return self._calibrated(margin, frame), self._pushes(values, heights, frame.index), self.linear.beyond(values)

    def _pushes(self, values: Floats, heights: Floats, index: pd.Index, threads: int = 1) -> pd.DataFrame:
        parts = (1 - self.share) * heights
        parts += self.share * self.trees.contributions(values, threads)
        return pd.DataFrame(parts, columns=list(self.schema.names), index=index)

    @property
    def base(self) -> float:
        """The margin of which nothing is known: what contributions are added to."""
        return (1 - self.share) * self.linear.intercept + self.share * self.trees.base

    @cached_property
    def trees(self) -> TreeShap:
        """The booster, tabulated once a model."""
        from renewals.models.kernels.treeshap import (
            TreeShap,  # brings the compiler, which what only reads a model can do without
        )

        return TreeShap.of(self.booster)

    def to_files(self) -> dict[str, bytes]:
        """The model as files, by name: the booster's text, and JSON."""
        own = {"schema": self.schema.hash}
        schema = {**self.schema.to_json(), "hash": self.schema.hash, "trained": True}
        linear = {**own, "share_of_trees": self.share, **self.linear.to_json(self.schema.names)}
        doubt = {"near_days": self.near_days, "spread": self.spread}
        sigmoid = {**own, "method": "sigmoid", **doubt, **self.calibration.to_json()}
        text = self.booster.model_to_string(num_iteration=-1)
        return {BOOSTER: text.encode(), LINEAR: _json(linear), SIGMOID: _json(sigmoid), SCHEMA: _json(schema)}

    @staticmethod
    def from_files(files: Mapping[str, bytes]) -> Learned:
        """The model back from its files. Raises ValueError where a file is missing or they do not belong together.

        Only for files whose fingerprints were checked: LightGBM may kill the interpreter on a damaged text.
        """
        lost = [name for name in FILES if name not in files]
        if lost:
            raise ValueError(f"the model lacks {', '.join(lost)}")
        schema_tree, linear, sigmoid = (json.loads(files[name]) for name in (SCHEMA, LINEAR, SIGMOID))
        schema = Schema.from_json(schema_tree)
        if not schema_tree["hash"] == linear["schema"] == sigmoid["schema"] == schema.hash:
            raise ValueError("the files of the model belong to different models: their schemas differ")
        booster = lgb.Booster(model_str=files[BOOSTER].decode())
        if booster.feature_name() != list(schema.names):
            raise ValueError("the booster was trained on other features than the schema names")
        line = Additive.from_json(linear, schema.names)
        calibration, near_days, spread = Sigmoid.from_json(sigmoid), sigmoid["near_days"], sigmoid["spread"]
        return Learned(schema, line, booster, linear["share_of_trees"], calibration, near_days, spread)


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def fit_linear(
    values: Floats,
    truth: Labels,
    weight: Floats,
    schema: Schema,
    strengths: Sequence[float],
    options: Linear,
    near: Floats | None = None,
) -> dict[float, Additive]:
    """The linear part at each strength; weakest first, for each fit starts from the one before.

    `near` weighs the rows for what is added near the end, where it is not `weight` that does.

    On one BLAS thread: two gain nothing at this size, lose much on a busy machine, and change the last digits.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        design = Design(values, weight, schema.sizes, schema.signs, schema.lead, options, near)
        return {strength: design.fit(truth, strength) for strength in sorted(strengths)}


def fit_trees(
    values: Floats, truth: Labels, weight: Floats, schema: Schema, rounds: int, options: LightGBM
) -> lgb.Booster:
    """The trees alone, a model in their own right. Raises TooFew where there is but one outcome.

    LightGBM would fit one outcome without a word, and call it certain. One thread column by column: at some tens of
    thousands of rows it is faster than two that wait for each other at every node, and several models can be fitted
    side by side.
    """
    if len(np.unique(truth)) < 2:
        raise TooFew(f"all {len(truth)} rows ended alike: nothing to learn")
    words = [j for j, size in enumerate(schema.sizes) if size is not None]
    rows = lgb.Dataset(values, truth, weight=weight, feature_name=list(schema.names), categorical_feature=words)
    return lgb.train(_settings(schema, options), rows, rounds)


def _settings(schema: Schema, options: LightGBM) -> dict[str, Any]:
    own = options.model_dump(exclude={"rounds", "shares", "threads", "monotone"})
    return {
        **own,
        "objective": "binary",
        "num_leaves": 2**options.max_depth,
        "bagging_freq": 1,
        "monotone_constraints": list(schema.signs),
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
