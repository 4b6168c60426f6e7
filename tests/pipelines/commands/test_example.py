"""`renewals example` and `renewals demo` write example tables and never replace existing tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from renewals.pipelines.cli import app

SMALL = ("--set", "demo.accounts=12", "--set", "demo.months=24")


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def renewals(*arguments: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, [*arguments, *SMALL])
    return outcome.exit_code, outcome.output


def test_the_example_is_written_to_its_default_folder(tmp_path: Path) -> None:
    code, output = renewals("example")
    result = json.loads(next(line for line in output.splitlines() if line.startswith('{"rows')))
    assert (code, result["tables"], result["rows"]["accounts"]) == (0, "demo/company", 12)
    assert (tmp_path / "demo" / "company" / "accounts.parquet").is_file()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", [("example", "--out", "mine/company"), ("demo", "--data", "mine")])
def test_existing_tables_are_never_replaced(command: tuple[str, ...], tmp_path: Path) -> None:
    existing = tmp_path / "mine" / "company" / "accounts.csv"
    existing.parent.mkdir(parents=True)
    existing.write_text("account_id\nX\n")
    code, output = renewals(*command)
    assert code == 78
    assert "mine/company" in output
    assert "accounts.csv" in output
    assert [path.name for path in existing.parent.iterdir()] == ["accounts.csv"]
    assert existing.read_text() == "account_id\nX\n"


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    code, output = renewals("example", "--out", "taken/under/company")
    assert code == 74
    assert "cannot be written" in output
