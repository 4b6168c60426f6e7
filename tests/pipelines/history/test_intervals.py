"""dbt snapshots, Fivetran history mode and dlt SCD2 give the versions that daily copies would have given."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.pipelines.history.extracts import account_for_rows, run_history, source

KEPT = [(f"K{n}", "K", 10.0, "2024-01-10T08:00:00Z", None) for n in range(8)]
"""Contracts that stay."""
STATES = [
    ("C1", "A", 100.0, "2024-01-10T08:00:00Z", "2024-02-05T09:00:00Z"),
    ("C1", "A", 120.0, "2024-02-05T09:00:00Z", None),
    ("C2", "B", 300.0, "2024-01-20T08:00:00Z", "2024-02-20T08:00:00Z"),
    ("C2", "B", 300.0, "2024-03-20T08:00:00Z", None),
    ("C3", "C", 500.0, "2024-02-01T06:00:00Z", "2024-02-01T18:00:00Z"),
    ("C3", "C", 550.0, "2024-02-01T18:00:00Z", None),
    *KEPT,
]
"""Contract, account, amount, and from when until when it was so."""
VERSIONS = [
    "C1 2023-01-01 - - before_first_copy",
    "C1 2023-01-01 2024-01-10 100 first_copy",
    "C1 2023-01-01 2024-02-05 120 changed",
    "C2 2023-01-01 2024-01-20 300 new",
    "C2 2023-01-01 2024-02-20 300 ended",
    "C2 2024-03-20 2024-03-20 300 returned",
    "C3 2023-01-01 2024-02-01 550 new",
]


def frame(kind: str, states=STATES) -> pd.DataFrame:
    """The states as the tool writes them."""
    rows = pd.DataFrame(states, columns=["contract_id", "account_id", "arr", "first", "last"])
    first, last = pd.to_datetime(rows["first"]), pd.to_datetime(rows["last"])
    rows = rows[["contract_id", "account_id", "arr"]].assign(
        start_date=pd.Timestamp(2023, 1, 1), end_date=pd.Timestamp(2030, 1, 1)
    )
    if kind == "fivetran":
        never = pd.Timestamp(9999, 12, 31, tz="UTC").as_unit("us")
        ends = last.dt.as_unit("us").fillna(never)
        return rows.assign(
            _fivetran_start=first, _fivetran_end=ends, _fivetran_active=last.isna(), _fivetran_synced=first
        )
    names = {"dbt": ("dbt_valid_from", "dbt_valid_to"), "dlt": ("_dlt_valid_from", "_dlt_valid_to")}[kind]
    return rows.assign(**dict(zip(names, (first, last), strict=True)))


def history(tmp_path, rows: pd.DataFrame, kind: str, **settings):
    tmp_path.mkdir(exist_ok=True)
    rows.to_parquet(tmp_path / "contracts_history.parquet")
    run = run_history(tmp_path, {"crm": source(tmp_path, format=kind, **settings)})
    assert run.code == 0, run.output
    account_for_rows(run["crm"])
    return run


def shown(run) -> list[str]:
    rows = run.shown("contract_id", "start_date", "recorded_at", "arr", "history_event")
    return [row for row in rows if not row.startswith("K")]


@pytest.mark.parametrize("kind", ["dbt", "fivetran", "dlt"])
def test_the_history_of_a_tool_becomes_versions(tmp_path, kind):
    run = history(tmp_path, frame(kind), kind)
    assert shown(run) == VERSIONS
    assert run["crm"]["rows_set_aside"] == {"replaced by the end of the day from which it held": 1}
    assert run["crm"]["rows_read"] == len(STATES)


def test_a_record_of_a_deletion_is_no_row(tmp_path):
    rows = frame("dbt")
    rows["dbt_is_deleted"] = "False"
    ended = rows["dbt_valid_to"].notna() & (rows["contract_id"] == "C2")
    record = rows[ended].assign(
        dbt_is_deleted="True", dbt_valid_from=rows["dbt_valid_to"], dbt_valid_to=rows["dbt_valid_from"].max()
    )
    run = history(tmp_path, pd.concat([rows, record], ignore_index=True), "dbt")
    assert shown(run) == VERSIONS
    assert run["crm"]["rows_set_aside"]["the record of a deletion"] == 1


def test_rows_that_held_on_the_day_of_the_first_snapshot_are_those_of_the_first_copy(tmp_path):
    """With the strategy `timestamp`, dbt dates a row by its last change, perhaps long before the first snapshot."""
    run = history(tmp_path, frame("dbt"), "dbt", first_day="2024-01-31")
    assert shown(run)[2:5] == [
        "C1 2023-01-01 2024-02-05 120 changed",
        "C2 2023-01-01 - - before_first_copy",
        "C2 2023-01-01 2024-01-31 300 first_copy",
    ]


@pytest.mark.parametrize("kind", ["dbt", "fivetran", "dlt"])
@pytest.mark.parametrize("until", ["2024-02-03", "2024-02-10", "2024-03-01", "2024-04-01"])
def test_the_history_up_to_a_day_is_that_of_all_cut_on_it(tmp_path, kind, until):
    known = [(*row[:4], row[4] if row[4] is not None and row[4] < until else None) for row in STATES if row[3] < until]
    early = history(tmp_path / "early", frame(kind, known), kind).versions()
    late = history(tmp_path / "late", frame(kind), kind).versions()
    cut = late[late["recorded_at"].isna() | (late["recorded_at"] < until)].reset_index(drop=True)
    columns = ["contract_id", "start_date", "recorded_at", "valid_from", "arr", "history_event"]
    pd.testing.assert_frame_equal(cut[columns], early[columns])


def test_a_source_that_ends_most_rows_at_once_has_stopped(tmp_path):
    states = [(*row[:4], row[4] or ("2024-05-01T00:00:00Z" if row[0] != "C1" else None)) for row in STATES]
    run = history(tmp_path, frame("fivetran", states), "fivetran")
    assert run["crm"]["has_stopped"]
    assert run["crm"]["findings"][-1]["missing"] == 10


def test_a_missing_column_of_the_tool_is_named(tmp_path):
    frame("dlt").drop(columns="_dlt_valid_to").to_parquet(tmp_path / "contracts_history.parquet")
    run = run_history(tmp_path, {"crm": source(tmp_path, format="dlt")})
    assert (run.code, "has no column '_dlt_valid_to', which dlt writes" in run.output) == (65, True)


def test_a_history_file_that_changed_is_read_again(tmp_path):
    history(tmp_path, frame("dbt", STATES[:-8] + KEPT[:7]), "dbt")
    run = history(tmp_path, frame("dbt"), "dbt")
    assert run["crm"]["rebuilt_because"] == "contracts_history.parquet changed since it was read"
    assert shown(run) == VERSIONS


def test_what_ended_while_the_source_had_stopped_has_vanished_when_it_runs_again(tmp_path):
    states = [(*row[:4], row[4] or ("2024-05-01T00:00:00Z" if row[0] not in ("C1", "K1") else None)) for row in STATES]
    states += [(f"N{n}", "N", 1.0, "2024-05-20T00:00:00Z", None) for n in range(8)]
    run = history(tmp_path, frame("dbt", states), "dbt")
    assert [found["what"] for found in run["crm"]["findings"]][-2:] == ["stopped", "resumed"]
    rows = run.shown("contract_id", "cancelled_at", "history_event")
    assert [row.split()[0] for row in rows if row.endswith("2024-05-20 ended")] == [
        "C2",
        "C3",
        "K0",
        "K2",
        "K3",
        "K4",
        "K5",
        "K6",
        "K7",
    ]


def test_an_end_in_the_far_future_is_none(tmp_path):
    rows = frame("dlt")
    rows["_dlt_valid_to"] = (
        rows["_dlt_valid_to"].dt.as_unit("us").fillna(pd.Timestamp(9999, 12, 31, tz="UTC").as_unit("us"))
    )
    assert shown(history(tmp_path, rows, "dlt")) == VERSIONS
