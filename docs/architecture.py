"""Write `docs/architecture.md` from the code: `python docs/architecture.py` (or `make docs`)."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("pipelines", "reports", "models", "features")
DIVIDED = ("pipelines/stages",)
"""Rooms that are shown as their subfolders."""

TEXT = """# Architecture

Written by `python docs/architecture.py`; do not edit by hand.

Every module is imported as `renewals.<package>.<room>.<module>` (ADR 38); a room is a subpackage. There are four
packages, and each imports only the packages after it: `pipelines` (stages and commands, and the only code that opens
files, databases or MLflow), `reports` (output for people), `models` (predictions), `features` (facts known on a date).

## Rooms

| room | contents | modules |
|---|---|---|
{rooms}

## Data through the stages

Boxes are the stages of `dvc.yaml`; an arrow means that a stage reads a file that another stage wrote. A stage that runs
once per family or target is drawn once. `renewals learn` and `renewals score` run the same functions in this order.

```mermaid
{data}
```

## Imports between rooms

An arrow means that a module of the first room imports one of the second, at the top of the file or inside a function.
Arrows that follow from others are left out (transitive reduction). There is no import cycle, between rooms or between
modules: import-linter and `tests/pipelines/test_dvc_stages.py` check that.

```mermaid
{imports}
```
"""


def page(root: Path = ROOT) -> str:
    """Text of `docs/architecture.md`."""
    arrows = import_arrows(root)
    return TEXT.format(
        rooms="\n".join(room_rows(root)), data=data_drawing(root), imports=import_drawing(reduce_transitively(arrows))
    )


# --- rooms -----------------------------------------------------------------------------------------


def room_of(path: Path) -> str:
    """Room of a module's file, relative to the root: a folder, or the module itself if it is in no room."""
    folder = path.parent.as_posix()
    if "/" not in folder:
        return path.with_suffix("").as_posix()
    for divided in DIVIDED:
        if folder.startswith(f"{divided}/"):
            return "/".join(folder.split("/")[:3])
    return "/".join(folder.split("/")[:2])


def modules(root: Path) -> dict[str, Path]:
    """File of each module, relative to the root, by dotted name."""
    files = (path.relative_to(root) for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {f"renewals.{'.'.join(path.with_suffix('').parts)}".removesuffix(".__init__"): path for path in files}


def room_rows(root: Path) -> list[str]:
    """One table row per room: its name, the first paragraph of its docstring, its number of modules."""
    counts: dict[str, int] = defaultdict(int)
    for path in modules(root).values():
        counts[room_of(path)] += path.name != "__init__.py" and len(path.parts) > 2
    return [f"| `{room}` | {_about(root / room)} | {counts[room]} |" for room in sorted(counts) if counts[room]]


def _about(folder: Path) -> str:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


# --- data ------------------------------------------------------------------------------------------


def data_drawing(root: Path) -> str:
    """Mermaid flowchart of the stages of `dvc.yaml`, grouped by the room of their code."""
    stages: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    definitions = {name: stage.get("do", stage) for name, stage in stages.items()}
    writers = {_path_prefix(out): name for name, stage in definitions.items() for out in _outputs(stage)}
    lines = ["flowchart LR"]
    for room, names in _by_room(definitions).items():
        lines += [f"  subgraph {room}", *(f"    {name}" for name in names), "  end"]
    for name, stage in definitions.items():
        lines += [f"  {writer} --> {name}" for writer in sorted(_writers_of(stage, writers) - {name})]
    return "\n".join(lines)


def _by_room(stages: dict[str, Any]) -> dict[str, list[str]]:
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, stage in stages.items():
        match = re.search(r"pipelines\.stages\.(\w+)\.", stage["cmd"])
        assert match, stage["cmd"]
        room = "act" if "--act" in stage["cmd"] else match[1]
        rooms[room].append(name)
    return rooms


def _outputs(stage: dict[str, Any]) -> list[str]:
    outputs = [*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())]
    return [next(iter(out)) if isinstance(out, dict) else out for out in outputs]


def _path_prefix(path: str) -> str:
    return path.partition("${")[0].rstrip("/")


def _writers_of(stage: dict[str, Any], writers: dict[str, str]) -> set[str]:
    read = [_path_prefix(dep) for dep in stage.get("deps", ()) if dep.startswith(("data", "metrics"))]
    return {
        name
        for dependency in read
        for out, name in writers.items()
        if out == dependency or out.startswith(f"{dependency}/") or dependency.startswith(f"{out}/")
    }


# --- imports ---------------------------------------------------------------------------------------


def import_arrows(root: Path) -> dict[str, set[str]]:
    """Rooms that each room imports; imports anywhere in a module are counted."""
    known = modules(root)
    arrows: dict[str, set[str]] = defaultdict(set)
    for path in known.values():
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                imported = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys() or {node.module}
                arrows[room_of(path)] |= {room_of(known[name]) for name in imported} - {room_of(path)}
    return arrows


def reduce_transitively(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Remove the arrows that follow from other arrows. The graph must have no cycle."""

    def reachable(room: str) -> set[str]:
        return {room}.union(*(reachable(target) for target in arrows.get(room, ())))

    return {
        room: {
            room_to for room_to in targets if not any(room_to in reachable(target) for target in targets - {room_to})
        }
        for room, targets in arrows.items()
    }


def import_drawing(arrows: dict[str, set[str]]) -> str:
    """Mermaid flowchart of the imports between rooms, grouped by package."""
    rooms = sorted(set(arrows).union(*arrows.values()))
    lines = ["flowchart TD"]
    for package in PACKAGES:
        inside = [room for room in rooms if room.split("/")[0] == package]
        lines += [f"  subgraph {package}", *(f'    {_node(room)}["{room}"]' for room in inside), "  end"]
    lines += [f"  {_node(room)} --> {_node(target)}" for room in rooms for target in sorted(arrows.get(room, ()))]
    return "\n".join(lines)


def _node(room: str) -> str:
    return room.replace("/", "_") + "_"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
