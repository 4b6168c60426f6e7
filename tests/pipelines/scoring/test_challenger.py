"""A challenger is scored with the champion, is not shown, and can neither stop nor change a list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.scoring import challenger, champion_models
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.registry import model_loader, model_registry
from tests.pipelines.scored_company import AS_OF, Model, champions, job, write_company

SAME = {"people_28d": 1.0, "bugs_28d": -0.5}
REVERSED = {"people_28d": -1.0, "bugs_28d": 0.5}


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(champion_models, "load_champion", champions(renewal="3", expansion="1"))
    write_company(tmp_path)
    return tmp_path


def set_challengers(monkeypatch: pytest.MonkeyPatch, **models: Any) -> None:
    """Make these models the challengers of their targets, as version 7."""
    monkeypatch.setattr(
        model_registry, "fetch_challenger", lambda j, target: (target, "7", {}) if target in models else None
    )
    monkeypatch.setattr(model_loader, "load_model", lambda data, name, files: models[name.partition("/")[0]])


def shadow_of(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "data" / "act" / artifacts.CHALLENGER_SCORES)


def list_bytes(root: Path) -> bytes:
    publish(job(root))
    return (root / "lists" / str(AS_OF) / "risk_list.parquet").read_bytes()


def test_without_a_challenger_the_summary_and_the_file_are_empty(company: Path, monkeypatch) -> None:
    set_challengers(monkeypatch)
    assert score(job(company))["challengers"] == {}
    assert list(shadow_of(company).columns) == list(challenger.COLUMNS)
    assert shadow_of(company).empty


def test_a_challenger_equal_to_the_champion_has_equal_scores(company: Path, monkeypatch) -> None:
    set_challengers(monkeypatch, renewal=Model(SAME), expansion=Model(SAME))
    result = score(job(company))["challengers"]
    for target, champion in (("renewal", "renewal/3"), ("expansion", "expansion/1")):
        assert (result[target]["champion"], result[target]["challenger"]) == (champion, f"{target}/7")
        assert (result[target]["accounts"], result[target]["movers"], result[target]["top_overlap"]) == (7, [], 1.0)
        assert result[target]["rank_correlation"] == pytest.approx(1.0)
    rows = shadow_of(company)
    assert rows.groupby("target").size().to_dict() == {"expansion": 7, "renewal": 7}
    renewal = rows[rows["target"] == "renewal"]
    for name in ("probability", "risk_band", "rank", "in_top"):
        assert renewal[name].tolist() == renewal[f"{name}_challenger"].tolist()


def test_challenger_scores_are_stored_with_the_scores_of_the_list(company: Path, monkeypatch) -> None:
    set_challengers(monkeypatch, renewal=Model(REVERSED))
    result = score(job(company))["challengers"]["renewal"]
    assert result["rank_correlation"] == pytest.approx(-1.0)
    assert len(result["movers"]) > 0
    rows = shadow_of(company).set_index("account_id")
    figures = pd.read_parquet(company / "data" / "act" / "scoring.parquet").set_index("account_id").loc[rows.index]
    assert rows["probability_challenger"].tolist() == pytest.approx(Model(REVERSED).probability(figures).tolist())
    listed = pd.read_parquet(company / "data" / "act" / "list.parquet").set_index("account_id").loc[rows.index]
    assert rows["probability"].tolist() == listed["renewal_probability"].tolist()
    assert sorted(rows["rank_challenger"]) == sorted(rows["rank"])


def test_the_manifest_contains_the_challenger_summary(company: Path, monkeypatch) -> None:
    set_challengers(monkeypatch, renewal=Model(REVERSED))
    result = score(job(company))["challengers"]
    publish(job(company))
    manifest = json.loads((company / "lists" / str(AS_OF) / "manifest.json").read_bytes())
    assert manifest["challengers"] == json.loads(json.dumps(result))
    assert "7" not in {model["version"] for model in manifest["models"].values()}


class Broken(Model):
    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        raise KeyError("nps")


class Invalid(Model):
    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        return np.full(len(frame), 1.5)


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Broken(SAME), "nps"), (Invalid(SAME), "no valid probability"), (None, "LightGBM crashed")],
)
def test_a_damaged_challenger_is_a_warning_and_leaves_the_list_unchanged(company, monkeypatch, model, reason) -> None:
    set_challengers(monkeypatch)
    score(job(company))
    without = list_bytes(company)
    set_challengers(monkeypatch, renewal=model)
    if model is None:
        monkeypatch.setattr(model_loader, "load_model", _dies)
    assert reason in score(job(company))["challengers"]["renewal"]["failed"]
    assert shadow_of(company).empty
    (company / "lists" / str(AS_OF) / "manifest.json").unlink()
    assert list_bytes(company) == without


def _dies(*arguments: Any) -> None:
    raise DataContractError("model renewal/7 cannot be loaded: LightGBM crashed (SIGSEGV)")


def test_a_valid_challenger_leaves_the_list_unchanged(company: Path, monkeypatch) -> None:
    set_challengers(monkeypatch)
    score(job(company))
    without = list_bytes(company)
    set_challengers(monkeypatch, renewal=Model(REVERSED), expansion=Model(REVERSED))
    score(job(company))
    (company / "lists" / str(AS_OF) / "manifest.json").unlink()
    assert list_bytes(company) == without


def test_the_same_challenger_gives_the_same_bytes(company: Path, monkeypatch) -> None:
    set_challengers(monkeypatch, renewal=Model(REVERSED))
    seen = []
    for _ in range(2):
        score(job(company))
        seen.append((company / "data" / "act" / artifacts.CHALLENGER_SCORES).read_bytes())
    assert seen[0] == seen[1]
