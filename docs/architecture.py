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
"""Rooms that are drawn by their subfolders."""

TEXT = """# Architecture

Written by `python docs/architecture.py`; do not edit by hand.

Every module is imported as `renewals.<package>.<room>.<module>` (ADR 38). Four packages, each importing only those that
stand after it: `pipelines` (everything that runs, and the only code that opens a file, a database or MLflow), `reports`
(what people read), `models` (what is predicted), `features` (what was known).

## Rooms

| room | holds | modules |
|---|---|---|
{rooms}

## Data through the stages

Boxes are the stages of `dvc.yaml`; an arrow means that a stage reads what another one wrote. Stages that run once per
family or target are drawn once. `renewals learn` and `renewals score` run the same functions in this order.

```mermaid
{data}
```

## Who imports whom

An arrow means that some module of the first room imports one of the second, wherever the import stands. Arrows that
follow from others are left out (transitive reduction). There is no circle, between rooms or between modules:
import-linter and `tests/pipelines/test_dvc_stages.py` hold that.

```mermaid
{imports}
```
"""


def page(root: Path = ROOT) -> str:
    """The whole page."""
    arrows = import_arrows(root)
    return TEXT.format(
        rooms="\n".join(room_rows(root)), data=data_drawing(root), imports=import_drawing(reduce_transitively(arrows))
    )


# --- rooms -----------------------------------------------------------------------------------------


def room_of(path: Path) -> str:
    """The room of a module's file, relative to the root: a folder, or the module itself where it lies in no room."""
    folder = path.parent.as_posix()
    if "/" not in folder:
        return path.with_suffix("").as_posix()
    for divided in DIVIDED:
        if folder.startswith(f"{divided}/"):
            return "/".join(folder.split("/")[:3])
    return "/".join(folder.split("/")[:2])


def modules(root: Path) -> dict[str, Path]:
    """The file of each module, relative to the root, by dotted name."""
    files = (path.relative_to(root) for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {f"renewals.{'.'.join(path.with_suffix('').parts)}".removesuffix(".__init__"): path for path in files}


def room_rows(root: Path) -> list[str]:
    """One row of the table per room: its name, the first sentence of its docstring, how many modules it has."""
    counts: dict[str, int] = defaultdict(int)
    for path in modules(root).values():
        counts[room_of(path)] += path.name != "__init__.py" and len(path.parts) > 2
    return [f"| `{room}` | {_about(root / room)} | {counts[room]} |" for room in sorted(counts) if counts[room]]


def _about(folder: Path) -> str:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


# --- data ------------------------------------------------------------------------------------------


def data_drawing(root: Path) -> str:
    """The stages of `dvc.yaml` as a Mermaid flowchart, grouped by the room of their code."""
    stages: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    whole = {name: stage.get("do", stage) for name, stage in stages.items()}
    writers = {_place(out): name for name, stage in whole.items() for out in _outputs(stage)}
    lines = ["flowchart LR"]
    for room, names in _by_room(whole).items():
        lines += [f"  subgraph {room}", *(f"    {name}" for name in names), "  end"]
    for name, stage in whole.items():
        lines += [f"  {writer} --> {name}" for writer in sorted(_writers_of(stage, writers) - {name})]
    return "\n".join(lines)


def _by_room(stages: dict[str, Any]) -> dict[str, list[str]]:
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, stage in stages.items():
        found = re.search(r"pipelines\.stages\.(\w+)\.", stage["cmd"])
        assert found, stage["cmd"]
        side = "act" if "--act" in stage["cmd"] else found[1]
        rooms[side].append(name)
    return rooms


def _outputs(stage: dict[str, Any]) -> list[str]:
    listed = [*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())]
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


def _place(path: str) -> str:
    return path.partition("${")[0].rstrip("/")


def _writers_of(stage: dict[str, Any], writers: dict[str, str]) -> set[str]:
    read = [_place(dep) for dep in stage.get("deps", ()) if dep.startswith(("data", "metrics"))]
    return {
        name
        for place in read
        for out, name in writers.items()
        if out == place or out.startswith(f"{place}/") or place.startswith(f"{out}/")
    }


# --- imports ---------------------------------------------------------------------------------------


def import_arrows(root: Path) -> dict[str, set[str]]:
    """The rooms that each room imports; imports anywhere in a module are counted."""
    known = modules(root)
    arrows: dict[str, set[str]] = defaultdict(set)
    for path in known.values():
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                named = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys() or {node.module}
                arrows[room_of(path)] |= {room_of(known[name]) for name in named} - {room_of(path)}
    return arrows


def reduce_transitively(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that follow from no others. The graph must have no circle."""

    def reached(room: str) -> set[str]:
        return {room}.union(*(reached(other) for other in arrows.get(room, ())))

    return {
        room: {one for one in others if not any(one in reached(other) for other in others - {one})}
        for room, others in arrows.items()
    }


def import_drawing(arrows: dict[str, set[str]]) -> str:
    """Rooms as a Mermaid flowchart, grouped by package."""
    rooms = sorted(set(arrows).union(*arrows.values()))
    lines = ["flowchart TD"]
    for package in PACKAGES:
        inside = [room for room in rooms if room.split("/")[0] == package]
        lines += [f"  subgraph {package}", *(f'    {_node(room)}["{room}"]' for room in inside), "  end"]
    lines += [f"  {_node(room)} --> {_node(other)}" for room in rooms for other in sorted(arrows.get(room, ()))]
    return "\n".join(lines)


def _node(room: str) -> str:
    return room.replace("/", "_") + "_"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
