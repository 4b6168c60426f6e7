"""From margin to probability: a sigmoid for every lead, and how far each segment strays from it.

Both are fitted on forward words, what was said of a row by a model trained before it, and both are held back: most of
what a calibration finds is the year's and seldom comes again. The linear part reads the same segments, so there is
little left for them, and how much is itself learned: each segment has a random intercept
(`models/random_intercept.py`), with a prior that segments hardly stray. Where they do not, none is moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from renewals.models.random_intercept import deviation_posterior
from renewals.models.settings import CalibrationSettings

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

SD_GRID = np.array([0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8])
"""How far segments may stray, in log-odds: standard deviations looked at."""
PRIOR_MEAN_SD = 0.1
"""The prior's mean of them: a model that reads the segments leaves little to mend."""
MAX_NEWTON_STEPS = 25
"""Of Newton's method, which is there in about five."""


@dataclass(frozen=True)
class SigmoidCalibration:
    """probability = expit(slope * margin + intercept + the segments' shift); slope and intercept move near the renewal.

    Far from a renewal a model overrates what it sees, on its last days it underrates it: one slope cannot mend both.
    """

    slope: float = 1.0
    intercept: float = 0.0
    near_slope: float = 0.0
    near_intercept: float = 0.0
    segments: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """For each column of segments, what a value adds to the log-odds."""

    def probability(self, margin: Floats, close: Floats | float = 0.0, shift: Floats | float = 0.0) -> Floats:
        """The probability of each margin; `proximity` is 0 far from the renewal and 1 on its day."""
        return expit(self.log_odds(margin, close, shift))

    def log_odds(self, margin: Floats, proximity: Floats | float = 0.0, offset: Floats | float = 0.0) -> Floats:
        """The same before it is made a probability."""
        sloped = (self.slope + self.near_slope * proximity) * margin
        return sloped + self.intercept + self.near_intercept * proximity + offset

    def scale_slope(self, by: float) -> SigmoidCalibration:
        """The same for margins that are so much smaller than those to come."""
        return replace(self, slope=round(self.slope * by, 9), near_slope=round(self.near_slope * by, 9))

    def segment_offset(self, rows: pd.DataFrame) -> Floats:
        """What the segments of each row add; nothing for a value that was not met. One number per row."""
        added = np.zeros(len(rows))
        for column, moved in self.segments.items():
            added += rows[column].astype(object).map(moved).to_numpy(np.float64, na_value=0.0)
        return added

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(tree: Mapping[str, Any]) -> SigmoidCalibration:
        """The same back, whatever else the tree holds. Models of before segments were calibrated shift none."""
        numbers = (tree["slope"], tree["intercept"], tree["near_slope"], tree["near_intercept"])
        return SigmoidCalibration(*numbers, tree.get("segments", {}))


def fit_sigmoid(
    margin: Floats, proximity: Floats, truth: Labels, weight: Floats, settings: CalibrationSettings
) -> SigmoidCalibration:
    """The sigmoid that makes forward margins probabilities, held towards leaving them as they are.

    `weight` counts renewals: where it adds up to few, only the level moves.
    """
    side, held = 2.0 * truth - 1.0, np.array([1.0, 0.0, 0.0, 0.0])
    columns = np.column_stack([margin, np.ones_like(margin), margin * proximity, proximity])

    def loss_and_slope(at: Floats) -> tuple[float, Floats]:
        agreement = side * (columns @ at)
        pull = -weight * side * expit(-agreement)
        loss = weight @ np.logaddexp(0, -agreement) + settings.prior_renewals / 2 * ((at - held) @ (at - held))
        return float(loss), pull @ columns + settings.prior_renewals * (at - held)

    few = weight.sum() < settings.min_renewals
    bounds = [(1, 1), (-10, 10), (0, 0), (0, 0)] if few else [(0.05, None), (-10, 10), (0, None), (-10, 10)]
    found = minimize(loss_and_slope, held, jac=True, bounds=bounds, method="L-BFGS-B").x
    return SigmoidCalibration(*np.round(found, 9).tolist())


def add_segment_effects(
    sigmoid: SigmoidCalibration,
    log_odds: Floats,
    segments: pd.DataFrame,
    truth: Labels,
    weight: Floats,
    settings: CalibrationSettings,
) -> SigmoidCalibration:
    """The sigmoid with the shifts of segments; `log_odds` is what it says of the rows, a column says whose they are.

    Few renewals shift nobody.
    """
    values = [(name, value) for name in segments for value in sorted(segments[name].dropna().astype(str).unique())]
    if not values or weight.sum() < settings.min_renewals:
        return sigmoid
    member = np.column_stack([(segments[name].astype(object) == value).to_numpy(np.float64) for name, value in values])
    moved = np.round(segment_effects(log_odds, member, truth, weight), 9)
    shifts: dict[str, dict[str, float]] = {str(name): {} for name in segments}
    for (name, value), shift in zip(values, moved.tolist(), strict=True):
        shifts[str(name)][value] = shift
    return replace(sigmoid, segments=shifts)


def segment_effects(log_odds: Floats, membership: Floats, truth: Labels, weight: Floats) -> Floats:
    """The mean of what each segment adds to the log-odds, over all that is believed of how far segments stray.

    `membership` is rows × segments, 1 where a row belongs.
    """
    found = [_segment_effect_mode(log_odds, membership, truth, weight, stray) for stray in SD_GRID]
    belief = deviation_posterior(-SD_GRID / PRIOR_MEAN_SD, [np.array([evidence for _, evidence in found])])
    # Of large log-likelihoods, rounding leaves a posterior whose sum is only nearly 1.
    return np.asarray(belief @ np.array([shift for shift, _ in found]) / belief.sum())


def _segment_effect_mode(
    log_odds: Floats, membership: Floats, truth: Labels, weight: Floats, sd: float
) -> tuple[Floats, float]:
    """The likeliest shifts if segments stray so far, and the log of the marginal likelihood (Laplace)."""
    count = membership.shape[1]
    scaled, at = membership * sd, np.zeros(count)  # in units of the prior's width, so that nought is no special case
    for _ in range(MAX_NEWTON_STEPS):
        chance = expit(log_odds + scaled @ at)
        slope = scaled.T @ (weight * (truth - chance)) - at
        bend = (scaled * (weight * chance * (1 - chance))[:, None]).T @ scaled + np.eye(count)
        step = np.linalg.solve(bend, slope)
        at = at + step
        if np.abs(step).max() < 1e-10:
            break
    side = 2.0 * truth - 1.0
    loss = weight @ np.logaddexp(0, -side * (log_odds + scaled @ at)) + at @ at / 2
    return at * sd, float(-loss - np.linalg.slogdet(bend)[1] / 2)
