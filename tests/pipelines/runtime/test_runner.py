"""Exit code, JSON line and error sentence at the end of a run."""

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


def work_with_error(error: BaseException) -> Any:
    def work() -> dict[str, Any]:
        raise error

    return work


def result_and_stderr(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert len(lines) == 1, "one line of result"
    return json.loads(lines[0]), output.err


def test_a_result_is_one_json_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run_command(lambda: {"rows": 3, "gain": [float("nan"), -float("inf")]}, tmp_path, "check") == 0
    result, stderr = result_and_stderr(capsys)
    assert result == {"rows": 3, "gain": [None, None]}
    assert stderr == ""


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
def test_every_error_has_an_exit_code_one_json_line_and_one_sentence(
    error: BaseException, code: int, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.run_command(work_with_error(error), tmp_path, "score") == code
    result, stderr = result_and_stderr(capsys)
    assert (result["exit"], result["state"]) == (code, state)
    assert stderr == f"renewals: {result['message']}\n", "one sentence without a traceback"
    assert SECRET not in stderr


def test_the_traceback_of_an_unexpected_error_is_logged_without_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> dict[str, Any]:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise ValueError(SECRET) from cause

    assert runner.run_command(work, tmp_path, "score") == 70
    result, _ = result_and_stderr(capsys)
    log = Path(result["log"])
    assert log.parent == tmp_path / "logs"
    text = log.read_text()
    assert text.splitlines()[0].split(" ", 1)[1].startswith("renewals score, Python 3.")
    assert "builtins.KeyError" in text
    assert "builtins.ValueError" in text
    assert f"{__file__}:" in text
    assert SECRET not in text
    assert "pa55" not in text


def test_an_unexpected_error_is_reported_if_no_log_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert runner.run_command(work_with_error(ValueError("x")), tmp_path, "score") == 70
    result, stderr = result_and_stderr(capsys)
    assert result["log"] is None
    assert "could not be written to" in stderr


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
    # Code that swallows the error continues, but publishes nothing.
    try:
        query()
    except Exception:
        pass
    publish_folder(data / "lists", date(2026, 6, 1), {{"a.csv": b"1"}}, {{"identity": 1}})

def work():
    with exclusive_lock(data, "score"):
        print("working", file=sys.stderr, flush=True)
        {function}()
    return {{}}

data = Path(sys.argv[1])
raise SystemExit(runner.run_command(work, data, "score"))
"""


@pytest.mark.parametrize("function", ["wait", "query", "native", "swallowed"])
@pytest.mark.parametrize(("number", "code", "state"), [(signal.SIGTERM, 143, "Terminated"), (signal.SIGINT, 130, "Interrupted")])  # fmt: skip # noqa: E501
def test_a_signal_ends_the_run_with_its_code_and_frees_the_lock(
    function: str, number: int, code: int, state: str, tmp_path: Path
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(function=function), str(tmp_path)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.stderr is not None
    assert run.stderr.readline() == "working\n"
    time.sleep(0.3)
    run.send_signal(number)
    out, stderr = run.communicate(timeout=30)
    assert run.returncode == code
    result = json.loads(out)
    assert (result["exit"], result["state"]) == (code, state)
    assert "Traceback" not in stderr
    assert not (tmp_path / "lists").exists()
    with exclusive_lock(tmp_path, "score"):
        pass


def test_a_closed_pipe_causes_no_error_message(tmp_path: Path) -> None:
    """`renewals check … | true`, also with the log in the pipe."""
    for streams in ("", "2>&1"):
        line = f"{sys.executable} -m renewals.pipelines.cli check --tables {tmp_path} --data {tmp_path} {streams}"
        process = subprocess.run(
            ["bash", "-c", f"set -o pipefail; ( sleep 0.1; {line} ) | true"],
            **{"capture_output": True, "text": True, "cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}},
        )
        assert process.returncode == 66, process.stderr
        assert "Broken pipe" not in process.stderr
        assert "Exception ignored" not in process.stderr


def test_result_is_json_for_every_encoding_of_the_terminal(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from renewals.pipelines.runtime import runner; "
        "runner.run_command(lambda: {'name': '东方😀'}, Path('.'), 'x')"
    )
    for encoding in ("ascii", "latin-1", "utf-8"):
        process = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
            check=True,
        )
        assert json.loads(process.stdout.decode(encoding)) == {"name": "东方😀"}
