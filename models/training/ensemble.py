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

from renewals.models.settings import LightGBMSettings, LinearSettings
from renewals.models.training.additive import AdditiveFitter, AdditiveModel
from renewals.models.training.calibration import SigmoidCalibration
from renewals.models.training.schema import Schema
from renewals.models.training.splits import InsufficientHistoryError
from renewals.models.training.uncertainty import probability_interval

if TYPE_CHECKING:
    from renewals.models.kernels.treeshap import TreeShap

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

BOOSTER_FILE, LINEAR_FILE, CALIBRATION_FILE, SCHEMA_FILE = (
    "model.txt",
    "additive_model.json",
    "calibration.json",
    "schema.json",
)
MODEL_FILES = (BOOSTER_FILE, LINEAR_FILE, CALIBRATION_FILE, SCHEMA_FILE)


@dataclass(frozen=True)
class Hyperparameters:
    """What the temporal folds choose between."""

    inverse_penalty: float
    """Inverse ridge penalty of the linear part."""
    num_rounds: int
    """Number of trees."""
    tree_weight: float
    """Weight of the trees' margin; the linear part has the rest."""


@dataclass(frozen=True)
class EnsembleModel:
    """A fitted model of one target."""

    schema: Schema
    linear: AdditiveModel
    booster: lgb.Booster
    tree_weight: float
    calibration: SigmoidCalibration
    near_term_days: float
    account_effect_sd: float
    """How far the accounts' own chances lie about what is said, in log-odds (`models/training/uncertainty.py`)."""

    def margin(self, frame: pd.DataFrame) -> Floats:
        """Log-odds before calibration; one number per row. Raises ValueError where columns are missing or infinite."""
        values = self.schema.values(frame)
        return (1 - self.tree_weight) * self.linear.margin(values) + self.tree_weight * self.tree_shap.margin(values)

    def probability(self, frame: pd.DataFrame) -> Floats:
        """The calibrated probability; one number per row."""
        return self._calibrate(self.margin(frame), frame)

    def _calibrate(self, margin: Floats, frame: pd.DataFrame) -> Floats:
        close = self.schema.proximity(frame, self.near_term_days)
        return self.calibration.probability(margin, close, self.calibration.segment_offset(frame))

    def interval(self, probability: Floats, confidence: float) -> tuple[Floats, Floats]:
        """Where each account's own chance lies with this confidence, low and high; one of each per probability."""
        return probability_interval(probability, self.account_effect_sd, confidence)

    def contributions(self, frame: pd.DataFrame, threads: int = 1) -> tuple[pd.DataFrame, float]:
        """What each feature adds to the margin, and the base: base + sum of a row = its margin; one row per row given.

        The linear part is centred on the training rows; the trees' are path-dependent TreeSHAP values.
        """
        values = self.schema.values(frame)
        return self._combine_contributions(
            values, self.linear.contributions(values, threads), frame.index, threads
        ), self.base_value

    def predict_and_explain(self, frame: pd.DataFrame) -> tuple[Floats, pd.DataFrame, Floats]:
        """Probability, contributions, and the share of figures outside what training rows usually showed; of each row.

        To the last bit what each says alone, but the figures are read and the lines read off once.
        """
        values = self.schema.values(frame)
        heights = self.linear.contributions(values)
        margin = (1 - self.tree_weight) * self.linear.margin_from_contributions(
            heights
        ) + self.tree_weight * self.tree_shap.margin(values)
        return (
            self._calibrate(margin, frame),
            self._combine_contributions(values, heights, frame.index),
            self.linear.out_of_range_share(values),
        )

    def _combine_contributions(
        self, values: Floats, heights: Floats, index: pd.Index, threads: int = 1
    ) -> pd.DataFrame:
        parts = (1 - self.tree_weight) * heights
        parts += self.tree_weight * self.tree_shap.contributions(values, threads)
        return pd.DataFrame(parts, columns=list(self.schema.names), index=index)

    @property
    def base_value(self) -> float:
        """The margin of which nothing is known: what contributions are added to."""
        return (1 - self.tree_weight) * self.linear.intercept + self.tree_weight * self.tree_shap.base

    @cached_property
    def tree_shap(self) -> TreeShap:
        """The booster, tabulated once a model."""
        from renewals.models.kernels.treeshap import (
            TreeShap,  # brings the compiler, which what only reads a model can do without
        )

        return TreeShap.of(self.booster)

    def to_files(self) -> dict[str, bytes]:
        """The model as files, by name: the booster's text, and JSON."""
        own = {"schema": self.schema.hash}
        schema = {**self.schema.to_json(), "hash": self.schema.hash, "trained": True}
        linear = {**own, "tree_weight": self.tree_weight, **self.linear.to_json(self.schema.names)}
        doubt = {"near_term_days": self.near_term_days, "account_effect_sd": self.account_effect_sd}
        sigmoid = {**own, "method": "sigmoid", **doubt, **self.calibration.to_json()}
        text = self.booster.model_to_string(num_iteration=-1)
        return {
            BOOSTER_FILE: text.encode(),
            LINEAR_FILE: _to_json_bytes(linear),
            CALIBRATION_FILE: _to_json_bytes(sigmoid),
            SCHEMA_FILE: _to_json_bytes(schema),
        }

    @staticmethod
    def from_files(files: Mapping[str, bytes]) -> EnsembleModel:
        """The model back from its files. Raises ValueError where a file is missing or they do not belong together.

        Only for files whose fingerprints were checked: LightGBM may kill the interpreter on a damaged text.
        """
        lost = [name for name in MODEL_FILES if name not in files]
        if lost:
            raise ValueError(f"the model lacks {', '.join(lost)}: run `renewals learn` again")
        schema_tree, linear, sigmoid = (
            json.loads(files[name]) for name in (SCHEMA_FILE, LINEAR_FILE, CALIBRATION_FILE)
        )
        schema = Schema.from_json(schema_tree)
        if not schema_tree["hash"] == linear["schema"] == sigmoid["schema"] == schema.hash:
            raise ValueError("the files of the model belong to different models: their schemas differ")
        booster = lgb.Booster(model_str=files[BOOSTER_FILE].decode())
        if booster.feature_name() != list(schema.names):
            raise ValueError("the booster was trained on other features than the schema names")
        line = AdditiveModel.from_json(linear, schema.names)
        calibration = SigmoidCalibration.from_json(sigmoid)
        near_term_days, account_effect_sd = sigmoid["near_term_days"], sigmoid["account_effect_sd"]
        weight = linear["tree_weight"]
        return EnsembleModel(schema, line, booster, weight, calibration, near_term_days, account_effect_sd)


def _to_json_bytes(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def fit_linear(
    values: Floats,
    truth: Labels,
    weight: Floats,
    schema: Schema,
    inverse_penalties: Sequence[float],
    settings: LinearSettings,
    near_weight: Floats | None = None,
) -> dict[float, AdditiveModel]:
    """The linear part at each strength; weakest first, for each fit starts from the one before.

    `near_weight` weighs the rows for what is added near the end, where it is not `weight` that does.

    On one BLAS thread: two gain nothing at this size, lose much on a busy machine, and change the last digits.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        design = AdditiveFitter(
            values, weight, schema.category_counts, schema.signs, schema.lead_index, settings, near_weight
        )
        return {strength: design.fit(truth, strength) for strength in sorted(inverse_penalties)}


def fit_trees(
    values: Floats, truth: Labels, weight: Floats, schema: Schema, num_rounds: int, settings: LightGBMSettings
) -> lgb.Booster:
    """The trees alone, a model in their own right. Raises InsufficientHistoryError where there is but one outcome.

    LightGBM would fit one outcome without a word, and call it certain. One thread column by column: at some tens of
    thousands of rows it is faster than two that wait for each other at every node, and several models can be fitted
    side by side.
    """
    if len(np.unique(truth)) < 2:
        raise InsufficientHistoryError(f"cannot train: all {len(truth)} rows have the same outcome")
    words = [j for j, size in enumerate(schema.category_counts) if size is not None]
    rows = lgb.Dataset(values, truth, weight=weight, feature_name=list(schema.names), categorical_feature=words)
    return lgb.train(_booster_params(schema, settings), rows, num_rounds)


def _booster_params(schema: Schema, settings: LightGBMSettings) -> dict[str, Any]:
    own = settings.model_dump(exclude={"num_rounds", "tree_weights", "parallel_fits", "monotone"})
    return {
        **own,
        "objective": "binary",
        "num_leaves": 2**settings.max_depth,
        "bagging_freq": 1,
        "monotone_constraints": list(schema.signs),
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
