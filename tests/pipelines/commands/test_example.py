"""`renewals example` and `renewals demo`: tables to try everything on, and nobody's own tables lost to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from renewals.pipelines.cli import app

SMALL = ("--set", "demo.accounts=12", "--set", "demo.months=24")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def renewals(*words: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, [*words, *SMALL])
    return outcome.exit_code, outcome.output


def test_the_example_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    code, output = renewals("example")
    told = json.loads(next(line for line in output.splitlines() if line.startswith('{"rows')))
    assert (code, told["tables"], told["rows"]["accounts"]) == (0, "demo/company", 12)
    assert (tmp_path / "demo" / "company" / "accounts.parquet").is_file()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", [("example", "--out", "mine/company"), ("demo", "--data", "mine")])
def test_own_tables_are_never_replaced(command: tuple[str, ...], tmp_path: Path) -> None:
    own = tmp_path / "mine" / "company" / "accounts.csv"
    own.parent.mkdir(parents=True)
    own.write_text("account_id\nX\n")
    code, output = renewals(*command)
    assert code == 78
    assert "mine/company" in output
    assert "accounts.csv" in output
    assert [path.name for path in own.parent.iterdir()] == ["accounts.csv"]
    assert own.read_text() == "account_id\nX\n"


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    code, output = renewals("example", "--out", "taken/under/company")
    assert code == 74
    assert "cannot be written" in output
