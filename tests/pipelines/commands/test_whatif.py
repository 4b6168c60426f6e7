"""What-if comparison: two predictions of the champion with a caveat, and messages for invalid changes."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from structlog.testing import capture_logs

from renewals.models.training.additive import PiecewiseLinear
from renewals.pipelines.commands.whatif import print_comparison, whatif
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.settings import Engine
from renewals.pipelines.scoring import champion_models, what_if_grid
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage.registry import model_registry
from renewals.reports.words import Messages
from tests.pipelines.scored_company import Model, job, write_company
from tests.pipelines.storage.old_data_folder import make_old
from tests.reports.pages import payload_of
from tests.reports.small_list import catalogue

WHAT_IF_FEATURES = ("people_28d", "bugs_28d", "people_90d", "plan", "visits_90d", "nothing")


@dataclass(frozen=True)
class WhatIfModel(Model):
    """A model with a training range of 0 to 4 for each feature."""

    @property
    def schema(self) -> Any:
        return SimpleNamespace(names=(*self.weights, "plan"), categories={"plan": ("basic", "pro")})

    @property
    def linear(self) -> Any:
        return SimpleNamespace(effects=[PiecewiseLinear((0.0, 4.0), (0.0, 1.0), 0.0) for _ in self.schema.names])

    def contributions(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, float]:
        contributions, base = super().contributions(frame)
        return contributions.assign(plan=0.0), base


def champion(version: str) -> Any:
    weights = {"people_28d": 1.0, "bugs_28d": -0.5, "people_90d": 0.25}
    return lambda job, target: Champion("renewal", version, WhatIfModel(weights))


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(champion_models, "load_champion", champion("3"))
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda job, target: None)
    write_company(tmp_path)
    features = catalogue()
    features.append({**features[0], "name": "people_90d", "params": {"days": 90}, "actionable": False})
    features.append({**features[0], "name": "visits_90d", "params": {"days": 90}, "action": True, "family": "contact"})
    texts = {"en": "on plan {value} ({peer})", "zh": "套餐 {value}（{peer}）"}
    features.append({**features[0], "name": "plan", "kind": "category", "params": {}, **texts})
    act = tmp_path / "data" / "act"
    (act / "features.json").write_text(json.dumps({"features": features, "missing_families": []}))
    figures = pd.read_parquet(act / "scoring.parquet")
    figures.assign(people_90d=figures["people_28d"]).to_parquet(act / "scoring.parquet")
    score(job(tmp_path, what_if_features=WHAT_IF_FEATURES))
    publish(job(tmp_path, what_if_features=WHAT_IF_FEATURES))
    return tmp_path


def expected_probability(people: float, bugs: float, longer: float) -> float:
    return float(1 / (1 + np.exp(-(0.5 + (people - 1) - 0.5 * (bugs - 1) + 0.25 * (longer - 1)))))


def test_the_champion_predicts_for_present_and_changed_values(company: Path) -> None:
    result = whatif(job(company), "a0", ["people_28d=3", " bugs_28d = 1 "])
    assert (result["before"], result["after"]) == (
        pytest.approx(expected_probability(0, 0, 0)),
        pytest.approx(expected_probability(3, 1, 3)),
    )
    assert result["model"] == "renewal/3"
    assert [(feature["feature"], feature["before"], feature["after"]) for feature in result["features"]] == [
        ("people_28d", 0.0, 3.0),
        ("bugs_28d", 0.0, 1.0),
    ]
    assert result["features"][0]["sentence_after"].startswith("3 people used the product")
    assert "(peers: 2)" in result["features"][0]["sentence_before"]
    assert json.loads(json.dumps(result)) == result


def test_all_windows_of_a_feature_shift_unless_they_are_set_too(company: Path) -> None:
    result = whatif(job(company), "a0", ["people_28d=3"])
    assert result["shifted_windows"] == {"people_90d": [0.0, 3.0]}
    assert "people_90d=3" in result["notes"][0]
    held = whatif(job(company), "a0", ["people_28d=3", "people_90d=0"])
    assert held["shifted_windows"] == {}
    assert held["after"] == pytest.approx(expected_probability(3, 0, 0))
    assert whatif(job(company), "a0", ["people_28d=none"])["shifted_windows"] == {}


def test_notes_name_values_outside_training_and_always_contain_the_caveat(company: Path) -> None:
    inside, outside = (whatif(job(company), "a0", [f"people_28d={n}"])["notes"] for n in (4, 5))
    assert len(inside) == 2
    assert "0 to 4" in outside[0]
    assert len(outside) == 3
    assert inside[-1] == outside[-1]
    assert "association, not an effect" in inside[-1]
    assert len(whatif(job(company), "a0", ["bugs_28d=1"])["notes"]) == 1


def test_the_page_shows_the_probability_of_the_command_at_each_step(company: Path) -> None:
    run = job(company, what_if_features=WHAT_IF_FEATURES)
    publish(run)
    page = payload_of((run.lists / str(run.day) / "risk_list.html").read_bytes())
    grid = pd.read_parquet(company / "data" / "act" / "what_if_grid.parquet")
    assert grid["feature"].unique().tolist() == ["people_28d", "bugs_28d"], "only actionable numeric features"
    assert "a4" not in set(grid["account_id"]), "accounts without a score have no steps"
    compared = 0
    for one in page["whatif"]:
        for row, account in enumerate(page["rows"]["account_id"]["texts"]):
            steps = grid[(grid["account_id"] == account)].groupby("feature", sort=False)["value"].apply(list)
            if account == "a4":
                assert all(chances[row] == -1 for chances in one["chances"])
                continue
            name = steps.index[page["whatif"].index(one)]
            shown = [chances[row] for chances in one["chances"] if chances[row] >= 0]
            after = [whatif(run, account, [f"{name}={figure!r}"])["after"] for figure in steps[name]]
            assert [f"{expected_probability}%" for expected_probability in shown] == [
                f"{expected_probability:.0%}" for expected_probability in after
            ]
            compared += len(shown)
    assert compared == len(grid) > 20


def test_blocks_and_threads_do_not_change_the_grid(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = company / "data" / "act" / "what_if_grid.parquet"
    before = path.read_bytes()
    monkeypatch.setattr(what_if_grid, "BLOCK_ROWS", 3)
    one = job(company, what_if_features=WHAT_IF_FEATURES)
    one.settings.engine = Engine(threads=3)
    score(one)
    assert path.read_bytes() == before


def test_the_grid_contains_only_the_accounts_of_the_page(company: Path) -> None:
    score(job(company, what_if_features=WHAT_IF_FEATURES, page_rows=2))
    listed = pd.read_parquet(company / "data" / "act" / "list.parquet")
    grid = pd.read_parquet(company / "data" / "act" / "what_if_grid.parquet")
    assert set(grid["account_id"]) == set(listed["account_id"].head(2))


def test_a_value_can_be_changed_to_unknown_or_to_another_category(company: Path) -> None:
    result = whatif(job(company), "a0", ["plan=pro"])
    assert result["after"] == result["before"]
    assert result["features"][0]["after"] == "pro"
    unknown = whatif(job(company), "a0", ["plan=none"])["features"][0]
    assert (unknown["before"], unknown["after"]) == ("basic", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("people_28d", "write it as feature=value"),
        ("peple_28d=1", r"has no such feature; did you mean people_28d"),
        ("zzz=1", "`renewals explain` shows"),
        ("people_28d=many", "give a number, or none"),
        ("people_28d=inf", "give a number"),
        ("people_28d=nan", "give a number"),
        ("plan=gold", "use one of basic, pro"),
        ("people_7d=1", "has no such feature; did you mean"),
        ("visits_90d=1", "counts logged actions, and logging an action does not change the score"),
    ],
)
def test_an_invalid_change_is_reported(company: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        whatif(job(company), "a0", [change])


def test_features_that_cannot_be_changed_are_omitted_with_a_log_line(company: Path) -> None:
    with capture_logs() as logs:
        score(job(company, what_if_features=WHAT_IF_FEATURES))
    left_out = {
        line["event"]: line["features"] for line in logs if "left out of list.what_if_features" in line["event"]
    }
    assert left_out == {
        "features not actionable, left out of list.what_if_features": ["people_90d"],
        "features are logged actions that no model reads, left out of list.what_if_features": ["visits_90d"],
    }


def test_accounts_and_models_that_cannot_be_compared_are_reported(
    company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingInputError, match=r"Did you mean: a0 \(acme\)"):
        whatif(job(company), "acme", ["bugs_28d=1"])
    with pytest.raises(MissingInputError, match="a4 has no score on this list"):
        whatif(job(company), "a4", ["bugs_28d=1"])
    monkeypatch.setattr(champion_models, "load_champion", champion("4"))
    with pytest.raises(MissingInputError, match=r"used model renewal/3, but the champion is now renewal/4"):
        whatif(job(company), "a0", ["bugs_28d=1"])


@pytest.mark.parametrize(("language", "title"), [("en", "What if?"), ("zh", "如果")])
def test_the_comparison_is_printed_in_each_language(
    company: Path, language: str, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = whatif(job(company, language=language), "a7", ["bugs_28d=2"])
    sink = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=sink, width=200))
    print_comparison(result, Messages(language))
    output = sink.getvalue()
    assert title in output
    assert "[/bold]␛[31m" in output
    assert "\x1b[31m" not in output
    assert f"{result['before']:.0%}" in output


def test_a_list_of_the_previous_release_is_compared(company: Path) -> None:
    before = whatif(job(company), "a0", ["people_28d=2"])
    make_old(company / "data")
    assert whatif(job(company), "a0", ["people_28d=2"]) == before
    assert not (company / "data" / "published").exists()
