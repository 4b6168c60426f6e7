"""Trials are compared and tracked and do not change production; older models need a manual promotion."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from renewals.pipelines.commands import models
from renewals.pipelines.commands.learn import trial_job, trial_sentence
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError, OutputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn import register as registering
from renewals.pipelines.stages.learn.evaluate import evaluate
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.storage import folders
from renewals.pipelines.storage.registry import model_registry
from tests.pipelines.production import LAST_LEARNING, digests, production, registry, runs_of
from tests.pipelines.registered_models import (
    QUICK,
    STRICT,
    TARGET,
    copied,
    learned,
    three_versions,
    with_settings,
    with_training_table,
)
from tests.root import ROOT

EARLIER = date(2023, 6, 1)


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    return three_versions(tmp_path_factory.mktemp("registry") / "data")


@pytest.fixture
def job(registered, tmp_path):
    return replace(copied(registered, tmp_path / "data"), lists=tmp_path / "lists")


def champion_version(job: Job) -> str:
    return model_registry.fetch_champion(job, TARGET)[1]


def run_trial(job: Job, *overrides: str) -> dict:
    return learned(replace(job, trial="warm-fox"), *overrides)


# --- the last learning ---------------------------------------------------------------------------


def test_outputs_of_a_learning_run_are_copied_to_the_last_learning(job):
    result = learned(job, "lightgbm.seed=10")
    for name in LAST_LEARNING:
        assert digests(job.data / name) == digests(job.folder / name) != {}
    assert json.loads((job.data / "registered" / "renewal.json").read_text())["version"] == result["version"]


def test_a_full_disk_leaves_the_last_learning_unchanged(job, monkeypatch):
    before = digests(job.data / "models")
    copy = shutil.copy2

    def full(source, target, **options):
        if Path(source).name == "model.txt":
            raise OSError(28, "No space left on device")
        return copy(source, target, **options)

    monkeypatch.setattr(shutil.copytree, "__defaults__", (False, None, full, False, False))
    train(with_settings(job, "lightgbm.seed=10"), TARGET)
    with pytest.raises(OutputError, match="models/renewal could not be written"):
        folders.copy_folder(job.folder / "models" / TARGET, job.data / "models" / TARGET)
    assert digests(job.data / "models") == before
    assert digests(job.folder / "models") != before


# --- trials --------------------------------------------------------------------------------------


def receipt(side) -> dict:
    """Receipt of a registration."""
    return json.loads((side / "registered" / "renewal.json").read_text())


def expected_receipt(result: dict) -> dict:
    """Content of the receipt for a result of `register`: champion and waiting reason are under `at_registration`."""
    at_registration = {name: result.pop(name) for name in ("champion_version", "waiting_reason")}
    return json.loads(json.dumps(result)) | {"at_registration": at_registration}


def test_a_trial_leaves_models_evaluation_registry_and_lists_byte_for_byte(job):
    learned(job)
    (job.lists / "2024-06-01").mkdir(parents=True)
    (job.lists / "2024-06-01" / "risk_list.csv").write_text("account_id")
    before = production(job)
    result = run_trial(job, "lightgbm.learning_rate=0.2")
    assert production(job) == before
    assert result["champion_comparison"]["gain"]["low"] < result["champion_comparison"]["gain"]["high"]
    assert (result["experiment"], result["version"], result["champion_version"]) == ("warm-fox", None, "2")


def test_a_trial_is_an_mlflow_run_with_its_results(job):
    result = run_trial(job, "lightgbm.learning_rate=0.2")
    (run,) = runs_of(job, "warm-fox")
    assert run.info.status == "FINISHED"
    assert run.data.tags["renewals.gate_outcome"] == result["gate_outcome"]
    assert run.data.params["lightgbm.learning_rate"] == "0.2"
    assert run.data.metrics["gain_over_champion.low"] == pytest.approx(result["champion_comparison"]["gain"]["low"])
    assert run.data.metrics["auc_over_champion.value"] == pytest.approx(result["champion_comparison"]["auc"]["value"])
    assert {path.path for path in model_registry.mlflow_client(job).list_artifacts(run.info.run_id)} == {
        "params.json",
        "plots",
    }
    assert receipt(job.folder) == expected_receipt(result)


@pytest.mark.parametrize(
    ("overrides", "outcome", "phrase"),
    [
        (("lightgbm.seed=10",), "promoted", "would become the champion"),
        (("lightgbm.seed=10", "gate.promote=manual"), "challenger", "would become the challenger"),
        (("lightgbm.seed=10", STRICT), "rejected", "would be rejected"),
        (("lightgbm.seed=8",), "unchanged", "is already the champion"),
        ((), "challenger", "would become the challenger"),
        (("folds.min_renewals=100000",), "rejected", "would be rejected"),
    ],
)
def test_a_trial_predicts_the_outcome_of_a_learning_run(job, overrides, outcome, phrase):
    before = registry(job)
    result = run_trial(job, *overrides)
    assert result["gate_outcome"] == outcome
    assert f"Without --try it {phrase}" in trial_sentence(result) or not result["trained"]
    assert registry(job) == before
    real = learned(job, *overrides)
    assert real["passed"] == result["passed"]
    expected = real["version"] if outcome == "promoted" else "2"
    assert champion_version(job) == expected
    assert bool(real.get("waiting_reason")) == (outcome == "challenger")


def test_a_trial_of_an_earlier_day_would_wait_as_challenger(job):
    result = run_trial(replace(job, until=EARLIER))
    assert result["gate_outcome"] == "challenger"
    assert (
        "this model was trained until 2023-06-01, before the training day of the champion, version 2"
        in result["waiting_reason"]
    )


def test_a_trial_without_a_champion_registers_nothing(tmp_path):
    job = with_training_table(tmp_path / "data")
    result = run_trial(job)
    assert (result["champion_version"], result["champion_comparison"], result["gate_outcome"]) == (
        None,
        None,
        "promoted",
    )
    assert registry(job) == {}
    assert len(runs_of(job, "warm-fox")) == 1
    assert not any((job.data / name).exists() for name in LAST_LEARNING)
    with pytest.raises(MissingInputError, match="no model of renewal is registered: run `renewals learn"):
        model_registry.fetch_champion(job, TARGET)


def test_an_experiment_of_dvc_is_a_trial_of_its_name(job, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "lossy-berg")
    in_experiment = Job(job.settings, "", job.data, job.lists, until=job.until)
    assert in_experiment.trial == "lossy-berg"
    assert in_experiment.folder == job.folder, "the outputs of DVC's stages lie where dvc.yaml says"
    monkeypatch.delenv("DVC_EXP_NAME")
    assert Job(job.settings, "", job.data, job.lists, until=job.until).trial is None


@pytest.mark.parametrize("where", ["the workspace", "a copy below .dvc/tmp/exps"])
def test_the_register_stage_of_an_experiment_does_not_change_production(job, tmp_path, where):
    """DVC sets its variables and runs the stage in the project's folder or in a copy without a registry."""
    run_folder = tmp_path if where == "the workspace" else tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    changed = with_settings(job, "lightgbm.learning_rate=0.2")
    train(changed, TARGET)
    evaluate(changed, TARGET)
    if run_folder != tmp_path:
        shutil.copytree(job.folder, run_folder / "data" / "learn")
        (run_folder / ".dvc").mkdir()
    (run_folder / "params.yaml").write_text("{}")
    before = production(job)
    sets = [*QUICK, "lightgbm.learning_rate=0.2", "dates.until='2024-06-01'"]
    stage = [sys.executable, "-m", "renewals.pipelines.stages.learn.register"]
    ran = subprocess.run(
        [*stage, TARGET, *(argument for override in sets for argument in ("--set", override))],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_EXP_NAME": "lossy-berg", "DVC_ROOT": str(tmp_path)},
        cwd=run_folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(ran.stdout.splitlines()[-1])
    assert (result["experiment"], result["champion_version"], result["champion_comparison"]["gain"] is not None) == (
        "lossy-berg",
        "2",
        True,
    )
    assert production(job) == before
    assert len(runs_of(job, "lossy-berg")) == 1
    assert receipt(run_folder / "data" / "learn") == expected_receipt(result)
    assert (run_folder / "data" / "mlflow.db").exists() == (run_folder == tmp_path)


def test_equal_settings_give_the_same_trial_name_and_folder(job):
    first, same, changed = trial_job(job), trial_job(job), trial_job(with_settings(job, "lightgbm.learning_rate=0.2"))
    assert first.folder == same.folder == job.data / "experiments" / str(first.trial)
    assert str(first.trial).startswith("2024-06-01-")
    assert first.trial != changed.trial
    assert trial_job(job, "fast").folder == job.data / "experiments" / "fast"
    for bad in ("../models", "a/b", ".", "-x"):
        with pytest.raises(ConfigError, match="is not a valid name of a trial"):
            trial_job(job, bad)


# --- an earlier day ------------------------------------------------------------------------------


def test_a_model_of_an_earlier_day_is_registered_and_waits_for_a_manual_promotion(job):
    before = registry(job)["renewals-renewal"]
    result = learned(replace(job, until=EARLIER))
    after = registry(job)["renewals-renewal"]
    assert (result["passed"], result["version"], result["champion_version"]) == (True, "4", "2")
    assert result["waiting_reason"] == (
        "version 4 was trained until 2023-06-01, before the training day of the champion, version 2 "
        "(2024-06-01): `renewals promote renewal --version 4` makes it serve"
    )
    assert (after["aliases"], after["tags"]) == (before["aliases"], before["tags"])
    assert set(after["versions"]) - set(before["versions"]) == {4}
    assert models.promote(job, TARGET, 4, None, False)["champion_version"] == "4"


def test_a_model_of_an_earlier_day_does_not_replace_a_waiting_challenger(job):
    waiting = learned(job, "lightgbm.seed=10", "gate.promote=manual")
    learned(replace(job, until=EARLIER))
    assert model_registry.fetch_challenger(job, TARGET)[1] == waiting["version"]


def test_a_model_of_the_same_or_a_later_day_becomes_champion(job):
    assert learned(job, "lightgbm.seed=10")["champion_version"] == "4"
    models.promote(job, TARGET, int(learned(replace(job, until=EARLIER))["version"]), None, False)
    assert learned(replace(job, until=date(2024, 5, 1)))["champion_version"] == "6"


def test_a_champion_without_a_training_day_is_replaced(job):
    client = model_registry.mlflow_client(job)
    client.delete_model_version_tag(model_registry.registry_name(TARGET), "2", "until")
    assert learned(replace(job, until=EARLIER))["champion_version"] == "4"
    assert registering.EXPERIMENT_TAG not in client.get_model_version(model_registry.registry_name(TARGET), "4").tags
