"""Select the features of each row's reasons and strengths: one per theme, strongest theme first (compiled)."""

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
    """Properties of the features and themes, the same for all rows."""

    risk: Ints
    """Direction in which each feature is risky: `RISK_CODES`."""
    scale: Floats
    """A value is shown rounded to 1 / scale."""
    first: Ints
    """The features of theme i are member[first[i]:first[i + 1]]."""
    member: Ints
    base_feature: Ints
    """The number, from 0, of the base feature of each of `member`, which is one of its windows or tiers."""
    share: float
    """A theme with less than this share of the row's total is left out."""


class ReasonInputs(NamedTuple):
    """Contributions and values of some rows, and the typical values of their peer groups."""

    contributions: Floats
    """Contributions towards renewal; rows × features."""
    values: Floats
    """Feature values; rows × features, NaN if missing."""
    peer_values: Floats
    """Typical values of each peer group, rounded as they are shown; groups × features."""
    group: Ints
    """Peer group of each row."""
    without_sentence: Floats
    """Sum of the absolute contributions of each row's features that have no sentence."""


def select_strongest(
    inputs: ReasonInputs, rules: ReasonRules, reason_count: int, strength_count: int
) -> tuple[Ints, Floats, Ints]:
    """Select the features of the strongest themes of each row, towards loss and towards renewal.

    Returns the features of the reasons (rows × reasons, -1 for none), the total contributions of their themes towards
    loss (rows × reasons), and the features of the strengths (rows × strengths, -1 for none). Of equally strong themes
    the first one in `rules` comes first.
    """
    count = len(inputs.contributions)
    loss, weight = np.full((count, reason_count), -1, np.int64), np.zeros((count, reason_count))
    gain, gain_weight = np.full((count, strength_count), -1, np.int64), np.zeros((count, strength_count))
    _select_themes(inputs, rules, -1.0, loss, weight)
    _select_themes(inputs, rules, 1.0, gain, gain_weight)
    return loss, weight, gain


@cached_njit
def _value_agrees(value, peer_value, risk, scale, towards_loss):  # type: ignore[no-untyped-def]
    """True if a value may be shown as a reason in this direction, compared with the peers' value.

    A value must lie on the matching side of the peers' value. A missing value may be a reason, because it contradicts
    nothing, but not a strength. Zero, for example no contact at all, is a reason even if the peers have zero too; but a
    zero that most peers share is not a strength. A feature that is risky in neither direction must only differ from the
    peers. Values are compared as they are shown: 11.3 hours and 10.8 would both be read as 11.
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
    """The column of a theme with the largest contribution within its strongest base feature; -1 for none.

    A single column may contribute by chance; all windows of one base feature together rarely do. Only columns that
    `_value_agrees` accepts qualify. `base_feature_sums` is a work array.
    """
    members = range(rules.first[theme], rules.first[theme + 1])
    for k in members:
        base_feature_sums[rules.base_feature[k]] = 0.0
    for k in members:
        base_feature_sums[rules.base_feature[k]] += direction * contributions[rules.member[k]]
    best, largest, strongest_sum = -1, 0.0, 0.0
    for k in members:
        feature, feature_sum = rules.member[k], base_feature_sums[rules.base_feature[k]]
        contribution = direction * contributions[feature]
        if contribution <= 0.0 or (
            best >= 0 and (feature_sum < strongest_sum or (feature_sum == strongest_sum and contribution <= largest))
        ):
            continue
        if _value_agrees(
            values[feature], peer_values[feature], rules.risk[feature], rules.scale[feature], direction < 0
        ):
            best, largest, strongest_sum = feature, contribution, feature_sum
    return best


@cached_njit
def _select_themes(inputs, rules, direction, features, weight):  # type: ignore[no-untyped-def]
    """Fill `features` and `weight`, both rows × number wanted, with the strongest themes first.

    `direction` is -1 towards loss and 1 towards renewal.
    """
    themes, wanted = len(rules.first) - 1, features.shape[1]
    summed, base_feature_sums = np.empty(themes), np.empty(len(rules.member))
    for row in range(len(inputs.contributions)):
        contributions, values, peer_values = (
            inputs.contributions[row],
            inputs.values[row],
            inputs.peer_values[inputs.group[row]],
        )
        total = 0.0
        for theme in range(themes):
            summed[theme] = 0.0
            for k in range(rules.first[theme], rules.first[theme + 1]):
                summed[theme] += direction * contributions[rules.member[k]]
            total += abs(summed[theme])
        least = rules.share * (total + inputs.without_sentence[row])
        for theme in range(themes):
            if summed[theme] <= weight[row, wanted - 1] or summed[theme] < least:
                continue
            best = _best_feature(theme, direction, contributions, values, peer_values, rules, base_feature_sums)
            if best < 0:
                continue
            position = wanted - 1
            while position > 0 and weight[row, position - 1] < summed[theme]:
                weight[row, position], features[row, position] = weight[row, position - 1], features[row, position - 1]
                position -= 1
            weight[row, position], features[row, position] = summed[theme], best
