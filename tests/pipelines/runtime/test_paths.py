"""Project root and tables address, inside and outside of a DVC experiment."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from typer.testing import CliRunner

from renewals.pipelines.cli import app
from renewals.pipelines.runtime.paths import DVC_ROOT, project_root, tables_address


@pytest.fixture(autouse=True)
def _temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DVC_ROOT, raising=False)


def enter_experiment_copy(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the copy of an experiment below `root`, make it the current folder, and return it."""
    copy = root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv(DVC_ROOT, str(root))
    return copy


def test_outside_dvc_the_project_is_the_current_folder() -> None:
    assert project_root() == Path()


def test_in_the_workspace_the_project_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DVC_ROOT, str(tmp_path))
    assert project_root() == Path()


def test_in_an_experiment_copy_the_project_is_the_folder_of_the_dvc_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = enter_experiment_copy(tmp_path, monkeypatch)
    assert project_root() == tmp_path
    (copy / "churn").mkdir()
    monkeypatch.chdir(copy / "churn")
    assert project_root() == tmp_path / "churn", "a project in a subfolder of a repository"


def test_a_project_in_a_subfolder_of_a_repository_is_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "churn").mkdir()
    monkeypatch.chdir(tmp_path / "churn")
    monkeypatch.setenv(DVC_ROOT, str(tmp_path))
    assert project_root() == Path()


# --- address of the tables ---------------------------------------------------------------------------

CONFIGURED = {
    "data/company": "{root}/data/company",
    "/abs/company": "/abs/company",
    "duckdb:///tables.duckdb": "duckdb:///{root}/tables.duckdb",
    "duckdb:////abs/tables.duckdb": "duckdb:////abs/tables.duckdb",
    "postgresql://user@host:5433/company": "postgresql://user@host:5433/company",
    "postgresql:///company": "postgresql:///company",
}


@pytest.mark.parametrize("configured", CONFIGURED)
def test_a_configured_address_is_relative_to_the_project(
    configured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tables_address(configured) == configured
    enter_experiment_copy(tmp_path, monkeypatch)
    assert tables_address(configured) == CONFIGURED[configured].format(root=tmp_path)


def test_an_address_from_an_option_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_experiment_copy(tmp_path, monkeypatch)
    assert tables_address("data/company", "mine") == "mine"


READERS = ("explain", "whatif")
"""Commands that need a published list first, and fail without it."""


def test_every_command_reads_the_configured_tables(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tables: where/they/are\n")
    for command in app.registered_commands:
        function = command.callback
        assert function is not None
        parameters = inspect.signature(function).parameters
        if "tables" not in parameters or function.__name__ in READERS:
            continue
        days = [f"--{name.replace('_', '-')}=2026-06-01" for name in ("until", "as_of") if name in parameters]
        outcome = CliRunner().invoke(app, [function.__name__, *days])
        assert outcome.exit_code == 66, function.__name__
        assert "where/they/are" in outcome.output, function.__name__
