"""Sums and scores of lists whose accounts have several rows, or rows without a renewal date."""

import pandas as pd

from renewals.reports.list_summary import portfolio_loads, summarize_list
from renewals.reports.risk_list import build_risk_list
from renewals.reports.settings import ListOptions
from tests.reports.books import open_workbook
from tests.reports.small_list import MODELS, make_list, not_due, observations, parts_of, second_renewal


def test_row_that_breaks_an_invariant_has_no_expansion_score():
    tables = parts_of(observations(), expansion=0.5)
    tables[0].loc[0, "stage"] = "limbo"
    row = build_risk_list(*tables, MODELS, ListOptions()).rows.set_index("account_id").loc["a0"]
    assert row["status"] == "not_scored"
    assert pd.isna(row["expansion_probability"])


def test_revenue_of_a_broken_row_with_nothing_due_is_not_due():
    rows = pd.concat([observations().iloc[:5], not_due(observations().iloc[5:])], ignore_index=True)
    tables = parts_of(rows)
    tables[0].loc[5, "stage"] = "limbo"
    listed = build_risk_list(*tables, MODELS, ListOptions()).rows
    assert summarize_list(listed, ListOptions())["arr"] == 15_000


def test_accounts_within_capacity_are_no_more_than_the_accounts():
    rows = observations(("acme", "beta"))
    rows = pd.concat([rows, second_renewal(rows.head(1))], ignore_index=True)
    for manager in portfolio_loads(make_list(rows), ListOptions()):
        assert manager["fits"] <= manager["accounts"]


def test_list_with_nothing_due_says_so():
    sheet = open_workbook(make_list(not_due(observations())))["Summary"]
    assert sheet["A2"].value == "No renewal is in sight."
