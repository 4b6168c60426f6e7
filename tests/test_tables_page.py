"""`docs/tables.md` shows the input tables of today."""

from __future__ import annotations

import importlib.util

from renewals.features.tables import TABLES
from tests.root import ROOT


def test_the_page_is_not_stale() -> None:
    spec = importlib.util.spec_from_file_location("tables_page", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert text == module.page_text(), "run `make docs`"
    assert all(f"| `{column}` |" in text for table in TABLES.values() for column in table.columns)
