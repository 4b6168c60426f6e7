"""Rows of accounts, contracts and people that appear, change, vanish, return, or whose key is used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.history.extracts import account_for_rows, run_history, source, write_copies

A = "C1,A,2024-01-01,2025-01-01,100,5,basic,2023-12-01"
B = "C2,B,2024-06-01,2025-06-01,300,7,pro,2024-05-20"
OTHERS = " ".join(f"K{n},K,2023-01-01,2030-01-01,50,1,basic,2022-12-01" for n in range(8))
"""Contracts that stay, so that one row less is no source that stopped."""


def history(tmp_path: Path, copies: dict[str, str], **settings):
    write_copies(tmp_path, "contracts", {day: f"{rows} {OTHERS}" for day, rows in copies.items()})
    run = run_history(tmp_path, {"crm": source(tmp_path, **settings)})
    assert run.code == 0, run.output
    account_for_rows(run["crm"])
    return run


def shown(run, *columns):
    """Versions of the contracts that are not among the others."""
    return [row for row in run.shown("contract_id", *columns) if not row.startswith("K")]


def test_rows_of_the_first_copy_keep_their_own_known_time_without_what_can_change(tmp_path):
    run = history(tmp_path, {"2024-03-31": A})
    assert shown(run, "recorded_at", "valid_from", "signed_at", "arr", "seats", "plan", "end_date") == [
        "C1 - - 2023-12-01 - - - 2025-01-01",
        "C1 2024-03-31 2024-01-01 2023-12-01 100 5 basic 2025-01-01",
    ]


def test_only_declared_columns_are_unknown_before_the_first_copy(tmp_path):
    run = history(tmp_path, {"2024-03-31": A}, changeable=["plan"])
    assert shown(run, "recorded_at", "arr", "plan") == ["C1 - 100 -", "C1 2024-03-31 100 basic"]


def test_a_row_without_anything_that_can_change_has_one_version(tmp_path):
    run = history(tmp_path, {"2024-03-31": A}, changeable=[])
    assert shown(run, "recorded_at", "arr") == ["C1 - 100"]
    assert run["crm"]["further_versions"] == 0


def test_new_and_changed_rows_are_known_from_the_day_of_the_copy(tmp_path):
    run = history(tmp_path, {"2024-05-31": A, "2024-06-30": f"{A.replace('100,5', '120,6')} {B}"})
    assert shown(run, "recorded_at", "valid_from", "arr", "history_event") == [
        "C1 - - - before_first_copy",
        "C1 2024-05-31 2024-01-01 100 first_copy",
        "C1 2024-06-30 - 120 changed",
        "C2 2024-06-30 - 300 new",
    ]
    assert run["crm"]["rows_unchanged"] == len(OTHERS.split())


def test_a_contract_that_vanishes_ended_on_the_day_it_was_missed(tmp_path):
    run = history(tmp_path, {"2024-05-31": f"{A} {B}", "2024-06-30": A})
    assert shown(run, "recorded_at", "cancelled_at", "history_event")[-1] == "C2 2024-06-30 2024-06-30 ended"


def test_a_contract_that_vanishes_after_its_end_was_not_cancelled(tmp_path):
    run = history(tmp_path, {"2024-12-31": A, "2025-01-31": "", "2025-02-28": A})
    assert shown(run, "history_event") == ["C1 before_first_copy", "C1 first_copy"]
    assert "cancelled_at" not in run.versions()


def test_a_vanished_row_may_mean_that_it_was_deleted_and_its_return_that_it_was_not(tmp_path):
    copies = {"2024-05-31": f"{A} {B}", "2024-06-30": A, "2024-07-31": f"{A} {B}"}
    run = history(tmp_path, copies, vanished="deleted")
    assert shown(run, "recorded_at", "deleted_at", "start_date", "history_event")[-2:] == [
        "C2 2024-06-30 2024-06-30 2024-06-01 deleted",
        "C2 2024-07-31 - 2024-06-01 returned",
    ]


def test_a_contract_that_had_ended_and_returns_begins_anew_on_that_day(tmp_path):
    copies = {"2024-05-31": f"{A} {B}", "2024-06-30": A, "2024-09-30": f"{A} {B}", "2024-10-31": f"{A} {B}"}
    run = history(tmp_path, copies)
    assert shown(run, "start_date", "recorded_at", "end_date", "history_event")[-2:] == [
        "C2 2024-06-01 2024-06-30 2025-06-01 ended",
        "C2 2024-09-30 2024-09-30 2025-06-01 returned",
    ]
    assert {"what": "returned", "day": "2024-09-30", "rows": 1} in run["crm"]["findings"]


def test_a_returned_contract_stays_the_same_term_when_it_changes_later(tmp_path):
    more = B.replace("300,7", "400,9")
    copies = {"2024-05-31": f"{A} {B}", "2024-06-30": A, "2024-09-30": f"{A} {B}", "2024-10-31": f"{A} {more}"}
    assert shown(history(tmp_path, copies), "start_date", "recorded_at", "arr")[-1] == "C2 2024-09-30 2024-10-31 400"


def test_a_key_used_again_after_it_vanished_is_another_contract(tmp_path):
    again = "C2,Z,2024-08-01,2025-08-01,900,3,pro,2024-07-15"
    copies = {"2024-05-31": f"{A} {B}", "2024-06-30": A, "2024-08-31": f"{A} {again}"}
    run = history(tmp_path, copies)
    assert shown(run, "account_id", "start_date", "history_event")[-2:] == [
        "C2 B 2024-06-01 ended",
        "C2~2 Z 2024-08-01 key_used_again",
    ]


def test_an_account_that_changes_under_a_contract_is_no_key_used_again_unless_it_is_declared_so(tmp_path):
    moved = B.replace("C2,B", "C2,Z")
    copies = {"2024-05-31": f"{A} {B}", "2024-06-30": f"{A} {moved}"}
    assert shown(history(tmp_path / "a", copies), "account_id", "history_event")[-1] == "C2 Z changed"
    run = history(tmp_path / "b", copies, identity=["account_id"])
    assert shown(run, "account_id", "cancelled_at", "history_event")[-2:] == [
        "C2 B 2024-06-30 ended",
        "C2~2 Z - key_used_again",
    ]


def test_a_column_that_appears_late_changes_nothing_on_its_day(tmp_path):
    header = "contract_id,account_id,start_date,end_date,arr"
    cut = [" ".join(row.rsplit(",", 3)[0] for row in f"{A} {OTHERS}".split())]
    write_copies(tmp_path, "contracts", {"2024-03-31": cut[0], "2024-04-30": cut[0]}, header)
    write_copies(tmp_path, "contracts", {"2024-05-31": f"{A} {OTHERS}"})
    run = run_history(tmp_path, {"crm": source(tmp_path)})
    account_for_rows(run["crm"])
    assert shown(run, "recorded_at", "valid_from", "seats", "plan", "history_event")[1:] == [
        "C1 2024-03-31 2024-01-01 - - first_copy",
        "C1 2024-05-31 2024-01-01 5 basic filled",
    ]
    assert run["crm"]["findings"][-1]["columns"] == ["plan", "seats", "signed_at"]


def test_a_column_that_is_not_delivered_once_keeps_its_values(tmp_path):
    copies = {"2024-03-31": A, "2024-05-31": A}
    write_copies(tmp_path, "contracts", {day: f"{rows} {OTHERS}" for day, rows in copies.items()})
    cut = " ".join(row.rsplit(",", 3)[0] for row in f"{A} {OTHERS}".split())
    write_copies(tmp_path, "contracts", {"2024-04-30": cut}, "contract_id,account_id,start_date,end_date,arr")
    write_copies(tmp_path, "contracts", {"2024-06-30": f"{A.replace('basic', 'pro')} {OTHERS}"})
    run = run_history(tmp_path, {"crm": source(tmp_path)})
    assert run["crm"]["rows_unchanged"] == 18 + 8
    assert shown(run, "plan", "history_event") == [
        "C1 - before_first_copy",
        "C1 basic first_copy",
        "C1 pro changed",
    ]


def test_values_before_the_day_from_which_a_column_counts_are_unknown(tmp_path):
    copies = {"2024-03-31": A.replace(",100,", ",999,"), "2024-04-30": A}
    run = history(tmp_path, copies, columns={"arr": "arr"}, columns_from={"arr": "2024-04-01"})
    assert [row for row in shown(run, "recorded_at", "arr", "history_event") if "999" in row] == []
    assert shown(run, "recorded_at", "arr", "history_event")[-1] == "C1 2024-04-30 100 filled"


def test_of_two_copies_of_one_day_the_last_by_name_counts(tmp_path):
    write_copies(tmp_path, "contracts", {"2024-03-31": f"{A} {OTHERS}", "2024-04-30T08": f"{B} {OTHERS}"})
    write_copies(tmp_path, "contracts", {"2024-04-30T20": f"{A} {B} {OTHERS}"})
    run = run_history(tmp_path, {"crm": source(tmp_path)})
    account_for_rows(run["crm"])
    assert run["crm"]["rows_set_aside"] == {"another copy of the day; the last by name counts": 9}
    assert shown(run, "history_event") == ["C1 before_first_copy", "C1 first_copy", "C2 new"]


def test_rows_that_cannot_be_used_are_set_aside_with_a_reason_and_have_not_vanished(tmp_path):
    broken = (
        f"{A.replace(',100,', ',many,')} {B} {B} {B.replace('pro', 'basic')} ,X,2024-01-01,2025-01-01,1,1,p,2024-01-01"
    )
    write_copies(tmp_path, "contracts", {"2024-05-31": f"{A} {B} {OTHERS}", "2024-06-30": f"{broken} {OTHERS}"})
    run = run_history(tmp_path, {"crm": source(tmp_path)}, "quarantine.limit=0.5")
    account_for_rows(run["crm"])
    assert run["crm"]["rows_set_aside"] == {
        "arr cannot be read": 1,
        "the key is missing": 1,
        "the key occurs again with other values; the first row is kept": 1,
        "the row repeats another one": 1,
    }
    assert "ended" not in run["crm"]["events"]
    listed = (tmp_path / "tables" / "history_set_aside.csv").read_text().splitlines()
    assert "crm,contracts_2024-06-30.csv,1,arr cannot be read" in listed


def test_too_many_unusable_rows_stop_the_run(tmp_path):
    write_copies(tmp_path, "contracts", {"2024-05-31": f"{A.replace(',100,', ',many,')} {OTHERS}"})
    run = run_history(tmp_path, {"crm": source(tmp_path)})
    assert (run.code, run.result["state"]) == (65, "DataContract")
    assert "1 of 9 rows of contracts_2024-05-31.csv cannot be used, for example row 1: arr cannot be read" in run.output


def test_the_reason_of_a_loss_without_its_day_is_unknown_before_the_first_copy(tmp_path):
    header = "contract_id,account_id,start_date,end_date,arr,loss_reason"
    write_copies(tmp_path, "contracts", {"2024-05-31": "C1,A,2023-01-01,2024-01-01,100,price"}, header)
    run = run_history(tmp_path, {"crm": source(tmp_path)})
    assert shown(run, "recorded_at", "loss_reason") == ["C1 - -", "C1 2024-05-31 price"]


def test_an_account_that_vanishes_stays_as_last_seen_or_is_deleted(tmp_path):
    others = " ".join(f"K{n},Kim,2020-01-01" for n in range(9))
    copies = {
        "2024-01-31": f"A,Ann,2023-05-01 {others}",
        "2024-02-29": others,
        "2024-03-31": f"A,Bob,2023-05-01 {others}",
    }
    for meaning, events in (("ended", ["first_copy", "returned"]), ("deleted", ["first_copy", "deleted", "returned"])):
        folder = tmp_path / meaning
        write_copies(folder, "accounts", copies)
        run = run_history(folder, {"crm": source(folder, "accounts", vanished=meaning)})
        account_for_rows(run["crm"])
        rows = run.shown("account_id", "recorded_at", "csm", "history_event", table="accounts")
        assert [row.split()[-1] for row in rows if row.startswith("A ")] == ["before_first_copy", *events]
        assert rows[0] == "A - - before_first_copy"
        assert "A 2024-03-31 Bob returned" in rows


@pytest.mark.parametrize("moves", [False, True])
def test_a_person_with_another_title_has_another_period_and_who_leaves_an_account_has_left_it(tmp_path, moves):
    others = " ".join(f"K{n},K,clerk" for n in range(9))
    second = "P,B,head" if moves else "P,A,head"
    write_copies(tmp_path, "people", {"2024-01-31": f"P,A,lead {others}", "2024-02-29": f"{second} {others}"})
    write_copies(tmp_path, "people", {"2024-03-31": others})
    run = run_history(tmp_path, {"crm": source(tmp_path, "people")})
    account_for_rows(run["crm"])
    rows = run.shown("user_id", "account_id", "title", "valid_from", "valid_to", "recorded_at", table="people")
    own = [row for row in rows if row.startswith("P")]
    first = ["P A - - - -", "P A lead 2024-01-31 - 2024-01-31"]
    if moves:
        assert own == [
            *first,
            "P A lead 2024-01-31 2024-02-29 2024-02-29",
            "P B head 2024-02-29 - 2024-02-29",
            "P B head 2024-02-29 2024-03-31 2024-03-31",
        ]
    else:
        assert own == [*first, "P A head 2024-02-29 - 2024-02-29", "P A head 2024-02-29 2024-03-31 2024-03-31"]
