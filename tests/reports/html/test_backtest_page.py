"""Page of the backtest: tables and charts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewals.reports.html.backtest_page import _capacity_section
from renewals.reports.html.line_chart import build_charts
from renewals.reports.words import Messages

MODEL = {"recall": 1.0, "arr_share_listed": 1.0, "recall_early": 0.5}
MANAGER = {"csm": "Anna", "rows": 3, "lost_arr": 10.0, "recall": 1.0, "recall_early": 0.5, "accounts_listed": 1.0}
RANKING = MODEL | {"in_time_recall": 1.0, "in_time_recall_early": 0.25}
CAPACITY = {
    **{"lists": 2, "lost_arr": 10.0, "lost_arr_in_time": 4.0, "decided_days": 30, "accounts_listed": 1.0},
    **{"models": {"model": MODEL}, "managers": [MANAGER], "rankings": {"expected_gain": RANKING}},
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_tables_omit_recall_if_every_list_fits(language):
    messages = Messages(language)
    all_fit = _capacity_section({"capacity": CAPACITY, "currency": "USD"}, messages)
    assert [table.rows[0][1:] for table in all_fit.tables] == [["50.0%"], ["3", "10", "50.0%"], ["50.0%", "25.0%"]]
    cut = _capacity_section({"capacity": CAPACITY | {"accounts_listed": 0.5}, "currency": "USD"}, messages)
    assert [len(table.rows[0]) for table in cut.tables] == [4, 6, 5]
    assert all_fit.notes != cut.notes


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_axis_has_one_to_six_ticks_between_its_ends(low, width):
    (chart,) = build_charts({"model": [(low, low), (low + width, low + width)]}, "across", "upward")
    for ticks in (chart.x_ticks, chart.y_ticks):
        assert 1 <= len(ticks) <= 6
        assert all(-0.1 <= position <= 420 for position, _ in ticks)


def test_axis_that_ends_on_a_round_number_shows_it():
    (chart,) = build_charts({"model": [(0.0, 0.0), (1.0, 1.0)]}, "across", "upward")
    assert [name for _, name in chart.x_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
