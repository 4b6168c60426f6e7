import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from renewals.pipelines.runtime.lock import exclusive_lock
from tests.root import ROOT


def renewals(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "renewals.pipelines.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)


def test_help_names_every_command():
    shown = renewals("--help").stdout
    for command in (
        *("demo", "check", "learn", "backtest", "tune", "score", "scorecard", "forecast", "effect", "explain"),
        *("promote", "rollback", "history"),
    ):
        assert command in shown


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['renewals', '--help']\nfrom renewals.pipelines.cli import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pandas', 'ibis', 'duckdb', 'lightgbm', 'mlflow', 'numba', 'sklearn', 'shap', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("score", "--as-of", "20260601"), 78, "write it as YYYY-MM-DD"),
        (("score", "--as-of", "2026-02-30"), 78, "is not a date"),
        (("scorecard", "--as-of", "2026-06-01", "--set", "scorecard.months=0"), 78, "scorecard.months"),
        (("learn", "--until", "2026-06-01", "--set", "grace.after=3"), 78, "unknown key"),
        (("learn", "--until", "2026-06-01", "--params", "none.yaml"), 66, "no parameter file"),
        (("check", "--tables", "no/such/folder"), 66, "no/such/folder"),
        (("backtest", "--until", "2026-06-01", "--tables", "no/such/folder"), 66, "no/such/folder"),
        (("backtest", "--until", "June"), 78, "write it as YYYY-MM-DD"),
        (("tune", "--until", "2026-06-01", "--tables", "no/such/folder"), 66, "no/such/folder"),
        (("tune", "--until", "June"), 78, "write it as YYYY-MM-DD"),
        (("tune", "--until", "2026-06-01", "--target", "profit"), 2, "profit"),
        (("tune", "--until", "2026-06-01", "--target", "upsell", "--set", "targets=[renewal]"), 78, "--target upsell"),
        (
            ("tune", "--until", "2026-06-01", "--set", "tune.search_space={folds.origins: [3]}"),
            78,
            "search_space: folds.origins",
        ),
        (("check", "--tables", "oracle://x"), 78, "oracle"),
        (("history", "--set", "history.sources={}"), 78, "history.sources is empty"),
        (("history", "--set", "history.stopped_share=2"), 78, "history.stopped_share"),
        (("forecast", "--as-of", "2026-06-01", "--set", "forecast.confidence=2"), 78, "forecast.confidence"),
        (("score",), 2, "--as-of"),
        (("promote", "renewal"), 2, "--version"),
        (("promote", "renewal", "--version", "0"), 2, "--version"),
        (("promote", "renewal", "--version", "1", "--force"), 2, "--force needs --reason"),
        (("promote", "renewal", "--version", "1", "--force", "--reason", " "), 2, "--force needs --reason"),
        (("promote", "renewal", "--version", "1"), 66, "no model of renewal"),
        (("rollback", "renewal"), 66, "no model of renewal"),
        (("rollback",), 2, "Missing argument"),
    ],
)
def test_wrong_input_ends_with_a_message_and_its_exit_code(arguments, code, message, tmp_path):
    data_options = ("--data", str(tmp_path / "data")) if arguments[0] != "score" or len(arguments) > 1 else ()
    done = renewals(*arguments, *data_options)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_last_line_of_output_is_one_json_object(tmp_path):
    done = renewals("check", "--tables", str(tmp_path), "--data", str(tmp_path / "data"))
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["exit"] == done.returncode == 66


def three_tables(folder: Path) -> Path:
    for name in ("accounts", "contracts", "usage_events"):
        (folder / f"{name}.csv").write_text("account_id\n")
    return folder


def test_a_second_run_is_refused_with_the_process_and_start_time_of_the_first(tmp_path):
    with exclusive_lock(tmp_path, "backtest"):
        done = renewals("check", "--tables", str(three_tables(tmp_path)), "--data", str(tmp_path))
    assert done.returncode == 75
    assert f"`renewals backtest` (process {os.getpid()} on " in done.stderr
    assert f"has been working in {tmp_path} since 20" in done.stderr
    assert json.loads(done.stdout)["state"] == "Busy"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("check", "--tables", "no/such/folder"), 66, "no/such/folder"),
        (("learn", "--until", "2026-06-01", "--set", "targets=[profit]"), 78, "no target 'profit'"),
        (("tune", "--until", "2026-06-01", "--target", "upsell", "--set", "targets=[renewal]"), 78, "--target upsell"),
        (("forecast", "--as-of", "2026-06-15"), 78, "use 2026-06-01"),
        (("score", "--as-of", "2026-06-01", "--set", "list.playbooks=none.yaml"), 66, "no playbooks at none.yaml"),
        (("forecast", "--as-of", "2026-06-01"), 66, "no model of renewal"),
        (("score", "--as-of", "2026-06-01", "--lists", "/dev/null/lists"), 74, "cannot be written"),
        (("explain", "A1", "--as-of", "2026-06-01"), 66, "renewals score --as-of 2026-06-01"),
        (("whatif", "A1", "--as-of", "2026-06-01", "--set", "x"), 66, "renewals score --as-of 2026-06-01"),
        (("publish", "--as-of", "2026-06-01", "--to", "duckdb:///x.duckdb"), 66, "renewals score --as-of 2026-06-01"),
        (("promote", "profit", "--version", "1"), 66, "no model of profit"),
        (("rollback", "renewal"), 66, "no model of renewal"),
        (("collect", "none.xlsx"), 66, "no file none.xlsx"),
    ],
)
def test_input_errors_are_reported_while_another_run_holds_the_lock(arguments, code, message, tmp_path):
    without_lists = ("check", "learn", "tune", "forecast", "promote", "rollback")
    no_option = "--lists" in arguments or arguments[0] in without_lists
    lists = () if no_option else ("--lists", str(tmp_path / "lists"))
    table_options = ("--tables", str(three_tables(tmp_path)))
    tables = table_options if arguments[0] in ("learn", "tune", "forecast", "score") else ()
    with exclusive_lock(tmp_path, "backtest"):
        done = renewals(*arguments, *lists, *tables, "--data", str(tmp_path))
    assert done.returncode == code, done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("arguments", [("learn",), ("score", "--as-of"), ("sorce",), ("check", "--colour"), ()])
def test_a_wrong_command_line_ends_with_its_usage_and_the_json_line(arguments):
    done = renewals(*arguments)
    assert done.returncode == 2
    assert "Usage: " in done.stderr or arguments == ("score", "--as-of"), "an option without its value has none"
    result = json.loads(done.stdout)
    assert (result["exit"], result["state"]) == (2, "Usage")
    assert done.stderr.count(result["message"]) == 1


def test_help_is_quick():
    """The fastest of three runs counts, because the machine may be busy."""
    durations = []
    for _ in range(3):
        started = time.perf_counter()
        renewals("--help")
        durations.append(time.perf_counter() - started)
    assert min(durations) < 1.0
