"""A list made with other parameters than its model learned with: the reader is told which, and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.scoring import champion_models, drift
from renewals.pipelines.scoring.champion_models import Champion, load_champion
from renewals.pipelines.scoring.drift import drift_notices
from renewals.pipelines.scoring.feature_policy import SECTIONS, changed_parameters, feature_policy
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage.notices import Notice, add_texts
from renewals.pipelines.storage.registry import model_registry
from tests.pipelines.scored_company import Model, write_company
from tests.pipelines.scored_company import job as scored_job
from tests.root import ROOT

THEN = feature_policy(read_settings(None))
QUIET: dict[str, Any] = {"warnings": [], "features_compared": 160}
LOUD = {"warnings": [{"kind": "inputs", "name": f"f{i}"} for i in range(23)], "features_compared": 160}


def changed(*overrides: str) -> list[str]:
    return changed_parameters(THEN, feature_policy(read_settings(None, overrides)))


def test_nothing_is_said_of_the_same_parameters_and_of_those_that_mean_nothing_to_a_feature() -> None:
    assert changed() == []
    others = (
        "list.language=zh",
        "drift.psi_threshold=0.5",
        "alerts.min_usage_drop=0.9",
        "engine.threads=7",
        "lightgbm.seed=3",
    )
    assert changed(*others) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("usage.steady_days=6", "usage.steady_days: 4 → 6"),
        ("money.size_bands=[1, 100000]", "money.size_bands: +1.0 -20000.0"),
        ("money.reporting_currency=EUR", 'money.reporting_currency: "USD" → "EUR"'),
        ("usage.levels={view: [a, b]}", 'usage.levels.view: null → ["a", "b"]'),
        ("usage.north_star=['*', '!x']", "usage.north_star: +!x"),
        (
            "tickets.limits.low={first_response_hours: 40, resolution_hours: 720}",
            "tickets.limits.low.first_response_hours: 48.0 → 40.0",
        ),
    ],
)
def test_what_was_and_what_is(override: str, said: str) -> None:
    whole = ["tickets.limits.medium={first_response_hours: 24, resolution_hours: 240}"] * override.startswith("tickets")
    whole += ["tickets.limits.high={first_response_hours: 4, resolution_hours: 48}"] * override.startswith("tickets")
    assert changed(*whole, override) == [said]


def test_a_list_in_another_order_is_shown_whole() -> None:
    then, now = ({"usage": {"north_star": own}} for own in (["a", "!b"], ["!b", "a"]))
    assert changed_parameters(then, now) == ['usage.north_star: ["a", "!b"] → ["!b", "a"]']


def test_what_one_of_two_releases_did_not_know_is_no_change() -> None:
    now = feature_policy(read_settings(None))
    less = {section: own for section, own in THEN.items() if section != "usage"}
    less["tickets"] = {}
    assert changed_parameters(less, now) == []
    assert changed_parameters({**THEN, "gone": {"key": 1}}, now) == []


def test_the_cause_is_named_instead_of_many_unexplained_warnings() -> None:
    said = ["usage.steady_days: 4 → 6"]
    assert drift_notices(QUIET, []) == []
    assert drift_notices(LOUD, []) == [Notice("drift", {"differing": 23, "features": 160})]
    assert drift_notices(QUIET, said) == [Notice("other_parameters", {"parameters": said[0]})]
    (both,) = drift_notices(LOUD, said)
    assert both.text("en") == (
        "This list was made with other parameters than its model learned with (usage.steady_days: 4 → 6), so the "
        "accounts differ from those in training in 23 of 160 figures: learn the model again, or set the parameters "
        "back, before relying on the scores."
    )
    assert both.text("zh").startswith(
        "本名单所用参数与模型训练时不同（usage.steady_days: 4 → 6），因此现有客户在 160 项"
    )


def test_of_many_changed_parameters_the_first_are_named_and_all_are_counted() -> None:
    (notice,) = drift_notices(QUIET, [f"p{i}: 1 → 2" for i in range(5)])
    assert notice.values["parameters"] == "p0: 1 → 2; p1: 1 → 2; p2: 1 → 2; … (5)"
    (notice,) = drift_notices(QUIET, [f"p{i}: 1 → 2" for i in range(drift.MAX_LISTED_PARAMETERS)])
    assert "…" not in str(notice.values["parameters"])


def test_dvc_trains_and_scores_again_where_such_a_parameter_changes() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(SECTIONS) <= set(stages["train"]["do"]["params"])
    assert set(SECTIONS) <= set(stages["score"]["params"])


# --- from the model's card to the list ---------------------------------------------------------------


def scored_with(root: Path, monkeypatch: pytest.MonkeyPatch, learned_with: Any) -> list[dict[str, Any]]:
    """The notices of a list made with `usage.steady_days` at 6."""
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    serving = Champion("renewal", "3", Model({"people_28d": 1.0}), parameters=learned_with)
    monkeypatch.setattr(champion_models, "load_champion", lambda one, target: serving)
    write_company(root)
    own = scored_job(root)
    own.settings.model_dump = read_settings(None, ["usage.steady_days=6"]).model_dump  # type: ignore[method-assign]
    found: list[dict[str, Any]] = score(own)["notices"]
    return found


def test_a_list_says_that_its_model_learned_with_other_parameters(tmp_path: Path, monkeypatch) -> None:
    expected = add_texts([Notice("other_parameters", {"parameters": "usage.steady_days: 4 → 6"})])
    assert scored_with(tmp_path / "a", monkeypatch, json.loads(json.dumps(THEN))) == expected


def test_nothing_is_said_of_a_model_that_kept_no_parameters(tmp_path: Path, monkeypatch) -> None:
    assert scored_with(tmp_path, monkeypatch, None) == []


@pytest.mark.parametrize(("card", "read"), [({"parameters": THEN}, THEN), ({}, None), (None, None)])
def test_the_parameters_are_read_from_the_card_of_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Any, read: Any
) -> None:
    files = {} if card is None else {"model_card.json": json.dumps(card).encode()}
    monkeypatch.setattr(model_registry, "fetch_champion", lambda job, target: ("renewal", "3", files))
    monkeypatch.setattr(champion_models, "reject_unservable_model", lambda *given: None)
    monkeypatch.setattr("renewals.pipelines.storage.registry.model_loader.load_model", lambda *given: Model({}))
    own = Job(Settings(), "", tmp_path, tmp_path / "lists")
    assert load_champion(replace(own, as_of=None), "renewal").parameters == read
