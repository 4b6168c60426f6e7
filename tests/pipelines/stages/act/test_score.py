from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from renewals.models.settings import FoldSettings
from renewals.pipelines.runtime.checkout import code_revision
from renewals.pipelines.runtime.errors import DataContractError, InternalError, MissingInputError, NoChampionError
from renewals.pipelines.runtime.settings import Engine
from renewals.pipelines.scoring import champion_models, predictions
from renewals.pipelines.scoring.champion_models import Champion, load_champions
from renewals.pipelines.scoring.missing_model import missing_model_notice
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts, features_file
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.columns import COLUMN_NAMES as COLUMNS
from renewals.reports.columns import cast_columns
from renewals.reports.risk_list import validate_list
from tests.pipelines.scored_company import AS_OF, NAMES, Model, champions, job, write_company
from tests.reports.books import read

RANGE = {"log_odds_low": 1.5, "log_odds_high": 2.5}
TEXT_PREFIXES = ("reason_", "strength_", "playbook_")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion_models, "load_champion", champions(renewal="3", expansion="1"))
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda job, target: None)


@pytest.fixture
def company(tmp_path: Path) -> Path:
    write_company(tmp_path)
    return tmp_path


def published(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "lists" / str(AS_OF) / "risk_list.parquet")


def manifest(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "lists" / str(AS_OF) / "manifest.json").read_bytes())
    return content


def test_from_features_to_a_published_list(company: Path) -> None:
    summary = score(job(company))
    assert summary["models"]["renewal"] == {"name": "renewal", "version": "3", "trained_until": "2026-06-01"}
    outcome = publish(job(company))
    assert outcome["state"] == "published"
    assert outcome["rows"] == 8
    listed = published(company)
    assert list(listed.columns) == list(COLUMNS)
    validate_list(cast_columns(listed))
    fresh = listed.set_index("account_name").loc["fresh"]
    assert fresh["status"] == "too_little_history"
    assert pd.isna(fresh["renewal_probability"])
    acme = listed.set_index("account_name").loc["acme"]
    assert acme["renewal_probability"] == pytest.approx(1 / (1 + np.exp(-(0.5 - 1.0 + 0.5))))
    assert acme["reason_1"] == "0 people used the product in the last 28 days (peers: 2)"
    assert acme["arr"] == 1000.0, "ARR of the spine, not the feature of that name"
    assert acme["playbook_1"] == "Seat-activation campaign"
    plays = pd.read_parquet(company / "data" / "act" / artifacts.PRESCRIBED_PLAYBOOKS).set_index("account_id")
    assert plays["play_1"]["a0"] == "adoption_push"
    order = listed.dropna(subset="rank").merge(plays.reset_index(), on="account_id").sort_values(["csm", "rank"])
    assert (order.groupby("csm")["gain_per_hour"].diff().dropna() <= 0).all()
    assert {path.name for path in (company / "lists" / str(AS_OF)).iterdir()} == {
        *("risk_list.parquet", "risk_list.csv", "risk_list.xlsx", "risk_list.html", "manifest.json")
    }


def test_the_manifest_records_the_inputs_of_the_list(company: Path) -> None:
    score(job(company))
    publish(job(company))
    recorded = manifest(company)
    assert recorded["as_of"] == "2026-06-01"
    assert recorded["exit_state"] == "published"
    assert recorded["language"] == "en"
    assert recorded["models"] == {
        "renewal": {"name": "renewal", "version": "3", "trained_until": "2026-06-01"},
        "expansion": {"name": "expansion", "version": "1", "trained_until": "2026-06-01"},
    }
    assert recorded["hindsight"] is False
    assert set(recorded["targets_without_model"]) == {"upsell", "cross_sell"}
    assert "no champion" in recorded["targets_without_model"]["upsell"]
    assert recorded["inputs"] == {"accounts": "f1"}
    assert recorded["quarantine"] == {"accounts": 2}
    assert recorded["rows"]["rows"] == 8
    assert recorded["rows"]["status"] == {"scored": 7, "too_little_history": 1}
    assert recorded["code_revision"] == code_revision()
    assert recorded["started_at"] <= recorded["ended_at"]
    assert recorded["unknown_categories"] == {"plan": 1}
    for name, file in recorded["files"].items():
        file_bytes = (company / "lists" / str(AS_OF) / name).read_bytes()
        assert file == {"sha256": hashlib.sha256(file_bytes).hexdigest(), "bytes": len(file_bytes)}


def test_scoring_again_gives_the_same_files_and_is_already_published(company: Path) -> None:
    outcomes, fingerprints = [], []
    for _ in range(2):
        score(job(company))
        outcomes.append(publish(job(company))["state"])
        fingerprints.append(manifest(company)["files"])
    assert outcomes == ["published", "already published"]
    score(job(company))
    (company / "lists" / str(AS_OF) / "manifest.json").unlink()
    publish(job(company))
    assert manifest(company)["files"] == fingerprints[0]


@pytest.mark.parametrize("changed", ["model", "inputs", "options", "language", "features", "effect", "decided"])
def test_any_changed_input_makes_a_new_revision(company: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    score(job(company))
    publish(job(company))
    options: dict[str, Any] = {"options": {"bands": {"high": 0.9}}, "language": {"language": "zh"}}.get(changed, {})
    if changed == "model":
        monkeypatch.setattr(champion_models, "load_champion", champions(renewal="4", expansion="1"))
    if changed == "inputs":
        write_company(company, fingerprint="f2")
    if changed == "features":
        path = company / "data" / "act" / "features.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({"features": content["features"][:1]}))
    if changed == "effect":
        measured = {"playbook": "adoption_push", "verdict": "helped", "treated": 80, "log_odds": 2.0}
        content = {"as_of": "2026-05-01", "confidence": 0.9, "playbooks": [measured | RANGE]}
        (company / "data" / "effect").mkdir()
        (company / "data" / "effect" / "effect.json").write_text(json.dumps(content))
    again = job(company, **options)
    again.settings.folds = FoldSettings(decided_days=30 if changed == "decided" else 60)
    score(again)
    assert publish(again)["revision"] == 1


def test_each_champion_is_loaded_once(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []
    load = champions(renewal="3")

    def record_and_load(one: Any, target: str) -> Champion:
        requested.append(target)
        return load(one, target)

    monkeypatch.setattr(champion_models, "load_champion", record_and_load)
    score(job(company))
    monkeypatch.setattr(champion_models, "load_champion", champions(renewal="9"))
    assert publish(job(company))["models"] == {"renewal": "renewal/3"}
    assert sorted(requested) == ["cross_sell", "expansion", "renewal", "upsell"]
    assert published(company)["quadrant"].isna().all()
    assert published(company)["expansion_model"].isna().all()


def test_without_a_renewal_champion_scoring_stops(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion_models, "load_champion", champions(expansion="1"))
    with pytest.raises(MissingInputError, match="no champion for renewal"):
        load_champions(job(company))


def never_a_champion(one: Any, target: str) -> Champion:
    raise NoChampionError(f"no model of {target} is registered")


def write_outcomes(root: Path, renewed: int, lost: int, day: str = "2026-05-01") -> None:
    """Write the final renewals that the ledger knows."""
    folder = root / "data" / "act" / "ledger"
    folder.mkdir(exist_ok=True)
    outcomes = pd.DataFrame({"renewed": [1] * renewed + [0] * lost, "matured_at": pd.Timestamp(day)})
    outcomes.astype({"renewed": "int8", "matured_at": "datetime64[us]"}).to_parquet(folder / "outcomes.parquet")


def test_before_any_champion_the_list_is_in_the_order_of_arr_and_health(company: Path, monkeypatch) -> None:
    """Health rests on `people_28d` alone: 0 for a0 and a4, 1 for a1 and a5, and so on."""
    monkeypatch.setattr(champion_models, "load_champion", never_a_champion)
    write_outcomes(company, 14, 9)
    rule = {"weight": 1, "indicators": [{"feature": "people_28d", "poor": 0, "good": 3}]}
    options = {"health": {"good_from": 100, "poor_below": 30, "parts": [rule]}}
    score(job(company, **options))
    result = publish(job(company, **options))
    listed = published(company).reset_index()
    assert set(listed["status"]) == {"no_model"}
    assert listed["renewal_model"].isna().all()
    assert listed["renewal_probability"].isna().all()
    assert listed["health"].tolist() == [
        {0: "poor", 3: "good"}.get(int(i[1:]) % 4, "fair") for i in listed["account_id"]
    ]
    worth = [1000 * (int(i[1:]) + 1) * (1 - int(i[1:]) % 4 / 3) for i in listed["account_id"]]
    for _, own in listed.assign(worth=worth).groupby("csm"):
        assert own["worth"].is_monotonic_decreasing
        assert own["rank"].tolist() == list(range(1, len(own) + 1))
    assert result["models"] == {}
    assert [notice["code"] for notice in result["notices"]] == ["no_model_until"]
    assert "23 of about 120 final renewals, 9 of 20 losses" in result["notices"][0]["en"]


def test_a_lost_registry_stops_the_list_that_had_a_model(company: Path, monkeypatch) -> None:
    score(job(company))
    publish(job(company))
    monkeypatch.setattr(champion_models, "load_champion", never_a_champion)
    with pytest.raises(MissingInputError, match="2026-06-01 was scored by renewal/3"):
        load_champions(replace(job(company), as_of=date(2026, 7, 1)))


@pytest.mark.parametrize(
    ("renewed", "lost", "code", "month"),
    [(0, 0, "no_model", None), (90, 5, "no_model_until", "2029-05"), (100, 20, "no_model_enough", None)],
)
def test_the_notice_says_how_many_outcomes_are_missing(
    company: Path, renewed: int, lost: int, code: str, month: str | None
) -> None:
    write_outcomes(company, renewed, lost)
    notice = missing_model_notice(job(company))
    assert (notice.code, notice.values.get("month")) == (code, month)


def model_of(weights: dict[str, float]) -> Any:
    return lambda one, target: Champion(target, "1", Model(weights))


def test_features_that_do_not_fit_the_model_stop_the_run(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion_models, "load_champion", model_of({"people_28d": 1.0, "nps": 2.0}))
    with pytest.raises(
        DataContractError, match=r"the model of renewal, renewal/1, needs other features: columns missing: nps"
    ):
        score(job(company))


@pytest.mark.parametrize("wrong", [float("nan"), 1.5, -0.1])
def test_a_model_with_invalid_probabilities_stops_the_run(
    company: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    monkeypatch.setattr(Model, "probability", lambda self, frame: np.full(len(frame), wrong))
    with pytest.raises(
        InternalError, match=r"7 of 8 rows .*list.invalid_row_limit \(1.0%\).*renewal_probability: n"
    ) as stop:
        score(job(company))
    assert stop.value.exit_code == 70
    assert not (company / "data" / "act" / artifacts.LIST).exists()


@pytest.mark.parametrize("lost", ["spine.parquet", "scoring.parquet", "features.json"])
def test_a_missing_input_file_is_named(company: Path, lost: str) -> None:
    (company / "data" / "act" / lost).unlink()
    with pytest.raises(MissingInputError, match=lost):
        score(job(company))


def test_features_with_fewer_accounts_than_the_spine_stop_the_run(company: Path) -> None:
    path = company / "data" / "act" / "scoring.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(MissingInputError, match="has fewer observations"):
        score(job(company))


@pytest.mark.parametrize("name", ["spine.parquet", "scoring.parquet"])
def test_a_duplicate_observation_stops_the_run(company: Path, name: str) -> None:
    path = company / "data" / "act" / name
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.iloc[:1]]).to_parquet(path)
    with pytest.raises(InternalError, match="duplicate observation"):
        score(job(company))


def test_scores_of_another_day_are_not_published(company: Path) -> None:
    with pytest.raises(MissingInputError, match="no scores in"):
        read_scored_list(job(company))
    score(job(company))
    july = job(company)
    object.__setattr__(july, "as_of", date(2026, 7, 1))
    with pytest.raises(MissingInputError, match="are for 2026-06-01"):
        publish(july)


def test_english_and_chinese_lists_hold_the_same_numbers(company: Path) -> None:
    lists = {}
    for language in ("en", "zh"):
        score(job(company, language=language))
        publish(job(company, language=language))
        lists[language] = published(company)
    text_columns = [
        name for name in COLUMNS if name[:-1] in TEXT_PREFIXES or name in ("reason_change", "status_reason")
    ]
    pd.testing.assert_frame_equal(lists["en"].drop(columns=text_columns), lists["zh"].drop(columns=text_columns))
    assert lists["zh"]["reason_1"].dropna().str.contains("同类客户").all()
    assert (lists["en"][text_columns].isna() == lists["zh"][text_columns].isna()).all(axis=None)


def test_blocks_and_threads_change_no_byte_of_the_list(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contributions file has one row group per block; its rows are the same."""
    list_files, contributions = set(), []
    for block, threads in ((8192, 1), (3, 1), (3, 4), (1, 2)):
        monkeypatch.setattr(features_file, "BLOCK_ROWS", block)
        one = job(company)
        one.settings.engine = Engine(threads=threads)
        score(one)
        list_files.add((one.folder / artifacts.LIST).read_bytes())
        contributions.append(pd.read_parquet(one.folder / artifacts.CONTRIBUTIONS))
    assert len(list_files) == 1
    assert len(contributions[0]) == 7
    for rows in contributions[1:]:
        pd.testing.assert_frame_equal(rows, contributions[0])


def test_only_a_few_blocks_are_in_memory_at_a_time() -> None:
    started: list[int] = []
    ended = predictions.map_in_order(lambda n: n, ((started.append(n) or n,) for n in range(50)), threads=2)
    assert next(ended) == 0
    assert len(started) == 3
    assert list(ended) == list(range(1, 50))


def test_the_contributions_file_is_complete_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "contributions.parquet"
    block = pd.DataFrame(
        {"account_id": ["acme"], "as_of": [AS_OF], artifacts.PEER_GROUP: ["*"], "x": np.float32([0.5])}
    )
    with pytest.raises(pa.ArrowInvalid), predictions.contributions_writer(path) as write:
        _ = write(block), write(block.assign(x="text instead of a number"))
    assert list(tmp_path.iterdir()) == []
    with predictions.contributions_writer(path) as write:
        write(block)
        write(block.assign(account_id="beta"))
    assert pd.read_parquet(path)["account_id"].tolist() == ["acme", "beta"]


def test_a_list_can_have_no_scored_account(company: Path) -> None:
    summary = score(job(company, min_history_days=9999))
    assert summary["rows"]["status"] == {"too_little_history": 8}
    assert pd.read_parquet(company / "data" / "act" / artifacts.CONTRIBUTIONS).empty


def test_accounts_out_of_the_training_range_are_listed_without_a_score(company: Path) -> None:
    """For accounts with three people, the share of features out of range is above the limit."""
    score(job(company, max_out_of_range_share=0.12))
    out_of_range = read_scored_list(job(company))[1].set_index("account_name").loc[["quiet", NAMES[7]]]
    assert out_of_range["status"].tolist() == ["unlike_training"] * 2
    assert out_of_range[["renewal_probability", "renewal_low", "reason_1", "rank"]].isna().all(axis=None)


def test_the_interval_width_follows_the_confidence_setting(company: Path) -> None:
    widths = {}
    for confidence in (0.5, 0.8):
        score(job(company, confidence=confidence))
        listed = read_scored_list(job(company))[1].dropna(subset="renewal_probability")
        assert listed["renewal_low"].to_numpy() == pytest.approx(confidence * listed["renewal_probability"].to_numpy())
        widths[confidence] = len(listed)
    assert widths[0.5] == widths[0.8] == 7


def test_integer_ids_stay_numbers(tmp_path: Path) -> None:
    ids = [2**53 + 1, 2, 3, 40, 5, 6, 7, 8]
    write_company(tmp_path, ids)
    score(job(tmp_path))
    publish(job(tmp_path))
    assert published(tmp_path)["account_id"].dtype == "int64"
    assert set(published(tmp_path)["account_id"]) == set(ids)


def test_the_workbook_and_csv_hold_the_list(company: Path) -> None:
    score(job(company))
    publish(job(company))
    folder = company / "lists" / str(AS_OF)
    text = pd.read_csv(folder / "risk_list.csv", encoding="utf-8-sig", dtype={"account_id": str})
    assert text["account_id"].tolist() == published(company)["account_id"].tolist()
    sheet = read((folder / "risk_list.xlsx").read_bytes())["List"]
    assert sheet.max_row == 8
    assert sheet["B1"].value == "Account"
