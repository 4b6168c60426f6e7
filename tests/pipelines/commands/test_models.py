"""What serves, what waits, what is taken back: told by the registry itself."""

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
def kept(tmp_path_factory):
    return three_versions(tmp_path_factory.mktemp("registry") / "data")


@pytest.fixture
def job(kept, tmp_path):
    return copied(kept, tmp_path / "data")


def serves(job) -> str:
    return model_registry.fetch_champion(job, TARGET)[1]


def waits(job) -> str | None:
    found = model_registry.fetch_challenger(job, TARGET)
    return found[1] if found else None


def tags(job, version: int) -> dict[str, str]:
    return model_registry.mlflow_client(job).get_model_version(model_registry.registry_name(TARGET), str(version)).tags


def promote(job, version: int, why: str | None = None, forced: bool = False) -> dict:
    return models.promote(job, TARGET, version, why, forced)


def test_what_passes_serves_and_what_is_refused_does_not(job):
    assert serves(job) == "2"
    assert waits(job) is None
    assert "gate.min_renewals" in tags(job, 3)[model_registry.REASONS_TAG]


def test_any_version_can_be_asked_for_by_its_number(job):
    """With what was usual when it was trained, for whoever watches it."""
    files = model_registry.fetch_version(job, TARGET, "1")
    assert files[BOOSTER_FILE] != model_registry.fetch_champion(job, TARGET)[2][BOOSTER_FILE]
    assert set(read_reference(files)["features"]) == {feature["name"] for feature in CATALOGUE}
    with pytest.raises(MissingInputError, match="version 99 of renewal is not registered"):
        model_registry.fetch_version(job, TARGET, "99")


def test_the_training_day_of_what_serves_is_known_without_a_file_of_the_model(job):
    shutil.rmtree(mlflow_artifacts.artifacts_folder(job.data))
    assert model_registry.champions_by_target(job, ("renewal", "upsell")) == {"renewal": TrainedVersion("2", job.until)}


def test_a_champion_says_its_training_day(job):
    assert load_champion(job, TARGET).until == job.until


def test_a_rollback_goes_back_one_champion_and_then_no_further(job):
    said = models.rollback(job, TARGET)
    assert (said["champion_version"], said["previous_version"], said["champion_history"]) == ("1", "2", ["1"])
    assert serves(job) == "1"
    assert champion_history.ROLLED_BACK_TAG in tags(job, 2)
    with pytest.raises(MissingInputError, match="no earlier champion of renewal: version 1 stays"):
        models.rollback(job, TARGET)
    assert serves(job) == "1"


def test_a_second_rollback_goes_further_back(job):
    promote(job, 3, "a trial", forced=True)
    assert [models.rollback(job, TARGET)["champion_version"] for _ in range(2)] == ["2", "1"]


def test_what_was_taken_back_may_come_again_and_be_taken_back_again(job):
    models.rollback(job, TARGET)
    assert promote(job, 2)["champion_history"] == ["1", "2"]
    assert models.rollback(job, TARGET)["champion_version"] == "1"


def test_what_serves_again_says_since_when_and_why_and_no_longer_that_it_was_taken_back(job):
    said = models.rollback(job, TARGET)
    assert said["reason"] == "version 2 was rolled back"
    assert tags(job, 1)[champion_history.SERVED_SINCE_TAG] >= tags(job, 2)[champion_history.SERVED_SINCE_TAG]
    promote(job, 2)
    assert champion_history.ROLLED_BACK_TAG not in tags(job, 2)
    assert tags(job, 2)[champion_history.SERVED_BECAUSE_TAG] == champion_history.PROMOTED_MANUALLY


@pytest.mark.parametrize("move", ["rollback", "promote"])
def test_no_file_of_a_registration_says_who_serves_when_that_has_changed(job, move):
    """The receipt says who served at the registration, and leaves to the registry who does now."""
    assert learned(job, "lightgbm.seed=8")["champion_version"] == "2"
    models.rollback(job, TARGET) if move == "rollback" else promote(job, 1)
    assert serves(job) == "1"
    receipts = [json.loads(path.read_bytes()) for path in job.data.rglob(f"registered/{TARGET}.json")]
    assert len(receipts) == 2
    for receipt in receipts:
        assert (receipt["version"], receipt["at_registration"]) == (
            "2",
            {"champion_version": "2", "waiting_reason": None},
        )
        assert not {"champion_version", "waiting_reason"} & set(receipt)


def test_promoting_an_older_one_can_be_undone(job):
    assert promote(job, 1)["champion_history"] == ["1", "2", "1"]
    assert models.rollback(job, TARGET)["champion_version"] == "2"


def test_what_the_gate_refused_serves_only_by_force_and_says_why(job):
    with pytest.raises(GateRejectedError, match=r"was rejected by the gate: tested on .* --force --reason") as stop:
        promote(job, 3)
    assert (stop.value.exit_code, serves(job)) == (80, "2")
    said = promote(job, 3, "the audit asked for it", forced=True)
    assert (said["champion_version"], said["gate"], said["reason"]) == (
        "3",
        "refused",
        "forced: the audit asked for it",
    )
    assert tags(job, 3)[champion_history.SERVED_BECAUSE_TAG] == "forced: the audit asked for it"


def test_promoting_what_serves_changes_nothing(job):
    before = tags(job, 2)
    assert promote(job, 2)["state"] == "already serves"
    assert tags(job, 2) == before


def test_a_version_that_is_not_there_is_said_with_those_that_are(job):
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
    said = learned(job, "lightgbm.seed=8")
    assert (said["version"], said["passed"], said["champion_version"]) == ("2", True, "1")
    assert "was rolled back" in said["waiting_reason"]
    assert "renewals promote renewal --version 2" in said["waiting_reason"]
    assert (serves(job), waits(job)) == ("1", "2")


def test_learning_again_from_older_rows_does_not_bring_back_what_was_replaced(job):
    said = learned(job)
    assert (said["version"], said["passed"], said["champion_version"]) == ("1", True, "2")
    assert "was champion before and was replaced" in said["waiting_reason"]


def test_where_promotion_is_manual_what_passes_waits_until_it_is_promoted(job):
    said = learned(job, "lightgbm.seed=10", "gate.promote=manual")
    assert (said["passed"], said["champion_version"], serves(job), waits(job)) == (True, "2", "2", "4")
    assert "gate.promote is manual" in said["waiting_reason"]
    assert promote(job, 4)["champion_version"] == "4"
    assert waits(job) is None
    assert learned(job, "lightgbm.seed=10", "gate.promote=manual")["waiting_reason"] is None, "it serves: nothing waits"


def test_a_challenger_that_no_longer_passes_no_longer_waits(job):
    learned(job, "lightgbm.seed=10", "gate.promote=manual")
    register(with_settings(job, "lightgbm.seed=10", STRICT), TARGET)
    assert waits(job) is None


def test_a_newer_champion_takes_the_challenger_s_place(job):
    learned(job, "lightgbm.seed=10", "gate.promote=manual")
    assert learned(job, "lightgbm.seed=11")["champion_version"] == "5"
    assert waits(job) is None


def test_without_a_champion_the_one_that_waits_is_named(job):
    client = model_registry.mlflow_client(job)
    client.delete_registered_model_alias(model_registry.registry_name(TARGET), model_registry.CHAMPION)
    learned(job, "lightgbm.seed=10", "gate.promote=manual")
    with pytest.raises(MissingInputError, match="version 4 passed the gate and waits; `renewals promote renewal"):
        model_registry.fetch_champion(job, TARGET)


def test_an_alias_moved_by_other_means_joins_the_line(job):
    model_registry.mlflow_client(job).set_registered_model_alias(
        model_registry.registry_name(TARGET), model_registry.CHAMPION, "3"
    )
    assert models.rollback(job, TARGET)["champion_history"] == ["1", "2"]
    assert serves(job) == "2"


def test_a_rollback_that_is_cut_short_can_be_tried_again(job, monkeypatch):
    from mlflow import MlflowClient

    def cut(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "set_registered_model_alias", cut)
        with pytest.raises(KeyboardInterrupt):
            models.rollback(job, TARGET)
    assert serves(job) == "2"
    assert models.rollback(job, TARGET)["champion_version"] == "1"


@pytest.fixture
def of_old(tmp_path):
    """A company whose champion was trained long before the day it now stands on."""
    job = with_training_table(tmp_path / "data")
    learned(replace(job, until=date(2022, 12, 1)))
    return job


def test_a_champion_of_old_speaks_itself_of_what_was_observed_since(of_old):
    compared = learned(of_old)["champion_comparison"]
    assert compared["rows_scored_by_champion"] > 0
    assert compared["gain"] is not None


def test_a_champion_that_knows_other_columns_is_judged_by_its_back_test_alone(of_old):
    catalogue = json.loads((of_old.folder / "features.json").read_text())["features"]
    without = {"features": [feature for feature in catalogue if feature["name"] != "tickets"]}
    (of_old.folder / "features.json").write_text(json.dumps(without))
    training = pd.read_parquet(of_old.folder / "training.parquet")
    training.drop(columns="tickets").to_parquet(of_old.folder / "training.parquet")
    assert learned(of_old)["champion_comparison"]["rows_scored_by_champion"] == 0


@pytest.fixture
def harmed(job):
    """The artifacts of version 1, harmed until the test is over."""
    client = model_registry.mlflow_client(job)
    root = client.get_model_version_download_uri(model_registry.registry_name(TARGET), "1").removeprefix("file://")
    (path,) = [p for p in Path(root).rglob("model.txt") if (p.parent / model_registry.MANIFEST).exists()]
    kept = path.with_suffix(".kept")
    shutil.move(path, kept)
    yield
    shutil.move(kept, path)


@pytest.mark.parametrize("act", [lambda job: promote(job, 1), lambda job: models.rollback(job, TARGET)])
def test_a_harmed_version_neither_comes_nor_comes_back(job, harmed, act):
    with pytest.raises(DataContractError, match="renewals-renewal/1"):
        act(job)
    assert serves(job) == "2"
