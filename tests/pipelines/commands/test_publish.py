"""The list in a database: complete or unchanged, the same after repeated writes, and with views for a CRM."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from renewals.pipelines.commands import publish
from renewals.pipelines.commands.publish import run_publish
from renewals.pipelines.runtime.errors import (
    ConfigError,
    DataContractError,
    MissingInputError,
    OutputError,
    ServiceUnavailableError,
)
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.storage.engine.atomic import write_bytes
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.published.list_folder import publish_folder
from renewals.reports.risk_list import to_parquet
from tests.postgres import running_postgres
from tests.reports.small_list import HOSTILE, make_list, observations

JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)
MODELS = {
    "renewal": {"name": "renewals-renewal", "version": "3"},
    "upsell": {"name": "renewals-upsell", "version": "1"},
}


def published(
    folder: Path, listed: pd.DataFrame, source: str = "june", models: dict | None = None, marks: dict | None = None
) -> Job:
    day = listed["as_of"].iloc[0].date()
    manifest = {"identity": {"made_of": source}, "as_of": str(day), "models": models or MODELS}
    about = manifest | {"language": "en", "code_revision": "abc"} | (marks or {})
    publish_folder(folder / "lists", day, {"risk_list.parquet": to_parquet(listed)}, about)
    return Job(Settings(), "", folder / "data", folder / "lists", as_of=day)


def a_list(day: date = JUNE, names: tuple[str, ...] = HOSTILE, model: str = "renewals-renewal/3") -> pd.DataFrame:
    rows = observations(names).assign(as_of=day)
    return make_list(rows).assign(renewal_model=model)


def archive_forecast(job: Job, expected: float, version: str = "3") -> None:
    """Archive a forecast of the day by a renewal model with the list."""
    about = {"key": "june", "as_of": str(job.day), "previous_list": None}
    write_bytes(list_archive.archive_folder(job, job.day) / list_archive.METADATA_FILE, json.dumps(about).encode())
    rows = pd.DataFrame({"period_kind": ["quarter"] * 2, "measure": ["arr_due", "gross_retention"]})
    folder = list_archive.archive_folder(job, job.day) / "forecast"
    write_bytes(folder / "forecast.parquet", rows.assign(expected=expected).to_parquet())
    models = {"renewal": {"name": "renewals-renewal", "version": version}}
    write_bytes(folder / "forecast.json", json.dumps({"as_of": str(job.day), "models": models}).encode())


@pytest.fixture
def job(tmp_path):
    return published(tmp_path, a_list())


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def to(request, tmp_path):
    """The address of an empty database."""
    if request.param == "duckdb":
        yield f"duckdb:///{tmp_path / 'company.duckdb'}"
        return
    import psycopg

    url = request.getfixturevalue("postgres")
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("DROP SCHEMA IF EXISTS renewals CASCADE")
    yield url


@pytest.fixture(scope="module")
def postgres():
    with running_postgres() as server:
        yield server.get_uri()


def query_rows(to: str, query: str) -> list[tuple]:
    if to.startswith("duckdb"):
        with duckdb.connect(to.removeprefix("duckdb:///")) as database:
            return database.execute(query).fetchall()
    import psycopg

    with psycopg.connect(to) as database:
        return database.execute(query).fetchall()


def counts(to: str) -> dict[str, int]:
    return {
        name: query_rows(to, f"SELECT count(*) FROM renewals.{name}")[0][0]
        for name in ("lists", "risk_list", "reasons")
    }


def test_every_value_is_written_as_in_the_list(job, to):
    result = run_publish(job, to, "renewals")
    listed = pq.read_table(job.lists / str(JUNE) / "risk_list.parquet").to_pylist()
    names = [name for name in listed[0] if name not in ("as_of", "renewal_model")]
    got = query_rows(to, f"SELECT {', '.join(names)} FROM renewals.risk_list ORDER BY account_id")
    assert got == [tuple(row[name] for name in names) for row in sorted(listed, key=lambda row: row["account_id"])]
    first_reasons = query_rows(to, "SELECT account_id, words FROM renewals.reasons WHERE kind = 'reason' AND place = 1")
    assert dict(first_reasons) == {row["account_id"]: row["reason_1"] for row in listed if row["reason_1"]}
    assert result["state"] == "written"
    assert result["rows"]["risk_list"] == len(HOSTILE)
    assert query_rows(to, "SELECT as_of, renewal_model, accounts FROM renewals.lists") == [
        (JUNE, "renewals-renewal/3", len(HOSTILE))
    ]


def test_a_second_write_changes_nothing(job, to):
    run_publish(job, to, "renewals")
    before, then = counts(to), query_rows(to, "SELECT CAST(written_at AS text) FROM renewals.lists")
    assert run_publish(job, to, "renewals")["state"] == "unchanged"
    assert (counts(to), query_rows(to, "SELECT CAST(written_at AS text) FROM renewals.lists")) == (before, then)


def test_a_revised_list_replaces_the_earlier_one(job, to, tmp_path):
    run_publish(job, to, "renewals")
    assert (
        run_publish(published(tmp_path, a_list(names=("acme", "beta")), "anew"), to, "renewals")["state"] == "replaced"
    )
    assert query_rows(to, "SELECT account_name FROM renewals.risk_list ORDER BY 1") == [("acme",), ("beta",)]
    assert counts(to)["lists"] == 1


def test_rows_that_were_lost_are_written_again(job, to):
    run_publish(job, to, "renewals")
    before = counts(to)
    if to.startswith("duckdb"):
        query_rows(to, "DELETE FROM renewals.risk_list WHERE account_id = 'a1'")
    else:
        query_rows(
            to, "WITH gone AS (DELETE FROM renewals.risk_list WHERE account_id = 'a1' RETURNING 1) SELECT * FROM gone"
        )
    assert run_publish(job, to, "renewals")["state"] == "replaced"
    assert counts(to) == before


def test_views_separate_the_newest_list_from_accounts_that_left(job, to, tmp_path):
    run_publish(job, to, "renewals")
    models = {"renewal": {"name": "renewals-renewal", "version": "4"}}
    fourth = a_list(model="renewals-renewal/4")
    run_publish(published(tmp_path, fourth, "by another", models), to, "renewals")
    run_publish(published(tmp_path, a_list(JULY, ("acme", "beta")), "july"), to, "renewals")
    assert counts(to)["lists"] == 3
    assert in_view(to, "newest_list") == [(f"a{i}", JULY, "renewals-renewal/3") for i in range(2)]
    left = [(f"a{i}", JUNE, "renewals-renewal/4") for i in range(2, len(HOSTILE))]
    assert in_view(to, "no_longer_listed") == sorted(left)
    run_publish(replace(job, as_of=JUNE), to, "renewals")
    assert {row[1] for row in in_view(to, "newest_list")} == {JULY}, "an older list written later is no newer"


def test_a_returning_account_is_not_among_accounts_that_left(job, to, tmp_path):
    for day, names in ((JUNE, HOSTILE), (JULY, ("acme",)), (AUGUST, ("acme", "beta"))):
        run_publish(published(tmp_path, a_list(day, names), str(day)), to, "renewals")
    assert [row[:2] for row in in_view(to, "newest_list")] == [("a0", AUGUST), ("a1", AUGUST)]
    gone = in_view(to, "no_longer_listed")
    assert len(gone) == len(HOSTILE) - 2
    assert {row[1] for row in gone} == {JUNE}


def in_view(to: str, name: str) -> list[tuple]:
    return sorted(query_rows(to, f"SELECT account_id, as_of, renewal_model FROM renewals.{name}"))


OLD_VIEW = """
    CREATE OR REPLACE VIEW renewals.newest_list AS
    SELECT lists.written_at, listed.*
    FROM (
        SELECT as_of, renewal_model, account_id, row_number() OVER (
            PARTITION BY account_id ORDER BY as_of DESC, written_at DESC, renewal_model DESC
        ) AS age
        FROM renewals.risk_list JOIN renewals.lists USING (as_of, renewal_model)
    ) AS newest
    JOIN renewals.risk_list AS listed USING (as_of, renewal_model, account_id)
    JOIN renewals.lists AS lists ON lists.as_of = listed.as_of AND lists.renewal_model = listed.renewal_model
    WHERE newest.age = 1
"""
"""View of release 0.1."""


@pytest.mark.parametrize("revised", [False, True])
def test_a_database_of_an_earlier_release_gets_the_new_views(job, to, tmp_path, revised):
    """Its lists have no hindsight column, and a view of the company reads from its view."""
    run_publish(job, to, "renewals")
    run_publish(published(tmp_path, a_list(JULY, ("acme",)), "july"), to, "renewals")
    for query in (
        "DROP VIEW renewals.no_longer_listed",
        "DROP VIEW renewals.newest_list",
        "ALTER TABLE renewals.lists DROP COLUMN hindsight",
        OLD_VIEW,
        "CREATE VIEW renewals.ours AS SELECT account_id FROM renewals.newest_list",
    ):
        changed(to, query)
    assert len(in_view(to, "newest_list")) == len(HOSTILE)
    names = ("acme", "beta") if revised else ("acme",)
    again = published(tmp_path, a_list(JULY, names), "anew" if revised else "july")
    assert run_publish(again, to, "renewals")["state"] == ("replaced" if revised else "unchanged")
    assert len(in_view(to, "newest_list")) == len(names)
    assert len(in_view(to, "no_longer_listed")) == len(HOSTILE) - len(names)
    assert len(query_rows(to, "SELECT * FROM renewals.ours")) == len(names)


def changed(to: str, query: str) -> None:
    if to.startswith("duckdb"):
        with duckdb.connect(to.removeprefix("duckdb:///")) as database:
            database.execute(query)
        return
    import psycopg

    with psycopg.connect(to, autocommit=True) as database:
        database.execute(query)


def with_hindsight(folder: Path, day: date = JULY, names: tuple[str, ...] = ("acme",)) -> Job:
    return published(folder, a_list(day, names), "hindsight", marks={"hindsight": True})


def test_a_hindsight_list_is_written_and_marked_and_in_no_view(job, to, tmp_path):
    run_publish(job, to, "renewals")
    run_publish(with_hindsight(tmp_path), to, "renewals")
    assert sorted(query_rows(to, "SELECT as_of, hindsight FROM renewals.lists")) == [(JUNE, False), (JULY, True)]
    assert {row[1] for row in in_view(to, "newest_list")} == {JUNE}
    assert in_view(to, "no_longer_listed") == []


def test_a_hindsight_list_never_replaces_a_list_made_in_time(job, to, tmp_path):
    run_publish(job, to, "renewals")
    before = counts(to)
    with pytest.raises(ConfigError, match=r"renewals\.lists holds the list of 2026-06-01 by renewals-renewal/3"):
        run_publish(with_hindsight(tmp_path / "elsewhere", JUNE), to, "renewals")
    assert counts(to) == before
    late = with_hindsight(tmp_path)
    run_publish(late, to, "renewals")
    assert run_publish(late, to, "renewals")["state"] == "unchanged"
    in_time = published(tmp_path, a_list(JULY, ("acme", "beta")), "in time")
    assert run_publish(in_time, to, "renewals")["state"] == "replaced"
    assert {row[1] for row in in_view(to, "newest_list")} == {JULY}


def test_an_error_during_a_write_leaves_the_database_unchanged(job, to, tmp_path, monkeypatch):
    run_publish(job, to, "renewals")
    before = counts(to)
    loaded = []

    def broken(self, table, rows):
        loaded.append(table)
        if len(loaded) == 3:
            raise OutputError("the disk is full")
        load(self, table, rows)

    kind = publish._DuckDB if to.startswith("duckdb") else publish._Postgres
    load = kind.load
    monkeypatch.setattr(kind, "load", broken)
    revised = published(tmp_path, a_list(names=("acme", "beta")), "anew")
    with pytest.raises(OutputError):
        run_publish(revised, to, "renewals")
    assert len(loaded) == 3
    assert counts(to) == before
    monkeypatch.undo()
    assert run_publish(revised, to, "renewals")["state"] == "replaced"


def killed_after(count: int, job: Job, to: str) -> None:
    """Write the list and kill the process after `count` loaded tables."""
    kind, loaded = publish._DuckDB if to.startswith("duckdb") else publish._Postgres, []
    load = kind.load

    def last(self, table, rows):
        load(self, table, rows)
        loaded.append(table)
        if len(loaded) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    kind.load = last
    run_publish(job, to, "renewals")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_kill_during_a_write_leaves_the_database_unchanged(job, to, tmp_path, count):
    run_publish(job, to, "renewals")
    before = counts(to)
    revised = published(tmp_path, a_list(names=("acme", "beta")), "anew")
    child = multiprocessing.get_context("fork").Process(target=killed_after, args=(count, revised, to))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert counts(to) == before
    assert run_publish(revised, to, "renewals")["state"] == "replaced"


def test_the_forecast_of_the_same_day_and_model_is_written(job, to):
    archive_forecast(job, 1.0)
    assert run_publish(job, to, "renewals")["rows"]["forecast"] == 2
    archive_forecast(job, 2.0)
    assert run_publish(job, to, "renewals")["state"] == "replaced"
    assert query_rows(to, "SELECT DISTINCT expected FROM renewals.forecast") == [(2.0,)]
    assert run_publish(job, to, "renewals")["state"] == "unchanged"
    archive_forecast(job, 9.0, version="2")
    result = run_publish(job, to, "renewals")
    assert (result["state"], "forecast" in result["rows"]) == ("unchanged", False)
    assert query_rows(to, "SELECT DISTINCT expected FROM renewals.forecast") == [(2.0,)]


def test_columns_of_a_later_release_are_added_to_tables_and_views(job, to, tmp_path, monkeypatch):
    shorter = pq.read_table(job.lists / str(JUNE) / "risk_list.parquet").drop_columns(["alerts"])
    read = pq.read_table
    monkeypatch.setattr(publish.pq, "read_table", lambda *_: shorter)
    run_publish(job, to, "renewals")
    monkeypatch.setattr(publish.pq, "read_table", read)
    run_publish(published(tmp_path, a_list(JULY, ("acme",)), "july"), to, "renewals")
    assert query_rows(to, "SELECT alerts FROM renewals.newest_list WHERE account_id = 'a0'") == [(None,)]


def test_incompatible_tables_are_refused(job, to, tmp_path):
    run_publish(job, to, "renewals")
    numbers = a_list().assign(account_id=range(len(HOSTILE)))
    with pytest.raises(
        ConfigError, match=r"renewals\.risk_list\.account_id is .* and bigint here: .* choose another --schema"
    ):
        run_publish(published(tmp_path, numbers, "numbers"), to, "renewals")
    assert run_publish(job, to, "second")["state"] == "written"


def test_invalid_addresses_and_lists_are_reported(job, tmp_path):
    with pytest.raises(ConfigError, match=r"--to: mysql://host/db is not a supported database"):
        run_publish(job, "mysql://me:secret@host/db", "renewals")
    with pytest.raises(ConfigError, match="--schema: 'a; DROP' is not a valid name"):
        run_publish(job, "duckdb:///x.duckdb", "a; DROP")
    with pytest.raises(MissingInputError, match=r"run `renewals score --as-of 2026-07-01` first"):
        run_publish(replace(job, as_of=JULY), "duckdb:///x.duckdb", "renewals")
    (tmp_path / "text.duckdb").write_text("no database at all")
    with pytest.raises(OutputError, match=r"text\.duckdb is not a DuckDB file"):
        run_publish(job, f"duckdb:///{tmp_path / 'text.duckdb'}", "renewals")
    damaged = job.lists / str(JUNE) / "risk_list.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataContractError, match=r"risk_list\.parquet differs from its manifest"):
        run_publish(job, "duckdb:///x.duckdb", "renewals")


def test_a_relative_address_is_resolved_and_the_result_contains_the_full_path(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_publish(job, "duckdb:///x.duckdb", "renewals")
    assert (tmp_path / "x.duckdb").is_file()
    assert not Path("/x.duckdb").exists()
    assert result["to"] == f"duckdb:///{tmp_path}/x.duckdb"
    assert run_publish(job, result["to"], "renewals")["state"] == "unchanged"


def test_an_absolute_path_with_three_slashes_is_refused(job, tmp_path):
    with pytest.raises(ConfigError, match=f"write duckdb:///{tmp_path}/x.duckdb"):
        run_publish(job, f"duckdb://{tmp_path}/x.duckdb", "renewals")
    assert not (tmp_path / "x.duckdb").exists()


@pytest.mark.parametrize("name", ["renewals", "Renewals", "main", "memory", "temp", "system", "表 格"])
def test_the_file_may_have_the_name_of_a_schema(job, tmp_path, name):
    to = f"duckdb:///{tmp_path / name}.duckdb"
    assert run_publish(job, to, "renewals")["state"] == "written"
    assert run_publish(job, to, "renewals")["state"] == "unchanged"
    with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as database:
        (catalog,) = database.execute("SELECT current_database()").fetchone()
        query = f'SELECT count(*) FROM "{catalog}".renewals.newest_list'
        assert database.execute(query).fetchone() == (len(HOSTILE),)


@pytest.mark.postgres
def test_an_unreachable_server_is_reported_without_its_password(job):
    with pytest.raises(
        ServiceUnavailableError, match=r"postgresql://127\.0\.0\.1:1/db.*nothing was written"
    ) as stopped:
        run_publish(job, "postgresql://me:secret@127.0.0.1:1/db", "renewals")
    assert "secret" not in str(stopped.value)


def test_tables_of_an_earlier_release_are_refused(job, tmp_path):
    """Their key is the account, and a key cannot be changed."""
    target = tmp_path / "x.duckdb"
    with duckdb.connect(str(target)) as database:
        database.execute("CREATE SCHEMA renewals")
        database.execute("CREATE TABLE renewals.risk_list (as_of date, renewal_model text, account_id text)")
    with pytest.raises(ConfigError, match=r"renewals\.risk_list has no renewal_id"):
        run_publish(job, f"duckdb:///{target}", "renewals")


def test_the_rows_of_an_account_are_all_in_the_database(tmp_path):
    """Of an account with two renewals both rows are listed, and both are no longer listed once it is gone."""
    june = a_list(names=("acme", "beta"))
    second = june[june["account_id"] == "a0"].assign(renewal_id="a0:2027-01-01", is_main=False, rank=None)
    target = f"duckdb:///{tmp_path / 'x.duckdb'}"
    run_publish(published(tmp_path, pd.concat([june, second], ignore_index=True)), target, "renewals")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        assert database.execute("SELECT count(*) FROM renewals.newest_list").fetchone() == (3,)
    july = a_list(JULY, names=("acme", "beta"))
    run_publish(published(tmp_path, july[july["account_id"] == "a1"], "july"), target, "renewals")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        gone = database.execute("SELECT renewal_id FROM renewals.no_longer_listed ORDER BY 1").fetchall()
    assert gone == [("a0:2026-09-01",), ("a0:2027-01-01",)]


def test_a_list_without_a_model_has_an_empty_model(tmp_path):
    listed = a_list().assign(renewal_model=None)
    run_publish(
        published(tmp_path, listed, models={"upsell": MODELS["upsell"]}), f"duckdb:///{tmp_path / 'x.duckdb'}", "r"
    )
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        assert database.execute("SELECT DISTINCT renewal_model FROM r.newest_list").fetchall() == [("",)]
