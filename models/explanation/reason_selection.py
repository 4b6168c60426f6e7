"""Which features speak for a row: the strongest themes whose figures agree with their push, row by row, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from renewals.models.kernels.jit import cached_njit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LOW, HIGH, EITHER = range(3)
RISK_CODES = {"low": LOW, "high": HIGH, "either": EITHER}


class ReasonRules(NamedTuple):
    """What is known of the features before any row is seen."""

    risk: Ints
    """When each feature is risky: `RISK_CODES`."""
    scale: Floats
    """Its figure is shown rounded to 1 / scale."""
    first: Ints
    """The features of theme i are member[first[i]:first[i + 1]]."""
    member: Ints
    idea: Ints
    """Which idea each of `member` is a window or tier of; numbered from 0."""
    share: float
    """A theme that makes up less than this of all that pushes a row is left out."""


class ReasonInputs(NamedTuple):
    """Some rows, and what is usual among their peers."""

    push: Floats
    """Contributions towards renewal; rows × features."""
    own: Floats
    """Figures; rows × features, NaN where not known."""
    usual: Floats
    """The peers' figures as they are shown; groups × features."""
    group: Ints
    """The group of each row."""
    silent: Floats
    """What pushes each row besides, from features that have no words."""


def select_strongest(
    inputs: ReasonInputs, rules: ReasonRules, reason_count: int, strength_count: int
) -> tuple[Ints, Floats, Ints]:
    """The features that speak for the strongest themes, -1 where none does: rows × reasons, rows × strengths.

    Between them what the themes of the reasons add, towards loss. Of themes equally strong the first speaks first.
    """
    count = len(inputs.push)
    loss, weight = np.full((count, reason_count), -1, np.int64), np.zeros((count, reason_count))
    gain, lifted = np.full((count, strength_count), -1, np.int64), np.zeros((count, strength_count))
    _select_themes(inputs, rules, -1.0, loss, weight)
    _select_themes(inputs, rules, 1.0, gain, lifted)
    return loss, weight, gain


@cached_njit
def _value_agrees(value, peer_value, risk, scale, towards_loss):  # type: ignore[no-untyped-def]
    """Whether a figure may be told as a push in this direction, beside what is usual.

    It must lie on its side of the peers' figure. Unknown it may be a reason, for it contradicts nothing, but nobody is
    strong for what is not known. Nothing at all is a reason even where the peers have nothing either, as no contact
    with anyone; it is no strength to be spared what most are spared. What is risky neither way need only differ from
    the peers'. Figures are compared as they are shown: 11.3 hours beside 10.8 would be read as 11 beside 11.
    """
    shown = np.rint(value * scale) / scale
    if np.isnan(shown) and not towards_loss:
        return False
    if risk == EITHER:
        return shown != peer_value
    if (risk == HIGH) == towards_loss:
        return not shown <= peer_value and not shown <= 0
    return not shown >= peer_value or (shown <= 0 and towards_loss)


@cached_njit
def _best_feature(theme, direction, contributions, values, peer_values, rules, base_feature_sums):  # type: ignore[no-untyped-def]
    """The feature of a theme that says it best, -1 where none may: of its strongest idea the column that pushes most.

    One column alone may push by chance; all windows of an idea together seldom do. `base_feature_sums` is scratch.
    """
    members = range(rules.first[theme], rules.first[theme + 1])
    for k in members:
        base_feature_sums[rules.idea[k]] = 0.0
    for k in members:
        base_feature_sums[rules.idea[k]] += direction * contributions[rules.member[k]]
    best, most, strongest_idea = -1, 0.0, 0.0
    for k in members:
        feature, idea = rules.member[k], base_feature_sums[rules.idea[k]]
        own_push = direction * contributions[feature]
        if own_push <= 0.0 or (best >= 0 and (idea < strongest_idea or (idea == strongest_idea and own_push <= most))):
            continue
        if _value_agrees(
            values[feature], peer_values[feature], rules.risk[feature], rules.scale[feature], direction < 0
        ):
            best, most, strongest_idea = feature, own_push, idea
    return best


@cached_njit
def _select_themes(inputs, rules, direction, features, weight):  # type: ignore[no-untyped-def]
    """Fill `features` and `weight`, both rows × as many as are wanted, strongest first; `direction` is -1 towards
    loss."""
    themes, wanted = len(rules.first) - 1, features.shape[1]
    summed, ideas = np.empty(themes), np.empty(len(rules.member))
    for row in range(len(inputs.push)):
        push, own, usual = inputs.push[row], inputs.own[row], inputs.usual[inputs.group[row]]
        size = 0.0
        for theme in range(themes):
            summed[theme] = 0.0
            for k in range(rules.first[theme], rules.first[theme + 1]):
                summed[theme] += direction * push[rules.member[k]]
            size += abs(summed[theme])
        least = rules.share * (size + inputs.silent[row])
        for theme in range(themes):
            if summed[theme] <= weight[row, wanted - 1] or summed[theme] < least:
                continue
            best = _best_feature(theme, direction, push, own, usual, rules, ideas)
            if best < 0:
                continue
            place = wanted - 1
            while place > 0 and weight[row, place - 1] < summed[theme]:
                weight[row, place], features[row, place] = weight[row, place - 1], features[row, place - 1]
                place -= 1
            weight[row, place], features[row, place] = summed[theme], best
