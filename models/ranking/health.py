"""Health of a customer by configured rules, for companies without a model and beside one (S4).

Points and words, never a probability: the rules are set by hand and not fitted. The order of a list without a model is
the ARR that is due times what is missing to full health.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from renewals.models.settings import HealthIndicator, HealthSettings

GOOD, FAIR, POOR = "good", "fair", "poor"
HEALTH = (GOOD, FAIR, POOR)
FULL_HEALTH = 100.0


def health_points(rows: pd.DataFrame, settings: HealthSettings) -> pd.Series:
    """Health points of each row, 0 to 100; missing where no indicator is known.

    A part is the mean of its known indicators. The weight of parts without any goes to the others.
    """
    total, known_weight = np.zeros(len(rows)), np.zeros(len(rows))
    for part in settings.parts:
        points = [_indicator_points(rows, one) for one in part.indicators if one.feature in rows]
        stacked = np.array(points).reshape(-1, len(rows))
        known = (~np.isnan(stacked)).sum(axis=0)
        mean = np.divide(np.nansum(stacked, axis=0), known, out=np.zeros(len(rows)), where=known > 0)
        total, known_weight = total + part.weight * mean, known_weight + part.weight * (known > 0)
    points_of_rows = np.divide(total, known_weight, out=np.full(len(rows), np.nan), where=known_weight > 0)
    return pd.Series(points_of_rows, index=rows.index)


def _indicator_points(rows: pd.DataFrame, indicator: HealthIndicator) -> np.ndarray:
    """0 at `poor` and beyond, 100 at `good` and beyond, linear between; NaN if the value is missing."""
    value = rows[indicator.feature].to_numpy(np.float64, na_value=np.nan)
    return np.asarray(FULL_HEALTH * np.clip((value - indicator.poor) / (indicator.good - indicator.poor), 0, 1))


def health_words(points: pd.Series, settings: HealthSettings) -> pd.Series:
    """`good`, `fair` or `poor` by the points; None where they are missing; one value per row."""
    words = np.select([points >= settings.good_from, points >= settings.poor_below], [GOOD, FAIR], POOR)
    return pd.Series(words, index=points.index, dtype=object).where(points.notna(), None)


def missing_health_arr(arr: pd.Series, points: pd.Series) -> pd.Series:
    """ARR times the share of points that is missing to full health; unknown health counts as half of it."""
    return arr.fillna(0.0) * (1 - points.fillna(FULL_HEALTH / 2) / FULL_HEALTH)
