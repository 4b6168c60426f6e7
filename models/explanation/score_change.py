"""Decompose the change of a probability since the last list: new data, less time to the renewal, or a new model.

The change of the score of one renewal is the sum of three parts. The *model* part comes last: the difference between
the new and the old model on today's values. Without a new model the old model's score of today's values would have been
published, and an older list does not contain what a newer model reads. *Data* and *clock* have no natural order, so
both orders are computed and averaged (Shapley value of two players).

The clock consists of the columns that the catalogue marks as time-driven: they follow from the contract's dates and the
calendar alone. Days without use also grow with time, but the absence of events is news, and so belongs to the data.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.explanation.reasons import FeatureMeta, base_feature

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SCALES = ("margin", "log_odds", "probability")
"""Before calibration, after it, and as the list shows it; the parts add up on each scale."""
PARTS = ("data", "clock", "model")
MAX_FEATURES = 4
"""Base features that are returned per account; more than are shown, because some have the same text on both days."""


def score_scales(model: EnsembleModel, values: pd.DataFrame) -> Floats:
    """Margin, calibrated log-odds and probability of each row; rows × scales."""
    margin = model.margin(values)
    close, shift = model.schema.proximity(values, model.near_term_days), model.calibration.segment_offset(values)
    calibrated_scales = (model.calibration.log_odds, model.calibration.probability)
    return np.column_stack([margin, *(scale(margin, close, shift) for scale in calibrated_scales)])


def decompose_change(
    old_model: EnsembleModel,
    new_model: EnsembleModel,
    before: pd.DataFrame,
    now: pd.DataFrame,
    time_driven: Collection[str],
) -> pd.DataFrame:
    """Decompose the change of every score into its parts; one row per account.

    `before` and `now` hold the feature values of the same accounts in the same order; `time_driven` names the columns
    of the clock. On each scale there are `…_before`, `…_now` and the parts `…_data`, `…_clock`, `…_model`, which sum to
    now - before. Raises ValueError if columns of a model are missing.
    """
    names = list(old_model.schema.names)
    clock_columns = [name for name in names if name in time_driven]
    old_values, new_values = before[names].reset_index(drop=True), now[names].reset_index(drop=True)
    only_data, only_clock = (
        new_values.assign(**old_values[clock_columns]),
        old_values.assign(**new_values[clock_columns]),
    )
    start, end, data, clock = (
        score_scales(old_model, values) for values in (old_values, new_values, only_data, only_clock)
    )
    last = end if new_model is old_model else score_scales(new_model, now)
    parts = {
        "before": start,
        "now": last,
        "data": (data - start + end - clock) / 2,
        "clock": (clock - start + end - data) / 2,
        "model": last - end,
    }
    columns = {
        f"{scale}_{part}": scores[:, position]
        for position, scale in enumerate(SCALES)
        for part, scores in parts.items()
    }
    return pd.DataFrame(columns, index=now.index)


def changed_features(
    model: EnsembleModel,
    before: pd.DataFrame,
    now: pd.DataFrame,
    features: Sequence[FeatureMeta],
    time_driven: Collection[str],
    direction: Floats,
) -> list[list[FeatureMeta]]:
    """Features that changed each account's score most, at most one per base feature, the strongest first.

    Returns one list per row. The weight of a base feature is the change of its contributions, summed over its columns,
    in the model that scored both days. It is represented by the column with the largest change, of those with a value
    that moved in the matching direction. `direction` is the sign of the part to be explained, one per row.
    """
    known = [
        feature for feature in features if feature["name"] in model.schema.names and feature["name"] not in time_driven
    ]
    names = [str(feature["name"]) for feature in known]
    contribution_changes = (
        model.contributions(now)[0][names].to_numpy() - model.contributions(before)[0][names].to_numpy()
    )
    eligible = np.zeros(contribution_changes.shape, np.bool_)
    for position, feature in enumerate(known):
        eligible[:, position] = _supports_change(before[names[position]], now[names[position]], feature, direction)
    chosen = _strongest_features(
        contribution_changes * direction[:, None],
        eligible,
        [(feature["family"], base_feature(feature)) for feature in known],
    )
    return [[known[position] for position in row if position >= 0] for row in chosen]


def _supports_change(
    before: pd.Series, now: pd.Series, feature: FeatureMeta, direction: Floats
) -> npt.NDArray[np.bool_]:
    """True if a value changed in the matching direction: less use never explains a higher probability."""
    if feature.get("kind") == "category" or not pd.api.types.is_numeric_dtype(now):
        old_values, new_values = before.astype(object).to_numpy(), now.astype(object).to_numpy()
        return np.array(
            [a != b and not (pd.isna(a) and pd.isna(b)) for a, b in zip(old_values, new_values, strict=True)], bool
        )
    change = now.to_numpy(np.float64, na_value=np.nan) - before.to_numpy(np.float64, na_value=np.nan)
    sign = {"low": 1.0, "high": -1.0, "either": 0.0}[feature["risk"]]
    return np.isfinite(change) & (change != 0) & (sign * change * direction >= 0)


def _strongest_features(
    contribution_changes: Floats, eligible: npt.NDArray[np.bool_], base_features: Sequence[Any]
) -> Ints:
    """Positions of the features that represent the strongest base features, -1 for none; rows × MAX_FEATURES."""
    groups = pd.factorize(pd.Series(base_features, dtype=object))[0] if base_features else np.zeros(0, np.intp)
    weights = np.zeros((len(contribution_changes), MAX_FEATURES))
    chosen = np.full((len(contribution_changes), MAX_FEATURES), -1, np.intp)
    for group in range(int(groups.max(initial=-1)) + 1):
        columns = np.flatnonzero(groups == group)
        eligible_changes = np.where(eligible[:, columns], contribution_changes[:, columns], -np.inf)
        best = columns[eligible_changes.argmax(axis=1)]
        weight = np.where(eligible_changes.max(axis=1) > 0, contribution_changes[:, columns].sum(axis=1), 0.0)
        weakest = weights.argmin(axis=1)
        rows = np.flatnonzero(weight > weights[np.arange(len(contribution_changes)), weakest])
        weights[rows, weakest[rows]], chosen[rows, weakest[rows]] = weight[rows], best[rows]
    order = np.argsort(-weights, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)
