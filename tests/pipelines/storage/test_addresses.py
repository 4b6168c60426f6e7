"""One meaning of an address for reading and for writing: three slashes are relative, four absolute."""

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
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_three_slashes_are_relative_and_four_absolute(here, name):
    Path(name).touch()
    for address in (f"duckdb:///{name}", f"duckdb:///{here}/{name}"):
        assert existing_file(address, "--tables") == writable_file(address, "--to") == here / name


@pytest.mark.parametrize("name", [*NAMES, "what?.duckdb", "20%20.duckdb"])
def test_the_absolute_address_of_a_file_leads_back_to_it_here_and_in_sqlalchemy(here, name):
    Path(name).touch()
    address = file_address("duckdb", Path(name))
    assert address.startswith("duckdb:////")
    assert existing_file(address, "--tables") == here / name
    assert make_url(address).database == str(here / name)


def test_percent_signs_are_decoded(here):
    (here / "a b.duckdb").touch()
    assert existing_file("duckdb:///a%20b.duckdb", "--tables") == here / "a b.duckdb"


def test_the_scheme_may_be_in_capitals_and_a_folder_has_none():
    addressed = {a: scheme_of(a) for a in ("DuckDB:///x", "postgres://h/d", "postgresql://h/d", "data/company", "/a")}
    assert list(addressed.values()) == ["duckdb", "postgresql", "postgresql", "", ""]


@pytest.mark.parametrize(
    ("address", "said"),
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
def test_an_address_without_a_file_says_how_to_write_one(here, address, said, read):
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(address, "--to")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("lost", "form"),
    [("duckdb:x.duckdb", "duckdb:///FILE"), ("duckdb:/x", "duckdb:///FILE"), ("postgresql:h/d", "postgresql://HOST")],
)
def test_an_address_that_lost_a_slash_is_no_folder(lost, form):
    with pytest.raises(ConfigError, match=form):
        addresses.reject_malformed_address(lost, "--tables")
    addresses.reject_malformed_address("data/company", "--tables")


def test_where_only_the_absolute_file_exists_reading_names_four_slashes(here):
    file = here / "there.duckdb"
    file.touch()
    address = f"duckdb:///{str(file)[1:]}"
    with pytest.raises(MissingInputError, match=re.escape(f"For {file} write duckdb:///{file};")):
        existing_file(address, "--tables")
    assert existing_file(f"duckdb:///{file}", "--tables") == file


@pytest.mark.parametrize("file_exists", [True, False])
def test_where_only_the_absolute_place_exists_writing_names_four_slashes(here, file_exists):
    file = here / "there.duckdb"
    if file_exists:
        file.touch()
    with pytest.raises(ConfigError, match=re.escape(f"write duckdb:///{file};")):
        writable_file(f"duckdb:///{str(file)[1:]}", "--to")


def test_the_form_that_the_refusal_names_for_the_current_folder_is_taken(here):
    file = here / "there.duckdb"
    file.touch()
    with pytest.raises(ConfigError) as stopped:
        writable_file(f"duckdb:///{str(file)[1:]}", "--to")
    form = re.search(r"for the current folder write (\S+)", str(stopped.value))[1]
    (here / str(file.parent)[1:]).mkdir(parents=True)
    assert writable_file(form, "--to") == here / str(file)[1:]


def test_a_relative_file_is_made_here_and_never_at_the_root(here):
    assert writable_file("duckdb:///new.duckdb", "--to") == here / "new.duckdb"
    with duckdb.connect(str(writable_file("duckdb:///new.duckdb", "--to"))):
        assert (here / "new.duckdb").exists()
    assert not Path("/new.duckdb").exists()


def test_a_folder_that_is_nowhere_is_named(here):
    with pytest.raises(OutputError, match=re.escape(f"there is no folder {here / 'no'}: create it first")):
        writable_file("duckdb:///no/x.duckdb", "--to")
    with pytest.raises(MissingInputError, match=re.escape(f"there is no file {here / 'no' / 'x.duckdb'}")):
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
def test_what_is_secret_is_never_shown(address, shown):
    assert redact_url(address) == shown
    said = "secret" if "secret" in address else "nothing"
    assert "secret" not in addresses.redact_secrets(f"no answer from {address}: {said}", address)
