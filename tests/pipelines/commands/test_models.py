"""Champion, challenger, promotion and rollback as the registry records them."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from renewals.models.training.ensemble import BOOSTER_FILE
from renewals.pipelines.commands import models
from renewals.pipelines.runtime.errors import DataContractError, GateRejectedError, MissingInputError
from renewals.pipelines.scoring.champion_models import load_champion
from renewals.pipelines.scoring.drift_reference import read_reference
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.storage.published.hindsight import TrainedVersion
from renewals.pipelines.storage.registry import champion_history, mlflow_artifacts, model_registry
from tests.models.drawn import CATALOGUE
from tests.pipelines.registered_models import (
    STRICT,
    TARGET,
    copied,
    learned,
    three_versions,
    with_settings,
    with_training_table,
)


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    return three_versions(tmp_path_factory.mktemp("registry") / "data")


@pytest.fixture
def job(registered, tmp_path):
    return copied(registered, tmp_path / "data")


def champion_version(job) -> str:
    return model_registry.fetch_champion(job, TARGET)[1]


def challenger_version(job) -> str | None:
    challenger = model_registry.fetch_challenger(job, TARGET)
    return challenger[1] if challenger else None


def tags(job, version: int) -> dict[str, str]:
    return model_registry.mlflow_client(job).get_model_version(model_registry.registry_name(TARGET), str(version)).tags


def promote(job, version: int, why: str | None = None, forced: bool = False) -> dict:
    return models.promote(job, TARGET, version, why, forced)


def test_a_passing_version_becomes_champion_and_a_rejected_one_does_not(job):
    assert champion_version(job) == "2"
    assert challenger_version(job) is None
    assert "gate.min_renewals" in tags(job, 3)[model_registry.REASONS_TAG]


def test_any_version_is_fetched_by_its_number(job):
    """The files of a version include its drift reference."""
    files = model_registry.fetch_version(job, TARGET, "1")
    assert files[BOOSTER_FILE] != model_registry.fetch_champion(job, TARGET)[2][BOOSTER_FILE]
    assert set(read_reference(files)["features"]) == {feature["name"] for feature in CATALOGUE}
    with pytest.raises(MissingInputError, match="version 99 of renewal is not registered"):
        model_registry.fetch_version(job, TARGET, "99")


def test_the_training_day_of_the_champion_is_read_without_model_files(job):
    shutil.rmtree(mlflow_artifacts.artifacts_folder(job.data))
    assert model_registry.champions_by_target(job, ("renewal", "upsell")) == {"renewal": TrainedVersion("2", job.until)}


def test_a_loaded_champion_has_its_training_day(job):
    assert load_champion(job, TARGET).until == job.until


def test_a_rollback_goes_back_one_champion_and_then_no_further(job):
    result = models.rollback(job, TARGET)
    assert (result["champion_version"], result["previous_version"], result["champion_history"]) == ("1", "2", ["1"])
    assert champion_version(job) == "1"
    assert champion_history.ROLLED_BACK_TAG in tags(job, 2)
    with pytest.raises(MissingInputError, match="no earlier champion of renewal: version 1 stays"):
        models.rollback(job, TARGET)
    assert champion_version(job) == "1"


def test_a_second_rollback_goes_further_back(job):
    promote(job, 3, "a trial", forced=True)
    assert [models.rollback(job, TARGET)["champion_version"] for _ in range(2)] == ["2", "1"]


def test_a_rolled_back_version_can_be_promoted_and_rolled_back_again(job):
    models.rollback(job, TARGET)
    assert promote(job, 2)["champion_history"] == ["1", "2"]
    assert models.rollback(job, TARGET)["champion_version"] == "1"


def test_a_champion_that_returns_has_new_tags_and_no_rollback_tag(job):
    result = models.rollback(job, TARGET)
    assert result["reason"] == "version 2 was rolled back"
    assert tags(job, 1)[champion_history.SERVED_SINCE_TAG] >= tags(job, 2)[champion_history.SERVED_SINCE_TAG]
    promote(job, 2)
    assert champion_history.ROLLED_BACK_TAG not in tags(job, 2)
    assert tags(job, 2)[champion_history.SERVED_BECAUSE_TAG] == champion_history.PROMOTED_MANUALLY


@pytest.mark.parametrize("move", ["rollback", "promote"])
def test_receipts_hold_only_the_champion_at_registration(job, move):
    """A receipt holds the champion at registration; only the registry holds the present champion."""
    assert learned(job, "lightgbm.seed=8")["champion_version"] == "2"
    models.rollback(job, TARGET) if move == "rollback" else promote(job, 1)
    assert champion_version(job) == "1"
    receipts = [json.loads(path.read_bytes()) for path in job.data.rglob(f"registered/{TARGET}.json")]
    assert len(receipts) == 2
    for receipt in receipts:
        assert (receipt["version"], receipt["at_registration"]) == (
            "2",
            {"champion_version": "2", "waiting_reason": None},
        )
        assert not {"champion_version", "waiting_reason"} & set(receipt)


def test_promoting_an_older_version_can_be_rolled_back(job):
    assert promote(job, 1)["champion_history"] == ["1", "2", "1"]
    assert models.rollback(job, TARGET)["champion_version"] == "2"


def test_a_rejected_version_is_promoted_only_by_force_and_with_a_reason(job):
    with pytest.raises(GateRejectedError, match=r"was rejected by the gate: tested on .* --force --reason") as stop:
        promote(job, 3)
    assert (stop.value.exit_code, champion_version(job)) == (80, "2")
    result = promote(job, 3, "the audit asked for it", forced=True)
    assert (result["champion_version"], result["gate"], result["reason"]) == (
        "3",
        "refused",
        "forced: the audit asked for it",
    )
    assert tags(job, 3)[champion_history.SERVED_BECAUSE_TAG] == "forced: the audit asked for it"


def test_promoting_the_champion_changes_nothing(job):
    before = tags(job, 2)
    assert promote(job, 2)["state"] == "already serves"
    assert tags(job, 2) == before


def test_a_missing_version_is_reported_with_the_registered_versions(job):
    with pytest.raises(
        MissingInputError, match=r"version 7 of renewal is not registered; registered versions: 1, 2, 3"
    ):
        promote(job, 7)
    with pytest.raises(MissingInputError, match="no model of upsell is registered"):
        models.promote(job, "upsell", 1, None, False)
    with pytest.raises(MissingInputError, match="upsell has no champion"):
        models.rollback(job, "upsell")


def test_learning_again_from_the_same_rows_does_not_undo_a_rollback(job):
    models.rollback(job, TARGET)
    result = learned(job, "lightgbm.seed=8")
    assert (result["version"], result["passed"], result["champion_version"]) == ("2", True, "1")
    assert "was rolled back" in result["waiting_reason"]
    assert "renewals promote renewal --version 2" in result["waiting_reason"]
    assert (champion_version(job), challenger_version(job)) == ("1", "2")


def test_learning_again_from_older_rows_does_not_restore_a_replaced_champion(job):
    result = learned(job)
    assert (result["version"], result["passed"], result["champion_version"]) == ("1", True, "2")
    assert "was champion before and was replaced" in result["waiting_reason"]


def test_with_manual_promotion_a_passing_version_waits_until_it_is_promoted(job):
    result = learned(job, "lightgbm.seed=10", "gate.promote=manual")
    assert (result["passed"], result["champion_version"], champion_version(job), challenger_version(job)) == (
        True,
        "2",
        "2",
        "4",
    )
    assert "gate.promote is manual" in result["waiting_reason"]
    assert promote(job, 4)["champion_version"] == "4"
    assert challenger_version(job) is None
    assert learned(job, "lightgbm.seed=10", "gate.promote=manual")["waiting_reason"] is None, (
        "it is the champion, so nothing waits"
    )


def test_a_challenger_that_no_longer_passes_no_longer_waits(job):
    learned(job, "lightgbm.seed=10", "gate.promote=manual")
    register(with_settings(job, "lightgbm.seed=10", STRICT), TARGET)
    assert challenger_version(job) is None


def test_a_newer_champion_removes_the_challenger(job):
    learned(job, "lightgbm.seed=10", "gate.promote=manual")
    assert learned(job, "lightgbm.seed=11")["champion_version"] == "5"
    assert challenger_version(job) is None


def test_without_a_champion_the_waiting_challenger_is_named(job):
    client = model_registry.mlflow_client(job)
    client.delete_registered_model_alias(model_registry.registry_name(TARGET), model_registry.CHAMPION)
    learned(job, "lightgbm.seed=10", "gate.promote=manual")
    with pytest.raises(MissingInputError, match="version 4 passed the gate and waits; `renewals promote renewal"):
        model_registry.fetch_champion(job, TARGET)


def test_an_alias_that_mlflow_changed_is_part_of_the_history(job):
    model_registry.mlflow_client(job).set_registered_model_alias(
        model_registry.registry_name(TARGET), model_registry.CHAMPION, "3"
    )
    assert models.rollback(job, TARGET)["champion_history"] == ["1", "2"]
    assert champion_version(job) == "2"


def test_an_interrupted_rollback_can_be_repeated(job, monkeypatch):
    from mlflow import MlflowClient

    def cut(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "set_registered_model_alias", cut)
        with pytest.raises(KeyboardInterrupt):
            models.rollback(job, TARGET)
    assert champion_version(job) == "2"
    assert models.rollback(job, TARGET)["champion_version"] == "1"


@pytest.fixture
def old_company(tmp_path):
    """A company with a champion trained long before the present day."""
    job = with_training_table(tmp_path / "data")
    learned(replace(job, until=date(2022, 12, 1)))
    return job


def test_an_old_champion_scores_later_observations_itself(old_company):
    compared = learned(old_company)["champion_comparison"]
    assert compared["rows_scored_by_champion"] > 0
    assert compared["gain"] is not None


def test_a_champion_with_different_columns_is_compared_only_by_its_back_test(old_company):
    catalogue = json.loads((old_company.folder / "features.json").read_text())["features"]
    without = {"features": [feature for feature in catalogue if feature["name"] != "tickets"]}
    (old_company.folder / "features.json").write_text(json.dumps(without))
    training = pd.read_parquet(old_company.folder / "training.parquet")
    training.drop(columns="tickets").to_parquet(old_company.folder / "training.parquet")
    assert learned(old_company)["champion_comparison"]["rows_scored_by_champion"] == 0


@pytest.fixture
def damaged(job):
    """Remove a model file of version 1 during the test."""
    client = model_registry.mlflow_client(job)
    root = client.get_model_version_download_uri(model_registry.registry_name(TARGET), "1").removeprefix("file://")
    (path,) = [p for p in Path(root).rglob("model.txt") if (p.parent / model_registry.MANIFEST).exists()]
    hidden = path.with_suffix(".kept")
    shutil.move(path, hidden)
    yield
    shutil.move(hidden, path)


@pytest.mark.parametrize("act", [lambda job: promote(job, 1), lambda job: models.rollback(job, TARGET)])
def test_a_damaged_version_is_neither_promoted_nor_restored(job, damaged, act):
    with pytest.raises(DataContractError, match="renewals-renewal/1"):
        act(job)
    assert champion_version(job) == "2"
