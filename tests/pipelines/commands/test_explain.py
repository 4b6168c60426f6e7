from __future__ import annotations

import io
import json
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from renewals.pipelines.commands.explain import explain, print_explanation
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.stages.act import disagreements
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts, feedback_log
from renewals.pipelines.storage.published import list_archive, published_lists
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.sentences import disagreements as spoken
from renewals.reports.words import Messages
from tests.pipelines.scored_company import job, publish_company, write_company
from tests.reports.books import read


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return publish_company(tmp_path, monkeypatch)


def test_one_account_with_all_that_stands_behind_it(company: Path) -> None:
    said = explain(job(company), "a0")
    assert said["account"]["account_name"] == "acme"
    assert said["account"]["renewal_date"] == "2026-09-01"
    assert said["scores"]["renewal_probability"] == pytest.approx(0.5)
    assert said["scores"]["renewal_model"] == "renewal/3"
    assert said["reasons"][0]["sentence"].startswith("0 people used")
    assert said["reasons"][0]["contribution"] == pytest.approx(-1.0)
    assert said["themes"] == pytest.approx({"adoption": -1.0, "support": 0.5})
    assert said["features"][0] == {
        **{"feature": "people_28d", "base_feature": "people", "family": "usage", "theme": "adoption"},
        **{"value": 0.0, "peer_value": 2.0, "contribution": pytest.approx(-1.0)},
    }
    assert said["rows_per_table"] == {"accounts": 1, "contracts": 1, "usage_events": 2}, (
        "only what was known before the day"
    )
    assert json.loads(json.dumps(said)) == said


def test_the_plays_are_told_with_their_steps_and_what_they_are_worth(company: Path) -> None:
    said = explain(job(company), "a0")
    first = said["playbooks"][0]
    assert (first["id"], first["name"], first["hours"]) == ("adoption_push", "Seat-activation campaign", 6)
    assert first["steps"][0].startswith("1. List the seats never used")
    assert said["worth"]["gain_per_hour"] == pytest.approx(said["worth"]["expected_gain"] / 6)
    assert said["interventions_since_last_list"] is None, "there was no list before"


def test_the_plays_beside_a_list_of_the_release_before_are_told_as_well(company: Path) -> None:
    """They stood under `grows`, `adds` and `effect`."""
    file = list_archive.archive_folder(job(company), date(2026, 6, 1)) / artifacts.SCORE_SUMMARY
    before, told = explain(job(company), "a0")["playbooks"], json.loads(file.read_bytes())
    told["playbooks"]["adoption_push"] = {
        "name": {"en": "Seat-activation campaign", "zh": "席位激活行动"},
        "themes": ["adoption"],
        "grows": None,
        "adds": None,
        "stages": ["steady", "pre_renewal"],
        "size_bands": ["small", "medium", "large"],
        "owner": {"en": "customer success manager", "zh": "客户成功经理"},
        "hours": 6.0,
        "effect": 0.9,
        "steps": {"en": ["Call."], "zh": ["致电。"]},
        "treated": 120,
    }
    file.write_text(json.dumps(told), encoding="utf-8")
    first = explain(job(company), "a0")["playbooks"][0]
    assert (first["id"], first["steps"]) == (before[0]["id"], ["1. Call."])
    assert first["effect"].startswith("a chance of 70 % becomes 85% (measured on 120")


def test_what_was_done_since_the_last_list_is_told(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One begun before the last list, one between, one not yet known on the day."""
    listed = pd.DataFrame({"account_id": ["a0"], "renewal_probability": [0.4]})
    manifest = {"models": {"renewal": {"name": "renewal", "version": "3"}}}
    monkeypatch.setattr(
        published_lists, "latest_list", lambda job: published_lists.PreviousList(date(2026, 5, 1), manifest, listed)
    )
    publish(job(company))
    assert (
        explain(job(company), "a0")["interventions_since_last_list"]
        == "Since the list of 2026-05-01 no playbook was logged as begun."
    )
    started = pd.to_datetime(["2026-04-30", "2026-05-01", "2026-05-20", "2026-05-21"])
    known = pd.to_datetime(["2026-05-02", None, "2026-06-01", "2026-05-22"])
    rows = {"account_id": ["a0", "a0", "a0", "a1"], "playbook": ["old", "adoption_push", "support_cleanup", "unknown"]}
    begun = pd.DataFrame(rows | {"started_at": started, "recorded_at": known, "ended_at": pd.NaT, "csm": None})
    begun = begun.astype(dict.fromkeys(("started_at", "recorded_at", "ended_at"), "datetime64[us]"))
    begun.to_parquet(company / "data" / "clean" / "interventions.parquet")
    publish(job(company))
    said = explain(job(company), "a0")["interventions_since_last_list"]
    assert said.startswith("Since the list of 2026-05-01: Seat-activation campaign (begun 2026-05-01). The chance")
    assert "was 40% then and is 50% now" in said
    other = explain(job(company), "a1")["interventions_since_last_list"]
    assert other.startswith("Since the list of 2026-05-01: unknown (begun 2026-05-21). There are not two chances")


def test_scores_of_an_older_release_are_made_anew(company: Path) -> None:
    file = company / "data" / "act" / artifacts.SCORE_SUMMARY
    told = json.loads(file.read_bytes())
    del told["what_if_features"]
    file.write_text(json.dumps(told))
    with pytest.raises(MissingInputError, match="from an older release: run `renewals score` again"):
        read_scored_list(job(company))


@pytest.mark.parametrize(
    ("language", "drop", "low", "news"),
    [
        (
            "en",
            "3 person-days of use in the last 28 days; by its own past and season about 20",
            "2; the lowest is 4",
            "new",
        ),
        ("zh", "近 28 天使用 3 人天；按该客户自身的历史和季节，预计约 20 人天", "2 个；最低 4 分", "新"),
    ],
)
def test_alerts_are_told_with_their_evidence(company: Path, language: str, drop: str, low: str, news: str) -> None:
    own = job(company, language=language)
    said = explain(own, "a0")
    assert [(a["code"], a["is_new"], a["first_reported_on"]) for a in said["alerts"]] == [
        ("usage_drop", True, "2026-06-01"),
        ("sponsor_lost", False, "2026-05-01"),
    ]
    assert said["alerts"][0]["sentence"].startswith(drop)
    assert (said["alerts"][1]["started_on"], said["alerts"][1]["tier"]) == ("2026-04-02", "S")
    assert Messages(language).value("tier", "S") in said["alerts"][1]["sentence"]
    assert low in explain(own, "a4")["alerts"][0]["sentence"], "an account that is not scored has alerts too"
    assert explain(own, "a1")["alerts"] == []
    sink = io.StringIO()
    for account in ("a0", "a1"):
        print_explanation(
            explain(own, account), Messages(language), Console(file=sink, width=200, force_terminal=False)
        )
    shown = sink.getvalue()
    assert all(part in shown for part in (drop, news, "2026-05-01", Messages(language).text("explain.no_alerts")))


def test_an_account_without_a_score_is_explained_too(company: Path) -> None:
    said = explain(job(company), "a4")
    assert said["scores"]["status"] == "too_little_history"
    assert said["scores"]["renewal_probability"] is None
    assert said["reasons"] == said["strengths"] == said["features"] == said["playbooks"] == []
    assert said["worth"]["gain_per_hour"] is None
    assert said["themes"] == {}


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("acme", r"Did you mean: a0 \(acme\)"),
        ("A0", r"Did you mean: a0 \(acme\)"),
        ("ＡＣＭÉ", r"Did you mean: a0 \(acme\)"),
        ("gama", r"Did you mean: a2 \(gamma\)"),
        ("zzzzzz", "Give its account_id"),
        ("", "Give its account_id"),
        ("e", "Give its account_id"),
        ("[/bold]", r"Did you mean: a7 \(\[/bold\]␛\[31m\)"),
    ],
)
def test_a_wrong_id_gets_the_nearest(company: Path, asked: str, hint: str) -> None:
    with pytest.raises(MissingInputError, match=hint) as stop:
        explain(job(company), asked)
    assert "8 accounts with a renewal in sight" in str(stop.value)


def test_whole_number_ids_are_found_by_their_text(company: Path) -> None:
    write_company(company, ids=range(1, 9))
    score(job(company))
    publish(job(company))
    assert explain(job(company), "1")["account"]["account_id"] == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tables_on_a_terminal_run_nothing(company: Path, language: str) -> None:
    sink = io.StringIO()
    for account in ("a7", "a4"):
        print_explanation(
            explain(job(company), account), Messages(language), Console(file=sink, width=120, force_terminal=False)
        )
    shown = sink.getvalue()
    assert "[/bold]␛[31m" in shown
    assert "\x1b" not in shown
    assert Messages(language).text("explain.none") in shown
    assert "people_28d" in shown


@pytest.mark.parametrize(("language", "title"), [("en", "Model and manager"), ("zh", "模型与客户经理")])
def test_a_manager_who_saw_it_otherwise_is_told(company: Path, language: str, title: str) -> None:
    """In the explanation of the account and on a sheet of the workbook; other disagreements make another list."""
    one = job(company, language=language)
    score(one)
    publish(one)
    assert explain(one, "a0")["disagreement"] is None
    rows = {
        **{"as_of": [date(2026, 5, 1)], "account_id": ["a0"], "account_name": ["acme"], "csm": ["Anna"]},
        **{"verdict": ["lost"], "note": ["=1+1"], "renewal_date": [date(2026, 9, 1)], "renewal_probability": [0.8]},
        **{
            "risk_band": ["low"],
            "recorded_at": [pd.Timestamp("2026-05-10")],
            "renewed": [None],
            "correct_side": ["pending"],
        },
    }
    parquet = feedback_log.to_typed_parquet(pd.DataFrame(rows), disagreements.COLUMNS)
    (one.folder / artifacts.DISAGREEMENTS).write_bytes(parquet)
    tally = {"verdicts": 1, "disagreements": 1, "pending": 1, "model": 0, "manager": 0, "final": 0, "min_final": 30}
    tally |= {"as_of": "2026-06-01", "accuracy": {"model": None, "manager": None}, "brier": None}
    standing = {"as_of": "2026-06-01", "tally": tally, "digest": "d1"}
    (one.folder / artifacts.DISAGREEMENTS_SUMMARY).write_text(json.dumps(standing))
    assert publish(one)["state"] == "published"
    assert publish(one)["state"] == "already published"
    said = explain(one, "a0")
    assert said["disagreement"] == spoken.disagreement_sentence(
        {name: value[0] for name, value in rows.items()}, Messages(language)
    )
    shown = Console(file=io.StringIO(), width=300)
    print_explanation(said, Messages(language), shown)
    assert said["disagreement"] in shown.file.getvalue()  # type: ignore[attr-defined]
    assert explain(one, "a1")["disagreement"] is None
    sheet = read((company / "lists" / "2026-06-01" / "risk_list.xlsx").read_bytes())[title]
    assert [cell.value for cell in sheet[2]][:3] == [datetime(2026, 5, 1), "acme", "a0"]
    assert (sheet["F2"].value, sheet["J2"].value, sheet["J2"].data_type) == (0.8, "=1+1", "s")
    assert sheet["A4"].value == " ".join(spoken.tally_sentences(tally, Messages(language)))
