"""The scripts in `docs/` that write pages from the code."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType

from tests.root import ROOT


@cache
def load_page(name: str) -> ModuleType:
    """Load `docs/<name>.py`, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
