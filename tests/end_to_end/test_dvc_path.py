"""Every stage of `dvc.yaml`, run with nothing but what it declares: data, parameters, files.

Each stage runs in a folder of its own that holds the outputs named in its `deps` and no others, as if it were the only
one on the machine; a stage that reads more stops. Meanwhile every parameter that it reads is written down, and every
file of the project that it opens. What is not seen: parameters on a path that this company does not lead to (Spark,
PostgreSQL); files opened by DuckDB or Arrow themselves, which open no file of the project; and files that a module
reads when it is imported, such as the catalogues of words: tests/pipelines/test_dvc_stages.py holds those by name.
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

STAGES = stages_of(ROOT)
TARGET = "renewal"
OPTIONS = (*QUICK, f"targets=[{TARGET}]")
PER_TARGET = ("label", "train", "evaluate", "headline", "register")
EARLIER = DAY.replace(year=2024, month=7)
"""An earlier list, some of whose renewals are final by the day."""
LEFT_OUT = {f"{name}@{target}" for name in PER_TARGET for target in Settings().targets if target != TARGET}
"""The stages of the other targets run the same code."""
NOT_NAMED = {
    "engine": "threads and memory change no byte",
    "warehouse": "DuckDB and Spark compute the same",
    "tracking": "followed through data/act/champions.json; it may hold a password, which does not belong in dvc.lock",
    "lightgbm.parallel_fits": "changes no byte",
}
"""Parameters that a stage may read without naming them, and why."""


class Reading:
    """What one stage reads: leaves of the settings by their key, and files of the project."""

    def __init__(self) -> None:
        self.parameters: set[str] = set()
        self.files: set[str] = set()
        self.places: dict[int, str] = {}

    def follow(self, section: ConfigSection, place: str = "") -> None:
        """Know this section, and all below it, by its key."""
        self.places[id(section)] = place
        for name in type(section).model_fields:
            value = section.__dict__[name]
            if isinstance(value, ConfigSection):
                self.follow(value, f"{place}{name}.")

    def note(self, section: ConfigSection, names: Any = None) -> None:
        """One or all of the leaves of a section were read."""
        place = self.places.get(id(section))
        if place is None:
            return
        for name in type(section).model_fields if names is None else names:
            value = section.__dict__.get(name)
            if isinstance(value, ConfigSection):
                self.note(value)
            else:
                self.parameters.add(place + name)


reading: Reading | None = None
"""What is written to while a stage runs."""


def opened(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and reading is not None and isinstance(args[0], str | os.PathLike):
        path = Path(os.path.realpath(args[0]))  # code lies behind the links of `renewals/`
        of_ours = path.is_relative_to(ROOT) and not path.is_relative_to(sys.prefix)
        if of_ours and path.suffix not in (".py", ".pyc"):
            reading.files.add(path.relative_to(ROOT).as_posix())


sys.addaudithook(opened)  # stays for the process: Python knows no way to take one away


@contextmanager
def recorded(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Note every leaf of the settings, however it is read: by name, copied, dumped or gone through."""
    plain = ConfigSection.__getattribute__

    def by_name(self: ConfigSection, name: str) -> Any:
        if (
            reading is not None
            and name in type(self).model_fields
            and not isinstance(self.__dict__[name], ConfigSection)
        ):
            reading.note(self, [name])
        return plain(self, name)

    def whole(method: Callable[..., Any]) -> Callable[..., Any]:
        def dump(self: ConfigSection, *args: Any, **options: Any) -> Any:
            if reading is not None:
                left_out = options.get("exclude") or ()
                names = options.get("include") or [n for n in type(self).model_fields if n not in left_out]
                reading.note(self, names)
            return method(self, *args, **options)

        return dump

    with patch.context() as patched:
        for name in ("model_dump", "model_dump_json", "model_copy", "__iter__"):
            patched.setattr(ConfigSection, name, whole(getattr(ConfigSection, name)))
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
    """The folder to which the outputs of the stages go."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def read(learned: Any, company: Path, project: Path) -> dict[str, Reading]:
    """What each stage read, by its name; the stages have run in order, each in a folder of its own."""
    job, _ = learned
    shutil.copytree(job.data, project / "data")
    job = replace(job, data=project / "data", lists=project / "lists")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "check_hindsight", lambda job, models: False)  # as if the model had learned before it
        run_score(replace(job, until=None, as_of=EARLIER))
    for side in ("learn", "act"):
        shutil.rmtree(project / "data" / side)
    shutil.rmtree(project / "data" / "clean")
    found: dict[str, Reading] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DVC_ROOT, str(project))
        with recorded(patch):
            for name, stage in STAGES.items():
                if name not in LEFT_OUT:
                    box = project / ".dvc" / "tmp" / "exps" / f"box-{len(found)}"
                    (box / ".dvc").mkdir(parents=True)
                    patch.chdir(box)
                    found[name] = run(stage, box, project, company)
    return found


SEEN_BY = {
    "context": ("lists", "data/list_archive", "data/alert_history"),
    "score": ("lists", "data/list_archive"),
    "alerts": ("data/alert_history",),
    "publish": ("lists", "data/list_archive", "data/alert_history"),
}
"""What stages read that follows earlier lists: `context.json` says to DVC whether it changed."""


def run(stage: Stage, box: Path, project: Path, company: Path) -> Reading:
    """Run a stage in a folder with nothing but what it declares; its outputs go to the project."""
    global reading
    (box / "data").mkdir()
    for place in (*stage.deps, *SEEN_BY.get(stage.name, ()), *(o for o in stage.outs if o == "data/rollup")):
        source, link = project / place, box / place
        if place.split("/")[0] in ("data", "metrics", *SEEN_BY.get(stage.name, ())) and source.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(source)
    side = {"as_of" if "--act" in stage.arguments else "until": DAY}
    now = Reading()
    settings: Settings = read_settings(ROOT / "params.yaml", OPTIONS)
    now.follow(settings)
    job = Job(settings, str(company), Path("data"), Path("lists"), **side)
    function = stage_function(stage.module)
    forget_files()
    items = [word for word in stage.arguments if word != "--act"]
    reading = now
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
    return now


def forget_files() -> None:
    """Empty the caches of the project's functions: what an earlier stage read would not be opened again."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.__module__.startswith("renewals."):
            one.cache_clear()


def stage_function(module: str) -> Callable[..., Any]:
    """The function that `python -m MODULE` hands to `main`."""
    tree = ast.parse(path_of(module).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "main"]
    name = calls[-1].args[0]
    assert isinstance(name, ast.Name)
    found: Callable[..., Any] = getattr(importlib.import_module(module), name.id)
    return found


def test_each_stage_names_every_parameter_that_it_reads(read: dict[str, Reading]) -> None:
    unnamed = {
        name: sorted(key for key in now.parameters if not named(key, (*STAGES[name].params, *NOT_NAMED)))
        for name, now in read.items()
        if not STAGES[name].always
    }
    assert {name: keys for name, keys in unnamed.items() if keys} == {}


def named(key: str, parameters: tuple[str, ...]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in parameters)


def test_each_stage_depends_on_every_file_of_the_project_that_it_opens(read: dict[str, Reading]) -> None:
    unnamed = {
        name: sorted(file for file in now.files if not within(file, STAGES[name].deps) and file != "params.yaml")
        for name, now in read.items()
        if not STAGES[name].always
    }
    assert {name: files for name, files in unnamed.items() if files} == {}


def test_what_is_read_is_seen(read: dict[str, Reading]) -> None:
    """Of a recorder that sees nothing, every stage would pass."""
    assert {"folds.origins", "lightgbm.learning_rate", "dates.until"} <= read["train@renewal"].parameters
    assert {"list.capacity.accounts", "grace.after_days", "gate.lead_days"} <= read["score"].parameters
    assert {"usage.north_star", "usage.levels"} <= read["rollup"].parameters
    assert "playbooks.yaml" in read["score"].files
    assert "reports/html/templates/page.html" in read["backtest"].files


def test_every_stage_does_its_work_from_declared_outputs_alone(read: dict[str, Reading], project: Path) -> None:
    assert set(STAGES) - set(read) == LEFT_OUT
    # What stands in the way of these is a word in the manifest and no stop.
    standing = json.loads((project / "data" / "act" / "score.json").read_bytes())
    assert "failed" not in standing["drift"]
    assert standing["drift"]["calibration"]
    assert standing["score_change"]["previous_list"]


def test_what_is_to_be_committed_names_no_customer_and_no_manager(
    read: dict[str, Reading], project: Path, company: Path
) -> None:
    accounts = pd.read_parquet(company / "accounts.parquet")
    names = {name for column in ("account_id", "account_name", "csm") for name in accounts[column]}
    texts = {path: path.read_text() for path in (project / "metrics").rglob("*") if path.is_file()}
    assert {path.name for path in texts} >= {"headline.json", "roc.csv", "importance.csv", "backtest_months.csv"}
    assert [(path, name) for path, text in texts.items() for name in names if name in text] == []
