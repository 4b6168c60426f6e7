"""Every stage of `dvc.yaml`, run only with the data, parameters and files that it declares.

Each stage runs in a separate folder that contains only the outputs named in its `deps`; a stage that reads more fails.
The parameters that it reads and the files of the project that it opens are recorded. Not recorded are: parameters of
code that this company does not run (Spark, PostgreSQL); files that DuckDB or Arrow open, none of which is a file of the
project; and files that a module reads when it is imported, such as the message catalogues, which
tests/pipelines/test_dvc_stages.py checks by name.
"""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from renewals.features.policy import ConfigSection
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.paths import DVC_ROOT
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.stages.act import score
from tests.end_to_end.conftest import DAY, QUICK
from tests.pipelines.dvc_stages import Stage, path_of, stages_of, within
from tests.root import ROOT

pytestmark = pytest.mark.slow

STAGES = stages_of(ROOT)
TARGET = "renewal"
OPTIONS = (*QUICK, f"targets=[{TARGET}]")
PER_TARGET = ("label", "train", "evaluate", "headline", "register")
EARLIER = DAY.replace(year=2024, month=7)
"""Date of an earlier list; some of its renewals are final by DAY."""
OMITTED_STAGES = {f"{name}@{target}" for name in PER_TARGET for target in Settings().targets if target != TARGET}
"""Stages of the remaining targets, which run the same code."""
UNDECLARED_PARAMETERS = {
    "engine": "threads and memory change no byte",
    "warehouse": "DuckDB and Spark compute the same",
    "tracking": "followed through data/act/champions.json; it may hold a password, which does not belong in dvc.lock",
    "lightgbm.parallel_fits": "changes no byte",
}
"""Parameters that a stage may read without declaring them, with the reason."""


class Reading:
    """Record of the settings (by key) and the project files that one stage reads."""

    def __init__(self) -> None:
        self.parameters: set[str] = set()
        self.files: set[str] = set()
        self.prefixes: dict[int, str] = {}

    def follow(self, section: ConfigSection, prefix: str = "") -> None:
        """Register the key of this section and of all sections below it."""
        self.prefixes[id(section)] = prefix
        for name in type(section).model_fields:
            value = section.__dict__[name]
            if isinstance(value, ConfigSection):
                self.follow(value, f"{prefix}{name}.")

    def record(self, section: ConfigSection, names: Any = None) -> None:
        """Record that the named settings of a section, or all of them, were read."""
        prefix = self.prefixes.get(id(section))
        if prefix is None:
            return
        for name in type(section).model_fields if names is None else names:
            value = section.__dict__.get(name)
            if isinstance(value, ConfigSection):
                self.record(value)
            else:
                self.parameters.add(prefix + name)


reading: Reading | None = None
"""The record of the running stage; None when no stage runs."""


def record_opened_file(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and reading is not None and isinstance(args[0], str | os.PathLike):
        path = Path(os.path.realpath(args[0]))  # `renewals/` has links to the code
        in_project = path.is_relative_to(ROOT) and not path.is_relative_to(sys.prefix)
        if in_project and path.suffix not in (".py", ".pyc"):
            reading.files.add(path.relative_to(ROOT).as_posix())


sys.addaudithook(record_opened_file)  # Python cannot remove an audit hook, so it stays for the process


@contextmanager
def record_settings(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Record each setting that is read by name, copied, dumped or iterated over."""
    plain = ConfigSection.__getattribute__

    def by_name(self: ConfigSection, name: str) -> Any:
        if (
            reading is not None
            and name in type(self).model_fields
            and not isinstance(self.__dict__[name], ConfigSection)
        ):
            reading.record(self, [name])
        return plain(self, name)

    def all_fields(method: Callable[..., Any]) -> Callable[..., Any]:
        def dump(self: ConfigSection, *args: Any, **options: Any) -> Any:
            if reading is not None:
                excluded = options.get("exclude") or ()
                names = options.get("include") or [n for n in type(self).model_fields if n not in excluded]
                reading.record(self, names)
            return method(self, *args, **options)

        return dump

    with patch.context() as patched:
        for name in ("model_dump", "model_dump_json", "model_copy", "__iter__"):
            patched.setattr(ConfigSection, name, all_fields(getattr(ConfigSection, name)))
        patched.setattr(ConfigSection, "__getattribute__", by_name)
        patched.setattr(Job, "day", property(_day(Job.day)))
        yield


def _day(plain: Any) -> Callable[[Job], Any]:
    def day(job: Job) -> Any:
        if reading is not None:
            reading.parameters.add("dates.as_of" if job.as_of else "dates.until")
        return plain.fget(job)

    return day


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the outputs of the stages."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def readings(learned: Any, company: Path, project: Path) -> dict[str, Reading]:
    """Run the stages in order, each in a separate folder; return the record of each stage by its name."""
    job, _ = learned
    shutil.copytree(job.data, project / "data")
    job = replace(job, data=project / "data", lists=project / "lists")
    with pytest.MonkeyPatch.context() as patch:
        # as if the model had been trained before this list
        patch.setattr(score, "check_hindsight", lambda job, models: False)
        run_score(replace(job, until=None, as_of=EARLIER))
    for side in ("learn", "act"):
        shutil.rmtree(project / "data" / side)
    shutil.rmtree(project / "data" / "clean")
    by_stage: dict[str, Reading] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DVC_ROOT, str(project))
        with record_settings(patch):
            for name, stage in STAGES.items():
                if name not in OMITTED_STAGES:
                    box = project / ".dvc" / "tmp" / "exps" / f"box-{len(by_stage)}"
                    (box / ".dvc").mkdir(parents=True)
                    patch.chdir(box)
                    by_stage[name] = run(stage, box, project, company)
    return by_stage


LIST_FOLDERS = {
    "context": ("lists", "data/list_archive", "data/alert_history"),
    "score": ("lists", "data/list_archive"),
    "alerts": ("data/alert_history",),
    "publish": ("lists", "data/list_archive", "data/alert_history"),
}
"""Folders of earlier lists that a stage reads; `context.json` shows DVC if they changed."""


def run(stage: Stage, box: Path, project: Path, company: Path) -> Reading:
    """Run a stage in a folder with its declared inputs only; move its outputs to the project."""
    global reading
    (box / "data").mkdir()
    for place in (*stage.deps, *LIST_FOLDERS.get(stage.name, ()), *(o for o in stage.outs if o == "data/rollup")):
        source, link = project / place, box / place
        if place.split("/")[0] in ("data", "metrics", *LIST_FOLDERS.get(stage.name, ())) and source.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(source)
    side = {"as_of" if "--act" in stage.arguments else "until": DAY}
    current = Reading()
    settings: Settings = read_settings(ROOT / "params.yaml", OPTIONS)
    current.follow(settings)
    job = Job(settings, str(company), Path("data"), Path("lists"), **side)
    function = stage_function(stage.module)
    forget_files()
    items = [argument for argument in stage.arguments if argument != "--act"]
    reading = current
    try:
        function(job, *items)
    finally:
        reading = None
    for out in stage.outs:
        assert (box / out).exists(), f"{stage.name} did not write {out}"
        if not (box / out).is_symlink():
            (project / out).parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(project / out, ignore_errors=True)
            shutil.move(box / out, project / out)
    return current


def forget_files() -> None:
    """Empty the caches of the project's functions, so that files read by an earlier stage are opened again."""
    for item in gc.get_objects():
        if isinstance(item, functools._lru_cache_wrapper) and item.__module__.startswith("renewals."):
            item.cache_clear()


def stage_function(module: str) -> Callable[..., Any]:
    """The function that `python -m MODULE` passes to `main`."""
    tree = ast.parse(path_of(module).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "main"]
    name = calls[-1].args[0]
    assert isinstance(name, ast.Name)
    function: Callable[..., Any] = getattr(importlib.import_module(module), name.id)
    return function


def test_each_stage_declares_every_parameter_that_it_reads(readings: dict[str, Reading]) -> None:
    unnamed = {
        name: sorted(key for key in now.parameters if not is_named(key, (*STAGES[name].params, *UNDECLARED_PARAMETERS)))
        for name, now in readings.items()
        if not STAGES[name].always
    }
    assert {name: keys for name, keys in unnamed.items() if keys} == {}


def is_named(key: str, parameters: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in parameters)


def test_each_stage_declares_every_project_file_that_it_opens(readings: dict[str, Reading]) -> None:
    unnamed = {
        name: sorted(file for file in now.files if not within(file, STAGES[name].deps) and file != "params.yaml")
        for name, now in readings.items()
        if not STAGES[name].always
    }
    assert {name: files for name, files in unnamed.items() if files} == {}


def test_the_recorder_sees_known_parameters_and_files(readings: dict[str, Reading]) -> None:
    """With a recorder that sees nothing, every stage would pass."""
    assert {"folds.origins", "lightgbm.learning_rate", "dates.until"} <= readings["train@renewal"].parameters
    assert {"list.capacity.accounts", "grace.after_days", "gate.lead_days"} <= readings["score"].parameters
    assert {"usage.north_star", "usage.levels"} <= readings["rollup"].parameters
    assert "playbooks.yaml" in readings["score"].files
    assert "reports/html/templates/page.html" in readings["backtest"].files


def test_every_stage_works_with_declared_outputs_only(readings: dict[str, Reading], project: Path) -> None:
    assert set(STAGES) - set(readings) == OMITTED_STAGES
    # A failure of these parts is only noted in the manifest and does not stop the stage.
    summary = json.loads((project / "data" / "act" / "score.json").read_bytes())
    assert "failed" not in summary["drift"]
    assert summary["drift"]["calibration"]
    assert summary["score_change"]["previous_list"]


def test_committed_metrics_contain_no_customer_and_no_manager(
    readings: dict[str, Reading], project: Path, company: Path
) -> None:
    accounts = pd.read_parquet(company / "accounts.parquet")
    names = {name for column in ("account_id", "account_name", "csm") for name in accounts[column]}
    texts = {path: path.read_text() for path in (project / "metrics").rglob("*") if path.is_file()}
    assert {path.name for path in texts} >= {"headline.json", "roc.csv", "importance.csv", "backtest_months.csv"}
    assert [(path, name) for path, text in texts.items() for name in names if name in text] == []
