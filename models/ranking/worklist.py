"""Order of the list: risk bands, ARR at risk, the four quadrants (J5), and the rank within capacity (M2).

These functions take and return values; they use no model and no file. `models/ranking/expected_value.py` computes the
ranking score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd

from renewals.features import spine

SCORED = "scored"
TOO_LITTLE_HISTORY = "too_little_history"
UNLIKE_TRAINING = "unlike_training"
NOT_SCORED = "not_scored"
"""The row violates an invariant of the list: a value, a probability or a fact about the account is impossible."""
OVERDUE = "overdue"
"""The contract ended within the grace and nothing follows: still a customer."""
LEAVING = "leaving"
"""The customer gave notice and stays to the end."""
SIGNED = "signed"
"""What follows is signed, or the last day for notice has passed without notice."""
NOT_DUE = "not_due"
"""Nothing of the customer is due within the horizon."""
NO_MODEL = "no_model"
"""There is no model yet: the row is ranked by ARR and health."""
STATUSES = (SCORED, NO_MODEL, OVERDUE, LEAVING, TOO_LITTLE_HISTORY, UNLIKE_TRAINING, NOT_SCORED, SIGNED, NOT_DUE)
"""In the order in which rows without a rank are listed."""
RANKED = (SCORED, NO_MODEL)
"""Statuses of the rows that are ranked."""
RISK_BANDS = ("high", "medium", "low")
QUADRANTS = ("save", "save_and_grow", "grow", "keep")


class PortfolioLimits(Protocol):
    """Capacity of one manager: accounts, recurring revenue and hours."""

    @property
    def accounts(self) -> int:
        """Maximum number of accounts."""

    @property
    def arr(self) -> float:
        """Maximum recurring revenue."""

    @property
    def hours(self) -> float | None:
        """Maximum number of hours; None for no limit."""


def row_status(observations: pd.DataFrame, min_history_days: int, has_model: bool = True) -> pd.Series:
    """Status of each observation before it is scored; one value per row.

    A renewal that is due and not decided is `scored` if the account's first contract began at least `min_history_days`
    ago, else (also if unknown) `too_little_history`; without a model it is `no_model`.
    """
    state = observations["renewal_state"]
    decided = [
        (state.eq(spine.OVERDUE), OVERDUE),
        (state.eq(spine.NOT_DUE), NOT_DUE),
        (observations["signed"], SIGNED),
        (observations["notice_given"], LEAVING),
        (pd.Series(not has_model, index=observations.index), NO_MODEL),
        (has_history(observations, min_history_days), SCORED),
    ]
    tests, statuses = zip(*decided, strict=True)
    masks = [test.astype("boolean").fillna(False).to_numpy(bool) for test in tests]
    return pd.Series(np.select(masks, statuses, TOO_LITTLE_HISTORY), index=observations.index, dtype=object)


def has_history(observations: pd.DataFrame, min_history_days: int) -> pd.Series:
    """True for accounts whose first contract began at least so many days ago; false if this is unknown."""
    return (observations["account_age"] >= min_history_days).astype("boolean").fillna(False).astype(bool)


def risk_band(renewal: pd.Series, high: float, medium: float) -> pd.Series:
    """`high`, `medium` or `low` by the probability of loss; empty without a probability; one value per row."""
    band = np.select([renewal <= 1 - high, renewal <= 1 - medium], ["high", "medium"], "low")
    return pd.Series(band, index=renewal.index, dtype=object).where(renewal.notna(), None)


def arr_at_risk(arr: pd.Series, renewal: pd.Series) -> pd.Series:
    """Expected recurring revenue lost, in the currency of `arr`; one value per row."""
    return arr * (1 - renewal)


def quadrant(band: pd.Series, expansion: pd.Series, expansion_threshold: float) -> pd.Series:
    """Quadrant of the account (J5), by risk and expansion; empty if either is unknown; one value per row.

    High risk: `save_and_grow` if expansion is likely, else `save`. Otherwise `grow` if likely, else `keep`.
    """
    risky, likely = band == "high", expansion >= expansion_threshold
    quadrants = np.select([risky & likely, risky, likely], ["save_and_grow", "save", "grow"], "keep")
    return pd.Series(quadrants, index=band.index, dtype=object).where(band.notna() & expansion.notna(), None)


def rank_accounts(
    ranking_score: pd.Series,
    arr: pd.Series,
    csm: pd.Series,
    account_id: pd.Series,
    portfolio_limits: Callable[[str | None], PortfolioLimits],
    hours: pd.Series | None = None,
    at_risk: pd.Series | None = None,
) -> pd.DataFrame:
    """Rank accounts within each manager by `ranking_score` and flag those `within_capacity`; one row per input row.

    Accounts without a manager form one portfolio. Equal scores are ordered by `at_risk`, then by account id; without a
    score there is no rank. A row is within capacity if accounts, revenue and `hours` summed up to and including it are
    within the limits; a manager's first row always is. An account counts once, and so do its hours: those of its first
    row.
    """
    table = pd.DataFrame({"score": ranking_score, "arr": arr.fillna(0.0), "csm": csm, "key": sort_key(account_id)})
    table["hours"] = 0.0 if hours is None else hours
    table["at_risk"] = 0.0 if at_risk is None else at_risk.fillna(0.0)
    by = ["score", "at_risk", "key"]
    table = table[table["score"].notna()].sort_values(by, ascending=[False, False, True], kind="stable")
    manager_codes, names = pd.factorize(table["csm"], use_na_sentinel=False)
    position, within_capacity = np.zeros(len(table), np.int64), np.zeros(len(table), bool)
    order = np.argsort(manager_codes, kind="stable")
    starts = np.searchsorted(manager_codes[order], np.arange(len(names) + 1))
    for number, name in enumerate(names):
        rows = order[starts[number] : starts[number + 1]]
        limit = portfolio_limits(None if pd.isna(name) else str(name))
        position[rows] = np.arange(1, len(rows) + 1)
        is_first = ~table["key"].iloc[rows].duplicated().to_numpy()
        total_arr, hours_of_rows = np.cumsum(table["arr"].to_numpy()[rows]), table["hours"].to_numpy()[rows]
        total_hours = np.cumsum(np.where(is_first, hours_of_rows, 0.0))
        within_limits = (total_arr <= limit.arr) & (limit.hours is None or total_hours <= limit.hours)
        within_capacity[rows] = (np.cumsum(is_first) <= limit.accounts) & (within_limits | (position[rows] == 1))
    ranks = pd.DataFrame({"rank": position, "within_capacity": within_capacity}, index=table.index).reindex(
        ranking_score.index
    )
    return ranks.astype({"rank": "Int64", "within_capacity": "boolean"})


def sort_key(account_id: pd.Series) -> pd.Series:
    """Key for ordering accounts with equal scores: numbers as numbers, text as text."""
    return account_id if pd.api.types.is_integer_dtype(account_id) else account_id.astype(str)
