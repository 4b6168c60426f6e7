"""What a list comes to beside the list before it."""

from datetime import date

import numpy as np
import pandas as pd

from renewals.reports.list_summary import MAX_DECREASES, compare_lists, portfolio_loads
from renewals.reports.settings import Capacity, ListOptions
from tests.reports.small_list import make_list, observations

MAY = date(2026, 5, 1)


def test_what_changed_since_the_last_list():
    """Acme fell into high risk, beta left it, fresh is new, and old is gone."""
    listed = make_list(observations(("acme", "beta", "gamma", "fresh")), renewal=[0.5, 0.7, 0.9, 0.8])
    change = {"a0": -0.4, "a1": 0.3, "a2": -0.05, "a3": np.nan}
    listed["probability_change"] = listed["account_id"].map(change)
    then = pd.DataFrame({"account_id": ["a0", "a1", "a2", "old"], "renewal_probability": [0.9, 0.4, 0.8, 0.5]})
    found = compare_lists(listed, MAY, then, ListOptions())
    assert (found.previous_day, found.rose, found.fell, found.new, found.gone) == (MAY, 1, 1, 1, 1)
    assert found.band_changes.set_index("risk_band").T.to_dict() == {
        "high": {"then": 1, "came": 1, "left": 1, "now": 1},
        "medium": {"then": 1, "came": 1, "left": 1, "now": 1},
        "low": {"then": 1, "came": 1, "left": 1, "now": 1},
    }
    assert found.largest_decreases["account_name"].tolist() == ["acme", "gamma"]
    assert found.largest_decreases["then"].round(6).tolist() == [0.9, 0.95]


def test_accounts_that_one_list_did_not_score_move_between_no_bands(listed: pd.DataFrame):
    then = pd.DataFrame({"account_id": ["a0", "a1", "a4"], "renewal_probability": [np.nan, 0.9, 0.9]})
    bands = compare_lists(listed, MAY, then, ListOptions()).band_changes
    assert bands["then"].sum() == bands["now"].sum() == 1, "a0 had no score then, a4 has none now"


def test_the_largest_falls_come_first_and_are_few():
    listed = make_list(observations(tuple(f"account {n}" for n in range(9))))
    listed["probability_change"] = [-0.1 * n for n in range(9)]
    then = pd.DataFrame({"account_id": [], "renewal_probability": []}, dtype=object)
    falls = compare_lists(listed, MAY, then.astype({"renewal_probability": float}), ListOptions()).largest_decreases
    assert len(falls) == MAX_DECREASES
    assert falls["probability_change"].is_monotonic_increasing
    assert falls["probability_change"].iloc[0] == listed["probability_change"].min()


def test_numbers_for_ids_are_the_same_account_in_both_lists():
    listed = make_list(observations().assign(account_id=[1, 2, 3, 4, 5, 6]))
    then = pd.DataFrame({"account_id": [1, 2, 3, 4, 5, 7], "renewal_probability": 0.5})
    found = compare_lists(listed, MAY, then, ListOptions())
    assert (found.new, found.gone) == (1, 1)


def test_a_portfolio_is_measured_by_the_fuller_of_two(listed: pd.DataFrame):
    options = ListOptions(capacity=Capacity(accounts=6, arr=6_000.0))
    told = {one["name"]: one for one in portfolio_loads(listed, options)}
    assert {name: one["load"] for name, one in told.items()} == {"ann": 2.0, "li": 1.5}
    assert told["ann"]["arr"] == 12_000
