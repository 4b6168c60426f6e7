"""Summary sheet: its numbers are those of the list."""

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from renewals.pipelines.storage.notices import add_texts, history_notices
from renewals.reports.settings import Capacity, ListOptions
from renewals.reports.words import Messages
from renewals.reports.workbook.summary_sheet import MAX_MONTHS, RENEWAL_RATES, renewal_rate_rows
from tests.reports.books import open_workbook
from tests.reports.small_list import make_list, not_due, observations, previous

MAY = datetime.date(2026, 5, 1)
NAMES = {"logo_renewal_rate": "by count", "revenue_renewal_rate": "by revenue", "pure_renewal_rate": "pure"}
QUADRANTS = {"Save": "save", "Save and grow": "save_and_grow", "Grow": "grow", "Keep": "keep"}
FORECAST = [
    {
        "period_kind": kind,
        "period": period,
        "measure": measure,
        "expected": value,
        "low": 0.9 * value,
        "high": 1.1 * value,
        "confidence": 0.8,
    }
    for kind, period in (("quarter", "2026-08"), ("trailing_year", "2027-05"))
    for measure, value in (("arr_due", 9e5), ("arr_renewed", 8e5), ("revenue_renewal_rate", 0.8))
]


def scorecard(months: int = 14, still_open: int = 2) -> dict[str, Any]:
    """A scorecard in the layout of its JSON, with further segments and measures that the sheet does not show."""
    months_back = [str(pd.Period("2026-05", "M") - back) for back in reversed(range(months))]
    rows = []
    for index, month in enumerate(months_back):
        state = "open" if index >= months - still_open else "final"
        for kind in ("month", "trailing_year"):
            for measure in (*NAMES, "nps"):
                value = None if state == "open" else 0.5 + index / 100 + (kind == "trailing_year") / 10
                rows.append([kind, month, "company", "all", measure, value, 8.0, 10.0 + index, state])
            rows.append([kind, month, "size_band", "small", "logo_renewal_rate", 0.1, 1.0, 99.0, state])
    columns = ["period_kind", "period", "segment_kind", "segment", "measure", "value", "numerator", "denominator"]
    definitions = [{"measure": name, "name": {"en": label, "zh": f"{label}（中）"}} for name, label in NAMES.items()]
    return {"columns": [*columns, "state"], "rows": rows, "definitions": definitions}


def cells(sheet: Any) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def table(sheet: Any, title: str) -> list[list[Any]]:
    """The headings and rows below a title, without empty columns."""
    rows = cells(sheet)
    start = next(index for index, row in enumerate(rows) if row[0] == title) + 1
    if rows[start][1] is None and rows[start][0]:
        start += 1  # a line about the table
    lines = []
    for row in rows[start:]:
        if all(cell is None for cell in row):
            break
        lines.append(row)
    width = max(index for index, cell in enumerate(lines[0]) if cell is not None) + 1
    return [row[:width] for row in lines]


def test_sums_equal_those_of_the_list_and_are_numbers(listed: pd.DataFrame) -> None:
    sheet = open_workbook(listed)["Summary"]
    months = table(sheet, "ARR at risk by month of renewal")[1:]
    at_risk = pytest.approx(listed["arr_at_risk"].sum(), abs=1)
    assert months == [[datetime.datetime(2026, 9, 1), 6, 21_000, at_risk, 21_000 - months[0][3]]]
    for title, name, codes in (
        ("Accounts by risk", "risk_band", {"High": "high", "Medium": "medium", "Low": "low"}),
        ("Accounts by what to do", "quadrant", QUADRANTS),
    ):
        rows = {row[0]: row[1:] for row in table(sheet, title)[1:]}
        assert list(rows) == list(codes)
        for label, code in codes.items():
            accounts = listed[listed[name] == code]
            assert rows[label][:2] == [len(accounts), accounts["arr"].sum()]
            assert rows[label][2] == pytest.approx(accounts["arr_at_risk"].sum(), abs=1)
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value is not None} <= {"s", "n", "d"}


def test_summary_starts_with_the_largest_risk(listed: pd.DataFrame) -> None:
    high = listed[listed["risk_band"] == "high"]
    largest = high.loc[high["arr_at_risk"].idxmax()]
    sentences = [row[0] for row in cells(open_workbook(listed)["Summary"])[1:4]]
    assert sentences[0] == (
        f"{len(high)} of 6 renewals in sight are at high risk: {high['arr'].sum():,.0f} of 21,000 USD of ARR. The most "
        f"is at stake with {largest['account_name']}: {largest['arr']:,.0f} due by Sep 1, 2026, with a "
        f"{largest['renewal_probability']:.0%} chance of renewal."
    )
    at_risk = f"{listed['arr_at_risk'].sum():,.0f}"
    assert sentences[1] == (
        f"As things stand {at_risk} USD of ARR is expected to be lost; the month with the most is Sep 2026 ({at_risk})."
    )
    safe = make_list(observations(), renewal=[0.95] * 6)
    assert cells(open_workbook(safe)["Summary"])[1][0] == "None of 6 renewals in sight is at high risk."


def test_sentences_and_months_leave_out_customers_with_nothing_due() -> None:
    rows = pd.concat([observations().iloc[:5], not_due(observations().iloc[5:])], ignore_index=True)
    sheet = open_workbook(make_list(rows, renewal=[0.5, *[0.95] * 5]))["Summary"]
    assert str(cells(sheet)[1][0]).startswith("1 of 5 renewals in sight are at high risk: 1,000 of 15,000 USD of ARR.")
    assert table(sheet, "ARR at risk by month of renewal")[1][:3] == [datetime.datetime(2026, 9, 1), 5, 15_000]
    safe = cells(open_workbook(make_list(rows, renewal=[0.95] * 6))["Summary"])[1][0]
    assert safe == "None of 5 renewals in sight is at high risk."


def test_long_name_is_shortened_in_the_sentence() -> None:
    sentence = cells(open_workbook(make_list(observations(("x" * 40_000, "b"))))["Summary"])[1][0]
    assert len(sentence) < 400
    assert "x …" in sentence


def test_renewal_rates_are_listed_by_month_and_year(listed: pd.DataFrame) -> None:
    rates = scorecard()
    rows = table(open_workbook(listed, scorecard=rates)["Summary"], "Renewal rates, by count and by revenue")
    assert rows[0] == ["Month", "Renewals decided", "State", "By count", "By revenue", "Pure",
                       "Year: by count", "Year: by revenue", "Year: pure"]  # fmt: skip
    assert len(rows) == MAX_MONTHS + 1
    assert rows[1] == [datetime.datetime(2025, 6, 1), 12, "Final", *[0.52] * 3, *[0.62] * 3]
    assert rows[-1] == [datetime.datetime(2026, 5, 1), 23, "Open", *[None] * 6], "an open month has no rate"
    assert [row[3:] for row in rows[1:]] == [row[3:] for row in renewal_rate_rows(rates)]
    assert list(RENEWAL_RATES) == list(NAMES)


def test_forecast_has_its_interval(listed: pd.DataFrame) -> None:
    sheet = open_workbook(listed, forecast=FORECAST)["Summary"]
    lines = [row[0] for row in cells(sheet)]
    assert "With 80% probability a figure comes to lie between its low and its high end." in lines
    money = table(sheet, "Forecast: ARR due, and what is expected to be renewed")
    assert money[0][:4] == ["Period", "ARR due", "Low end", "High end"]
    assert money[1][0] == "Jun 2026 to Aug 2026"
    assert money[1][1:7] == pytest.approx([9e5, 8.1e5, 9.9e5, 8e5, 7.2e5, 8.8e5])
    assert money[1][7:] == [None] * 3, "a measure without a forecast is empty"
    assert money[2][0] == "the year Jun 2026 to May 2027"
    shares = table(sheet, "Forecast: rates")
    assert shares[1][1:4] == pytest.approx([0.8, 0.72, 0.88])


def test_missing_parts_have_a_notice(listed: pd.DataFrame) -> None:
    missing = {Messages("en").text(f"summary.{name}") for name in ("no_rates", "no_forecast", "no_last")}
    assert missing <= {row[0] for row in cells(open_workbook(listed)["Summary"])}
    last = (MAY, previous(["a0"], [0.9]))
    complete = open_workbook(listed, scorecard=scorecard(), forecast=FORECAST, previous_list=last)
    assert not missing & {row[0] for row in cells(complete["Summary"])}


def test_changes_since_the_last_list_include_the_largest_decreases(listed: pd.DataFrame) -> None:
    listed["probability_change"] = np.where(listed["account_name"] == "acme", -0.3, 0.02)
    listed.loc[listed["status"] != "scored", "probability_change"] = np.nan
    listed["reason_change"] = np.where(listed["account_name"] == "acme", "=Support fell silent", None)
    then = previous(["a0", "a1", "gone"], [0.4, 0.3, 0.9])
    sheet = open_workbook(listed, previous_list=(MAY, then))["Summary"]
    counts = {row[0]: row[1] for row in table(sheet, "What changed since the list of May 1, 2026")[1:]}
    assert counts == {
        "Chance fell by more than 10 points": 1,
        "Chance rose by more than 10 points": 0,
        "New on the list": 4,
        "No longer on the list": 1,
    }
    decreases = table(sheet, "The largest falls")
    assert decreases[1] == ["acme", "li", 1000, pytest.approx(0.4), pytest.approx(0.1), -0.3, "=Support fell silent"]
    sentence = (
        "Since the list of May 1, 2026, 1 of the accounts have lost more than 10 points of their chance of renewal"
    )
    assert cells(sheet)[3][0].startswith(sentence)


def test_portfolios_over_capacity_are_first_and_counted(listed: pd.DataFrame) -> None:
    options = ListOptions(capacity=Capacity(accounts=2, arr=1e6))
    sheet = open_workbook(listed, options)["Summary"]
    rows = table(sheet, "Portfolios, the fullest first")[1:]
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [("ann", 1.5, 3, 2), ("li", 1.5, 3, 2)]
    assert "2 of 2 portfolios are larger than their manager can carry." in [row[0] for row in cells(sheet)[:6]]
    assert not [row for row in cells(open_workbook(listed)["Summary"])[:6] if "portfolios are larger" in str(row[0])]


@pytest.mark.parametrize(
    ("language", "title", "heading"), [("en", "Summary", "About the data"), ("zh", "总览", "关于数据")]
)
def test_summary_ends_with_the_sentences_about_columns_without_a_history(
    listed: pd.DataFrame, language: str, title: str, heading: str
) -> None:
    options = ListOptions.model_validate({"language": language})
    history = add_texts(history_notices({"left_out": ["contracts.auto_renew"], "kept": ["contracts.seats"]}))
    book = open_workbook(listed, options, history=history)
    sheet = book[title]
    lines = [row[0] for row in cells(sheet)]
    assert lines[-4:] == [None, heading, *(record[language] for record in history)]
    for row, name in ((len(lines) - 1, "contracts.auto_renew"), (len(lines), "contracts.seats")):
        assert name in sheet[f"A{row}"].value
        assert f"A{row}:K{row}" in {str(area) for area in sheet.merged_cells.ranges}
        assert sheet[f"A{row}"].alignment.wrap_text
        assert sheet[f"A{row}"].fill.fill_type is None, "it is no notice"
    assert int(sheet.print_area.rpartition("$")[2]) >= len(lines)
    texts = [cell.value for other in book if other is not sheet for row in other.iter_rows() for cell in row]
    assert heading not in texts
    assert cells(open_workbook(listed, options)[title]) == cells(sheet)[:-4], "nothing without sentences"


@pytest.mark.parametrize(
    ("language", "title", "month", "font"),
    [("en", "Summary", "[$-409]mmm yyyy", "Calibri"), ("zh", "总览", 'yyyy"年"m"月"', "Microsoft YaHei")],
)
def test_dates_and_charts_use_the_format_of_the_language(
    listed: pd.DataFrame, language: str, title: str, month: str, font: str
) -> None:
    options = ListOptions.model_validate({"language": language})
    sheet = open_workbook(listed, options, scorecard=scorecard())[title]
    days = [cell for row in sheet.iter_rows(max_col=1) for cell in row if cell.is_date]
    assert len(days) == MAX_MONTHS + 1
    assert {cell.number_format for cell in days} == {month}
    assert len(sheet._charts) == 2
    for chart in sheet._charts:
        assert chart.x_axis.number_format.formatCode == month
        fonts = {chart.legend.txPr.p[0].pPr.defRPr.latin.typeface, chart.x_axis.txPr.p[0].pPr.defRPr.latin.typeface}
        assert fonts == {font}
        for series in chart.series:
            ends = re.findall(r"\$([A-Z]+)\$(\d+)", series.val.numRef.f)
            column, first, last = ends[0][0], int(ends[0][1]), int(ends[-1][1])
            assert isinstance(sheet[f"{column}{first - 1}"].value, str), "the cell above a series is its heading"
            assert sheet[f"A{first}"].is_date
            assert sheet[f"A{last}"].is_date


def test_number_formats_have_no_decimals(listed: pd.DataFrame) -> None:
    sheet = open_workbook(listed, forecast=FORECAST)["Summary"]
    shown = {cell.number_format for row in sheet.iter_rows() for cell in row if isinstance(cell.value, (int, float))}
    assert shown == {"#,##0", "0%"}
