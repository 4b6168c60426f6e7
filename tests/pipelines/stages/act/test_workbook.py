"""Inputs of a published workbook: the key of its list, the previous list and the scorecard of the same day."""

import json
from pathlib import Path
from typing import Any

import pytest

from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage.published.list_folder import ALREADY_PUBLISHED
from renewals.pipelines.storage.published.manifest import MANIFEST
from renewals.reports.workbook import feedback_layout
from tests.pipelines.scored_company import AS_OF, job
from tests.pipelines.scoring.test_score_change import JULY, a_month_on, june_is_published, later
from tests.reports import scorecards
from tests.reports.books import read
from tests.reports.workbook.test_summary_sheet import cells, table


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    june_is_published(tmp_path, monkeypatch)
    return tmp_path


def book(root: Path, day: object = AS_OF) -> Any:
    return read((root / "lists" / str(day) / "risk_list.xlsx").read_bytes())


def write_card(root: Path, **changed: Any) -> None:
    folder = root / "data" / "act" / "scorecard"
    folder.mkdir(exist_ok=True)
    (folder / "scorecard.json").write_text(
        json.dumps({**scorecards.random_scorecard(["li"]), "as_of": str(AS_OF), **changed}), encoding="utf-8"
    )


def test_the_workbook_contains_the_key_of_its_list(june: Path) -> None:
    manifest = json.loads((june / "lists" / str(AS_OF) / MANIFEST).read_bytes())
    hidden = book(june)[feedback_layout.HIDDEN_SHEET]
    assert hidden["B3"].value == manifest["list_key"]
    assert hidden["B2"].value == str(AS_OF)
    plays = {hidden[f"N{row}"].value for row in range(feedback_layout.TABLES_HEADER_ROW + 1, hidden.max_row + 1)} - {
        None
    }
    assert plays == set(manifest["playbooks"])


def test_a_new_scorecard_makes_a_new_revision_and_one_of_a_different_day_does_not(june: Path) -> None:
    write_card(june, as_of="2026-05-01")
    assert publish(job(june))["state"] == ALREADY_PUBLISHED
    write_card(june)
    assert publish(job(june))["revision"] == 1
    assert len(table(book(june)["Summary"], "Renewal rates, by count and by revenue")) == 13
    assert publish(job(june))["state"] == ALREADY_PUBLISHED


def test_one_month_later_the_summary_compares_with_the_previous_list(june: Path) -> None:
    a_month_on(june)
    score(later(job(june)))
    publish(later(job(june)))
    rows = table(book(june, JULY)["Summary"], "What changed since the list of Jun 1, 2026")
    assert [row[0] for row in rows[1:]][2:] == ["New on the list", "No longer on the list"]


def test_an_earlier_list_that_was_not_compared_with_the_scores_is_not_named(june: Path) -> None:
    score(job(june))
    a_month_on(june)
    score(later(job(june)))
    path = june / "data" / "act" / "score.json"
    summary = json.loads(path.read_bytes())
    path.write_text(
        json.dumps(summary | {"score_change": summary["score_change"] | {"previous_list": None}}), encoding="utf-8"
    )
    publish(later(job(june)))
    assert [row[0] for row in cells(book(june, JULY)["Summary"]) if "no earlier list" in str(row[0])] == [
        "There is no earlier list to compare with."
    ]
