"""Notices: a text in every language, shown in every output of a list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from renewals.pipelines.commands import score as act
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.scoring import champion_models, drift
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import notices
from renewals.pipelines.storage.notices import Notice, add_texts, load_notices, report_notices
from renewals.pipelines.storage.registry import model_registry
from renewals.reports.words import MESSAGES
from tests.pipelines.scored_company import champions, job, write_company
from tests.reports.books import read

DRIFT = Notice("drift", {"differing": 23, "features": 160})


def test_a_notice_has_a_text_in_every_language() -> None:
    assert DRIFT.text("en").startswith(
        "The accounts differ from those that the model learned from in 23 of 160 figures"
    )
    assert "160 项指标中有 23 项不同" in DRIFT.text("zh")
    with pytest.raises(KeyError):
        Notice("drift", {"differing": 23}).text("en")


def test_add_texts_removes_duplicates_and_adds_values() -> None:
    (record,) = add_texts([DRIFT, Notice("drift", dict(DRIFT.values))])
    assert record == {"code": "drift", "values": dict(DRIFT.values)} | {
        language: DRIFT.text(language) for language in MESSAGES
    }


def test_values_in_texts_are_shortened_and_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    for texts in MESSAGES.values():
        monkeypatch.setitem(texts, "notice.any", "{name}, {day}, {table}")  # type: ignore[index]
    text = Notice("any", {"name": "a\x00" + "b" * 999, "day": "2026-06-30", "table": "tickets"}).text("en")
    assert len(text) < notices.MAX_TEXT_LENGTH + 40
    assert text.startswith("a\u2400b")
    assert text.endswith(", Jun 30, 2026, support tickets")


def test_load_notices_of_a_file_without_notices_and_of_a_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "held.json"
    file.write_text(json.dumps({"notices": [DRIFT.as_dict()]}))
    assert load_notices(file, "check") == [DRIFT]
    file.write_text("{}")
    assert load_notices(file, "check") == []
    with pytest.raises(MissingInputError, match="run the stage `check` first"):
        load_notices(tmp_path / "none.json", "check")


@pytest.mark.parametrize(
    ("old", "new_code"),
    [
        (
            Notice("most_rows_set_aside", {"table": "people", "aside": 6, "rows": 9, "share": 0.67}),
            "most_rows_quarantined",
        ),
        (Notice("terms_set_aside", {"terms": 3}), "contracts_quarantined"),
        (Notice("loaded_at_once", {"table": "tickets", "known_day": "2026-05-02"}), "bulk_load"),
        (Notice("nothing_known", {"table": "tickets", "day": "2026-06-01"}), "no_known_rows"),
        (Notice("allowed_stale"), "stale_allowed"),
    ],
)
def test_a_notice_of_an_older_release_has_a_text(tmp_path: Path, old: Notice, new_code: str) -> None:
    file = tmp_path / "freshness.json"
    file.write_text(json.dumps({"notices": [{"code": old.code, "values": dict(old.values)}]}))
    (notice,) = load_notices(file, "freshness")
    assert notice == Notice(new_code, old.values)
    assert all(notice.text(language) for language in MESSAGES)


def warning(kind: str, name: str) -> dict[str, Any]:
    return {"kind": kind, "name": name}


def test_only_many_drifting_features_are_a_notice() -> None:
    few = [warning("inputs", f"f{i}") for i in range(drift.MAX_LISTED_FEATURES)]
    three_features = [
        *few,
        warning("missing", "f0"),
        warning("score", "renewal_probability"),
        warning("calibration", "2026-01"),
    ]
    assert drift.drift_notices({"warnings": three_features, "features_compared": 40}, []) == []
    many = [*three_features, warning("missing", "one more")]
    assert drift.drift_notices({"warnings": many, "features_compared": 40}, []) == [
        Notice("drift", {"differing": 6, "features": 40})
    ]
    assert drift.drift_notices({"warnings": [], "failed": "a fault"}, []) == []


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scored company with a notice in its validation report."""
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    monkeypatch.setattr(champion_models, "load_champion", champions(renewal="3"))
    write_company(tmp_path)
    certificate = tmp_path / "data" / "validation_report.json"
    content = json.loads(certificate.read_bytes()) | {"notices": [DRIFT.as_dict()]}
    certificate.write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_a_notice_of_check_is_on_page_workbook_manifest_and_result(company: Path, language: str) -> None:
    language_job = job(company, language=language)
    score(language_job)
    result = publish(language_job)
    folder = Path(result["folder"])
    assert result["notices"] == json.loads((folder / "manifest.json").read_bytes())["notices"] == add_texts([DRIFT])
    page = (folder / "risk_list.html").read_text("utf-8").partition("<header>")[0]
    assert all(DRIFT.text(one) in page for one in MESSAGES)
    book = read((folder / "risk_list.xlsx").read_bytes())
    sheets_with_notice = [
        sheet.title for sheet in book.worksheets if sheet["A1"].value == f"\u26a0 {DRIFT.text(language)}"
    ]
    hidden = book["renewals"]
    managers = [hidden[f"A{row}"].value for row in range(7, hidden.max_row + 1) if hidden[f"A{row}"].value]
    assert managers
    assert sheets_with_notice == [book.worksheets[0].title, *managers]


def test_notices_of_freshness_come_first(company: Path) -> None:
    stale = Notice("stale", {"table": "tickets", "newest_day": "2026-01-31", "days": 120, "day": "2026-06-01"})
    (company / "data" / "act" / "freshness.json").write_text(json.dumps({"notices": [stale.as_dict()]}))
    score(job(company))
    assert publish(job(company))["notices"] == add_texts([stale, DRIFT])
    (company / "data" / "act" / "freshness.json").unlink()
    with pytest.raises(MissingInputError, match="run the stage `freshness` first"):
        score(job(company))


def test_a_changed_notice_publishes_a_new_list(company: Path) -> None:
    score(job(company))
    assert publish(job(company))["state"] == "published"
    assert publish(job(company))["state"] == "already published"
    (company / "data" / "validation_report.json").write_text(
        json.dumps(json.loads((company / "data" / "validation_report.json").read_bytes()) | {"notices": []})
    )
    score(job(company))
    assert publish(job(company))["state"] == "published"


def test_notices_are_printed_in_an_interactive_session_only(
    company: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = add_texts([DRIFT])
    monkeypatch.setattr(notices, "is_interactive", lambda: True)
    report_notices(records, "zh")
    assert capsys.readouterr().err == f"! {DRIFT.text('zh')}\n"
    monkeypatch.setattr(act, "run_scoring_stages", lambda job: None)
    monkeypatch.setattr(act, "OPTIONAL_STAGES", ())
    score(job(company))
    act.run_score(job(company))
    assert capsys.readouterr().err == f"! {DRIFT.text('en')}\n"
