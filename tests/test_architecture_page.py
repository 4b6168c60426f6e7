"""`docs/architecture.md` is drawn from the code of today."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.root import ROOT


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale() -> None:
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") == load().page(), "run `make docs`"


def test_arrows_that_follow_from_others_are_left_out() -> None:
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert load().reduce_transitively(arrows) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_every_stage_and_every_room_is_drawn() -> None:
    drawn = load().data_drawing(ROOT)
    assert {"  train --> evaluate", "  champions --> score", "  score --> publish"} <= set(drawn.splitlines())
    assert load().import_arrows(ROOT)["pipelines/stages/act"] >= {"pipelines/storage", "reports/workbook"}
