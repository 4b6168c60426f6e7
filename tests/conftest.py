"""What every test may use: the real data beside the repository, and how hard Hypothesis searches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from tests.root import ROOT

# As many tests run at a time as there are cores. NumPy, which reads this once, is imported after.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = ROOT.parent / "shared" / "data"

# A world holds dozens of accounts drawn from seeds, so a few worlds are many cases, and a failure names the account
# and the day: nothing is gained by making a world smaller.
UNHURRIED = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": (HealthCheck.too_slow, HealthCheck.data_too_large),
}
settings.register_profile("quick", max_examples=4, derandomize=True, database=None, **UNHURRIED)
settings.register_profile("brief", max_examples=1, derandomize=True, database=None, **UNHURRIED)
settings.register_profile("thorough", max_examples=60, database=None, **UNHURRIED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


WHOLE = "tests/end_to_end"
"""Tests of one small company, which takes a minute to be learned from and listed."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """A worker takes a module at a time, as `--dist loadscope` has it, but all of `WHOLE` together: the company is
    then made once, and not once a worker."""
    from xdist.scheduler import LoadScopeScheduling

    class ByCompany(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return WHOLE if nodeid.startswith(WHOLE) else super()._split_scope(nodeid)

    return ByCompany(config, log)


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """A command run inside a test points the loggers at that test's own standard error, which closes with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}: clone it beside the repository to run this test")
    return SHARED
