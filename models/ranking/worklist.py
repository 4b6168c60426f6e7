"""Who comes first: risk bands, money at risk, the four groups of J5, and a rank cut at capacity (M2).

Values in, values out; nothing here knows a model or a file. What an hour is worth is told by
`models/ranking/expected_value.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pandas as pd

SCORED = "scored"
TOO_LITTLE_HISTORY = "too_little_history"
UNLIKE_TRAINING = "unlike_training"
NOT_SCORED = "not_scored"
"""The row breaks an invariant of the list: a figure, a probability or what is known of the account is impossible."""
STATUSES = (SCORED, TOO_LITTLE_HISTORY, UNLIKE_TRAINING, NOT_SCORED)
RISK_BANDS = ("high", "medium", "low")
QUADRANTS = ("save", "save_and_grow", "grow", "keep")


class PortfolioLimits(Protocol):
    """How many accounts, how much recurring revenue, and how many hours one manager can carry."""

    @property
    def accounts(self) -> int:
        """The most accounts."""

    @property
    def arr(self) -> float:
        """The most recurring revenue."""

    @property
    def hours(self) -> float | None:
        """The most hours; None for any number."""


def score_status(history_days: pd.Series, min_days: int) -> pd.Series:
    """Whether there is enough to score; one row per row given. Unknown history is too little."""
    enough = (history_days >= min_days).fillna(False).to_numpy(bool)
    return pd.Series(np.where(enough, SCORED, TOO_LITTLE_HISTORY), index=history_days.index, dtype=object)


def risk_band(renewal: pd.Series, high: float, medium: float) -> pd.Series:
    """`high`, `medium` or `low` by the probability of loss; empty without a probability; one row per row given."""
    band = np.select([renewal <= 1 - high, renewal <= 1 - medium], ["high", "medium"], "low")
    return pd.Series(band, index=renewal.index, dtype=object).where(renewal.notna(), None)


def arr_at_risk(arr: pd.Series, renewal: pd.Series) -> pd.Series:
    """The recurring revenue lost on average, in the currency of `arr`; one row per row given."""
    return arr * (1 - renewal)


def quadrant(band: pd.Series, expansion: pd.Series, expansion_threshold: float) -> pd.Series:
    """Which of four things to do (J5); empty where either side is unknown; one row per row given.

    High risk: `save_and_grow` where expansion is likely, else `save`. Otherwise `grow` where likely, else `keep`.
    """
    risky, likely = band == "high", expansion >= expansion_threshold
    group = np.select([risky & likely, risky, likely], ["save_and_grow", "save", "grow"], "keep")
    return pd.Series(group, index=band.index, dtype=object).where(band.notna() & expansion.notna(), None)


def rank_accounts(
    ranking_score: pd.Series,
    arr: pd.Series,
    csm: pd.Series,
    account_id: pd.Series,
    portfolio_limits: Callable[[str | None], PortfolioLimits],
    hours: pd.Series | None = None,
    at_risk: pd.Series | None = None,
) -> pd.DataFrame:
    """`rank` within each manager by worth, and whether that is `within_capacity`; one row per row given.

    Accounts of no manager are one portfolio. Equal worth is ordered by what is `at_risk`, then by account id; without
    worth there is no rank. An account is within capacity while the accounts, the revenue and the `hours` up to and with
    it are; a manager's first account always is, however large.
    """
    board = pd.DataFrame({"worth": ranking_score, "arr": arr.fillna(0.0), "csm": csm, "key": sort_key(account_id)})
    board["hours"] = 0.0 if hours is None else hours
    board["at_risk"] = 0.0 if at_risk is None else at_risk.fillna(0.0)
    by = ["worth", "at_risk", "key"]
    board = board[board["worth"].notna()].sort_values(by, ascending=[False, False, True], kind="stable")
    whose, names = pd.factorize(board["csm"], use_na_sentinel=False)
    place, fits = np.zeros(len(board), np.int64), np.zeros(len(board), bool)
    order = np.argsort(whose, kind="stable")
    starts = np.searchsorted(whose[order], np.arange(len(names) + 1))
    for number, name in enumerate(names):
        own = order[starts[number] : starts[number + 1]]
        limit = portfolio_limits(None if pd.isna(name) else str(name))
        place[own] = np.arange(1, len(own) + 1)
        held, spent = (np.cumsum(board[name].to_numpy()[own]) for name in ("arr", "hours"))
        carried = (held <= limit.arr) & (limit.hours is None or spent <= limit.hours)
        fits[own] = (place[own] <= limit.accounts) & (carried | (place[own] == 1))
    ranks = pd.DataFrame({"rank": place, "within_capacity": fits}, index=board.index).reindex(ranking_score.index)
    return ranks.astype({"rank": "Int64", "within_capacity": "boolean"})


def sort_key(account_id: pd.Series) -> pd.Series:
    """What accounts are ordered by where nothing else tells them apart: numbers as numbers, text as text."""
    return account_id if pd.api.types.is_integer_dtype(account_id) else account_id.astype(str)
