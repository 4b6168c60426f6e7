"""Compare a list with the previous list."""

from datetime import date

import numpy as np
import pandas as pd

from renewals.reports.list_summary import MAX_DECREASES, compare_lists, portfolio_loads
from renewals.reports.settings import Capacity, ListOptions
from tests.reports.small_list import make_list, observations

MAY = date(2026, 5, 1)


def test_comparison_counts_the_changes_since_the_previous_list():
    """Acme moved to high risk, beta left it, fresh is new, and old is gone."""
    listed = make_list(observations(("acme", "beta", "gamma", "fresh")), renewal=[0.5, 0.7, 0.9, 0.8])
    change = {"a0": -0.4, "a1": 0.3, "a2": -0.05, "a3": np.nan}
    listed["probability_change"] = listed["account_id"].map(change)
    then = pd.DataFrame({"account_id": ["a0", "a1", "a2", "old"], "renewal_probability": [0.9, 0.4, 0.8, 0.5]})
    comparison = compare_lists(listed, MAY, then, ListOptions())
    assert (comparison.previous_day, comparison.rose, comparison.fell, comparison.new, comparison.gone) == (
        MAY,
        1,
        1,
        1,
        1,
    )
    assert comparison.band_changes.set_index("risk_band").T.to_dict() == {
        "high": {"then": 1, "came": 1, "left": 1, "now": 1},
        "medium": {"then": 1, "came": 1, "left": 1, "now": 1},
        "low": {"then": 1, "came": 1, "left": 1, "now": 1},
    }
    assert comparison.largest_decreases["account_name"].tolist() == ["acme", "gamma"]
    assert comparison.largest_decreases["then"].round(6).tolist() == [0.9, 0.95]


def test_accounts_without_a_score_in_one_list_change_no_band(listed: pd.DataFrame):
    then = pd.DataFrame({"account_id": ["a0", "a1", "a4"], "renewal_probability": [np.nan, 0.9, 0.9]})
    bands = compare_lists(listed, MAY, then, ListOptions()).band_changes
    assert bands["then"].sum() == bands["now"].sum() == 1, "a0 had no score then, a4 has none now"


def test_largest_decreases_are_sorted_and_limited():
    listed = make_list(observations(tuple(f"account {n}" for n in range(9))))
    listed["probability_change"] = [-0.1 * n for n in range(9)]
    then = pd.DataFrame({"account_id": [], "renewal_probability": []}, dtype=object)
    decreases = compare_lists(listed, MAY, then.astype({"renewal_probability": float}), ListOptions()).largest_decreases
    assert len(decreases) == MAX_DECREASES
    assert decreases["probability_change"].is_monotonic_increasing
    assert decreases["probability_change"].iloc[0] == listed["probability_change"].min()


def test_integer_ids_match_in_both_lists():
    listed = make_list(observations().assign(account_id=[1, 2, 3, 4, 5, 6]))
    then = pd.DataFrame({"account_id": [1, 2, 3, 4, 5, 7], "renewal_probability": 0.5})
    comparison = compare_lists(listed, MAY, then, ListOptions())
    assert (comparison.new, comparison.gone) == (1, 1)


def test_portfolio_load_is_the_larger_of_two_shares(listed: pd.DataFrame):
    options = ListOptions(capacity=Capacity(accounts=6, arr=6_000.0))
    loads = {one["name"]: one for one in portfolio_loads(listed, options)}
    assert {name: one["load"] for name, one in loads.items()} == {"ann": 2.0, "li": 1.5}
    assert loads["ann"]["arr"] == 12_000
