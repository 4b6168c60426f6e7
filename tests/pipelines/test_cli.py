import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.stage import alone

ROOT = Path(__file__).parents[2]


def renewals(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)


def test_help_names_every_command():
    shown = renewals("--help").stdout
    for command in (
        *("demo", "check", "learn", "backtest", "tune", "score", "scorecard", "forecast", "effect", "explain"),
        *("promote", "rollback"),
    ):
        assert command in shown


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['renewals', '--help']\nfrom pipelines.cli import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pandas', 'ibis', 'duckdb', 'lightgbm', 'mlflow', 'numba', 'sklearn', 'shap', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("score", "--as-of", "20260601"), 78, "write it as YYYY-MM-DD"),
        (("score", "--as-of", "2026-02-30"), 78, "is not a day"),
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
        (("tune", "--until", "2026-06-01", "--set", "tune.ladders={folds.origins: [3]}"), 78, "ladders: folds.origins"),
        (("check", "--tables", "oracle://x"), 78, "oracle"),
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
def test_wrong_input_ends_in_words_and_its_exit_code(words, code, said, tmp_path):
    more = ("--data", str(tmp_path / "data")) if words[0] != "score" or len(words) > 1 else ()
    done = renewals(*words, *more)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_last_line_of_output_is_one_json_object(tmp_path):
    done = renewals("check", "--tables", str(tmp_path), "--data", str(tmp_path / "data"))
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["exit"] == done.returncode == 66


def test_a_second_run_in_the_same_folder_is_told_to_wait(tmp_path):
    with alone(tmp_path):
        done = renewals("check", "--tables", str(tmp_path), "--data", str(tmp_path))
    assert done.returncode == 75
    assert "another run works in" in done.stderr


def test_help_is_quick():
    """Three tries: the machine may be busy, the imports may not."""
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        renewals("--help")
        took.append(time.perf_counter() - begun)
    assert min(took) < 1.0
