"""Exact ids from every source: whole numbers within 64 bits, text beyond, never converted to floats."""

from datetime import datetime
from decimal import Decimal, localcontext

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.prepare.check import check
from tests.pipelines.validation.test_check import certificate, clean, company, job, quarantined_rows
from tests.postgres import running_postgres

NEAR = 352_776_136_104_522_888
"""As floats, about the next 30 whole numbers are equal to it."""
LAST = 2**63 - 1
BEYOND = 10**25 + 1
DECIMAL = pa.decimal128(38, 0)


def array(values, kind):
    with localcontext(prec=80):
        is_decimal = pa.types.is_decimal(kind)
        return pa.array([Decimal(v) if is_decimal and v is not None else v for v in values], kind)


def write_tables(folder, ids, accounts=DECIMAL, contracts=DECIMAL, usage=DECIMAL, parents=None):
    """Write accounts with these ids, one contract and one usage event each; `accounts`, `contracts` and `usage` are the
    types of account_id in the three tables."""
    folder.mkdir(parents=True)
    n, day = len(ids), datetime(2024, 1, 1)
    names = {"account_id": array(ids, accounts), "account_name": pa.array([f"C{i}" for i in ids])}
    parent_column = {} if parents is None else {"parent_account_id": parents}
    pq.write_table(pa.table(names | parent_column), folder / "accounts.parquet")
    dates = {"start_date": [day] * n, "end_date": [datetime(2025, 1, 1)] * n, "arr": [1.0] * n}
    contract_ids = {"contract_id": [f"c{k}" for k in range(n)], "account_id": array(ids, contracts)}
    pq.write_table(pa.table(contract_ids | dates), folder / "contracts.parquet")
    events = {"account_id": array(ids, usage), "feature": ["x"] * n, "occurred_at": [day] * n}
    pq.write_table(pa.table(events), folder / "usage_events.parquet")
    return folder


def ids_of(data, table="accounts", column="account_id"):
    return [row[column] for row in clean(data, table)]


@pytest.mark.parametrize(
    "kind", [DECIMAL, pa.decimal128(30, 4), pa.uint64(), pa.int64(), pa.decimal256(50, 2)], ids=str
)
def test_ids_within_64_bits_are_exact_whole_numbers(tmp_path, kind):
    ids = [NEAR + k for k in range(20)] + [LAST, LAST - 1, 7]
    result = check(job(write_tables(tmp_path / "in", ids, kind, kind, kind), tmp_path))
    for table in ("accounts", "contracts", "usage_events"):
        assert sorted(ids_of(tmp_path, table)) == sorted(ids)
    assert result["warnings"] == []
    assert certificate(tmp_path)["tables"]["accounts"]["columns"]["account_id"]["type"] == "int64"


@pytest.mark.parametrize("kind", [DECIMAL, pa.decimal256(60, 1), pa.uint64()], ids=str)
def test_one_id_beyond_64_bits_makes_all_ids_of_its_kind_text(tmp_path, kind):
    beyond = BEYOND if pa.types.is_decimal(kind) else 2**64 - 1
    ids = [NEAR, NEAR + 1, beyond, beyond - 1]
    result = check(job(write_tables(tmp_path / "in", ids, kind, kind, kind), tmp_path))
    for table in ("accounts", "contracts", "usage_events"):
        assert sorted(ids_of(tmp_path, table)) == sorted(map(str, ids))
    (warning,) = result["warnings"]
    assert warning.startswith(f"accounts.account_id contains whole numbers beyond 64 bits, for example {beyond - 1}: ")
    assert "usage_events.account_id and in every output" in warning
    assert certificate(tmp_path)["warnings"] == [warning]


def test_equal_ids_of_different_types_are_equal_numbers(tmp_path):
    ids = [NEAR, NEAR + 1, LAST]
    parents = pa.array([7.0, None, 2.0**53])
    check(job(write_tables(tmp_path / "in", ids, DECIMAL, pa.int64(), pa.uint64(), parents), tmp_path))
    assert sorted(ids_of(tmp_path, "contracts")) == ids
    assert sorted(ids_of(tmp_path, "usage_events")) == ids
    assert ids_of(tmp_path, column="parent_account_id") == [7, None, 2**53]


def test_small_ids_are_text_if_another_table_has_ids_beyond_64_bits(tmp_path):
    folder = write_tables(tmp_path / "in", [NEAR, BEYOND], parents=pa.array([NEAR, None]))
    table = pq.read_table(folder / "contracts.parquet").slice(0, 1)
    position = table.column_names.index("account_id")
    pq.write_table(table.set_column(position, "account_id", pa.array([NEAR])), folder / "contracts.parquet")
    check(job(folder, tmp_path))
    assert ids_of(tmp_path, "contracts") == [str(NEAR)]
    assert sorted(ids_of(tmp_path)) == [str(BEYOND), str(NEAR)]
    assert str(NEAR) in ids_of(tmp_path, column="parent_account_id")


def test_text_and_numeric_ids_are_an_error_with_both_columns(tmp_path):
    folder = write_tables(tmp_path / "in", [NEAR, BEYOND])
    table = pq.read_table(folder / "contracts.parquet")
    position = table.column_names.index("account_id")
    text = table.set_column(position, "account_id", pa.array([str(NEAR), str(BEYOND)]))
    pq.write_table(text, folder / "contracts.parquet")
    message = r"contracts\.account_id contains text and accounts\.account_id contains whole numbers"
    with pytest.raises(DataContractError, match=message):
        check(job(folder, tmp_path))


def test_float_ids_are_valid_up_to_2_53_and_quarantined_beyond(tmp_path):
    floats = pa.array([2.0**53, 2.0**53 + 2, 1.5, None])
    check(job(write_tables(tmp_path / "in", [1, 2, 3, 4], parents=floats), tmp_path))
    assert [(row["account_id"], row["parent_account_id"]) for row in clean(tmp_path, "accounts")] == [
        (1, 2**53),
        (4, None),
    ]
    reasons = [row["reason"] for row in quarantined_rows(tmp_path, "accounts")]
    assert len(reasons) == 2
    assert all("not a whole number up to 2^53; larger floats have lost digits" in reason for reason in reasons)


def test_float_ids_are_converted_and_a_missing_id_is_quarantined(tmp_path):
    folder = write_tables(tmp_path / "in", [7, 8])
    table = pq.read_table(folder / "contracts.parquet")
    position = table.column_names.index("account_id")
    pq.write_table(table.set_column(position, "account_id", pa.array([7.0, None])), folder / "contracts.parquet")
    check(job(folder, tmp_path))
    assert [row["account_id"] for row in clean(tmp_path, "contracts")] == [7]
    assert len(quarantined_rows(tmp_path, "contracts")) == 1


def test_a_fractional_decimal_id_is_quarantined(tmp_path):
    folder = write_tables(
        tmp_path / "in", [NEAR, "7.5"], pa.decimal128(30, 2), pa.decimal128(30, 2), pa.decimal128(30, 2)
    )
    check(job(folder, tmp_path))
    assert ids_of(tmp_path) == [NEAR]
    (row,) = quarantined_rows(tmp_path, "accounts")
    assert row["reason"] == "account_id cannot be read as whole numbers: '7.50'"


def test_digits_in_csv_ids_stay_text(tmp_path):
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
    with duckdb.connect(str(tmp_path / "source.duckdb")) as database:
        rows = ", ".join(f"({account_id}::{kind})" for account_id in ids)
        database.execute(f"CREATE TABLE accounts AS SELECT * FROM (VALUES {rows}) AS ids(account_id)")
        database.execute(
            "CREATE TABLE contracts AS SELECT account_id::VARCHAR AS contract_id, account_id, "
            "DATE '2024-01-01' AS start_date, DATE '2025-01-01' AS end_date, 1.0 AS arr FROM accounts"
        )
        database.execute(
            "CREATE TABLE usage_events AS "
            "SELECT account_id, 'x' AS feature, DATE '2024-01-01' AS occurred_at FROM accounts"
        )
    check(job(f"duckdb:///{tmp_path / 'source.duckdb'}", tmp_path))
    expected = sorted(map(str, ids)) if is_text else ids
    assert sorted(ids_of(tmp_path)) == sorted(ids_of(tmp_path, "usage_events")) == expected


def test_partition_columns_are_read_with_wide_decimal_ids(tmp_path):
    folder = write_tables(tmp_path / "in", [NEAR, NEAR + 1], pa.decimal256(50, 0))
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
def postgres():
    """Address of an empty PostgreSQL server."""
    with running_postgres() as server:
        yield server.get_uri()


def write_to_postgres(url, ids, accounts, contracts, arr="numeric", parent="bigint"):
    import psycopg

    with psycopg.connect(url, autocommit=True) as database:
        database.execute("DROP SCHEMA IF EXISTS source CASCADE")
        database.execute("CREATE SCHEMA source")
        database.execute("SET search_path TO source")
        database.execute(f"CREATE TABLE accounts (account_id {accounts}, parent_account_id {parent})")
        database.execute(
            f"CREATE TABLE contracts (contract_id numeric(12,0), account_id {contracts}, start_date date, "
            f"end_date date, arr {arr})"
        )
        database.execute(f"CREATE TABLE usage_events (account_id {accounts}, feature text, occurred_at timestamptz)")
        for k, account_id in enumerate(ids):
            database.execute(f"INSERT INTO accounts VALUES ({account_id}, NULL)")
            database.execute(f"INSERT INTO contracts VALUES ({k}, {account_id}, '2024-01-01', '2025-01-01', '12.5')")
            database.execute(f"INSERT INTO usage_events VALUES ({account_id}, 'x', '2024-01-05')")
    return {"schema_name": "source"}


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["numeric", "numeric(38,0)", "numeric(30,3)", "bigint"])
def test_postgres_numeric_ids_within_64_bits_are_whole_numbers(postgres, tmp_path, kind):
    ids = [NEAR + k for k in range(10)] + [LAST]
    source = write_to_postgres(postgres, ids, kind, "bigint")
    assert check(job(postgres, tmp_path, source=source))["warnings"] == []
    for table in ("accounts", "contracts", "usage_events"):
        assert ids_of(tmp_path, table) == ids
    assert ids_of(tmp_path, "contracts", "contract_id") == list(range(11))
    assert {row["arr"] for row in clean(tmp_path, "contracts")} == {12.5}


@pytest.mark.postgres
def test_postgres_numeric_ids_beyond_64_bits_and_38_digits_are_text(postgres, tmp_path):
    ids = [7, NEAR, BEYOND, 10**45 + 1]
    source = write_to_postgres(postgres, ids, "numeric", "numeric(60,0)")
    (warning,) = check(job(postgres, tmp_path, source=source))["warnings"]
    assert "beyond 64 bits" in warning
    for table in ("accounts", "contracts", "usage_events"):
        assert sorted(ids_of(tmp_path, table)) == sorted(map(str, ids))


@pytest.mark.postgres
def test_a_fractional_postgres_numeric_id_is_quarantined(postgres, tmp_path):
    source = write_to_postgres(postgres, [NEAR, "7.5", "'NaN'"], "numeric", "numeric")
    check(job(postgres, tmp_path, source=source))
    assert ids_of(tmp_path) == [NEAR]
    assert sorted(row["account_id"] for row in quarantined_rows(tmp_path, "accounts")) == ["7.5", "NaN"]


@pytest.mark.postgres
def test_postgres_money_type_is_an_error_with_advice(postgres, tmp_path):
    source = write_to_postgres(postgres, [1], "bigint", "bigint", arr="money")
    with pytest.raises(DataContractError, match=r"contracts\.arr has PostgreSQL's type money.*arr::numeric AS arr"):
        check(job(postgres, tmp_path, source=source))


# --- actions from workbooks ----------------------------------------------------------------------


@pytest.mark.parametrize("has_table", [True, False])
def test_actions_on_accounts_beyond_64_bits_have_text_ids(tmp_path, has_table):
    folder = write_tables(tmp_path / "in", [BEYOND, BEYOND + 1])
    day = [datetime(2024, 2, 1)]
    action = {"playbook": ["visit"], "started_at": day}
    if has_table:
        actions = {"account_id": array([BEYOND + 1], DECIMAL)} | action
        pq.write_table(pa.table(actions), folder / "interventions.parquet")
    returned = tmp_path / "returned" / "interventions.parquet"
    returned.parent.mkdir()
    answer_columns = {"account_id": [str(BEYOND)], **action, "list_as_of": pa.array([datetime(2024, 1, 15).date()])}
    pq.write_table(pa.table(answer_columns | {"recorded_at": pa.array(day, pa.timestamp("us"))}), returned)
    check(job(folder, tmp_path))
    assert ids_of(tmp_path, "interventions") == [str(BEYOND)] + [str(BEYOND + 1)] * has_table
