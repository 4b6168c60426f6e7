"""The stages of `dvc.yaml` as DVC resolves them, and the modules that their code imports."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from tests.root import ROOT

PACKAGES = ("features", "models", "pipelines", "reports")
CODE = (
    *PACKAGES,
    "examples",
    "renewals",
    "dvc.yaml",
    "params.yaml",
    "playbooks.yaml",
    ".dvcignore",
    ".gitignore",
    ".dvc/config",
)


@dataclass(frozen=True)
class Stage:
    """One stage, with its items expanded."""

    name: str
    command: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]
    always: bool

    @property
    def module(self) -> str:
        """Module that the command runs."""
        parts = re.fullmatch(r"python -m (\S+)(?: --act)?(?: (\w+))?", self.command)
        assert parts, self.command
        return parts[1]

    @property
    def arguments(self) -> list[str]:
        """Arguments after the module."""
        return self.command.split()[3:]


def stages_of(root: Path) -> dict[str, Stage]:
    """Stages of the `dvc.yaml` in a folder by name, in the order of execution."""
    with Repo(str(root)) as repo:
        return {one.name: _stage(one) for one in repo.index.stages}


def _stage(one) -> Stage:
    params = tuple(name for dep in one.deps if isinstance(dep, ParamsDependency) for name in dep.params)
    deps = tuple(dep.def_path for dep in one.deps if not isinstance(dep, ParamsDependency))
    outs = tuple(out.def_path for out in one.outs)
    return Stage(one.name, one.cmd, deps, params, outs, bool(one.always_changed))


def within(path: str, places: tuple[str, ...]) -> bool:
    """Check whether a path equals one of these places or lies below one."""
    return any(PurePosixPath(path).is_relative_to(place) for place in places)


def checkout(root: Path) -> Path:
    """Copy the files of the project that stages may read to a new repository with one commit."""
    for name in CODE:
        source, copy = ROOT / name, root / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "[0-9]*-*", ".*"))
        else:
            shutil.copy(source, copy)
    git(root, "init", "--quiet")
    commit(root, "The project")
    return root


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path, subject: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", subject)


# --- imports -----------------------------------------------------------------------------------------


@cache
def closure(module: str, root: Path = ROOT) -> frozenset[str]:
    """Modules of the project that a module imports directly or indirectly, at any place in the code."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports(name, root)
    return frozenset(reached)


@cache
def imports(module: str, root: Path) -> frozenset[str]:
    """Modules of the project that a module names in imports at any place, in strings and in f-strings."""
    tree = ast.parse(path_of(module, root).read_text(encoding="utf-8"))
    known = modules(root)
    named = {name for node in ast.walk(tree) for name in _named(node, known)}
    return frozenset({parent for name in named for parent in _with_parents(name)} & known)


def _named(node: ast.AST, known: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom(module=str(base), level=0):
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        case ast.ImportFrom():
            raise AssertionError(f"a relative import in line {node.lineno}: this test cannot follow it")
        case ast.Constant(value=str(text)) if text in known and "." in text:
            yield text
        case ast.JoinedStr():
            pattern = text_pattern(node)
            if pattern.startswith("renewals\\."):
                yield from (name for name in known if re.fullmatch(pattern, name))


def text_pattern(node: ast.JoinedStr) -> str:
    """Regular expression of the texts that an f-string can produce."""
    return "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".*" for p in node.values)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


@cache
def modules(root: Path) -> frozenset[str]:
    """Names of all modules of the packages."""
    return frozenset(_module(path.relative_to(root)) for name in PACKAGES for path in (root / name).rglob("*.py"))


def _module(path: Path) -> str:
    return ".".join(("renewals", *path.with_suffix("").parts)).removesuffix(".__init__")


def path_of(module: str, root: Path = ROOT) -> Path:
    """File of a module."""
    path = root.joinpath(*module.removeprefix("renewals.").split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


# --- other files -------------------------------------------------------------------------------------


@cache
def resources(root: Path) -> frozenset[str]:
    """Files other than modules that code may read: templates, scripts, translation catalogues and YAML."""
    inside = (path for name in PACKAGES for path in (root / name).rglob("*.*"))
    files = [
        path
        for path in (*inside, *root.glob("*.yaml"))
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]
    names = {path.relative_to(root).as_posix() for path in files}
    return frozenset(names) - {"dvc.yaml", "params.yaml"}


@cache
def resources_named(module: str, root: Path = ROOT) -> frozenset[str]:
    """Resources with a file name, or an ending (`f"{language}.po"`), that a string of the module contains."""
    tree = ast.parse(path_of(module, root).read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    patterns = [text_pattern(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    ends = [pattern for pattern in patterns if re.fullmatch(r"\.\*\\\.\w+", pattern)]
    return frozenset(
        name
        for name in resources(root)
        if any(text.endswith(PurePosixPath(name).name) for text in texts)
        or any(re.fullmatch(pattern, PurePosixPath(name).name) for pattern in ends)
    )
