"""Lists of two months: score changes are decomposed and explained, and a missing input is no error."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from renewals.models.explanation.score_change import PARTS
from renewals.models.training.calibration import SigmoidCalibration
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import champion_models
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts, features_file
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.registry import model_loader, model_registry
from tests.pipelines.scored_company import AS_OF, Model, job, write_alerts, write_company
from tests.reports.small_list import catalogue

JULY = date(2026, 7, 1)
PEOPLE = {"people_28d": 1.0, "bugs_28d": -0.5, "days_to_renewal": 0.01}


@dataclass(frozen=True)
class MarginModel(Model):
    """A replacement of a trained model with a margin, so that score changes can be decomposed."""

    calibration: SigmoidCalibration = field(default_factory=SigmoidCalibration)
    near_term_days: float = 0.0

    @property
    def schema(self) -> Any:
        return SimpleNamespace(
            categories={}, names=tuple(self.weights), proximity=lambda frame, days: np.zeros(len(frame))
        )

    def margin(self, frame: pd.DataFrame) -> np.ndarray:
        contributions, base = self.contributions(frame)
        return (base + contributions.sum(axis=1)).to_numpy()

    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        return self.calibration.probability(self.margin(frame))


def set_champion(
    monkeypatch: pytest.MonkeyPatch, version: str, model: Model, history: tuple[dict[str, Any], ...] = ()
) -> None:
    def champion(one: Job, target: str) -> Champion:
        if target != "renewal":
            raise MissingInputError(f"no champion for {target}")
        return Champion("renewals-renewal", version, model, history=history)

    monkeypatch.setattr(champion_models, "load_champion", champion)


def with_clock(root: Path) -> None:
    path = root / "data" / "act" / "features.json"
    days = {**catalogue()[0], "name": "days_to_renewal", "clock": True, "risk": "either", "params": {}}
    path.write_text(json.dumps({"features": [*catalogue(), days], "missing_families": []}))


def later(one: Job) -> Job:
    return replace(one, as_of=JULY)


def a_month_on(root: Path) -> None:
    """Write inputs of July: quiet has no users, beta a new term, gamma a new id; renewals are 30 days nearer."""
    act = root / "data" / "act"
    for name in ("spine", "scoring"):
        rows = pd.read_parquet(act / f"{name}.parquet")
        rows["as_of"] = JULY
        rows["days_to_renewal"] -= 30
        rows["account_age"] += 30
        rows.loc[rows["account_name"] == "beta", "renewal_date"] = date(2027, 9, 1)
        rows["account_id"] = rows["account_id"].where(rows["account_name"] != "gamma", "other")
        rows["renewal_id"] = rows["account_id"] + ":" + rows["renewal_date"].astype(str)
        if name == "scoring":
            rows["people_28d"] = rows["people_28d"].where(rows["account_name"] != "quiet", 0.0)
        rows.to_parquet(act / f"{name}.parquet")
    write_alerts(act, pd.read_parquet(act / "spine.parquet"), JULY)


def june_is_published(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish the list of June with a model that mainly uses `people_28d`."""
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    set_champion(monkeypatch, "3", MarginModel(PEOPLE))
    write_company(root)
    with_clock(root)
    score(job(root))
    publish(job(root))


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish the list of June and write the inputs of July."""
    june_is_published(tmp_path, monkeypatch)
    a_month_on(tmp_path)
    return tmp_path


def july(root: Path, **options: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """Manifest entry and list of July."""
    one = later(job(root, **options))
    score(one)
    publish(one)
    folder = root / "lists" / str(JULY)
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return content["score_change"], pd.read_parquet(folder / "risk_list.parquet").set_index("account_name")


def decomposition(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "data" / "act" / artifacts.SCORE_CHANGES).set_index("account_id")


def test_score_change_parts_add_up(june: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_registry, "fetch_version", lambda one, target, version: {})
    monkeypatch.setattr(model_loader, "load_model", lambda data, name, files: MarginModel(PEOPLE))
    set_champion(monkeypatch, "4", MarginModel({**PEOPLE, "people_28d": 0.5}))
    summary, listed = july(june)
    rows = decomposition(june)
    changes = rows[rows["probability_change"].notna()]
    assert summary["decomposed"] == len(changes) == 5
    assert (changes[[f"probability_{part}" for part in PARTS]].abs().max() > 0.01).all()
    assert np.abs(changes["probability_change"] - sum(changes[f"probability_{part}"] for part in PARTS)).max() < 1e-9
    before = pd.read_parquet(june / "lists" / str(AS_OF) / "risk_list.parquet").set_index("account_name")
    for name in ("quiet", "giant"):
        expected = listed.loc[name, "renewal_probability"] - before.loc[name, "renewal_probability"]
        assert listed.loc[name, "probability_change"] == pytest.approx(expected, abs=1e-12)


def test_the_reason_names_the_parts_and_the_changed_feature(june: Path) -> None:
    summary, listed = july(june)
    assert listed.loc["quiet", "reason_change"] == (
        "33 points lower: new figures -30, nearer to the renewal -3"
        ". 0 people used the product in the last 28 days (last list: 3)"
    )
    assert summary["previous_list"]["as_of"] == "2026-06-01"
    assert summary["no_decomposition_reason"] is None


def test_an_account_without_a_change_has_a_reason(june: Path) -> None:
    summary, listed = july(june)
    assert listed.loc["beta", "reason_change"] == "New term: the last list spoke of another renewal"
    assert listed.loc["gamma", "reason_change"] == "New on the list"
    assert listed.loc["fresh", "reason_change"] == "Not scored on the last list"
    assert listed.loc[["beta", "gamma", "fresh"], "probability_change"].isna().all()
    assert summary["accounts_without_change"] == {"new": 1, "new_term": 1, "not_scored": 1}


def test_the_first_list_has_no_changes(june: Path) -> None:
    listed = pd.read_parquet(june / "lists" / str(AS_OF) / "risk_list.parquet")
    scored = listed[listed["status"] == "scored"]
    assert scored["reason_change"].isna().all()
    assert listed["probability_change"].isna().all()


def test_publishing_again_changes_no_file(june: Path) -> None:
    july(june)
    files = {path.name: path.read_bytes() for path in (june / "lists" / str(JULY)).iterdir()}
    assert publish(later(job(june)))["state"] == "already published"
    score(later(job(june)))
    assert publish(later(job(june)))["state"] == "already published"
    assert {path.name: path.read_bytes() for path in (june / "lists" / str(JULY)).iterdir()} == files


def test_a_change_of_the_earlier_list_makes_a_new_list(june: Path) -> None:
    july(june)
    shutil.rmtree(june / "lists" / str(AS_OF))
    assert july(june)[1]["reason_change"].isna().all()


def missing_reason(june: Path) -> str:
    """Reason for a missing decomposition; the list still contains the change."""
    summary, listed = july(june)
    quiet = listed.loc["quiet"]
    assert quiet["probability_change"] == pytest.approx(-0.33, abs=0.01)
    assert "what moved it is not known" in quiet["reason_change"]
    return str(summary["no_decomposition_reason"])


def test_changed_alerts_make_a_new_list(june: Path) -> None:
    """New alerts count too, because the manifest contains their number."""
    one = later(job(june))
    score(one)
    publish(one)
    path = june / "data" / "act" / "alerts.json"
    path.write_text(path.read_text().replace("d1", "d2"))
    score(one)
    assert publish(one)["state"] != "already published"
    assert publish(one)["state"] == "already published"
    manifest = json.loads((june / "lists" / str(JULY) / "manifest.json").read_bytes())
    assert manifest["alerts"]["by_code"] == {"usage_drop": 1}
    assert {path.stem for path in (june / "data" / "alert_history").iterdir()} == {str(AS_OF), str(JULY)}


def test_without_archived_features_the_change_has_no_parts(june: Path) -> None:
    shutil.rmtree(june / "data" / "list_archive")
    assert missing_reason(june) == "no_feature_values"


def test_unreadable_archived_features_give_no_parts(june: Path) -> None:
    published_lists.features_path(job(june), AS_OF).write_bytes(b"PAR1 but not really")
    assert missing_reason(june) == "no_feature_values"


def test_archived_features_of_another_company_give_no_parts(june: Path) -> None:
    path = published_lists.features_path(job(june), AS_OF)
    rows = pd.read_parquet(path)
    rows.assign(renewal_id="not " + rows["renewal_id"]).to_parquet(path)
    assert missing_reason(june) == "other_feature_values"


def test_archived_features_that_do_not_give_the_published_score_give_no_parts(june: Path) -> None:
    """Only one account is affected: the others keep their reasons."""
    path = published_lists.features_path(job(june), AS_OF)
    rows = pd.read_parquet(path)
    rows["bugs_28d"] += (rows["account_name"] == "quiet") * 1e-6
    rows.to_parquet(path)
    summary, listed = july(june)
    assert "not those behind the last list" in listed.loc["quiet", "reason_change"]
    assert "nearer to the renewal" in listed.loc["giant", "reason_change"]
    assert (summary["decomposed"], summary["changes"]) == (4, 5)


def test_archived_features_without_a_model_feature_give_no_parts(june: Path) -> None:
    path = published_lists.features_path(job(june), AS_OF)
    pd.read_parquet(path).drop(columns="bugs_28d").to_parquet(path)
    assert missing_reason(june) == "other_features"


@pytest.mark.parametrize(
    "error", [MissingInputError("version 3 of renewal is not registered"), DataContractError("damaged")]
)
def test_a_missing_model_gives_no_parts(june: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fetch(one: Job, target: str, version: str) -> dict[str, bytes]:
        assert version == "3"
        raise error

    monkeypatch.setattr(model_registry, "fetch_version", fetch)
    set_champion(monkeypatch, "4", MarginModel(PEOPLE))
    assert missing_reason(june) == "no_model"


def test_a_run_opens_each_earlier_list_once_and_the_next_run_opens_it_again(
    june: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def count(day: date, folder: Path) -> published_lists.PreviousList | None:
        opened.append(folder.name)
        return read(day, folder)

    read = published_lists._open
    monkeypatch.setattr(published_lists, "_open", count)
    shutil.copytree(june / "lists" / str(AS_OF), june / "lists" / "2026-05-01")
    (june / "lists" / "2026-05-01" / "risk_list.csv").write_text("harmed")
    for _ in range(2):
        run = replace(later(job(june)), opened={})
        score(run)
        publish(run)
    assert opened == [str(AS_OF), "2026-05-01"] * 2


@pytest.mark.parametrize("file", ["risk_list.csv", "manifest.json", "risk_list.parquet"])
def test_a_damaged_list_is_skipped(june: Path, file: str) -> None:
    (june / "lists" / str(AS_OF) / file).write_bytes(b"{}")
    summary, listed = july(june)
    assert summary["previous_list"] is None
    assert listed["reason_change"].isna().all()


def test_folders_that_are_no_lists_are_skipped(june: Path) -> None:
    for name in ("2026-06-15", "2026-06-31", "notes", "2026-08-01"):
        (june / "lists" / name).mkdir()
    assert july(june)[0]["previous_list"]["as_of"] == "2026-06-01"


def test_ids_that_became_numbers_are_new_accounts(june: Path) -> None:
    for name in ("spine", "scoring"):
        path = june / "data" / "act" / f"{name}.parquet"
        rows = pd.read_parquet(path).sort_values("account_name", ignore_index=True)
        numbered = rows.assign(account_id=range(len(rows)))
        numbered["renewal_id"] = numbered["account_id"].astype(str) + ":2026-09-01"
        numbered.to_parquet(path)
    assert july(june)[0]["accounts_without_change"] == {"new": 8}


def test_a_change_is_explained_in_chinese(june: Path) -> None:
    _, listed = july(june, language="zh")
    assert listed.loc["quiet", "reason_change"].startswith(
        "下降 33 个百分点：数据变化 -30，临近续约 -3。近 28 天有 0 人"
    )


def test_feature_rows_are_read_across_row_groups(tmp_path: Path) -> None:
    rows = pd.DataFrame({"renewal_id": [f"a{i:02d}" for i in range(23)], "x": np.arange(23.0), "y": 1.0})
    rows.to_parquet(tmp_path / "f.parquet", row_group_size=5)
    figures = features_file.FeatureRows(tmp_path / "f.parquet")
    ids = pd.Series(["a17", "a03", "zz", "a22", "a00", "a04"])
    places = figures.row_positions(ids)
    assert places.tolist() == [17, 3, -1, 22, 0, 4]
    assert figures.rows(places[places >= 0], ["x"])["x"].tolist() == [17.0, 3.0, 22.0, 0.0, 4.0]
