"""However a run ends: its exit code, its one JSON line, its one sentence."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from renewals.pipelines.runtime import errors, runner
from renewals.pipelines.runtime.lock import exclusive_lock
from tests.root import ROOT

SECRET = "Acme Ltd, postgresql://u:pa55@db/x"


def failing(error: BaseException) -> Any:
    def work() -> dict[str, Any]:
        raise error

    return work


def ended(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert len(lines) == 1, "one line of result"
    return json.loads(lines[0]), shown.err


def test_a_result_is_one_json_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run_command(lambda: {"rows": 3, "gain": [float("nan"), -float("inf")]}, tmp_path, "check") == 0
    told, complaint = ended(capsys)
    assert told == {"rows": 3, "gain": [None, None]}
    assert complaint == ""


@pytest.mark.parametrize(
    ("error", "code", "state"),
    [
        (errors.DataContractError("x"), 65, "DataContract"),
        (errors.MissingInputError("x"), 66, "InputMissing"),
        (errors.ServiceUnavailableError("x"), 69, "Unavailable"),
        (errors.OutputError("x"), 74, "OutputFailed"),
        (errors.RunLockedError("x"), 75, "Busy"),
        (errors.ConfigError("x"), 78, "Config"),
        (errors.GateRejectedError("x"), 80, "GateRefused"),
        (RuntimeError(SECRET), 70, "InternalError"),
        (KeyError(SECRET), 70, "InternalError"),
        (AssertionError(SECRET), 70, "InternalError"),
        (OSError(SECRET), 70, "InternalError"),
        (MemoryError(), 78, "Config"),
        (OSError(errno.ENOSPC, "full", "data/x.parquet"), 74, "OutputFailed"),
        (PermissionError(errno.EACCES, "no", "data/x.parquet"), 74, "OutputFailed"),
        (FileNotFoundError(errno.ENOENT, "no", "data/x.parquet"), 66, "InputMissing"),
    ],
)
def test_every_end_has_its_code_one_json_line_and_one_sentence(
    error: BaseException, code: int, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.run_command(failing(error), tmp_path, "score") == code
    told, complaint = ended(capsys)
    assert (told["exit"], told["state"]) == (code, state)
    assert complaint == f"renewals: {told['message']}\n", "said once, without a traceback"
    assert SECRET not in complaint


def test_the_traceback_of_an_unexpected_error_is_kept_without_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> dict[str, Any]:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise ValueError(SECRET) from cause

    assert runner.run_command(work, tmp_path, "score") == 70
    told, _ = ended(capsys)
    log = Path(told["log"])
    assert log.parent == tmp_path / "logs"
    text = log.read_text()
    assert text.splitlines()[0].split(" ", 1)[1].startswith("renewals score, Python 3.")
    assert "builtins.KeyError" in text
    assert "builtins.ValueError" in text
    assert f"{__file__}:" in text
    assert SECRET not in text
    assert "pa55" not in text


def test_an_unexpected_error_is_told_where_no_log_can_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert runner.run_command(failing(ValueError("x")), tmp_path, "score") == 70
    told, complaint = ended(capsys)
    assert told["log"] is None
    assert "could not be written to" in complaint


SCRIPT = """
import hashlib, sys, time
from datetime import date
from pathlib import Path
import duckdb
from renewals.pipelines.runtime import runner, signals
from renewals.pipelines.runtime.lock import exclusive_lock
from renewals.pipelines.storage.published.list_folder import publish_folder
signals.SHUTDOWN_SECONDS = 0.5

def wait():
    time.sleep(60)

def query():
    duckdb.connect(config={{"threads": 1}}).execute("SELECT sum(sqrt(i)) FROM range(1000000000000) AS r(i)").fetchall()

def native():
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)

def swallowed():
    # Whoever swallows the error goes on, but publishes nothing.
    try:
        query()
    except Exception:
        pass
    publish_folder(data / "lists", date(2026, 6, 1), {{"a.csv": b"1"}}, {{"identity": 1}})

def work():
    with exclusive_lock(data, "score"):
        print("working", file=sys.stderr, flush=True)
        {what}()
    return {{}}

data = Path(sys.argv[1])
raise SystemExit(runner.run_command(work, data, "score"))
"""


@pytest.mark.parametrize("what", ["wait", "query", "native", "swallowed"])
@pytest.mark.parametrize(("number", "code", "state"), [(signal.SIGTERM, 143, "Terminated"), (signal.SIGINT, 130, "Interrupted")])  # fmt: skip # noqa: E501
def test_a_signal_ends_the_run_with_its_code_and_frees_the_lock(
    what: str, number: int, code: int, state: str, tmp_path: Path
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(what=what), str(tmp_path)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.stderr is not None
    assert run.stderr.readline() == "working\n"
    time.sleep(0.3)
    run.send_signal(number)
    out, complaint = run.communicate(timeout=30)
    assert run.returncode == code
    told = json.loads(out)
    assert (told["exit"], told["state"]) == (code, state)
    assert "Traceback" not in complaint
    assert not (tmp_path / "lists").exists()
    with exclusive_lock(tmp_path, "score"):
        pass


def test_a_reader_who_has_gone_is_no_complaint(tmp_path: Path) -> None:
    """`renewals check … | true`, and the same with the log in the pipe."""
    for streams in ("", "2>&1"):
        line = f"{sys.executable} -m renewals.pipelines.cli check --tables {tmp_path} --data {tmp_path} {streams}"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; ( sleep 0.1; {line} ) | true"],
            **{"capture_output": True, "text": True, "cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}},
        )
        assert done.returncode == 66, done.stderr
        assert "Broken pipe" not in done.stderr
        assert "Exception ignored" not in done.stderr


def test_names_in_any_script_are_json_whatever_the_terminal_can_show(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from renewals.pipelines.runtime import runner; "
        "runner.run_command(lambda: {'name': '东方😀'}, Path('.'), 'x')"
    )
    for encoding in ("ascii", "latin-1", "utf-8"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
            check=True,
        )
        assert json.loads(done.stdout.decode(encoding)) == {"name": "东方😀"}
