"""The folder of the example company: written whole, written again, and never over the files of somebody else."""

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


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_marker_names_every_file(company: Company, tmp_path: Path) -> None:
    folder = write_company(company, tmp_path / "company")
    assert json.loads((folder / MARKER).read_text())["files"].keys() == everything(folder).keys() - {MARKER}


def test_an_example_company_is_written_again(company: Company, tmp_path: Path) -> None:
    before = everything(write_company(company, tmp_path))
    write_company(simulate_company(12, 6, seed=2), tmp_path)
    assert everything(tmp_path).keys() == before.keys()
    assert everything(tmp_path) != before
    assert everything(write_company(company, tmp_path)) == before


FOREIGN = {
    "tables_in_csv": lambda folder: (folder / "accounts.csv").write_text("account_id\nX\n"),
    "one_table_replaced": lambda folder: (folder / "accounts.parquet").write_bytes(b"mine"),
    "one_table_added": lambda folder: (folder / "my_contracts.parquet").write_bytes(b"mine"),
    "a_file_in_the_truth": lambda folder: (folder / "ground_truth" / "notes.md").write_text("mine"),
    "a_hidden_file": lambda folder: (folder / ".notes").write_text("mine"),
    "the_marker_removed": lambda folder: (folder / MARKER).unlink(),
    "the_marker_harmed": lambda folder: (folder / MARKER).write_text("[]"),
    "the_marker_of_others": lambda folder: (folder / MARKER).write_text(
        (folder / MARKER).read_text().replace(module.CREATED_BY, "me")
    ),
}


@pytest.mark.parametrize("change", FOREIGN)
def test_what_it_did_not_write_stays(change: str, company: Company, tmp_path: Path) -> None:
    folder = write_company(company, tmp_path / "company")
    FOREIGN[change](folder)
    before = everything(folder)
    with pytest.raises(ForeignFolderError, match="nothing was written"):
        write_company(company, folder)
    assert everything(folder) == before


def test_a_file_that_comes_while_the_company_is_written_stays(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "company"
    folder.mkdir()

    def slow(tables: Company, unfinished: Path) -> None:
        (folder / "accounts.csv").write_text("account_id\nX\n")

    monkeypatch.setattr(module, "_write_tables", slow)
    with pytest.raises(ForeignFolderError):
        write_company(company, folder)
    assert (folder / "accounts.csv").read_text() == "account_id\nX\n"


def test_a_file_in_the_place_of_the_folder_stays(company: Company, tmp_path: Path) -> None:
    (tmp_path / "company").write_text("mine")
    with pytest.raises(ForeignFolderError):
        write_company(company, tmp_path / "company")
    assert (tmp_path / "company").read_text() == "mine"


def test_the_command_refuses_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "accounts.csv").write_text("account_id\nX\n")
    monkeypatch.setattr("sys.argv", ["company", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 78
    assert "accounts.csv" in capsys.readouterr().err
