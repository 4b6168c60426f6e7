"""What if? The model is asked twice, nothing is promised, and a wrong wish is told in words."""

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

TRIED = ("people_28d", "bugs_28d", "people_90d", "plan", "visits_90d", "nothing")


@dataclass(frozen=True)
class Asked(Model):
    """A model with the range that its training showed: 0 to 4 of each figure."""

    @property
    def schema(self) -> Any:
        return SimpleNamespace(names=(*self.weights, "plan"), categories={"plan": ("basic", "pro")})

    @property
    def linear(self) -> Any:
        return SimpleNamespace(effects=[PiecewiseLinear((0.0, 4.0), (0.0, 1.0), 0.0) for _ in self.schema.names])

    def contributions(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, float]:
        told, base = super().contributions(frame)
        return told.assign(plan=0.0), base


def champion(version: str) -> Any:
    weights = {"people_28d": 1.0, "bugs_28d": -0.5, "people_90d": 0.25}
    return lambda job, target: Champion("renewal", version, Asked(weights))


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(champion_models, "load_champion", champion("3"))
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda job, target: None)
    write_company(tmp_path)
    features = catalogue()
    features.append({**features[0], "name": "people_90d", "params": {"days": 90}, "actionable": False})
    features.append({**features[0], "name": "visits_90d", "params": {"days": 90}, "action": True, "family": "contact"})
    words = {"en": "on plan {value} ({peer})", "zh": "套餐 {value}（{peer}）"}
    features.append({**features[0], "name": "plan", "kind": "category", "params": {}, **words})
    act = tmp_path / "data" / "act"
    (act / "features.json").write_text(json.dumps({"features": features, "missing_families": []}))
    figures = pd.read_parquet(act / "scoring.parquet")
    figures.assign(people_90d=figures["people_28d"]).to_parquet(act / "scoring.parquet")
    score(job(tmp_path, what_if_features=TRIED))
    publish(job(tmp_path, what_if_features=TRIED))
    return tmp_path


def chance(people: float, bugs: float, longer: float) -> float:
    return float(1 / (1 + np.exp(-(0.5 + (people - 1) - 0.5 * (bugs - 1) + 0.25 * (longer - 1)))))


def test_the_model_is_asked_of_the_figures_as_they_are_and_as_they_might_be(company: Path) -> None:
    said = whatif(job(company), "a0", ["people_28d=3", " bugs_28d = 1 "])
    assert (said["before"], said["after"]) == (pytest.approx(chance(0, 0, 0)), pytest.approx(chance(3, 1, 3)))
    assert said["model"] == "renewal/3"
    assert [(own["feature"], own["before"], own["after"]) for own in said["features"]] == [
        ("people_28d", 0.0, 3.0),
        ("bugs_28d", 0.0, 1.0),
    ]
    assert said["features"][0]["sentence_after"].startswith("3 people used the product")
    assert "(peers: 2)" in said["features"][0]["sentence_before"]
    assert json.loads(json.dumps(said)) == said


def test_the_other_windows_of_a_figure_move_along_unless_they_are_wished_for_too(company: Path) -> None:
    said = whatif(job(company), "a0", ["people_28d=3"])
    assert said["shifted_windows"] == {"people_90d": [0.0, 3.0]}
    assert "people_90d=3" in said["notes"][0]
    held = whatif(job(company), "a0", ["people_28d=3", "people_90d=0"])
    assert held["shifted_windows"] == {}
    assert held["after"] == pytest.approx(chance(3, 0, 0))
    assert whatif(job(company), "a0", ["people_28d=none"])["shifted_windows"] == {}


def test_what_lies_beyond_is_said_and_the_caveat_always(company: Path) -> None:
    usual, beyond = (whatif(job(company), "a0", [f"people_28d={n}"])["notes"] for n in (4, 5))
    assert len(usual) == 2
    assert "0 to 4" in beyond[0]
    assert len(beyond) == 3
    assert usual[-1] == beyond[-1]
    assert "association, not an effect" in usual[-1]
    assert len(whatif(job(company), "a0", ["bugs_28d=1"])["notes"]) == 1


def test_the_page_says_at_each_step_what_the_command_says_of_that_wish(company: Path) -> None:
    asked = job(company, what_if_features=TRIED)
    publish(asked)
    page = payload_of((asked.lists / str(asked.day) / "risk_list.html").read_bytes())
    tried = pd.read_parquet(company / "data" / "act" / "what_if_grid.parquet")
    assert tried["feature"].unique().tolist() == ["people_28d", "bugs_28d"], "numbers that a manager can move"
    assert "a4" not in set(tried["account_id"]), "nobody tries what has no score"
    told = 0
    for one in page["whatif"]:
        for row, account in enumerate(page["rows"]["account_id"]["texts"]):
            own = tried[(tried["account_id"] == account)].groupby("feature", sort=False)["value"].apply(list)
            if account == "a4":
                assert all(chances[row] == -1 for chances in one["chances"])
                continue
            name = own.index[page["whatif"].index(one)]
            shown = [chances[row] for chances in one["chances"] if chances[row] >= 0]
            after = [whatif(asked, account, [f"{name}={figure!r}"])["after"] for figure in own[name]]
            assert [f"{chance}%" for chance in shown] == [f"{chance:.0%}" for chance in after]
            told += len(shown)
    assert told == len(tried) > 20


def test_neither_blocks_nor_threads_show_in_what_is_tried(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = company / "data" / "act" / "what_if_grid.parquet"
    before = path.read_bytes()
    monkeypatch.setattr(what_if_grid, "BLOCK_ROWS", 3)
    one = job(company, what_if_features=TRIED)
    one.settings.engine = Engine(threads=3)
    score(one)
    assert path.read_bytes() == before


def test_the_page_tries_only_the_accounts_that_it_shows(company: Path) -> None:
    score(job(company, what_if_features=TRIED, page_rows=2))
    listed = pd.read_parquet(company / "data" / "act" / "list.parquet")
    tried = pd.read_parquet(company / "data" / "act" / "what_if_grid.parquet")
    assert set(tried["account_id"]) == set(listed["account_id"].head(2))


def test_a_figure_may_be_unknown_and_a_category_another(company: Path) -> None:
    said = whatif(job(company), "a0", ["plan=pro"])
    assert said["after"] == said["before"]
    assert said["features"][0]["after"] == "pro"
    unknown = whatif(job(company), "a0", ["plan=none"])["features"][0]
    assert (unknown["before"], unknown["after"]) == ("basic", None)


@pytest.mark.parametrize(
    ("wish", "words"),
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
def test_a_wrong_wish_is_told_in_words(company: Path, wish: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        whatif(job(company), "a0", [wish])


def test_a_logged_action_among_the_figures_to_be_tried_is_left_out_with_a_word(company: Path) -> None:
    with capture_logs() as said:
        score(job(company, what_if_features=TRIED))
    left_out = {
        line["event"]: line["features"] for line in said if "left out of list.what_if_features" in line["event"]
    }
    assert left_out == {
        "features not actionable, left out of list.what_if_features": ["people_90d"],
        "features are logged actions that no model reads, left out of list.what_if_features": ["visits_90d"],
    }


def test_accounts_and_models_that_cannot_be_compared(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingInputError, match=r"Did you mean: a0 \(acme\)"):
        whatif(job(company), "acme", ["bugs_28d=1"])
    with pytest.raises(MissingInputError, match="a4 has no score on this list"):
        whatif(job(company), "a4", ["bugs_28d=1"])
    monkeypatch.setattr(champion_models, "load_champion", champion("4"))
    with pytest.raises(MissingInputError, match=r"used model renewal/3, but the champion is now renewal/4"):
        whatif(job(company), "a0", ["bugs_28d=1"])


@pytest.mark.parametrize(("language", "words"), [("en", "What if?"), ("zh", "如果")])
def test_on_a_terminal_it_is_told_in_words(
    company: Path, language: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = whatif(job(company, language=language), "a7", ["bugs_28d=2"])
    sink = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=sink, width=200))
    print_comparison(said, Messages(language))
    told = sink.getvalue()
    assert words in told
    assert "[/bold]␛[31m" in told
    assert "\x1b[31m" not in told
    assert f"{said['before']:.0%}" in told


def test_a_list_of_the_release_before_is_asked_as_well(company: Path) -> None:
    before = whatif(job(company), "a0", ["people_28d=2"])
    make_old(company / "data")
    assert whatif(job(company), "a0", ["people_28d=2"]) == before
    assert not (company / "data" / "published").exists()
