"""Whether the accounts of today still look like those a model was made for, and whether earlier lists came true.

Many figures are looked at every month, and a small company differs from itself by chance. So a warning needs both: a
difference that is large in itself, beyond what the same figure did between the months of the reference, and one that
chance could hardly show, with all looks of the run taken together (Holm 1979).

* *Distribution*: the population stability index, sum of (now - then) ln(now / then) over the bins; its chance comes
  from the likelihood-ratio test of two samples with Williams' correction (1976), which holds where bins are thin.
* *Missing*: the share of accounts without a figure; the same test on two bins.
* *Calibration*: renewals that came against the sum of what was promised; normal, with the spread that a quarter's
  level has anyway.

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
"""The reference is the newest year before the training day: every season once."""
SWING_FACTOR = 1.5
"""A season need not be the same every year: it may go so many times as far as any month of the reference went."""
EDGE_TOLERANCE = 0.005
"""Two figures closer than this share of their size are one: a year of 366 days is not another than one of 365."""
PSEUDOCOUNT = 0.5
"""Added to every count before shares are compared, so that an empty bin is not an infinite difference."""


@dataclass(frozen=True)
class DriftComparison:
    """One comparison: how large the difference is, from where on it is large, and how likely chance alone is."""

    kind: ComparisonKind
    name: str
    difference: float
    limit: float
    p_value: float
    reference: float
    """What was usual: a share, a rate or a mean."""
    current: float
    accounts: int


def feature_reference(
    observed: pd.DataFrame, categories: Mapping[str, Sequence[str]], names: Iterable[str]
) -> dict[str, Any]:
    """What was usual of each feature in the newest year of `observed`, as plain values.

    `observed` has `account_id`, `as_of` and the features, one row per observation, labelled or not, and at least one;
    `categories` holds those features that are no numbers, with the values known.
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
    """What was said in the back-test, by bins; `predictions` has `account_id`, `origin` and `probability`, one row per
    observation."""
    return {
        "accounts": int(predictions["account_id"].nunique()),
        **_summarize_distribution(predictions["probability"], predictions["origin"], None),
    }


def _summarize_distribution(column: pd.Series, period: pd.Series, categories: Sequence[str] | None) -> dict[str, Any]:
    """Bins, the share of each, the missing rate, and how far single parts (months, origins) strayed from the rest."""
    bins: dict[str, Any] = {"edges": _bin_edges(column)} if categories is None else {"categories": list(categories)}
    counts, missing = count_bins(column, bins)
    parts = [count_bins(own, bins) for _, own in column.groupby(period.to_numpy(), sort=True)]
    rate = missing / max(len(column), 1)
    return {
        **bins,
        "shares": (counts / max(counts.sum(), 1)).round(9).tolist(),
        "missing": round(rate, 9),
        "max_period_psi": round(
            max((stability_index(own, counts - own) for own, _ in parts if own.sum()), default=0.0), 9
        ),
        "max_period_missing_change": round(
            max((abs(lost / (own.sum() + lost) - rate) for own, lost in parts), default=0.0), 9
        ),
    }


def _bin_edges(column: pd.Series) -> list[float]:
    """The deciles that lie apart: a bin holds what lies above one and up to the next. Of a constant, both its sides."""
    known = column.to_numpy(np.float64, na_value=np.nan)
    known = known[np.isfinite(known)]
    if not len(known):
        return []
    kept = [float(known.max())]
    for edge in np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))[::-1]:
        if kept[-1] - edge > EDGE_TOLERANCE * max(abs(kept[-1]), abs(edge)):
            kept.append(float(edge))
    if len(kept) > 1:
        return kept[:0:-1]
    pad = EDGE_TOLERANCE * float(np.abs(known).max())
    return [float(np.nextafter(known.min() - pad, -np.inf)), float(known.max() + pad)]


def count_bins(column: pd.Series, bins: Mapping[str, Any]) -> tuple[Floats, int]:
    """How many of a column fall into each bin, and how many are missing. Categories never met share one bin."""
    if "categories" in bins:
        codes = pd.Index(bins["categories"], dtype=object).get_indexer(pd.Index(column.dropna().astype(object)))
        return np.bincount(codes + 1, minlength=len(bins["categories"]) + 1).astype(np.float64), int(
            column.isna().sum()
        )
    figures = column.to_numpy(np.float64, na_value=np.nan)
    known = figures[~np.isnan(figures)]
    place = np.searchsorted(np.array(bins["edges"]), known, side="left")
    return np.bincount(place, minlength=len(bins["edges"]) + 1).astype(np.float64), len(figures) - len(known)


def stability_index(current: Floats, reference: Floats) -> float:
    """The population stability index of two rows of counts."""
    p, q = ((counts + PSEUDOCOUNT) / (counts + PSEUDOCOUNT).sum() for counts in (reference, current))
    return float(((q - p) * np.log(q / p)).sum())


def p_value(current: Floats, reference: Floats) -> float:
    """How likely two samples of one population differ at least so much; counts by bin, 1 where nothing is compared."""
    table = np.stack([current, reference])
    table = table[:, table.sum(axis=0) > 0]
    rows, columns, whole = table.sum(axis=1), table.sum(axis=0), table.sum()
    freedom = table.shape[1] - 1
    if freedom < 1 or (rows == 0).any():
        return 1.0
    expected = np.outer(rows, columns) / whole
    distance = 2 * float((table * np.log(np.where(table > 0, table / expected, 1.0))).sum())
    williams = 1 + ((whole / rows).sum() - 1) * ((whole / columns).sum() - 1) / (6 * whole * freedom)
    return float(chdtrc(freedom, distance / williams))


def compare_feature(
    name: str, column: pd.Series, reference: Mapping[str, Any], accounts: int, settings: DriftSettings
) -> list[DriftComparison]:
    """A feature's distribution and its missing rate beside the reference's; `accounts` is how many that counts."""
    counts, missing = count_bins(column, reference)
    now = missing / max(len(column), 1)
    gaps = [
        np.array([lost, whole - lost])
        for lost, whole in ((float(missing), len(column)), _reference_missing(reference, accounts))
    ]
    absent = DriftComparison(
        "missing", name, abs(now - reference["missing"]),
        max(settings.missing_threshold, SWING_FACTOR * reference["max_period_missing_change"]),
        p_value(*gaps), reference["missing"], now, len(column),
    )  # fmt: skip
    if not counts.sum() or not sum(reference["shares"]):
        return [absent]
    return [
        compare_distribution("inputs", name, counts, reference, accounts * (1 - reference["missing"]), settings),
        absent,
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
    """Counts by bin beside what was usual; `reference` and `current` are the shares of the bin that moved furthest."""
    shares = np.array(reference["shares"])
    own = counts / counts.sum()
    far = int(np.abs(own - shares).argmax())
    then = shares * accounts
    return DriftComparison(
        kind, name, stability_index(counts, then),
        max(settings.psi_threshold, SWING_FACTOR * reference.get("max_period_psi", 0.0)),
        p_value(counts, then),
        float(shares[far]), float(own[far]), int(counts.sum()),
    )  # fmt: skip


def last_predictions(predictions: pd.DataFrame, lead_days: int) -> pd.DataFrame:
    """Each renewal with what was said of it last at least so many days ahead; one row per (account_id, renewal_date).

    A renewal stands on a dozen lists; what it came to is one fact, not twelve.
    """
    ahead = predictions[(predictions["renewal_date"] - predictions["as_of"]).dt.days >= lead_days]
    return ahead.sort_values("as_of", kind="stable").drop_duplicates(["account_id", "renewal_date"], keep="last")


def compare_calibration(
    final: pd.DataFrame, quarter_effect_sd: float, settings: DriftSettings
) -> list[DriftComparison]:
    """What was promised beside what came, for each month of renewals and for all together; one look each.

    `final` has `renewal_date`, `probability` and `label`, one row per renewal. What has fewer renewals than
    `options.min_renewals` is left out. `quarter_effect_sd` is how far, in log-odds, a quarter's level strays anyway.
    """
    month = final["renewal_date"].dt.strftime("%Y-%m")
    parts = [(str(name), own) for name, own in final.groupby(month, sort=True)]
    if len(parts) > 1:
        parts.append((f"{parts[0][0]} … {parts[-1][0]}", final))
    return [
        _calibration_comparison(name, own, quarter_effect_sd, settings)
        for name, own in parts
        if len(own) >= settings.min_renewals
    ]


def _calibration_comparison(
    name: str, renewals: pd.DataFrame, quarter_effect_sd: float, settings: DriftSettings
) -> DriftComparison:
    promised, came = renewals["probability"].to_numpy(np.float64), renewals["label"].to_numpy(np.float64)
    coins = float((promised * (1 - promised)).sum())
    error = np.sqrt(coins + (quarter_effect_sd * coins) ** 2)
    distance = max(abs(came.sum() - promised.sum()) - PSEUDOCOUNT, 0.0)
    by_chance = 2 * float(ndtr(-distance / error)) if error else float(distance == 0)
    size, said = float(abs(came.mean() - promised.mean())), float(promised.mean())
    return DriftComparison(
        "calibration", name, size, settings.calibration_threshold, by_chance, said, float(came.mean()), len(renewals)
    )


def select_alarms(comparisons: Sequence[DriftComparison], confidence: float) -> list[DriftComparison]:
    """The looks that are both large and, all together, sure (Holm's steps); the largest beyond its limit first."""
    order = sorted(comparisons, key=lambda look: look.p_value)
    sure = []
    for left, look in zip(range(len(order), 0, -1), order, strict=True):
        if look.p_value > (1 - confidence) / left:
            break
        sure.append(look)
    return sorted(
        (look for look in sure if look.difference > look.limit), key=lambda look: -look.difference / look.limit
    )
