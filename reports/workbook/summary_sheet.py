"""The first sheet, for the head of customer success: the most important facts and the totals of the list.

Totals are numbers, not formulas: they cover the whole list, of which the workbook may show only a part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
from xlsxwriter.worksheet import Worksheet

from renewals.reports.list_summary import (
    CHANGE_THRESHOLD_POINTS,
    ListComparison,
    due_rows,
    portfolio_loads,
    summarize_list,
)
from renewals.reports.sanitize import truncate
from renewals.reports.settings import ListOptions
from renewals.reports.workbook.writer import (
    CHART_FONTS,
    DATE_FORMATS,
    LINE_HEIGHT,
    WorkbookWriter,
    check_return_code,
    count_lines,
)

RENEWAL_RATES = ("logo_renewal_rate", "revenue_renewal_rate", "pure_renewal_rate")
"""Measures of the scorecard on the sheet: R4 by count and by revenue, and R5."""
MAX_MONTHS = 12
FORECAST_AMOUNTS, FORECAST_RATES = (
    ("arr_due", "arr_renewed", "arr_at_risk"),
    ("revenue_renewal_rate", "gross_retention", "net_retention"),
)
"""Measures of the forecast on the sheet."""
MAX_PORTFOLIOS = 20
"""Maximum number of portfolios on the sheet."""
QUARTER_MONTHS, YEAR_MONTHS = 3, 12
FIRST_COLUMN_WIDTH, COLUMN_WIDTH, COLUMN_COUNT = 30, 14, 11
"""Widths and number of the columns."""
COLUMN_WIDTHS = (FIRST_COLUMN_WIDTH, *[COLUMN_WIDTH] * (COLUMN_COUNT - 1))
CHART_ROWS = 15
MAX_NAME_LENGTH = 80
"""Maximum length of an account's name within a sentence."""
SERIES_COLOURS = {"arr_at_risk": "#C0504D", "rest": "#9DC3E6", "count": "#1F4E79", "revenue": "#C55A11"}


@dataclass(frozen=True)
class SummaryData:
    """Data of the first sheet in addition to the list."""

    comparison: ListComparison | None = None
    forecast: Sequence[Mapping[str, Any]] = ()
    """Forecast of the whole company: records with `period_kind`, `period`, `measure`, `expected`, `low`, `high`; empty
    if there is none."""
    scorecard: Mapping[str, Any] | None = None
    """Scorecard of the day, as in its JSON."""
    notes: Sequence[str] = field(default_factory=list)
    """Further sentences about this workbook."""
    history: Sequence[str] = ()
    """What the models did with columns of which only today's value is known."""


class _SheetCursor:
    """Writes a sheet from top to bottom; `row` is the next free row."""

    def __init__(self, writer: WorkbookWriter, sheet: Worksheet) -> None:
        self.writer, self.sheet, self.row = writer, sheet, 0

    def write_line(self, text: str, kind: str) -> None:
        self.writer.write_text(self.sheet, self.row, 0, text, kind)
        self.row += 1

    def write_wrapped(self, text: str, row: int, first: int = 0) -> None:
        """Write a text that wraps, from column `first` to the last, and fit the height of the row."""
        self.writer.write_across(self.sheet, row, text, "wrapped", COLUMN_WIDTHS[first:], first)

    def start_section(self, title: str, about: str = "") -> None:
        self.row += 1
        self.write_line(title, "section")
        if about:
            self.write_line(about, "note")

    def write_table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]], kinds: Sequence[str]) -> int:
        """Write a table; return the number of its first row below the headings."""
        for position, (heading, kind) in enumerate(zip(headings, kinds, strict=True)):
            heading_kind = "head" if kind in ("text", "month") else "over"
            self.writer.write_text(self.sheet, self.row, position, heading[:1].upper() + heading[1:], heading_kind)
        self.sheet.set_row(
            self.row, LINE_HEIGHT * max(count_lines(heading, COLUMN_WIDTH - 2) for heading in headings[1:])
        )
        first = self.row + 1
        self.writer.write_rows(self.sheet, first, rows, kinds)
        self.row = first + len(rows)
        return first


def write_summary(
    writer: WorkbookWriter, title: str, risk_list: pd.DataFrame, data: SummaryData, options: ListOptions
) -> None:
    """Write the sheet; `risk_list` is the whole list."""
    sheet = writer.add_sheet(title)
    sheet.set_column(0, 0, FIRST_COLUMN_WIDTH)
    sheet.set_column(1, COLUMN_COUNT - 1, COLUMN_WIDTH)
    sheet.hide_gridlines(2)
    sheet.set_default_row(LINE_HEIGHT)
    cursor, summary = _SheetCursor(writer, sheet), summarize_list(risk_list, options)
    cursor.row = writer.write_notices(sheet, COLUMN_WIDTHS)
    sheet.set_row(cursor.row, 1.5 * LINE_HEIGHT)
    portfolios = portfolio_loads(risk_list, options)
    as_of = writer.messages.day(risk_list["as_of"].iloc[0].date()) if len(risk_list) else ""
    cursor.write_line(writer.messages.text("columns.as_of", as_of=as_of), "title")
    for sentence in [*summary_sentences(risk_list, summary, portfolios, data.comparison, writer), *data.notes]:
        cursor.write_wrapped(sentence, cursor.row)
        cursor.row += 1
    chart_row = cursor.row + 1
    cursor.row += CHART_ROWS + 2
    rates = write_renewal_rates(cursor, data.scorecard)
    write_forecast(cursor, data.forecast)
    months = write_months(cursor, summary["months"])
    write_groups(cursor, "risk_band", "summary.by_band", summary["bands"])
    write_groups(cursor, "quadrant", "page.by_quadrant", summary["quadrants"])
    write_changes(cursor, data.comparison)
    write_portfolios(cursor, portfolios)
    write_history(cursor, data.history)
    sheet.print_area(0, 0, cursor.row, COLUMN_COUNT - 1)
    if summary["months"]:
        _add_months_chart(writer, sheet, title, months, len(summary["months"]), chart_row)
    if rates:
        _add_rates_chart(writer, sheet, title, *rates, chart_row)


# --- key sentences ------------------------------------------------------------------------------------


def summary_sentences(
    risk_list: pd.DataFrame,
    summary: Mapping[str, Any],
    portfolios: Sequence[Mapping[str, Any]],
    comparison: ListComparison | None,
    writer: WorkbookWriter,
) -> list[str]:
    """Sentences on the high-risk accounts, the expected loss, the changes, and the managers above capacity."""
    if due_rows(risk_list).empty:
        return [writer.messages.text("summary.nothing")]
    sentences = []
    if summary["scored"]:
        sentences = [_high_risk_sentence(risk_list, writer), _expected_loss_sentence(risk_list, summary, writer)]
    if comparison:
        last = writer.messages.day(comparison.previous_day)
        sentences.append(
            writer.messages.text(
                "summary.moved", last=last, fell=comparison.fell, rose=comparison.rose, points=CHANGE_THRESHOLD_POINTS
            )
        )
    if over := sum((one["load"] or 0) > 1 for one in portfolios):
        sentences.append(writer.messages.text("summary.over", over=over, all=len(portfolios)))
    return sentences


def _high_risk_sentence(risk_list: pd.DataFrame, writer: WorkbookWriter) -> str:
    risk_list = due_rows(risk_list)
    high = risk_list[risk_list["risk_band"] == "high"]
    if high.empty:
        return writer.messages.text("summary.none_high", all=len(risk_list))
    largest = high.sort_values(
        ["arr_at_risk", "rank"], ascending=[False, True], kind="stable", na_position="last"
    ).iloc[0]
    name = str(largest["account_name"] if pd.notna(largest["account_name"]) else largest["account_id"])
    return writer.messages.text(
        "summary.high",
        high=len(high),
        all=len(risk_list),
        arr_high=high["arr"].sum(),
        arr=risk_list["arr"].sum(),
        currency=_currency(risk_list),
        name=truncate(name, MAX_NAME_LENGTH, " …"),
        own=0.0 if pd.isna(largest["arr"]) else largest["arr"],
        day=writer.messages.day(largest["renewal_date"].date()),
        chance=largest["renewal_probability"],
    )


def _expected_loss_sentence(risk_list: pd.DataFrame, summary: Mapping[str, Any], writer: WorkbookWriter) -> str:
    worst = max(summary["months"], key=lambda month: month["arr_at_risk"])
    fields = {
        "month": writer.messages.month(worst["month"]),
        "most": worst["arr_at_risk"],
        "currency": _currency(risk_list),
    }
    return writer.messages.text("summary.lost", at_risk=summary["arr_at_risk"], **fields)


def _currency(risk_list: pd.DataFrame) -> str:
    return " / ".join(sorted(map(str, risk_list["currency"].dropna().unique())))


# --- the tables ---------------------------------------------------------------------------------------


def write_renewal_rates(cursor: _SheetCursor, scorecard: Mapping[str, Any] | None) -> tuple[int, int, float] | None:
    """Write the renewal rates (R4, R5) of the newest months, and of the years that end with each of them.

    Returns the first row of the table, its number of rows, and the start of the chart's scale; None without a
    scorecard.
    """
    messages = cursor.writer.messages
    cursor.start_section(messages.text("summary.rates"), messages.text("summary.rates_about") if scorecard else "")
    if scorecard is None:
        cursor.write_line(messages.text("summary.no_rates"), "text")
        return None
    names = {
        one["measure"]: one["name"][messages.language]
        for one in scorecard["definitions"]
        if one["measure"] in RENEWAL_RATES
    }
    rows = renewal_rate_rows(scorecard)
    cells = [[*row[:2], messages.text(f"state.{row[2]}"), *row[3:]] for row in rows]
    measures = [names[measure] for measure in RENEWAL_RATES]
    years = [messages.text("summary.by_year", measure=name) for name in measures]
    headings = [
        messages.text("page.month"),
        messages.text("summary.due"),
        messages.text("summary.state"),
        *measures,
        *years,
    ]
    known = [rate for row in rows for rate in row[6:8] if rate is not None]
    lowest = max(math.floor(10 * min(known, default=0.0)) / 10 - 0.1, 0.0)
    return cursor.write_table(headings, cells, ("month", "number", "text", *["probability"] * 6)), len(rows), lowest


def renewal_rate_rows(scorecard: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of the table of renewal rates: one per month, the newest last.

    Each has the first day of the month, the number of renewals decided, the state, and `RENEWAL_RATES` of the month and
    of the year that ends with it; None where a rate is not final yet.
    """
    rows = [dict(zip(scorecard["columns"], row, strict=True)) for row in scorecard["rows"]]
    by_key = {(r["period_kind"], r["period"], r["measure"]): r for r in rows if r["segment_kind"] == "company"}
    months = sorted({period for kind, period, name in by_key if kind == "month" and name in RENEWAL_RATES})[
        -MAX_MONTHS:
    ]
    table = []
    for month in months:
        count = by_key[("month", month, RENEWAL_RATES[0])]
        rates = [
            by_key.get((kind, month, name), {}).get("value")
            for kind in ("month", "trailing_year")
            for name in RENEWAL_RATES
        ]
        table.append([_first_day(month), count["denominator"], count["state"], *rates])
    return table


def _first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def write_forecast(cursor: _SheetCursor, forecast: Sequence[Mapping[str, Any]]) -> None:
    """Write the forecast by quarter and for the year: a table of amounts and one of rates."""
    messages = cursor.writer.messages
    cursor.start_section(messages.text("summary.forecast_money"))
    if not forecast:
        cursor.write_line(messages.text("summary.no_forecast"), "text")
        return
    cursor.write_line(messages.text("summary.forecast_about", confidence=forecast[0]["confidence"]), "note")
    for measures, kind in ((FORECAST_AMOUNTS, "number"), (FORECAST_RATES, "probability")):
        if kind == "probability":
            cursor.start_section(messages.text("summary.forecast_rates"))
        ends = (messages.text("page.low"), messages.text("page.high"))
        headings = [text for name in measures for text in (messages.text(f"forecast.{name}"), *ends)]
        rows = [
            [_period_text(messages, *period), *values]
            for period, values in _values_by_period(forecast, measures).items()
        ]
        cursor.write_table([messages.text("forecast.period"), *headings], rows, ("text", *[kind] * (3 * len(measures))))


def _values_by_period(
    forecast: Sequence[Mapping[str, Any]], measures: Sequence[str]
) -> dict[tuple[str, str], list[Any]]:
    """Expected, low and high value of each measure by (period kind, period), in the forecast's order."""
    by_key = {(row["period_kind"], row["period"], row["measure"]): row for row in forecast}
    periods = dict.fromkeys((row["period_kind"], row["period"]) for row in forecast)
    ends = ("expected", "low", "high")
    return {p: [by_key.get((*p, name), {}).get(end) for name in measures for end in ends] for p in periods}


def _period_text(messages: Any, kind: str, last: str) -> str:
    months_back = (QUARTER_MONTHS if kind == "quarter" else YEAR_MONTHS) - 1
    first = str(pd.Period(last, "M") - months_back)
    return str(messages.text(f"forecast.{kind}", first=messages.month(first), last=messages.month(last)))


def write_months(cursor: _SheetCursor, months: Sequence[Mapping[str, Any]]) -> int:
    """Write accounts, ARR up for renewal, ARR at risk and the rest by month; return the first row of the table."""
    messages = cursor.writer.messages
    cursor.start_section(messages.text("page.by_month"))
    sums = [(m["accounts"], m["arr"], m["arr_at_risk"], m["arr"] - m["arr_at_risk"]) for m in months]
    rows = [[_first_day(m["month"]), *values] for m, values in zip(months, sums, strict=True)]
    return cursor.write_table(
        [messages.text("page.month"), *_sum_headings(messages), messages.text("summary.rest")],
        rows,
        ("month", *["number"] * 4),
    )


def _sum_headings(messages: Any) -> list[str]:
    return [messages.text("page.accounts"), messages.heading("arr"), messages.heading("arr_at_risk")]


def write_groups(cursor: _SheetCursor, name: str, title: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """Write accounts, ARR and ARR at risk of each risk band or quadrant."""
    messages = cursor.writer.messages
    cursor.start_section(messages.text(title))
    rows = [[messages.value(name, one[name]), one["accounts"], one["arr"], one["arr_at_risk"]] for one in groups]
    cursor.write_table([messages.heading(name), *_sum_headings(messages)], rows, ("text", *["number"] * 3))


def write_changes(cursor: _SheetCursor, comparison: ListComparison | None) -> None:
    """Write the changes since the previous list: counts, changes of risk band, and the largest decreases."""
    messages = cursor.writer.messages
    cursor.start_section(
        messages.text("summary.changes", last=messages.day(comparison.previous_day))
        if comparison
        else messages.text("page.changed")
    )
    if comparison is None:
        cursor.write_line(messages.text("summary.no_last"), "text")
        return
    counts = [
        [messages.text(f"summary.{n}", points=CHANGE_THRESHOLD_POINTS), getattr(comparison, n)]
        for n in ("fell", "rose", "new", "gone")
    ]
    cursor.write_table(["", messages.text("summary.accounts")], counts, ("text", "number"))
    cursor.start_section(messages.text("summary.bands"))
    headings = [
        messages.heading("risk_band"),
        *(messages.text(f"summary.{name}") for name in ("before", "came", "left", "now")),
    ]
    rows = [
        [messages.value("risk_band", band), *counts_of_band]
        for band, *counts_of_band in comparison.band_changes.itertuples(index=False)
    ]
    cursor.write_table(headings, rows, ("text", *["number"] * 4))
    if len(comparison.largest_decreases):
        _write_decreases(cursor, comparison.largest_decreases)


def _write_decreases(cursor: _SheetCursor, decreases: pd.DataFrame) -> None:
    """Write the accounts whose probability fell most, with the reasons; one row per account."""
    messages = cursor.writer.messages
    cursor.start_section(messages.text("summary.falls"))
    names = ["account_name", "csm", "arr", "then", "renewal_probability", "probability_change", "reason_change"]
    cells = decreases[names].astype(object).where(decreases[names].notna(), None).to_numpy().tolist()
    then = messages.text("summary.then")
    first = cursor.write_table(
        [then if name == "then" else messages.heading(name) for name in names],
        [[*row_cells[:-1], None] for row_cells in cells],
        ("text", "text", "number", "probability", "probability", "change", "text"),
    )
    for row, row_cells in enumerate(cells, start=first):
        cursor.write_wrapped(row_cells[-1] or "", row, first=len(names) - 1)


def write_portfolios(cursor: _SheetCursor, portfolios: Sequence[Mapping[str, Any]]) -> None:
    """Write the portfolios with the highest load and their managers' capacity (M2); loads above 100 % are red."""
    messages = cursor.writer.messages
    cursor.start_section(messages.text("summary.portfolios"), messages.text("page.load_about"))
    by_load = sorted((one for one in portfolios if one["load"] is not None), key=lambda one: -one["load"])
    names = ("accounts", "most_accounts", "arr", "most_arr", "fits")
    rows = [
        [one["name"] or messages.text("page.nobody"), one["load"], *(one[name] for name in names)]
        for one in by_load[:MAX_PORTFOLIOS]
    ]
    heading_keys = ["page.accounts", "page.room_accounts", "heading.arr", "page.room_arr", "summary.within"]
    first = cursor.write_table(
        [messages.heading("csm"), messages.text("summary.load"), *map(messages.text, heading_keys)],
        rows,
        ("text", "probability", *["number"] * 5),
    )
    if rows:
        rule = {"type": "cell", "criteria": ">", "value": 1, "format": cursor.writer.formats["high"]}
        check_return_code(cursor.sheet.conditional_format(first, 1, cursor.row - 1, 1, rule))
    if len(by_load) > MAX_PORTFOLIOS:
        cursor.write_line(messages.text("summary.portfolios_more", number=len(by_load) - MAX_PORTFOLIOS), "note")


def write_history(cursor: _SheetCursor, sentences: Sequence[str]) -> None:
    """Write what the models did with columns of which only today's value is known; nothing without sentences."""
    if not sentences:
        return
    cursor.start_section(cursor.writer.messages.text("page.about_data"))
    for sentence in sentences:
        cursor.write_wrapped(sentence, cursor.row)
        cursor.row += 1


# --- the charts ---------------------------------------------------------------------------------------


def _add_months_chart(writer: WorkbookWriter, sheet: Worksheet, title: str, first: int, count: int, row: int) -> None:
    """Add a chart of ARR by month of renewal: ARR at risk, and the rest stacked above it."""
    chart = writer.workbook.add_chart({"type": "column", "subtype": "stacked"})
    for column, name in ((3, "arr_at_risk"), (4, "rest")):
        chart.add_series(
            _series_options(title, first, count, column) | {"fill": {"color": SERIES_COLOURS[name]}, "gap": 60}
        )
    chart.set_y_axis({"num_format": "#,##0", **_axis_options(writer)})
    _insert_chart(writer, sheet, chart, writer.messages.text("page.by_month"), row, 0)


def _add_rates_chart(
    writer: WorkbookWriter, sheet: Worksheet, title: str, first: int, count: int, lowest: float, row: int
) -> None:
    """Add a chart of the renewal rates, by count and by revenue, of the years that end with each month."""
    chart = writer.workbook.add_chart({"type": "line"})
    for column, name in ((6, "count"), (7, "revenue")):
        chart.add_series(
            _series_options(title, first, count, column) | {"line": {"color": SERIES_COLOURS[name], "width": 2.25}}
        )
    chart.set_y_axis({"num_format": "0%", "min": lowest, "max": 1, **_axis_options(writer)})
    chart.show_blanks_as("gap")
    _insert_chart(writer, sheet, chart, writer.messages.text("summary.rates"), row, 5)


def _series_options(title: str, first: int, count: int, column: int) -> dict[str, Any]:
    """Options of a chart series for one column of a table: the heading is its name, the first column its categories."""
    span = (first, first + count - 1)
    return {
        "name": [title, first - 1, column],
        "categories": [title, span[0], 0, span[1], 0],
        "values": [title, span[0], column, span[1], column],
    }


def _axis_options(writer: WorkbookWriter) -> dict[str, Any]:
    return {"num_font": _font_options(writer), "major_gridlines": {"visible": True, "line": {"color": "#D9D9D9"}}}


def _font_options(writer: WorkbookWriter) -> dict[str, Any]:
    return {"name": CHART_FONTS[writer.messages.language], "size": 9}


def _insert_chart(writer: WorkbookWriter, sheet: Worksheet, chart: Any, title: str, row: int, column: int) -> None:
    chart.set_title({"name": title, "name_font": {**_font_options(writer), "size": 11, "bold": True}, "overlay": False})
    chart.set_legend({"position": "bottom", "font": _font_options(writer)})
    month = DATE_FORMATS[writer.messages.language]["month"]
    chart.set_x_axis({"num_font": _font_options(writer) | {"rotation": -45}, "text_axis": True, "num_format": month})
    chart.set_size({"width": 600, "height": CHART_ROWS * 20})
    check_return_code(sheet.insert_chart(row, column, chart))
