"""Tests of `docs/architecture.py`, and that `docs/architecture.md` matches the present code."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.root import ROOT


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") == load_script().page(), "run `make docs`"


def test_implied_arrows_are_left_out() -> None:
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert load_script().reduce_transitively(arrows) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_every_stage_and_every_package_is_drawn() -> None:
    drawing = load_script().data_drawing(ROOT)
    assert {"  train --> evaluate", "  champions --> score", "  score --> publish"} <= set(drawing.splitlines())
    assert load_script().import_arrows(ROOT)["pipelines/stages/act"] >= {"pipelines/storage", "reports/workbook"}
