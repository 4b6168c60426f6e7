"""A list with different parameters than its model: a notice names them and the remedy."""

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

TRAINED = feature_policy(read_settings(None))
NO_DRIFT: dict[str, Any] = {"warnings": [], "features_compared": 160}
MUCH_DRIFT = {"warnings": [{"kind": "inputs", "name": f"f{i}"} for i in range(23)], "features_compared": 160}


def changed(*overrides: str) -> list[str]:
    return changed_parameters(TRAINED, feature_policy(read_settings(None, overrides)))


def test_only_parameters_of_features_count_as_changed() -> None:
    assert changed() == []
    overrides = (
        "list.language=zh",
        "drift.psi_threshold=0.5",
        "alerts.min_usage_drop=0.9",
        "engine.threads=7",
        "lightgbm.seed=3",
    )
    assert changed(*overrides) == []


@pytest.mark.parametrize(
    ("override", "change"),
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
def test_a_changed_parameter_shows_both_values(override: str, change: str) -> None:
    overrides = ["tickets.limits.medium={first_response_hours: 24, resolution_hours: 240}"] * override.startswith(
        "tickets"
    )
    overrides += ["tickets.limits.high={first_response_hours: 4, resolution_hours: 48}"] * override.startswith(
        "tickets"
    )
    assert changed(*overrides, override) == [change]


def test_a_reordered_list_is_shown_completely() -> None:
    then, now = ({"usage": {"north_star": values}} for values in (["a", "!b"], ["!b", "a"]))
    assert changed_parameters(then, now) == ['usage.north_star: ["a", "!b"] → ["!b", "a"]']


def test_parameters_of_only_one_release_are_no_change() -> None:
    now = feature_policy(read_settings(None))
    less = {section: values for section, values in TRAINED.items() if section != "usage"}
    less["tickets"] = {}
    assert changed_parameters(less, now) == []
    assert changed_parameters({**TRAINED, "gone": {"key": 1}}, now) == []


def test_the_cause_is_named_instead_of_many_unexplained_warnings() -> None:
    changes = ["usage.steady_days: 4 → 6"]
    assert drift_notices(NO_DRIFT, []) == []
    assert drift_notices(MUCH_DRIFT, []) == [Notice("drift", {"differing": 23, "features": 160})]
    assert drift_notices(NO_DRIFT, changes) == [Notice("other_parameters", {"parameters": changes[0]})]
    (both,) = drift_notices(MUCH_DRIFT, changes)
    assert both.text("en") == (
        "This list was made with other parameters than its model learned with (usage.steady_days: 4 → 6), so the "
        "accounts differ from those in training in 23 of 160 figures: learn the model again, or set the parameters "
        "back, before relying on the scores."
    )
    assert both.text("zh").startswith(
        "本名单所用参数与模型训练时不同（usage.steady_days: 4 → 6），因此现有客户在 160 项"
    )


def test_of_many_changed_parameters_the_first_are_named_and_all_are_counted() -> None:
    (notice,) = drift_notices(NO_DRIFT, [f"p{i}: 1 → 2" for i in range(5)])
    assert notice.values["parameters"] == "p0: 1 → 2; p1: 1 → 2; p2: 1 → 2; … (5)"
    (notice,) = drift_notices(NO_DRIFT, [f"p{i}: 1 → 2" for i in range(drift.MAX_LISTED_PARAMETERS)])
    assert "…" not in str(notice.values["parameters"])


def test_dvc_trains_and_scores_again_where_such_a_parameter_changes() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(SECTIONS) <= set(stages["train"]["do"]["params"])
    assert set(SECTIONS) <= set(stages["score"]["params"])


# --- from the model card to the list -- ---------------------------------------------------------------


def scored_with(root: Path, monkeypatch: pytest.MonkeyPatch, learned_with: Any) -> list[dict[str, Any]]:
    """The notices of a list made with `usage.steady_days` at 6."""
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    serving = Champion("renewal", "3", Model({"people_28d": 1.0}), parameters=learned_with)
    monkeypatch.setattr(champion_models, "load_champion", lambda one, target: serving)
    write_company(root)
    run = scored_job(root)
    run.settings.model_dump = read_settings(None, ["usage.steady_days=6"]).model_dump  # type: ignore[method-assign]
    notices: list[dict[str, Any]] = score(run)["notices"]
    return notices


def test_a_list_reports_different_training_parameters(tmp_path: Path, monkeypatch) -> None:
    expected = add_texts([Notice("other_parameters", {"parameters": "usage.steady_days: 4 → 6"})])
    assert scored_with(tmp_path / "a", monkeypatch, json.loads(json.dumps(TRAINED))) == expected


def test_a_model_without_stored_parameters_gives_no_notice(tmp_path: Path, monkeypatch) -> None:
    assert scored_with(tmp_path, monkeypatch, None) == []


@pytest.mark.parametrize(("card", "read"), [({"parameters": TRAINED}, TRAINED), ({}, None), (None, None)])
def test_the_parameters_are_read_from_the_card_of_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Any, read: Any
) -> None:
    files = {} if card is None else {"model_card.json": json.dumps(card).encode()}
    monkeypatch.setattr(model_registry, "fetch_champion", lambda job, target: ("renewal", "3", files))
    monkeypatch.setattr(champion_models, "reject_unservable_model", lambda *arguments: None)
    monkeypatch.setattr("renewals.pipelines.storage.registry.model_loader.load_model", lambda *arguments: Model({}))
    run = Job(Settings(), "", tmp_path, tmp_path / "lists")
    assert load_champion(replace(run, as_of=None), "renewal").parameters == read
