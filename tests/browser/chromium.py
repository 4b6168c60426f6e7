"""Chromium, and a page opened in it: what it asks for and complains of fails a test."""

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: `make test-browser` does")
WATCH = "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.violatedDirective));"


class Visit:
    """One opening of the page; whatever it asks the network for, or is refused, fails the test at its end."""

    def __init__(self, browser: Any, path: Path, **given: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1366, "height": 820}, "locale": "en-US"} | given))
        self.sheet = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.sheet.add_init_script(WATCH)
        self.sheet.on("request", lambda request: self.asked.append(request.url))
        self.sheet.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.sheet.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.sheet.goto(path.as_uri(), wait_until="commit")
        self.sheet.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        self.own = path.as_uri()

    def close(self) -> None:
        self.context.close()
        assert self.asked == [self.own]
        assert not self.complaints
