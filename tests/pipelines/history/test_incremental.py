"""Only new copies are read; a changed one means that all are read again; the settings are checked."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from renewals.pipelines.commands.history import summary_lines
from tests.pipelines.history.extracts import account_for_rows, members, run_history, source, write_copies

COPIES = {
    "2022-01-31": "A,basic B,pro C,pro D,pro",
    "2022-02-28": "A,pro B,pro C,pro D,pro",
    "2022-03-31": "A,pro B,pro C,pro E,basic",
    "2023-01-31": "A,pro B,pro C,basic D,pro",
}
ROWS = {
    "2022-01-31": "C1,A,2021-01-01,2026-01-01,100,5,basic,2020-12-01 C2,B,2021-01-01,2026-01-01,100,5,basic,2020-12-01",
    "2022-02-28": "C1,A,2021-01-01,2026-01-01,120,6,basic,2020-12-01 C2,B,2021-01-01,2026-01-01,100,5,basic,2020-12-01",
    "2022-03-31": "C1,A,2021-01-01,2026-01-01,120,6,basic,2020-12-01 C3,B,2022-03-01,2026-01-01,100,5,pro,2022-02-21",
    "2023-01-31": "C1,A,2021-01-01,2026-01-01,120,6,pro,2020-12-01 C2,B,2021-01-01,2026-01-01,100,5,basic,2020-12-01",
}


def sources(folder):
    return {"list": members(folder), "crm": source(folder)}


def run(folder, days, *overrides, stopped_share=0.6):
    write_copies(folder, "members", {day: COPIES[day] for day in days})
    write_copies(folder, "contracts", {day: ROWS[day] for day in days})
    return run_history(folder, sources(folder), *overrides, stopped_share=stopped_share)


def test_copy_by_copy_gives_the_same_as_all_at_once(tmp_path):
    at_once = run(tmp_path / "once", COPIES)
    for number, day in enumerate(COPIES, start=1):
        step = run(tmp_path / "steps", [day])
        assert step.code == 0, step.output
        for name in ("list", "crm"):
            assert step[name]["copies"]["read"] == 1
            assert step[name]["copies"]["read_before"] == number - 1
            assert step[name]["rebuilt_because"] is None
            account_for_rows(step[name])
    assert_frame_equal(step.versions(), at_once.versions())
    assert step["crm"]["unknown_months"] == at_once["crm"]["unknown_months"]


def test_without_a_new_copy_nothing_is_read_and_nothing_changes(tmp_path):
    before = run(tmp_path, COPIES)
    written = (before.folder / "contracts.parquet").read_bytes()
    again = run(tmp_path, [])
    assert [again[name]["copies"]["read"] for name in ("list", "crm")] == [0, 0]
    assert again["list"]["versions_written"] == 0
    assert again["list"]["versions_in_all"] == before["list"]["versions_in_all"]
    assert (again.folder / "contracts.parquet").read_bytes() == written


def test_a_changed_old_copy_rebuilds_its_source_and_says_so(tmp_path):
    run(tmp_path, COPIES)
    write_copies(tmp_path, "members", {"2022-02-28": "A,top B,pro C,pro D,pro"})
    again = run_history(tmp_path, sources(tmp_path), stopped_share=0.6)
    assert again["list"]["rebuilt_because"] == "members_2022-02-28.csv changed since it was read"
    assert again["list"]["copies"]["read"] == 4
    assert again["crm"]["copies"]["read"] == 0
    assert "top" in set(again.versions()["plan"])


def test_a_copy_older_than_the_last_one_read_rebuilds_its_source(tmp_path):
    run(tmp_path, [day for day in COPIES if day != "2022-02-28"])
    again = run(tmp_path, ["2022-02-28"])
    reason = "members_2022-02-28.csv is not later than the last copy read (2023-01-31)"
    assert again["list"]["rebuilt_because"] == reason
    assert_frame_equal(again.versions(), run(tmp_path / "other", COPIES).versions())


def test_copies_that_are_gone_keep_their_versions(tmp_path):
    before = run(tmp_path, COPIES)
    (tmp_path / "members_2022-01-31.csv").unlink()
    again = run(tmp_path, [])
    assert again["list"]["copies"]["no_longer_there"] == 1
    assert_frame_equal(again.versions(), before.versions())


def test_copies_that_are_gone_cannot_be_read_again(tmp_path):
    run(tmp_path, COPIES)
    (tmp_path / "members_2022-01-31.csv").unlink()
    again = run(tmp_path, [], stopped_share=0.5)
    assert (again.code, again.result["state"]) == (66, "InputMissing")
    assert "all copies must be read again (the settings changed), but 1 are no longer there" in again.output


def test_other_settings_and_a_damaged_file_mean_that_all_is_read_again(tmp_path):
    run(tmp_path, COPIES)
    again = run(tmp_path, [], stopped_share=0.55)
    assert again["crm"]["rebuilt_because"] == "the settings changed"
    (tmp_path / "tables" / ".history" / "crm" / "rows.parquet").write_bytes(b"")
    again = run(tmp_path, [], stopped_share=0.55)
    assert again["crm"]["rebuilt_because"] == "the files of the last run are damaged"
    assert again["list"]["rebuilt_because"] is None


def test_earlier_copies_than_the_first_day_are_not_read(tmp_path):
    write_copies(tmp_path, "members", COPIES)
    found = run_history(tmp_path, {"list": members(tmp_path, first_day="2022-03-01")}, stopped_share=0.6)
    assert found["list"]["copies"] == {"before_first_day": 2, "no_longer_there": 0, "read": 2, "read_before": 0}
    assert found["list"]["first_copy"] == "2022-03-31"


def test_parquet_copies_and_csv_copies_give_the_same_versions(tmp_path):
    from_csv = run(tmp_path / "csv", COPIES)
    for day in COPIES:
        for kind in ("members", "contracts"):
            write_copies(tmp_path / "text", kind, {day: (COPIES if kind == "members" else ROWS)[day]})
            rows = pd.read_csv(tmp_path / "text" / f"{kind}_{day}.csv")
            for name in {"start_date", "end_date", "signed_at"} & set(rows):
                rows[name] = pd.to_datetime(rows[name])
            rows.to_parquet(tmp_path / f"{kind}_{day}.parquet")
    assert_frame_equal(run_history(tmp_path, sources(tmp_path), stopped_share=0.6).versions(), from_csv.versions())


def test_the_files_of_a_folder_named_by_its_day_are_one_copy(tmp_path):
    for day in ("2022-01-31", "2022-02-28"):
        rows = COPIES[day].split()
        for part in (0, 1):
            folder = tmp_path / f"members_{day}.csv"
            folder.mkdir(exist_ok=True)
            (folder / f"part-{part}.csv").write_text("\n".join(["member,tier", *rows[part::2]]) + "\n")
    settings = members(tmp_path) | {"files": str(tmp_path / "members_*" / "*.csv")}
    found = run_history(tmp_path, {"list": settings})
    assert (found["list"]["rows_read"], found["list"]["rows_set_aside"]) == (8, {})
    assert found["list"]["events"] == {"first_copy": 4, "changed": 1}


def test_rows_with_more_cells_than_the_header_are_refused(tmp_path):
    write_copies(tmp_path, "members", {"2022-01-31": "A,basic,x B,pro,x"})
    found = run_history(tmp_path, {"list": members(tmp_path)})
    assert (found.code, "the rows have more cells than the header" in found.output) == (65, True)


def test_whole_number_ids_stay_numbers_and_a_copy_with_other_ids_is_refused(tmp_path):
    rows = pd.DataFrame({"account_id": [1, 2], "csm": ["Ann", "Bob"]})
    rows.to_parquet(tmp_path / "accounts_2022-01-31.parquet")
    found = run_history(tmp_path, {"crm": source(tmp_path, "accounts")})
    assert found.versions("accounts")["account_id"].tolist() == [1, 1, 2, 2]
    rows.assign(account_id=["x", "y"]).to_parquet(tmp_path / "accounts_2022-02-28.parquet")
    found = run_history(tmp_path, {"crm": source(tmp_path, "accounts")})
    assert (found.code, "account_id has another type in the copy of 2022-02-28" in found.output) == (65, True)


def test_the_report_is_kept_beside_the_tables(tmp_path):
    found = run(tmp_path, COPIES)
    assert json.loads((found.folder / "history.json").read_bytes())["sources"] == found.result["sources"]


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({}, 66, "no CSV or Parquet file"),
        ({"format": "dbt"}, 66, "no CSV or Parquet file"),
        ({"columns": {"colour": "x"}}, 78, "contracts has no column 'colour'"),
        ({"changeable": ["end_date"]}, 78, "end_date cannot be unknown"),
        ({"table": "people", "vanished": "deleted"}, 78, "people have no deleted_at"),
        ({"presence": "year", "vanished": "deleted"}, 78, "presence makes terms"),
        ({"unknown_start": "2020-01-01"}, 78, "set presence: year"),
        ({"columns": {"recorded_at": "_fivetran_synced"}}, 78, "_fivetran_synced is the time of a load"),
        ({"constants": {"arr": 1.0}, "columns": {"arr": "x"}}, 78, "arr is in two of columns"),
        ({"table": "tickets"}, 78, "history.sources.crm.table"),
    ],
)
def test_wrong_settings_end_with_a_message_and_an_exit_code(tmp_path, settings, code, message):
    if "columns" in settings:
        write_copies(tmp_path, "contracts", ROWS)
    found = run_history(
        tmp_path,
        {"crm": source(tmp_path, **settings) if "table" not in settings else {"files": "x", "key": ["y"], **settings}},
    )
    assert found.code == code, found.output
    assert message in found.output


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,account_id,start_date,end_date,arr", "has no column 'contract_id'"),
        ("contract_id,account_id,start_date,ends,arr", "contracts needs end_date"),
    ],
)
def test_a_missing_column_ends_with_a_message(tmp_path, header, message):
    write_copies(tmp_path, "contracts", {"2022-01-31": "C1,A,2021-01-01,2022-01-01,5"}, header)
    found = run_history(tmp_path, {"crm": source(tmp_path)})
    assert (found.code, message in found.output) == (65, True)


def test_without_sources_the_command_says_where_to_name_them(tmp_path):
    found = run_history(tmp_path, {})
    assert (found.code, "history.sources is empty" in found.output) == (78, True)


def test_what_was_noticed_is_said_in_words(tmp_path):
    others = " ".join(f"M{n},basic" for n in range(20))
    copies = {"2022-01-31": f"A,x B,x {others}", "2022-02-28": f"A,x {others}", "2022-03-31": f"A,x B,x {others}"}
    copies |= {"2022-04-30": "A,x B,x", "2022-05-31": others, "2022-06-30": f"C,x D,x E,x {others}"}
    write_copies(tmp_path, "members", copies)
    write_copies(tmp_path, "members", {"2022-06-30T09": f"C,x C,x D,x E,x {others}"})
    found = run_history(tmp_path, {"list": members(tmp_path)}, "quarantine.limit=0.2", reported_share=0.04)
    lines = summary_lines(found.result)
    assert lines == [
        "list: 7 new files (0 read before), 134 rows = 26 with versions + 84 unchanged + 24 set aside; "
        "29 versions written",
        "  23 rows set aside: another copy of the day; the last by name counts",
        "  1 row set aside: the row repeats another one",
        "  2022-02-28: 1 of 22 rows (5%) vanished at once",
        "  2022-03-31: 1 row returned",
        "  2022-04-30: 20 of 22 rows (91%) gone at once: the source stopped; all rows stay as last seen",
        "  2022-05-31: the source runs again; 2 of 22 rows (9%) are still missing and have vanished",
        "  unknown months: 2022-04, 2022-05",
    ]
    assert all(line.strip() in found.output for line in lines)


def test_a_file_without_a_day_in_its_name_is_refused(tmp_path):
    write_copies(tmp_path, "contracts", {"newest": ROWS["2022-01-31"]})
    found = run_history(tmp_path, {"crm": source(tmp_path)})
    assert (found.code, "contracts_newest.csv has no day in its name" in found.output) == (78, True)
