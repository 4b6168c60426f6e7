"""Whether a trained model may become champion: flat reasons against it, from what it showed on the folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.folds import RENEWAL
from models.options import Gate

MUST_BEAT = ("base_rate",)
"""Baselines whose log loss the model must beat beyond the interval of the difference."""
MUST_MATCH = ("logistic_regression",)
"""Baselines that must not be better than the model beyond that interval."""


def objections(target: str, judged: Mapping[str, Any], gate: Gate) -> list[str]:
    """Why the model is refused, in words; none where it passes.

    `judged` is that part of `metrics.json`: rows, terms, events, AUC and calibration with intervals, and
    the gain in log loss over each baseline (positive: the model is better).
    """
    few = _too_few(target, judged, gate)
    return few or [*_beaten(judged["gain_over"]), *_uncalibrated(judged, gate)]


def _too_few(target: str, judged: Mapping[str, Any], gate: Gate) -> list[str]:
    what = f"renewals {gate.lead_days} days ahead" if target == RENEWAL else "account terms"
    reasons = []
    if judged["terms"] < gate.min_renewals:
        reasons.append(f"tested on {judged['terms']} {what}; gate.min_renewals asks for {gate.min_renewals}")
    if judged["events"] < gate.min_events:
        reasons.append(
            f"only {judged['events']:.0f} of the rarer outcome among them; gate.min_events asks for {gate.min_events}"
        )
    return reasons


def _beaten(gains: Mapping[str, Mapping[str, float]]) -> list[str]:
    lost = [
        f"not better than {_said(name)} beyond its interval: log loss gain {_range(gains[name])}"
        for name in MUST_BEAT
        if not gains[name]["low"] > 0
    ]
    worse = [
        f"worse than {_said(name)}: log loss gain {_range(gains[name])}"
        for name in MUST_MATCH
        if name in gains and gains[name]["high"] < 0
    ]
    return lost + worse


def _uncalibrated(judged: Mapping[str, Any], gate: Gate) -> list[str]:
    slope, (low, high) = judged["calibration_slope"], gate.slope
    reasons = []
    if slope["high"] < low or slope["low"] > high:
        reasons.append(f"calibration slope {_range(slope)} lies outside gate.slope {low} to {high}")
    beyond_chance = judged["error"] - judged["error_by_chance"]
    if beyond_chance > gate.max_error:
        reasons.append(
            f"promised and observed shares differ by {judged['error']:.3f}, {beyond_chance:.3f} more than by chance; "
            f"gate.max_error allows {gate.max_error}"
        )
    return reasons


def worse_than_champion(challenger: Mapping[str, Any], champion: Mapping[str, Any]) -> list[str]:
    """Why a challenger does not replace a champion back-tested at another time, in words; none where it may.

    Both were judged on their own folds, so only a clear loss counts: the whole interval of its AUC lies
    below the champion's value.
    """
    if "auc" not in champion or challenger["auc"]["high"] >= champion["auc"]["value"]:
        return []
    return [f"AUC {_range(challenger['auc'])} lies below the champion's {champion['auc']['value']:.3f}"]


def _range(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _said(name: str) -> str:
    return f"the {name.replace('_', ' ')}"
