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
from renewals.reports.sentences import disagreements as disagreement_sentences
from renewals.reports.words import Messages
from tests.pipelines.scored_company import job, publish_company, write_company
from tests.reports.books import read


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return publish_company(tmp_path, monkeypatch)


def test_an_account_is_explained_with_scores_reasons_and_features(company: Path) -> None:
    result = explain(job(company), "a0")
    assert result["account"]["account_name"] == "acme"
    assert result["account"]["renewal_date"] == "2026-09-01"
    assert result["scores"]["renewal_probability"] == pytest.approx(0.5)
    assert result["scores"]["renewal_model"] == "renewal/3"
    assert result["reasons"][0]["sentence"].startswith("0 people used")
    assert result["reasons"][0]["contribution"] == pytest.approx(-1.0)
    assert result["themes"] == pytest.approx({"adoption": -1.0, "support": 0.5})
    assert result["features"][0] == {
        **{"feature": "people_28d", "base_feature": "people", "family": "usage", "theme": "adoption"},
        **{"value": 0.0, "peer_value": 2.0, "contribution": pytest.approx(-1.0)},
    }
    assert result["rows_per_table"] == {"accounts": 1, "contracts": 1, "usage_events": 2}, (
        "only rows known before the as-of date"
    )
    assert json.loads(json.dumps(result)) == result


def test_playbooks_have_steps_and_an_expected_gain(company: Path) -> None:
    result = explain(job(company), "a0")
    first = result["playbooks"][0]
    assert (first["id"], first["name"], first["hours"]) == ("adoption_push", "Seat-activation campaign", 6)
    assert first["steps"][0].startswith("1. List the seats never used")
    assert result["worth"]["gain_per_hour"] == pytest.approx(result["worth"]["expected_gain"] / 6)
    assert result["interventions_since_last_list"] is None, "no earlier list exists"


def test_playbooks_of_a_list_of_the_previous_release_are_read(company: Path) -> None:
    """Their older keys are `grows`, `adds` and `effect`."""
    file = list_archive.archive_folder(job(company), date(2026, 6, 1)) / artifacts.SCORE_SUMMARY
    before, summary = explain(job(company), "a0")["playbooks"], json.loads(file.read_bytes())
    summary["playbooks"]["adoption_push"] = {
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
    file.write_text(json.dumps(summary), encoding="utf-8")
    first = explain(job(company), "a0")["playbooks"][0]
    assert (first["id"], first["steps"]) == (before[0]["id"], ["1. Call."])
    assert first["effect"].startswith("a chance of 70 % becomes 85% (measured on 120")


def test_interventions_since_the_last_list_are_described(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One started before the last list, one after it, and one is not yet known on the as-of date."""
    listed = pd.DataFrame({"renewal_id": ["a0:2026-09-01"], "renewal_probability": [0.4]})
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
    interventions = pd.DataFrame(rows | {"started_at": started, "recorded_at": known, "ended_at": pd.NaT, "csm": None})
    interventions = interventions.astype(dict.fromkeys(("started_at", "recorded_at", "ended_at"), "datetime64[us]"))
    interventions.to_parquet(company / "data" / "clean" / "interventions.parquet")
    publish(job(company))
    sentence = explain(job(company), "a0")["interventions_since_last_list"]
    assert sentence.startswith("Since the list of 2026-05-01: Seat-activation campaign (begun 2026-05-01). The chance")
    assert "was 40% then and is 50% now" in sentence
    second = explain(job(company), "a1")["interventions_since_last_list"]
    assert second.startswith("Since the list of 2026-05-01: unknown (begun 2026-05-21). There are not two chances")


def test_scores_of_an_older_release_must_be_computed_again(company: Path) -> None:
    file = company / "data" / "act" / artifacts.SCORE_SUMMARY
    summary = json.loads(file.read_bytes())
    del summary["what_if_features"]
    file.write_text(json.dumps(summary))
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
def test_alerts_are_explained_with_their_evidence(company: Path, language: str, drop: str, low: str, news: str) -> None:
    run = job(company, language=language)
    result = explain(run, "a0")
    assert [(a["code"], a["is_new"], a["first_reported_on"]) for a in result["alerts"]] == [
        ("usage_drop", True, "2026-06-01"),
        ("sponsor_lost", False, "2026-05-01"),
    ]
    assert result["alerts"][0]["sentence"].startswith(drop)
    assert (result["alerts"][1]["started_on"], result["alerts"][1]["tier"]) == ("2026-04-02", "S")
    assert Messages(language).value("tier", "S") in result["alerts"][1]["sentence"]
    assert low in explain(run, "a4")["alerts"][0]["sentence"], "an account that is not scored has alerts too"
    assert explain(run, "a1")["alerts"] == []
    sink = io.StringIO()
    for account in ("a0", "a1"):
        print_explanation(
            explain(run, account), Messages(language), Console(file=sink, width=200, force_terminal=False)
        )
    shown = sink.getvalue()
    assert all(part in shown for part in (drop, news, "2026-05-01", Messages(language).text("explain.no_alerts")))


def test_an_account_without_a_score_is_explained_too(company: Path) -> None:
    result = explain(job(company), "a4")
    assert result["scores"]["status"] == "too_little_history"
    assert result["scores"]["renewal_probability"] is None
    assert result["reasons"] == result["strengths"] == result["features"] == result["playbooks"] == []
    assert result["worth"]["gain_per_hour"] is None
    assert result["themes"] == {}


@pytest.mark.parametrize(
    ("account", "hint"),
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
def test_a_wrong_id_is_answered_with_the_nearest_accounts(company: Path, account: str, hint: str) -> None:
    with pytest.raises(MissingInputError, match=hint) as stop:
        explain(job(company), account)
    assert "(8 rows)" in str(stop.value)


def test_integer_ids_match_their_text(company: Path) -> None:
    write_company(company, ids=range(1, 9))
    score(job(company))
    publish(job(company))
    assert explain(job(company), "1")["account"]["account_id"] == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_control_characters_are_escaped_on_a_terminal(company: Path, language: str) -> None:
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
def test_a_disagreement_with_the_manager_is_shown(company: Path, language: str, title: str) -> None:
    """The explanation and a sheet of the workbook show it, and changed disagreements make a new list."""
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
    summary = {"as_of": "2026-06-01", "tally": tally, "digest": "d1"}
    (one.folder / artifacts.DISAGREEMENTS_SUMMARY).write_text(json.dumps(summary))
    assert publish(one)["state"] == "published"
    assert publish(one)["state"] == "already published"
    result = explain(one, "a0")
    assert result["disagreement"] == disagreement_sentences.disagreement_sentence(
        {name: value[0] for name, value in rows.items()}, Messages(language)
    )
    shown = Console(file=io.StringIO(), width=300)
    print_explanation(result, Messages(language), shown)
    assert result["disagreement"] in shown.file.getvalue()  # type: ignore[attr-defined]
    assert explain(one, "a1")["disagreement"] is None
    sheet = read((company / "lists" / "2026-06-01" / "risk_list.xlsx").read_bytes())[title]
    assert [cell.value for cell in sheet[2]][:3] == [datetime(2026, 5, 1), "acme", "a0"]
    assert (sheet["F2"].value, sheet["J2"].value, sheet["J2"].data_type) == (0.8, "=1+1", "s")
    assert sheet["A4"].value == " ".join(disagreement_sentences.tally_sentences(tally, Messages(language)))
