"""Each bench starts with `python bench/<name>.py`, although its folder has a module named like one of our packages."""

import subprocess
import sys

import pytest

from tests.root import ROOT

BENCH = ROOT / "bench"
COMMANDS = sorted(path.name for path in BENCH.glob("*.py") if "ArgumentParser" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bench_prints_its_help(name):
    run = subprocess.run(
        [sys.executable, str(BENCH / name), "--help"], cwd=BENCH.parent, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-500:]
    assert len(COMMANDS) >= 6
