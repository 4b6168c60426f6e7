"""Recall within the managers' capacity: the lost ARR that each ranking would have listed in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from renewals.models.evaluation.compared_rows import MODEL, BacktestSettings, Floats, JsonObject, compared_models
from renewals.models.metrics import days_to_decision
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import add_log_odds

EARLY_SHARE = 0.2
"""Top share of each list that is also evaluated separately: where the whole list fits the capacity, recall at capacity
is always 1."""
OFFER_ASSUMPTIONS = {"alpha": 6, "beta": 14, "incentive_fraction": 0.05, "contact_cost": 15}
"""Assumptions of the expected profit (EMPB), from its authors: three in ten accept an incentive of 5 % of the
revenue."""


def recall_at_capacity(predictions: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    """Share of the lost ARR that belongs to accounts within the managers' capacity, per model and per ranking.

    Each month's list is ranked by ARR x (1 - p) for each manager and cut at that manager's capacity. A lost account
    counts on every list that contains it before its renewal. `arr_share_listed` is the share of all ARR within
    capacity: the recall expected by chance. `rankings` are other rankings of the model's own predictions. Their
    `in_time_` figures count only losses that could still be prevented when the account was listed.
    """
    if not {"arr", "csm"} <= set(predictions.columns) or not len(predictions):
        return {"models": {}, "managers": [], "rankings": {}}
    arr = predictions["arr"].fillna(0.0)
    lost = arr.to_numpy(np.float64) * (1 - predictions["label"].to_numpy())
    in_time = lost * (days_to_decision(predictions) > settings.decided_days).to_numpy(bool)
    model_positions = {
        name: list_positions(predictions, worklist.arr_at_risk(arr, predictions[name]), settings.portfolio_limits)
        for name in compared_models(predictions)
    }
    ranking_positions = {
        name: list_positions(predictions, score, settings.portfolio_limits)
        for name, score in ranking_scores(predictions, settings).items()
    }
    return {
        "lists": int(predictions["as_of"].nunique()),
        "lost_arr": float(lost.sum()),
        "decided_days": settings.decided_days,
        "lost_arr_in_time": float(in_time.sum()),
        "accounts_listed": float(model_positions[MODEL]["within_capacity"].mean()),
        "models": {name: _list_recall(predictions, positions, lost) for name, positions in model_positions.items()},
        "rankings": {
            name: _list_recall(predictions, positions, lost)
            | {
                f"in_time_{figure_name}": figure
                for figure_name, figure in _list_recall(predictions, positions, in_time).items()
                if figure_name != "arr_share_listed"
            }
            for name, positions in ranking_positions.items()
        },
        "managers": _manager_metrics(predictions.assign(**model_positions[MODEL], lost=lost)),
    }


def ranking_scores(predictions: pd.DataFrame, settings: BacktestSettings) -> dict[str, pd.Series]:
    """Scores by which the model's lists could be ranked, by name; one entry per row each.

    `expected_gain` is the ARR that a playbook with the assumed effect is expected to save, and zero after the decision.
    The backtest computes no reasons, so the prescribed playbook and its hours are not known.
    """
    probability, arr = predictions[MODEL], predictions["arr"].fillna(0.0)
    probability_gain = (
        add_log_odds(probability.to_numpy(np.float64), np.full(len(probability), settings.assumed_effect)) - probability
    )
    return {
        "expected_gain": (arr * probability_gain).where(days_to_decision(predictions) > settings.decided_days, 0.0),
        "probability": 1 - probability,
        "arr": arr,
        "arr_at_risk": worklist.arr_at_risk(arr, probability),
        "expected_profit": expected_profit(probability, arr),
    }


def expected_profit(probability: pd.Series, arr: pd.Series) -> pd.Series:
    """Expected profit of contacting each account, with the costs behind EMPB (Janssens and others 2022).

    An account about to leave accepts with the mean of Beta(alpha, beta) and then brings the ARR less the incentive. An
    account that would stay takes the incentive too.
    """
    accepts = OFFER_ASSUMPTIONS["alpha"] / (OFFER_ASSUMPTIONS["alpha"] + OFFER_ASSUMPTIONS["beta"])
    share, cost = OFFER_ASSUMPTIONS["incentive_fraction"], OFFER_ASSUMPTIONS["contact_cost"]
    leaving = accepts * ((1 - share) * arr - cost) - (1 - accepts) * cost
    return (1 - probability) * leaving - probability * (share * arr + cost)


def list_positions(
    predictions: pd.DataFrame,
    ranking_score: pd.Series,
    portfolio_limits: Callable[[str | None], worklist.PortfolioLimits],
) -> pd.DataFrame:
    """Position of each row on its month's list, ranked by `ranking_score`; one row per input row.

    `within_capacity` is true within the manager's capacity, `early` in the first fifth of the manager's list.
    """
    ranks = pd.concat(
        worklist.rank_accounts(
            ranking_score[rows.index], rows["arr"], rows["csm"], rows["account_id"], portfolio_limits
        )
        for _, rows in predictions.groupby("as_of", sort=True)
    ).reindex(predictions.index)
    length = predictions.groupby(["as_of", "csm"], dropna=False)["account_id"].transform("size")
    early = ranks["rank"] <= np.ceil(length * EARLY_SHARE)
    return pd.DataFrame({"within_capacity": ranks["within_capacity"].astype(bool), "early": early.astype(bool)})


def _list_recall(predictions: pd.DataFrame, positions: pd.DataFrame, lost: Floats) -> JsonObject:
    arr, within_capacity = predictions["arr"].fillna(0.0).to_numpy(np.float64), positions["within_capacity"].to_numpy()
    return {
        "recall": _ratio(lost[within_capacity].sum(), lost.sum()),
        "arr_share_listed": _ratio(arr[within_capacity].sum(), arr.sum()),
        "recall_early": _ratio(lost[positions["early"].to_numpy()].sum(), lost.sum()),
    }


def _manager_metrics(rows: pd.DataFrame) -> list[JsonObject]:
    return [
        {
            "csm": None if pd.isna(csm) else str(csm),
            "rows": len(group),
            "lost_arr": float(group["lost"].sum()),
            "recall": _ratio(group.loc[group["within_capacity"], "lost"].sum(), group["lost"].sum()),
            "recall_early": _ratio(group.loc[group["early"], "lost"].sum(), group["lost"].sum()),
            "accounts_listed": float(group["within_capacity"].mean()),
        }
        for csm, group in rows.groupby("csm", dropna=False, sort=True)
    ]


def _ratio(part: float, total: float) -> float | None:
    return float(part / total) if total else None
