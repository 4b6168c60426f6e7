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

from renewals.models.explanation.reasons import Words, digits, idea
from renewals.models.training.additive import Line

if TYPE_CHECKING:
    from renewals.models.training.ensemble import Learned

SHARES = (0.10, 0.25, 0.50, 0.75, 0.90)
"""A figure is tried at the values that so many of the peers lie below."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """One window of a figure: the figures of some accounts, and of all their peers."""

    own: Floats
    """One per account, not a number where it is not known."""
    peers: Floats
    """Those known, rising."""


def movable(names: Iterable[str], catalogue: Sequence[Words], read: Iterable[str]) -> list[Words]:
    """The features among `names` that can be tried: numbers that a manager can move and the model reads."""
    there, known = set(read), {str(feature["name"]): feature for feature in catalogue}
    asked = [known[name] for name in names if name in known and name in there]
    return [feature for feature in asked if feature["actionable"] and feature.get("kind", "number") == "number"]


def kin(feature: Words, catalogue: Iterable[Words], read: Iterable[str]) -> list[str]:
    """The other windows of a feature's figure, of those the model reads."""
    there, about = set(read), _figure_of(feature)
    own = [str(other["name"]) for other in catalogue if _figure_of(other) == about]
    return [name for name in own if name in there and name != feature["name"]]


def _figure_of(feature: Words) -> tuple[Any, ...]:
    """What a feature is about, whatever its window."""
    about = {name: value for name, value in (feature.get("params") or {}).items() if name != "days"}
    return feature["family"], idea(feature), sorted(about.items())


def usual(learned: Learned, name: str) -> tuple[float, float]:
    """The range that training usually showed: beyond it the linear part says no more than at its ends."""
    part = learned.linear.parts[learned.schema.names.index(name)]
    return (part.at[0], part.at[-1]) if isinstance(part, Line) else (-math.inf, math.inf)


def steps(feature: Words, peers: Floats, within: tuple[float, float]) -> list[float]:
    """The values at which a figure is tried, rising: each that of some peer, rounded as the feature's sentence does.

    What lies beyond what training usually showed is left out.
    """
    if not len(peers):
        return []
    tried = {round(own, digits(str(feature["en"]))) + 0.0 for own in _at(peers, np.array(SHARES)).tolist()}
    return sorted(own for own in tried if within[0] <= own <= within[1])


def standing(figures: Floats, peers: Floats) -> Floats:
    """The share of the peers below each figure, those level with it counting half; one per figure."""
    below, upto = (np.searchsorted(peers, figures, side=side) for side in ("left", "right"))
    return np.where(np.isnan(figures) | (len(peers) == 0), np.nan, (below + upto) / max(2 * len(peers), 1))


def along(wished: Floats, window: Window, other: Window) -> Floats:
    """Another window's figures once the first one's are as wished; one per account.

    It climbs or falls as many ranks as the first, never the other way, and stays where either is not known.
    """
    climbed = standing(wished, window.peers) - standing(window.own, window.peers)
    place = standing(other.own, other.peers) + climbed
    known = ~np.isnan(place) & (climbed != 0)
    there = _at(other.peers, np.clip(np.where(known, place, 0.0), 0.0, 1.0)) if len(other.peers) else other.own
    moved = np.where(climbed > 0, np.fmax(other.own, there), np.fmin(other.own, there))
    return np.where(known, moved, other.own)


def _at(peers: Floats, shares: Floats) -> Floats:
    """The peers' figures that such shares lie below: figures that somebody has."""
    return peers[np.rint(shares * (len(peers) - 1)).astype(np.int64)]


def moved(name: str, wished: Floats, windows: Mapping[str, Window]) -> dict[str, Floats]:
    """The columns of a figure once its window `name` is as wished; each one per account."""
    others = {other: window for other, window in windows.items() if other != name}
    return {name: wished} | {other: along(wished, windows[name], window) for other, window in others.items()}
