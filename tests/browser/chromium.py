"""Chromium, and a page opened in it; network requests and console messages fail a test."""

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: `make test-browser` does")
WATCH = "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.violatedDirective));"


class Visit:
    """One opening of a page; network requests and errors of the page fail the test at its end."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(
            **({"viewport": {"width": 1366, "height": 820}, "locale": "en-US"} | options)
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.add_init_script(WATCH)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(path.as_uri(), wait_until="commit")
        self.page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        self.url = path.as_uri()

    def close(self) -> None:
        self.context.close()
        assert self.requests == [self.url]
        assert not self.errors
