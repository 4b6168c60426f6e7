"""A booster that would kill the interpreter kills a child, and the run says so in words."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.learner import BOOSTER, Learned
from pipelines import tracking, trial
from pipelines.errors import DataContract
from pipelines.train import train
from tests.pipelines.registered_models import TARGET, with_training_table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a trained model."""
    job = with_training_table(tmp_path_factory.mktemp("trained") / "data")
    train(job, TARGET)
    return {path.name: path.read_bytes() for path in (job.side / "models" / TARGET).iterdir()}


def half_written(files: dict[str, bytes], cut: str) -> dict[str, bytes]:
    """As if the disk had been full: the booster ends early, and all its fingerprints are made of what there was."""
    text = files[BOOSTER]
    ends = {"in a tree": text.index(b"leaf_value"), "before the trees": text.index(b"Tree=0") - 20, "at its end": -50}
    return files | {BOOSTER: text[: ends[cut]]}


@pytest.fixture
def children(monkeypatch):
    """The names of the models that were tried in a child."""
    asked: list[str] = []
    attempt = trial._try

    def counting(name, given):
        asked.append(name)
        attempt(name, given)

    monkeypatch.setattr(trial, "_try", counting)
    return asked


def test_a_sound_model_is_tried_once_and_then_remembered(files, children, tmp_path):
    models = [trial.loaded(tmp_path, "m/1", files) for _ in range(2)]
    assert [isinstance(model, Learned) for model in models] == [True, True]
    assert children == ["m/1"]


@pytest.mark.parametrize("cut", ["in a tree", "before the trees", "at its end"])
def test_a_booster_registered_half_written_ends_in_words_and_we_live(files, tmp_path, cut):
    with pytest.raises(DataContract, match=r"model m/1 does not load: LightGBM died of it \(SIG\w+\)") as stop:
        trial.loaded(tmp_path, "m/1", half_written(files, cut))
    assert stop.value.exit_code == 65


def test_a_failure_is_not_remembered_as_a_success(files, children, tmp_path):
    for _ in range(2):
        with pytest.raises(DataContract):
            trial.loaded(tmp_path, "m/1", half_written(files, "in a tree"))
    assert len(children) == 2


def test_one_sound_model_does_not_vouch_for_another(files, children, tmp_path):
    trial.loaded(tmp_path, "m/1", files)
    with pytest.raises(DataContract):
        trial.loaded(tmp_path, "m/2", half_written(files, "in a tree"))
    assert children == ["m/1", "m/2"]


def test_another_lightgbm_is_another_trial(files, children, tmp_path, monkeypatch):
    trial.loaded(tmp_path, "m/1", files)
    monkeypatch.setattr(trial, "version", lambda package: "99.0")
    trial.loaded(tmp_path, "m/1", files)
    assert len(children) == 2


def test_a_child_that_does_not_come_back_is_given_up(files, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.01)
    with pytest.raises(DataContract, match="did not load within"):
        trial.loaded(tmp_path, "m/1", files)


def test_what_python_complains_of_is_told_in_one_line(files, tmp_path):
    with pytest.raises(DataContract, match=r"m/1 does not load: .*JSONDecodeError") as stop:
        trial.loaded(tmp_path, "m/1", files | {"linear.json": b"{"})
    assert "\n" not in str(stop.value)


def test_a_model_without_one_of_its_files_is_not_tried(files, children, tmp_path):
    with pytest.raises(DataContract, match=r"lacks model\.txt"):
        trial.loaded(tmp_path, "m/1", {name: content for name, content in files.items() if name != BOOSTER})
    assert children == []


def test_the_child_finds_our_code_wherever_we_stand(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    trial.loaded(tmp_path, "m/1", files)


def test_the_child_imports_nothing_from_where_we_stand(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the user was imported')")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('a package of the user was imported')")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    trial.loaded(tmp_path / "data", "m/1", files)


def test_no_stage_loads_a_model_but_through_the_trial():
    lines = [p.name for p in (ROOT / "pipelines").glob("*.py") if "from_files(" in p.read_text(encoding="utf-8")]
    assert lines == ["trial.py"]


class Version:
    name, version = "renewals-renewal", "1"

    def __init__(self, manifest: bytes) -> None:
        self.tags = {tracking.MANIFEST_TAG: tracking.sha256(manifest)}


@pytest.mark.parametrize(
    ("listed", "beside"), [({"model.pkl": b"x"}, {}), ({}, {"extra.json": b"{}"}), ({}, {"model.pkl": b"x"})]
)
def test_a_version_holds_the_native_files_that_were_registered_and_no_others(files, monkeypatch, listed, beside):
    manifest = tracking.manifest_of(files | listed)
    there = files | listed | beside | {tracking.MANIFEST: manifest}
    monkeypatch.setattr(tracking, "_downloaded", lambda client, version, folder: dict(there))
    with pytest.raises(DataContract, match=f"{next(iter(listed | beside))} is none of the files"):
        tracking.checked(None, Version(manifest))


def test_a_native_version_comes_whole(files, monkeypatch):
    manifest = tracking.manifest_of(files)
    monkeypatch.setattr(tracking, "_downloaded", lambda *given: files | {tracking.MANIFEST: manifest})
    assert tracking.checked(None, Version(manifest)) == files


def test_the_trial_ends_with_the_name_of_the_signal():
    died = subprocess.CompletedProcess([], -11, "", "")
    assert trial._ended(died) == "LightGBM died of it (SIGSEGV)"
    assert trial._ended(subprocess.CompletedProcess([], 3, "", "")) == "the trial ended with 3"
