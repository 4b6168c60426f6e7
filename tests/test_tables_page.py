"""`docs/tables.md` shows the input tables of today."""

from __future__ import annotations

from renewals.features.tables import TABLES
from tests.docs_pages import load_page
from tests.root import ROOT


def test_the_page_is_not_stale() -> None:
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert text == load_page("tables").page_text(), "run `make docs`"
    assert all(f"| `{column}` |" in text for table in TABLES.values() for column in table.columns)
