"""Why a probability is another than on the last list: new figures, a nearer renewal, or a new model.

The change of the same renewal's score is split in three, and the parts sum to it. What the *model* did is told last:
today's figures as the old model and the new one see them, for that is what could have been published had nobody
learned anew, and an older list does not hold what a newer model reads. Between the *data* and the *clock* no order is
natural, so both are replaced first and second in turn and averaged (Shapley's value of two players).

The clock is the columns that the catalogue marks as such: they follow from the contract's dates and the calendar
alone. Days of silence grow by themselves too, but that nothing has happened is news, and data.
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
"""Before calibration, after it, and what the list shows; a split holds on each."""
PARTS = ("data", "clock", "model")
MAX_FEATURES = 4
"""Ideas that may be named for an account; some of them look alike in words on both days."""


def score_scales(model: EnsembleModel, values: pd.DataFrame) -> Floats:
    """Margin, calibrated log-odds and probability; rows × scales."""
    margin = model.margin(values)
    close, shift = model.schema.proximity(values, model.near_term_days), model.calibration.segment_offset(values)
    said = (model.calibration.log_odds, model.calibration.probability)
    return np.column_stack([margin, *(of(margin, close, shift) for of in said)])


def decompose_change(
    old_model: EnsembleModel,
    new_model: EnsembleModel,
    before: pd.DataFrame,
    now: pd.DataFrame,
    time_driven: Collection[str],
) -> pd.DataFrame:
    """The change of every score and its parts, one row per account.

    `before` and `now` hold the figures of the same accounts in the same order, `time_driven` names the columns that
    move by themselves. On each scale there are `…_before`, `…_now` and the parts `…_data`, `…_clock`, `…_model`, which
    sum to now - before. Raises ValueError where a model's columns are missing.
    """
    names = list(old_model.schema.names)
    later = [name for name in names if name in time_driven]
    was, today = before[names].reset_index(drop=True), now[names].reset_index(drop=True)
    only_data, only_clock = today.assign(**was[later]), was.assign(**today[later])
    start, end, data, ticked = (score_scales(old_model, figures) for figures in (was, today, only_data, only_clock))
    last = end if new_model is old_model else score_scales(new_model, now)
    parts = {
        "before": start,
        "now": last,
        "data": (data - start + end - ticked) / 2,
        "clock": (ticked - start + end - data) / 2,
        "model": last - end,
    }
    columns = {
        f"{scale}_{part}": found[:, place] for place, scale in enumerate(SCALES) for part, found in parts.items()
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
    """The ideas whose new figures moved each account most, the strongest first; one list per row.

    An idea's weight is how far its contributions moved, all its columns together, in the model that saw both days.
    Its speaker is the column that moved most of those whose figure moved the way that is told; `direction` is the sign
    of the part to be explained, one per row.
    """
    known = [
        feature for feature in features if feature["name"] in model.schema.names and feature["name"] not in time_driven
    ]
    names = [str(feature["name"]) for feature in known]
    push = model.contributions(now)[0][names].to_numpy() - model.contributions(before)[0][names].to_numpy()
    tells = np.zeros(push.shape, np.bool_)
    for place, feature in enumerate(known):
        tells[:, place] = _supports_change(before[names[place]], now[names[place]], feature, direction)
    chosen = _strongest_features(
        push * direction[:, None], tells, [(feature["family"], base_feature(feature)) for feature in known]
    )
    return [[known[place] for place in row if place >= 0] for row in chosen]


def _supports_change(
    before: pd.Series, now: pd.Series, feature: FeatureMeta, direction: Floats
) -> npt.NDArray[np.bool_]:
    """Whether a figure moved, and not against what is said of it: less use never speaks for a better chance."""
    if feature.get("kind") == "category" or not pd.api.types.is_numeric_dtype(now):
        was, today = before.astype(object).to_numpy(), now.astype(object).to_numpy()
        return np.array([a != b and not (pd.isna(a) and pd.isna(b)) for a, b in zip(was, today, strict=True)], bool)
    step = now.to_numpy(np.float64, na_value=np.nan) - before.to_numpy(np.float64, na_value=np.nan)
    sign = {"low": 1.0, "high": -1.0, "either": 0.0}[feature["risk"]]
    return np.isfinite(step) & (step != 0) & (sign * step * direction >= 0)


def _strongest_features(
    contribution_changes: Floats, eligible: npt.NDArray[np.bool_], base_features: Sequence[Any]
) -> Ints:
    """The speakers of the strongest ideas, by place, -1 for nobody; rows × SPOKEN."""
    groups = pd.factorize(pd.Series(base_features, dtype=object))[0] if base_features else np.zeros(0, np.intp)
    weights = np.zeros((len(contribution_changes), MAX_FEATURES))
    chosen = np.full((len(contribution_changes), MAX_FEATURES), -1, np.intp)
    for group in range(int(groups.max(initial=-1)) + 1):
        own = np.flatnonzero(groups == group)
        push = np.where(eligible[:, own], contribution_changes[:, own], -np.inf)
        best = own[push.argmax(axis=1)]
        weight = np.where(push.max(axis=1) > 0, contribution_changes[:, own].sum(axis=1), 0.0)
        weakest = weights.argmin(axis=1)
        rows = np.flatnonzero(weight > weights[np.arange(len(contribution_changes)), weakest])
        weights[rows, weakest[rows]], chosen[rows, weakest[rows]] = weight[rows], best[rows]
    order = np.argsort(-weights, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)
