"""Take the pictures of the README from a published list: the page in Chromium, a manager's sheet in LibreOffice.

Needs Chromium, LibreOffice Calc, poppler-utils and the Noto CJK fonts of the system.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent / "img"
PAGE_SIZE = {"width": 1680, "height": 900}
SHEET_PAGE = 4
"""Printed page of the first manager's sheet: the summary takes three."""
SHEET_CROP = ("-x", "130", "-y", "145", "-W", "2000", "-H", "560")
"""Crop of the printed page at 200 dots per inch, in pixels."""


def main() -> None:
    """Write `docs/img/page.png` and `docs/img/workbook.png`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("list", type=Path, nargs="?", default=Path("lists/2026-06-01"), help="folder of the list")
    folder = parser.parse_args().list
    programs = {name: shutil.which(name) for name in ("chromium", "soffice", "pdftoppm")}
    if missing := [name for name, path in programs.items() if path is None]:
        sys.exit(f"not installed: {', '.join(missing)}")
    if not (folder / "risk_list.html").is_file():
        sys.exit(f"no list in {folder}: run `make demo` first")
    IMAGES.mkdir(exist_ok=True)
    photograph_page(folder / "risk_list.html", str(programs["chromium"]))
    photograph_sheet(folder / "risk_list.xlsx")


def photograph_page(page: Path, chromium: str) -> None:
    """Photograph the accounts of the first account's manager, with that account open."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport=PAGE_SIZE, color_scheme="light")
        tab.goto(page.resolve().as_uri())
        tab.wait_for_selector("html[data-ready=yes]")
        manager = tab.locator(".tabulator-row [tabulator-field=csm]").first.text_content()
        tab.locator("select").first.select_option(label=manager)
        tab.locator(".tabulator-row").first.click()
        tab.wait_for_timeout(1000)
        tab.screenshot(path=IMAGES / "page.png")
        browser.close()


def photograph_sheet(workbook: Path) -> None:
    """Photograph the first manager's sheet as it prints."""
    pages = f'pdf:calc_pdf_Export:{{"PageRange":{{"type":"string","value":"{SHEET_PAGE}"}}}}'
    with tempfile.TemporaryDirectory() as work:
        command = ["soffice", "--headless", "--convert-to", pages, "--outdir", work, str(workbook)]
        subprocess.run(command, check=True, capture_output=True)
        pdf = Path(work) / f"{workbook.stem}.pdf"
        crop = ["pdftoppm", "-r", "200", *SHEET_CROP, "-png", "-singlefile", str(pdf), str(IMAGES / "workbook")]
        subprocess.run(crop, check=True)


if __name__ == "__main__":
    main()
