"""Advice of `check`: the cause of broken rows is found in them, and following it leads to a right result."""

import re
from datetime import date, datetime

import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.storage.notices import load_notices
from tests.pipelines.validation.test_check import GOOD, certificate, clean, company, parquet, typed_row, write_csv


def run(tables, data, *overrides):
    """`check` with these settings in place of the defaults, as the command line would set them."""
    return check(Job(read_settings(None, ["engine.threads=1", *overrides]), str(tables), data, data / "lists"))


def stopped(tables, data, *overrides):
    """What the run says when it stops."""
    with pytest.raises(DataContractError) as stop:
        run(tables, data, *overrides)
    assert not (data / "clean").exists()
    return str(stop.value)


def proposed(said):
    """The setting that a message proposes, as an override."""
    (setting,) = re.findall(r"--set '?([^';]+[\]\"A-Z0-9])'?", said)
    return setting


def contracts(*changes, **common):
    """Contracts of one account that differ so."""
    return [GOOD["contracts"] | {"contract_id": f"c{n}"} | common | change for n, change in enumerate(changes)]


@pytest.fixture
def tables(tmp_path):
    """`tables(contracts=[…])`: a folder of the small company with these rows in CSV."""

    def write(**rows):
        folder = company(tmp_path / "in")
        for name, lines in rows.items():
            write_csv(folder / f"{name}.csv", lines)
        return folder

    return write


# --- words for nothing -----------------------------------------------------------------------------


def test_words_for_nothing_lead_to_the_setting_that_reads_them(tables, tmp_path):
    folder = tables(contracts=contracts({}, {"cancelled_at": r"\N"}, {"cancelled_at": "NULL"}, paid_at="NULL"))
    said = stopped(folder, tmp_path, 'source.null_values=["", "void"]')
    assert (
        r"""'NULL' (1), '\\N' (1) mean that there is no value: --set 'source.null_values=["", "void", "NULL", "\\N"]'"""
        in said
    )
    assert """'NULL' (3) mean that there is no value: --set 'source.null_values=["", "void", "NULL"]'""" in said
    run(folder, tmp_path, r'source.null_values=["", "void", "NULL", "\\N"]')
    assert [row["cancelled_at"] for row in clean(tmp_path, "contracts")] == [None] * 3


def test_a_word_for_nothing_in_a_required_column_is_no_matter_of_a_setting(tables, tmp_path):
    said = stopped(tables(contracts=contracts({}, {"start_date": "n/a"})), tmp_path)
    assert (
        "'n/a' (1) mean that there is no value, and start_date is required: fill in the value, or exclude these rows"
        in said
    )
    assert "--set" not in said


def test_a_word_for_nothing_in_a_typed_table_is_mended_at_the_source(tables, tmp_path):
    folder = tables()
    (folder / "contracts.csv").unlink()
    rows = [typed_row("contracts", row) for row in contracts({"currency": "None"}, {"currency": None})]
    parquet(folder / "contracts.parquet", **{name: [row[name] for row in rows] for name in rows[0]})
    said = stopped(folder, tmp_path)
    assert "'None' (1) mean that there is no value: write NULL instead at the source" in said
    assert "--set" not in said


@pytest.mark.parametrize("zero", ["1970-01-01 00:00:00", "1969-12-31 16:00:00", "1900-01-01"])
def test_a_cancellation_at_day_zero_is_none(tables, tmp_path, zero):
    folder = tables(contracts=contracts({}, {}, cancelled_at=zero))
    said = stopped(folder, tmp_path)
    assert "2 rows: cancelled_at is the zero date of a computer (1970-01-01 or 1900-01-01)" in said
    assert f"'{zero}' (2) look like an open end or an unknown date" in said
    run(folder, tmp_path, proposed(said))
    assert [row["cancelled_at"] for row in clean(tmp_path, "contracts")] == [None, None]


def test_a_day_near_zero_is_a_day(tables, tmp_path):
    run(tables(contracts=contracts({"cancelled_at": "1970-01-01 14:00:01"}, start_date="1970-01-01")), tmp_path)
    assert len(clean(tmp_path, "contracts")) == 1


def test_an_infinite_end_is_written_as_an_open_one(tables, tmp_path):
    people = [GOOD["people"] | {"valid_to": "infinity"}]
    said = stopped(tables(contracts=contracts({"end_date": "infinity"}, {}), people=people), tmp_path)
    assert "'infinity' (1): write 9999-12-31 for a contract without an end" in said
    assert (
        "'infinity' (1) look like an open end or an unknown date, not like a time: --set 'source.null_values=" in said
    )
    changed = contracts({"end_date": "9999-12-31"}, {})
    run(tables(contracts=changed, people=people), tmp_path, 'source.null_values=["", "infinity"]')
    assert [row["end_date"] for row in clean(tmp_path, "contracts")] == [datetime(9999, 12, 31), datetime(2025, 1, 1)]
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
def test_an_offset_is_read_with_or_without_a_space_before_it(tables, tmp_path, written, instant):
    run(tables(usage_events=[GOOD["usage_events"] | {"occurred_at": written}]), tmp_path)
    assert [row["occurred_at"] for row in clean(tmp_path, "usage_events")] == [instant]


@pytest.mark.parametrize(
    ("written", "said"),
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
def test_the_form_of_a_time_is_named_and_the_form_wanted(tables, tmp_path, written, said):
    usage = [GOOD["usage_events"] | {"occurred_at": time} for time in written]
    message = stopped(tables(usage_events=[*usage, GOOD["usage_events"]]), tmp_path)
    assert said in message
    assert "write times as 2024-03-01 14:30:00 in UTC, or with their offset" in message
    assert "--set" not in message


# --- numbers ---------------------------------------------------------------------------------------


def test_a_decimal_comma_leads_to_the_setting_that_reads_it(tables, tmp_path):
    folder = tables(contracts=contracts({"arr": "12000,50"}, {"arr": "12.000,50"}, {"arr": "950"}, seats="1.200"))
    said = stopped(folder, tmp_path)
    assert "'12.000,50' (1), '12000,50' (1) have a decimal comma: --set 'source.decimal=\",\"'" in said
    run(folder, tmp_path, 'source.decimal=","')
    assert [row["arr"] for row in clean(tmp_path, "contracts")] == [12_000.5, 12_000.5, 950]
    assert {row["seats"] for row in clean(tmp_path, "contracts")} == {1200}


def test_a_dot_that_parts_no_thousands_is_not_read_with_a_decimal_comma(tables, tmp_path):
    said = stopped(tables(contracts=contracts({"arr": "12.5"}, {})), tmp_path, 'source.decimal=","')
    assert "arr cannot be read as numbers" in said
    assert "'12.5' (1): source.decimal is ',', with which numbers are written as 12.000,50 or 12000,50" in said


def test_commas_between_thousands_are_named(tables, tmp_path):
    said = stopped(tables(contracts=contracts({"arr": "12,000"}, {"arr": "1,250,000.00"}, {})), tmp_path)
    assert "'1,250,000.00' (1), '12,000' (1) have commas between thousands; write numbers with digits" in said
    assert "--set" not in said


def test_amounts_with_three_decimals_throughout_are_suspected_to_be_thousands(tables, tmp_path):
    folder = tables(contracts=contracts({"arr": "12.000"}, {"arr": "9.500"}, {"arr": "950"}))
    (warning,) = run(folder, tmp_path)["warnings"]
    assert "contracts: every arr is between 0 and 999, and 2 of 3 have three decimals, for example '9.500'" in warning
    (notice,) = load_notices(tmp_path / "validation_report.json", "check")
    assert "Every amount on contracts has three decimals, such as 9.500" in notice.text("en")
    run(folder, tmp_path, proposed(warning))
    assert load_notices(tmp_path / "validation_report.json", "check") == []
    assert sum(row["arr"] for row in clean(tmp_path, "contracts")) == 22_450


@pytest.mark.parametrize("arr", ["12000", "12.00", "1200.500", "0.5"])
def test_other_amounts_are_not_suspected(tables, tmp_path, arr):
    assert run(tables(contracts=contracts({"arr": "12.000"}, {"arr": arr})), tmp_path)["warnings"] == []


# --- words outside a closed list ----------------------------------------------------------------------


def test_the_words_of_a_help_desk_are_counted_and_translated(tables, tmp_path):
    words = [("incident", "urgent"), ("incident", "normal"), ("task", "Low"), ("bug", "high")]
    tickets = [
        GOOD["tickets"] | {"ticket_id": str(n), "kind": kind, "severity": severity}
        for n, (kind, severity) in enumerate(words)
    ]
    said = stopped(tables(tickets=tickets), tmp_path)
    assert "the values are 'incident' (2), 'task' (1); no setting maps them: rename them at the source" in said
    assert "'incident' to bug, 'task' to request" in said
    assert "'Low' to low, 'normal' to medium, 'urgent' to high" in said
    assert "quarantine.limits" not in said


def test_scores_of_another_scale_are_named(tables, tmp_path):
    surveys = [GOOD["surveys"] | {"score": score} for score in ("-40", "80", "9")]
    assert "these scores are between -40 and 80: an nps score is one person's" in stopped(
        tables(surveys=surveys), tmp_path
    )


# --- ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("ACME", "acme", "would match if upper and lower case were ignored ('ACME' is 'acme' in accounts)"),
        (" acme", "acme", "would match if spaces around them were removed (' acme' is 'acme' in accounts)"),
        ("42.0", "42", "would match if the ending '.0' were removed ('42.0' is '42' in accounts)"),
        ("0042", "42", "would match if leading zeros were removed ('0042' is '42' in accounts)"),
        ("001A00000b1Cd2eQAF", "001A00000b1Cd2e", "would match if only their first 15 characters were compared"),
        ("AC-ME", "acme", "would match if only their letters and digits were compared"),
    ],
)
def test_another_spelling_of_ids_is_found(tables, tmp_path, here, there, said):
    usage = [GOOD["usage_events"] | {"account_id": name} for name in (here, here, "stranger", there)]
    rows = {"accounts": [{"account_id": there}], "contracts": [GOOD["contracts"] | {"account_id": there}]}
    assert f"2 of 3 rows {said}" in stopped(
        tables(usage_events=usage, **rows), tmp_path, "quarantine.duplicate_limit=0.5"
    )


def test_a_beginning_that_ids_share_is_no_spelling(tables, tmp_path):
    accounts = [{"account_id": f"account-00000000{n}"} for n in range(3)]
    rows = {"contracts": [GOOD["contracts"] | {"account_id": "account-000000001"}], "accounts": accounts}
    usage = [GOOD["usage_events"] | {"account_id": name} for name in ("account-000000009", "account-000000001")]
    said = stopped(tables(usage_events=usage, **rows), tmp_path)
    assert "would match" not in said
    assert "those in accounts look like 'account-000000000'" in said


def test_a_spelling_that_fits_two_accounts_is_none(tables, tmp_path):
    accounts = [{"account_id": "acme"}, {"account_id": "Acme"}]
    usage = [GOOD["usage_events"], GOOD["usage_events"] | {"account_id": "ACME"}]
    said = stopped(tables(usage_events=usage, accounts=accounts, contracts=[GOOD["contracts"]]), tmp_path)
    assert "would match" not in said
    assert "the ids are 'ACME' (1)" in said


def test_ids_of_another_system_are_shown_beside_those_of_the_accounts(tables, tmp_path):
    usage = [GOOD["usage_events"] | {"account_id": name} for name in ("x-9", "x-8", "acme")]
    said = stopped(tables(usage_events=usage), tmp_path)
    assert "the ids are 'x-8' (1), 'x-9' (1), those in accounts look like 'acme': give all accounts" in said


def test_rows_of_accounts_that_were_set_aside_lead_to_those(tables, tmp_path):
    accounts = [{"account_id": name, "employee_count": count} for name, count in (("acme", "5"), ("quiet", "-5"))]
    said = stopped(tables(accounts=accounts), tmp_path)
    assert "1 of 1 rows belong to accounts that are quarantined: correct accounts first" in said


# --- keys -----------------------------------------------------------------------------------------------


def test_the_id_of_a_subscription_is_not_the_id_of_a_term(tables, tmp_path):
    terms = [{"start_date": f"{year}-01-01", "end_date": f"{year + 1}-01-01"} for year in (2022, 2023, 2024)]
    said = stopped(tables(contracts=contracts(*terms, contract_id="sub_7")), tmp_path)
    assert (
        "contract_id must identify one term; ids with several terms: 1, for example 'sub_7' with 3 different starts"
        in said
    )
    assert "move this one to a column subscription_id" in said
    assert "--set" not in said


def test_versions_of_a_row_are_told_from_ids_of_something_else(tables, tmp_path):
    said = stopped(tables(contracts=contracts({}, {"arr": "2"}, {}, contract_id="c")), tmp_path)
    assert (
        "each contract_id must occur once; repeated: 1, for example 'c' with 2 rows. They differ in arr: keep one row"
        in said
    )


def test_a_row_dropped_for_its_key_within_the_limit_is_said_where_it_was_a_term(tables, tmp_path):
    terms = [{}, {"contract_id": "c0", "start_date": "2025-01-01", "end_date": "2026-01-01"}, {}]
    result = run(tables(contracts=contracts(*terms)), tmp_path, "quarantine.limit=0.5")
    (warning,) = result["warnings"]
    assert warning == (
        "contracts: 1 term quarantined because another term has the same contract_id: a renewal among them counts as "
        "lost. Give each term a unique contract_id"
    )
    (notice,) = load_notices(tmp_path / "validation_report.json", "check")
    assert notice.text("en").startswith("1 contracts were left out because their number belongs to another contract")


# --- currencies -------------------------------------------------------------------------------------------


def test_another_spelling_of_a_currency_is_found(tables, tmp_path):
    rates = [GOOD["rates"] | {"currency": "EUR", "date": "2024-01-01"}, GOOD["rates"] | {"currency": "xts"}]
    rows = contracts({"currency": "usd"}, {"currency": " eur"}, {"currency": "XTS"}, {"currency": "GBP"}, {})
    said = stopped(tables(contracts=rows, rates=rates), tmp_path)
    assert "' eur' (1) is 'EUR', 'XTS' (1) is 'xts', 'usd' (1) is 'USD': use one spelling of each currency" in said
    assert (
        "'GBP' (1): add their rates (currency, date, rate: units of USD per unit), the first one dated 2024-01-01"
        in said
    )


def test_a_company_in_euro_is_listed_in_euro(tables, tmp_path):
    rows = contracts({"currency": "EUR"}, {"currency": None}, arr="12000")
    folder = tables(contracts=rows)
    proposal = proposed(stopped(folder, tmp_path))
    assert proposal == "money.reporting_currency=EUR"
    settings = read_settings(None, ["engine.threads=1", proposal])
    listed = Job(settings, str(folder), tmp_path, tmp_path / "lists", as_of=date(2024, 6, 1))
    check(listed)
    spine(listed)
    (row,) = pq.read_table(tmp_path / "act" / "spine.parquet").to_pylist()
    assert (row["currency"], row["arr"]) == ("EUR", 24_000)


def test_the_advice_stands_in_the_certificate_where_the_run_goes_on(tables, tmp_path):
    rows = [GOOD["usage_events"], GOOD["usage_events"] | {"duration_s": "NULL"}]
    run(tables(usage_events=rows), tmp_path, "quarantine.limit=0.5")
    entry = certificate(tmp_path)["tables"]["usage_events"]["quarantined"]["duration_s_unreadable"]
    assert entry["advice"] == ["""'NULL' (1) mean that there is no value: --set 'source.null_values=["", "NULL"]'"""]
