"""Values to try for a feature in a what-if analysis, and the matching shift of its other windows.

A quantity is often measured over several windows, and the model reads all of them. Changing one window alone would
describe accounts that do not exist, and would leave out most of the quantity's influence. So the other windows shift
too: each by as many ranks among the account's peers as the changed one. The result is an association: the renewal rate
of accounts with such values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from renewals.models.explanation.reasons import FeatureMeta, base_feature, decimal_places
from renewals.models.training.additive import PiecewiseLinear

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel

PEER_QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90)
"""A feature is tried at these quantiles of the peers' values."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureWindow:
    """One window of a quantity: the values of some accounts and of all their peers."""

    values: Floats
    """One value per account, NaN if missing."""
    peer_values: Floats
    """The known values, ascending."""


def what_if_features(
    names: Iterable[str], catalogue: Sequence[FeatureMeta], model_features: Iterable[str]
) -> list[FeatureMeta]:
    """Catalogue entries of the features among `names` that can be tried: actionable numbers that the model reads."""
    in_model, known = set(model_features), {str(feature["name"]): feature for feature in catalogue}
    candidates = [known[name] for name in names if name in known and name in in_model]
    return [feature for feature in candidates if feature["actionable"] and feature.get("kind", "number") == "number"]


def sibling_windows(feature: FeatureMeta, catalogue: Iterable[FeatureMeta], model_features: Iterable[str]) -> list[str]:
    """Names of the other windows of a feature, of those that the model reads."""
    in_model, key = set(model_features), _feature_key(feature)
    names = [str(entry["name"]) for entry in catalogue if _feature_key(entry) == key]
    return [name for name in names if name in in_model and name != feature["name"]]


def _feature_key(feature: FeatureMeta) -> tuple[Any, ...]:
    """Key that all windows of one quantity share: family, base feature and parameters except days."""
    params = {name: value for name, value in (feature.get("params") or {}).items() if name != "days"}
    return feature["family"], base_feature(feature), sorted(params.items())


def training_range(model: EnsembleModel, name: str) -> tuple[float, float]:
    """Range of the feature's knots in the linear part; beyond it the linear part is constant.

    Infinite if it has no knots.
    """
    part = model.linear.effects[model.schema.names.index(name)]
    return (part.knots[0], part.knots[-1]) if isinstance(part, PiecewiseLinear) else (-math.inf, math.inf)


def grid_values(feature: FeatureMeta, peer_values: Floats, bounds: tuple[float, float]) -> list[float]:
    """Values to try for a feature, ascending: quantiles of the peers' values, rounded as in the sentence.

    Values outside `bounds`, the training range, are left out.
    """
    if not len(peer_values):
        return []
    grid = {
        round(value, decimal_places(str(feature["en"]))) + 0.0
        for value in _values_at_quantiles(peer_values, np.array(PEER_QUANTILES)).tolist()
    }
    return sorted(value for value in grid if bounds[0] <= value <= bounds[1])


def percentile_rank(values: Floats, peer_values: Floats) -> Floats:
    """Share of the peers with a lower value, equal ones counted half; one entry per value, NaN if missing."""
    below, upto = (np.searchsorted(peer_values, values, side=side) for side in ("left", "right"))
    return np.where(np.isnan(values) | (len(peer_values) == 0), np.nan, (below + upto) / max(2 * len(peer_values), 1))


def shift_by_rank(target_values: Floats, window: FeatureWindow, sibling: FeatureWindow) -> Floats:
    """Values of a sibling window after `window` changes to `target_values`; one per account.

    The sibling moves by as many ranks as `window`, never in the opposite direction. It stays if either value is
    missing.
    """
    rank_change = percentile_rank(target_values, window.peer_values) - percentile_rank(
        window.values, window.peer_values
    )
    rank = percentile_rank(sibling.values, sibling.peer_values) + rank_change
    known = ~np.isnan(rank) & (rank_change != 0)
    targets = (
        _values_at_quantiles(sibling.peer_values, np.clip(np.where(known, rank, 0.0), 0.0, 1.0))
        if len(sibling.peer_values)
        else sibling.values
    )
    shifted = np.where(rank_change > 0, np.fmax(sibling.values, targets), np.fmin(sibling.values, targets))
    return np.where(known, shifted, sibling.values)


def _values_at_quantiles(peer_values: Floats, quantiles: Floats) -> Floats:
    """The peers' values at these quantiles, without interpolation."""
    return peer_values[np.rint(quantiles * (len(peer_values) - 1)).astype(np.int64)]


def shift_windows(name: str, target_values: Floats, windows: Mapping[str, FeatureWindow]) -> dict[str, Floats]:
    """Values of all windows after the window `name` changes to `target_values`; by name, one value per account."""
    siblings = {sibling: window for sibling, window in windows.items() if sibling != name}
    return {name: target_values} | {
        sibling: shift_by_rank(target_values, windows[name], window) for sibling, window in siblings.items()
    }
