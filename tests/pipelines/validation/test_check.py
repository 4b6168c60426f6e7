"""`check`: validation of the tables against the contract, with a reason for every quarantined row."""

import json
import math
import re
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.features.tables import ID, TABLES, TIME
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.storage.notices import load_notices
from tests.root import ROOT

REAL_TABLES = ROOT.parent / "shared" / "data"

COMPANY = {
    "accounts": """
        account_id | account_name
        acme       | Acme Ltd
        quiet      | 安静有限公司
    """,
    "contracts": """
        contract_id | account_id | start_date | end_date   | arr
        c1          | acme       | 2024-01-01 | 2025-01-01 | 12000
        c2          | acme       | 2025-01-01 | 2026-01-01 | 15000
        c3          | quiet      | 2024-03-01 | 2025-03-01 | 800.50
    """,
    "usage_events": """
        account_id | user_id | feature | occurred_at
        acme       | u1      | report  | 2024-02-01 09:30:00
        acme       | u2      | export  | 2024-02-02
    """,
}


def parse_rows(table):
    """Rows of a table written with `|` between cells; an empty cell is an empty string."""
    header, *lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


def write_csv(path, rows, encoding="utf-8"):
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([row.get(name) or "" for name in names] for row in rows)]
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))


def company(folder, **tables):
    """Write the tables of the small company to CSV files, with `tables` replacing some, and return the folder."""
    for name, table in (COMPANY | tables).items():
        write_csv(folder / f"{name}.csv", parse_rows(table))
    return folder


def job(tables, data, **settings):
    """Job that reads `tables` and writes to `data`; small tables need a high quarantine limit."""
    permissive = {
        "quarantine": {"limit": 1.0, "duplicate_limit": 1.0, "allow_majority": list(TABLES)},
        "engine": {"threads": 1},
    }
    return Job(Settings.model_validate(permissive | settings), str(tables), data, data / "lists")


def clean(data, table):
    return pq.read_table(data / "clean" / f"{table}.parquet").to_pylist()


def quarantined_rows(data, table):
    path = data / "quarantine" / f"{table}.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []


def certificate(data):
    return json.loads((data / "validation_report.json").read_text(encoding="utf-8"))


# --- valid tables --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valid_company(tmp_path_factory):
    """Data folder of the small company after `check`, and the result of `check`."""
    data = tmp_path_factory.mktemp("passed")
    return data, check(job(company(data / "in"), data))


def test_clean_tables_have_the_columns_and_types_of_the_contract(valid_company):
    data, _result = valid_company
    for name in COMPANY:
        schema = pq.read_schema(data / "clean" / f"{name}.parquet")
        month = ["arrival_month"] if name == "usage_events" else []
        assert schema.names == [*TABLES[name].columns, *month]
        times = [c.name for c in TABLES[name].columns.values() if c.type == TIME]
        assert all(schema.field(time).type == pa.timestamp("us") for time in times)
    assert clean(data, "contracts")[2]["arr"] == 800.50
    assert clean(data, "accounts")[1]["account_name"] == "安静有限公司"
    assert clean(data, "usage_events")[0]["occurred_at"] == datetime(2024, 2, 1, 9, 30)
    assert not (data / "clean" / "tickets.parquet").exists()


def test_result_contains_row_counts_and_missing_tables(valid_company):
    data, result = valid_company
    assert result["tables"]["contracts"] == {"rows_in": 3, "rows_clean": 3, "rows_quarantined": 0}
    assert "tickets" in result["missing_tables"]
    assert list((data / "quarantine").iterdir()) == []
    assert not list(data.glob("*.tmp"))


def test_validation_report_describes_the_tables(valid_company):
    content = certificate(valid_company[0])
    assert content["payments_given"] is False
    assert content["tables"]["accounts"]["known_per_month"] == {"always": 2}
    usage = content["tables"]["usage_events"]
    assert usage["known_per_month"] == {"2024-02": 2}
    assert usage["watermark"] == "2024-02-02 00:00:00"
    assert usage["first_event"] == "2024-02-01 09:30:00"
    assert usage["columns"]["duration_s"] == {"type": "float64", "present": False, "filled": 0}


def test_payments_are_present_if_one_contract_has_a_payment_date(tmp_path):
    contracts = """
        contract_id | account_id | start_date | end_date   | arr | paid_at
        c1          | acme       | 2024-01-01 | 2025-01-01 | 1   | 2024-01-20
    """
    check(job(company(tmp_path / "in", contracts=contracts), tmp_path))
    assert certificate(tmp_path)["payments_given"] is True


def test_the_same_input_gives_the_same_bytes_in_any_order(tmp_path):
    usage = parse_rows(COMPANY["usage_events"])
    for name, rows in (("one", usage), ("two", usage[::-1])):
        company(tmp_path / name)
        write_csv(tmp_path / name / "usage_events.csv", rows)
        check(job(tmp_path / name, tmp_path / name / "out"))
    files = ["clean/usage_events.parquet", "clean/contracts.parquet"]
    assert all((tmp_path / "one/out" / f).read_bytes() == (tmp_path / "two/out" / f).read_bytes() for f in files)
    before = (tmp_path / "one/out/validation_report.json").read_bytes()
    check(job(tmp_path / "one", tmp_path / "one" / "out"))
    assert (tmp_path / "one/out/validation_report.json").read_bytes() == before


def test_hostile_names_are_unchanged(tmp_path):
    names = [
        "=1+1",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "a'; DROP TABLE accounts; --",
        '"quoted", with\nline',
    ]
    rows = [{"account_id": f"a{number}", "account_name": name} for number, name in enumerate(names)]
    write_csv(company(tmp_path / "in") / "accounts.csv", [*parse_rows(COMPANY["accounts"]), *rows])
    check(job(tmp_path / "in", tmp_path))
    assert [row["account_name"] for row in clean(tmp_path, "accounts")][: len(names)] == names


def test_unknown_columns_are_ignored_and_written_to_quarantine(tmp_path):
    contracts = """
        contract_id | account_id | start_date | end_date   | arr | reason | given_0
        c1          | acme       | 2024-01-01 | 2025-01-01 | -1  | mine   | x
        c2          | acme       | 2024-01-01 | 2025-01-01 | 1   |        |
    """
    check(job(company(tmp_path / "in", contracts=contracts), tmp_path))
    assert quarantined_rows(tmp_path, "contracts") == [
        {
            "contract_id": "c1",
            "account_id": "acme",
            "start_date": "2024-01-01",
            "end_date": "2025-01-01",
            "arr": "-1",
            "reason_given": "mine",
            "given_0": "x",
            "reason": "arr is negative",
        }
    ]


# --- every rule broken once ----------------------------------------------------------------------

VALID_ROW = {
    "accounts": {"account_id": "acme", "created_at": "2024-01-01"},
    "contracts": {
        "contract_id": "c",
        "account_id": "acme",
        "start_date": "2024-01-01",
        "end_date": "2025-01-01",
        "arr": "1",
    },
    "usage_events": {"account_id": "acme", "feature": "report", "occurred_at": "2024-02-01"},
    "people": {"user_id": "u", "account_id": "acme"},
    "tickets": {
        "ticket_id": "t",
        "account_id": "acme",
        "kind": "bug",
        "severity": "low",
        "opened_at": "2024-02-01",
    },
    "surveys": {"account_id": "acme", "kind": "nps", "sent_at": "2024-02-01", "answered_at": "2024-02-03"},
    "touchpoints": {"account_id": "acme", "kind": "call", "occurred_at": "2024-02-01"},
    "interventions": {"account_id": "acme", "playbook": "visit", "started_at": "2024-02-01"},
    "value_goals": {"account_id": "acme", "goal": "half the time", "set_at": "2024-02-01"},
    "referrals": {"account_id": "acme", "referred_at": "2024-02-01"},
    "trials": {"account_id": "acme", "requested_at": "2024-02-01", "started_at": "2024-02-02"},
    "rates": {"currency": "EUR", "date": "2024-02-01", "rate": "1.1"},
}
EXTRACTED_AT = datetime(2030, 1, 1)
INVALID_VALUES = {
    "missing": None,
    "empty": "",
    "not_finite": "inf",
    "negative": "-0.5",
    "too_large": "1e15",
    "not_above_zero": "0",
    "implausible": "0001-01-01",
    "zero": "1970-01-01",
    "unlisted": "other",
    "after_extract": "2030-01-01 00:00:01",
    "unreadable": "next week?",
}
INVALID_ROW_CHANGES = {
    ("accounts", "merged_into_itself"): {"merged_into_account_id": "acme"},
    ("contracts", "ends_before_start"): {"end_date": "2023-12-31"},
    ("contracts", "ends_on_first_day"): {"end_date": "2024-01-01"},
    ("rates", "date_after_extract"): {"date": "2030-01-02"},
    ("people", "ends_before_start"): {"valid_from": "2024-02-01", "valid_to": "2024-01-31"},
    ("tickets", "answered_before_opening"): {"first_response_at": "2024-01-30 23:00"},
    ("tickets", "resolved_before_opening"): {"resolved_at": "2024-01-30 23:00"},
    ("tickets", "reopened_before_opening"): {"reopened_at": "2024-01-30 23:00"},
    ("tickets", "escalated_before_opening"): {"escalated_at": "2024-01-30 23:00"},
    ("surveys", "without_a_time"): {"sent_at": None, "answered_at": None},
    ("surveys", "nps_outside_0_to_10"): {"score": "11"},
    ("surveys", "answered_before_sending"): {"answered_at": "2024-01-30"},
    ("surveys", "followed_up_before_answer"): {"followed_up_at": "2024-02-01"},
    ("interventions", "ends_before_start"): {"ended_at": "2024-01-30"},
    ("value_goals", "achieved_before_setting"): {"achieved_at": "2024-01-30"},
    ("referrals", "converted_before_referral"): {"converted_at": "2024-01-30"},
    ("trials", "started_before_request"): {"started_at": "2024-01-30"},
    ("trials", "finished_before_start"): {"finished_at": "2024-01-31"},
}
RULES = [(table.name, rule) for table in TABLES.values() for rule in table.rules(EXTRACTED_AT)]
TYPED_COLUMNS = [
    (t.name, c) for t in TABLES.values() for c in t.columns.values() if c.type != ID and not c.type.is_string()
]


def invalid_row(table, rule):
    """Row that breaks `rule`."""
    kind = rule.name.removeprefix(f"{rule.column}_")
    changes = INVALID_ROW_CHANGES.get((table, rule.name)) or {rule.column: INVALID_VALUES[kind]}
    return VALID_ROW[table] | changes | {"case": rule.name}


def typed_row(table, row):
    """Row with typed values as in Parquet: times, numbers and texts."""
    return {name: typed_value(TABLES[table].columns.get(name), value) for name, value in row.items()}


def typed_value(column, value):
    if value is None or column is None or column.type == ID or column.type.is_string():
        return value
    if column.is_time:
        return datetime.fromisoformat(value)
    return math.floor(float(value)) if column.type.is_integer() else float(value)


@pytest.fixture(scope="module")
def reasons_of_broken_rows(tmp_path_factory):
    """Reasons by table and case, from Parquet tables with one valid row and one row per broken rule."""
    data = tmp_path_factory.mktemp("broken")
    rows = {name: [good | {"case": "good"}] for name, good in VALID_ROW.items()}
    for table, rule in RULES:
        rows[table].append(invalid_row(table, rule))
    for table, lines in rows.items():
        (data / "in").mkdir(exist_ok=True)
        names = {name: None for line in lines for name in line}
        typed = [dict.fromkeys(names) | typed_row(table, line) for line in lines]
        pq.write_table(pa.Table.from_pylist(typed), data / "in" / f"{table}.parquet")
    check(
        job(
            data / "in",
            data,
            source={"extracted_at": EXTRACTED_AT},
            quarantine={"limit": 1.0, "allow_majority": list(TABLES)},
        )
    )
    return {table: {row["case"]: row["reason"] for row in quarantined_rows(data, table)} for table in TABLES}


@pytest.mark.parametrize(("table", "rule"), RULES, ids=[f"{table}-{rule.name}" for table, rule in RULES])
def test_a_row_that_breaks_a_rule_is_quarantined_with_the_reason(reasons_of_broken_rows, table, rule):
    assert rule.message in reasons_of_broken_rows[table][rule.name].split("; ")


def test_valid_rows_are_not_quarantined(reasons_of_broken_rows):
    assert [table for table in TABLES if "good" in reasons_of_broken_rows[table]] == []


@pytest.fixture(scope="module")
def reasons_of_unreadable_values(tmp_path_factory):
    """Reasons by table and column, from CSV tables with one unreadable text per typed column."""
    data = tmp_path_factory.mktemp("unreadable")
    rows = {name: [good | {"case": "good"}] for name, good in VALID_ROW.items()}
    for table, column in TYPED_COLUMNS:
        rows[table].append(VALID_ROW[table] | {column.name: INVALID_VALUES["unreadable"], "case": column.name})
    for table, lines in rows.items():
        write_csv(data / "in" / f"{table}.csv", lines)
    check(job(data / "in", data))
    return {table: {row["case"]: row["reason"] for row in quarantined_rows(data, table)} for table in TABLES}


@pytest.mark.parametrize(("table", "column"), TYPED_COLUMNS, ids=[f"{t}-{c.name}" for t, c in TYPED_COLUMNS])
def test_reason_contains_the_unreadable_value(reasons_of_unreadable_values, table, column):
    assert reasons_of_unreadable_values[table][column.name].startswith(f"{column.name} cannot be read as ")
    assert reasons_of_unreadable_values[table][column.name].endswith(": 'next week?'")


def test_seats_must_be_whole_numbers_in_any_notation(tmp_path):
    written = ["12.5", "1e40", "1,000", "12.0", "1e3"]
    contracts = [VALID_ROW["contracts"] | {"contract_id": f"c{n}", "seats": seats} for n, seats in enumerate(written)]
    write_csv(company(tmp_path / "in") / "contracts.csv", contracts)
    check(job(tmp_path / "in", tmp_path))
    reasons = [row["reason"] for row in quarantined_rows(tmp_path, "contracts")]
    assert reasons == [f"seats cannot be read as whole numbers: '{seats}'" for seats in written[:3]]
    assert [row["seats"] for row in clean(tmp_path, "contracts")] == [12, 1000]


def test_reason_contains_every_broken_rule(tmp_path):
    changes = {"contract_id": "broken", "arr": "-1", "end_date": "2023-01-01"}
    write_csv(company(tmp_path / "in") / "contracts.csv", [VALID_ROW["contracts"], VALID_ROW["contracts"] | changes])
    check(job(tmp_path / "in", tmp_path))
    assert quarantined_rows(tmp_path, "contracts")[0]["reason"] == "arr is negative; end_date is before start_date"


def test_resolution_less_than_a_day_before_opening_is_valid(tmp_path):
    tickets = [VALID_ROW["tickets"] | {"resolved_at": "2024-01-31 01:00:00"}]
    write_csv(company(tmp_path / "in") / "tickets.csv", tickets)
    check(job(tmp_path / "in", tmp_path))
    assert len(clean(tmp_path, "tickets")) == 1


def test_a_term_with_zero_arr_is_valid(tmp_path):
    write_csv(company(tmp_path / "in") / "contracts.csv", [VALID_ROW["contracts"] | {"arr": "0", "seats": "0"}])
    check(job(tmp_path / "in", tmp_path))
    assert quarantined_rows(tmp_path, "contracts") == []


def test_term_dates_may_be_after_the_extract(tmp_path):
    contracts = [
        VALID_ROW["contracts"] | {"start_date": "2031-01-01", "end_date": "2032-01-01", "signed_at": "2029-12-01"}
    ]
    write_csv(company(tmp_path / "in") / "contracts.csv", contracts)
    check(job(tmp_path / "in", tmp_path, source={"extracted_at": EXTRACTED_AT}))
    assert quarantined_rows(tmp_path, "contracts") == []


# --- relations between rows ----------------------------------------------------------------------


def test_rows_of_unknown_and_of_quarantined_accounts_are_quarantined(tmp_path):
    accounts = """
        account_id | employee_count
        acme       | 5
        quiet      | -5
    """
    check(job(company(tmp_path / "in", accounts=accounts), tmp_path))
    reason = "account_id is not in table accounts, or its row there is quarantined"
    assert [(row["contract_id"], row["reason"]) for row in quarantined_rows(tmp_path, "contracts")] == [("c3", reason)]
    assert [row["contract_id"] for row in clean(tmp_path, "contracts")] == ["c1", "c2"]


def test_one_row_of_exact_duplicates_stays(tmp_path):
    usage = parse_rows(COMPANY["usage_events"])
    write_csv(company(tmp_path / "in") / "usage_events.csv", [*usage, usage[0], usage[0], usage[1]])
    result = check(job(tmp_path / "in", tmp_path))
    assert result["tables"]["usage_events"] == {"rows_in": 5, "rows_clean": 2, "rows_quarantined": 3}
    assert {row["reason"] for row in quarantined_rows(tmp_path, "usage_events")} == {
        "the row is an exact duplicate of another"
    }


def test_duplicates_may_differ_in_an_ignored_column(tmp_path):
    usage = [row | {"loaded": str(turn)} for turn in range(2) for row in parse_rows(COMPANY["usage_events"])]
    write_csv(company(tmp_path / "in") / "usage_events.csv", usage)
    check(job(tmp_path / "in", tmp_path))
    assert [row["loaded"] for row in quarantined_rows(tmp_path, "usage_events")] == ["1", "1"]


def test_conflicting_rows_are_reduced_to_the_row_known_first(tmp_path):
    contracts = """
        contract_id | account_id | start_date | end_date   | arr | signed_at
        c1          | acme       | 2024-01-01 | 2025-01-01 | 100 | 2024-02-01
        c1          | acme       | 2024-01-01 | 2025-01-01 | 200 | 2023-12-01
        c1          | acme       | 2024-01-01 | 2025-01-01 | 200 | 2023-12-01
        c2          | acme       | 2024-01-01 | 2025-01-01 | 300 |
    """
    result = check(job(company(tmp_path / "in", contracts=contracts), tmp_path))
    assert [(row["contract_id"], row["arr"]) for row in clean(tmp_path, "contracts")] == [("c1", 200), ("c2", 300)]
    assert {row["arr"]: row["reason"] for row in quarantined_rows(tmp_path, "contracts")} == {
        "200": "the row is an exact duplicate of another",
        "100": "contract_id, start_date occurs again with other values and the same recorded_at and valid_from; the "
        "row known first is kept",
    }
    assert result["tables"]["contracts"]["rows_quarantined"] == 2


def test_conflicting_rows_with_equal_known_time_are_reduced_to_the_more_complete_row(tmp_path):
    rows = [VALID_ROW["contracts"], VALID_ROW["contracts"] | {"cancelled_at": "2024-06-01"}]
    write_csv(company(tmp_path / "in") / "contracts.csv", rows)
    check(job(tmp_path / "in", tmp_path))
    assert [row["cancelled_at"] for row in clean(tmp_path, "contracts")] == [datetime(2024, 6, 1)]


def test_versions_of_an_account_are_kept(tmp_path):
    accounts = """
        account_id | csm | recorded_at | valid_from
        acme       | Ann | 2023-01-02  |
        acme       | Bo  | 2024-05-01  |
        acme       | Cy  | 2024-05-01  | 2024-07-01
        acme       | Di  | 2024-05-01  | 2024-07-01
        quiet      | Ann |             |
        quiet      | Bo  |             |
    """
    check(job(company(tmp_path / "in", accounts=accounts), tmp_path))
    assert sorted(row["csm"] for row in clean(tmp_path, "accounts")) == ["Ann", "Ann", "Bo", "Cy"]
    reason = "account_id occurs again with other values and the same recorded_at and valid_from; the row known first is"
    assert {row["csm"]: row["reason"] for row in quarantined_rows(tmp_path, "accounts")} == dict.fromkeys(
        ("Di", "Bo"), f"{reason} kept"
    )
    assert len(clean(tmp_path, "contracts")) == 3


def test_versions_and_terms_of_one_contract_id_are_kept(tmp_path):
    contracts = """
        contract_id | account_id | start_date | end_date   | arr | recorded_at
        sub_7       | acme       | 2023-01-01 | 2024-01-01 | 100 |
        sub_7       | acme       | 2024-01-01 | 2025-01-01 | 200 |
        sub_7       | acme       | 2024-01-01 | 2025-01-01 | 300 | 2024-06-01
        sub_7       | acme       | 2024-01-01 | 2026-01-01 | 300 | 2024-09-01
        sub_7       | acme       | 2024-01-01 | 2025-01-01 | 400 |
    """
    check(job(company(tmp_path / "in", contracts=contracts), tmp_path))
    assert [row["arr"] for row in clean(tmp_path, "contracts")] == [100, 300, 300, 200]
    assert [row["arr"] for row in quarantined_rows(tmp_path, "contracts")] == ["400"]


def test_an_account_is_merged_into_another_account_of_the_table(tmp_path):
    accounts = """
        account_id | merged_into_account_id
        acme       | quiet
        quiet      | acme
        self       | self
        lost       | nobody
    """
    check(job(company(tmp_path / "in", accounts=accounts), tmp_path))
    assert {row["account_id"]: row["reason"] for row in quarantined_rows(tmp_path, "accounts")} == {
        "self": "merged_into_account_id is the account itself",
        "lost": "merged_into_account_id is not in table accounts",
    }
    assert [row["account_id"] for row in clean(tmp_path, "accounts")] == ["acme", "quiet"]


def test_a_contract_may_have_no_end(tmp_path):
    contracts = COMPANY["contracts"].replace("2026-01-01", "          ")
    check(job(company(tmp_path / "in", contracts=contracts), tmp_path))
    assert [row["end_date"] for row in clean(tmp_path, "contracts")].count(None) == 1
    (tmp_path / "in" / "contracts.csv").write_text("contract_id,account_id,start_date,arr\nc,acme,2024-01-01,1\n")
    with pytest.raises(DataContractError, match=r"contracts: required column end_date is missing"):
        check(job(tmp_path / "in", tmp_path))


def test_a_person_may_have_several_rows(tmp_path):
    people = """
        user_id | account_id | tier | valid_from | valid_to   | recorded_at
        u1      | acme       | B    | 2024-01-01 |            | 2024-01-02
        u1      | acme       | B    | 2024-01-01 | 2024-06-01 | 2024-06-01
        u1      | acme       | S    | 2024-06-01 |            | 2024-06-01
        u1      | acme       | A    | 2024-06-01 |            | 2024-06-01
    """
    check(job(company(tmp_path / "in", people=people), tmp_path))
    assert [row["tier"] for row in quarantined_rows(tmp_path, "people")] == ["S"]
    assert len(clean(tmp_path, "people")) == 3


# --- money ---------------------------------------------------------------------------------------

TWO_CURRENCIES = """
    contract_id | account_id | start_date | end_date   | arr | currency
    c1          | acme       | 2024-01-01 | 2025-01-01 | 1   | USD
    c2          | acme       | 2024-01-01 | 2025-01-01 | 1   | EUR
    c3          | acme       | 2024-01-01 | 2025-01-01 | 1   | XTS
    c4          | acme       | 2024-01-01 | 2025-01-01 | 1   |
"""


def test_several_currencies_without_rates_stop_the_run_at_any_limit(tmp_path):
    with pytest.raises(DataContractError) as raised:
        check(job(company(tmp_path / "in", contracts=TWO_CURRENCIES), tmp_path))
    message = str(raised.value)
    assert "2 of 4 rows quarantined (no limit allows amounts without an exchange rate)" in message
    assert "1 row without a currency counted as USD; 'EUR' (1), 'XTS' (1): add a table rates" in message
    assert "money.reporting_currency=" not in message


ALL_EURO = TWO_CURRENCIES.replace("USD", "EUR").replace("XTS", "EUR")


def test_error_for_a_single_different_currency_proposes_it_as_reporting_currency(tmp_path):
    with pytest.raises(DataContractError) as raised:
        check(job(company(tmp_path / "in", contracts=ALL_EURO), tmp_path))
    message = str(raised.value)
    assert "3 of 4 rows quarantined" in message
    assert "currency is not the reporting currency USD, and there is no rate to convert it" in message
    assert (
        "if all amounts are in EUR, also those without a currency: --set money.reporting_currency=EUR; if not:"
        in message
    )
    assert not (tmp_path / "clean").exists()


def test_the_reporting_currency_needs_no_rates(tmp_path):
    euro = {"money": {"reporting_currency": "EUR"}}
    result = check(job(company(tmp_path / "in", contracts=ALL_EURO), tmp_path, **euro))
    assert len(clean(tmp_path, "contracts")) == 4
    assert certificate(tmp_path)["reporting_currency"] == "EUR"
    assert result["warnings"] == ["contracts: 1 of 4 rows have no currency and count as EUR (money.reporting_currency)"]


def test_amounts_without_any_currency_are_in_the_reporting_currency(tmp_path):
    result = check(job(company(tmp_path / "in"), tmp_path))
    assert len(clean(tmp_path, "contracts")) == 3
    assert result["warnings"] == []


def test_rows_in_a_currency_without_a_rate_are_quarantined(tmp_path):
    rates = """
        currency | date       | rate
        EUR      | 2024-01-01 | 1.1
    """
    check(job(company(tmp_path / "in", contracts=TWO_CURRENCIES, rates=rates), tmp_path))
    reason = "currency has no row in rates and is not the reporting currency USD"
    assert [(row["contract_id"], row["reason"]) for row in quarantined_rows(tmp_path, "contracts")] == [("c3", reason)]


def test_a_term_before_the_first_rate_of_its_currency_is_quarantined(tmp_path):
    contracts = """
        contract_id | account_id | start_date | end_date   | arr | currency
        c1          | acme       | 2024-01-01 | 2025-01-01 | 1   | EUR
        c2          | acme       | 2023-12-31 | 2025-01-01 | 1   | EUR
        c3          | acme       | 2020-01-01 | 2025-01-01 | 1   | USD
        c4          | acme       | 2020-01-01 | 2025-01-01 | 1   |
    """
    rates = """
        currency | date       | rate
        EUR      | 2024-01-01 | 1.1
        EUR      | 2025-01-01 | 1.2
    """
    check(job(company(tmp_path / "in", contracts=contracts, rates=rates), tmp_path))
    reason = "start_date is before the first rate of the currency in rates"
    assert [(row["contract_id"], row["reason"]) for row in quarantined_rows(tmp_path, "contracts")] == [("c2", reason)]
    advice = certificate(tmp_path)["tables"]["contracts"]["quarantined"]["currency_rate_too_late"]["advice"]
    assert advice == [
        "the rates of EUR start on 2024-01-01, after the start of 1 contract, the first on 2023-12-31: "
        "add a rate of that day or earlier"
    ]


def test_rates_for_another_reporting_currency_are_refused(tmp_path):
    rates = """
        currency | date       | rate
        EUR      | 2024-01-01 | 1
        USD      | 2024-01-01 | 0.9
        XTS      | 2024-01-01 | 2
    """
    tables = company(tmp_path / "in", contracts=TWO_CURRENCIES, rates=rates)
    with pytest.raises(DataContractError) as raised:
        check(job(tables, tmp_path, quarantine={"limit": 0.01}))
    assert "rate of the reporting currency USD is not 1" in str(raised.value)
    assert "(its rate is 1): --set money.reporting_currency=EUR" in str(raised.value)
    check(job(tables, tmp_path, quarantine={"limit": 0.01}, money={"reporting_currency": "EUR"}))
    assert len(clean(tmp_path, "contracts")) == 4


# --- limits --------------------------------------------------------------------------------------


def many_contracts(*changes):
    """Twenty valid contracts of one account, with `changes` applied to the first ones."""
    rows = [VALID_ROW["contracts"] | {"contract_id": f"c{n:02d}"} for n in range(20)]
    return [row | change for row, change in zip(rows, [*changes, *[{}] * 20], strict=False)]


def test_a_share_above_the_limit_is_an_error_and_leaves_the_clean_tables(tmp_path):
    check(job(company(tmp_path / "in"), tmp_path))
    before = (tmp_path / "clean" / "contracts.parquet").read_bytes()
    write_csv(tmp_path / "in" / "contracts.csv", many_contracts({"seats": "-15"}))
    with pytest.raises(DataContractError) as raised:
        check(job(tmp_path / "in", tmp_path, quarantine={"limits": {"contracts": 0.03}}))
    assert raised.value.exit_code == 65
    message = str(raised.value)
    assert "contracts: 1 of 20 rows quarantined (5 %; limit 3 %)" in message
    example = "contract_id 'c00', start_date '2024-01-01', seats '-15'"
    assert f"1 row: seats is negative (rule seats_negative, for example {example})" in message
    assert "--set quarantine.limits.contracts=0.05" in message
    assert str(tmp_path / "quarantine" / "contracts.parquet") in message
    assert [row["contract_id"] for row in quarantined_rows(tmp_path, "contracts")] == ["c00"]
    assert (tmp_path / "clean" / "contracts.parquet").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_the_limit_proposed_in_the_error_lets_the_run_continue(tmp_path):
    write_csv(company(tmp_path / "in") / "contracts.csv", many_contracts({"seats": "-15"}))
    check(job(tmp_path / "in", tmp_path, quarantine={"limits": {"contracts": 0.05}}))
    assert certificate(tmp_path)["tables"]["contracts"]["quarantined"] == {
        "seats_negative": {
            "reason": "seats is negative",
            "rows": 1,
            "examples": [{"contract_id": "c00", "start_date": "2024-01-01", "seats": "-15"}],
            "advice": [],
        }
    }


def test_no_higher_limit_is_proposed_if_many_rows_are_invalid(tmp_path):
    write_csv(company(tmp_path / "in") / "contracts.csv", many_contracts(*[{"seats": "-15"}] * 3))
    with pytest.raises(DataContractError) as raised:
        check(job(tmp_path / "in", tmp_path, quarantine={}))
    assert "quarantine.limits" not in str(raised.value)
    assert "correct the rows without advice at the source" in str(raised.value)


def test_no_higher_limit_is_proposed_if_the_cause_is_known(tmp_path):
    write_csv(company(tmp_path / "in") / "contracts.csv", many_contracts({"seats": "-15"}, {"cancelled_at": "NULL"}))
    with pytest.raises(DataContractError) as raised:
        check(job(tmp_path / "in", tmp_path, quarantine={}))
    assert """--set 'source.null_values=["", "NULL"]'""" in str(raised.value)
    assert "quarantine.limits" not in str(raised.value)


def test_a_required_table_without_a_clean_row_stops_the_run_at_any_limit(tmp_path):
    write_csv(company(tmp_path / "in") / "contracts.csv", [VALID_ROW["contracts"] | {"seats": "-15"}])
    with pytest.raises(DataContractError) as raised:
        check(job(tmp_path / "in", tmp_path))
    assert "contracts: 1 of 1 rows quarantined (no row is left)" in str(raised.value)
    assert "no row of contracts is left; no limit allows an empty required table" in str(raised.value)
    assert not (tmp_path / "clean").exists()


def test_an_optional_table_without_a_clean_row_needs_both_settings(tmp_path):
    write_csv(company(tmp_path / "in") / "tickets.csv", [VALID_ROW["tickets"] | {"kind": "complaint"}])
    with pytest.raises(DataContractError, match=r"tickets: 1 of 1 rows quarantined \(100 %; limit 50 %\)"):
        check(job(tmp_path / "in", tmp_path, quarantine={"limit": 1.0, "allow_majority": ["people"]}))
    check(job(tmp_path / "in", tmp_path, quarantine={"limits": {"tickets": 1.0}, "allow_majority": ["tickets"]}))
    assert clean(tmp_path, "tickets") == []
    (notice,) = load_notices(tmp_path / "validation_report.json", "check")
    assert "1 of 1 records on" in notice.text("en")
    assert "(100%) could not be used and were left out" in notice.text("en")
    assert "1 条记录，其中 1 条（100%）无法使用" in notice.text("zh")
    assert notice.code == "most_rows_quarantined"
    assert notice.values == {"table": "tickets", "aside": 1, "rows": 1, "share": 1.0}


def test_half_of_the_rows_quarantined_needs_no_notice(tmp_path):
    write_csv(
        company(tmp_path / "in") / "tickets.csv", [VALID_ROW["tickets"], {**VALID_ROW["tickets"], "kind": "complaint"}]
    )
    check(job(tmp_path / "in", tmp_path, quarantine={"limit": 0.5}))
    assert certificate(tmp_path)["notices"] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"limits": {"contracts": 0.67}},
            r"quarantine\.limits\.contracts=0\.67 would quarantine most .*allow_majority=\[contracts\]",
        ),
        ({"limits": {"contracts": 0.67}, "allow_majority": ["tickets"]}, r"quarantine\.allow_majority=\[contracts\]"),
        ({"limit": 0.51}, r"quarantine\.limit=0\.51 would quarantine most .*quarantine\.allow_majority"),
        (
            {"duplicate_limit": 0.92},
            r"quarantine\.duplicate_limit=0\.92 would quarantine most .*quarantine\.allow_majority",
        ),
    ],
)
def test_a_limit_above_one_half_needs_a_second_setting(settings, message):
    overrides = [f"quarantine.{key}={json.dumps(value)}" for key, value in settings.items()]
    with pytest.raises(ConfigError, match=message) as refused:
        read_settings(None, overrides)
    assert refused.value.exit_code == 78


def test_half_of_a_table_may_be_allowed_by_one_setting():
    assert read_settings(None, ["quarantine.limit=0.5"]).quarantine.limit_of("contracts") == 0.5


def test_exact_duplicates_have_a_separate_limit_and_a_warning(tmp_path):
    usage = parse_rows(COMPANY["usage_events"])
    write_csv(company(tmp_path / "in") / "usage_events.csv", [*usage, usage[0]])
    result = check(job(tmp_path / "in", tmp_path, quarantine={"duplicate_limit": 0.34}))
    (warning,) = result["warnings"]
    assert warning.startswith(
        "usage_events: 1 of 3 rows (33.3 %) are exact duplicates and are quarantined: 1 of 3 times are"
    )
    with pytest.raises(DataContractError, match=r"33\.3 % exact duplicates; limit 33 %") as raised:
        check(job(tmp_path / "in", tmp_path, quarantine={"duplicate_limit": 0.33}))
    assert "load it once" in str(raised.value)
    assert "--set quarantine" not in str(raised.value)


def test_a_limit_for_an_unknown_table_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="unknown table 'contract'"):
        check(job(company(tmp_path / "in"), tmp_path, quarantine={"limits": {"contract": 0.5}}))


def test_an_earlier_quarantine_file_is_removed(tmp_path):
    check(job(company(tmp_path / "in", contracts=COMPANY["contracts"].replace("15000", "-1")), tmp_path))
    assert quarantined_rows(tmp_path, "contracts")
    check(job(company(tmp_path / "in"), tmp_path))
    assert quarantined_rows(tmp_path, "contracts") == []


def test_scores_without_a_time_cause_a_warning(tmp_path):
    surveys = """
        account_id | kind | score | sent_at    | answered_at
        acme       | nps  | 9     | 2024-02-01 |
        acme       | nps  | 3     | 2024-02-01 | 2024-02-02
    """
    result = check(job(company(tmp_path / "in", surveys=surveys), tmp_path))
    assert result["warnings"] == ["surveys: 1 values of score have no answered_at and are ignored"]


# --- errors in whole tables -------------------------------------------------------------------------


def test_a_missing_required_table_stops_the_run(tmp_path):
    folder = company(tmp_path / "in")
    (folder / "usage_events.csv").unlink()
    with pytest.raises(MissingInputError, match=r"required table usage_events is missing; found accounts, contracts"):
        check(job(folder, tmp_path))


def test_a_missing_required_column_stops_the_run(tmp_path):
    contracts = "contract_id | account_id | start_date | end_date\n c | acme | 2024-01-01 | 2025-01-01"
    with pytest.raises(DataContractError, match=r"contracts: required column arr is missing; found contract_id, "):
        check(job(company(tmp_path / "in", contracts=contracts), tmp_path))


def test_all_errors_are_in_one_message(tmp_path):
    """Two missing columns, two wrong types, an empty table, invalid rows above the limit and within it."""
    folder = company(tmp_path / "in")
    (folder / "usage_events.csv").write_text("account_id,user_id,feature,occurred_at\n")
    write_csv(folder / "contracts.csv", many_contracts({"seats": "-15"}, {"arr": "-1"}))
    write_csv(folder / "tickets.csv", [{"ticket_id": "t", "account_id": "acme"}])
    write_csv(
        folder / "value_goals.csv", [VALID_ROW["value_goals"] | {"due_at": day} for day in ("soon", "2024-03-01")]
    )
    write_parquet(folder / "people.parquet", user_id=["u"], account_id=["acme"], valid_from=[7], title=[7])
    with pytest.raises(DataContractError) as raised:
        check(job(folder, tmp_path, quarantine={"limits": {"value_goals": 0.5}}))
    message = str(raised.value)
    assert "tickets: required column kind, severity, opened_at is missing" in message
    assert "people.valid_from has the wrong type: found whole numbers" in message
    assert "people.title has the wrong type: found whole numbers" in message
    assert "usage_events has no rows" in message
    assert (
        "1 row: arr is negative (rule arr_negative, for example contract_id 'c01', start_date '2024-01-01'" in message
    )
    example = "contract_id 'c00', start_date '2024-01-01', seats '-15'"
    assert f"1 row: seats is negative (rule seats_negative, for example {example})" in message
    assert message.index("but within the limits") < message.index("value_goals: 1 of 2 rows quarantined")
    assert "due_at cannot be read as times (rule due_at_unreadable, for example" in message
    assert not (tmp_path / "clean").exists()


def test_error_for_an_empty_accounts_table_is_not_about_unknown_accounts(tmp_path):
    folder = company(tmp_path / "in")
    (folder / "accounts.csv").write_text("account_id\n")
    with pytest.raises(DataContractError, match=r"^accounts has no rows"):
        check(job(folder, tmp_path))


def test_an_empty_required_table_stops_the_run(tmp_path):
    folder = company(tmp_path / "in")
    (folder / "contracts.csv").write_text("contract_id,account_id,start_date,end_date,arr\n")
    with pytest.raises(DataContractError, match="contracts has no rows"):
        check(job(folder, tmp_path))


def write_parquet(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("arr", pa.array(["12"]), r"contracts\.arr has the wrong type: found text \(string\), expected numbers"),
        ("start_date", pa.array(["2024-01-01"]), r"start_date has .* found text \(string\), expected times"),
        ("end_date", pa.array([20250101]), r"end_date has .* found whole numbers \(int64\), expected times"),
        (
            "end_date",
            pa.array([1735689600]),
            r"look like seconds since 1970 \(1735689600 would be 2025-01-01 00:00:00\)",
        ),
        ("auto_renew", pa.array([1]), r"auto_renew has .* found whole numbers \(int64\), expected true or false"),
        ("plan", pa.array([3]), r"plan has .* found whole numbers \(int64\), expected text"),
        ("account_id", pa.array([True]), r"account_id has the wrong type: found true or false \(bool"),
        ("account_id", pa.array([1.0]), r"account_id contains whole numbers and accounts\.account_id contains text"),
    ],
)
def test_a_column_of_the_wrong_type_stops_the_run(tmp_path, column, values, message):
    folder = company(tmp_path / "in")
    (folder / "contracts.csv").unlink()
    valid_columns = {name: [value] for name, value in typed_row("contracts", VALID_ROW["contracts"]).items()}
    write_parquet(folder / "contracts.parquet", **valid_columns | {column: values})
    with pytest.raises(DataContractError, match=message):
        check(job(folder, tmp_path))
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_error_for_another_delimiter_proposes_a_working_setting(tmp_path, delimiter):
    folder = company(tmp_path / "in")
    for path in folder.glob("*.csv"):
        path.write_text("\n".join(line.replace(",", delimiter) for line in path.read_text().splitlines()) + "\n")
    with pytest.raises(DataContractError) as raised:
        check(job(folder, tmp_path))
    advised = str(re.search(r"--set '(source\.delimiter=[^']+)'", str(raised.value)).group(1))
    settings = read_settings(None, [advised, "quarantine.limit=0.5"])
    assert check(replace(job(folder, tmp_path), settings=settings))["tables"]["contracts"]["rows_clean"]


def test_error_for_columns_in_upper_case_proposes_renaming_them(tmp_path):
    folder = company(tmp_path / "in")
    path = folder / "contracts.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header.upper(), *rows]) + "\n")
    with pytest.raises(DataContractError, match="'CONTRACT_ID' to 'contract_id'"):
        check(job(folder, tmp_path))


def test_error_names_every_id_column_with_a_different_type(tmp_path):
    folder = company(tmp_path / "in")
    for name in ("accounts", "contracts"):
        (folder / f"{name}.csv").unlink()
    contracts = typed_row("contracts", VALID_ROW["contracts"]) | {"account_id": 7, "contract_id": 1}
    write_parquet(folder / "accounts.parquet", account_id=["acme"])
    write_parquet(folder / "contracts.parquet", **{name: [value] for name, value in contracts.items()})
    write_parquet(folder / "people.parquet", user_id=[1], account_id=["acme"])
    with pytest.raises(DataContractError) as raised:
        check(job(folder, tmp_path))
    assert "contracts.account_id contains whole numbers and accounts.account_id contains text" in str(raised.value)
    assert "people.user_id contains whole numbers and usage_events.user_id contains text" in str(raised.value)


def test_narrower_types_are_converted(tmp_path):
    folder = company(tmp_path / "in")
    (folder / "contracts.csv").unlink()
    write_parquet(
        folder / "contracts.parquet",
        contract_id=pa.array(["c1"]).dictionary_encode(),
        account_id=pa.array(["acme"], pa.large_string()),
        start_date=pa.array([19723], pa.date32()),
        end_date=pa.array([1_735_689_600_000_000_000], pa.timestamp("ns")),
        arr=pa.array([1250], pa.decimal128(12, 2)),
        seats=pa.array([12.0]),
        signed_at=pa.array([datetime(2023, 12, 1)], pa.timestamp("us", "Asia/Shanghai")),
        paid_at=pa.array([1_704_067_200], pa.timestamp("s")),
        cancelled_at=pa.nulls(1, pa.int32()),
        plan=pa.nulls(1),
        auto_renew=pa.array([True]),
    )
    check(job(folder, tmp_path))
    (row,) = clean(tmp_path, "contracts")
    assert row["start_date"] == datetime(2024, 1, 1)
    assert row["end_date"] == datetime(2025, 1, 1)
    assert row["signed_at"] == datetime(2023, 12, 1)
    assert (row["seats"], row["cancelled_at"], row["auto_renew"]) == (12, None, True)
    assert row["arr"] == pytest.approx(1250)


def test_numeric_ids_stay_numbers(tmp_path):
    valid_rows = {name: typed_row(name, VALID_ROW[name]) for name in COMPANY}
    numeric_ids = {"accounts": {"account_id": 7, "parent_account_id": 3.0}, "contracts": {"account_id": 7}}
    for name in COMPANY:
        row = valid_rows[name] | numeric_ids.get(name, {"account_id": 7})
        write_parquet(tmp_path / "in" / f"{name}.parquet", **{column: [value] for column, value in row.items()})
    check(job(tmp_path / "in", tmp_path))
    assert clean(tmp_path, "contracts")[0]["account_id"] == 7
    assert clean(tmp_path, "accounts")[0]["parent_account_id"] == 3


def test_ids_of_the_same_kind_must_have_the_same_type(tmp_path):
    folder = company(tmp_path / "in")
    (folder / "accounts.csv").unlink()
    write_parquet(folder / "accounts.parquet", account_id=[1, 2])
    with pytest.raises(
        DataContractError, match=r"contracts\.account_id contains text and accounts\.account_id contains whole numbers"
    ):
        check(job(folder, tmp_path))


# --- real tables ---------------------------------------------------------------------------------


def real_tables(name):
    if not (REAL_TABLES / name).is_dir():
        pytest.skip(f"no real tables at {REAL_TABLES / name}")
    return REAL_TABLES / name


@pytest.mark.real
def test_openstack_passes_with_the_default_limits(tmp_path):
    result = check(
        Job(Settings.model_validate({"engine": {"threads": 1}}), str(real_tables("openstack")), tmp_path, tmp_path)
    )
    assert {name: counts["rows_clean"] for name, counts in result["tables"].items()} == {
        "accounts": 695,
        "contracts": 2237,
        "usage_events": 162_712,
        "people": 7296,
        "tickets": 32_774,
    }
    assert result["tables"]["usage_events"]["rows_quarantined"] == 0
    (warning,) = result["warnings"]
    assert warning.startswith("usage_events: 25738 of 162712 rows without an event_id repeat another row, and each is")


@pytest.mark.real
@pytest.mark.slow
def test_crm_passes_without_quarantined_rows(tmp_path):
    result = check(
        Job(Settings.model_validate({"engine": {"threads": 1}}), str(real_tables("crm")), tmp_path, tmp_path)
    )
    assert {name: counts["rows_clean"] for name, counts in result["tables"].items()} == {
        "accounts": 1376,
        "contracts": 8250,
        "usage_events": 14_866_476,
    }
    assert result["warnings"] == []
