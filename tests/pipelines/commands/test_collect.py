"""`renewals collect` stores the answers of managers once and completely; they are known from the day of arrival."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import Workbook, load_workbook

from renewals.pipelines.cli import app
from renewals.pipelines.commands.collect import collect
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError, OutputError
from renewals.pipelines.scoring import champion_models
from renewals.pipelines.scoring.interventions_since import new_interventions
from renewals.pipelines.stages.act import score as scoring
from renewals.pipelines.stages.act.disagreements import disagreements
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.storage import feedback_log, folders
from renewals.pipelines.storage.artifacts import read_disagreements
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.published.list_archive import archive_list
from renewals.pipelines.storage.registry import model_registry
from renewals.reports.workbook.feedback_layout import HIDDEN_SHEET, TABLES_HEADER_ROW
from tests.pipelines import answered_company, scored_company
from tests.pipelines.answered_company import BANDS, JULY, JUNE, Company
from tests.reports.returned_books import DAY

VISIT = "Visit the boss"
ANSWERED = [("acme", "Will renew", VISIT, DAY, "saw them"), ("beta", "Will be lost"), ("gamma", "Not sure"), ("quiet",)]


@pytest.fixture(scope="module")
def shared_company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return answered_company.company(tmp_path_factory.mktemp("company"))


@pytest.fixture
def company(tmp_path: Path, shared_company: Company) -> Company:
    shutil.copytree(shared_company.root, tmp_path, dirs_exist_ok=True)
    return replace(shared_company, root=tmp_path)


# --- stored answers ------------------------------------------------------------------------------


def test_verdicts_and_actions_are_stored(company: Company) -> None:
    result = company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    assert {name: result[name] for name in ("files", "accepted", "changed", "verdicts", "actions", "rejected")} == {
        **{"files": 1, "accepted": 3, "changed": 0},
        **{"verdicts": 3, "actions": 1, "rejected": 0},
    }
    acme, *_ = company.rows("verdicts")
    manifest = json.loads((company.root / "lists/2026-06-01/manifest.json").read_bytes())
    assert acme.pop("list_key") == manifest["list_key"]
    assert acme == {
        **{"as_of": JUNE, "account_id": "acme", "account_name": "acme", "csm": "Anna", "verdict": "renews"},
        **{"note": "saw them", "renewal_date": date(2026, 9, 1), "renewal_probability": 0.3, "risk_band": "high"},
        "recorded_at": pd.Timestamp("2026-06-10"),
    }
    assert company.rows("interventions") == [
        {
            **{"account_id": "acme", "playbook": "visit", "csm": "Anna", "started_at": pd.Timestamp(DAY)},
            **{"ended_at": None, "recorded_at": pd.Timestamp("2026-06-10"), "list_as_of": JUNE},
        }
    ]


def test_collecting_twice_changes_no_byte(company: Company) -> None:
    june = company.book("june.xlsx", {"Anna": ANSWERED})
    company.collect(june)
    first = company.stored_files()
    assert set(first) == {"feedback_log.parquet", "verdicts.parquet", "interventions.parquet", "rejected_answers.csv"}
    result = company.collect(june, recorded="2026-06-20")
    assert (result["accepted"], result["already_collected"]) == (0, 3)
    assert company.stored_files() == first


def test_a_changed_answer_counts_and_the_log_keeps_the_first(company: Company) -> None:
    first = company.book("june.xlsx", {"Anna": ANSWERED})
    second = company.book("again.xlsx", {"Anna": [("acme", "Will be lost", VISIT, DAY, "saw them"), *ANSWERED[1:]]})
    company.collect(first)
    result = company.collect(second, recorded="2026-06-20")
    assert result["changed"] == 1, "the other answers are unchanged"
    verdicts = {row["account_id"]: row for row in company.rows("verdicts")}
    assert (verdicts["acme"]["verdict"], verdicts["acme"]["recorded_at"].day) == ("lost", 20)
    # The same answer again keeps its first day.
    assert (verdicts["beta"]["verdict"], verdicts["beta"]["recorded_at"].day) == ("lost", 10)
    assert company.rows("interventions")[0]["recorded_at"].day == 10
    assert [row["verdict"] for row in company.rows("feedback_log") if row["account_id"] == "acme"] == ["renews", "lost"]
    company.collect(first, recorded="2026-06-25")  # an older file does not replace a newer answer
    assert company.rows("verdicts")[0]["verdict"] == "lost"


def test_an_empty_cell_removes_no_answer(company: Company) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    company.collect(company.book("note.xlsx", {"Anna": [("acme", None, None, None, "later")]}), recorded="2026-06-20")
    assert company.rows("verdicts")[0]["verdict"] == "renews"
    assert len(company.rows("interventions")) == 1


def test_a_new_start_day_of_the_same_play_replaces_the_first(company: Company) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    company.collect(
        company.book("day.xlsx", {"Anna": [("acme", None, VISIT, date(2026, 6, 5))]}), recorded="2026-06-20"
    )
    assert [(row["started_at"].day, row["recorded_at"].day) for row in company.rows("interventions")] == [(5, 20)]


def test_answers_of_two_managers_and_two_lists_are_stored(company: Company) -> None:
    company.publish(JULY)
    anna = company.book("anna.xlsx", {"Anna": ANSWERED[:1], "Bob": []})
    bob = company.book("bob.xlsx", {"Anna": [], "Bob": [("beta", "Will be lost")]})
    july = company.book("july.xlsx", {"Anna": [("acme", "Will be lost", VISIT, DAY)]}, as_of="2026-07-01")
    result = company.collect(anna, bob, july, recorded="2026-07-05")
    assert result["accepted"] == 3
    verdicts = [(row["as_of"].month, row["account_id"], row["csm"], row["verdict"]) for row in company.rows("verdicts")]
    assert verdicts == [(6, "acme", "Anna", "renews"), (6, "beta", "Bob", "lost"), (7, "acme", "Anna", "lost")]
    assert len(company.rows("interventions")) == 1  # two lists report the same start


def test_contradicting_files_are_rejected(company: Company) -> None:
    first = company.book("one.xlsx", {"Anna": [("acme", "Will renew"), ("beta", "Will renew")]})
    second = company.book("other.xlsx", {"Anna": [("acme", "Will be lost")]})
    with pytest.raises(DataContractError, match=r"answers accepted: 1 .*rejected: 2") as stop:
        company.collect(first, second)
    assert f"keep one, or collect the older file first (also in {second}, sheet Anna, C2)" in str(stop.value)


@pytest.mark.parametrize("ids", [(1, 2, 3, 2**60), ("007", "7", str(2**60), "=1+1")])
def test_account_ids_keep_their_type_and_value(tmp_path: Path, ids: tuple[Any, ...]) -> None:
    company = answered_company.company(tmp_path, dict(zip(BANDS, ids, strict=True)))
    written = {name: str(i) if isinstance(i, int) and i > 2**53 else i for name, i in company.ids.items()}
    rows = [(written[name], "Will renew", VISIT, DAY) for name in BANDS if written[name] != "=1+1"]
    company.collect(company.book("june.xlsx", {"Anna": rows}))
    assert [row["account_id"] for row in company.rows("verdicts")] == sorted(i for i in ids if i != "=1+1")
    company.check()
    clean = pd.read_parquet(tmp_path / "data" / "clean" / "interventions.parquet")
    assert set(clean["account_id"]) == {i for i in ids if i != "=1+1"}


# --- rejected answers ----------------------------------------------------------------------------


def test_valid_answers_are_stored_and_rejected_answers_reported(company: Company) -> None:
    june = company.book("june.xlsx", {"Anna": [("acmee", "Will renew"), ("beta", "=1+1"), ("gamma", "Will renew")]})
    with pytest.raises(DataContractError) as stop:
        company.collect(june)
    assert str(stop.value) == (
        "answers accepted: 1 (verdicts: 1, actions: 0; changed: 0), already collected: 0, rejected: 2, "
        f"all in {company.root}/data/feedback/rejected_answers.csv\n"
        f"  {june}, sheet Anna, C2: no account 'acmee' on this list: did you mean acme?\n"
        f"  {june}, sheet Anna, D3: holds a formula ('=1+1'): write the answer itself\n"
        "Correct the rejected answers and run collect again; accepted answers are not added twice"
    )
    assert stop.value.details["accepted"] == 1
    lines = (company.root / "data/feedback/rejected_answers.csv").read_text("utf-8-sig").splitlines()
    assert lines[0] == "file,sheet,cell,reason"
    assert lines[2] == f"{june},Anna,D3,holds a formula ('=1+1'): write the answer itself"
    company.collect(company.book("june.xlsx", {"Anna": [("acme", "Will renew"), ("gamma", "Will renew")]}))
    assert [row["account_id"] for row in company.rows("verdicts")] == ["acme", "gamma"]
    assert (company.root / "data/feedback/rejected_answers.csv").read_text("utf-8-sig") == "file,sheet,cell,reason\n"


def test_a_file_that_is_no_workbook_does_not_stop_the_next_file(company: Company) -> None:
    (company.root / "list.csv").write_text("account_id,verdict\n")
    with pytest.raises(DataContractError, match=r"accepted: 3 .*\n.*list\.csv: was rejected: it is not a workbook"):
        company.collect(company.root / "list.csv", company.book("june.xlsx", {"Anna": ANSWERED}))
    assert len(company.rows("verdicts")) == 3


def test_many_rejections_are_cut_in_the_message_and_complete_in_the_file(company: Company) -> None:
    with pytest.raises(DataContractError, match="and 15 more"):
        company.collect(company.book("june.xlsx", {"Anna": [(f"x{k}", "Will renew") for k in range(25)]}))
    assert len((company.root / "data/feedback/rejected_answers.csv").read_text("utf-8-sig").splitlines()) == 26


def test_missing_files_and_folders_are_reported(company: Company) -> None:
    with pytest.raises(MissingInputError, match=r"no file .*none\.xlsx: give the returned workbooks"):
        company.collect(company.root / "none.xlsx")
    with pytest.raises(MissingInputError, match=r"is a folder: give the workbooks in it"):
        company.collect(company.root)
    assert not company.stored_files()


def test_answers_to_an_unpublished_list_are_rejected(company: Company) -> None:
    with pytest.raises(DataContractError, match=r"no list of 2026-05-01 is published in .*lists: give the folder"):
        company.collect(company.book("may.xlsx", {"Anna": ANSWERED}, as_of="2026-05-01"))


def test_answers_to_a_replaced_list_are_accepted(company: Company) -> None:
    """Answers to the replaced list count: it is stored under `.revisions`."""
    june = company.book("june.xlsx", {"Anna": ANSWERED})
    company.publish(JUNE, edition=2)
    assert company.collect(june)["accepted"] == 3
    with pytest.raises(DataContractError, match="the list of 2026-06-01 it was made from is no longer in"):
        company.collect(company.book("lost.xlsx", {"Anna": ANSWERED}, key="another"))


def test_answers_to_a_damaged_list_are_rejected(company: Company) -> None:
    path = company.root / "lists" / "2026-06-01" / "risk_list.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataContractError, match="were changed after publication"):
        company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))


def test_a_missing_sheet_is_reported_and_is_no_error(company: Company) -> None:
    def without(book: Workbook) -> None:
        del book["Bob"]

    june = company.book("june.xlsx", {"Anna": ANSWERED, "Bob": []}, change=without)
    result = company.collect(june)
    assert result["missing_sheets"] == [
        f"{june}: sheet Bob is missing (deleted or renamed), so the answers of Bob are missing",
    ]


def test_answers_cannot_be_older_than_their_list(company: Company) -> None:
    june = company.book("june.xlsx", {"Anna": ANSWERED})
    with pytest.raises(ConfigError, match=r"but 2026-05-31 is before that list: .* --recorded"):
        company.collect(june, recorded="2026-05-31")
    with pytest.raises(ConfigError, match="--recorded: 'June' is not a date"):
        company.collect(june, recorded="June")
    assert not company.stored_files()


def test_without_a_day_the_current_time_is_recorded(company: Company) -> None:
    company.publish(date(2020, 1, 1))
    company.collect(company.book("old.xlsx", {"Anna": [("acme", "Will renew")]}, as_of="2020-01-01"), recorded=None)
    since = pd.Timestamp.now("UTC").tz_localize(None) - company.rows("verdicts")[0]["recorded_at"]
    assert timedelta(0) <= since < timedelta(minutes=5)


# --- all or nothing ------------------------------------------------------------------------------


def breaks(failure: str) -> Callable[[pytest.MonkeyPatch], None]:
    def patched(monkeypatch: pytest.MonkeyPatch) -> None:
        if failure == "write":
            write_file = atomic.write_bytes

            def write(path: Path, content: bytes) -> None:
                if path.name == "interventions.parquet":
                    raise OSError(28, "No space left on device")
                write_file(path, content)

            monkeypatch.setattr(atomic, "write_bytes", write)
        else:
            rename, calls = Path.rename, iter(range(9))

            def second(path: Path, target: Path) -> Path:
                if next(calls) == 1:
                    raise OSError(5, "Input/output error")
                return rename(path, target)

            def refused(source: Path, target: Path) -> bool:
                if failure == "exchange":
                    raise OSError(5, "Input/output error")
                return False

            monkeypatch.setattr(folders, "exchange_folders", refused)
            monkeypatch.setattr(Path, "rename", second)

    return patched


@pytest.mark.parametrize("failure", ["write", "rename", "exchange"])
def test_a_failure_in_the_middle_leaves_the_stored_files_unchanged(
    company: Company, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    before = company.stored_files()
    with monkeypatch.context() as broken:
        breaks(failure)(broken)
        with pytest.raises(OutputError, match="no answer was stored"):
            company.collect(company.book("more.xlsx", {"Anna": [("acme", "Will be lost")]}))
    assert company.stored_files() == before
    assert not [path for path in (company.root / "data").iterdir() if path.name.endswith((".tmp", ".old"))]


def test_a_kill_between_two_renames_is_undone(company: Company) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    before = company.stored_files()
    data = company.root / "data"
    (data / "feedback").rename(data / ".feedback.old")
    assert feedback_log.read_log(company.job()) is not None
    assert company.stored_files() == before


# --- actions are interventions -------------------------------------------------------------------


def test_actions_are_the_only_interventions_without_a_company_table(company: Company) -> None:
    assert company.check() is None
    june = company.book("june.xlsx", {"Anna": ANSWERED})
    company.collect(june)
    mark = company.check()
    assert mark is not None
    clean = pd.read_parquet(company.root / "data" / "clean" / "interventions.parquet")
    assert clean[["account_id", "playbook", "csm"]].to_numpy().tolist() == [["acme", "visit", "Anna"]]
    company.collect(june, recorded="2026-06-20")
    assert company.check() == mark


def test_the_fingerprint_changes_when_answers_arrive_and_not_before(company: Company) -> None:
    company.write(
        "interventions", [{"account_id": "beta", "playbook": "call", "started_at": pd.Timestamp("2026-02-01")}]
    )
    alone = company.check()
    company.collect(company.book("june.xlsx", {"Anna": [("acme", "Will renew")]}))
    assert company.check() == alone
    company.collect(company.book("act.xlsx", {"Anna": ANSWERED}), recorded="2026-06-20")
    both = company.check()
    assert both != alone
    assert company.check() == both


def test_an_action_that_the_company_also_reports_counts_once(company: Company) -> None:
    """The row of the company is used because it has the end and the hour."""
    times = {"started_at": pd.Timestamp("2026-06-03 14:20"), "ended_at": pd.Timestamp("2026-06-08")}
    rows = [{"account_id": "acme", "playbook": playbook, **times} for playbook in ("visit", "call")]
    company.write("interventions", rows)
    company.collect(company.book("june.xlsx", {"Anna": [*ANSWERED[:1], ("beta", None, VISIT, DAY)]}))
    company.check()
    clean = pd.read_parquet(company.root / "data" / "clean" / "interventions.parquet")
    assert clean[["account_id", "playbook"]].to_numpy().tolist() == [
        ["beta", "visit"],
        ["acme", "call"],
        ["acme", "visit"],
    ]
    assert clean.set_index(["account_id", "playbook"])["ended_at"]["acme", "visit"] == times["ended_at"]


def test_an_action_that_breaks_the_table_contract_is_quarantined(company: Company) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    company.write("accounts", [{"account_id": "beta", "account_name": "beta"}])
    company.check()
    quarantined = pd.read_parquet(company.root / "data" / "quarantine" / "interventions.parquet")
    assert quarantined["reason"].tolist() == ["account_id is not in table accounts, or its row there is quarantined"]
    assert quarantined["list_as_of"].tolist() == [JUNE]


def test_an_extract_older_than_the_answers_ignores_them(company: Company) -> None:
    from renewals.pipelines.stages.prepare.check import check

    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    check(company.job(source={"extracted_at": datetime(2026, 6, 2)}))
    assert not (company.root / "data" / "clean" / "interventions.parquet").exists()
    check(company.job(source={"extracted_at": datetime(2026, 6, 12)}))
    assert (company.root / "data" / "clean" / "interventions.parquet").exists()


@pytest.mark.parametrize(("day", "started"), [(JULY, [DAY]), (date(2026, 6, 11), [DAY]), (date(2026, 6, 10), [])])
def test_only_a_later_list_reports_started_actions(company: Company, day: date, started: list[date]) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    company.check()
    listed = pd.read_parquet(company.root / "lists" / "2026-06-01" / "risk_list.parquet")
    plays = {"visit": {"name": {"en": VISIT}}}
    since = new_interventions(company.job(as_of=day), listed, plays)
    assert since is not None
    assert since.interventions["started_on"].tolist() == started
    assert since.interventions["playbook"].tolist() == [VISIT] * len(started)


# --- model against manager -----------------------------------------------------------------------


def add_renewals(company: Company, *names: str) -> None:
    """Add a contract from September for these accounts."""
    contracts = pd.read_parquet(company.root / "tables" / "contracts.parquet").to_dict("records")
    start, end = pd.Timestamp("2026-09-01"), pd.Timestamp("2027-09-01")
    more = [
        {
            "contract_id": f"d{name}",
            "account_id": company.ids[name],
            "start_date": start,
            "end_date": end,
            "arr": 1000.0,
        }
        for name in names
    ]
    company.write("contracts", [*contracts, *more])
    company.check()


def queue(company: Company, day: date) -> list[tuple[Any, ...]]:
    job = company.job(as_of=day)
    ledger(job)
    disagreements(job)
    stored = read_disagreements(job)
    assert stored is not None
    return list(stored[0][["account_id", "verdict", "correct_side"]].itertuples(index=False, name=None))


def test_the_correct_side_is_known_only_after_the_final_outcome(company: Company) -> None:
    """Acme had high risk and renewed; beta had low risk and did not. Grace ends 60 days after 1 September."""
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    add_renewals(company, "acme", "gamma")
    assert queue(company, date(2026, 10, 31)) == [("acme", "renews", "pending"), ("beta", "lost", "pending")]
    assert queue(company, date(2026, 11, 1)) == [("acme", "renews", "manager"), ("beta", "lost", "manager")]
    stored = read_disagreements(company.job(as_of=date(2026, 11, 1)))
    assert stored is not None
    assert stored[1] == {
        **{"as_of": "2026-11-01", "verdicts": 3, "disagreements": 2, "pending": 0, "model": 0, "manager": 2},
        **{"final": 2, "min_final": 30, "accuracy": {"model": None, "manager": None}, "brier": None},
    }
    assert read_disagreements(company.job(as_of=JULY)) is None  # the table belongs to another day


def test_the_model_is_the_correct_side(company: Company) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    add_renewals(company, "beta")
    assert queue(company, date(2026, 11, 1)) == [("acme", "renews", "model"), ("beta", "lost", "model")]


def test_a_day_uses_only_the_answers_recorded_before(company: Company) -> None:
    company.collect(company.book("june.xlsx", {"Anna": ANSWERED}))
    company.collect(company.book("more.xlsx", {"Anna": [("acme", "Will be lost")]}), recorded="2026-06-20")
    assert [verdict for _, verdict, _ in queue(company, date(2026, 6, 20))] == ["renews", "lost"]
    assert [account for account, _, _ in queue(company, date(2026, 6, 21))] == ["beta"]
    disagreements(company.job(as_of=date(2026, 6, 10)))
    assert read_disagreements(company.job(as_of=date(2026, 6, 10))) is None


def test_collect_returns_the_tally_of_the_newest_list(company: Company) -> None:
    june = company.book("june.xlsx", {"Anna": ANSWERED})
    tally = company.collect(june)["disagreements"]
    assert (tally["as_of"], tally["disagreements"], tally["pending"]) == (None, 2, 2)
    add_renewals(company, "acme")
    queue(company, date(2026, 11, 1))
    assert company.collect(june)["disagreements"]["as_of"] is None, "no list of that day is published yet"
    archive_list(company.job(as_of=date(2026, 11, 1)), "key", None)
    tally = company.collect(june)["disagreements"]
    assert (tally["as_of"], tally["pending"], tally["manager"]) == ("2026-11-01", 0, 2)


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_its_result_and_exit_code(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    june = company.book("june.xlsx", {"Anna": [*ANSWERED, ("nobody", "Will renew")]})
    (company.root / "params.yaml").write_text("engine: {threads: 1}\n")
    root = company.root
    places = ("--data", root / "data", "--lists", root / "lists", "--params", root / "params.yaml")
    with pytest.raises(SystemExit) as stop:
        app(["collect", str(june), "--recorded", "2026-06-10", *map(str, places)])
    assert stop.value.code == 65
    result = json.loads(capsys.readouterr().out)
    assert (result["exit"], result["accepted"], result["rejected"]) == (65, 3, 1)
    assert "no account 'nobody' on this list" in result["message"]
    with pytest.raises(SystemExit) as stop:
        app(["collect", *map(str, places)])
    assert stop.value.code == 2


def test_answers_in_a_published_workbook_are_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`collect` reads answers that were filled into the workbook of `score` from its drop-down texts."""
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    monkeypatch.setattr(champion_models, "load_champion", scored_company.champions(renewal="3"))
    scored_company.write_company(tmp_path)
    job = scored_company.job(tmp_path)
    scoring.score(job)
    publish(job)
    path = tmp_path / "lists" / "2026-06-01" / "risk_list.xlsx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = load_workbook(path)
    if HIDDEN_SHEET not in book.sheetnames:
        pytest.skip("this workbook has no answer columns")
    hidden = book[HIDDEN_SHEET]
    title, csm, letter, *letters = (str(cell.value or "") for cell in hidden[TABLES_HEADER_ROW + 1][:7])
    options = [hidden[f"{column}{TABLES_HEADER_ROW + 1}"].value for column in ("J", "M")]
    for column_letter, answer in zip(letters, (*options, datetime(2026, 6, 3), "so"), strict=True):
        book[title][f"{column_letter}2"] = answer
    back = tmp_path / "back.xlsx"
    book.save(back)
    assert collect(replace(job, as_of=None), [back], "2026-06-10")["accepted"] == 1
    stored = pd.read_parquet(tmp_path / "data" / "feedback" / "feedback_log.parquet").iloc[0]
    assert str(stored["account_id"]) == str(book[title][f"{letter}2"].value)
    codes = [hidden[f"{column}{TABLES_HEADER_ROW + 1}"].value for column in ("K", "N")]
    assert [stored["verdict"], stored["action"], stored["note"], stored["started_on"]] == [*codes, "so", DAY]
    assert (stored["csm"] or "") == csm
