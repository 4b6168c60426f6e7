"""`renewals collect`: what managers answered is kept, once, whole, and known from the day it came in."""

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
from tests.pipelines import scored_company
from tests.pipelines.answered_company import BANDS, JULY, JUNE, Company, company
from tests.reports.returned_books import DAY

VISIT = "Visit the boss"
ANSWERED = [("acme", "Will renew", VISIT, DAY, "saw them"), ("beta", "Will be lost"), ("gamma", "Not sure"), ("quiet",)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return company(tmp_path_factory.mktemp("company"))


@pytest.fixture
def own(tmp_path: Path, made: Company) -> Company:
    shutil.copytree(made.root, tmp_path, dirs_exist_ok=True)
    return replace(made, root=tmp_path)


# --- what is kept --------------------------------------------------------------------------------


def test_verdicts_and_actions_are_kept(own: Company) -> None:
    told = own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    assert {name: told[name] for name in ("files", "accepted", "changed", "verdicts", "actions", "rejected")} == {
        **{"files": 1, "accepted": 3, "changed": 0},
        **{"verdicts": 3, "actions": 1, "rejected": 0},
    }
    acme, *_ = own.rows("verdicts")
    assert acme.pop("list_key") == json.loads((own.root / "lists/2026-06-01/manifest.json").read_bytes())["list_key"]
    assert acme == {
        **{"as_of": JUNE, "account_id": "acme", "account_name": "acme", "csm": "Anna", "verdict": "renews"},
        **{"note": "saw them", "renewal_date": date(2026, 9, 1), "renewal_probability": 0.3, "risk_band": "high"},
        "recorded_at": pd.Timestamp("2026-06-10"),
    }
    assert own.rows("interventions") == [
        {
            **{"account_id": "acme", "playbook": "visit", "csm": "Anna", "started_at": pd.Timestamp(DAY)},
            **{"ended_at": None, "recorded_at": pd.Timestamp("2026-06-10"), "list_as_of": JUNE},
        }
    ]


def test_twice_is_the_same_to_the_byte(own: Company) -> None:
    june = own.book("june.xlsx", {"Anna": ANSWERED})
    own.collect(june)
    first = own.kept()
    assert set(first) == {"feedback_log.parquet", "verdicts.parquet", "interventions.parquet", "rejected_answers.csv"}
    told = own.collect(june, recorded="2026-06-20")
    assert (told["accepted"], told["already_collected"]) == (0, 3)
    assert own.kept() == first


def test_a_changed_answer_counts_and_the_first_is_kept(own: Company) -> None:
    first = own.book("june.xlsx", {"Anna": ANSWERED})
    second = own.book("again.xlsx", {"Anna": [("acme", "Will be lost", VISIT, DAY, "saw them"), *ANSWERED[1:]]})
    own.collect(first)
    told = own.collect(second, recorded="2026-06-20")
    assert told["changed"] == 1, "the others say what they said"
    verdicts = {row["account_id"]: row for row in own.rows("verdicts")}
    assert (verdicts["acme"]["verdict"], verdicts["acme"]["recorded_at"].day) == ("lost", 20)
    assert (verdicts["beta"]["verdict"], verdicts["beta"]["recorded_at"].day) == ("lost", 10)  # said again: no news
    assert own.rows("interventions")[0]["recorded_at"].day == 10
    assert [row["verdict"] for row in own.rows("feedback_log") if row["account_id"] == "acme"] == ["renews", "lost"]
    own.collect(first, recorded="2026-06-25")  # an old file does not take back what a newer one said
    assert own.rows("verdicts")[0]["verdict"] == "lost"


def test_an_empty_cell_takes_nothing_back(own: Company) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    own.collect(own.book("note.xlsx", {"Anna": [("acme", None, None, None, "later")]}), recorded="2026-06-20")
    assert own.rows("verdicts")[0]["verdict"] == "renews"
    assert len(own.rows("interventions")) == 1


def test_another_day_for_the_same_play_corrects_the_first(own: Company) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    own.collect(own.book("day.xlsx", {"Anna": [("acme", None, VISIT, date(2026, 6, 5))]}), recorded="2026-06-20")
    assert [(row["started_at"].day, row["recorded_at"].day) for row in own.rows("interventions")] == [(5, 20)]


def test_two_managers_and_two_lists(own: Company) -> None:
    own.publish(JULY)
    anna = own.book("anna.xlsx", {"Anna": ANSWERED[:1], "Bob": []})
    bob = own.book("bob.xlsx", {"Anna": [], "Bob": [("beta", "Will be lost")]})
    july = own.book("july.xlsx", {"Anna": [("acme", "Will be lost", VISIT, DAY)]}, as_of="2026-07-01")
    told = own.collect(anna, bob, july, recorded="2026-07-05")
    assert told["accepted"] == 3
    said = [(row["as_of"].month, row["account_id"], row["csm"], row["verdict"]) for row in own.rows("verdicts")]
    assert said == [(6, "acme", "Anna", "renews"), (6, "beta", "Bob", "lost"), (7, "acme", "Anna", "lost")]
    assert len(own.rows("interventions")) == 1  # the same beginning, told of two lists


def test_two_files_that_say_otherwise(own: Company) -> None:
    one = own.book("one.xlsx", {"Anna": [("acme", "Will renew"), ("beta", "Will renew")]})
    other = own.book("other.xlsx", {"Anna": [("acme", "Will be lost")]})
    with pytest.raises(DataContractError, match=r"answers accepted: 1 .*rejected: 2") as stop:
        own.collect(one, other)
    assert f"keep one, or collect the older file first (also in {other}, sheet Anna, C2)" in str(stop.value)


@pytest.mark.parametrize("ids", [(1, 2, 3, 2**60), ("007", "7", str(2**60), "=1+1")])
def test_ids_are_kept_as_given(tmp_path: Path, ids: tuple[Any, ...]) -> None:
    own = company(tmp_path, dict(zip(BANDS, ids, strict=True)))
    written = {name: str(i) if isinstance(i, int) and i > 2**53 else i for name, i in own.ids.items()}
    rows = [(written[name], "Will renew", VISIT, DAY) for name in BANDS if written[name] != "=1+1"]
    own.collect(own.book("june.xlsx", {"Anna": rows}))
    assert [row["account_id"] for row in own.rows("verdicts")] == sorted(i for i in ids if i != "=1+1")
    own.check()
    clean = pd.read_parquet(tmp_path / "data" / "clean" / "interventions.parquet")
    assert set(clean["account_id"]) == {i for i in ids if i != "=1+1"}


# --- what is refused -----------------------------------------------------------------------------


def test_the_rest_is_kept_and_what_is_refused_is_told(own: Company) -> None:
    june = own.book("june.xlsx", {"Anna": [("acmee", "Will renew"), ("beta", "=1+1"), ("gamma", "Will renew")]})
    with pytest.raises(DataContractError) as stop:
        own.collect(june)
    assert str(stop.value) == (
        "answers accepted: 1 (verdicts: 1, actions: 0; changed: 0), already collected: 0, rejected: 2, "
        f"all in {own.root}/data/feedback/rejected_answers.csv\n"
        f"  {june}, sheet Anna, C2: no account 'acmee' on this list: did you mean acme?\n"
        f"  {june}, sheet Anna, D3: holds a formula ('=1+1'): write the answer itself\n"
        "Correct the rejected answers and run collect again; accepted answers are not added twice"
    )
    assert stop.value.details["accepted"] == 1
    lines = (own.root / "data/feedback/rejected_answers.csv").read_text("utf-8-sig").splitlines()
    assert lines[0] == "file,sheet,cell,reason"
    assert lines[2] == f"{june},Anna,D3,holds a formula ('=1+1'): write the answer itself"
    own.collect(own.book("june.xlsx", {"Anna": [("acme", "Will renew"), ("gamma", "Will renew")]}))
    assert [row["account_id"] for row in own.rows("verdicts")] == ["acme", "gamma"]
    assert (own.root / "data/feedback/rejected_answers.csv").read_text("utf-8-sig") == "file,sheet,cell,reason\n"


def test_a_file_that_is_no_workbook_does_not_stop_the_others(own: Company) -> None:
    (own.root / "list.csv").write_text("account_id,verdict\n")
    with pytest.raises(DataContractError, match=r"accepted: 3 .*\n.*list\.csv: was rejected: it is not a workbook"):
        own.collect(own.root / "list.csv", own.book("june.xlsx", {"Anna": ANSWERED}))
    assert len(own.rows("verdicts")) == 3


def test_many_refusals_are_cut_in_the_message_and_not_in_the_file(own: Company) -> None:
    with pytest.raises(DataContractError, match="and 15 more"):
        own.collect(own.book("june.xlsx", {"Anna": [(f"x{k}", "Will renew") for k in range(25)]}))
    assert len((own.root / "data/feedback/rejected_answers.csv").read_text("utf-8-sig").splitlines()) == 26


def test_files_that_are_not_there(own: Company) -> None:
    with pytest.raises(MissingInputError, match=r"no file .*none\.xlsx: give the returned workbooks"):
        own.collect(own.root / "none.xlsx")
    with pytest.raises(MissingInputError, match=r"is a folder: give the workbooks in it"):
        own.collect(own.root)
    assert not own.kept()


def test_a_list_that_is_not_published(own: Company) -> None:
    with pytest.raises(DataContractError, match=r"no list of 2026-05-01 is published in .*lists: give the folder"):
        own.collect(own.book("may.xlsx", {"Anna": ANSWERED}, as_of="2026-05-01"))


def test_a_list_that_another_has_replaced(own: Company) -> None:
    """Its earlier form is kept under `.revisions`, and answers to it are answers."""
    june = own.book("june.xlsx", {"Anna": ANSWERED})
    own.publish(JUNE, made=2)
    assert own.collect(june)["accepted"] == 3
    with pytest.raises(DataContractError, match="the list of 2026-06-01 it was made from is no longer in"):
        own.collect(own.book("lost.xlsx", {"Anna": ANSWERED}, key="another"))


def test_a_list_that_was_harmed(own: Company) -> None:
    path = own.root / "lists" / "2026-06-01" / "risk_list.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataContractError, match="were changed after publication"):
        own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))


def test_a_sheet_that_is_gone_is_told_and_no_fault(own: Company) -> None:
    def without(book: Workbook) -> None:
        del book["Bob"]

    june = own.book("june.xlsx", {"Anna": ANSWERED, "Bob": []}, change=without)
    told = own.collect(june)
    assert told["missing_sheets"] == [
        f"{june}: sheet Bob is missing (deleted or renamed), so the answers of Bob are missing",
    ]


def test_answers_are_not_older_than_their_list(own: Company) -> None:
    june = own.book("june.xlsx", {"Anna": ANSWERED})
    with pytest.raises(ConfigError, match=r"but 2026-05-31 is before that list: .* --recorded"):
        own.collect(june, recorded="2026-05-31")
    with pytest.raises(ConfigError, match="--recorded: 'June' is not a date"):
        own.collect(june, recorded="June")
    assert not own.kept()


def test_without_a_day_they_came_in_now(own: Company) -> None:
    own.publish(date(2020, 1, 1))
    own.collect(own.book("old.xlsx", {"Anna": [("acme", "Will renew")]}, as_of="2020-01-01"), recorded=None)
    since = pd.Timestamp.now("UTC").tz_localize(None) - own.rows("verdicts")[0]["recorded_at"]
    assert timedelta(0) <= since < timedelta(minutes=5)


# --- whole or not at all -------------------------------------------------------------------------


def breaks(place: str) -> Callable[[pytest.MonkeyPatch], None]:
    def patched(monkeypatch: pytest.MonkeyPatch) -> None:
        if place == "write":
            whole = atomic.write_bytes

            def write(path: Path, content: bytes) -> None:
                if path.name == "interventions.parquet":
                    raise OSError(28, "No space left on device")
                whole(path, content)

            monkeypatch.setattr(atomic, "write_bytes", write)
        else:
            rename, calls = Path.rename, iter(range(9))

            def second(path: Path, target: Path) -> Path:
                if next(calls) == 1:
                    raise OSError(5, "Input/output error")
                return rename(path, target)

            def refused(one: Path, other: Path) -> bool:
                if place == "exchange":
                    raise OSError(5, "Input/output error")
                return False

            monkeypatch.setattr(folders, "exchange_folders", refused)
            monkeypatch.setattr(Path, "rename", second)

    return patched


@pytest.mark.parametrize("place", ["write", "rename", "exchange"])
def test_a_failure_in_the_middle_leaves_what_was_there(
    own: Company, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    before = own.kept()
    with monkeypatch.context() as broken:
        breaks(place)(broken)
        with pytest.raises(OutputError, match="no answer was stored"):
            own.collect(own.book("more.xlsx", {"Anna": [("acme", "Will be lost")]}))
    assert own.kept() == before
    assert not [path for path in (own.root / "data").iterdir() if path.name.endswith((".tmp", ".old"))]


def test_a_kill_between_two_renames_is_undone(own: Company) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    before = own.kept()
    data = own.root / "data"
    (data / "feedback").rename(data / ".feedback.old")
    assert feedback_log.read_log(own.job()) is not None
    assert own.kept() == before


# --- actions are interventions -------------------------------------------------------------------


def test_actions_stand_alone_where_the_company_has_no_table(own: Company) -> None:
    assert own.check() is None
    june = own.book("june.xlsx", {"Anna": ANSWERED})
    own.collect(june)
    mark = own.check()
    assert mark is not None
    clean = pd.read_parquet(own.root / "data" / "clean" / "interventions.parquet")
    assert clean[["account_id", "playbook", "csm"]].to_numpy().tolist() == [["acme", "visit", "Anna"]]
    own.collect(june, recorded="2026-06-20")
    assert own.check() == mark


def test_the_fingerprint_changes_when_answers_arrive_and_not_before(own: Company) -> None:
    own.write("interventions", [{"account_id": "beta", "playbook": "call", "started_at": pd.Timestamp("2026-02-01")}])
    alone = own.check()
    own.collect(own.book("june.xlsx", {"Anna": [("acme", "Will renew")]}))
    assert own.check() == alone
    own.collect(own.book("act.xlsx", {"Anna": ANSWERED}), recorded="2026-06-20")
    both = own.check()
    assert both != alone
    assert own.check() == both


def test_what_the_company_tells_too_is_told_once(own: Company) -> None:
    """The company's own row stands: it has the end, and the hour."""
    their = {"started_at": pd.Timestamp("2026-06-03 14:20"), "ended_at": pd.Timestamp("2026-06-08")}
    rows = [{"account_id": "acme", "playbook": playbook, **their} for playbook in ("visit", "call")]
    own.write("interventions", rows)
    own.collect(own.book("june.xlsx", {"Anna": [*ANSWERED[:1], ("beta", None, VISIT, DAY)]}))
    own.check()
    clean = pd.read_parquet(own.root / "data" / "clean" / "interventions.parquet")
    assert clean[["account_id", "playbook"]].to_numpy().tolist() == [
        ["beta", "visit"],
        ["acme", "call"],
        ["acme", "visit"],
    ]
    assert clean.set_index(["account_id", "playbook"])["ended_at"]["acme", "visit"] == their["ended_at"]


def test_an_action_breaks_the_contract_as_any_row(own: Company) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    own.write("accounts", [{"account_id": "beta", "account_name": "beta"}])
    own.check()
    aside = pd.read_parquet(own.root / "data" / "quarantine" / "interventions.parquet")
    assert aside["reason"].tolist() == ["account_id is not in table accounts, or its row there is quarantined"]
    assert aside["list_as_of"].tolist() == [JUNE]


def test_a_run_on_an_older_extract_stands_before_the_answers(own: Company) -> None:
    from renewals.pipelines.stages.prepare.check import check

    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    check(own.job(source={"extracted_at": datetime(2026, 6, 2)}))
    assert not (own.root / "data" / "clean" / "interventions.parquet").exists()
    check(own.job(source={"extracted_at": datetime(2026, 6, 12)}))
    assert (own.root / "data" / "clean" / "interventions.parquet").exists()


@pytest.mark.parametrize(("day", "begun"), [(JULY, [DAY]), (date(2026, 6, 11), [DAY]), (date(2026, 6, 10), [])])
def test_a_later_list_says_what_was_begun_and_an_earlier_one_does_not(
    own: Company, day: date, begun: list[date]
) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    own.check()
    listed = pd.read_parquet(own.root / "lists" / "2026-06-01" / "risk_list.parquet")
    plays = {"visit": {"name": {"en": VISIT}}}
    told = new_interventions(own.job(as_of=day), listed, plays)
    assert told is not None
    assert told.interventions["started_on"].tolist() == begun
    assert told.interventions["playbook"].tolist() == [VISIT] * len(begun)


# --- model against manager -----------------------------------------------------------------------


def renewed(own: Company, *names: str) -> None:
    """These accounts buy again in September."""
    contracts = pd.read_parquet(own.root / "tables" / "contracts.parquet").to_dict("records")
    start, end = pd.Timestamp("2026-09-01"), pd.Timestamp("2027-09-01")
    more = [
        {"contract_id": f"d{name}", "account_id": own.ids[name], "start_date": start, "end_date": end, "arr": 1000.0}
        for name in names
    ]
    own.write("contracts", [*contracts, *more])
    own.check()


def queue(own: Company, day: date) -> list[tuple[Any, ...]]:
    job = own.job(as_of=day)
    ledger(job)
    disagreements(job)
    told = read_disagreements(job)
    assert told is not None
    return list(told[0][["account_id", "verdict", "correct_side"]].itertuples(index=False, name=None))


def test_who_was_right_once_it_is_final_and_never_before(own: Company) -> None:
    """Acme was at high risk and bought again; beta was not and did not. Grace ends 60 days after 1 September."""
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    renewed(own, "acme", "gamma")
    assert queue(own, date(2026, 10, 31)) == [("acme", "renews", "pending"), ("beta", "lost", "pending")]
    assert queue(own, date(2026, 11, 1)) == [("acme", "renews", "manager"), ("beta", "lost", "manager")]
    told = read_disagreements(own.job(as_of=date(2026, 11, 1)))
    assert told is not None
    assert told[1] == {
        **{"as_of": "2026-11-01", "verdicts": 3, "disagreements": 2, "pending": 0, "model": 0, "manager": 2},
        **{"final": 2, "min_final": 30, "accuracy": {"model": None, "manager": None}, "brier": None},
    }
    assert read_disagreements(own.job(as_of=JULY)) is None  # that was another day


def test_the_model_may_be_right(own: Company) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    renewed(own, "beta")
    assert queue(own, date(2026, 11, 1)) == [("acme", "renews", "model"), ("beta", "lost", "model")]


def test_a_day_knows_only_the_answers_that_had_come_in(own: Company) -> None:
    own.collect(own.book("june.xlsx", {"Anna": ANSWERED}))
    own.collect(own.book("more.xlsx", {"Anna": [("acme", "Will be lost")]}), recorded="2026-06-20")
    assert [verdict for _, verdict, _ in queue(own, date(2026, 6, 20))] == ["renews", "lost"]
    assert [account for account, _, _ in queue(own, date(2026, 6, 21))] == ["beta"]
    disagreements(own.job(as_of=date(2026, 6, 10)))
    assert read_disagreements(own.job(as_of=date(2026, 6, 10))) is None


def test_collect_tells_the_tally_as_of_the_day_of_the_newest_list(own: Company) -> None:
    june = own.book("june.xlsx", {"Anna": ANSWERED})
    told = own.collect(june)["disagreements"]
    assert (told["as_of"], told["disagreements"], told["pending"]) == (None, 2, 2)
    renewed(own, "acme")
    queue(own, date(2026, 11, 1))
    assert own.collect(june)["disagreements"]["as_of"] is None, "no list of that day is published yet"
    archive_list(own.job(as_of=date(2026, 11, 1)), "key", None)
    told = own.collect(june)["disagreements"]
    assert (told["as_of"], told["pending"], told["manager"]) == ("2026-11-01", 0, 2)


# --- the command ---------------------------------------------------------------------------------


def test_the_command_line(own: Company, capsys: pytest.CaptureFixture[str]) -> None:
    june = own.book("june.xlsx", {"Anna": [*ANSWERED, ("nobody", "Will renew")]})
    (own.root / "params.yaml").write_text("engine: {threads: 1}\n")
    places = ("--data", own.root / "data", "--lists", own.root / "lists", "--params", own.root / "params.yaml")
    with pytest.raises(SystemExit) as stop:
        app(["collect", str(june), "--recorded", "2026-06-10", *map(str, places)])
    assert stop.value.code == 65
    said = json.loads(capsys.readouterr().out)
    assert (said["exit"], said["accepted"], said["rejected"]) == (65, 3, 1)
    assert "no account 'nobody' on this list" in said["message"]
    with pytest.raises(SystemExit) as stop:
        app(["collect", *map(str, places)])
    assert stop.value.code == 2


def test_the_real_workbook_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `score` publishes it: answers written under its headings, by its own words, are read back."""
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
        pytest.skip("this workbook asks for no answers")
    hidden = book[HIDDEN_SHEET]
    title, csm, letter, *letters = (str(cell.value or "") for cell in hidden[TABLES_HEADER_ROW + 1][:7])
    words = [hidden[f"{column}{TABLES_HEADER_ROW + 1}"].value for column in ("J", "M")]
    for place, answer in zip(letters, (*words, datetime(2026, 6, 3), "so"), strict=True):
        book[title][f"{place}2"] = answer
    back = tmp_path / "back.xlsx"
    book.save(back)
    assert collect(replace(job, as_of=None), [back], "2026-06-10")["accepted"] == 1
    kept = pd.read_parquet(tmp_path / "data" / "feedback" / "feedback_log.parquet").iloc[0]
    assert str(kept["account_id"]) == str(book[title][f"{letter}2"].value)
    codes = [hidden[f"{column}{TABLES_HEADER_ROW + 1}"].value for column in ("K", "N")]
    assert [kept["verdict"], kept["action"], kept["note"], kept["started_on"]] == [*codes, "so", DAY]
    assert (kept["csm"] or "") == csm
