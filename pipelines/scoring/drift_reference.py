"""Drift reference of a model: distribution of its features and scores at the time of training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from renewals.features.spine import DUE
from renewals.models.evaluation import drift

if TYPE_CHECKING:
    from renewals.models.training.schema import Schema

REFERENCE = "drift_reference.json"
"""File of the reference, next to the model's other files; older versions without it can serve too."""


def build_reference(training: pd.DataFrame, backtest: pd.DataFrame, schema: Schema) -> dict[str, Any]:
    """Build the drift reference: distributions of features in the newest training year and of back-test scores.

    Only the rows about a renewal that is due count, as on a list. `score` is None if the back-test has no rows.
    """
    due = training[training["renewal_state"].eq(DUE)]
    reference = drift.feature_reference(due, schema.categories, schema.names)
    return {**reference, "score": drift.score_reference(backtest) if len(backtest) else None}


def read_reference(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Read the drift reference from the model's files; None for a version without one."""
    reference: dict[str, Any] | None = json.loads(files[REFERENCE]) if REFERENCE in files else None
    return reference
