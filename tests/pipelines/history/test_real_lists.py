"""Two real sets of dated copies, rebuilt: at each copy the terms that run are the rows of the copy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from renewals.pipelines.history.copy_files import day_of_name
from tests.pipelines.history.extracts import Run, account_for_rows, run_history

pytestmark = pytest.mark.real
FIRST = "2021-06-01"
"""The list of members was broken before."""


def foundation(folder: Path) -> dict[str, dict[str, object]]:
    """Settings of the memberships and of the products that members pay for."""
    members = {"files": str(folder / "members_*.csv"), "key": ["member_id"], "first_day": FIRST}
    prices = {"Platinum": 350_000.0, "Gold": 120_000.0, "Silver": 20_000.0, "Associate": 1_000.0}
    return {
        "members": {"table": "accounts", "columns": {"account_id": "member_id"}, **members},
        "memberships": {
            "table": "contracts",
            "columns": {"account_id": "member_id", "plan": "tier"},
            "constants": {"product": "membership"},
            "value_maps": {"arr": {"column": "tier", "values": prices}},
            "presence": "year",
            **members,
        },
        "products": {
            "table": "contracts",
            "files": str(folder / "products_*.csv"),
            "key": ["member_id", "product"],
            "columns": {"account_id": "member_id"},
            "constants": {"arr": 1000.0},
            "presence": "year",
            "unknown_start": "2021-06-26",
        },
    }


def sponsors(folder: Path) -> dict[str, dict[str, object]]:
    """Settings of the monthly sponsorships."""
    files = {"files": str(folder / "sponsors_*.csv"), "key": ["member_id"]}
    return {
        "sponsors": {"table": "accounts", "columns": {"account_id": "member_id", "channel": "source"}, **files},
        "sponsorships": {
            "table": "contracts",
            "columns": {"account_id": "member_id", "plan": "tier", "arr": "monthly_usd"},
            "constants": {"currency": "USD"},
            "multiply": {"arr": 12},
            "columns_from": {"monthly_usd": "2022-02-01"},
            "presence": "month",
            **files,
        },
    }


def running(run: Run, source: str, day: date) -> pd.DataFrame:
    """Terms of a source that run on a day, as known by its end."""
    rows, now = run.versions(), pd.Timestamp(day)
    rows = rows[(rows["history_source"] == source) & (rows["recorded_at"] <= now)]
    newest = rows.sort_values("recorded_at", kind="stable").groupby("contract_id").tail(1)
    has_ended = (newest["end_date"] <= now) | (newest["cancelled_at"] <= now)
    return newest[(newest["start_date"] <= now) & ~has_ended]


def copies(folder: Path, pattern: str, first: str) -> dict[date, pd.DataFrame]:
    """The copies from a day on."""
    days = {day_of_name(path.name): path for path in sorted(folder.glob(pattern))}
    return {day: pd.read_csv(path) for day, path in days.items() if day is not None and str(day) >= first}


def test_memberships_and_products(shared_data, tmp_path):
    folder = shared_data / "foundation"
    run = run_history(tmp_path, foundation(folder))
    assert run.code == 0, run.output
    for source, pattern in (("memberships", "members_*.csv"), ("products", "products_*.csv")):
        account_for_rows(run[source])
        assert run[source]["unknown_months"] == {}
        for day, rows in copies(folder, pattern, FIRST).items():
            found = running(run, source, day)
            assert sorted(found["account_id"]) == sorted(rows["member_id"])
            if source == "memberships":
                assert found["plan"].value_counts().to_dict() == rows["tier"].value_counts().to_dict()


def test_the_broken_list_of_members_is_a_source_that_stopped(shared_data, tmp_path):
    sources = foundation(shared_data / "foundation")
    sources["memberships"].pop("first_day")
    run = run_history(tmp_path, {"memberships": sources["memberships"]})
    stops = [found["day"] for found in run["memberships"]["findings"] if found["what"] == "stopped"]
    assert stops == ["2020-03-19", "2020-06-30"]
    assert {"2020-06", "2020-12", "2021-03"} <= set(run["memberships"]["unknown_months"])


def test_sponsorships_with_money(shared_data, tmp_path):
    folder = shared_data / "sponsors"
    run = run_history(tmp_path, sponsors(folder))
    assert run.code == 0, run.output
    account_for_rows(run["sponsorships"])
    for day, rows in copies(folder, "sponsors_*.csv", "2021").items():
        found = running(run, "sponsorships", day)
        assert sorted(found["account_id"]) == sorted(rows["member_id"])
        amount = 0.0 if str(day) < "2022-02-01" else 12 * rows["monthly_usd"].sum()
        assert found["arr"].sum() == pytest.approx(amount, abs=0.005)
