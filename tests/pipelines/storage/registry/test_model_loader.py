"""Loading models in a child process first, so that a damaged booster cannot crash the run."""

import subprocess
import sys

import pytest

from renewals.models.training.ensemble import BOOSTER_FILE, EnsembleModel
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.registry import model_loader, model_registry
from tests.pipelines.registered_models import TARGET, with_training_table
from tests.root import ROOT


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of a trained model by name."""
    job = with_training_table(tmp_path_factory.mktemp("trained") / "data")
    train(job, TARGET)
    return {path.name: path.read_bytes() for path in (job.folder / "models" / TARGET).iterdir()}


def truncated_files(files: dict[str, bytes], cut: str) -> dict[str, bytes]:
    """Model files with a booster that ends at `cut`, as if registered (and hashed) after a write to a full disk."""
    text = files[BOOSTER_FILE]
    cut_positions = {
        "in a tree": text.index(b"leaf_value"),
        "before the trees": text.index(b"Tree=0") - 20,
        "at its end": -50,
    }
    return files | {BOOSTER_FILE: text[: cut_positions[cut]]}


@pytest.fixture
def trials(monkeypatch):
    """Names of the models with a trial in a child process, one entry per trial."""
    names: list[str] = []
    attempt = model_loader._run_smoke_test

    def counting_trial(name, files):
        names.append(name)
        attempt(name, files)

    monkeypatch.setattr(model_loader, "_run_smoke_test", counting_trial)
    return names


def test_a_valid_model_is_tried_only_once(files, trials, tmp_path):
    models = [model_loader.load_model(tmp_path, "m/1", files) for _ in range(2)]
    assert [isinstance(model, EnsembleModel) for model in models] == [True, True]
    assert trials == ["m/1"]


@pytest.mark.parametrize("cut", ["in a tree", "before the trees", "at its end"])
def test_a_truncated_booster_raises_an_error_without_ending_the_process(files, tmp_path, cut):
    with pytest.raises(DataContractError, match=r"model m/1 cannot be loaded: LightGBM crashed \(SIG\w+\)") as error:
        model_loader.load_model(tmp_path, "m/1", truncated_files(files, cut))
    assert error.value.exit_code == 65


def test_a_failed_trial_is_repeated(files, trials, tmp_path):
    for _ in range(2):
        with pytest.raises(DataContractError):
            model_loader.load_model(tmp_path, "m/1", truncated_files(files, "in a tree"))
    assert len(trials) == 2


def test_each_model_has_a_separate_trial(files, trials, tmp_path):
    model_loader.load_model(tmp_path, "m/1", files)
    with pytest.raises(DataContractError):
        model_loader.load_model(tmp_path, "m/2", truncated_files(files, "in a tree"))
    assert trials == ["m/1", "m/2"]


def test_a_new_lightgbm_version_causes_a_new_trial(files, trials, tmp_path, monkeypatch):
    model_loader.load_model(tmp_path, "m/1", files)
    monkeypatch.setattr(model_loader, "version", lambda package: "99.0")
    model_loader.load_model(tmp_path, "m/1", files)
    assert len(trials) == 2


def test_a_trial_longer_than_the_timeout_is_an_error(files, tmp_path, monkeypatch):
    monkeypatch.setattr(model_loader, "LOAD_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(DataContractError, match="did not load within"):
        model_loader.load_model(tmp_path, "m/1", files)


def test_a_python_error_in_the_trial_is_one_line(files, tmp_path):
    with pytest.raises(DataContractError, match=r"m/1 cannot be loaded: .*JSONDecodeError") as error:
        model_loader.load_model(tmp_path, "m/1", files | {"additive_model.json": b"{"})
    assert "\n" not in str(error.value)


def test_a_model_with_a_missing_file_has_no_trial(files, trials, tmp_path):
    with pytest.raises(DataContractError, match=r"lacks model\.txt"):
        model_loader.load_model(
            tmp_path, "m/1", {name: content for name, content in files.items() if name != BOOSTER_FILE}
        )
    assert trials == []


def test_the_trial_imports_renewals_from_any_current_folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    model_loader.load_model(tmp_path, "m/1", files)


def test_the_trial_imports_nothing_from_the_current_folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the user was imported')")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('a package of the user was imported')")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    model_loader.load_model(tmp_path / "data", "m/1", files)


def test_only_model_loader_loads_models():
    lines = [p.name for p in (ROOT / "pipelines").rglob("*.py") if "from_files(" in p.read_text(encoding="utf-8")]
    assert lines == ["model_loader.py"]


class Version:
    name, version = "renewals-renewal", "1"

    def __init__(self, manifest: bytes) -> None:
        self.tags = {model_registry.MANIFEST_TAG: sha256(manifest)}


@pytest.mark.parametrize(
    ("registered", "unregistered"), [({"model.pkl": b"x"}, {}), ({}, {"extra.json": b"{}"}), ({}, {"model.pkl": b"x"})]
)
def test_a_version_with_an_unexpected_file_is_refused(files, monkeypatch, registered, unregistered):
    manifest = model_registry.build_manifest(files | registered)
    stored = files | registered | unregistered | {model_registry.MANIFEST: manifest}
    monkeypatch.setattr(model_registry, "_download_files", lambda client, version, folder: dict(stored))
    with pytest.raises(DataContractError, match=f"unexpected file {next(iter(registered | unregistered))}"):
        model_registry.verified_files(None, Version(manifest))


def test_all_files_of_a_native_version_are_returned(files, monkeypatch):
    manifest = model_registry.build_manifest(files)
    monkeypatch.setattr(model_registry, "_download_files", lambda *args: files | {model_registry.MANIFEST: manifest})
    assert model_registry.verified_files(None, Version(manifest)) == files


def test_files_with_old_names_are_returned_under_new_names(files, monkeypatch):
    old = {"additive_model.json": "linear.json"}
    registered = {old.get(name, name): content for name, content in files.items()} | {"training.json": b"{}"}
    manifest = model_registry.build_manifest(registered)
    stored = registered | {model_registry.MANIFEST: manifest}
    monkeypatch.setattr(model_registry, "_download_files", lambda *args: dict(stored))
    assert model_registry.verified_files(None, Version(manifest)) == files | {"model_card.json": b"{}"}


def test_exit_reason_names_the_signal_or_the_exit_code():
    crashed = subprocess.CompletedProcess([], -11, "", "")
    assert model_loader._exit_reason(crashed) == "LightGBM crashed (SIGSEGV)"
    assert model_loader._exit_reason(subprocess.CompletedProcess([], 3, "", "")) == "the trial ended with 3"
