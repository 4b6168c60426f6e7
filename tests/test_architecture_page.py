"""Tests of `docs/architecture.py`, and that `docs/architecture.md` matches the present code."""

from __future__ import annotations

from tests.docs_pages import load_page
from tests.root import ROOT

PAGE = load_page("architecture")


def test_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") == PAGE.page(), "run `make docs`"


def test_implied_arrows_are_left_out() -> None:
    arrows = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert PAGE.reduce_transitively(arrows) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_every_stage_and_every_package_is_drawn() -> None:
    drawing = PAGE.data_drawing(ROOT)
    assert {"  train --> evaluate", "  champions --> score", "  score --> publish"} <= set(drawing.splitlines())
    assert PAGE.import_arrows(ROOT)["pipelines/stages/act"] >= {
        "pipelines/storage",
        "reports/workbook",
    }
