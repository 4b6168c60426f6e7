"""Titles in many scripts get the same tiers from a folder of files and from PostgreSQL, and Spark reads these tiers."""

from __future__ import annotations

import unicodedata
from datetime import datetime

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.storage.engine import spark
from tests.engines.warehouses import InPostgres

TIERS = {
    "S": ("Geschäftsführer", "directeur général", "президент", "대표", "代表取締役", "总经理", "מנכ״ל", "!assistant"),
    "A": ("dirección", "διευθυντής", "ผู้จัดการ", "مدير", "*leiter"),
}
TITLES = {
    "GESCHÄFTSFÜHRER": "S",
    unicodedata.normalize("NFD", "Directeur Général"): "S",
    "Вице-президент": "S",
    "대표이사": "S",
    "株式会社代表取締役": "S",
    "副总经理": "S",
    'מנכ"ל': "S",
    "ＤＩＲＥＣＣＩＯＮ": "A",
    "ΔΙΕΥΘΥΝΤΗΣ": "A",
    "ผู้จัดการฝ่ายขาย": "A",
    "مدير المبيعات": "A",
    "Abteilungsleiter": "A",
    "Assistant to the Geschäftsführer": None,
    "Sachbearbeiter": None,
}
START = datetime(2024, 1, 1)
TABLES = {
    "accounts": pa.table({"account_id": ["acme"]}),
    "contracts": pa.table(
        {
            "contract_id": ["c"],
            "account_id": ["acme"],
            "start_date": [START],
            "end_date": [datetime(2025, 1, 1)],
            "arr": [1.0],
        }
    ),
    "usage_events": pa.table(
        {"account_id": ["acme"], "user_id": [next(iter(TITLES))], "feature": ["x"], "occurred_at": [START]}
    ),
    "people": pa.table({"account_id": ["acme"] * len(TITLES), "user_id": list(TITLES), "title": list(TITLES)}),
}


def effective_tiers(tables, data) -> dict:
    settings = Settings(stakeholders={"tiers": TIERS})
    check(Job(settings, str(tables), data, data / "lists"))
    rows = pq.read_table(data / "clean" / "people.parquet").to_pylist()
    return {row["user_id"]: row["effective_tier"] for row in rows}


@pytest.fixture
def folder(tmp_path):
    for name, rows in TABLES.items():
        pq.write_table(rows, tmp_path / f"{name}.parquet")
    return tmp_path


def test_titles_from_a_folder_are_graded(folder, tmp_path):
    assert effective_tiers(folder, tmp_path / "data") == TITLES


@pytest.mark.postgres
def test_titles_from_postgres_get_the_same_tiers(postgres, tmp_path):
    database = InPostgres(postgres)
    for name, rows in TABLES.items():
        database.con.create_table(name, schema=ibis.Schema.from_pyarrow(rows.schema))
        with database.con.con.cursor() as cursor, cursor.copy(f'COPY "{name}" FROM STDIN') as copy:
            for row in rows.to_pylist():
                copy.write_row(list(row.values()))
    try:
        database.con.con.commit()
        assert effective_tiers(postgres, tmp_path) == TITLES
    finally:
        for name in TABLES:
            database.con.drop_table(name)
        database.con.con.commit()


@pytest.mark.parametrize("server", ["sail", pytest.param("spark_connect", marks=pytest.mark.spark)])
def test_spark_reads_the_tiers_that_check_wrote(server, request, folder, tmp_path):
    effective_tiers(folder, tmp_path / "data")
    con = spark.connect(request.getfixturevalue(server))
    rows = (
        spark.read_parquet_files(con, [tmp_path / "data" / "clean" / "people.parquet"])
        .select("title", "effective_tier")
        .to_pyarrow()
    )
    assert {row["title"]: row["effective_tier"] for row in rows.to_pylist()} == TITLES
