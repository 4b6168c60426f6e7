"""Dependencies and outputs of the DVC stages: `dvc repro` uses no stale file and deletes no user data."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from renewals.pipelines.runtime.settings import Settings, read_settings
from tests.pipelines.dvc_stages import (
    PACKAGES,
    ROOT,
    Stage,
    checkout,
    closure,
    commit,
    imports,
    modules,
    path_of,
    resources,
    resources_named,
    stages_of,
    within,
)

STAGES = stages_of(ROOT)
SHIPPED = read_settings(ROOT / "params.yaml")
CACHED = [name for name, stage in STAGES.items() if not stage.always]
"""Stages that DVC may skip; the others run each time."""


# --- imports of a module -----------------------------------------------------------------------------


def test_imports_at_any_place_of_a_module_are_detected(tmp_path: Path) -> None:
    package = tmp_path / "models"
    package.mkdir()
    for name in ("__init__", "top", "inside", "typed", "one", "two", "run"):
        (package / f"{name}.py").write_text("")
    (package / "all.py").write_text(
        "from typing import TYPE_CHECKING\nimport renewals.models.top\n"
        "if TYPE_CHECKING:\n    from renewals.models import typed\n"
        "def f(name):\n    from renewals.models.inside import x\n"
        "    import_module(f'renewals.models.{name}')\n    run('renewals.models.run')\n"
    )
    assert imports("renewals.models.all", tmp_path) == modules(tmp_path)
    (package / "few.py").write_text("import renewals.models.top\n'models'\nf'{x} renewals.models.'\n")
    assert imports("renewals.models.few", tmp_path) == {"renewals.models", "renewals.models.top"}


def test_the_closure_of_a_stage_is_large() -> None:
    """With a parser that detects no import, every stage would pass."""
    reached = closure("renewals.pipelines.stages.act.score")
    assert {
        "renewals.models.training.calibration",
        "renewals.pipelines.storage.registry.model_loader",
        "renewals.reports.words",
        "renewals.models.targets.upsell",
        "renewals.features.families.value",
    } <= reached
    assert "reports/html/templates/page.html" in resources_named("renewals.reports.html.backtest_page")
    assert {"reports/words/zh.po", "reports/words/renewals.pot"} <= resources_named("renewals.reports.words")
    assert "playbooks.yaml" in resources_named("renewals.pipelines.runtime.checkout")


# --- code and files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CACHED)
def test_a_stage_depends_on_every_module_that_it_imports(name: str) -> None:
    stage = STAGES[name]
    files = {path.relative_to(ROOT).as_posix() for path in map(path_of, closure(stage.module)) if has_code(path)}
    assert sorted(file for file in files if not within(file, stage.deps)) == []


@pytest.mark.parametrize("name", CACHED)
def test_a_stage_depends_on_no_folder_of_code_that_it_does_not_import(name: str) -> None:
    stage = STAGES[name]
    files = {path_of(module).relative_to(ROOT).as_posix() for module in closure(stage.module)}
    code = [dep for dep in stage.deps if dep.split("/")[0] in PACKAGES]
    assert [dep for dep in code if not any(within(file, (dep,)) for file in files)] == []


def has_code(path: Path) -> bool:
    """Check whether a module is more than a docstring; a docstring can change no result."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports in functions, under `TYPE_CHECKING` and by a string that names a module count too."""
    waiting = {module: imports(module, ROOT) - {module} for module in modules(ROOT)}
    packages = {module for module in waiting if path_of(module).name == "__init__.py" and not has_code(path_of(module))}
    waiting = {
        module: needed - packages - parents(module) for module, needed in waiting.items() if module not in packages
    }
    while free := [module for module, needed in waiting.items() if not needed & waiting.keys()]:
        for module in free:
            del waiting[module]
    assert sorted(waiting) == []


def parents(module: str) -> set[str]:
    """Packages that contain a module; importing the module always imports them."""
    parts = module.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def test_dvc_sees_every_file_on_which_a_stage_depends() -> None:
    """DVC does not see changes of files that `.dvcignore` excludes."""
    with Repo(str(ROOT)) as repo:
        files = {path_of(module) for module in modules(ROOT)} | {ROOT / name for name in resources(ROOT)}
        assert sorted(str(file) for file in files if repo.dvcignore.is_ignored_file(str(file))) == []


@pytest.mark.parametrize("name", CACHED)
def test_a_stage_depends_on_every_template_catalogue_and_yaml_file_within_its_packages(name: str) -> None:
    """For `playbooks.yaml`, tests/end_to_end checks which stages read it."""
    stage = STAGES[name]
    files = {file for module in closure(stage.module) for file in resources_named(module)} - {"playbooks.yaml"}
    assert sorted(file for file in files if not within(file, stage.deps)) == []


def test_published_lists_are_ignored_and_resources_are_not() -> None:
    with Repo(str(ROOT)) as repo:
        ignored = {
            name: repo.dvcignore.is_ignored_dir(str(ROOT / name))
            for name in (
                "lists/2026-06-01",
                "lists/.revisions",
                "lists/.staging-1",
                "reports/words",
                "reports/html/templates",
            )
        }
        assert repo.dvcignore.is_ignored_file(str(ROOT / "lists" / ".lock"))
    assert [name for name, left_out in ignored.items() if not left_out] == ["reports/words", "reports/html/templates"]


# --- parameters and items ----------------------------------------------------------------------------


def is_setting(key: str) -> bool:
    tree: Any = Settings().model_dump()
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def test_every_parameter_of_a_stage_is_a_setting() -> None:
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    parameters = {key for stage in STAGES.values() for key in stage.params}
    assert sorted(key for key in parameters if not is_setting(key)) == []
    # DVC treats a key that is missing in params.yaml as changed each time.
    assert sorted(key for key in parameters if key.split(".")[0] not in shipped) == []


def test_no_address_that_may_hold_a_password_goes_to_the_lock_file() -> None:
    """DVC copies the values of parameters to `dvc.lock`, and users commit that file."""
    assert [key for stage in STAGES.values() for key in stage.params if within(key.split(".")[0], ADDRESSES)] == []


ADDRESSES = ("tables", "tracking", "warehouse")


def test_every_family_and_target_has_a_stage() -> None:
    items = {side: {name.partition("@")[2] for name in STAGES if name.startswith(f"{side}@")} for side in ITEMS}
    assert items == {side: set(ITEMS[side]) for side in items}


ITEMS = {
    **dict.fromkeys(("featurize", "act_featurize"), SHIPPED.families),
    **dict.fromkeys(("label", "train", "evaluate", "headline", "register"), SHIPPED.targets),
}


def test_disabled_targets_have_no_stage(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("targets: [renewal, upsell, cross_sell,", "targets: [renewal,"))
    names = {name for name in stages_of(root) if name.startswith("train")}
    assert names == {f"train@{target}" for target in SHIPPED.targets} - {"train@upsell", "train@cross_sell"}


# --- outputs -----------------------------------------------------------------------------------------

PROTECTED = ("data/company", "data/feedback", "data/mlflow.db", "data/mlartifacts", "data/models", "data/registered")
"""User tables, feedback, registry and last learning. DVC deletes outputs before a run, so these are no outputs."""


@pytest.mark.parametrize("name", STAGES)
def test_no_output_of_a_stage_is_protected(name: str) -> None:
    outs = STAGES[name].outs
    assert [path for path in PROTECTED if within(path, outs) or any(within(out, (path,)) for out in outs)] == []


def test_only_stages_with_inputs_outside_dvc_run_each_time() -> None:
    always = {name.partition("@")[0] for name, stage in STAGES.items() if stage.always}
    assert always == {"tables", "context", "register", "champions", "publish"}


def test_everything_that_needs_no_champion_runs_before_the_first_stage_that_does() -> None:
    """If a model is refused, everything that needs no model is then computed already."""
    before = _upstream("score")
    needs = {"score", "forecast", "publish"}
    assert sorted(set(STAGES) - before - needs) == []


def _upstream(name: str) -> set[str]:
    outputs = {name: one.outs for name, one in STAGES.items()}

    def direct(stage: Stage) -> set[str]:
        return {
            producer
            for producer, outs in outputs.items()
            if producer != stage.name and any(within(d, outs) or any(within(o, (d,)) for o in outs) for d in stage.deps)
        }

    upstream: set[str] = set()
    waiting = [name]
    while waiting:
        for producer in direct(STAGES[waiting.pop()]) - upstream:
            upstream.add(producer)
            waiting.append(producer)
    return upstream


# --- `dvc status` ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with all outputs present and committed, as after `dvc repro`; their contents are dummies."""
    root = checkout(tmp_path_factory.mktemp("project"))
    stages = stages_of(root)
    for place in sorted({out for stage in stages.values() for out in stage.outs}):
        path = root / place
        file = path if path.suffix else path / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(place)
    for name in ("usage_events.parquet", "usage_events.json"):
        (root / "data" / "clean" / name).write_text(name)
    with pytest.MonkeyPatch.context() as patch, Repo(str(root)) as repo:
        patch.chdir(root)
        repo.commit(None, force=True)
    commit(root, "The outputs")
    return root


def status(root: Path) -> dict[str, Any]:
    """Stages that `dvc status` reports, with the reasons."""
    with pytest.MonkeyPatch.context() as patch, Repo(str(root)) as repo:
        patch.chdir(root)
        changes: dict[str, Any] = repo.status()
        return changes


def changed(root: Path) -> set[str]:
    """Changed stages, without those that run each time."""
    return set(status(root)) & set(CACHED)


@pytest.mark.slow
def test_nothing_is_changed_at_first(project: Path) -> None:
    assert changed(project) == set()


EDITED = (
    "features/point_in_time.py",
    "models/training/calibration.py",
    "reports/list_summary.py",
    "pipelines/runtime/source_settings.py",
    "reports/html/templates/page.html",
    "reports/words/zh.po",
    "reports/html/vendor/vega.min.js",
    "playbooks.yaml",
)
"""One file of each kind. Tests above check that a stage depends on every file that it reads."""


@pytest.mark.slow
@pytest.mark.parametrize("file", EDITED)
def test_an_edited_file_changes_every_stage_that_depends_on_it(project: Path, file: str) -> None:
    before = (project / file).read_bytes()
    (project / file).write_bytes(before + b"\n# edited\n")
    changed_stages = changed(project)
    (project / file).write_bytes(before)
    assert changed_stages == {name for name in CACHED if within(file, STAGES[name].deps)}
    assert changed_stages


@pytest.mark.slow
def test_a_changed_parameter_changes_every_stage_that_names_it(project: Path) -> None:
    """All parameters change at once: DVC reports for each stage the changed ones that it names."""
    file = project / "params.yaml"
    text = file.read_text()
    keys = {key for name in CACHED for key in STAGES[name].params}
    keys -= {"targets", "families"}  # others are other stages
    tree = yaml.safe_load(text)
    for key in keys:
        _change(tree, key)
    file.write_text(yaml.safe_dump(tree))
    reported = status(project)
    file.write_text(text)
    for name in CACHED:
        reasons = [reason for reason in reported.get(name, []) if isinstance(reason, dict)]
        names = {key for reason in reasons for key in reason.get("changed deps", {}).get("params.yaml", {})}
        assert names == keys & set(STAGES[name].params), name


def _change(tree: Any, key: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree[parent]
    tree[last] = {**tree[last], "edited": 1} if isinstance(tree[last], dict) else "edited"


@pytest.mark.slow
def test_a_published_list_changes_no_stage(project: Path) -> None:
    folder = project / "lists" / "2026-06-01"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text("{}")
    assert changed(project) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "first"),
    [("tables.json", "check"), ("act/champions.json", "score"), ("act/context.json", "disagreements")],
)
def test_a_changed_observation_file_changes_its_first_reader(project: Path, source: str, first: str) -> None:
    file = project / "data" / source
    before = file.read_bytes()
    file.write_bytes(b"other")
    changed_stages = changed(project)
    file.write_bytes(before)
    assert first in changed_stages
