"""What the model would say of other figures than those that are: what is tried, and what moves along.

A figure is often known in several windows, and the model reads them all. To move one and hold the others would ask of
accounts that nobody has seen, and most of what the figure tells would stay where it was. So the others move along: each
by as much, up or down the ranks of the account's peers, as the one that was set. The answer is an association: accounts
with such figures renewed so often.
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
"""A figure is tried at the values that so many of the peers lie below."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureWindow:
    """One window of a figure: the figures of some accounts, and of all their peers."""

    values: Floats
    """One per account, not a number where it is not known."""
    peer_values: Floats
    """Those known, rising."""


def what_if_features(
    names: Iterable[str], catalogue: Sequence[FeatureMeta], model_features: Iterable[str]
) -> list[FeatureMeta]:
    """The features among `names` that can be tried: numbers that a manager can move and the model reads."""
    there, known = set(model_features), {str(feature["name"]): feature for feature in catalogue}
    asked = [known[name] for name in names if name in known and name in there]
    return [feature for feature in asked if feature["actionable"] and feature.get("kind", "number") == "number"]


def sibling_windows(feature: FeatureMeta, catalogue: Iterable[FeatureMeta], model_features: Iterable[str]) -> list[str]:
    """The other windows of a feature's figure, of those the model reads."""
    there, about = set(model_features), _feature_key(feature)
    own = [str(other["name"]) for other in catalogue if _feature_key(other) == about]
    return [name for name in own if name in there and name != feature["name"]]


def _feature_key(feature: FeatureMeta) -> tuple[Any, ...]:
    """What a feature is about, whatever its window."""
    about = {name: value for name, value in (feature.get("params") or {}).items() if name != "days"}
    return feature["family"], base_feature(feature), sorted(about.items())


def training_range(model: EnsembleModel, name: str) -> tuple[float, float]:
    """The range that training usually showed: beyond it the linear part says no more than at its ends."""
    part = model.linear.effects[model.schema.names.index(name)]
    return (part.knots[0], part.knots[-1]) if isinstance(part, PiecewiseLinear) else (-math.inf, math.inf)


def grid_values(feature: FeatureMeta, peer_values: Floats, bounds: tuple[float, float]) -> list[float]:
    """The values at which a figure is tried, rising: each that of some peer, rounded as the feature's sentence does.

    What lies beyond what training usually showed is left out.
    """
    if not len(peer_values):
        return []
    tried = {
        round(own, decimal_places(str(feature["en"]))) + 0.0
        for own in _values_at_quantiles(peer_values, np.array(PEER_QUANTILES)).tolist()
    }
    return sorted(own for own in tried if bounds[0] <= own <= bounds[1])


def percentile_rank(values: Floats, peer_values: Floats) -> Floats:
    """The share of the peers below each figure, those level with it counting half; one per figure."""
    below, upto = (np.searchsorted(peer_values, values, side=side) for side in ("left", "right"))
    return np.where(np.isnan(values) | (len(peer_values) == 0), np.nan, (below + upto) / max(2 * len(peer_values), 1))


def shift_by_rank(target_values: Floats, window: FeatureWindow, sibling: FeatureWindow) -> Floats:
    """Another window's figures once the first one's are as wished; one per account.

    It climbs or falls as many ranks as the first, never the other way, and stays where either is not known.
    """
    climbed = percentile_rank(target_values, window.peer_values) - percentile_rank(window.values, window.peer_values)
    place = percentile_rank(sibling.values, sibling.peer_values) + climbed
    known = ~np.isnan(place) & (climbed != 0)
    there = (
        _values_at_quantiles(sibling.peer_values, np.clip(np.where(known, place, 0.0), 0.0, 1.0))
        if len(sibling.peer_values)
        else sibling.values
    )
    moved = np.where(climbed > 0, np.fmax(sibling.values, there), np.fmin(sibling.values, there))
    return np.where(known, moved, sibling.values)


def _values_at_quantiles(peer_values: Floats, quantiles: Floats) -> Floats:
    """The peers' figures that such shares lie below: figures that somebody has."""
    return peer_values[np.rint(quantiles * (len(peer_values) - 1)).astype(np.int64)]


def shift_windows(name: str, target_values: Floats, windows: Mapping[str, FeatureWindow]) -> dict[str, Floats]:
    """The columns of a figure once its window `name` is as wished; each one per account."""
    others = {other: window for other, window in windows.items() if other != name}
    return {name: target_values} | {
        other: shift_by_rank(target_values, windows[name], window) for other, window in others.items()
    }
