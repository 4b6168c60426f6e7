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
from renewals.models.settings import RENEWAL, Gate
from renewals.models.training.splits import KEY, weights
from renewals.models.training.walk_forward import LINEAR

MUST_BEAT = "base_rate"
"""What must be beaten."""
DRAWN_BEYOND = 4
"""Resamples that should lie beyond each end of an interval, for its end to mean something."""

Range = dict[str, float]
"""A figure with its interval: `value`, `low`, `high`."""


def refusals(judged: Mapping[str, Any], gate: Gate) -> list[str]:
    """Why a model may not serve, in words; empty where it may. `judged` is what `evaluate` wrote of it."""
    few = _too_few(judged, gate)
    if few:
        return [few]
    return [*_unbeaten(judged), *_uncalibrated(judged, gate), *_uneven(judged.get("segments", {}), gate)]


def _too_few(judged: Mapping[str, Any], gate: Gate) -> str | None:
    terms, events = judged["terms"], judged["events"]
    if terms >= gate.min_renewals and events >= gate.min_events and "gain_over" in judged:
        return None
    return (
        f"tested on {terms} terms with {events:.0f} of the rarer outcome: at least {gate.min_renewals} "
        f"(gate.min_renewals) and {gate.min_events} (gate.min_events) are needed to judge it"
    )


def _unbeaten(judged: Mapping[str, Any]) -> list[str]:
    """Better than the base rate beyond doubt; than every other baseline, as far as its interval can tell.

    Not than its own linear part: a model that is worse than a part of it by a hair still serves.
    """
    over, reasons = judged["gain_over"], []
    if not over[MUST_BEAT]["low"] > 0:
        reasons.append(f"not surely better than the base rate: log loss lower by {_told(over[MUST_BEAT])}")
    for name, gain in over.items():
        if name not in (MUST_BEAT, LINEAR) and not gain["high"] > 0:
            reasons.append(f"worse than the baseline {name.replace('_', ' ')}: log loss lower by {_told(gain)}")
    return reasons


def _uncalibrated(judged: Mapping[str, Any], gate: Gate) -> list[str]:
    slope, reasons = judged["calibration_slope"], []
    if slope["value"] is None or _outside(slope, gate):
        reasons.append(f"calibration slope {_span(slope)} lies outside {_limits(gate)} (gate.slope)")
    beyond_chance = math.sqrt(max(judged["error"] ** 2 - judged["error_by_chance"] ** 2, 0))
    if beyond_chance > gate.max_error:
        reasons.append(
            f"calibration error {beyond_chance:.3f}, beyond chance, is above {gate.max_error} (gate.max_error)"
        )
    return reasons


def _uneven(segments: Mapping[str, Any], gate: Gate) -> list[str]:
    """What is right on the whole may be wrong in a part: by level, or by how far it tells accounts apart."""
    reasons = []
    for name, found in segments.items():
        off, slope = found["off"], found["calibration_slope"]
        if off["low"] > gate.max_error or off["high"] < -gate.max_error:
            reasons.append(
                f"in {name} ({found['terms']} terms) it promised {found['promised']:.2f} and {found['seen']:.2f} "
                f"were seen: off by {_told(off, 2)}, surely more than {gate.max_error} (gate.max_error)"
            )
        if slope["value"] is not None and _outside(slope, gate):
            reasons.append(
                f"in {name} ({found['terms']} terms) calibration slope {_span(slope)} lies outside "
                f"{_limits(gate)} (gate.slope)"
            )
    return reasons


def _outside(slope: Mapping[str, float | None], gate: Gate) -> bool:
    low, high = slope["low"], slope["high"]
    return low is not None and high is not None and (high < gate.slope[0] or low > gate.slope[1])


def _limits(gate: Gate) -> str:
    return f"{gate.slope[0]} to {gate.slope[1]}"


def _span(found: Mapping[str, float | None]) -> str:
    return " ".join("?" if found[name] is None else f"{found[name]:.2f}" for name in ("low", "value", "high"))


def _told(found: Mapping[str, float], digits: int = 4) -> str:
    return f"{found['value']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


# --- segments ------------------------------------------------------------------------------------


def segments(rows: pd.DataFrame, speaker: str, gate: Gate) -> dict[str, dict[str, Any]]:
    """Level and slope of one speaker in every segment that is large enough to judge.

    `rows` hold `account_id`, `term`, `label`, the speaker's probability and the columns of `gate.segments`; one row
    per judged observation. `off` is the mean promised less the share seen.
    """
    parts = dict(large(rows, gate))
    resampling = bonferroni_resampling(gate, len(parts))
    return {name: _segment(part, speaker, resampling) for name, part in parts.items()}


def large(rows: pd.DataFrame, gate: Gate) -> Iterator[tuple[str, pd.DataFrame]]:
    """The segments with enough terms and enough of the rarer outcome, each with its rows."""
    for column in (name for name in gate.segments if name in rows.columns):
        for value, part in rows.groupby(column, sort=True, observed=True):
            terms, events = counted(part)
            if terms >= gate.min_renewals and events >= gate.min_events:
                yield f"{column} {value}", part


def counted(rows: pd.DataFrame) -> tuple[int, float]:
    """The number of terms, and how many of them had the rarer outcome; the rows of a term count one together."""
    weight = weights(rows["term"])
    yes = float((rows["label"].to_numpy() * weight).sum())
    return int(rows["term"].nunique()), min(yes, float(weight.sum()) - yes)


def bonferroni_resampling(gate: Gate, looks: int) -> Resampling:
    """How intervals are resampled where so many are looked at: all together err no oftener than one alone would."""
    tail = (1 - gate.confidence) / 2 / max(looks, 1)
    return Resampling(max(gate.bootstrap, math.ceil(DRAWN_BEYOND / tail)), 1 - 2 * tail)


def _segment(rows: pd.DataFrame, speaker: str, resampling: Resampling) -> dict[str, Any]:
    truth, chance, weight = rows["label"].to_numpy(), rows[speaker].to_numpy(), weights(rows["term"])
    terms, events = counted(rows)
    low, high = metrics.slope_interval(truth, chance, rows["account_id"], resampling, weight)
    return {
        "terms": terms,
        "events": events,
        "promised": metrics.promised(truth, chance, weight),
        "seen": metrics.rate(truth, chance, weight),
        "off": _ranged(metrics.excess(truth, chance, rows["account_id"], resampling, weight)),
        "calibration_slope": {"value": metrics.calibration_slope(truth, chance, weight), "low": low, "high": high},
    }


def _ranged(found: tuple[float, float, float]) -> Range:
    return dict(zip(("value", "low", "high"), found, strict=True))


# --- challenger against champion -----------------------------------------------------------------


def itself(challenger: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """Which rows of the challenger's back-test the champion, trained on `until`, may speak of itself.

    Those that a challenger's fold trained no earlier speaks of: neither had seen them, and neither is the older one.
    """
    return (challenger["origin"] >= until) & (challenger["as_of"] >= until)


def paired(challenger: pd.DataFrame, champion: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    """The challenger's back-test with the champion's word beside it; one row per observation both spoke of.

    `later` holds the champion's own words of rows observed since it was trained; elsewhere its back-test speaks.
    A word counts only if it was said by a model that stood on the day of the observation or before.
    """
    kept = [*KEY, "probability"]
    then = champion.loc[champion["origin"] <= champion["as_of"], kept]
    words = pd.concat([later[kept], then]).drop_duplicates(KEY, keep="first")
    fair = challenger[challenger["origin"] <= challenger["as_of"]]
    return fair.merge(words, on=KEY, suffixes=("", "_champion"), validate="one_to_one")


def against(rows: pd.DataFrame, target: str, gate: Gate) -> dict[str, Any]:
    """How much better the challenger spoke than the champion, overall and in each large segment.

    `rows` are `paired` ones, with the columns of `gate.segments` where there are any. `gain` is how much lower the
    log loss is, `auc` how much higher the AUC; None with too few terms.
    """
    rows = rows[~rows["decided"].astype(bool)]
    rows = metrics.at_lead(rows, gate.lead_days) if target == RENEWAL else rows
    found: dict[str, Any] = {"rows": len(rows), "terms": int(rows["term"].nunique()), "gain": None, "auc": None}
    if found["terms"] < gate.min_renewals:
        return {**found, "segments": {}}
    parts = dict(large(rows, gate))
    alone, among = bonferroni_resampling(gate, 1), bonferroni_resampling(gate, len(parts))
    return {
        **found,
        "gain": _compared(metrics.gain, rows, alone),
        "auc": _compared(metrics.auc_gain, rows, alone),
        "segments": {
            name: {"terms": int(part["term"].nunique()), "gain": _compared(metrics.gain, part, among)}
            for name, part in parts.items()
        },
    }


def _compared(metric: Any, rows: pd.DataFrame, resampling: Resampling) -> Range:
    return _ranged(
        metric(
            rows["label"], rows["probability"], rows["probability_champion"], rows["account_id"],
            resampling, weights(rows["term"]),
        )
    )  # fmt: skip


def comparison(compared: Mapping[str, Any]) -> str:
    """How a challenger compares with the champion, in words."""
    if compared["gain"] is None:
        return f"only {compared['terms']} terms in common with the champion: too few to compare"
    gain, auc = _told(compared["gain"]), _told(compared["auc"])
    return (
        f"on the {compared['terms']} terms in common with the champion, log loss lower by {gain}, AUC higher by {auc}"
    )


def worse(compared: Mapping[str, Any], version: str) -> list[str]:
    """Why a challenger may not take the place of the champion, whose version is given; empty where it may."""
    whom = f"worse than the champion, version {version}, on the same {compared['terms']} terms"
    reasons = []
    if _below(compared["gain"]):
        reasons.append(f"{whom}: log loss lower by {_told(compared['gain'])}")
    if _below(compared["auc"]):
        reasons.append(f"{whom}: AUC higher by {_told(compared['auc'])}")
    for name, found in compared["segments"].items():
        if _below(found["gain"]):
            reasons.append(
                f"worse than the champion, version {version}, in {name} ({found['terms']} terms): "
                f"log loss lower by {_told(found['gain'])}"
            )
    return reasons


def _below(gain: Range | None) -> bool:
    return gain is not None and bool(np.isfinite(gain["high"])) and gain["high"] < 0
