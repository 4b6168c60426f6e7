"""Schema of a model's input: feature names in order, kinds and categories, with one fingerprint.

LightGBM checks only the number of columns: columns in another order would silently change the predictions. So columns
are selected by name, and missing columns or infinite values raise an error that names them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.settings import RENEWAL
from renewals.models.training.additive import near_term_proximity

Floats = npt.NDArray[np.float64]
LEAD_COLUMN = "days_to_renewal"
MONOTONE_SIGNS = {"low": 1, "high": -1, "either": 0}
"""Monotone sign by risk direction; +1 (risky when low): a larger value makes the renewal more likely."""


@dataclass(frozen=True)
class Schema:
    """Features of the model of one target."""

    target: str
    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    """Known categories of each categorical feature; all other features are numbers."""
    signs: tuple[int, ...]
    """Per feature: +1 if the margin may only rise with it, -1 if it may only fall, 0 if it is free."""

    @staticmethod
    def from_catalogue(
        catalogue: Iterable[Mapping[str, Any]], frame: pd.DataFrame, target: str, monotone: bool, actions: bool = False
    ) -> Schema:
        """Build the schema from a catalogue of features and the categories that occur in `frame`.

        Features of our own logged actions are left out, so that logging an action changes no score (domain M5). With
        `actions=True` they are included: comparing treated with other accounts needs their earlier treatments. Raises
        ValueError if there are no features or columns are missing.
        """
        features = [feature for feature in catalogue if actions or not feature.get("action", False)]
        if not features:
            raise ValueError("no features available for training")
        category_names = [feature["name"] for feature in features if feature.get("kind", "number") == "category"]
        _require_columns(frame, [feature["name"] for feature in features])
        return Schema(
            target=target,
            names=tuple(feature["name"] for feature in features),
            categories={name: tuple(sorted(frame[name].dropna().astype(str).unique())) for name in category_names},
            signs=tuple(_monotone_sign(feature, target, monotone) for feature in features),
        )

    @property
    def hash(self) -> str:
        """SHA-256 fingerprint of target, names, order, kinds, categories and signs."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def category_counts(self) -> list[int | None]:
        """Number of categories of each feature; None for a numeric feature."""
        return [len(self.categories[name]) if name in self.categories else None for name in self.names]

    @property
    def lead_index(self) -> int | None:
        """Column index of `days_to_renewal`; None if it is not a feature."""
        return self.names.index(LEAD_COLUMN) if LEAD_COLUMN in self.names else None

    def proximity(self, frame: pd.DataFrame, days: float) -> Floats:
        """Proximity of the renewal, one number per row: 0 at `days` or more before it, rising to 1 on its day."""
        if self.lead_index is None or not days:
            return np.zeros(len(frame))
        return near_term_proximity(frame[LEAD_COLUMN].to_numpy(np.float64, na_value=np.nan), days)

    def values(self, frame: pd.DataFrame) -> Floats:
        """Encode the features of `frame` as numbers; rows × features in the order of the schema.

        A category becomes its index in the list of categories, NaN if unknown. Raises ValueError that names columns
        that are missing, not numeric, or infinite.
        """
        _require_columns(frame, self.names)
        columns = {name: self._encode_column(frame[name]) for name in self.names}
        infinite = [name for name, column in columns.items() if np.isinf(column).any()]
        if infinite:
            raise ValueError(f"infinite values in {', '.join(infinite)}")
        return np.column_stack(list(columns.values())) if len(frame) else np.zeros((0, len(self.names)))

    def _encode_column(self, column: pd.Series) -> Floats:
        if str(column.name) in self.categories:
            codes = pd.Index(self.categories[str(column.name)], dtype=object).get_indexer(
                pd.Index(column.astype(object))
            )
            return np.where(codes < 0, np.nan, codes)
        try:
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            raise ValueError(f"{column.name} must be numeric, but has type {column.dtype}") from None

    def to_json(self) -> dict[str, Any]:
        """Convert to values that JSON can hold."""
        return {
            "target": self.target,
            "names": list(self.names),
            "categories": {name: list(known) for name, known in self.categories.items()},
            "signs": list(self.signs),
        }

    @staticmethod
    def from_json(tree: Mapping[str, Any]) -> Schema:
        """Build from the output of `to_json`."""
        categories = {name: tuple(known) for name, known in tree["categories"].items()}
        return Schema(tree["target"], tuple(tree["names"]), categories, tuple(tree["signs"]))


def mask_infinite(features: pd.DataFrame) -> tuple[pd.DataFrame, npt.NDArray[np.object_]]:
    """Replace infinite values by NaN; also return, per row, the name of the first infinite column or None.

    A model rejects a table with an infinite value, so that one account would prevent the scores of all others.
    """
    numbers = features.select_dtypes("number")
    is_infinite = np.isinf(numbers.to_numpy(np.float64, na_value=np.nan))
    rows = is_infinite.any(axis=1)
    first_infinite = np.full(len(features), None, object)
    if not rows.any():
        return features, first_infinite
    first_infinite[rows] = np.array(numbers.columns, object)[is_infinite[rows].argmax(axis=1)]
    return features.assign(
        **{str(name): column.mask(is_infinite[:, k]) for k, (name, column) in enumerate(numbers.items())}
    ), first_infinite


def _monotone_sign(feature: Mapping[str, Any], target: str, monotone: bool) -> int:
    """Monotone sign of a feature; 0 for categories and for targets other than renewal, to which `risk` refers."""
    if not monotone or target != RENEWAL or feature.get("kind", "number") == "category":
        return 0
    return MONOTONE_SIGNS[feature["risk"]]


def _require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(f"columns missing: {', '.join(missing)}")
