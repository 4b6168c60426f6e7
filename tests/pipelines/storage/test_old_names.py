"""Reading and renaming of files with old names in a data folder."""

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


def write_folder(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_folder_is_renamed_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "told", day="old")
    for _ in range(2):
        assert old_names.current_folder(tmp_path, "alert_history") == tmp_path / "alert_history"
        assert [path.name for path in tmp_path.iterdir()] == ["alert_history"]
    assert (tmp_path / "alert_history" / "day").read_text() == "old"


def test_old_files_are_added_to_the_new_folder_without_replacing_new_ones(tmp_path: Path) -> None:
    write_folder(tmp_path / "told", june="old", july="old")
    new = write_folder(tmp_path / "alert_history", july="new")
    assert old_names.current_folder(tmp_path, "alert_history") == new
    assert {path.name: path.read_text() for path in new.iterdir()} == {"june": "old", "july": "new"}


def test_answers_in_both_folders_are_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path / "returned", answers="old")
    write_folder(tmp_path / "feedback", log="new")
    with pytest.raises(DataContractError, match=r"move .*/returned away, and run `renewals collect` again"):
        old_names.current_folder(tmp_path, "feedback")


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(30, "read-only")])
def test_a_folder_that_cannot_be_renamed_is_read_under_its_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    old = write_folder(tmp_path / "published", day="old")

    def refuse(*args: Any) -> None:
        raise error

    monkeypatch.setattr(Path, "rename", refuse)
    assert old_names.current_folder(tmp_path, "list_archive") == old


def test_a_folder_renamed_meanwhile_by_another_run_is_read_under_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "published", day="old")
    rename = Path.rename

    def rename_twice(path: Path, target: Path) -> Path:
        rename(path, target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_twice)
    assert old_names.current_folder(tmp_path, "list_archive") == tmp_path / "list_archive"


def test_old_versions_of_reproducible_files_are_removed(tmp_path: Path) -> None:
    write_folder(tmp_path / "tried", digest="")
    (tmp_path / "certificate.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")
    for _ in range(2):
        old_names.remove_old_versions(tmp_path, ["validation_report.json", "model_load_checks"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


# --- published lists -----------------------------------------------------------------------------


def archive_with_disagreement(company: Path) -> None:
    """Archive the list with a manager's verdict against an earlier prediction and an intervention started since."""
    list_job = job(company)
    rows = {
        **{"as_of": [date(2026, 5, 1)], "account_id": ["a0"], "account_name": ["acme"], "csm": ["Anna"]},
        **{"verdict": ["lost"], "note": [None], "renewal_date": [date(2026, 9, 1)], "renewal_probability": [0.8]},
        **{"risk_band": ["low"], "recorded_at": [pd.Timestamp("2026-05-10")], "renewed": [None]},
        "correct_side": ["pending"],
    }
    table = feedback_log.to_typed_parquet(pd.DataFrame(rows), disagreements.COLUMNS)
    (list_job.folder / artifacts.DISAGREEMENTS).write_bytes(table)
    tally = {"verdicts": 1, "disagreements": 1, "pending": 1, "model": 0, "manager": 0, "final": 0, "min_final": 30}
    tally |= {"as_of": "2026-06-01", "accuracy": {"model": None, "manager": None}, "brier": None}
    summary = {"as_of": "2026-06-01", "tally": tally, "digest": "d1"}
    (list_job.folder / artifacts.DISAGREEMENTS_SUMMARY).write_text(json.dumps(summary))
    interventions = {"account_id": ["a0"], "account_name": ["acme"], "csm": ["Anna"], "playbook": ["Push"]}
    interventions |= {"started_on": [date(2026, 5, 12)], "previous_probability": [0.4], "probability": [0.5]}
    since = list_archive.InterventionsSince(date(2026, 5, 1), pd.DataFrame(interventions))
    list_archive.archive_list(list_job, "key", since)


def test_explain_reads_a_list_of_the_old_release(company: Path) -> None:
    archive_with_disagreement(company)
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


def test_an_archive_that_cannot_be_renamed_is_read_under_its_old_name(
    company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = explain(job(company), "a0")
    make_old(company / "data")

    def refuse(*args: Any) -> None:
        raise OSError(30, "read-only")

    monkeypatch.setattr(Path, "rename", refuse)
    assert explain(job(company), "a0") == before
    assert (company / "data" / "published").is_dir()


def test_publishing_the_same_list_again_replaces_all_old_files(company: Path) -> None:
    make_old(company / "data")
    assert list_archive.archived_days(job(company)) == [AS_OF]
    assert publish(job(company))["state"] == "already published"
    folder = company / "data" / "list_archive" / str(AS_OF)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"list.json", "row_counts.parquet", "prescribed_playbooks.parquet", "peer_medians.parquet"}
    assert not names & {"published.json", "rows.parquet", "plays.parquet", "peers.parquet"}


def test_columns_of_an_old_file_are_selected_by_new_names(tmp_path: Path) -> None:
    """`whatif` reads the column `peer_group` alone."""
    old = pd.DataFrame({"account_id": ["a", "b"], "as_of": AS_OF, "peers": ["mid", "*"], "use_90d": [0.5, 0.1]})
    old.to_parquet(tmp_path / "contributions.parquet")
    selection = {"filters": [("account_id", "==", "a")], "columns": [artifacts.PEER_GROUP]}
    rows = data_files.load_frame(tmp_path / artifacts.CONTRIBUTIONS, **selection)
    assert rows.to_dict("list") == {"peer_group": ["mid"]}


def test_score_removes_its_files_with_old_names(company: Path) -> None:
    old = ["plays", "peers", "strengths", "unscored", "whatif", "change", "shadow"]
    for name in old:
        (company / "data" / "act" / f"{name}.parquet").write_bytes(b"of last month")
    score(job(company))
    assert not [name for name in old if (company / "data" / "act" / f"{name}.parquet").exists()]


# --- alerts --------------------------------------------------------------------------------------


def test_alerts_of_an_old_list_are_not_new(june: Any) -> None:
    run(june)
    published_lists.archive_alerts(june)
    make_old(june.data)
    assert set(pd.read_parquet(june.data / "told" / "2026-06-01.parquet").columns) >= set(ALERTS.values())
    later = run(replace(june, as_of=date(2026, 6, 15)))
    assert later["is_new"].tolist() == [False, False]
    assert later["first_reported_on"].tolist() == [date(2026, 6, 1)] * 2
    assert not (june.data / "told").exists()


def test_old_and_new_alert_files_are_read_together(june: Any) -> None:
    run(june)
    published_lists.archive_alerts(june)
    make_old(june.data)
    middle = replace(june, as_of=date(2026, 6, 15))
    run(middle)
    published_lists.archive_alerts(middle)
    assert run(replace(june, as_of=date(2026, 6, 20)))["is_new"].tolist() == [False, False]
    assert alerts(replace(june, as_of=date(2026, 6, 20)))["new"]["sponsor_lost"] == 0


# --- answers -------------------------------------------------------------------------------------


def write_old_headings(book: Workbook) -> None:
    """Write the column headings of commit 77ed5ab in the hidden sheet of `book`."""
    sheet = book["renewals"]
    headings = ("sheet", "csm", "account_id", "verdict", "action", "begun", "note")
    for column, heading in enumerate(headings, start=1):
        sheet.cell(6, column, heading)
    assert [sheet[f"A{row}"].value for row in range(1, 6)] == ["format", "as_of", "key", "language", "header"]


@pytest.mark.parametrize("columns_shifted", [False, True])
def test_a_workbook_of_the_old_release_is_collected(tmp_path: Path, columns_shifted: bool) -> None:
    """Also where the manager moved columns: `collect` reads them by their headings, which are unchanged."""
    answered = answered_company(tmp_path)

    def change(book: Workbook) -> None:
        write_old_headings(book)
        if columns_shifted:
            book["Anna"].insert_cols(1)

    result = answered.collect(answered.book("june.xlsx", {"Anna": ANSWERED}, change=change))
    assert (result["verdicts"], result["actions"]) == (2, 1)
    assert [row["started_on"] for row in answered.rows("feedback_log")] == [DAY, None]


def test_collect_continues_an_old_feedback_log(tmp_path: Path) -> None:
    answered = answered_company(tmp_path)
    june_book = answered.book("june.xlsx", {"Anna": ANSWERED})
    answered.collect(june_book)
    fingerprint, log = answered.check(), answered.rows("feedback_log")
    make_old(answered.root / "data")
    assert set(pd.read_parquet(answered.root / "data/returned/answers.parquet").columns) >= {"begun", "key", "file"}
    assert answered.check() == fingerprint, "the actions count as answers of workbooks, not as rows of the company"
    assert answered.collect(june_book)["already_collected"] == 2
    assert answered.rows("feedback_log") == log
    assert (
        answered.collect(answered.book("more.xlsx", {"Anna": [("gamma", "Will renew")]}), recorded="2026-06-20")[
            "accepted"
        ]
        == 1
    )
    assert [row["account_id"] for row in answered.rows("feedback_log")] == ["acme", "beta", "gamma"]
    assert set(answered.stored_files()) == {
        *("feedback_log.parquet", "verdicts.parquet", "interventions.parquet", "rejected_answers.csv")
    }
    assert not (answered.root / "data" / "returned").exists()


def test_stages_read_an_old_feedback_log(tmp_path: Path) -> None:
    answered = answered_company(tmp_path)
    answered.collect(answered.book("june.xlsx", {"Anna": ANSWERED}))
    make_old(answered.root / "data")
    log = feedback_log.read_log(answered.job())
    assert log is not None
    assert list(log.columns) == list(feedback_log.LOG_SCHEMA)
    assert context(answered.job(as_of=date(2026, 7, 1)))["answers"] is not None


def test_an_interrupted_swap_of_the_old_release_is_undone(tmp_path: Path) -> None:
    answered = answered_company(tmp_path)
    answered.collect(answered.book("june.xlsx", {"Anna": ANSWERED}))
    make_old(answered.root / "data")
    (answered.root / "data" / "returned").rename(answered.root / "data" / ".returned.old")
    assert feedback_log.read_log(answered.job()) is not None
    assert (answered.root / "data" / "feedback" / "answers.parquet").is_file()


def test_row_of_the_company_replaces_the_action_of_an_old_workbook(tmp_path: Path) -> None:
    answered = answered_company(tmp_path)
    answered.collect(answered.book("june.xlsx", {"Anna": ANSWERED}))
    row = {"account_id": "acme", "playbook": "visit", "started_at": pd.Timestamp(DAY), "ended_at": pd.NaT}
    answered.write("interventions", [row | {"recorded_at": pd.Timestamp(DAY), "csm": "Anna"}])
    make_old(answered.root / "data")
    answered.check()
    assert len(pd.read_parquet(answered.root / "data" / "clean" / "interventions.parquet")) == 1


# --- models --------------------------------------------------------------------------------------


OLD_MODEL = {
    **{"training.json": b'{"until": "2026-06-01"}', "reference.json": b"{}", "linear.json": b"{}"},
    **{"aged.parquet": b"PAR1", "backtest.parquet": b"PAR1", "model.txt": b"tree", "schema.json": b'{"trained": true}'},
}
NEW_NAMES = {
    *("model_card.json", "drift_reference.json", "additive_model.json", "predictions_by_model_age.parquet"),
    *("backtest.parquet", "model.txt", "schema.json"),
}


def test_old_model_folder_is_refused_and_old_model_files_are_renamed(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "renewal"
    folder.mkdir(parents=True)
    for name, content in OLD_MODEL.items():
        (folder / name).write_bytes(content)
    with pytest.raises(MissingInputError, match="is from an older release: run `renewals learn`"):
        artifacts.read_model(tmp_path, "renewal")
    assert set(old_names.rename_model_files(old_names.rename_model_files(OLD_MODEL))) == NEW_NAMES


def test_old_file_of_product_features_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text('["send", "report"]')
    for _ in range(2):
        old_names.rename_file(tmp_path / "product_features.json")
    assert [path.name for path in tmp_path.iterdir()] == ["product_features.json"]
