"""The shared shock: found where it is, not where it is not, and held near nought while quarters are few."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.forecast.quarter_effect import SD_GRID, fit_quarter_effect_sd

DAY = pd.Timestamp(2030, 1, 1)
USUAL = 0.15


def said(spread_of: float, quarters: int, renewals: int = 150, seed: int = 1) -> pd.DataFrame:
    """A back-test in which each quarter's level strays by a normal shock; one row per renewal, 45 days before."""
    dice = np.random.default_rng(seed)
    parts = []
    for number in range(quarters):
        odds = dice.normal(2.0, 1.0, renewals)
        came = dice.random(renewals) < expit(odds + spread_of * dice.standard_normal())
        due = DAY - pd.DateOffset(months=3 * (number + 2)) + pd.to_timedelta(dice.integers(1, 85, renewals), unit="D")
        parts.append(pd.DataFrame({"probability": expit(odds), "label": came.astype(int), "renewal_date": due}))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(
        account_id=np.arange(len(rows)),
        as_of=rows["renewal_date"] - pd.Timedelta(days=45),
        days_to_renewal=45.0,
        renewal_signed=False,
        matured_at=rows["renewal_date"] + pd.Timedelta(days=61),
    )


@pytest.mark.parametrize(("true", "low", "high"), [(0.0, 0.0, 0.07), (0.3, 0.2, 0.4), (0.6, 0.45, 0.75)])
def test_a_known_spread_is_found_in_many_quarters(true, low, high):
    found = [fit_quarter_effect_sd(said(true, 40, seed=seed), DAY, 0.5).mean for seed in (1, 2, 3)]
    assert low <= np.mean(found) <= high


def test_without_a_past_the_prior_speaks():
    silent = fit_quarter_effect_sd(said(0.6, 1).head(0), DAY, USUAL)
    assert silent.quarters == 0
    assert silent.mean == pytest.approx(USUAL * np.sqrt(2 / np.pi), rel=0.15)


def test_few_quarters_say_less_than_many():
    few, many = (fit_quarter_effect_sd(said(0.6, quarters), DAY, USUAL).mean for quarters in (2, 40))
    assert USUAL * 0.5 < few < many


def test_it_is_a_distribution():
    weights = fit_quarter_effect_sd(said(0.3, 8), DAY, USUAL).weights
    assert weights.shape == SD_GRID.shape
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_what_was_not_final_on_the_day_is_not_looked_at():
    past, coming = said(0.0, 12), said(0.9, 12, seed=5).assign(matured_at=DAY + pd.Timedelta(days=1))
    both = pd.concat([past, coming], ignore_index=True)
    assert (fit_quarter_effect_sd(both, DAY, USUAL).weights == fit_quarter_effect_sd(past, DAY, USUAL).weights).all()


def test_what_was_decided_when_it_was_said_tells_nothing():
    open_then, known = said(0.0, 12), said(0.9, 12, seed=5).assign(renewal_signed=True)
    both = pd.concat([open_then, known], ignore_index=True)
    assert (
        fit_quarter_effect_sd(both, DAY, USUAL).weights == fit_quarter_effect_sd(open_then, DAY, USUAL).weights
    ).all()


def test_the_same_quarter_seen_twice_as_early_is_no_second_witness():
    once = said(0.6, 6)
    earlier = once.assign(as_of=once["renewal_date"] - pd.Timedelta(days=135), days_to_renewal=135.0)
    twice = fit_quarter_effect_sd(pd.concat([once, earlier], ignore_index=True), DAY, USUAL)
    assert twice.quarters == 6
    assert twice.weights == pytest.approx(fit_quarter_effect_sd(once, DAY, USUAL).weights)
