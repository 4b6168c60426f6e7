"""Promotion gate: check the backtest metrics of a model before it serves; no failed check, no rejection.

The gate reads the metrics of the `evaluate` stage, and the challenger's and the champion's predictions on the same
rows. It requires enough outcomes; a significantly better log loss than the base rate, and none significantly worse than
another baseline's or the champion's; and calibration, overall and in every segment that is large enough.
*Significantly* refers to an interval over resampled accounts. With several segments the interval is wider, so that all
of them together have the error rate of one (Bonferroni).
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
"""The baseline that the model must beat."""
MIN_TAIL_RESAMPLES = 4
"""Minimum number of resamples beyond each end of an interval; with fewer the end is not reliable."""

Estimate = dict[str, float]
"""An estimate with its interval: `value`, `low`, `high`."""


def failed_checks(gate_metrics: Mapping[str, Any], gate: GateSettings) -> list[str]:
    """Messages of the checks that a model fails; empty if it may serve.

    `gate_metrics` come from the `evaluate` stage.
    """
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
        f"(gate.min_renewals) and {gate.min_events} (gate.min_events) are required"
    )


def _check_baselines(gate_metrics: Mapping[str, Any]) -> list[str]:
    """Require a significant gain over the base rate, and no significant loss to another baseline.

    The linear part of the model itself is excluded: a model that is slightly worse than its linear part still serves.
    """
    gains, reasons = gate_metrics["gain_over"], []
    if not gains[REQUIRED_BASELINE]["low"] > 0:
        reasons.append(
            f"not significantly better than the base rate: log-loss gain {_format_estimate(gains[REQUIRED_BASELINE])}"
        )
    for name, gain in gains.items():
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
    """Check bias and calibration slope in each segment: errors of segments can cancel each other overall."""
    reasons = []
    for name, segment in segments.items():
        bias, slope = segment["bias"], segment["calibration_slope"]
        if bias["low"] > gate.max_calibration_error or bias["high"] < -gate.max_calibration_error:
            reasons.append(
                f"in {name} ({segment['terms']} terms) mean predicted {segment['mean_predicted']:.2f}, "
                f"observed {segment['mean_observed']:.2f}: bias {_format_estimate(bias, 2)}, significantly beyond "
                f"{gate.max_calibration_error} (gate.max_calibration_error)"
            )
        if slope["value"] is not None and _is_outside_range(slope, gate):
            reasons.append(
                f"in {name} ({segment['terms']} terms) calibration slope {_format_slope(slope)} lies outside "
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
    """Bias and calibration slope of one model in every segment that is large enough, by segment name.

    `rows` has `account_id`, `term`, `label`, the model's probability and the columns of `gate.segments`; one row per
    evaluated observation. `bias` is the mean predicted less the mean observed share.
    """
    parts = dict(large_segments(rows, gate))
    resampling = bonferroni_resampling(gate, len(parts))
    return {name: _segment_metrics(part, model_name, resampling) for name, part in parts.items()}


def large_segments(rows: pd.DataFrame, gate: GateSettings) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each segment with enough terms and enough of the rarer outcome, as (name, its rows)."""
    for column in (name for name in gate.segments if name in rows.columns):
        for value, part in rows.groupby(column, sort=True, observed=True):
            terms, events = count_terms(part)
            if terms >= gate.min_renewals and events >= gate.min_events:
                yield f"{column} {value}", part


def count_terms(rows: pd.DataFrame) -> tuple[int, float]:
    """Number of terms, and number of them with the rarer outcome.

    The rows of one term have a total weight of one.
    """
    weight = term_weights(rows["term"])
    yes = float((rows["label"].to_numpy() * weight).sum())
    return int(rows["term"].nunique()), min(yes, float(weight.sum()) - yes)


def bonferroni_resampling(gate: GateSettings, interval_count: int) -> Resampling:
    """Resampling settings for several simultaneous intervals, so that their joint error rate is that of one."""
    tail = (1 - gate.confidence) / 2 / max(interval_count, 1)
    return Resampling(max(gate.bootstrap_samples, math.ceil(MIN_TAIL_RESAMPLES / tail)), 1 - 2 * tail)


def _segment_metrics(rows: pd.DataFrame, model_name: str, resampling: Resampling) -> dict[str, Any]:
    truth, probability, weight = rows["label"].to_numpy(), rows[model_name].to_numpy(), term_weights(rows["term"])
    terms, events = count_terms(rows)
    low, high = metrics.calibration_slope_interval(truth, probability, rows["account_id"], resampling, weight)
    return {
        "terms": terms,
        "events": events,
        "mean_predicted": metrics.mean_predicted(truth, probability, weight),
        "mean_observed": metrics.mean_observed(truth, probability, weight),
        "bias": _to_estimate(metrics.bias(truth, probability, rows["account_id"], resampling, weight)),
        "calibration_slope": {"value": metrics.calibration_slope(truth, probability, weight), "low": low, "high": high},
    }


def _to_estimate(values: tuple[float, float, float]) -> Estimate:
    return dict(zip(("value", "low", "high"), values, strict=True))


# --- challenger and champion ---------------------------------------------------------------------


def is_champion_row(challenger: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """True for rows of the challenger's backtest on which the champion itself, trained on `until`, may be compared.

    These are rows observed after that day, from challenger folds trained no earlier: neither model has seen them, and
    the challenger's is not the older one.
    """
    return (challenger["origin"] >= until) & (challenger["as_of"] >= until)


def pair_predictions(challenger: pd.DataFrame, champion: pd.DataFrame, champion_later: pd.DataFrame) -> pd.DataFrame:
    """Add the champion's probability to the challenger's backtest; one row per observation that both predicted.

    `champion_later` holds the predictions of the champion itself for rows observed since its training. Earlier rows use
    the champion's backtest. A prediction counts only if its model was trained on or before the as-of date.
    """
    columns = [*KEY, "probability"]
    backtest = champion.loc[champion["origin"] <= champion["as_of"], columns]
    champion_predictions = pd.concat([champion_later[columns], backtest]).drop_duplicates(KEY, keep="first")
    valid = challenger[challenger["origin"] <= challenger["as_of"]]
    return valid.merge(champion_predictions, on=KEY, suffixes=("", "_champion"), validate="one_to_one")


def compare_with_champion(rows: pd.DataFrame, target: str, gate: GateSettings) -> dict[str, Any]:
    """Estimate the challenger's gain over the champion, overall and in each large segment.

    `rows` come from `pair_predictions`, with the columns of `gate.segments` where they exist. `gain` is the decrease of
    the log loss and `auc` the increase of the AUC; both are None with too few terms.
    """
    rows = rows[metrics.is_undecided(rows)]
    rows = metrics.select_at_lead(rows, gate.lead_days) if target == RENEWAL else rows
    counts: dict[str, Any] = {"rows": len(rows), "terms": int(rows["term"].nunique()), "gain": None, "auc": None}
    if counts["terms"] < gate.min_renewals:
        return {**counts, "segments": {}}
    parts = dict(large_segments(rows, gate))
    single, simultaneous = bonferroni_resampling(gate, 1), bonferroni_resampling(gate, len(parts))
    return {
        **counts,
        "gain": _estimate_gain(metrics.log_loss_gain, rows, single),
        "auc": _estimate_gain(metrics.auc_gain, rows, single),
        "segments": {
            name: {
                "terms": int(part["term"].nunique()),
                "gain": _estimate_gain(metrics.log_loss_gain, part, simultaneous),
            }
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
    """Text of the comparison of a challenger with the champion."""
    if comparison["gain"] is None:
        return f"only {comparison['terms']} terms in common with the champion: too few to compare"
    gain, auc = _format_estimate(comparison["gain"]), _format_estimate(comparison["auc"])
    return (
        f"on the {comparison['terms']} terms in common with the champion, log loss lower by {gain}, AUC higher by {auc}"
    )


def failed_comparisons(comparison: Mapping[str, Any], version: str) -> list[str]:
    """Messages of the comparisons that the challenger loses to the champion `version`; empty if it may replace it."""
    prefix = f"worse than the champion, version {version}, on the same {comparison['terms']} terms"
    reasons = []
    if _is_worse(comparison["gain"]):
        reasons.append(f"{prefix}: log loss lower by {_format_estimate(comparison['gain'])}")
    if _is_worse(comparison["auc"]):
        reasons.append(f"{prefix}: AUC higher by {_format_estimate(comparison['auc'])}")
    for name, segment in comparison["segments"].items():
        if _is_worse(segment["gain"]):
            reasons.append(
                f"worse than the champion, version {version}, in {name} ({segment['terms']} terms): "
                f"log loss lower by {_format_estimate(segment['gain'])}"
            )
    return reasons


def _is_worse(gain: Estimate | None) -> bool:
    return gain is not None and bool(np.isfinite(gain["high"])) and gain["high"] < 0
