"""Fixtures of all tests, the Hypothesis profiles and the distribution of tests over workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from tests.root import ROOT

# One thread per test, because one test runs on each core. NumPy reads this variable when it is imported, below.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = ROOT.parent / "shared" / "data"

# The tables of one example contain dozens of random accounts, so a few examples are many cases. A failure names the
# account and the day, so shrinking an example would not help.
COMMON_SETTINGS = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": (HealthCheck.too_slow, HealthCheck.data_too_large),
}
settings.register_profile("quick", max_examples=4, derandomize=True, database=None, **COMMON_SETTINGS)
settings.register_profile("brief", max_examples=1, derandomize=True, database=None, **COMMON_SETTINGS)
settings.register_profile("thorough", max_examples=60, database=None, **COMMON_SETTINGS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


ONE_WORKER_FOLDER = "tests/end_to_end"
"""Folder of the tests that share one small company; training on it and scoring it takes a minute."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Scheduler that gives a worker one module at a time, as `--dist loadscope` does, but all of `ONE_WORKER_FOLDER`.

    The company of that folder is then created once, not once per worker.
    """
    from xdist.scheduler import LoadScopeScheduling

    class SharedCompanyScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ONE_WORKER_FOLDER if nodeid.startswith(ONE_WORKER_FOLDER) else super()._split_scope(nodeid)

    return SharedCompanyScheduling(config, log)


@pytest.fixture(autouse=True)
def reset_loggers() -> Iterator[None]:
    """Reset the loggers after each test: a command inside a test points them at the standard error of that test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; the test is skipped if it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}: clone it next to the repository to run this test")
    return SHARED
