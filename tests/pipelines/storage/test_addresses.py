"""Addresses for reading and writing: three slashes are relative, four absolute."""

import re
from pathlib import Path

import duckdb
import pytest
from sqlalchemy.engine import make_url

from renewals.pipelines.runtime.errors import ConfigError, MissingInputError, OutputError
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.addresses import existing_file, file_address, redact_url, scheme_of, writable_file

NAMES = ("x.duckdb", "with space.duckdb", 'it\'s "here".duckdb', "公司 数据.duckdb", "a#b@c:d.duckdb", "100%.duckdb")


@pytest.fixture
def current_folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_three_slashes_are_relative_and_four_absolute(current_folder, name):
    Path(name).touch()
    for address in (f"duckdb:///{name}", f"duckdb:///{current_folder}/{name}"):
        assert existing_file(address, "--tables") == writable_file(address, "--to") == current_folder / name


@pytest.mark.parametrize("name", [*NAMES, "what?.duckdb", "20%20.duckdb"])
def test_absolute_file_address_has_the_same_path_here_and_in_sqlalchemy(current_folder, name):
    Path(name).touch()
    address = file_address("duckdb", Path(name))
    assert address.startswith("duckdb:////")
    assert existing_file(address, "--tables") == current_folder / name
    assert make_url(address).database == str(current_folder / name)


def test_percent_signs_are_decoded(current_folder):
    (current_folder / "a b.duckdb").touch()
    assert existing_file("duckdb:///a%20b.duckdb", "--tables") == current_folder / "a b.duckdb"


def test_scheme_is_case_insensitive_and_empty_for_a_folder():
    addressed = {a: scheme_of(a) for a in ("DuckDB:///x", "postgres://h/d", "postgresql://h/d", "data/company", "/a")}
    assert list(addressed.values()) == ["duckdb", "postgresql", "postgresql", "", ""]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("duckdb://x.duckdb", "write duckdb:///x.duckdb for a path from the current folder, or duckdb:////PATH/"),
        ("duckdb://folder/x.duckdb", "write duckdb:///folder/x.duckdb for"),
        ("duckdb:///", "names no file"),
        ("duckdb://", "names no file"),
        ("duckdb:///:memory:", "names no file"),
        ("duckdb:///x.duckdb?access_mode=READ_ONLY", "options after ? are not known"),
    ],
)
@pytest.mark.parametrize("read", [existing_file, writable_file])
def test_error_for_an_address_without_a_file_contains_the_correct_form(current_folder, address, message, read):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(address, "--to")
    assert list(current_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("malformed", "form"),
    [("duckdb:x.duckdb", "duckdb:///FILE"), ("duckdb:/x", "duckdb:///FILE"), ("postgresql:h/d", "postgresql://HOST")],
)
def test_an_address_with_a_missing_slash_is_refused(malformed, form):
    with pytest.raises(ConfigError, match=form):
        addresses.reject_malformed_address(malformed, "--tables")
    addresses.reject_malformed_address("data/company", "--tables")


def test_reading_error_proposes_four_slashes_if_only_the_absolute_file_exists(current_folder):
    file = current_folder / "there.duckdb"
    file.touch()
    address = f"duckdb:///{str(file)[1:]}"
    with pytest.raises(MissingInputError, match=re.escape(f"For {file} write duckdb:///{file};")):
        existing_file(address, "--tables")
    assert existing_file(f"duckdb:///{file}", "--tables") == file


@pytest.mark.parametrize("file_exists", [True, False])
def test_writing_error_proposes_four_slashes_if_only_the_absolute_folder_exists(current_folder, file_exists):
    file = current_folder / "there.duckdb"
    if file_exists:
        file.touch()
    with pytest.raises(ConfigError, match=re.escape(f"write duckdb:///{file};")):
        writable_file(f"duckdb:///{str(file)[1:]}", "--to")


def test_the_form_proposed_for_the_current_folder_is_accepted(current_folder):
    file = current_folder / "there.duckdb"
    file.touch()
    with pytest.raises(ConfigError) as raised:
        writable_file(f"duckdb:///{str(file)[1:]}", "--to")
    form = re.search(r"for the current folder write (\S+)", str(raised.value))[1]
    (current_folder / str(file.parent)[1:]).mkdir(parents=True)
    assert writable_file(form, "--to") == current_folder / str(file)[1:]


def test_a_relative_file_is_created_in_the_current_folder(current_folder):
    assert writable_file("duckdb:///new.duckdb", "--to") == current_folder / "new.duckdb"
    with duckdb.connect(str(writable_file("duckdb:///new.duckdb", "--to"))):
        assert (current_folder / "new.duckdb").exists()
    assert not Path("/new.duckdb").exists()


def test_error_for_a_missing_folder_names_it(current_folder):
    with pytest.raises(OutputError, match=re.escape(f"there is no folder {current_folder / 'no'}: create it first")):
        writable_file("duckdb:///no/x.duckdb", "--to")
    with pytest.raises(MissingInputError, match=re.escape(f"there is no file {current_folder / 'no' / 'x.duckdb'}")):
        existing_file("duckdb:///no/x.duckdb", "--tables")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@db.example:5433/crm?password=secret", "postgresql://db.example:5433/crm"),
        ("postgresql://me:secret@db:port/crm?password=secret", "postgresql://db:port/crm"),
        ("postgresql://me:secret@[::1/crm", "postgresql://[::1/crm"),
        ("duckdb:////data/公司.duckdb", "duckdb:////data/公司.duckdb"),
        ("data/company", "data/company"),
    ],
)
def test_redacted_text_contains_no_secret(address, shown):
    assert redact_url(address) == shown
    password = "secret" if "secret" in address else "nothing"
    assert "secret" not in addresses.redact_secrets(f"no answer from {address}: {password}", address)
