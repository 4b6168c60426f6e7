"""Comparison of the challenger's and the champion's scores on the same accounts: similarity and largest movers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from renewals.models.ranking.worklist import RISK_BANDS, sort_key

MOVER_COUNT = 20
TOP_SHARE = 0.1
"""Share of the accounts that is the top for targets without a capacity."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def compare_scores(rows: pd.DataFrame) -> dict[str, Any]:
    """Compare champion and challenger: overlap of the top, rank correlation, distributions and movers.

    `rows` has one row per scored account: `account_id` and, for champion and challenger (`…_challenger`),
    `probability`, `rank`, `risk_band` and `in_top`. Rank and band are empty for targets that have none. A figure that
    cannot be computed is null.
    """
    champion, challenger = rows["probability"], rows["probability_challenger"]
    return {
        "accounts": len(rows),
        "top_overlap": top_overlap(rows["in_top"], rows["in_top_challenger"]),
        "rank_correlation": rank_correlation(champion, challenger),
        "mean_change": float((challenger - champion).mean()) if len(rows) else None,
        "bands_changed": int((_band_numbers(rows["risk_band"]) != _band_numbers(rows["risk_band_challenger"])).sum()),
        "probability": {"champion": score_distribution(champion), "challenger": score_distribution(challenger)},
        "movers": largest_movers(rows),
    }


def in_top_share(probability: pd.Series) -> pd.Series:
    """True for each row in the top `TOP_SHARE` by probability."""
    position = probability.rank(ascending=False, method="first")
    return position <= np.ceil(TOP_SHARE * len(probability))


def top_overlap(top: pd.Series, challenger_top: pd.Series) -> float | None:
    """Share of the champion's top that is also in the challenger's top; null if the champion's top is empty."""
    in_top = top.astype(bool)
    return float(challenger_top.astype(bool)[in_top].mean()) if in_top.any() else None


def rank_correlation(champion: pd.Series, challenger: pd.Series) -> float | None:
    """Spearman's correlation of the two probabilities; null if one of them is the same for every account."""
    if champion.nunique() < 2 or challenger.nunique() < 2:
        return None
    return float(np.corrcoef(champion.rank(), challenger.rank())[0, 1])


def score_distribution(probability: pd.Series) -> dict[str, float]:
    """Mean and quantiles of the probabilities, by name; empty without rows."""
    if probability.empty:
        return {}
    quantiles = {f"q{round(100 * q):02d}": float(probability.quantile(q)) for q in QUANTILES}
    return {"mean": float(probability.mean()), **quantiles}


def largest_movers(rows: pd.DataFrame, count: int = MOVER_COUNT) -> list[dict[str, Any]]:
    """Accounts with the largest score differences, by bands, then ranks, then probability; one record per account."""
    distances = pd.DataFrame(
        {
            "bands": (_band_numbers(rows["risk_band"]) - _band_numbers(rows["risk_band_challenger"])).abs(),
            "ranks": (rows["rank"].astype("Float64") - rows["rank_challenger"].astype("Float64")).abs().fillna(0.0),
            "probability": (rows["probability"] - rows["probability_challenger"]).abs(),
            "key": sort_key(rows["account_id"]),
        }
    )
    distances = distances[distances["probability"] > 0]
    order = distances.sort_values(list(distances.columns), ascending=[False, False, False, True], kind="stable").index[
        :count
    ]
    return [_mover_record(rows.loc[label]) for label in order]


def _band_numbers(band: pd.Series) -> pd.Series:
    """Risk bands as numbers, so that they can be subtracted; 0 for a missing band."""
    return band.map({name: number for number, name in enumerate(RISK_BANDS, start=1)}).fillna(0).astype(int)


def _mover_record(row: pd.Series) -> dict[str, Any]:
    record: dict[str, Any] = {"account_id": _to_json_value(row["account_id"])}
    for name in ("probability", "risk_band", "rank"):
        record |= {name: _to_json_value(row[name]), f"{name}_challenger": _to_json_value(row[f"{name}_challenger"])}
    return record


def _to_json_value(value: Any) -> Any:
    """The value as a type that JSON can hold."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
