"""Advice of `check`: it names the cause of invalid rows, and following it gives a correct result."""

import re
from datetime import date, datetime

import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.storage.notices import load_notices
from tests.pipelines.validation.test_check import (
    VALID_ROW,
    certificate,
    clean,
    company,
    typed_row,
    write_csv,
    write_parquet,
)


def run_check(tables, data, *overrides):
    """Run `check` on `tables` with `overrides` as on the command line."""
    return check(Job(read_settings(None, ["engine.threads=1", *overrides]), str(tables), data, data / "lists"))


def error_message(tables, data, *overrides):
    """Message of the DataContractError of `check`."""
    with pytest.raises(DataContractError) as error:
        run_check(tables, data, *overrides)
    assert not (data / "clean").exists()
    return str(error.value)


def proposed_override(message):
    """Setting that the message proposes, as an override."""
    (setting,) = re.findall(r"--set '?([^';]+[\]\"A-Z0-9])'?", message)
    return setting


def contracts(*changes, **common):
    """Contracts of one account, one per entry of `changes`, all with the values `common`."""
    return [VALID_ROW["contracts"] | {"contract_id": f"c{n}"} | common | change for n, change in enumerate(changes)]


@pytest.fixture
def tables(tmp_path):
    """Function `tables(contracts=[…])` that writes the small company with these rows in CSV and returns the folder."""

    def write(**rows):
        folder = company(tmp_path / "in")
        for name, lines in rows.items():
            write_csv(folder / f"{name}.csv", lines)
        return folder

    return write


# --- texts for null values ---------------------------------------------------------------------------


def test_advice_for_null_texts_is_the_setting_null_values(tables, tmp_path):
    folder = tables(contracts=contracts({}, {"cancelled_at": r"\N"}, {"cancelled_at": "NULL"}, paid_at="NULL"))
    message = error_message(folder, tmp_path, 'source.null_values=["", "void"]')
    assert (
        r"""'NULL' (1), '\\N' (1) mean that there is no value: --set 'source.null_values=["", "void", "NULL", "\\N"]'"""
        in message
    )
    assert """'NULL' (3) mean that there is no value: --set 'source.null_values=["", "void", "NULL"]'""" in message
    run_check(folder, tmp_path, r'source.null_values=["", "void", "NULL", "\\N"]')
    assert [row["cancelled_at"] for row in clean(tmp_path, "contracts")] == [None] * 3


def test_advice_for_a_null_text_in_a_required_column_contains_no_setting(tables, tmp_path):
    message = error_message(tables(contracts=contracts({}, {"start_date": "n/a"})), tmp_path)
    assert (
        "'n/a' (1) mean that there is no value, and start_date is required: fill in the value, or exclude these rows"
        in message
    )
    assert "--set" not in message


def test_advice_for_a_null_text_in_parquet_is_to_write_null(tables, tmp_path):
    folder = tables()
    (folder / "contracts.csv").unlink()
    rows = [typed_row("contracts", row) for row in contracts({"currency": "None"}, {"currency": None})]
    write_parquet(folder / "contracts.parquet", **{name: [row[name] for row in rows] for name in rows[0]})
    message = error_message(folder, tmp_path)
    assert "'None' (1) mean that there is no value: write NULL instead at the source" in message
    assert "--set" not in message


@pytest.mark.parametrize("zero", ["1970-01-01 00:00:00", "1969-12-31 16:00:00", "1900-01-01"])
def test_advice_for_a_cancellation_at_a_zero_date_makes_it_missing(tables, tmp_path, zero):
    folder = tables(contracts=contracts({}, {}, cancelled_at=zero))
    message = error_message(folder, tmp_path)
    assert "2 rows: cancelled_at is the zero date of a computer (1970-01-01 or 1900-01-01)" in message
    assert f"'{zero}' (2) look like an open end or an unknown date" in message
    run_check(folder, tmp_path, proposed_override(message))
    assert [row["cancelled_at"] for row in clean(tmp_path, "contracts")] == [None, None]


def test_a_time_near_the_zero_date_is_valid(tables, tmp_path):
    run_check(tables(contracts=contracts({"cancelled_at": "1970-01-01 14:00:01"}, start_date="1970-01-01")), tmp_path)
    assert len(clean(tmp_path, "contracts")) == 1


def test_advice_for_an_infinite_end_is_an_open_end(tables, tmp_path):
    people = [VALID_ROW["people"] | {"valid_to": "infinity"}]
    tables = tables(contracts=contracts({"end_date": "infinity"}, {}), people=people)
    advice = "'infinity' (1) look like an open end or an unknown date, not like a time: --set 'source.null_values="
    assert error_message(tables, tmp_path).count(advice) == 2
    run_check(tables, tmp_path, 'source.null_values=["", "infinity"]')
    assert [row["end_date"] for row in clean(tmp_path, "contracts")] == [None, datetime(2025, 1, 1)]
    assert [row["valid_to"] for row in clean(tmp_path, "people")] == [None]


# --- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2023-10-17 14:51:01.000 +0000", datetime(2023, 10, 17, 14, 51, 1)),
        ("2023-10-17 14:51:01 -0700", datetime(2023, 10, 17, 21, 51, 1)),
        ("2023-10-17 14:51:01.250 +05:30", datetime(2023, 10, 17, 9, 21, 1, 250_000)),
        ("2023-10-17 14:51:01 +02", datetime(2023, 10, 17, 12, 51, 1)),
        ("2023-10-17T14:51:01 Z", datetime(2023, 10, 17, 14, 51, 1)),
        ("2023-10-17 14:51:01 UTC", datetime(2023, 10, 17, 14, 51, 1)),
        ("2023-10-17T14:51:01.000-0700", datetime(2023, 10, 17, 21, 51, 1)),
        ("2023-10-17 14:51:01", datetime(2023, 10, 17, 14, 51, 1)),
    ],
)
def test_an_offset_is_readable_with_or_without_a_space_before_it(tables, tmp_path, written, instant):
    run_check(tables(usage_events=[VALID_ROW["usage_events"] | {"occurred_at": written}]), tmp_path)
    assert [row["occurred_at"] for row in clean(tmp_path, "usage_events")] == [instant]


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        (["1709251200"], "'1709251200' (1) look like seconds since 1970 (1709251200 would be 2024-03-01 00:00:00)"),
        (["1709251200000"], "'1709251200000' (1) look like milliseconds since 1970 (1709251200000 would be 2024-03-01"),
        (["01/02/2024", "13/02/2024"], "have the day first, as '13/02/2024' shows"),
        (["01/02/2024", "02/13/2024"], "have the month first, as '02/13/2024' shows"),
        (["01/02/2024", "03/02/2024"], "do not show whether the day or the month comes first"),
        (
            ["13/02/2024", "02/13/2024"],
            "'13/02/2024' has the day first and '02/13/2024' the month: two formats are mixed",
        ),
        (["45352.5"], "'45352.5' (1) look like day numbers of a spreadsheet"),
        (["20240301"], "'20240301' (1) are days without separators"),
        (["2024-03-01 02:30 PM"], "'2024-03-01 02:30 PM' (1) have a 12-hour clock"),
        (["2024-03-01 14:30:00 CST"], "'2024-03-01 14:30:00 CST' (1) have a zone abbreviation"),
        (["next week"], "    write times as 2024-03-01 14:30:00 in UTC"),
    ],
)
def test_advice_for_a_time_names_its_format_and_the_expected_format(tables, tmp_path, written, advice):
    usage = [VALID_ROW["usage_events"] | {"occurred_at": time} for time in written]
    message = error_message(tables(usage_events=[*usage, VALID_ROW["usage_events"]]), tmp_path)
    assert advice in message
    assert "write times as 2024-03-01 14:30:00 in UTC, or with their offset" in message
    assert "--set" not in message


# --- numbers ---------------------------------------------------------------------------------------


def test_advice_for_a_decimal_comma_is_the_setting_decimal(tables, tmp_path):
    folder = tables(contracts=contracts({"arr": "12000,50"}, {"arr": "12.000,50"}, {"arr": "950"}, seats="1.200"))
    message = error_message(folder, tmp_path)
    assert "'12.000,50' (1), '12000,50' (1) have a decimal comma: --set 'source.decimal=\",\"'" in message
    run_check(folder, tmp_path, 'source.decimal=","')
    assert [row["arr"] for row in clean(tmp_path, "contracts")] == [12_000.5, 12_000.5, 950]
    assert {row["seats"] for row in clean(tmp_path, "contracts")} == {1200}


def test_a_decimal_point_is_refused_with_a_decimal_comma(tables, tmp_path):
    message = error_message(tables(contracts=contracts({"arr": "12.5"}, {})), tmp_path, 'source.decimal=","')
    assert "arr cannot be read as numbers" in message
    assert "'12.5' (1): source.decimal is ',', with which numbers are written as 12.000,50 or 12000,50" in message


def test_advice_for_commas_between_thousands(tables, tmp_path):
    message = error_message(tables(contracts=contracts({"arr": "12,000"}, {"arr": "1,250,000.00"}, {})), tmp_path)
    assert "'1,250,000.00' (1), '12,000' (1) have commas between thousands; write numbers with digits" in message
    assert "--set" not in message


def test_amounts_that_all_have_three_decimals_are_suspected_to_be_thousands(tables, tmp_path):
    folder = tables(contracts=contracts({"arr": "12.000"}, {"arr": "9.500"}, {"arr": "950"}))
    (warning,) = run_check(folder, tmp_path)["warnings"]
    assert "contracts: every arr is between 0 and 999, and 2 of 3 have three decimals, for example '9.500'" in warning
    (notice,) = load_notices(tmp_path / "validation_report.json", "check")
    assert "Every amount on contracts has three decimals, such as 9.500" in notice.text("en")
    run_check(folder, tmp_path, proposed_override(warning))
    assert load_notices(tmp_path / "validation_report.json", "check") == []
    assert sum(row["arr"] for row in clean(tmp_path, "contracts")) == 22_450


@pytest.mark.parametrize("arr", ["12000", "12.00", "1200.500", "0.5"])
def test_amounts_without_three_decimals_are_not_suspected(tables, tmp_path, arr):
    assert run_check(tables(contracts=contracts({"arr": "12.000"}, {"arr": arr})), tmp_path)["warnings"] == []


# --- values outside a closed list ----------------------------------------------------------------------


def test_advice_for_ticket_values_counts_them_and_proposes_valid_values(tables, tmp_path):
    values = [("incident", "urgent"), ("incident", "normal"), ("task", "Low"), ("bug", "high")]
    tickets = [
        VALID_ROW["tickets"] | {"ticket_id": str(n), "kind": kind, "severity": severity}
        for n, (kind, severity) in enumerate(values)
    ]
    message = error_message(tables(tickets=tickets), tmp_path)
    assert "the values are 'incident' (2), 'task' (1); no setting maps them: rename them at the source" in message
    assert "'incident' to bug, 'task' to request" in message
    assert "'Low' to low, 'normal' to medium, 'urgent' to high" in message
    assert "quarantine.limits" not in message


def test_advice_for_scores_on_another_scale(tables, tmp_path):
    surveys = [VALID_ROW["surveys"] | {"score": score} for score in ("-40", "80", "9")]
    assert "these scores are between -40 and 80: an nps score is one person's" in error_message(
        tables(surveys=surveys), tmp_path
    )


# --- ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "account_id", "advice"),
    [
        ("ACME", "acme", "would match if upper and lower case were ignored ('ACME' is 'acme' in accounts)"),
        (" acme", "acme", "would match if spaces around them were removed (' acme' is 'acme' in accounts)"),
        ("42.0", "42", "would match if the ending '.0' were removed ('42.0' is '42' in accounts)"),
        ("0042", "42", "would match if leading zeros were removed ('0042' is '42' in accounts)"),
        ("001A00000b1Cd2eQAF", "001A00000b1Cd2e", "would match if only their first 15 characters were compared"),
        ("AC-ME", "acme", "would match if only their letters and digits were compared"),
    ],
)
def test_advice_for_ids_names_the_difference_in_spelling(tables, tmp_path, written, account_id, advice):
    usage = [VALID_ROW["usage_events"] | {"account_id": name} for name in (written, written, "stranger", account_id)]
    rows = {
        "accounts": [{"account_id": account_id}],
        "contracts": [VALID_ROW["contracts"] | {"account_id": account_id}],
    }
    assert f"2 of 3 rows {advice}" in error_message(
        tables(usage_events=usage, **rows), tmp_path, "quarantine.duplicate_limit=0.5"
    )


def test_a_common_prefix_of_ids_is_not_a_difference_in_spelling(tables, tmp_path):
    accounts = [{"account_id": f"account-00000000{n}"} for n in range(3)]
    rows = {"contracts": [VALID_ROW["contracts"] | {"account_id": "account-000000001"}], "accounts": accounts}
    usage = [VALID_ROW["usage_events"] | {"account_id": name} for name in ("account-000000009", "account-000000001")]
    message = error_message(tables(usage_events=usage, **rows), tmp_path)
    assert "would match" not in message
    assert "those in accounts look like 'account-000000000'" in message


def test_an_id_similar_to_two_accounts_has_no_advice_on_spelling(tables, tmp_path):
    accounts = [{"account_id": "acme"}, {"account_id": "Acme"}]
    usage = [VALID_ROW["usage_events"], VALID_ROW["usage_events"] | {"account_id": "ACME"}]
    message = error_message(tables(usage_events=usage, accounts=accounts, contracts=[VALID_ROW["contracts"]]), tmp_path)
    assert "would match" not in message
    assert "the ids are 'ACME' (1)" in message


def test_advice_for_ids_of_another_system_shows_examples_from_both_tables(tables, tmp_path):
    usage = [VALID_ROW["usage_events"] | {"account_id": name} for name in ("x-9", "x-8", "acme")]
    message = error_message(tables(usage_events=usage), tmp_path)
    assert "the ids are 'x-8' (1), 'x-9' (1), those in accounts look like 'acme': give all accounts" in message


def test_advice_for_rows_of_quarantined_accounts_is_to_correct_the_accounts(tables, tmp_path):
    accounts = [{"account_id": name, "employee_count": count} for name, count in (("acme", "5"), ("quiet", "-5"))]
    message = error_message(tables(accounts=accounts), tmp_path)
    assert "1 of 1 rows belong to accounts that are quarantined: correct accounts first" in message


# --- keys -----------------------------------------------------------------------------------------------


def test_advice_for_versions_of_a_row_names_the_columns_that_differ(tables, tmp_path):
    message = error_message(tables(contracts=contracts({}, {"arr": "2"}, {}, contract_id="c")), tmp_path)
    assert (
        "each contract_id, start_date must occur once; repeated: 1, for example 'c', 2024-01-01 with 2 rows. They "
        "differ in arr: if they are versions, recorded_at tells them apart" in message
    )
    tickets = [VALID_ROW["tickets"] | {"severity": severity} for severity in ("low", "high")]
    message = error_message(tables(contracts=contracts({}), tickets=tickets), tmp_path)
    assert "They differ in severity: keep one row of each at the source, the newest one if they are" in message


# --- currencies -------------------------------------------------------------------------------------------


def test_advice_for_currencies_names_the_difference_in_spelling(tables, tmp_path):
    rates = [VALID_ROW["rates"] | {"currency": "EUR", "date": "2024-01-01"}, VALID_ROW["rates"] | {"currency": "xts"}]
    rows = contracts({"currency": "usd"}, {"currency": " eur"}, {"currency": "XTS"}, {"currency": "GBP"}, {})
    message = error_message(tables(contracts=rows, rates=rates), tmp_path)
    assert "' eur' (1) is 'EUR', 'XTS' (1) is 'xts', 'usd' (1) is 'USD': use one spelling of each currency" in message
    assert (
        "'GBP' (1): add their rates (currency, date, rate: units of USD per unit), the first one dated 2024-01-01"
        in message
    )


def test_advice_for_a_company_in_euro_gives_amounts_in_euro(tables, tmp_path):
    rows = contracts({"currency": "EUR"}, {"currency": None}, arr="12000")
    folder = tables(contracts=rows)
    proposal = proposed_override(error_message(folder, tmp_path))
    assert proposal == "money.reporting_currency=EUR"
    settings = read_settings(None, ["engine.threads=1", proposal])
    list_job = Job(settings, str(folder), tmp_path, tmp_path / "lists", as_of=date(2024, 6, 1))
    check(list_job)
    ledger(list_job)
    spine(list_job)
    (row,) = pq.read_table(tmp_path / "act" / "spine.parquet").to_pylist()
    assert (row["currency"], row["arr_due"]) == ("EUR", 24_000)


def test_advice_is_in_the_validation_report_if_the_run_continues(tables, tmp_path):
    rows = [VALID_ROW["usage_events"], VALID_ROW["usage_events"] | {"duration_s": "NULL"}]
    run_check(tables(usage_events=rows), tmp_path, "quarantine.limit=0.5")
    entry = certificate(tmp_path)["tables"]["usage_events"]["quarantined"]["duration_s_unreadable"]
    assert entry["advice"] == ["""'NULL' (1) mean that there is no value: --set 'source.null_values=["", "NULL"]'"""]
