"""Tests of the folder of the example company: complete, can be written again, and no foreign file is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from renewals.examples.company import Company, ForeignFolderError, simulate_company, write_company
from renewals.examples.company import folder as module
from renewals.examples.company.__main__ import main
from renewals.examples.company.folder import MARKER


@pytest.fixture(scope="module")
def company() -> Company:
    return simulate_company(12, 6, seed=1)


def file_contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_marker_names_every_file(company: Company, tmp_path: Path) -> None:
    folder = write_company(company, tmp_path / "company")
    assert json.loads((folder / MARKER).read_text())["files"].keys() == file_contents(folder).keys() - {MARKER}


def test_example_company_can_be_overwritten(company: Company, tmp_path: Path) -> None:
    before = file_contents(write_company(company, tmp_path))
    write_company(simulate_company(12, 6, seed=2), tmp_path)
    assert file_contents(tmp_path).keys() == before.keys()
    assert file_contents(tmp_path) != before
    assert file_contents(write_company(company, tmp_path)) == before


FOREIGN_CHANGES = {
    "tables_in_csv": lambda folder: (folder / "accounts.csv").write_text("account_id\nX\n"),
    "one_table_replaced": lambda folder: (folder / "accounts.parquet").write_bytes(b"mine"),
    "one_table_added": lambda folder: (folder / "my_contracts.parquet").write_bytes(b"mine"),
    "a_file_in_the_truth": lambda folder: (folder / "ground_truth" / "notes.md").write_text("mine"),
    "a_hidden_file": lambda folder: (folder / ".notes").write_text("mine"),
    "the_marker_removed": lambda folder: (folder / MARKER).unlink(),
    "the_marker_corrupted": lambda folder: (folder / MARKER).write_text("[]"),
    "the_marker_of_another_program": lambda folder: (folder / MARKER).write_text(
        (folder / MARKER).read_text().replace(module.CREATED_BY, "me")
    ),
}


@pytest.mark.parametrize("change", FOREIGN_CHANGES)
def test_foreign_files_are_not_overwritten(change: str, company: Company, tmp_path: Path) -> None:
    folder = write_company(company, tmp_path / "company")
    FOREIGN_CHANGES[change](folder)
    before = file_contents(folder)
    with pytest.raises(ForeignFolderError, match="nothing was written"):
        write_company(company, folder)
    assert file_contents(folder) == before


def test_file_created_during_writing_is_not_overwritten(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "company"
    folder.mkdir()

    def add_foreign_file(tables: Company, unfinished: Path) -> None:
        (folder / "accounts.csv").write_text("account_id\nX\n")

    monkeypatch.setattr(module, "_write_tables", add_foreign_file)
    with pytest.raises(ForeignFolderError):
        write_company(company, folder)
    assert (folder / "accounts.csv").read_text() == "account_id\nX\n"


def test_file_at_the_path_of_the_folder_is_not_overwritten(company: Company, tmp_path: Path) -> None:
    (tmp_path / "company").write_text("mine")
    with pytest.raises(ForeignFolderError):
        write_company(company, tmp_path / "company")
    assert (tmp_path / "company").read_text() == "mine"


def test_command_refuses_a_foreign_folder_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "accounts.csv").write_text("account_id\nX\n")
    monkeypatch.setattr("sys.argv", ["company", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 78
    assert "accounts.csv" in capsys.readouterr().err
