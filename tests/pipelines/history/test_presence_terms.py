"""Lists of who is there become terms, cut at each anniversary or each first of a month."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from renewals.pipelines.history.periods import boundary, last_boundary
from tests.pipelines.history.extracts import account_for_rows, members, run_history, write_copies

OTHERS = " ".join(f"K{n},basic" for n in range(9))
"""Members who stay, so that one less is no source that stopped."""


def history(tmp_path: Path, copies: dict[str, str], period: str = "year", **settings):
    write_copies(tmp_path, "members", {day: f"{rows} {OTHERS}" for day, rows in copies.items()})
    run = run_history(tmp_path, {"list": members(tmp_path, period, **settings)})
    assert run.code == 0, run.output
    account_for_rows(run["list"])
    return run


def terms(run, *columns: str) -> list[str]:
    """Versions of the terms of member A."""
    rows = run.shown("account_id", "start_date", "end_date", "cancelled_at", "recorded_at", *columns)
    return [row.removeprefix("A ") for row in rows if row.startswith("A ")]


def test_a_stretch_is_cut_at_each_anniversary(tmp_path):
    copies = dict.fromkeys(
        ("2022-01-31", "2022-02-28", "2022-12-31", "2023-02-28", "2023-03-31", "2024-02-29"), "A,basic"
    )
    run = history(tmp_path, {"2021-12-31": ""} | copies)
    assert terms(run) == [
        "2022-01-31 2023-01-31 - 2022-01-31",
        "2023-01-31 2024-01-31 - 2023-02-28",
        "2024-01-31 2025-01-31 - 2024-02-29",
    ]


def test_each_term_is_a_contract_and_the_stretch_is_its_subscription(tmp_path):
    run = history(tmp_path, {"2021-12-31": "", "2022-01-31": "A,basic", "2023-01-31": "A,basic"})
    assert terms(run, "contract_id", "subscription_id")[1].split()[4:] == ["list:A:2023-01-31", "list:A:2022-01-31"]


def test_who_is_missing_soon_after_an_anniversary_did_not_renew_on_it(tmp_path):
    """The copy of February was taken after the anniversary and still had the member: that term never ran."""
    copies = {"2021-12-31": "", "2022-01-31": "A,basic", "2023-02-28": "A,basic", "2023-04-30": ""}
    assert terms(history(tmp_path, copies)) == [
        "2022-01-31 2023-01-31 - 2022-01-31",
        "2023-01-31 2024-01-31 - 2023-02-28",
        "2023-01-31 2024-01-31 2023-01-31 2023-04-30",
    ]


def test_who_is_missing_at_the_first_copy_after_an_anniversary_did_not_renew(tmp_path):
    copies = {"2021-12-31": "", "2022-01-31": "A,basic", "2023-01-30": "A,basic", "2023-02-28": ""}
    assert terms(history(tmp_path, copies)) == ["2022-01-31 2023-01-31 - 2022-01-31"]


@pytest.mark.parametrize(("missed", "end"), [("2023-05-01", "2023-01-31"), ("2023-05-02", "2023-05-02")])
def test_more_than_90_days_after_an_anniversary_the_term_ends_on_the_day_it_was_missed(tmp_path, missed, end):
    copies = {"2021-12-31": "", "2022-01-31": "A,basic", "2023-03-31": "A,basic", missed: ""}
    assert terms(history(tmp_path, copies))[-1] == f"2023-01-31 2024-01-31 {end} {missed}"


def test_who_is_missing_in_the_first_year_left_on_that_day(tmp_path):
    copies = {"2021-12-31": "", "2022-01-31": "A,basic", "2022-02-28": ""}
    assert terms(history(tmp_path, copies))[-1] == "2022-01-31 2023-01-31 2022-02-28 2022-02-28"


def test_members_of_the_first_copy_have_an_unknown_start_and_no_renewal(tmp_path):
    run = history(tmp_path, {"2022-01-31": "A,basic", "2023-03-31": "A,basic", "2023-04-30": ""})
    assert terms(run) == ["2022-01-31 - - 2022-01-31", "2022-01-31 - 2023-04-30 2023-04-30"]


def test_the_start_of_the_first_copy_may_be_given(tmp_path):
    run = history(tmp_path, {"2022-01-31": "A,basic"}, unknown_start="2020-06-30")
    assert terms(run) == ["2020-06-30 - - 2022-01-31"]


def test_who_returns_begins_a_new_stretch(tmp_path):
    copies = {"2021-12-31": "", "2022-01-31": "A,basic", "2022-02-28": "", "2022-06-30": "A,pro"}
    run = history(tmp_path, copies)
    assert terms(run, "plan", "history_event", "subscription_id")[-1] == (
        "2022-06-30 2023-06-30 - 2022-06-30 pro returned list:A:2022-06-30"
    )


def test_another_tier_changes_the_running_term_and_a_new_term_has_the_new_tier(tmp_path):
    copies = {"2021-12-31": "", "2022-01-31": "A,basic", "2022-06-30": "A,pro", "2023-01-31": "A,gold"}
    assert terms(history(tmp_path, copies), "plan", "history_event") == [
        "2022-01-31 2023-01-31 - 2022-01-31 basic new",
        "2022-01-31 2023-01-31 - 2022-06-30 pro changed",
        "2023-01-31 2024-01-31 - 2023-01-31 gold term",
    ]


def test_monthly_terms_are_calendar_months_and_months_without_a_copy_have_the_values_last_seen(tmp_path):
    copies = {"2022-01-20": "", "2022-02-21": "A,basic", "2022-05-10": "A,pro", "2022-06-30": ""}
    assert terms(history(tmp_path, copies, "month"), "plan") == [
        "2022-02-21 2022-03-01 - 2022-02-21 basic",
        "2022-03-01 2022-04-01 - 2022-05-10 basic",
        "2022-04-01 2022-05-01 - 2022-05-10 basic",
        "2022-05-01 2022-06-01 - 2022-05-10 pro",
    ]


def test_a_month_in_which_someone_was_seen_and_then_missed_never_ran(tmp_path):
    copies = {"2022-01-20": "", "2022-02-21": "A,basic", "2022-03-10": "A,basic", "2022-03-31": ""}
    assert terms(history(tmp_path, copies, "month"))[-1] == "2022-03-01 2022-04-01 2022-03-01 2022-03-31"


def test_amounts_a_month_become_amounts_a_year_and_prices_follow_the_tier(tmp_path):
    copies = {"2021-12-31": "", "2022-01-31": "A,pro"}
    prices = {"arr": {"column": "tier", "values": {"pro": 20.0, "basic": 5.0}}}
    run = history(tmp_path, copies, "month", constants={}, value_maps=prices, multiply={"arr": 12})
    assert terms(run, "arr") == ["2022-01-31 2022-02-01 - 2022-01-31 240"]


@pytest.mark.parametrize(
    ("period", "stretch", "number", "start"),
    [
        ("year", "2024-02-29", 1, "2025-02-28"),
        ("year", "2024-02-29", 4, "2028-02-29"),
        ("month", "2024-01-31", 0, "2024-01-31"),
        ("month", "2024-01-31", 1, "2024-02-01"),
        ("month", "2024-11-30", 3, "2025-02-01"),
    ],
)
def test_a_boundary_and_the_number_of_its_term_agree(period, stretch, number, start):
    days = np.array([stretch], "datetime64[D]")
    found = boundary(period, days, number)
    assert str(found[0]) == start
    assert last_boundary(period, days, found[0])[0] == number
    assert number == 0 or last_boundary(period, days, found[0] - 1)[0] == number - 1
