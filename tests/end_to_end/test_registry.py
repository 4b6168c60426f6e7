"""The champion comes back whole, or not at all."""

from pathlib import Path

import pytest

from renewals.models.training.ensemble import EnsembleModel
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.storage.registry import model_registry


@pytest.fixture
def artifacts(learned):
    """The folder of the champion's files; what a test does to it is undone."""
    job, _ = learned
    (model,) = {p.parent for p in (job.data / "mlartifacts").rglob(model_registry.MANIFEST)} & _of_champion(job)
    kept = {path: path.read_bytes() for path in model.iterdir()}
    yield model
    for path in model.iterdir():
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


def _of_champion(job) -> set[Path]:
    version = model_registry.version_by_alias(model_registry.mlflow_client(job), "renewal")
    root = model_registry.mlflow_client(job).get_model_version_download_uri(version.name, version.version)
    return {p.parent for p in Path(root.removeprefix("file://")).rglob(model_registry.MANIFEST)}


def test_the_champion_is_what_was_trained(learned):
    job, _ = learned
    name, version, files = model_registry.fetch_champion(job, "renewal")
    trained = {p.name: p.read_bytes() for p in (job.data / "models" / "renewal").iterdir()}
    assert (name, version) == ("renewals-renewal", "1")
    assert files["model.txt"] == trained["model.txt"]
    assert EnsembleModel.from_files(files).schema.target == "renewal"


@pytest.mark.parametrize("harm", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"1", b"2", 1), lambda b: b""])
@pytest.mark.parametrize("name", ["model.txt", "additive_model.json", model_registry.MANIFEST])
def test_a_harmed_file_is_refused_before_it_is_loaded(learned, artifacts, name, harm):
    path = artifacts / name
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DataContractError, match="manifest" if name == model_registry.MANIFEST else name):
        model_registry.fetch_champion(learned[0], "renewal")


def test_a_lost_file_is_refused(learned, artifacts):
    (artifacts / "calibration.json").unlink()
    with pytest.raises(DataContractError, match=r"calibration\.json"):
        model_registry.fetch_champion(learned[0], "renewal")


def test_without_a_champion_it_says_what_to_do(learned):
    with pytest.raises(MissingInputError, match="run `renewals learn"):
        model_registry.fetch_champion(learned[0], "nothing_of_the_kind")


def test_registering_again_finds_the_same_version(learned):
    job, _ = learned
    assert register(job, "renewal")["version"] == "1"


def test_the_booster_loads_with_mlflow_alone(learned):
    """LightGBM's native flavour: nothing of this repository is needed, and nothing pickled is read."""
    import mlflow.lightgbm

    job, _ = learned
    model_registry.mlflow_client(job)
    booster = mlflow.lightgbm.load_model("models:/renewals-renewal@champion")
    assert booster.num_feature() == len(
        EnsembleModel.from_files(model_registry.fetch_champion(job, "renewal")[2]).schema.names
    )
