"""What a model expects of its input: names in order, kinds and categories, under one fingerprint.

LightGBM looks only at the number of columns: exchanged, they change predictions silently. Hence columns are
taken by name, and what is missing or infinite is refused by name.
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
"""Risky when low: the more, the likelier the renewal."""


@dataclass(frozen=True)
class Schema:
    """The features of one target's model."""

    target: str
    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    """The known categories of each feature that is one; a feature not named here is a number."""
    signs: tuple[int, ...]
    """+1 where the margin may only rise with the feature, -1 where only fall, 0 where either."""

    @staticmethod
    def from_catalogue(
        catalogue: Iterable[Mapping[str, Any]], frame: pd.DataFrame, target: str, monotone: bool, actions: bool = False
    ) -> Schema:
        """The schema of a catalogue of features, with the categories that stand in `frame`.

        What our people log of what they do is left out, so that logging it moves no score (domain M5), unless
        `actions` asks for it: to compare treated accounts with others, it must be known who was treated before.
        """
        features = [feature for feature in catalogue if actions or not feature.get("action", False)]
        if not features:
            raise ValueError("no features available for training")
        words = [feature["name"] for feature in features if feature.get("kind", "number") == "category"]
        _require_columns(frame, [feature["name"] for feature in features])
        return Schema(
            target=target,
            names=tuple(feature["name"] for feature in features),
            categories={name: tuple(sorted(frame[name].dropna().astype(str).unique())) for name in words},
            signs=tuple(_monotone_sign(feature, target, monotone) for feature in features),
        )

    @property
    def hash(self) -> str:
        """One fingerprint of names, order, kinds and categories."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def category_counts(self) -> list[int | None]:
        """The number of categories of each feature; None for a number."""
        return [len(self.categories[name]) if name in self.categories else None for name in self.names]

    @property
    def lead_index(self) -> int | None:
        """The place of the days to the renewal, where they are a feature."""
        return self.names.index(LEAD_COLUMN) if LEAD_COLUMN in self.names else None

    def proximity(self, frame: pd.DataFrame, days: float) -> Floats:
        """0 from `days` before the renewal back, rising to 1 on its day; one number per row."""
        if self.lead_index is None or not days:
            return np.zeros(len(frame))
        return near_term_proximity(frame[LEAD_COLUMN].to_numpy(np.float64, na_value=np.nan), days)

    def values(self, frame: pd.DataFrame) -> Floats:
        """The features of `frame` in order, as numbers; a category is its place in the list, NaN if unknown.

        Raises ValueError naming columns that are missing, not numbers, or infinite.
        """
        _require_columns(frame, self.names)
        columns = {name: self._encode_column(frame[name]) for name in self.names}
        endless = [name for name, column in columns.items() if np.isinf(column).any()]
        if endless:
            raise ValueError(f"infinite values in {', '.join(endless)}")
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
            raise ValueError(f"{column.name} must be a number, but holds {column.dtype}") from None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "target": self.target,
            "names": list(self.names),
            "categories": {name: list(known) for name, known in self.categories.items()},
            "signs": list(self.signs),
        }

    @staticmethod
    def from_json(tree: Mapping[str, Any]) -> Schema:
        """The same back."""
        categories = {name: tuple(known) for name, known in tree["categories"].items()}
        return Schema(tree["target"], tuple(tree["names"]), categories, tuple(tree["signs"]))


def mask_infinite(features: pd.DataFrame) -> tuple[pd.DataFrame, npt.NDArray[np.object_]]:
    """The figures, infinite ones unknown; and of each row the name of the first that was infinite, or None.

    A model refuses a table that holds an infinite figure: one account would cost all others their scores.
    """
    numbers = features.select_dtypes("number")
    endless = np.isinf(numbers.to_numpy(np.float64, na_value=np.nan))
    rows = endless.any(axis=1)
    named = np.full(len(features), None, object)
    if not rows.any():
        return features, named
    named[rows] = np.array(numbers.columns, object)[endless[rows].argmax(axis=1)]
    return features.assign(
        **{str(name): own.mask(endless[:, k]) for k, (name, own) in enumerate(numbers.items())}
    ), named


def _monotone_sign(feature: Mapping[str, Any], target: str, monotone: bool) -> int:
    """Risk is declared for renewal; what moves expansion is left to the rows."""
    if not monotone or target != RENEWAL or feature.get("kind", "number") == "category":
        return 0
    return MONOTONE_SIGNS[feature["risk"]]


def _require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    lost = [name for name in names if name not in frame.columns]
    if lost:
        raise ValueError(f"columns missing: {', '.join(lost)}")
