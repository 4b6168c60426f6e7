"""What a model must show before it serves: figures in, reasons in words out; no reason, no refusal.

The gate knows what `evaluate` judged of the back-test, and how challenger and champion spoke of the same rows. It asks
for enough outcomes; for a surely better word than the base rate and none surely worse than another baseline's or the
champion's; for calibration, overall and in every segment that is large enough to tell. *Surely* is an interval over
resampled accounts; where several segments are looked at, it is widened so that all of them together err as seldom as
one would (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from renewals.models import metrics
from renewals.models.metrics import Resampling
from renewals.models.settings import RENEWAL, GateSettings
from renewals.models.training.splits import KEY, term_weights
from renewals.models.training.walk_forward import LINEAR_BASELINE

REQUIRED_BASELINE = "base_rate"
"""What must be beaten."""
MIN_TAIL_RESAMPLES = 4
"""Resamples that should lie beyond each end of an interval, for its end to mean something."""

Estimate = dict[str, float]
"""A figure with its interval: `value`, `low`, `high`."""


def failed_checks(gate_metrics: Mapping[str, Any], gate: GateSettings) -> list[str]:
    """Why a model may not serve, in words; empty where it may. `gate_metrics` is what `evaluate` wrote of it."""
    few = _check_sample_size(gate_metrics, gate)
    if few:
        return [few]
    return [
        *_check_baselines(gate_metrics),
        *_check_calibration(gate_metrics, gate),
        *_check_segments(gate_metrics.get("segments", {}), gate),
    ]


def _check_sample_size(gate_metrics: Mapping[str, Any], gate: GateSettings) -> str | None:
    terms, events = gate_metrics["terms"], gate_metrics["events"]
    if terms >= gate.min_renewals and events >= gate.min_events and "gain_over" in gate_metrics:
        return None
    return (
        f"tested on {terms} terms with {events:.0f} of the rarer outcome: at least {gate.min_renewals} "
        f"(gate.min_renewals) and {gate.min_events} (gate.min_events) are needed to judge it"
    )


def _check_baselines(gate_metrics: Mapping[str, Any]) -> list[str]:
    """Better than the base rate beyond doubt; than every other baseline, as far as its interval can tell.

    Not than its own linear part: a model that is worse than a part of it by a hair still serves.
    """
    over, reasons = gate_metrics["gain_over"], []
    if not over[REQUIRED_BASELINE]["low"] > 0:
        reasons.append(
            f"not significantly better than the base rate: log-loss gain {_format_estimate(over[REQUIRED_BASELINE])}"
        )
    for name, gain in over.items():
        if name not in (REQUIRED_BASELINE, LINEAR_BASELINE) and not gain["high"] > 0:
            reasons.append(
                f"worse than the baseline {name.replace('_', ' ')}: log loss lower by {_format_estimate(gain)}"
            )
    return reasons


def _check_calibration(gate_metrics: Mapping[str, Any], gate: GateSettings) -> list[str]:
    slope, reasons = gate_metrics["calibration_slope"], []
    if slope["value"] is None or _is_outside_range(slope, gate):
        reasons.append(
            f"calibration slope {_format_slope(slope)} lies outside {_format_limits(gate)} (gate.slope_range)"
        )
    beyond_chance = math.sqrt(
        max(gate_metrics["calibration_error"] ** 2 - gate_metrics["calibration_error_by_chance"] ** 2, 0)
    )
    if beyond_chance > gate.max_calibration_error:
        reasons.append(
            f"calibration error {beyond_chance:.3f} (after subtracting the error expected by chance) is above "
            f"{gate.max_calibration_error} "
            "(gate.max_calibration_error)"
        )
    return reasons


def _check_segments(segments: Mapping[str, Any], gate: GateSettings) -> list[str]:
    """What is right on the whole may be wrong in a part: by level, or by how far it tells accounts apart."""
    reasons = []
    for name, found in segments.items():
        bias, slope = found["bias"], found["calibration_slope"]
        if bias["low"] > gate.max_calibration_error or bias["high"] < -gate.max_calibration_error:
            reasons.append(
                f"in {name} ({found['terms']} terms) mean predicted {found['mean_predicted']:.2f}, "
                f"observed {found['mean_observed']:.2f}: bias {_format_estimate(bias, 2)}, significantly beyond "
                f"{gate.max_calibration_error} (gate.max_calibration_error)"
            )
        if slope["value"] is not None and _is_outside_range(slope, gate):
            reasons.append(
                f"in {name} ({found['terms']} terms) calibration slope {_format_slope(slope)} lies outside "
                f"{_format_limits(gate)} (gate.slope_range)"
            )
    return reasons


def _is_outside_range(slope: Mapping[str, float | None], gate: GateSettings) -> bool:
    low, high = slope["low"], slope["high"]
    return low is not None and high is not None and (high < gate.slope_range[0] or low > gate.slope_range[1])


def _format_limits(gate: GateSettings) -> str:
    return f"{gate.slope_range[0]} to {gate.slope_range[1]}"


def _format_slope(slope: Mapping[str, float | None]) -> str:
    return " ".join("?" if slope[name] is None else f"{slope[name]:.2f}" for name in ("low", "value", "high"))


def _format_estimate(estimate: Mapping[str, float], digits: int = 4) -> str:
    return f"{estimate['value']:.{digits}f} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


# --- segments ------------------------------------------------------------------------------------


def segment_calibration(rows: pd.DataFrame, model_name: str, gate: GateSettings) -> dict[str, dict[str, Any]]:
    """Level and slope of one speaker in every segment that is large enough to judge.

    `rows` hold `account_id`, `term`, `label`, the speaker's probability and the columns of `gate.segment_calibration`;
    one row per judged observation. `bias` is the mean promised less the share seen.
    """
    parts = dict(large_segments(rows, gate))
    resampling = bonferroni_resampling(gate, len(parts))
    return {name: _segment_metrics(part, model_name, resampling) for name, part in parts.items()}


def large_segments(rows: pd.DataFrame, gate: GateSettings) -> Iterator[tuple[str, pd.DataFrame]]:
    """The segments with enough terms and enough of the rarer outcome, each with its rows."""
    for column in (name for name in gate.segments if name in rows.columns):
        for value, part in rows.groupby(column, sort=True, observed=True):
            terms, events = count_terms(part)
            if terms >= gate.min_renewals and events >= gate.min_events:
                yield f"{column} {value}", part


def count_terms(rows: pd.DataFrame) -> tuple[int, float]:
    """The number of terms, and how many of them had the rarer outcome; the rows of a term count one together."""
    weight = term_weights(rows["term"])
    yes = float((rows["label"].to_numpy() * weight).sum())
    return int(rows["term"].nunique()), min(yes, float(weight.sum()) - yes)


def bonferroni_resampling(gate: GateSettings, looks: int) -> Resampling:
    """How intervals are resampled where so many are looked at: all together err no oftener than one alone would."""
    tail = (1 - gate.confidence) / 2 / max(looks, 1)
    return Resampling(max(gate.bootstrap_samples, math.ceil(MIN_TAIL_RESAMPLES / tail)), 1 - 2 * tail)


def _segment_metrics(rows: pd.DataFrame, model_name: str, resampling: Resampling) -> dict[str, Any]:
    truth, chance, weight = rows["label"].to_numpy(), rows[model_name].to_numpy(), term_weights(rows["term"])
    terms, events = count_terms(rows)
    low, high = metrics.calibration_slope_interval(truth, chance, rows["account_id"], resampling, weight)
    return {
        "terms": terms,
        "events": events,
        "mean_predicted": metrics.mean_predicted(truth, chance, weight),
        "mean_observed": metrics.mean_observed(truth, chance, weight),
        "bias": _to_estimate(metrics.bias(truth, chance, rows["account_id"], resampling, weight)),
        "calibration_slope": {"value": metrics.calibration_slope(truth, chance, weight), "low": low, "high": high},
    }


def _to_estimate(values: tuple[float, float, float]) -> Estimate:
    return dict(zip(("value", "low", "high"), values, strict=True))


# --- challenger against champion -----------------------------------------------------------------


def is_champion_row(challenger: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """Which rows of the challenger's back-test the champion, trained on `until`, may speak of itself.

    Those that a challenger's fold trained no earlier speaks of: neither had seen them, and neither is the older one.
    """
    return (challenger["origin"] >= until) & (challenger["as_of"] >= until)


def pair_predictions(challenger: pd.DataFrame, champion: pd.DataFrame, champion_later: pd.DataFrame) -> pd.DataFrame:
    """The challenger's back-test with the champion's word beside it; one row per observation both spoke of.

    `champion_later` holds the champion's own words of rows observed since it was trained; elsewhere its back-test
    speaks. A word counts only if it was said by a model that stood on the day of the observation or before.
    """
    kept = [*KEY, "probability"]
    then = champion.loc[champion["origin"] <= champion["as_of"], kept]
    words = pd.concat([champion_later[kept], then]).drop_duplicates(KEY, keep="first")
    fair = challenger[challenger["origin"] <= challenger["as_of"]]
    return fair.merge(words, on=KEY, suffixes=("", "_champion"), validate="one_to_one")


def compare_with_champion(rows: pd.DataFrame, target: str, gate: GateSettings) -> dict[str, Any]:
    """How much better the challenger spoke than the champion, overall and in each large segment.

    `rows` are `pair_predictions` ones, with the columns of `gate.segment_calibration` where there are any. `gain` is
    how much lower the log loss is, `auc` how much higher the AUC; None with too few terms.
    """
    rows = rows[~rows["renewal_signed"].astype(bool)]
    rows = metrics.select_at_lead(rows, gate.lead_days) if target == RENEWAL else rows
    found: dict[str, Any] = {"rows": len(rows), "terms": int(rows["term"].nunique()), "gain": None, "auc": None}
    if found["terms"] < gate.min_renewals:
        return {**found, "segments": {}}
    parts = dict(large_segments(rows, gate))
    alone, among = bonferroni_resampling(gate, 1), bonferroni_resampling(gate, len(parts))
    return {
        **found,
        "gain": _estimate_gain(metrics.log_loss_gain, rows, alone),
        "auc": _estimate_gain(metrics.auc_gain, rows, alone),
        "segments": {
            name: {"terms": int(part["term"].nunique()), "gain": _estimate_gain(metrics.log_loss_gain, part, among)}
            for name, part in parts.items()
        },
    }


def _estimate_gain(metric: Any, rows: pd.DataFrame, resampling: Resampling) -> Estimate:
    return _to_estimate(
        metric(
            rows["label"], rows["probability"], rows["probability_champion"], rows["account_id"],
            resampling, term_weights(rows["term"]),
        )
    )  # fmt: skip


def comparison_text(comparison: Mapping[str, Any]) -> str:
    """How a challenger compares with the champion, in words."""
    if comparison["gain"] is None:
        return f"only {comparison['terms']} terms in common with the champion: too few to compare"
    gain, auc = _format_estimate(comparison["gain"]), _format_estimate(comparison["auc"])
    return (
        f"on the {comparison['terms']} terms in common with the champion, log loss lower by {gain}, AUC higher by {auc}"
    )


def failed_comparisons(comparison: Mapping[str, Any], version: str) -> list[str]:
    """Why a challenger may not take the place of the champion, whose version is given; empty where it may."""
    whom = f"worse than the champion, version {version}, on the same {comparison['terms']} terms"
    reasons = []
    if _is_worse(comparison["gain"]):
        reasons.append(f"{whom}: log loss lower by {_format_estimate(comparison['gain'])}")
    if _is_worse(comparison["auc"]):
        reasons.append(f"{whom}: AUC higher by {_format_estimate(comparison['auc'])}")
    for name, found in comparison["segments"].items():
        if _is_worse(found["gain"]):
            reasons.append(
                f"worse than the champion, version {version}, in {name} ({found['terms']} terms): "
                f"log loss lower by {_format_estimate(found['gain'])}"
            )
    return reasons


def _is_worse(gain: Estimate | None) -> bool:
    return gain is not None and bool(np.isfinite(gain["high"])) and gain["high"] < 0
