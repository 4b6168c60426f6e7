"""Calibration of margins to probabilities: a sigmoid that depends on the lead time, and an offset per segment.

Both are fitted on out-of-fold predictions, made by a model that was trained before the row. Both are regularised,
because most of a fitted correction is specific to its year and seldom returns. The linear part already contains the
segments as features, so their offsets are small. Each segment has a random intercept (`models/random_intercept.py`)
with a prior that favours small standard deviations, which are estimated too; at 0 no segment has an offset.
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
"""Grid of the standard deviation of the segment effects, in log-odds."""
PRIOR_MEAN_SD = 0.1
"""Prior mean of that standard deviation; small, because the segments are features of the model."""
MAX_NEWTON_STEPS = 25
"""Maximum steps of Newton's method, which converges in about five."""


@dataclass(frozen=True)
class SigmoidCalibration:
    """Calibration: probability = expit(slope * margin + intercept + segment offset).

    Slope and intercept change near the renewal: far from it the margins are too extreme and in the last days not
    extreme enough, which one slope cannot correct.
    """

    slope: float = 1.0
    intercept: float = 0.0
    near_slope: float = 0.0
    near_intercept: float = 0.0
    segments: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Offset in log-odds of each value of each segment column: {column: {value: offset}}."""

    def probability(self, margin: Floats, proximity: Floats | float = 0.0, offset: Floats | float = 0.0) -> Floats:
        """Calibrated probability of each margin; `proximity` is 0 far from the renewal and 1 on its day."""
        return expit(self.log_odds(margin, proximity, offset))

    def log_odds(self, margin: Floats, proximity: Floats | float = 0.0, offset: Floats | float = 0.0) -> Floats:
        """Calibrated log-odds of each margin; parameters as in `probability`."""
        sloped = (self.slope + self.near_slope * proximity) * margin
        return sloped + self.intercept + self.near_intercept * proximity + offset

    def scale_slope(self, factor: float) -> SigmoidCalibration:
        """Copy with both slopes multiplied by a factor, for margins on another scale than the fitted ones."""
        return replace(self, slope=round(self.slope * factor, 9), near_slope=round(self.near_slope * factor, 9))

    def segment_offset(self, rows: pd.DataFrame) -> Floats:
        """Sum of the segment offsets of each row, in log-odds; an unknown value adds 0."""
        offset = np.zeros(len(rows))
        for column, offsets in self.segments.items():
            offset += rows[column].astype(object).map(offsets).to_numpy(np.float64, na_value=0.0)
        return offset

    def to_json(self) -> dict[str, Any]:
        """Convert to values that JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_json(tree: Mapping[str, Any]) -> SigmoidCalibration:
        """Build from the output of `to_json`; extra keys are ignored, and older models have no segment offsets."""
        numbers = (tree["slope"], tree["intercept"], tree["near_slope"], tree["near_intercept"])
        return SigmoidCalibration(*numbers, tree.get("segments", {}))


def fit_sigmoid(
    margin: Floats, proximity: Floats, truth: Labels, weight: Floats, settings: CalibrationSettings
) -> SigmoidCalibration:
    """Fit the sigmoid on out-of-fold margins, with a normal prior around slope 1 and intercept 0.

    `weight` counts renewals: if its sum is below `min_renewals`, only the intercept is fitted.
    """
    signed_label, prior_mean = 2.0 * truth - 1.0, np.array([1.0, 0.0, 0.0, 0.0])
    columns = np.column_stack([margin, np.ones_like(margin), margin * proximity, proximity])

    def loss_and_slope(parameters: Floats) -> tuple[float, Floats]:
        agreement = signed_label * (columns @ parameters)
        row_gradient = -weight * signed_label * expit(-agreement)
        loss = weight @ np.logaddexp(0, -agreement) + settings.prior_renewals / 2 * (
            (parameters - prior_mean) @ (parameters - prior_mean)
        )
        return float(loss), row_gradient @ columns + settings.prior_renewals * (parameters - prior_mean)

    level_only = weight.sum() < settings.min_renewals
    bounds = [(1, 1), (-10, 10), (0, 0), (0, 0)] if level_only else [(0.05, None), (-10, 10), (0, None), (-10, 10)]
    fitted = minimize(loss_and_slope, prior_mean, jac=True, bounds=bounds, method="L-BFGS-B").x
    return SigmoidCalibration(*np.round(fitted, 9).tolist())


def add_segment_effects(
    sigmoid: SigmoidCalibration,
    log_odds: Floats,
    segments: pd.DataFrame,
    truth: Labels,
    weight: Floats,
    settings: CalibrationSettings,
) -> SigmoidCalibration:
    """Copy of the sigmoid with fitted segment offsets.

    `log_odds` are its calibrated log-odds of the rows; `segments` has one column per kind of segment. With fewer
    renewals than `min_renewals` the sigmoid is returned unchanged.
    """
    values = [(name, value) for name in segments for value in sorted(segments[name].dropna().astype(str).unique())]
    if not values or weight.sum() < settings.min_renewals:
        return sigmoid
    membership = np.column_stack(
        [(segments[name].astype(object) == value).to_numpy(np.float64) for name, value in values]
    )
    effects = np.round(segment_effects(log_odds, membership, truth, weight), 9)
    per_column: dict[str, dict[str, float]] = {str(name): {} for name in segments}
    for (name, value), effect in zip(values, effects.tolist(), strict=True):
        per_column[str(name)][value] = effect
    return replace(sigmoid, segments=per_column)


def segment_effects(log_odds: Floats, membership: Floats, truth: Labels, weight: Floats) -> Floats:
    """Posterior mean of the effect of each segment on the log-odds, averaged over the grid of standard deviations.

    `membership` is rows × segments, 1 where the row belongs to the segment.
    """
    fits = [_segment_effect_mode(log_odds, membership, truth, weight, sd) for sd in SD_GRID]
    posterior = deviation_posterior(-SD_GRID / PRIOR_MEAN_SD, [np.array([evidence for _, evidence in fits])])
    # With large log-likelihoods the sum of the posterior differs from 1 by rounding.
    return np.asarray(posterior @ np.array([effects for effects, _ in fits]) / posterior.sum())


def _segment_effect_mode(
    log_odds: Floats, membership: Floats, truth: Labels, weight: Floats, sd: float
) -> tuple[Floats, float]:
    """Most likely segment effects given their standard deviation, and the log marginal likelihood (Laplace)."""
    count = membership.shape[1]
    scaled, effects = membership * sd, np.zeros(count)  # in units of `sd`, so that an sd of 0 is no special case
    for _ in range(MAX_NEWTON_STEPS):
        probability = expit(log_odds + scaled @ effects)
        gradient = scaled.T @ (weight * (truth - probability)) - effects
        hessian = (scaled * (weight * probability * (1 - probability))[:, None]).T @ scaled + np.eye(count)
        step = np.linalg.solve(hessian, gradient)
        effects = effects + step
        if np.abs(step).max() < 1e-10:
            break
    signed_label = 2.0 * truth - 1.0
    loss = weight @ np.logaddexp(0, -signed_label * (log_odds + scaled @ effects)) + effects @ effects / 2
    return effects * sd, float(-loss - np.linalg.slogdet(hessian)[1] / 2)
