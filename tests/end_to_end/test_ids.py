"""Ids too large for a float are exact to the digit in every stage, model and output."""

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
from tests.postgres import running_postgres
from tests.root import ROOT

pytestmark = pytest.mark.slow

NEAR_2_63 = 2**63 - 1 - 40_000
"""First id within 64 bits; as floats, all ids from it on are the same number."""
BEYOND = 10**24 + 7
"""First id with 25 digits."""
DECIMAL, LONG = pa.decimal128(38, 0), pa.int64()
ID_TYPES = {
    "near_2_63": (NEAR_2_63, {"accounts": DECIMAL, "contracts": LONG, "usage_events": LONG, "people": DECIMAL}),
    "beyond_64_bits": (BEYOND, {}),
}
"""First id of each entity, and the type of the ids per table; decimal if not listed."""


def renumber(folder: Path, first: int, kinds: dict[str, pa.DataType]) -> dict[str, int]:
    """Replace the ids in a company's tables by numbers from `first` on; return the account numbers by old id."""
    numbers: dict[str, dict[str, int]] = {}
    for table in TABLES.values():
        path = folder / f"{table.name}.parquet"
        if path.is_file():
            rows = pq.read_table(path)
            for column in table.columns.values():
                if column.type == ID and column.name in rows.column_names:
                    entity_numbers = numbers.setdefault(column.entity, {})
                    ids = _number(rows[column.name].to_pylist(), entity_numbers, first, kinds.get(table.name, DECIMAL))
                    rows = rows.set_column(rows.column_names.index(column.name), column.name, ids)
            pq.write_table(rows, path)
    return numbers["account"]


def _number(old_ids: list[str | None], numbers: dict[str, int], first: int, kind: pa.DataType) -> pa.Array:
    for old_id in old_ids:
        if old_id is not None:
            numbers.setdefault(old_id, first + len(numbers))
    with localcontext(prec=40):
        new_ids = {old_id: Decimal(number) if kind == DECIMAL else number for old_id, number in numbers.items()}
        return pa.array([None if old_id is None else new_ids[old_id] for old_id in old_ids], kind)


@pytest.fixture(scope="module", params=ID_TYPES)
def path(request, tmp_path_factory):
    """Job after `learn` and `score` on a company with large ids, folder of its list, account ids, result of `learn`."""
    work = tmp_path_factory.mktemp(request.param)
    write_company(simulate_company(accounts=260, months=26, seed=5), work / "company")
    first, kinds = ID_TYPES[request.param]
    numbers = renumber(work / "company", first, kinds)
    job = Job(read_settings(ROOT / "params.yaml", QUICK), str(work / "company"), work, work / "lists", until=DAY)
    learned = learn(job)
    job = replace(job, until=None, as_of=DAY)
    published = run_score(job)
    known = {number if first == NEAR_2_63 else str(number) for number in numbers.values()}
    return job, Path(published["folder"]), known, learned


def listed_ids(folder: Path) -> list:
    return pq.read_table(folder / "risk_list.parquet")["account_id"].to_pylist()


def test_all_stored_tables_contain_known_ids_only(path):
    job, folder, known, _ = path
    for file in [*job.data.rglob("*.parquet"), *folder.rglob("*.parquet")]:
        if "company" in file.relative_to(job.data).parts or "quarantine" in file.parts:
            continue
        schema = pq.read_schema(file)
        for name in ("account_id", "parent_account_id", "referred_account_id"):
            if name in schema.names:
                kind = schema.field(name).type
                assert pa.types.is_int64(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind), file
                ids = set(pq.read_table(file, columns=[name])[name].to_pylist()) - {None}
                assert ids <= known, f"{file}: {name}"


def test_no_row_is_quarantined_and_ids_stored_as_text_are_reported(path):
    job, _, known, _ = path
    report = json.loads((job.data / "validation_report.json").read_text())
    assert {table["rows_quarantined"] for table in report["tables"].values()} == {0}
    id_warnings = [line for line in report["warnings"] if "beyond 64 bits" in line]
    is_text = isinstance(next(iter(known)), str)
    assert len(id_warnings) == (4 if is_text else 0)
    if is_text:
        assert id_warnings[0].startswith(
            "accounts.account_id contains whole numbers beyond 64 bits, for example 100000000000000"
        )


def test_all_listed_accounts_have_different_ids(path):
    _, folder, known, _ = path
    ids = listed_ids(folder)
    assert len(set(ids)) == len(ids) > 100
    assert set(ids) <= known


def test_csv_has_every_digit_of_the_ids(path):
    _, folder, _, _ = path
    read = pd.read_csv(folder / "risk_list.csv", dtype=str)
    assert read["account_id"].tolist() == [str(listed_id) for listed_id in listed_ids(folder)]


def test_workbook_holds_ids_as_text(path):
    _, folder, known, _ = path
    texts = workbook_ids(folder)
    assert {str(account_id) for account_id in listed_ids(folder)} <= texts <= {str(account_id) for account_id in known}


def workbook_ids(folder: Path) -> set[str]:
    """Long ids in a workbook; fails if one of them is stored as a number."""
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
    long_numbers = re.findall(r'"?\d{17,}(?:\.\d+)?"?', page)
    ids = {str(account_id) for account_id in known}
    shown = [number for number in long_numbers if number.strip('"') in ids]
    assert {str(account_id) for account_id in listed_ids(folder)} <= {number.strip('"') for number in shown}
    assert all(number.startswith('"') and number.endswith('"') for number in shown)
    prefix = str(next(iter(known)))[:14]
    assert [
        number for number in long_numbers if number.strip('"').startswith(prefix) and number.strip('"') not in ids
    ] == []


def test_explain_and_whatif_use_the_right_account(path):
    job, folder, _, _ = path
    listed = pq.read_table(folder / "risk_list.parquet", columns=["account_id", "account_name", "status"]).to_pylist()
    for row in [row for row in listed if row["status"] == "scored"][:3]:
        account = str(row["account_id"])
        explanation = explain(job, account)
        assert (explanation["account"]["account_id"], explanation["account"]["account_name"]) == (
            account,
            row["account_name"],
        )
        assert explanation["rows_per_table"]["accounts"] == 1
        feature = next(
            item for item in explanation["features"] if isinstance(item["value"], float) and item["value"] > 0
        )
        tried = whatif(job, account, [f"{feature['feature']}={feature['value']}"])
        assert (tried["account_id"], tried["account_name"]) == (account, row["account_name"])
        assert tried["after"] == pytest.approx(tried["before"])


def test_publish_to_duckdb_writes_every_digit(path, tmp_path):
    job, folder, _, _ = path
    run_publish(job, f"duckdb:///{tmp_path / 'out.duckdb'}", "renewals")
    with duckdb.connect(str(tmp_path / "out.duckdb")) as database:
        written = {
            table: database.execute(f"SELECT account_id FROM renewals.{table}").fetchall() for table in WRITTEN_TABLES
        }
    assert_every_digit(written, folder)


@pytest.mark.postgres
def test_publish_to_postgres_writes_every_digit(path):
    job, folder, _, _ = path
    with running_postgres() as server:
        import psycopg

        run_publish(job, server.get_uri(), "renewals")
        with psycopg.connect(server.get_uri()) as database:
            select = "SELECT account_id FROM renewals.{}".format
            written = {table: database.execute(select(table)).fetchall() for table in WRITTEN_TABLES}
    assert_every_digit(written, folder)


WRITTEN_TABLES = ("risk_list", "reasons", "newest_list")


def assert_every_digit(written: dict[str, list[tuple]], folder: Path) -> None:
    listed = set(listed_ids(folder))
    assert {row[0] for row in written["risk_list"]} == {row[0] for row in written["newest_list"]} == listed
    assert {row[0] for row in written["reasons"]} <= listed


def test_a_managers_answer_belongs_to_the_right_account_also_in_the_next_list(path, tmp_path):
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
    for column, answer in zip(letters, answers, strict=True):
        book[title][f"{column}{row}"] = answer
    account = book[title][f"{letter}{row}"].value
    book.save(tmp_path / "back.xlsx")
    assert collect(replace(job, as_of=None), [tmp_path / "back.xlsx"], "2025-01-03")["accepted"] == 1
    (stored_id,) = pq.read_table(job.data / "feedback" / "interventions.parquet")["account_id"].to_pylist()
    assert str(stored_id) == account
    later = Path(run_score(replace(job, as_of=date(2025, 2, 1)))["folder"])
    clean = pq.read_table(job.data / "clean" / "interventions.parquet")["account_id"].to_pylist()
    assert stored_id in clean
    assert set(clean) <= known
    assert account in workbook_ids(later) <= {str(known_id) for known_id in known}
    started_sheets = [sheet for sheet in workbook(later / "risk_list.xlsx").worksheets if sheet["E1"].value == "Begun"]
    assert [sheet["B2"].value for sheet in started_sheets] == [account]
    changed = pq.read_table(later / "risk_list.parquet", columns=["account_id", "probability_change"]).to_pandas()
    same = changed["account_id"].isin(listed_ids(folder))
    assert changed.loc[same, "probability_change"].notna().mean() > 0.9
    assert changed.loc[~same, "probability_change"].isna().all()
