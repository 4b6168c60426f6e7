"""The champion is loaded completely and unchanged, or not at all."""

from pathlib import Path

import pytest

from renewals.models.training.ensemble import EnsembleModel
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.storage.registry import model_registry


@pytest.fixture
def artifacts(learned):
    """The folder of the champion's files; changes by a test are undone."""
    job, _ = learned
    (model,) = {p.parent for p in (job.data / "mlartifacts").rglob(model_registry.MANIFEST)} & _champion_folders(job)
    original_files = {path: path.read_bytes() for path in model.iterdir()}
    yield model
    for path in model.iterdir():
        path.unlink()
    for path, content in original_files.items():
        path.write_bytes(content)


def _champion_folders(job) -> set[Path]:
    version = model_registry.version_by_alias(model_registry.mlflow_client(job), "renewal")
    root = model_registry.mlflow_client(job).get_model_version_download_uri(version.name, version.version)
    return {p.parent for p in Path(root.removeprefix("file://")).rglob(model_registry.MANIFEST)}


def test_the_champion_is_the_trained_model(learned):
    job, _ = learned
    name, version, files = model_registry.fetch_champion(job, "renewal")
    trained = {p.name: p.read_bytes() for p in (job.data / "models" / "renewal").iterdir()}
    assert (name, version) == ("renewals-renewal", "1")
    assert files["model.txt"] == trained["model.txt"]
    assert EnsembleModel.from_files(files).schema.target == "renewal"


@pytest.mark.parametrize("corrupt", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"1", b"2", 1), lambda b: b""])
@pytest.mark.parametrize("name", ["model.txt", "additive_model.json", model_registry.MANIFEST])
def test_a_corrupted_file_is_refused_before_loading(learned, artifacts, name, corrupt):
    path = artifacts / name
    path.write_bytes(corrupt(path.read_bytes()))
    with pytest.raises(DataContractError, match="manifest" if name == model_registry.MANIFEST else name):
        model_registry.fetch_champion(learned[0], "renewal")


def test_a_missing_file_is_refused(learned, artifacts):
    (artifacts / "calibration.json").unlink()
    with pytest.raises(DataContractError, match=r"calibration\.json"):
        model_registry.fetch_champion(learned[0], "renewal")


def test_without_a_champion_the_message_names_the_command(learned):
    with pytest.raises(MissingInputError, match="run `renewals learn"):
        model_registry.fetch_champion(learned[0], "nothing_of_the_kind")


def test_registering_again_returns_the_same_version(learned):
    job, _ = learned
    assert register(job, "renewal")["version"] == "1"


def test_the_booster_loads_with_mlflow_alone(learned):
    """The native flavour of LightGBM needs no code of this repository and reads no pickle."""
    import mlflow.lightgbm

    job, _ = learned
    model_registry.mlflow_client(job)
    booster = mlflow.lightgbm.load_model("models:/renewals-renewal@champion")
    assert booster.num_feature() == len(
        EnsembleModel.from_files(model_registry.fetch_champion(job, "renewal")[2]).schema.names
    )
