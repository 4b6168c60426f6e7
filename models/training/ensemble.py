"""Ensemble model of one target: weighted mean of a linear part and boosted trees, then a sigmoid calibration.

With hundreds of outcomes a ridge regression on curves of the features is hard to beat, and shallow trees add the
interactions that it cannot express. The two are fitted separately and their log-odds are averaged; the weight is
selected on temporal folds (`models/training/walk_forward.py`). Both are sums over features, so contributions are exact:
base + contributions = margin. The booster is saved as LightGBM text and the rest as JSON, readable without this
repository.
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
    """Hyperparameters that are selected on the temporal folds."""

    inverse_penalty: float
    """Inverse ridge penalty of the linear part."""
    num_rounds: int
    """Number of trees."""
    tree_weight: float
    """Weight of the trees' margin; the linear part has 1 minus this weight."""


@dataclass(frozen=True)
class EnsembleModel:
    """Fitted model of one target: linear part, trees, weight of the trees, and calibration."""

    schema: Schema
    linear: AdditiveModel
    booster: lgb.Booster
    tree_weight: float
    calibration: SigmoidCalibration
    near_term_days: float
    account_effect_sd: float
    """Standard deviation, in log-odds, of accounts' true probabilities around the prediction (`uncertainty.py`)."""

    def margin(self, frame: pd.DataFrame) -> Floats:
        """Log-odds before calibration; one number per row. Raises ValueError for missing columns or infinite values."""
        values = self.schema.values(frame)
        return (1 - self.tree_weight) * self.linear.margin(values) + self.tree_weight * self.tree_shap.margin(values)

    def probability(self, frame: pd.DataFrame) -> Floats:
        """Calibrated probability; one number per row."""
        return self._calibrate(self.margin(frame), frame)

    def _calibrate(self, margin: Floats, frame: pd.DataFrame) -> Floats:
        proximity = self.schema.proximity(frame, self.near_term_days)
        return self.calibration.probability(margin, proximity, self.calibration.segment_offset(frame))

    def interval(self, probability: Floats, confidence: float) -> tuple[Floats, Floats]:
        """Interval (low, high) of each account's true probability around its predicted probability."""
        return probability_interval(probability, self.account_effect_sd, confidence)

    def contributions(self, frame: pd.DataFrame, threads: int = 1) -> tuple[pd.DataFrame, float]:
        """Contributions of each feature to the margin (rows × features), and the base value.

        Base value + sum of a row's contributions = its margin. The linear part's contributions are centred on the
        training rows; the trees' are path-dependent TreeSHAP values.
        """
        values = self.schema.values(frame)
        return self._combine_contributions(
            values, self.linear.contributions(values, threads), frame.index, threads
        ), self.base_value

    def predict_and_explain(self, frame: pd.DataFrame) -> tuple[Floats, pd.DataFrame, Floats]:
        """Probability, contributions, and share of values outside the training range, for each row.

        Bit-identical to the separate methods, but the features are encoded and the linear part is evaluated only once.
        """
        values = self.schema.values(frame)
        linear_contributions = self.linear.contributions(values)
        margin = (1 - self.tree_weight) * self.linear.margin_from_contributions(
            linear_contributions
        ) + self.tree_weight * self.tree_shap.margin(values)
        return (
            self._calibrate(margin, frame),
            self._combine_contributions(values, linear_contributions, frame.index),
            self.linear.out_of_range_share(values),
        )

    def _combine_contributions(
        self, values: Floats, linear_contributions: Floats, index: pd.Index, threads: int = 1
    ) -> pd.DataFrame:
        combined = (1 - self.tree_weight) * linear_contributions
        combined += self.tree_weight * self.tree_shap.contributions(values, threads)
        return pd.DataFrame(combined, columns=list(self.schema.names), index=index)

    @property
    def base_value(self) -> float:
        """Margin without any feature information, to which the contributions are added."""
        return (1 - self.tree_weight) * self.linear.intercept + self.tree_weight * self.tree_shap.base

    @cached_property
    def tree_shap(self) -> TreeShap:
        """Contribution tables of the booster, built once per model."""
        from renewals.models.kernels.treeshap import (
            TreeShap,  # imported here because it loads numba, which code that only reads models does not need
        )

        return TreeShap.of(self.booster)

    def to_files(self) -> dict[str, bytes]:
        """Serialize the model: content by file name, the booster as LightGBM text and the rest as JSON."""
        schema_hash = {"schema": self.schema.hash}
        schema = {**self.schema.to_json(), "hash": self.schema.hash, "trained": True}
        linear = {**schema_hash, "tree_weight": self.tree_weight, **self.linear.to_json(self.schema.names)}
        constants = {"near_term_days": self.near_term_days, "account_effect_sd": self.account_effect_sd}
        sigmoid = {**schema_hash, "method": "sigmoid", **constants, **self.calibration.to_json()}
        text = self.booster.model_to_string(num_iteration=-1)
        return {
            BOOSTER_FILE: text.encode(),
            LINEAR_FILE: _to_json_bytes(linear),
            CALIBRATION_FILE: _to_json_bytes(sigmoid),
            SCHEMA_FILE: _to_json_bytes(schema),
        }

    @staticmethod
    def from_files(files: Mapping[str, bytes]) -> EnsembleModel:
        """Load the model from the output of `to_files`. Raises ValueError if a file is missing or does not match.

        Check the files' fingerprints first: LightGBM may crash the interpreter on a damaged text.
        """
        missing = [name for name in MODEL_FILES if name not in files]
        if missing:
            raise ValueError(f"the model lacks {', '.join(missing)}: run `renewals learn` again")
        schema_tree, linear, sigmoid = (
            json.loads(files[name]) for name in (SCHEMA_FILE, LINEAR_FILE, CALIBRATION_FILE)
        )
        schema = Schema.from_json(schema_tree)
        if not schema_tree["hash"] == linear["schema"] == sigmoid["schema"] == schema.hash:
            raise ValueError("the files belong to different models: their schema hashes differ")
        booster = lgb.Booster(model_str=files[BOOSTER_FILE].decode())
        if booster.feature_name() != list(schema.names):
            raise ValueError("the features of the booster differ from the features of the schema")
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
    """Fit the linear part for each inverse penalty, in rising order; each fit starts from the previous solution.

    `near_weight` holds the row weights for the near-term effects (default: `weight`). Uses one BLAS thread: two are no
    faster at this size, much slower on a busy machine, and change the last digits.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        design = AdditiveFitter(
            values, weight, schema.category_counts, schema.signs, schema.lead_index, settings, near_weight
        )
        return {strength: design.fit(truth, strength) for strength in sorted(inverse_penalties)}


def fit_trees(
    values: Floats, truth: Labels, weight: Floats, schema: Schema, num_rounds: int, settings: LightGBMSettings
) -> lgb.Booster:
    """Fit the boosted trees. Raises InsufficientHistoryError if all rows have the same outcome.

    LightGBM would fit a single outcome without an error, with probabilities of 0 or 1. It runs column-wise on one
    thread: at some tens of thousands of rows that is faster than two threads that wait for each other at every node,
    and several models can be fitted in parallel.
    """
    if len(np.unique(truth)) < 2:
        raise InsufficientHistoryError(f"cannot train: all {len(truth)} rows have the same outcome")
    category_indices = [j for j, size in enumerate(schema.category_counts) if size is not None]
    rows = lgb.Dataset(
        values, truth, weight=weight, feature_name=list(schema.names), categorical_feature=category_indices
    )
    return lgb.train(_booster_params(schema, settings), rows, num_rounds)


def _booster_params(schema: Schema, settings: LightGBMSettings) -> dict[str, Any]:
    lightgbm_params = settings.model_dump(exclude={"num_rounds", "tree_weights", "parallel_fits", "monotone"})
    return {
        **lightgbm_params,
        "objective": "binary",
        "num_leaves": 2**settings.max_depth,
        "bagging_freq": 1,
        "monotone_constraints": list(schema.signs),
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
