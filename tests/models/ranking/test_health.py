"""Health by configured rules, and the order of a list without a model."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from renewals.features.registry import FAMILIES
from renewals.models.ranking.health import health_points, health_words, missing_health_arr
from renewals.models.settings import HealthIndicator, HealthPart, HealthSettings

RULES = HealthSettings()


def test_points_equal_the_weighted_mean_by_hand() -> None:
    """Use: 0 of 100 (idle for 60 days) and 50 (30 % of the seats). Support: no breach, 100. All else is unknown."""
    known = pd.DataFrame({"days_since_last_use": [60.0], "seat_activation_28d": [0.3], "sla_breaches_90d": [0.0]})
    assert health_points(known, RULES).tolist() == pytest.approx([(0.40 * 25 + 0.15 * 100) / 0.55])
    assert health_points(known.assign(sla_breaches_90d=np.nan), RULES).tolist() == pytest.approx([25])
    assert health_points(known * np.nan, RULES).isna().all()
    assert health_points(pd.DataFrame({"days_since_last_use": [900.0]}), RULES).tolist() == [0]


def test_weights_sum_to_one_and_the_indicators_are_features_that_we_do_not_log() -> None:
    """None of them is an action of our people: health must not rise because a manager logged a call (domain M5)."""
    names = {feature.name for family in FAMILIES.values() for feature in family.features if not feature.action}
    assert sum(part.weight for part in RULES.parts) == pytest.approx(1)
    assert set(RULES.features) <= names


def test_words_begin_at_their_limits() -> None:
    points = pd.Series([80.0, 79.9, 70.0, 69.9, np.nan])
    assert health_words(points, RULES).tolist() == ["good", "fair", "fair", "poor", None]


def test_a_list_without_a_model_is_in_the_order_of_arr_times_missing_health() -> None:
    """Unknown health counts as half; an account of full health is last, whatever it pays."""
    worth = missing_health_arr(pd.Series([1000.0, 400.0, 500.0, None]), pd.Series([100.0, 25.0, np.nan, 10.0]))
    assert worth.tolist() == [0, 300, 250, 0]


def test_rules_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValidationError, match="poor_below"):
        HealthSettings(good_from=50, poor_below=60)
    with pytest.raises(ValidationError, match="must differ"):
        HealthPart(weight=1, indicators=(HealthIndicator(feature="seats", poor=3, good=3),))
