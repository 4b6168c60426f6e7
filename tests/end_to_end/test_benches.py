"""Every bench starts as people start it: `python bench/<name>.py`, beside a file called as one of our packages."""

import subprocess
import sys

import pytest

from tests.root import ROOT

BENCH = ROOT / "bench"
COMMANDS = sorted(path.name for path in BENCH.glob("*.py") if "ArgumentParser" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bench_says_what_it_is(name):
    run = subprocess.run(
        [sys.executable, str(BENCH / name), "--help"], cwd=BENCH.parent, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-500:]
    assert len(COMMANDS) >= 6
