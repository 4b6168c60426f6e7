"""Data of a published page: earlier lists, changes in every language, and the forecast of the day."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.scoring import page_data as page
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage.notices import add_texts, history_notices
from renewals.pipelines.storage.published.manifest import MANIFEST
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.html.scorecard_page import render_scorecard_page
from renewals.reports.words import MESSAGES
from tests.pipelines.scored_company import AS_OF, job
from tests.pipelines.scoring.test_score_change import (
    JULY,
    PEOPLE,
    MarginModel,
    a_month_on,
    june_is_published,
    later,
    set_champion,
)
from tests.reports import scorecards
from tests.reports.books import read
from tests.reports.pages import payload_of

MAY = "2026-05-01"


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    june_is_published(tmp_path, monkeypatch)
    return tmp_path


def payload(root: Path, day: object = AS_OF):
    return payload_of((root / "lists" / str(day) / "risk_list.html").read_bytes())


def listed(root: Path, day: object = AS_OF) -> pd.DataFrame:
    return pd.read_parquet(root / "lists" / str(day) / "risk_list.parquet")


def compose_reason(content, language, feature, figure, row):
    texts = content["features"][feature][language]
    fill = {0: texts["own"][figure] if figure >= 0 else None, 1: texts["peers"][content["rows"]["group"][row]]}
    return "".join(fill.get(piece, piece) for piece in (texts["known"] if figure >= 0 else texts["unknown"]))


def test_the_page_has_the_same_reasons_as_the_list(june: Path) -> None:
    manifest = json.loads((june / "lists" / str(AS_OF) / MANIFEST).read_bytes())
    assert "risk_list.html" in manifest["files"]
    content, rows, seen = payload(june), listed(june), 0
    names = [*(f"reason_{k}" for k in range(1, 6)), *(f"strength_{k}" for k in range(1, 4))]
    for name, (who, figures) in zip(names, content["shown_reasons"], strict=True):
        for row, (feature, figure) in enumerate(zip(who, figures, strict=True)):
            sentence = rows[name].iloc[row]
            assert (feature < 0) == pd.isna(sentence)
            if feature >= 0:
                assert compose_reason(content, "en", feature, figure, row) == sentence
                assert compose_reason(content, "zh", feature, figure, row) != sentence
                seen += 1
    assert seen >= 8


def test_themes_are_sums_of_contributions(june: Path) -> None:
    content, rows = payload(june), listed(june)
    act = june / "data" / "act"
    pushes = pd.read_parquet(act / "contributions.parquet").set_index("account_id")
    catalogue = json.loads((act / "features.json").read_bytes())["features"]
    for theme in ("adoption", "support"):
        sums = pushes[[feature["name"] for feature in catalogue if feature["theme"] == theme]].sum(axis=1)
        expected = [None if pd.isna(push) else push for push in sums.reindex(rows["account_id"])]
        assert content["themes"][theme] == [
            None if push is None else pytest.approx(push, abs=1e-3) for push in expected
        ]
        assert None in expected


def test_the_page_has_no_reasons_of_accounts_without_a_score(june: Path) -> None:
    one = job(june, max_out_of_range_share=0.12)
    score(one)
    publish(one)
    content, rows = payload(june), listed(june)
    unscored = np.flatnonzero(rows["status"].ne("scored"))
    assert "unlike_training" in set(rows["status"])
    assert {pushes[row] for pushes in content["themes"].values() for row in unscored} == {None}
    assert all(who[row] < 0 for who, _ in content["shown_reasons"] for row in unscored)


def test_alerts_and_plays_of_the_page_are_those_of_the_list(june: Path) -> None:
    content, rows = payload(june), listed(june)
    seen = content["alerts"]
    codes = [seen["code"]["texts"][code] for code in seen["code"]["codes"]]
    by_row = {
        row: [code for alert_row, code in zip(seen["row"], codes, strict=True) if alert_row == row]
        for row in seen["row"]
    }
    assert {row: ";".join(row_codes) for row, row_codes in by_row.items()} == rows["alerts"].dropna().to_dict()
    assert len(codes) == 3, "also of the account that is not scored"
    assert sum(seen["new"]) == 2
    names = [play["en"]["name"] for play in content["plays"]["library"]]
    for k, slot in enumerate(content["plays"]["slots"], start=1):
        assert [None if play < 0 else names[play] for play in slot] == [
            None if pd.isna(name) else name for name in rows[f"playbook_{k}"]
        ]
    plays = (
        pd.read_parquet(june / "data" / "act" / "prescribed_playbooks.parquet")
        .set_index("account_id")
        .loc[rows["account_id"]]
    )
    ids = list(json.loads((june / "data" / "act" / "score.json").read_bytes())["playbooks"])
    assert content["plays"]["best"] == [-1 if pd.isna(play) else ids.index(play) for play in plays["best"]]
    assert max(content["plays"]["best"]) >= 0


def test_page_and_workbook_say_what_the_model_learned_without_a_history(
    june: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert payload(june)["history"] == {language: [] for language in MESSAGES}
    history = tuple(add_texts(history_notices({"kept": ["contracts.seats"]})))
    set_champion(monkeypatch, "4", MarginModel(PEOPLE), history)
    score(job(june))
    publish(job(june))
    assert payload(june)["history"] == {language: [history[0][language]] for language in MESSAGES}
    summary = read((june / "lists" / str(AS_OF) / "risk_list.xlsx").read_bytes())["Summary"]
    assert [row[0].value for row in summary.iter_rows()][-2:] == ["About the data", history[0]["en"]]


def test_scores_of_an_older_release_have_no_sentences_about_the_data(june: Path) -> None:
    path = june / "data" / "act" / "score.json"
    summary = json.loads(path.read_bytes())
    del summary["history"]
    path.write_text(json.dumps(summary))
    assert read_scored_list(job(june))[0]["history"] == []


def test_the_first_list_has_no_history(june: Path) -> None:
    assert payload(june)["probability_history"] == {}


def test_the_next_page_has_the_history_of_the_same_renewal_and_changes_in_every_language(june: Path) -> None:
    a_month_on(june)
    score(later(job(june)))
    publish(later(job(june)))
    content, rows = payload(june, JULY), listed(june, JULY)
    before = listed(june).set_index("account_id")
    assert list(content["probability_history"]) == [str(AS_OF)]
    shown = {}
    for account, name, date, chance in zip(
        rows["account_id"],
        rows["account_name"],
        rows["renewal_date"],
        content["probability_history"][str(AS_OF)],
        strict=True,
    ):
        same = account in before.index and before.at[account, "renewal_date"] == date
        was = before.at[account, "renewal_probability"] if same else None
        assert chance == (pytest.approx(was, abs=1e-4) if was is not None and pd.notna(was) else None)
        shown[name] = chance
    assert shown["beta"] is None, "another term"
    assert shown["quiet"] is not None
    for language in MESSAGES:
        codes, texts = content["changes"][language]["codes"], content["changes"][language]["texts"]
        sentences = [None if code < 0 else texts[code] for code in codes]
        if language == "en":
            assert sentences == [None if pd.isna(text) else text for text in rows["reason_change"]]
        else:
            assert sum("个百分点" in (text or "") for text in sentences) >= 2


def test_accounts_outside_the_page_have_changes_only_in_the_language_of_the_list(june: Path) -> None:
    a_month_on(june)
    one = later(job(june, page_rows=2))
    score(one)
    publish(one)
    table = pd.read_parquet(june / "data" / "act" / "score_changes.parquet")
    assert table["reason_en"].notna().all()
    assert table["reason_zh"].notna().sum() == 2
    content = payload(june, JULY)
    assert (content["shown"], content["accounts"]) == (2, len(listed(june, JULY)))


def write_forecast(root: Path, as_of: str, version: str = "3") -> None:
    names = ["period_kind", "period", "segment_kind", "segment", "measure", "expected", "low", "high"]
    row = ["quarter", "2026-08", "company", "all", "arr_due", 9.0, 8.0, 10.0]
    folder = root / "data" / "act" / "forecast"
    folder.mkdir(exist_ok=True)
    manager_row = ["quarter", "2026-08", "csm", "li", "arr_due", 1.0, 1.0, 1.0]
    models = {"renewal": {"name": "renewals-renewal", "version": version}}
    content = {"as_of": as_of, "models": models, "confidence": 0.8, "columns": names, "rows": [row, manager_row]}
    (folder / "forecast.json").write_text(json.dumps(content))


def test_only_a_forecast_of_the_day_and_model_makes_a_new_page(june: Path) -> None:
    for day, version in ((MAY, "3"), (str(AS_OF), "2")):
        write_forecast(june, day, version)
        assert page.company_forecast(job(june), {"name": "renewals-renewal", "version": "3"}) is None
        assert publish(job(june))["state"] == "already published"
    write_forecast(june, str(AS_OF))
    assert publish(job(june))["state"] == "published"
    forecast = payload(june)["summary"]["forecast"]
    assert [(row["measure"], row["expected"]) for row in forecast] == [("arr_due", 9.0)]
    assert publish(job(june))["state"] == "already published"


def test_a_changed_policy_makes_a_new_list(june: Path) -> None:
    one = job(june)
    one.settings.model_dump_json = Settings(grace={"before_days": 90, "after_days": 30}).model_dump_json
    assert publish(one)["state"] == "published"
    assert publish(one)["state"] == "already published"


def write_scorecard(root: Path, as_of: str, seed: int = 3) -> None:
    folder = root / "data" / "act" / "scorecard"
    folder.mkdir(exist_ok=True)
    (folder / "scorecard.json").write_text(json.dumps({**scorecards.random_scorecard(["li"], seed), "as_of": as_of}))


def test_a_scorecard_of_the_day_is_published_with_the_list_and_part_of_its_identity(june: Path) -> None:
    folder = june / "lists" / str(AS_OF)
    assert not (folder / "scorecard.html").exists()
    assert b'href="scorecard.html"' not in (folder / "risk_list.html").read_bytes()
    write_scorecard(june, MAY)
    assert publish(job(june))["state"] == "already published"
    for seed in (3, 4):
        write_scorecard(june, str(AS_OF), seed)
        assert publish(job(june))["state"] == "published"
        assert publish(job(june))["state"] == "already published"
        page = (folder / "scorecard.html").read_bytes()
        card = scorecards.random_scorecard(["li"], seed)
        assert page == render_scorecard_page(card, "en", linked_page="risk_list.html")
    assert b'<a id="beside" href="scorecard.html">' in (folder / "risk_list.html").read_bytes()
    assert "scorecard.html" in json.loads((folder / MANIFEST).read_bytes())["files"]
