import csv
import io

import pandas as pd
import pytest

from renewals.reports.csv_export import to_csv
from renewals.reports.risk_list import COLUMN_NAMES
from tests.reports.small_list import HOSTILE, make_list, observations


def read(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_csv_contains_the_list_under_its_column_names(listed: pd.DataFrame) -> None:
    rows = read(to_csv(listed))
    assert list(rows[0]) == list(COLUMN_NAMES)
    assert [row["account_id"] for row in rows] == listed["account_id"].tolist()
    assert [float(row["renewal_probability"] or "nan") for row in rows] == pytest.approx(
        listed["renewal_probability"].tolist(), nan_ok=True
    )
    assert {row["as_of"] for row in rows} == {"2026-06-01"}
    assert {row["within_capacity"] for row in rows} == {"true", ""}


def test_only_names_that_a_spreadsheet_could_run_are_quoted() -> None:
    listed = make_list(observations(HOSTILE))
    names = {row["account_id"]: row["account_name"] for row in read(to_csv(listed))}
    for number, name in enumerate(HOSTILE):
        guarded = f"'{name}" if name[0] in "=+-@" else name
        assert names[f"a{number}"] == guarded


@pytest.mark.parametrize("start", ["\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_every_start_of_a_formula_is_quoted(start: str) -> None:
    listed = make_list(observations((f"{start}cmd", "b")))
    assert {row["account_name"] for row in read(to_csv(listed))} == {f"'{start}cmd", "b"}


def test_a_carriage_return_does_not_end_the_row() -> None:
    listed = make_list(observations(("\r=cmd", "b\r\nc")))
    assert {row["account_name"] for row in read(to_csv(listed))} == {"\u240d=cmd", "b\nc"}


def test_a_negative_number_stays_a_number(listed: pd.DataFrame) -> None:
    contributions = [row["reason_1_contribution"] for row in read(to_csv(listed)) if row["reason_1_contribution"]]
    assert contributions
    assert all(float(contribution) < 0 for contribution in contributions)


def test_integer_ids_stay_unchanged() -> None:
    listed = make_list(observations(ids=[1, -2, 3, 4, 5, 2**60]))
    assert {row["account_id"] for row in read(to_csv(listed))} == {"1", "-2", "3", "4", "5", str(2**60)}
