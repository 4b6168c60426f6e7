"""A booster that would kill the interpreter kills a child, and the run says so in words."""

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
    """The files of a trained model."""
    job = with_training_table(tmp_path_factory.mktemp("trained") / "data")
    train(job, TARGET)
    return {path.name: path.read_bytes() for path in (job.folder / "models" / TARGET).iterdir()}


def half_written(files: dict[str, bytes], cut: str) -> dict[str, bytes]:
    """As if the disk had been full: the booster ends early, and all its fingerprints are made of what there was."""
    text = files[BOOSTER_FILE]
    ends = {"in a tree": text.index(b"leaf_value"), "before the trees": text.index(b"Tree=0") - 20, "at its end": -50}
    return files | {BOOSTER_FILE: text[: ends[cut]]}


@pytest.fixture
def children(monkeypatch):
    """The names of the models that were tried in a child."""
    asked: list[str] = []
    attempt = model_loader._run_smoke_test

    def counting(name, given):
        asked.append(name)
        attempt(name, given)

    monkeypatch.setattr(model_loader, "_run_smoke_test", counting)
    return asked


def test_a_sound_model_is_tried_once_and_then_remembered(files, children, tmp_path):
    models = [model_loader.load_model(tmp_path, "m/1", files) for _ in range(2)]
    assert [isinstance(model, EnsembleModel) for model in models] == [True, True]
    assert children == ["m/1"]


@pytest.mark.parametrize("cut", ["in a tree", "before the trees", "at its end"])
def test_a_booster_registered_half_written_ends_in_words_and_we_live(files, tmp_path, cut):
    with pytest.raises(DataContractError, match=r"model m/1 cannot be loaded: LightGBM crashed \(SIG\w+\)") as stop:
        model_loader.load_model(tmp_path, "m/1", half_written(files, cut))
    assert stop.value.exit_code == 65


def test_a_failure_is_not_remembered_as_a_success(files, children, tmp_path):
    for _ in range(2):
        with pytest.raises(DataContractError):
            model_loader.load_model(tmp_path, "m/1", half_written(files, "in a tree"))
    assert len(children) == 2


def test_one_sound_model_does_not_vouch_for_another(files, children, tmp_path):
    model_loader.load_model(tmp_path, "m/1", files)
    with pytest.raises(DataContractError):
        model_loader.load_model(tmp_path, "m/2", half_written(files, "in a tree"))
    assert children == ["m/1", "m/2"]


def test_another_lightgbm_is_another_trial(files, children, tmp_path, monkeypatch):
    model_loader.load_model(tmp_path, "m/1", files)
    monkeypatch.setattr(model_loader, "version", lambda package: "99.0")
    model_loader.load_model(tmp_path, "m/1", files)
    assert len(children) == 2


def test_a_child_that_does_not_come_back_is_given_up(files, tmp_path, monkeypatch):
    monkeypatch.setattr(model_loader, "LOAD_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(DataContractError, match="did not load within"):
        model_loader.load_model(tmp_path, "m/1", files)


def test_what_python_complains_of_is_told_in_one_line(files, tmp_path):
    with pytest.raises(DataContractError, match=r"m/1 cannot be loaded: .*JSONDecodeError") as stop:
        model_loader.load_model(tmp_path, "m/1", files | {"additive_model.json": b"{"})
    assert "\n" not in str(stop.value)


def test_a_model_without_one_of_its_files_is_not_tried(files, children, tmp_path):
    with pytest.raises(DataContractError, match=r"lacks model\.txt"):
        model_loader.load_model(
            tmp_path, "m/1", {name: content for name, content in files.items() if name != BOOSTER_FILE}
        )
    assert children == []


def test_the_child_finds_our_code_wherever_we_stand(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    model_loader.load_model(tmp_path, "m/1", files)


def test_the_child_imports_nothing_from_where_we_stand(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the user was imported')")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('a package of the user was imported')")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    model_loader.load_model(tmp_path / "data", "m/1", files)


def test_no_stage_loads_a_model_but_through_the_trial():
    lines = [p.name for p in (ROOT / "pipelines").rglob("*.py") if "from_files(" in p.read_text(encoding="utf-8")]
    assert lines == ["model_loader.py"]


class Version:
    name, version = "renewals-renewal", "1"

    def __init__(self, manifest: bytes) -> None:
        self.tags = {model_registry.MANIFEST_TAG: sha256(manifest)}


@pytest.mark.parametrize(
    ("listed", "beside"), [({"model.pkl": b"x"}, {}), ({}, {"extra.json": b"{}"}), ({}, {"model.pkl": b"x"})]
)
def test_a_version_holds_the_native_files_that_were_registered_and_no_others(files, monkeypatch, listed, beside):
    manifest = model_registry.build_manifest(files | listed)
    there = files | listed | beside | {model_registry.MANIFEST: manifest}
    monkeypatch.setattr(model_registry, "_download_files", lambda client, version, folder: dict(there))
    with pytest.raises(DataContractError, match=f"unexpected file {next(iter(listed | beside))}"):
        model_registry.verified_files(None, Version(manifest))


def test_a_native_version_comes_whole(files, monkeypatch):
    manifest = model_registry.build_manifest(files)
    monkeypatch.setattr(model_registry, "_download_files", lambda *given: files | {model_registry.MANIFEST: manifest})
    assert model_registry.verified_files(None, Version(manifest)) == files


def test_a_version_of_old_names_comes_under_the_new_ones(files, monkeypatch):
    old = {"additive_model.json": "linear.json"}
    registered = {old.get(name, name): content for name, content in files.items()} | {"training.json": b"{}"}
    manifest = model_registry.build_manifest(registered)
    there = registered | {model_registry.MANIFEST: manifest}
    monkeypatch.setattr(model_registry, "_download_files", lambda *given: dict(there))
    assert model_registry.verified_files(None, Version(manifest)) == files | {"model_card.json": b"{}"}


def test_the_trial_ends_with_the_name_of_the_signal():
    died = subprocess.CompletedProcess([], -11, "", "")
    assert model_loader._exit_reason(died) == "LightGBM crashed (SIGSEGV)"
    assert model_loader._exit_reason(subprocess.CompletedProcess([], 3, "", "")) == "the trial ended with 3"
