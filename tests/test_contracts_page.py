"""`docs/contracts.md` shows the cases as the ledger tells them today."""

from __future__ import annotations

from tests.docs_pages import load_page
from tests.root import ROOT


def test_the_page_is_not_stale() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    page = load_page("contracts_page")
    assert text == page.page_text(), "run `make docs`"
    assert all(f"**{case['name']}**" in text for case in page.load_cases())
