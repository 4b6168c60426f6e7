"""Sum up a list, and compare it with the previous list."""

from datetime import date

import numpy as np
import pandas as pd

from renewals.reports.list_summary import MAX_DECREASES, compare_lists, due_rows, portfolio_loads, summarize_list
from renewals.reports.settings import Capacity, ListOptions
from tests.reports.small_list import make_list, not_due, observations, previous, second_renewal

MAY = date(2026, 5, 1)


def test_comparison_counts_the_changes_since_the_previous_list():
    """Acme moved to high risk, beta left it, fresh is new, and old is gone."""
    listed = make_list(observations(("acme", "beta", "gamma", "fresh")), renewal=[0.5, 0.7, 0.9, 0.8])
    change = {"a0": -0.4, "a1": 0.3, "a2": -0.05, "a3": np.nan}
    listed["probability_change"] = listed["account_id"].map(change)
    then = previous(["a0", "a1", "a2", "old"], [0.9, 0.4, 0.8, 0.5])
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
    then = previous(["a0", "a1", "a4"], [np.nan, 0.9, 0.9])
    bands = compare_lists(listed, MAY, then, ListOptions()).band_changes
    assert bands["then"].sum() == bands["now"].sum() == 1, "a0 had no score then, a4 has none now"


def test_largest_decreases_are_sorted_and_limited():
    listed = make_list(observations(tuple(f"account {n}" for n in range(9))))
    listed["probability_change"] = [-0.1 * n for n in range(9)]
    decreases = compare_lists(listed, MAY, previous([], []), ListOptions()).largest_decreases
    assert len(decreases) == MAX_DECREASES
    assert decreases["probability_change"].is_monotonic_increasing
    assert decreases["probability_change"].iloc[0] == listed["probability_change"].min()


def test_integer_ids_match_in_both_lists():
    listed = make_list(observations(ids=[1, 2, 3, 4, 5, 6]))
    comparison = compare_lists(listed, MAY, previous([1, 2, 3, 4, 5, 7], [0.5] * 6), ListOptions())
    assert (comparison.new, comparison.gone) == (1, 1)
    assert comparison.band_changes["then"].sum() == 5


def test_each_renewal_is_compared_with_itself_and_customers_are_counted_once():
    """Acme's first renewal left the high band and its second entered it; beta is new, old is gone with both of its."""
    rows = observations(("acme", "beta"))
    rows = pd.concat([rows, second_renewal(rows.head(1))], ignore_index=True)
    listed = make_list(rows, renewal=[0.9, 0.5, 0.5])
    then = previous(["a0", "a0", "old", "old"], [0.5, 0.9, 0.9, 0.9], ["2026-09-01", "2026-10-01"] * 2)
    comparison = compare_lists(listed, MAY, then, ListOptions())
    assert (comparison.new, comparison.gone) == (1, 1)
    assert comparison.band_changes.set_index("risk_band").loc["high"].tolist() == [1, 1, 1, 1]
    assert comparison.band_changes["now"].sum() == 2


# --- totals -------------------------------------------------------------------------------------------


def list_of_every_kind() -> pd.DataFrame:
    """Acme with two renewals, beta and gamma with one, and quiet, who pays 4 000, with nothing due.

    Of gamma 3 000 falls due, out of 9 000.
    """
    rows = observations(("acme", "beta", "gamma", "quiet"))
    rows["account_arr"] = [1500.0, 2000.0, 9000.0, 4000.0]
    parts = [rows.iloc[:3], second_renewal(rows.iloc[:1]), not_due(rows.iloc[3:])]
    rows = pd.concat(parts, ignore_index=True)
    return make_list(rows.assign(csm=["li", "ann", "ann", "li", "ann"]), renewal=[0.5, 0.9, 0.9, 0.5, 0.5])


def test_revenue_is_what_falls_due_and_each_customer_counts_once():
    listed = list_of_every_kind()
    summary = summarize_list(listed, ListOptions())
    assert (summary["customers"], summary["customers_arr"]) == (4, 1500 + 2000 + 9000 + 4000)
    assert (summary["arr"], summary["arr_at_risk"]) == (1000 + 500 + 2000 + 3000, 500 + 250 + 200 + 300)
    assert summary["scored"] == 4
    assert set(due_rows(listed)["account_id"]) == {"a0", "a1", "a2"}


def test_parts_of_the_summary_leave_out_what_is_not_due_and_count_an_account_once():
    summary = summarize_list(list_of_every_kind(), ListOptions())
    months = [(month["month"], month["accounts"], month["arr"]) for month in summary["months"]]
    assert months == [("2026-09", 3, 6000), ("2026-10", 1, 500)]
    bands = {band["risk_band"]: (band["accounts"], band["arr"]) for band in summary["bands"]}
    assert bands == {"high": (1, 1500), "medium": (0, 0), "low": (2, 5000)}
    managers = [(manager["name"], manager["accounts"], manager["arr"]) for manager in summary["managers"]]
    assert managers == [("ann", 2, 5000), ("li", 1, 1500)]


def test_list_with_nothing_due_has_customers_and_no_revenue():
    listed = make_list(not_due(observations()))
    summary = summarize_list(listed, ListOptions())
    assert (summary["customers"], summary["customers_arr"]) == (6, 21_000)
    assert (summary["arr"], summary["arr_at_risk"], summary["scored"]) == (0, 0, 0)
    assert summary["months"] == summary["managers"] == portfolio_loads(listed, ListOptions()) == []
    assert [band["accounts"] for band in summary["bands"]] == [0, 0, 0]


def test_portfolio_load_is_the_larger_of_two_shares(listed: pd.DataFrame):
    options = ListOptions(capacity=Capacity(accounts=6, arr=6_000.0))
    loads = {one["name"]: one for one in portfolio_loads(listed, options)}
    assert {name: one["load"] for name, one in loads.items()} == {"ann": 2.0, "li": 1.5}
    assert loads["ann"]["arr"] == 12_000
