"""Drift checks: compare today's accounts with the model's reference, and earlier lists with their outcomes.

Many figures are checked every month, and a small company varies by chance. So a warning needs both: a difference that
is large, also compared with how the same figure varied between the months of the reference, and one that is unlikely by
chance, taking all comparisons of the run together (Holm 1979).

* *Distribution*: the population stability index, sum of (now - then) ln(now / then) over the bins. Its p-value comes
  from the likelihood-ratio test of two samples with Williams' correction (1976), which holds for sparse bins.
* *Missing*: the share of accounts without a value; the same test on two bins.
* *Calibration*: observed renewals against the sum of the predicted probabilities; a normal test that allows for the
  usual variation of a quarter's level.

The reference counts accounts, not rows: twelve months of one account are not twelve companies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc, ndtr

from renewals.models.settings import DriftSettings

Floats = npt.NDArray[np.float64]
ComparisonKind = Literal["inputs", "missing", "score", "previous_list", "calibration"]

BINS = 10
REFERENCE_MONTHS = 12
"""The reference is the newest year before the training day, so that it contains each season once."""
SWING_FACTOR = 1.5
"""Seasons differ between years: a difference up to this multiple of the largest one within the reference is normal."""
EDGE_TOLERANCE = 0.005
"""Two bin edges closer than this share of their size become one: a year of 366 days is not different from one of
365."""
PSEUDOCOUNT = 0.5
"""Added to every count before shares are compared, so that an empty bin does not give an infinite difference."""


@dataclass(frozen=True)
class DriftComparison:
    """One comparison: the difference, the limit above which it is large, and its p-value."""

    kind: ComparisonKind
    name: str
    difference: float
    limit: float
    p_value: float
    reference: float
    """The value in the reference: a share, a rate or a mean."""
    current: float
    accounts: int


def feature_reference(
    observed: pd.DataFrame, categories: Mapping[str, Sequence[str]], names: Iterable[str]
) -> dict[str, Any]:
    """Reference distribution of each feature over the newest year of `observed`, as plain values.

    `observed` has `account_id`, `as_of` and the features; one row per observation, labelled or not, and at least one
    row. `categories` holds the known values of each categorical feature.
    """
    days = pd.to_datetime(observed["as_of"])
    newest = days > days.max() - pd.DateOffset(months=REFERENCE_MONTHS)
    year, day = observed[newest], days[newest]
    return {
        "accounts": int(year["account_id"].nunique()),
        "from": str(day.min().date()),
        "to": str(day.max().date()),
        "features": {name: _summarize_distribution(year[name], day, categories.get(name)) for name in names},
    }


def score_reference(predictions: pd.DataFrame) -> dict[str, Any]:
    """Reference distribution of the backtest predictions.

    `predictions` has `account_id`, `origin` and `probability`, one row per observation.
    """
    return {
        "accounts": int(predictions["account_id"].nunique()),
        **_summarize_distribution(predictions["probability"], predictions["origin"], None),
    }


def _summarize_distribution(column: pd.Series, period: pd.Series, categories: Sequence[str] | None) -> dict[str, Any]:
    """Bins, their shares, the missing rate, and the largest change of one period (month, origin) from the others."""
    bins: dict[str, Any] = {"edges": _bin_edges(column)} if categories is None else {"categories": list(categories)}
    counts, missing = count_bins(column, bins)
    periods = [count_bins(period_counts, bins) for _, period_counts in column.groupby(period.to_numpy(), sort=True)]
    missing_rate = missing / max(len(column), 1)
    return {
        **bins,
        "shares": (counts / max(counts.sum(), 1)).round(9).tolist(),
        "missing": round(missing_rate, 9),
        "max_period_psi": round(
            max(
                (
                    stability_index(period_counts, counts - period_counts)
                    for period_counts, _ in periods
                    if period_counts.sum()
                ),
                default=0.0,
            ),
            9,
        ),
        "max_period_missing_change": round(
            max(
                (
                    abs(period_missing / (period_counts.sum() + period_missing) - missing_rate)
                    for period_counts, period_missing in periods
                ),
                default=0.0,
            ),
            9,
        ),
    }


def _bin_edges(column: pd.Series) -> list[float]:
    """Distinct deciles as bin edges; a bin is open below and closed above.

    A constant column gets an edge on each side of its value.
    """
    known = column.to_numpy(np.float64, na_value=np.nan)
    known = known[np.isfinite(known)]
    if not len(known):
        return []
    edges = [float(known.max())]
    for edge in np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))[::-1]:
        if edges[-1] - edge > EDGE_TOLERANCE * max(abs(edges[-1]), abs(edge)):
            edges.append(float(edge))
    if len(edges) > 1:
        return edges[:0:-1]
    pad = EDGE_TOLERANCE * float(np.abs(known).max())
    return [float(np.nextafter(known.min() - pad, -np.inf)), float(known.max() + pad)]


def count_bins(column: pd.Series, bins: Mapping[str, Any]) -> tuple[Floats, int]:
    """Count the values of a column in each bin, and the missing ones. Unknown categories share one bin."""
    if "categories" in bins:
        codes = pd.Index(bins["categories"], dtype=object).get_indexer(pd.Index(column.dropna().astype(object)))
        return np.bincount(codes + 1, minlength=len(bins["categories"]) + 1).astype(np.float64), int(
            column.isna().sum()
        )
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    known = numbers[~np.isnan(numbers)]
    positions = np.searchsorted(np.array(bins["edges"]), known, side="left")
    return np.bincount(positions, minlength=len(bins["edges"]) + 1).astype(np.float64), len(numbers) - len(known)


def stability_index(current: Floats, reference: Floats) -> float:
    """Population stability index of two arrays of counts per bin."""
    p, q = ((counts + PSEUDOCOUNT) / (counts + PSEUDOCOUNT).sum() for counts in (reference, current))
    return float(((q - p) * np.log(q / p)).sum())


def p_value(current: Floats, reference: Floats) -> float:
    """Probability that two samples of one population differ at least this much; 1 if there is nothing to compare.

    Both arguments are counts per bin.
    """
    table = np.stack([current, reference])
    table = table[:, table.sum(axis=0) > 0]
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    freedom = table.shape[1] - 1
    if freedom < 1 or (rows == 0).any():
        return 1.0
    expected = np.outer(rows, columns) / total
    distance = 2 * float((table * np.log(np.where(table > 0, table / expected, 1.0))).sum())
    williams = 1 + ((total / rows).sum() - 1) * ((total / columns).sum() - 1) / (6 * total * freedom)
    return float(chdtrc(freedom, distance / williams))


def compare_feature(
    name: str, column: pd.Series, reference: Mapping[str, Any], accounts: int, settings: DriftSettings
) -> list[DriftComparison]:
    """Compare a feature's distribution and missing rate with its reference.

    `accounts` is the number of accounts in the reference. Without a known value on either side there is no comparison
    of distributions.
    """
    counts, missing = count_bins(column, reference)
    missing_rate = missing / max(len(column), 1)
    gaps = [
        np.array([absent, total - absent])
        for absent, total in ((float(missing), len(column)), _reference_missing(reference, accounts))
    ]
    missing_comparison = DriftComparison(
        "missing", name, abs(missing_rate - reference["missing"]),
        max(settings.missing_threshold, SWING_FACTOR * reference["max_period_missing_change"]),
        p_value(*gaps), reference["missing"], missing_rate, len(column),
    )  # fmt: skip
    if not counts.sum() or not sum(reference["shares"]):
        return [missing_comparison]
    return [
        compare_distribution("inputs", name, counts, reference, accounts * (1 - reference["missing"]), settings),
        missing_comparison,
    ]


def _reference_missing(reference: Mapping[str, Any], accounts: int) -> tuple[float, float]:
    return reference["missing"] * accounts, float(accounts)


def compare_distribution(
    kind: ComparisonKind,
    name: str,
    counts: Floats,
    reference: Mapping[str, Any],
    accounts: float,
    settings: DriftSettings,
) -> DriftComparison:
    """Compare counts per bin with the reference.

    `reference` and `current` of the result are the shares of the bin that changed most.
    """
    shares = np.array(reference["shares"])
    current = counts / counts.sum()
    largest = int(np.abs(current - shares).argmax())
    expected = shares * accounts
    return DriftComparison(
        kind, name, stability_index(counts, expected),
        max(settings.psi_threshold, SWING_FACTOR * reference.get("max_period_psi", 0.0)),
        p_value(counts, expected),
        float(shares[largest]), float(current[largest]), int(counts.sum()),
    )  # fmt: skip


def last_predictions(predictions: pd.DataFrame, lead_days: int) -> pd.DataFrame:
    """Last prediction for each renewal at least `lead_days` ahead; one row per renewal.

    A renewal is on about a dozen lists, but its outcome is one fact, not twelve.
    """
    ahead = predictions[(predictions["renewal_date"] - predictions["as_of"]).dt.days >= lead_days]
    return ahead.sort_values("as_of", kind="stable").drop_duplicates("renewal_id", keep="last")


def compare_calibration(
    final: pd.DataFrame, quarter_effect_sd: float, settings: DriftSettings
) -> list[DriftComparison]:
    """Compare predicted with observed renewals, for each month of renewals and for all months; one comparison each.

    `final` has `renewal_date`, `probability` and `label`, one row per renewal. Groups with fewer renewals than
    `settings.min_renewals` are left out. `quarter_effect_sd` is the usual variation of a quarter's level, in log-odds.
    """
    month = final["renewal_date"].dt.strftime("%Y-%m")
    groups = [(str(name), group) for name, group in final.groupby(month, sort=True)]
    if len(groups) > 1:
        groups.append((f"{groups[0][0]} … {groups[-1][0]}", final))
    return [
        _calibration_comparison(name, group, quarter_effect_sd, settings)
        for name, group in groups
        if len(group) >= settings.min_renewals
    ]


def _calibration_comparison(
    name: str, renewals: pd.DataFrame, quarter_effect_sd: float, settings: DriftSettings
) -> DriftComparison:
    predicted, observed = renewals["probability"].to_numpy(np.float64), renewals["label"].to_numpy(np.float64)
    variance = float((predicted * (1 - predicted)).sum())
    error = np.sqrt(variance + (quarter_effect_sd * variance) ** 2)
    distance = max(abs(observed.sum() - predicted.sum()) - PSEUDOCOUNT, 0.0)
    by_chance = 2 * float(ndtr(-distance / error)) if error else float(distance == 0)
    size, mean_predicted = float(abs(observed.mean() - predicted.mean())), float(predicted.mean())
    return DriftComparison(
        "calibration",
        name,
        size,
        settings.calibration_threshold,
        by_chance,
        mean_predicted,
        float(observed.mean()),
        len(renewals),
    )


def select_alarms(comparisons: Sequence[DriftComparison], confidence: float) -> list[DriftComparison]:
    """Comparisons that are both large and significant (Holm's procedure), the largest difference over limit first."""
    order = sorted(comparisons, key=lambda comparison: comparison.p_value)
    significant = []
    for remaining, comparison in zip(range(len(order), 0, -1), order, strict=True):
        if comparison.p_value > (1 - confidence) / remaining:
            break
        significant.append(comparison)
    return sorted(
        (comparison for comparison in significant if comparison.difference > comparison.limit),
        key=lambda comparison: -comparison.difference / comparison.limit,
    )
