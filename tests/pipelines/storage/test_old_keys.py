"""Reading of files with the keys of an older release."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from renewals.pipelines.commands.explain import explain
from renewals.pipelines.commands.publish import run_publish
from renewals.pipelines.scoring.champion_comparison import read_backtest
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.old_keys import upgrade_manifest
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.published.manifest import MANIFEST, read_manifest
from renewals.pipelines.storage.published.published_lists import latest_list
from tests.pipelines.answered_company import company
from tests.pipelines.scored_company import AS_OF, publish_company
from tests.pipelines.scored_company import job as scored_job
from tests.pipelines.storage.published.test_hindsight import JULY, job_on

COMPARISON = {"name": "people_28d", "limit": 0.2, "accounts": 7}
OLD_SUMMARY: dict[str, Any] = {
    "as_of": "2026-06-01",
    "models": {"renewal": {"name": "renewal", "trained_until": "2026-06-01", "version": "3"}},
    "hindsight": False,
    "absent": {"upsell": "no champion for upsell: run `renewals learn` first"},
    "families_absent": ["sentiment"],
    "features": "0a119b4c",
    "unseen_categories": {"plan": 1},
    "rows": {"rows": 8, "status": {"scored": 7, "too_little_history": 1}},
    "faulty": {"rows": 1, "faults": [{"column": "arr", "fault": "empty", "rows": 1, "example": "a2"}]},
    "playbooks": {},
    "whatif": ["people_28d"],
    "alerts": {"as_of": "2026-06-01", "by_code": {}, "new": {}, "digest": "d1", "absent": ["sla_breach"]},
    "change": {
        "last": {"as_of": "2026-05-01", "key": "may"},
        "changes": 6,
        "split": 5,
        "untold": None,
        "without": {"new": 1},
        "mean_distance": {"data": 0.1, "clock": 0.0, "model": 0.0},
        "left_out": [],
    },
    "drift": {
        "reference": {"accounts": 400, "from": "2025-01-01", "to": "2025-12-01"},
        "looks": 5,
        "figures": 2,
        "confidence": 0.99,
        "warnings": [{"what": "inputs", "size": 3.1, "chance": 0.0, "then": 0.1, "now": 0.9, "en": "…"} | COMPARISON],
        "inputs": [{"what": "inputs", "size": 3.1, "chance": 0.0, "then": 0.1, "now": 0.9} | COMPARISON],
        "missing": [],
        "score": [],
        "last_list": [{"what": "last_list", "size": 0.0, "chance": 1.0, "then": 0.1, "now": 0.1} | COMPARISON],
        "calibration": [],
    },
    "notices": [],
    "shadow": {"renewal": {"champion": "renewal/3", "failed": "…"}},
    "started_at": "2026-06-01T06:00:00+00:00",
}
"""`score.json` as commit 77ed5ab wrote it."""
OLD_MANIFEST = OLD_SUMMARY | {
    "key": "e47bd285",
    "code": "abc123",
    "language": "en",
    "identity": {"as_of": "2026-06-01", "features": "0a119b4c", "policy": "876c", "last": None, "earlier": []},
    "left_out": [{"output": "page", "part": "nps", "why": "ValueError", "count": 1, "example": "a1"}],
    "without": {"forecast": "no back-test"},
    "inputs": {"accounts": "f1"},
    "quarantine": {"accounts": 2},
    "ended_at": "2026-06-01T06:01:00+00:00",
    "exit_state": "published",
    "files": {},
}


def write_old_manifest(folder: Path) -> None:
    """Replace the manifest of a published list by one with old keys; the list of files stays."""
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    (folder / MANIFEST).write_text(json.dumps(OLD_MANIFEST | {"files": files}))


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the list of June as an earlier release published it."""
    root = publish_company(tmp_path, monkeypatch)
    write_old_manifest(root / "lists" / str(AS_OF))
    return root


def test_an_old_manifest_is_read_with_present_keys(june: Path) -> None:
    content = read_manifest(june / "lists" / str(AS_OF))
    assert (content["list_key"], content["code_revision"], content["features_sha256"]) == (
        "e47bd285",
        "abc123",
        "0a119b4c",
    )
    assert list(content["targets_without_model"]) == ["upsell"]
    assert (content["missing_families"], content["unknown_categories"]) == (["sentiment"], {"plan": 1})
    assert content["invalid_rows"]["faults"] == [{"column": "arr", "kind": "empty", "rows": 1, "example": "a2"}]
    assert content["what_if_features"] == ["people_28d"]
    assert content["alerts"]["unavailable_rules"] == ["sla_breach"]
    assert content["score_change"] == {
        "previous_list": {"as_of": "2026-05-01", "list_key": "may"},
        "changes": 6,
        "decomposed": 5,
        "no_decomposition_reason": None,
        "accounts_without_change": {"new": 1},
        "mean_absolute_change": {"data": 0.1, "clock": 0.0, "model": 0.0},
        "render_failures": [],
    }
    assert content["drift"]["comparisons"] == 5
    assert content["drift"]["features_compared"] == 2
    (comparison,) = content["drift"]["inputs"]
    assert (
        comparison
        == {"kind": "inputs", "difference": 3.1, "p_value": 0.0, "reference": 0.1, "current": 0.9} | COMPARISON
    )
    assert content["drift"]["warnings"] == [comparison | {"en": "…"}]
    assert content["drift"]["previous_list"][0]["difference"] == 0.0
    assert content["drift"]["reference"]["accounts"] == 400
    assert list(content["challengers"]) == ["renewal"]
    assert (content["render_failures"][0]["part"], content["failed_stages"]) == ("nps", {"forecast": "no back-test"})
    assert content["identity"] == OLD_MANIFEST["identity"], "the list's key is its hash"
    assert upgrade_manifest(content) == content
    assert not {"key", "code", "absent", "families_absent", "faulty", "whatif", "change", "shadow"} & set(content)


def test_latest_list_reads_an_old_manifest(june: Path) -> None:
    last = latest_list(job_on(june, JULY))
    assert last is not None
    assert (last.day, last.model, last.manifest["list_key"]) == (AS_OF, ("renewal", "3"), "e47bd285")


def test_a_list_with_an_old_manifest_is_written_to_a_database(june: Path) -> None:
    path = june / "company.duckdb"
    assert run_publish(scored_job(june), f"duckdb:///{path}", "renewals")["state"] == "written"
    with duckdb.connect(str(path)) as database:
        assert database.execute("SELECT list_key, code FROM renewals.lists").fetchall() == [("e47bd285", "abc123")]


def test_a_workbook_of_a_list_with_an_old_manifest_is_collected(tmp_path: Path) -> None:
    answered_company = company(tmp_path)
    write_old_manifest(tmp_path / "lists" / "2026-06-01")
    book = answered_company.book("june.xlsx", {"Anna": [("acme", "Will renew")]}, key="e47bd285")
    assert answered_company.collect(book)["accepted"] == 1


def test_explain_reads_an_archive_with_an_old_score_summary(june: Path) -> None:
    path = list_archive.archive_folder(scored_job(june), AS_OF) / artifacts.SCORE_SUMMARY
    playbooks = json.loads(path.read_bytes())["playbooks"]
    path.write_text(json.dumps(OLD_SUMMARY | {"playbooks": playbooks}))
    assert explain(scored_job(june), "a0")["scores"]["status"] == "scored"


def test_an_old_back_test_is_read_with_present_columns() -> None:
    sink = io.BytesIO()
    ends = pd.to_datetime(["2026-09-01"])
    pd.DataFrame({"account_id": [7], "renewal_date": ends, "decided": [True], "probability": [0.5]}).to_parquet(sink)
    read = read_backtest({artifacts.BACKTEST: sink.getvalue()})
    assert list(read) == ["account_id", "renewal_date", "renewal_signed", "probability", "renewal_id"]
    assert read["renewal_id"].tolist() == ["7:2026-09-01"]
