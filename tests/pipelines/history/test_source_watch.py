"""Rows that vanish, and sources that stop: by the share that is gone at once."""

from __future__ import annotations

import pytest

from tests.pipelines.history.extracts import account_for_rows, members, run_history, source, write_copies

FULL = [f"C{n:03d},A{n},2020-01-01,2030-01-01,100,5,basic,2019-12-01" for n in range(100)]


def contracts(tmp_path, copies, **rules):
    write_copies(tmp_path, "contracts", {day: " ".join(rows) for day, rows in copies.items()})
    run = run_history(tmp_path, {"crm": source(tmp_path)}, **rules)
    assert run.code == 0, run.output
    account_for_rows(run["crm"])
    return run["crm"], run


@pytest.mark.parametrize(
    ("share", "ended", "finding"), [(3, 3, None), (8, 8, "many_vanished"), (20, 20, "many_vanished")]
)
def test_up_to_30_percent_have_vanished_and_from_5_percent_it_is_reported(tmp_path, share, ended, finding):
    report, _ = contracts(tmp_path, {"2024-01-31": FULL, "2024-02-29": FULL[share:]})
    assert report["events"].get("ended", 0) == ended
    assert [found["what"] for found in report["findings"]] == ([finding] if finding else [])
    assert report["unknown_months"] == {}
    assert not report["has_stopped"]


@pytest.mark.parametrize("share", [60, 99])
def test_above_30_percent_the_source_stopped_and_all_rows_stay_as_last_seen(tmp_path, share):
    report, _ = contracts(tmp_path, {"2024-01-31": FULL, "2024-02-29": FULL[share:]})
    assert "ended" not in report["events"]
    assert report["findings"] == [
        {"what": "stopped", "day": "2024-02-29", "missing": share, "of": 100, "share": share / 100}
    ]
    assert report["unknown_months"] == {"2024-02": "the source had stopped"}
    assert report["has_stopped"]


@pytest.mark.parametrize(("share", "stopped"), [(30, False), (31, True)])
def test_the_limit_itself_is_no_stop(tmp_path, share, stopped):
    report, _ = contracts(tmp_path, {"2024-01-31": FULL, "2024-02-29": FULL[share:]})
    assert report["has_stopped"] is stopped


def test_what_is_missing_when_the_source_runs_again_has_vanished_then(tmp_path):
    copies = {"2024-01-31": FULL, "2024-02-29": FULL[60:], "2024-03-31": FULL[59:], "2024-04-30": FULL[2:]}
    report, run = contracts(tmp_path, copies)
    assert report["events"]["ended"] == 2
    assert set(run.versions().query("history_event == 'ended'")["recorded_at"].astype(str)) == {"2024-04-30"}
    assert sorted(report["unknown_months"]) == ["2024-02", "2024-03", "2024-04"]
    assert [found["what"] for found in report["findings"]] == ["stopped", "resumed"]
    assert not report["has_stopped"]


def test_new_and_changed_rows_of_a_source_that_stopped_are_booked(tmp_path):
    more = FULL[0].replace(",100,", ",150,")
    new = "N,A,2024-02-01,2030-01-01,100,5,basic,2024-02-01"
    report, _ = contracts(tmp_path, {"2024-01-31": FULL, "2024-02-29": [more, *FULL[61:], new]})
    assert (report["events"]["changed"], report["events"]["new"]) == (1, 1)


def test_a_list_that_never_has_the_old_rows_again_runs_again_once_it_is_as_long(tmp_path):
    others = [row.replace("C", "D", 1) for row in FULL]
    copies = {"2024-01-31": FULL, "2024-02-29": others[:20], "2024-03-31": others[:69], "2024-04-30": others[:70]}
    report, _ = contracts(tmp_path, copies)
    assert report["findings"][-1] == {
        "what": "resumed",
        "day": "2024-04-30",
        "missing": 100,
        "of": 169,
        "share": 0.5917,
    }
    assert report["events"]["ended"] == 100


def test_limits_are_settings(tmp_path):
    report, _ = contracts(tmp_path, {"2024-01-31": FULL, "2024-02-29": FULL[8:]}, stopped_share=0.05)
    assert report["has_stopped"]


def test_months_without_a_copy_are_unknown(tmp_path):
    report, _ = contracts(tmp_path, {"2024-01-31": FULL, "2024-04-30": FULL})
    assert report["unknown_months"] == {"2024-02": "there is no copy", "2024-03": "there is no copy"}


def test_terms_by_presence_go_on_while_the_source_has_stopped(tmp_path):
    everybody = " ".join(f"M{n},basic" for n in range(10))
    copies = {"2021-12-31": "Z,basic", "2022-01-31": f"Z,basic {everybody}", "2023-01-31": "Z,basic"}
    write_copies(tmp_path, "members", copies)
    run = run_history(tmp_path, {"list": members(tmp_path)})
    account_for_rows(run["list"])
    held = run.versions().query("account_id == 'M1'")
    assert held["start_date"].dt.year.tolist() == [2022, 2023]
    assert held["cancelled_at"].isna().all()
