"""What a challenger would have said of the same accounts, beside the champion: how alike they are, and who moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from renewals.models.ranking.worklist import RISK_BANDS, sort_key

MOVER_COUNT = 20
TOP_SHARE = 0.1
"""Where there is no capacity, the top is this share of the accounts."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def compare_scores(rows: pd.DataFrame) -> dict[str, Any]:
    """Overlap, rank correlation, distribution and movers.

    `rows` hold `account_id` and, for champion and challenger (`…_challenger`), `probability`, `rank`, `risk_band` and
    `in_top`; one row per scored account. Rank and band are empty for targets that have none. Null where it has no
    answer.
    """
    ours, theirs = rows["probability"], rows["probability_challenger"]
    return {
        "accounts": len(rows),
        "top_overlap": top_overlap(rows["in_top"], rows["in_top_challenger"]),
        "rank_correlation": rank_correlation(ours, theirs),
        "mean_change": float((theirs - ours).mean()) if len(rows) else None,
        "bands_changed": int((_band_numbers(rows["risk_band"]) != _band_numbers(rows["risk_band_challenger"])).sum()),
        "probability": {"champion": score_distribution(ours), "challenger": score_distribution(theirs)},
        "movers": largest_movers(rows),
    }


def in_top_share(probability: pd.Series) -> pd.Series:
    """Whether a row is among the top share by probability; one row per row given."""
    place = probability.rank(ascending=False, method="first")
    return place <= np.ceil(TOP_SHARE * len(probability))


def top_overlap(top: pd.Series, challenger_top: pd.Series) -> float | None:
    """The share of the champion's top that is in the challenger's too."""
    mine = top.astype(bool)
    return float(challenger_top.astype(bool)[mine].mean()) if mine.any() else None


def rank_correlation(champion: pd.Series, challenger: pd.Series) -> float | None:
    """Spearman's correlation; null where either says the same of everyone."""
    if champion.nunique() < 2 or challenger.nunique() < 2:
        return None
    return float(np.corrcoef(champion.rank(), challenger.rank())[0, 1])


def score_distribution(probability: pd.Series) -> dict[str, float]:
    """Mean and quantiles, by name; empty without rows."""
    if probability.empty:
        return {}
    quantiles = {f"q{round(100 * q):02d}": float(probability.quantile(q)) for q in QUANTILES}
    return {"mean": float(probability.mean()), **quantiles}


def largest_movers(rows: pd.DataFrame, count: int = MOVER_COUNT) -> list[dict[str, Any]]:
    """Who moves most: by bands, then by rank, then by probability; one entry per account that moves at all."""
    far = pd.DataFrame(
        {
            "bands": (_band_numbers(rows["risk_band"]) - _band_numbers(rows["risk_band_challenger"])).abs(),
            "ranks": (rows["rank"].astype("Float64") - rows["rank_challenger"].astype("Float64")).abs().fillna(0.0),
            "probability": (rows["probability"] - rows["probability_challenger"]).abs(),
            "key": sort_key(rows["account_id"]),
        }
    )
    far = far[far["probability"] > 0]
    order = far.sort_values(list(far.columns), ascending=[False, False, False, True], kind="stable").index[:count]
    return [_mover_record(rows.loc[place]) for place in order]


def _band_numbers(band: pd.Series) -> pd.Series:
    """Bands as numbers that can be subtracted; 0 where there is none."""
    return band.map({name: number for number, name in enumerate(RISK_BANDS, start=1)}).fillna(0).astype(int)


def _mover_record(row: pd.Series) -> dict[str, Any]:
    told: dict[str, Any] = {"account_id": _to_json_value(row["account_id"])}
    for name in ("probability", "risk_band", "rank"):
        told |= {name: _to_json_value(row[name]), f"{name}_challenger": _to_json_value(row[f"{name}_challenger"])}
    return told


def _to_json_value(value: Any) -> Any:
    """A value that JSON can hold."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
