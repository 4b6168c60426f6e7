"""What a model keeps to be compared with later: its features and scores at the time of training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from renewals.models.evaluation import drift

if TYPE_CHECKING:
    from renewals.models.training.schema import Schema

REFERENCE = "drift_reference.json"
"""What was usual when the model was trained, beside its other files; versions from before there was one serve too."""


def build_reference(training: pd.DataFrame, backtest: pd.DataFrame, schema: Schema) -> dict[str, Any]:
    """What a model keeps to be watched by: features of its newest year, and what its back-test said."""
    usual = drift.feature_reference(training, schema.categories, schema.names)
    return {**usual, "score": drift.score_reference(backtest) if len(backtest) else None}


def read_reference(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """What `train` wrote among the model's files; None for a version that has none."""
    usual: dict[str, Any] | None = json.loads(files[REFERENCE]) if REFERENCE in files else None
    return usual
