"""What lies in a data folder under old names is read, and found again under the new ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import Workbook

from renewals.pipelines.commands.explain import explain
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.stages.act import disagreements
from renewals.pipelines.stages.act.alerts import alerts
from renewals.pipelines.stages.act.context import context
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts, data_files, feedback_log, old_names
from renewals.pipelines.storage.published import list_archive, published_lists
from tests.pipelines.answered_company import company as answered_company
from tests.pipelines.scored_company import AS_OF, job, publish_company
from tests.pipelines.stages.act.test_alerts import june, run
from tests.pipelines.storage.old_data_folder import ALERTS, make_old
from tests.reports.returned_books import DAY

__all__ = ["june"]
VISIT = "Visit the boss"
ANSWERED = [("acme", "Will renew", VISIT, DAY, "saw them"), ("beta", "Will be lost")]


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return publish_company(tmp_path, monkeypatch)


# --- folders -------------------------------------------------------------------------------------


def filled(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_folder_is_renamed_once(tmp_path: Path) -> None:
    filled(tmp_path / "told", day="old")
    for _ in range(2):
        assert old_names.current_folder(tmp_path, "alert_history") == tmp_path / "alert_history"
        assert [path.name for path in tmp_path.iterdir()] == ["alert_history"]
    assert (tmp_path / "alert_history" / "day").read_text() == "old"


def test_what_a_release_before_left_since_is_taken_over_and_the_new_day_counts(tmp_path: Path) -> None:
    filled(tmp_path / "told", june="old", july="old")
    new = filled(tmp_path / "alert_history", july="new")
    assert old_names.current_folder(tmp_path, "alert_history") == new
    assert {path.name: path.read_text() for path in new.iterdir()} == {"june": "old", "july": "new"}


def test_answers_under_both_names_are_never_passed_over(tmp_path: Path) -> None:
    filled(tmp_path / "returned", answers="old")
    filled(tmp_path / "feedback", log="new")
    with pytest.raises(DataContractError, match=r"move .*/returned away, and run `renewals collect` again"):
        old_names.current_folder(tmp_path, "feedback")


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(30, "read-only")])
def test_a_folder_that_cannot_be_written_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    old = filled(tmp_path / "published", day="old")

    def refuse(*given: Any) -> None:
        raise error

    monkeypatch.setattr(Path, "rename", refuse)
    assert old_names.current_folder(tmp_path, "list_archive") == old


def test_a_run_that_another_overtakes_goes_on_with_the_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "published", day="old")
    rename = Path.rename

    def overtaken(path: Path, target: Path) -> Path:
        rename(path, target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert old_names.current_folder(tmp_path, "list_archive") == tmp_path / "list_archive"


def test_what_is_made_again_goes_under_its_old_name(tmp_path: Path) -> None:
    filled(tmp_path / "tried", digest="")
    (tmp_path / "certificate.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")
    for _ in range(2):
        old_names.remove_old_versions(tmp_path, ["validation_report.json", "model_load_checks"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


# --- published lists -----------------------------------------------------------------------------


def disagreeing(company: Path) -> None:
    """Publish the list again with a manager's word against an earlier one, and something begun since."""
    one = job(company)
    rows = {
        **{"as_of": [date(2026, 5, 1)], "account_id": ["a0"], "account_name": ["acme"], "csm": ["Anna"]},
        **{"verdict": ["lost"], "note": [None], "renewal_date": [date(2026, 9, 1)], "renewal_probability": [0.8]},
        **{"risk_band": ["low"], "recorded_at": [pd.Timestamp("2026-05-10")], "renewed": [None]},
        "correct_side": ["pending"],
    }
    table = feedback_log.to_typed_parquet(pd.DataFrame(rows), disagreements.COLUMNS)
    (one.folder / artifacts.DISAGREEMENTS).write_bytes(table)
    tally = {"verdicts": 1, "disagreements": 1, "pending": 1, "model": 0, "manager": 0, "final": 0, "min_final": 30}
    tally |= {"as_of": "2026-06-01", "accuracy": {"model": None, "manager": None}, "brier": None}
    summary = {"as_of": "2026-06-01", "tally": tally, "digest": "d1"}
    (one.folder / artifacts.DISAGREEMENTS_SUMMARY).write_text(json.dumps(summary))
    begun = {"account_id": ["a0"], "account_name": ["acme"], "csm": ["Anna"], "playbook": ["Push"]}
    begun |= {"started_on": [date(2026, 5, 12)], "previous_probability": [0.4], "probability": [0.5]}
    since = list_archive.InterventionsSince(date(2026, 5, 1), pd.DataFrame(begun))
    list_archive.archive_list(one, "key", since)


def test_explain_reads_a_list_of_the_release_before(company: Path) -> None:
    disagreeing(company)
    before = explain(job(company), "a0")
    assert before["disagreement"]
    assert before["interventions_since_last_list"] == (
        "Since the list of 2026-05-01: Push (begun 2026-05-12). The chance of renewal was 40% then and is 50% now. "
        "What of this the playbook did, one account cannot tell."
    )
    shutil.rmtree(company / "data" / "act")
    make_old(company / "data")
    assert explain(job(company), "a0") == before
    assert not (company / "data" / "published").exists()
    assert (company / "data" / "list_archive" / str(AS_OF) / "published.json").is_file()
    assert explain(job(company), "a0") == before


def test_an_archive_that_cannot_be_renamed_is_read_where_it_lies(
    company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = explain(job(company), "a0")
    make_old(company / "data")

    def refuse(*given: Any) -> None:
        raise OSError(30, "read-only")

    monkeypatch.setattr(Path, "rename", refuse)
    assert explain(job(company), "a0") == before
    assert (company / "data" / "published").is_dir()


def test_an_old_day_is_replaced_whole_by_the_same_list(company: Path) -> None:
    make_old(company / "data")
    assert list_archive.archived_days(job(company)) == [AS_OF]
    assert publish(job(company))["state"] == "already published"
    folder = company / "data" / "list_archive" / str(AS_OF)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"list.json", "row_counts.parquet", "prescribed_playbooks.parquet", "peer_medians.parquet"}
    assert not names & {"published.json", "rows.parquet", "plays.parquet", "peers.parquet"}


def test_columns_of_an_old_file_are_asked_for_by_their_new_names(tmp_path: Path) -> None:
    """As `whatif` asks for the group alone."""
    old = pd.DataFrame({"account_id": ["a", "b"], "as_of": AS_OF, "peers": ["mid", "*"], "use_90d": [0.5, 0.1]})
    old.to_parquet(tmp_path / "contributions.parquet")
    asked = {"filters": [("account_id", "==", "a")], "columns": [artifacts.PEER_GROUP]}
    found = data_files.load_frame(tmp_path / artifacts.CONTRIBUTIONS, **asked)
    assert found.to_dict("list") == {"peer_group": ["mid"]}


def test_score_removes_what_it_made_under_old_names(company: Path) -> None:
    old = ["plays", "peers", "strengths", "unscored", "whatif", "change", "shadow"]
    for name in old:
        (company / "data" / "act" / f"{name}.parquet").write_bytes(b"of last month")
    score(job(company))
    assert not [name for name in old if (company / "data" / "act" / f"{name}.parquet").exists()]


# --- alerts --------------------------------------------------------------------------------------


def test_what_an_old_list_told_is_no_news(june: Any) -> None:
    run(june)
    published_lists.archive_alerts(june)
    make_old(june.data)
    assert set(pd.read_parquet(june.data / "told" / "2026-06-01.parquet").columns) >= set(ALERTS.values())
    later = run(replace(june, as_of=date(2026, 6, 15)))
    assert later["is_new"].tolist() == [False, False]
    assert later["first_reported_on"].tolist() == [date(2026, 6, 1)] * 2
    assert not (june.data / "told").exists()


def test_old_and_new_alerts_are_read_together(june: Any) -> None:
    run(june)
    published_lists.archive_alerts(june)
    make_old(june.data)
    middle = replace(june, as_of=date(2026, 6, 15))
    run(middle)
    published_lists.archive_alerts(middle)
    assert run(replace(june, as_of=date(2026, 6, 20)))["is_new"].tolist() == [False, False]
    assert alerts(replace(june, as_of=date(2026, 6, 20)))["new"]["sponsor_lost"] == 0


# --- answers -------------------------------------------------------------------------------------


def old_hidden_sheet(book: Workbook) -> None:
    """The hidden sheet as commit 77ed5ab wrote it."""
    sheet = book["renewals"]
    headings = ("sheet", "csm", "account_id", "verdict", "action", "begun", "note")
    for place, heading in enumerate(headings, start=1):
        sheet.cell(6, place, heading)
    assert [sheet[f"A{row}"].value for row in range(1, 6)] == ["format", "as_of", "key", "language", "header"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_workbook_sent_out_before_is_collected(tmp_path: Path, moved: bool) -> None:
    """Also where the manager moved columns: they are found by their headings, which are as they were."""
    own = answered_company(tmp_path)

    def change(book: Workbook) -> None:
        old_hidden_sheet(book)
        if moved:
            book["Anna"].insert_cols(1)

    told = own.collect(own.book("june.xlsx", {"Anna": ANSWERED}, change=change))
    assert (told["verdicts"], told["actions"]) == (2, 1)
    assert [row["started_on"] for row in own.rows("feedback_log")] == [DAY, None]


def test_collected_answers_of_the_release_before_go_on(tmp_path: Path) -> None:
    own = answered_company(tmp_path)
    june_book = own.book("june.xlsx", {"Anna": ANSWERED})
    own.collect(june_book)
    fingerprint, log = own.check(), own.rows("feedback_log")
    make_old(own.root / "data")
    assert set(pd.read_parquet(own.root / "data/returned/answers.parquet").columns) >= {"begun", "key", "file"}
    assert own.check() == fingerprint, "the actions are those of workbooks, and no rows of the company's own"
    assert own.collect(june_book)["already_collected"] == 2
    assert own.rows("feedback_log") == log
    assert (
        own.collect(own.book("more.xlsx", {"Anna": [("gamma", "Will renew")]}), recorded="2026-06-20")["accepted"] == 1
    )
    assert [row["account_id"] for row in own.rows("feedback_log")] == ["acme", "beta", "gamma"]
    assert set(own.stored_files()) == {
        *("feedback_log.parquet", "verdicts.parquet", "interventions.parquet", "rejected_answers.csv")
    }
    assert not (own.root / "data" / "returned").exists()


def test_an_old_log_is_the_same_to_the_stages(tmp_path: Path) -> None:
    own = answered_company(tmp_path)
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    make_old(own.root / "data")
    log = feedback_log.read_log(own.job())
    assert log is not None
    assert list(log.columns) == list(feedback_log.LOG_SCHEMA)
    assert context(own.job(as_of=date(2026, 7, 1)))["answers"] is not None


def test_a_kill_in_the_release_before_is_undone(tmp_path: Path) -> None:
    own = answered_company(tmp_path)
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    make_old(own.root / "data")
    (own.root / "data" / "returned").rename(own.root / "data" / ".returned.old")
    assert feedback_log.read_log(own.job()) is not None
    assert (own.root / "data" / "feedback" / "answers.parquet").is_file()


def test_the_company_s_own_row_still_stands_for_the_action_of_an_old_workbook(tmp_path: Path) -> None:
    own = answered_company(tmp_path)
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    row = {"account_id": "acme", "playbook": "visit", "started_at": pd.Timestamp(DAY), "ended_at": pd.NaT}
    own.write("interventions", [row | {"recorded_at": pd.Timestamp(DAY), "csm": "Anna"}])
    make_old(own.root / "data")
    own.check()
    assert len(pd.read_parquet(own.root / "data" / "clean" / "interventions.parquet")) == 1


# --- models --------------------------------------------------------------------------------------


OLD_MODEL = {
    **{"training.json": b'{"until": "2026-06-01"}', "reference.json": b"{}", "linear.json": b"{}"},
    **{"aged.parquet": b"PAR1", "backtest.parquet": b"PAR1", "model.txt": b"tree", "schema.json": b'{"trained": true}'},
}
NEW_NAMES = {
    *("model_card.json", "drift_reference.json", "additive_model.json", "predictions_by_model_age.parquet"),
    *("backtest.parquet", "model.txt", "schema.json"),
}


def test_the_files_of_a_model_are_known_by_their_new_names(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "renewal"
    folder.mkdir(parents=True)
    for name, content in OLD_MODEL.items():
        (folder / name).write_bytes(content)
    with pytest.raises(MissingInputError, match="is from an older release: run `renewals learn`"):
        artifacts.read_model(tmp_path, "renewal")
    assert set(old_names.rename_model_files(old_names.rename_model_files(OLD_MODEL))) == NEW_NAMES


def test_the_numbers_of_product_features_stay(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text('["send", "report"]')
    for _ in range(2):
        old_names.rename_file(tmp_path / "product_features.json")
    assert [path.name for path in tmp_path.iterdir()] == ["product_features.json"]
