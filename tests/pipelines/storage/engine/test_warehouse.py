"""Equal clean tables from every kind of source, refusals of unreadable sources, and atomic writing."""

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
from tests.postgres import running_postgres

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
    permissive = {
        "quarantine": {"limit": 1.0, "duplicate_limit": 1.0, "allow_majority": list(TABLES)},
        "engine": {"threads": 1},
    }
    return Job(Settings.model_validate(permissive | settings), str(tables), data, data / "lists")


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
            arrow_table = pa.Table.from_pylist(rows)
            database.register("arrow_table", arrow_table)
            database.execute(f"CREATE TABLE {name} AS FROM arrow_table ORDER BY ALL DESC")
            database.unregister("arrow_table")
    return f"duckdb:///{path}"


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Clean tables of the company from Parquet files."""
    data = tmp_path_factory.mktemp("parquet")
    check(job(as_parquet(data / "in"), data))
    return clean(data)


# --- equal tables from every source --------------------------------------------------------------


def test_csv_gives_the_same_clean_tables(tmp_path, expected):
    check(job(as_csv(tmp_path / "in"), tmp_path))
    assert clean(tmp_path) == expected


def test_byte_order_mark_and_delimiter_do_not_change_the_clean_tables(tmp_path, expected):
    check(job(as_csv(tmp_path / "in", "utf-8-sig", ";"), tmp_path, source={"delimiter": ";"}))
    assert clean(tmp_path) == expected


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_a_declared_encoding_gives_the_same_clean_tables(tmp_path, expected, encoding):
    check(job(as_csv(tmp_path / "in", encoding), tmp_path, source={"encoding": encoding}))
    assert clean(tmp_path) == expected


def test_byte_order_mark_in_a_declared_encoding_is_ignored(tmp_path, expected):
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


def test_database_fingerprint_depends_on_rows_but_not_on_their_order(tmp_path):
    fingerprints = []
    for number, tables in enumerate((COMPANY, {n: r[::-1] for n, r in COMPANY.items()}, COMPANY | {"accounts": []})):
        rows = tables["accounts"] or [COMPANY["accounts"][0]]
        url = as_duckdb(tmp_path / f"{number}.duckdb", tables | {"accounts": rows})
        con = warehouse.connect()
        fingerprints.append(raw_tables.raw_tables(con, job(url, tmp_path), tmp_path)["accounts"].fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_folder_partitioned_by_month_gives_the_same_clean_tables(tmp_path, expected):
    """One month has an empty column without its type, and an additional column."""
    folder = as_parquet(tmp_path / "in [2026] * it's")
    (folder / "usage_events.parquet").unlink()
    for month, row in zip(("2024-01", "2024-02"), COMPANY["usage_events"], strict=True):
        part = folder / "usage_events" / f"month={month}" / "part-0.parquet"
        part.parent.mkdir(parents=True)
        arrow_table = pa.Table.from_pylist([row])
        if row["user_id"] is None:
            arrow_table = arrow_table.set_column(1, "user_id", pa.nulls(1, pa.int32())).append_column(
                "loaded", pa.array([1])
            )
        pq.write_table(arrow_table, part)
    (folder / "usage_events" / "_SUCCESS").write_bytes(b"")
    (folder / "usage_events" / "_tmp.parquet").write_bytes(b"half")
    check(job(folder, tmp_path))
    assert clean(tmp_path) == expected


def test_times_with_an_offset_become_utc(tmp_path):
    folder = as_csv(tmp_path / "in")
    written = [
        "2024-02-01T08:00:00+08:00",
        "2024-02-01 08:00:00.000+0800",
        "2024-01-31 19:00:00-05",
        "2024-02-01T00:00:00Z",
        "2024-02-01 00:00:00 UTC",
        "2024-02-01 08:00:00 Asia/Shanghai",
        "2024-02-01 00:00:00",
        "2024-02-01",
    ]
    lines = [f"acme,{number},f,{time}" for number, time in enumerate(written)]
    (folder / "usage_events.csv").write_text("account_id,user_id,feature,occurred_at\n" + "\n".join(lines))
    check(job(folder, tmp_path))
    assert [row["occurred_at"] for row in clean(tmp_path)["usage_events"]] == [T(2024, 2, 1)] * len(written)


def test_an_ambiguous_time_zone_abbreviation_is_quarantined(tmp_path):
    folder = as_csv(tmp_path / "in")
    rows = "account_id,user_id,feature,occurred_at\nacme,u,f,2024-02-01 08:00:00 CST\nacme,u,f,2024-02-01"
    (folder / "usage_events.csv").write_text(rows)
    check(job(folder, tmp_path))
    (quarantined,) = pq.read_table(tmp_path / "quarantine" / "usage_events.parquet").to_pylist()
    assert quarantined["reason"] == "occurred_at cannot be read as times: '2024-02-01 08:00:00 CST'"


def test_only_declared_null_values_are_missing(tmp_path):
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


# --- unreadable sources --------------------------------------------------------------------------


def test_undeclared_gb18030_error_names_file_byte_and_setting(tmp_path):
    folder = as_csv(tmp_path / "in", "gb18030")
    offset = (folder / "accounts.csv").read_bytes().index("安".encode("gb18030"))
    with pytest.raises(DataContractError) as raised:
        check(job(folder, tmp_path))
    assert f"accounts: accounts.csv is not utf-8: byte {offset} cannot be decoded" in str(raised.value)
    assert "--set source.encodings.accounts=gb18030" in str(raised.value)


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", "é"), ("gb18030", "安"), ("shift_jis", "日")])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_reported_byte_is_correct_where_a_chunk_ends_inside_a_character(
    tmp_path, monkeypatch, encoding, character, before
):
    monkeypatch.setattr(raw_table, "CHUNK_BYTES", 4)
    text = ("a" * before + character * 5).encode(encoding)
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
    ("content", "message"),
    [
        ("", "has no header line"),
        ("account_id,Account_ID\nacme,1", "two columns named 'account_id'"),
        ("account_id,region\nacme\n", "line 2 of the CSV file has 1 cells where the header has 2"),
        ("account_id,region\nacme,EU,secret\n", "line 2 of the CSV file has 3 cells where the header has 2"),
        ('account_id,region\nacme,"EU\n', "a quote is not closed"),
    ],
)
def test_csv_error_names_the_position(tmp_path, content, message):
    folder = as_csv(tmp_path / "in")
    (folder / "accounts.csv").write_text(content)
    with pytest.raises(DataContractError) as raised:
        check(job(folder, tmp_path))
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_unnamed_columns_are_ignored(tmp_path, expected):
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


def test_a_table_in_two_files_is_refused(tmp_path):
    as_csv(as_parquet(tmp_path / "in"))
    with pytest.raises(DataContractError, match=r"accounts exists twice: accounts\.parquet and accounts\.csv"):
        check(job(tmp_path / "in", tmp_path))


@pytest.mark.parametrize(
    ("tables", "error", "message"),
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
def test_an_invalid_source_is_refused_without_showing_secrets(tmp_path, tables, error, message):
    (tmp_path / "text.duckdb").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(error) as raised:
        check(job(tables.format(tmp=tmp_path), tmp_path))
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_tables_may_have_configured_names(tmp_path, expected):
    folder = as_parquet(tmp_path / "in")
    (folder / "accounts.parquet").rename(folder / "crm_accounts.parquet")
    check(job(folder, tmp_path, source={"table_names": {"accounts": "crm_accounts"}}))
    assert clean(tmp_path) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"table_names": {"accounts": "../accounts"}}, "not a valid name"),
        ({"table_names": {"accounts": "a; DROP TABLE b"}}, "not a valid name"),
        ({"table_names": {"account": "accounts"}}, "no table 'account'"),
        ({"encodings": {"account": "utf-8"}}, "no table 'account'"),
    ],
)
def test_names_from_the_configuration_are_checked(tmp_path, source, message):
    with pytest.raises(ConfigError, match=message):
        check(job(as_parquet(tmp_path / "in"), tmp_path, source=source))


@pytest.mark.parametrize("source", [{"encoding": "gbk2"}, {"encoding": "base64"}, {"schema_name": "a.b"}])
def test_invalid_source_settings_are_refused(source):
    with pytest.raises(ValidationError):
        Settings.model_validate({"source": source})


def test_a_duckdb_file_open_for_writing_in_another_process_is_refused(tmp_path):
    url = as_duckdb(tmp_path / "crm.duckdb")
    script = "import duckdb, sys; d = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    path = url.removeprefix("duckdb:///")
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=-1, stdout=-1) as writer:
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(ServiceUnavailableError, match="being written by another process"):
            check(job(url, tmp_path))
        writer.communicate(b"")


# --- DuckDB files and their views ----------------------------------------------------------------


def with_views(path, name_of="{catalog}.raw.{table}"):
    """Write the company's tables in schema `raw` and views on them in `main`; return the address.

    `name_of` is the format of the table name inside each view.
    """
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
def test_views_with_the_catalogue_name_of_their_file_are_readable(tmp_path, expected, name):
    check(job(with_views(tmp_path / f"{name}.duckdb"), tmp_path / "data"))
    assert clean(tmp_path / "data") == expected


@pytest.mark.parametrize("name_of", ["raw.{table}", '"raw"."{table}"'])
@pytest.mark.parametrize("name", ["memory", "crm"])
def test_views_with_schema_and_table_names_are_readable_in_a_file_of_any_name(tmp_path, expected, name, name_of):
    check(job(with_views(tmp_path / f"{name}.duckdb", name_of), tmp_path / "data"))
    assert clean(tmp_path / "data") == expected


def write_company_file(path, *statements):
    """Write the company's tables to a DuckDB file, execute `statements` on it, and return its address."""
    import duckdb

    address = as_duckdb(path)
    with duckdb.connect(str(path)) as database:
        for statement in statements:
            database.execute(statement)
    return address


@pytest.mark.parametrize(
    ("before", "view", "after", "message"),
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
def test_an_unreadable_view_is_named_with_the_cause(tmp_path, monkeypatch, before, view, after, message):
    import duckdb

    monkeypatch.chdir(tmp_path)
    with duckdb.connect("other.duckdb") as database:
        database.execute("CREATE TABLE a AS SELECT 'acme' AS account_id")
    address = write_company_file(
        tmp_path / "crm_tables.duckdb", before, "DROP TABLE accounts", f"CREATE VIEW accounts AS {view}", after
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataContractError, match=message) as raised:
        check(job(address, tmp_path / "data"))
    assert str(raised.value).startswith(f"accounts: main.accounts in {tmp_path / 'crm_tables.duckdb'} cannot be read: ")
    assert "into a table" in str(raised.value)


def test_a_renamed_file_is_readable_under_its_former_name(tmp_path, expected):
    """The error message proposes the former name; with that name the views are readable."""
    with_views(tmp_path / "company.duckdb")
    (tmp_path / "company.duckdb").rename(tmp_path / "copy.duckdb")
    with pytest.raises(DataContractError, match=r"if the file had the name company\.duckdb"):
        check(job(f"duckdb:///{tmp_path}/copy.duckdb", tmp_path / "data"))
    (tmp_path / "copy.duckdb").rename(tmp_path / "company.duckdb")
    check(job(f"duckdb:///{tmp_path}/company.duckdb", tmp_path / "data"))
    assert clean(tmp_path / "data") == expected


def set_future_version(path):
    """Give the file a storage version newer than every DuckDB, with a correct checksum."""
    import re
    import struct

    import duckdb

    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, 12, 200)
    path.write_bytes(content)
    with pytest.raises(duckdb.IOException) as checksum_error:
        duckdb.connect(str(path), read_only=True)
    struct.pack_into("<Q", content, 0, int(re.search(r"computed checksum (\d+)", str(checksum_error.value))[1]))
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:20_000])


def empty(path):
    path.write_bytes(b"")


def encrypt(path):
    import duckdb

    path.unlink()
    with duckdb.connect() as database:
        database.execute("SET force_mbedtls_unsafe = 'true'")
        database.execute(f"ATTACH '{path}' AS e (ENCRYPTION_KEY 'secret'); CREATE TABLE e.accounts AS SELECT 1 AS a")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (set_future_version, "was written by a newer DuckDB than the"),
        (encrypt, "is encrypted"),
        (truncate, "not a DuckDB file that can be read"),
        (empty, "not a DuckDB file that can be read"),
    ],
)
def test_unopenable_duckdb_file_error_names_the_cause(tmp_path, damage, message):
    address = as_duckdb(tmp_path / "clock.duckdb")  # "lock" in the file name is not a lock
    damage(tmp_path / "clock.duckdb")
    with pytest.raises(DataContractError, match=message):
        check(job(address, tmp_path / "data"))


def test_permission_denied_is_a_missing_input_error(tmp_path):
    import duckdb

    error = duckdb_tables._attach_error(tmp_path, duckdb.IOException('Cannot open file "x": Permission denied'))
    assert isinstance(error, MissingInputError)


# --- written files -------------------------------------------------------------------------------


@pytest.fixture
def con():
    return warehouse.connect()


def test_written_rows_are_counted_ordered_and_read_back(tmp_path, con):
    path = tmp_path / 'it\'s [a] "folder" *' / "rows.parquet"
    rows = ibis.memtable({"day": [date(2024, 1, 2), date(2024, 1, 1)], "name": ["b", "a"]})
    assert warehouse.write_parquet(rows, path, order_by=["day"]) == 2
    assert warehouse.read_parquet(con, path).to_pyarrow()["name"].to_pylist() == ["a", "b"]
    assert os.listdir(path.parent) == ["rows.parquet"]


def test_a_folder_of_parquet_parts_is_one_table(tmp_path, con):
    for month in ("2024-02", "2024-01"):
        warehouse.write_parquet(ibis.memtable({"x": [month]}), tmp_path / "days" / f"arrived={month}" / "part.parquet")
    assert sorted(warehouse.read_parquet(con, tmp_path / "days").to_pyarrow()["x"].to_pylist()) == [
        "2024-01",
        "2024-02",
    ]
    with pytest.raises(MissingInputError, match="no Parquet file at"):
        warehouse.read_parquet(con, tmp_path / "weeks")


def test_a_failed_write_leaves_the_existing_file(tmp_path, con):
    path = tmp_path / "rows.parquet"
    warehouse.write_parquet(ibis.memtable({"x": ["1"]}), path)
    before = path.read_bytes()
    failing = (
        warehouse.read_parquet(con, path).union(ibis.memtable({"x": ["no number"]})).mutate(x=ibis._.x.cast("int64"))
    )
    with pytest.raises(DataContractError, match=r"writing rows\.parquet"):
        warehouse.write_parquet(failing, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["rows.parquet"]


def test_an_unwritable_path_raises_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        atomic.write_bytes(tmp_path / "file" / "below", b"")
    with pytest.raises(OutputError):
        warehouse.write_parquet(ibis.memtable({"x": [1]}), tmp_path / "file" / "below.parquet")


def test_write_bytes_is_atomic(tmp_path, monkeypatch):
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


def test_a_half_finished_swap_after_a_crash_is_undone(tmp_path):
    check(job(as_parquet(tmp_path / "in"), tmp_path))
    (tmp_path / "clean").rename(tmp_path / ".clean.old")
    as_parquet(tmp_path / "in", COMPANY | {"contracts": [row | {"arr": -1.0} for row in COMPANY["contracts"]]})
    with pytest.raises(DataContractError):
        check(job(tmp_path / "in", tmp_path, quarantine={"limit": 0.0}))
    assert clean(tmp_path)["contracts"][0]["arr"] == 1200.5


def test_the_engine_uses_utc_and_its_configured_limits(con):
    names = ("TimeZone", "threads", "autoinstall_known_extensions")
    columns = ", ".join(f"current_setting('{name}')" for name in names)
    assert con.raw_sql(f"SELECT {columns}").fetchone() == ("UTC", 1, False)


def test_progress_bar_on_standard_output_is_disabled():
    expression = "warehouse.connect().raw_sql(\"SELECT current_setting('enable_progress_bar')\").fetchone()"
    process = subprocess.run(
        [sys.executable, "-c", f"from renewals.pipelines.storage.engine import warehouse; print({expression})"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert process.stdout.strip() == "(False,)"


def test_too_little_memory_names_the_setting(tmp_path):
    engine = Settings.model_validate({"engine": {"threads": 1, "memory": "20MB"}}).engine
    con = warehouse.connect(engine)
    con.raw_sql("SET temp_directory = ''")
    con.raw_sql("CREATE VIEW numbers AS SELECT range AS n, hash(range) AS h FROM range(5_000_000)")
    with pytest.raises(ConfigError, match=r"engine\.memory"):
        warehouse.write_parquet(con.table("numbers"), tmp_path / "n.parquet", order_by=["h"])


# --- Postgres ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres():
    """URL of a PostgreSQL server with the tables of the small company."""
    with running_postgres() as server:
        import psycopg

        with psycopg.connect(server.get_uri()) as database:
            database.execute(POSTGRES)
        yield server.get_uri()


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
def test_postgres_rows_that_break_the_contract_are_quarantined(postgres, tmp_path, expected):
    check(job(postgres, tmp_path, source={"schema_name": "bad"}))
    assert clean(tmp_path) == expected
    reasons = pq.read_table(tmp_path / "quarantine" / "contracts.parquet")["reason"].to_pylist()
    assert reasons == ["end_date is before 1900 or after 9999; arr is not a finite number"]
    reasons = pq.read_table(tmp_path / "quarantine" / "usage_events.parquet")["reason"].to_pylist()
    assert reasons == ["feature is empty"]


@pytest.mark.postgres
def test_missing_and_forbidden_postgres_tables_are_missing_inputs(postgres, tmp_path):
    with pytest.raises(MissingInputError, match="required table accounts, contracts, usage_events is missing"):
        check(job(postgres, tmp_path, source={"schema_name": "pg_toast"}))
    blind = postgres.replace("postgres:@", "blind@")
    with pytest.raises(MissingInputError, match="permission denied for table accounts"):
        check(job(blind, tmp_path, source={"schema_name": "bad"}))


@pytest.mark.postgres
def test_postgres_is_read_in_a_read_only_transaction(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "renewals.pipelines.storage.engine.raw.postgres.POSTGRES_COLUMNS_QUERY",
        "CREATE TABLE mine AS SELECT %s::text AS x",
    )
    with pytest.raises(ServiceUnavailableError, match="read-only transaction"):
        check(job(postgres, tmp_path))
