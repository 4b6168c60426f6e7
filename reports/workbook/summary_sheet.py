"""The first sheet, for the head of customer success: what to look at first, and what the list comes to in all.

Sums are numbers, never formulas: they are of the whole list, of which a workbook may show a part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
from xlsxwriter.worksheet import Worksheet

from renewals.reports.list_summary import CHANGE_THRESHOLD_POINTS, ListComparison, portfolio_loads, summarize_list
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
"""The measures of the scorecard that are shown: R4 by count and by revenue, and R5."""
MAX_MONTHS = 12
FORECAST_AMOUNTS, FORECAST_RATES = (
    ("arr_due", "arr_renewed", "arr_at_risk"),
    ("revenue_renewal_rate", "gross_retention", "net_retention"),
)
"""The measures of the forecast that are shown."""
MAX_PORTFOLIOS = 20
"""So many portfolios are shown."""
QUARTER_MONTHS, YEAR_MONTHS = 3, 12
FIRST_COLUMN_WIDTH, COLUMN_WIDTH, COLUMN_COUNT = 30, 14, 11
"""The widths of the columns, and how many there are."""
COLUMN_WIDTHS = (FIRST_COLUMN_WIDTH, *[COLUMN_WIDTH] * (COLUMN_COUNT - 1))
CHART_ROWS = 15
MAX_NAME_LENGTH = 80
"""Of an account, within a sentence."""
SERIES_COLOURS = {"arr_at_risk": "#C0504D", "rest": "#9DC3E6", "count": "#1F4E79", "revenue": "#C55A11"}


@dataclass(frozen=True)
class SummaryData:
    """What the first sheet tells beside the list itself."""

    comparison: ListComparison | None = None
    forecast: Sequence[Mapping[str, Any]] = ()
    """`period_kind`, `period`, `measure`, `expected`, `low`, `high` of the whole company; empty where there is none."""
    scorecard: Mapping[str, Any] | None = None
    """The scorecard of the day, as its JSON has it."""
    notes: Sequence[str] = field(default_factory=list)
    """What else is to be said of this workbook."""


class _SheetCursor:
    """The sheet as it is written from top to bottom; `row` is the next free one."""

    def __init__(self, writer: WorkbookWriter, sheet: Worksheet) -> None:
        self.writer, self.sheet, self.row = writer, sheet, 0

    def write_line(self, text: str, kind: str) -> None:
        self.writer.write_text(self.sheet, self.row, 0, text, kind)
        self.row += 1

    def write_wrapped(self, text: str, row: int, first: int = 0) -> None:
        """A text that wraps, from a column to the last, in a row made as high as it needs."""
        self.writer.write_across(self.sheet, row, text, "wrapped", COLUMN_WIDTHS[first:], first)

    def start_section(self, title: str, about: str = "") -> None:
        self.row += 1
        self.write_line(title, "section")
        if about:
            self.write_line(about, "note")

    def write_table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]], kinds: Sequence[str]) -> int:
        """A table, the number of whose first row of cells is returned."""
        for place, (heading, kind) in enumerate(zip(headings, kinds, strict=True)):
            over = "head" if kind in ("text", "month") else "over"
            self.writer.write_text(self.sheet, self.row, place, heading[:1].upper() + heading[1:], over)
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
    """The sheet; `risk_list` is the whole list."""
    sheet = writer.add_sheet(title)
    sheet.set_column(0, 0, FIRST_COLUMN_WIDTH)
    sheet.set_column(1, COLUMN_COUNT - 1, COLUMN_WIDTH)
    sheet.hide_gridlines(2)
    sheet.set_default_row(LINE_HEIGHT)
    page, sums = _SheetCursor(writer, sheet), summarize_list(risk_list, options)
    page.row = writer.write_notices(sheet, COLUMN_WIDTHS)
    sheet.set_row(page.row, 1.5 * LINE_HEIGHT)
    carried = portfolio_loads(risk_list, options)
    as_of = writer.messages.day(risk_list["as_of"].iloc[0].date()) if len(risk_list) else ""
    page.write_line(writer.messages.text("columns.as_of", as_of=as_of), "title")
    for sentence in [*summary_sentences(risk_list, sums, carried, data.comparison, writer), *data.notes]:
        page.write_wrapped(sentence, page.row)
        page.row += 1
    drawn = page.row + 1
    page.row += CHART_ROWS + 2
    rates = write_renewal_rates(page, data.scorecard)
    write_forecast(page, data.forecast)
    months = write_months(page, sums["months"])
    write_groups(page, "risk_band", "summary.by_band", sums["bands"])
    write_groups(page, "quadrant", "page.by_quadrant", sums["quadrants"])
    write_changes(page, data.comparison)
    write_portfolios(page, carried)
    sheet.print_area(0, 0, page.row, COLUMN_COUNT - 1)
    if sums["months"]:
        _add_months_chart(writer, sheet, title, months, len(sums["months"]), drawn)
    if rates:
        _add_rates_chart(writer, sheet, title, *rates, drawn)


# --- what to look at first ----------------------------------------------------------------------------


def summary_sentences(
    risk_list: pd.DataFrame,
    summary: Mapping[str, Any],
    portfolios: Sequence[Mapping[str, Any]],
    comparison: ListComparison | None,
    writer: WorkbookWriter,
) -> list[str]:
    """What to look at first, in sentences."""
    if risk_list.empty:
        return [writer.messages.text("summary.nothing")]
    said = [
        _high_risk_sentence(risk_list, writer),
        *([_expected_loss_sentence(risk_list, summary, writer)] if summary["months"] else []),
    ]
    if comparison:
        last = writer.messages.day(comparison.previous_day)
        said.append(
            writer.messages.text(
                "summary.moved", last=last, fell=comparison.fell, rose=comparison.rose, points=CHANGE_THRESHOLD_POINTS
            )
        )
    if over := sum((one["load"] or 0) > 1 for one in portfolios):
        said.append(writer.messages.text("summary.over", over=over, all=len(portfolios)))
    return said


def _high_risk_sentence(risk_list: pd.DataFrame, writer: WorkbookWriter) -> str:
    high = risk_list[risk_list["risk_band"] == "high"]
    if high.empty:
        return writer.messages.text("summary.none_high", all=len(risk_list))
    most = high.sort_values(["arr_at_risk", "rank"], ascending=[False, True], kind="stable", na_position="last").iloc[0]
    name = str(most["account_name"] if pd.notna(most["account_name"]) else most["account_id"])
    return writer.messages.text(
        "summary.high",
        high=len(high),
        all=len(risk_list),
        arr_high=high["arr"].sum(),
        arr=risk_list["arr"].sum(),
        currency=_currency(risk_list),
        name=truncate(name, MAX_NAME_LENGTH, " …"),
        own=0.0 if pd.isna(most["arr"]) else most["arr"],
        day=writer.messages.day(most["renewal_date"].date()),
        chance=most["renewal_probability"],
    )


def _expected_loss_sentence(risk_list: pd.DataFrame, summary: Mapping[str, Any], writer: WorkbookWriter) -> str:
    most = max(summary["months"], key=lambda month: month["arr_at_risk"])
    own = {"month": writer.messages.month(most["month"]), "most": most["arr_at_risk"], "currency": _currency(risk_list)}
    return writer.messages.text("summary.lost", at_risk=summary["arr_at_risk"], **own)


def _currency(risk_list: pd.DataFrame) -> str:
    return " / ".join(sorted(map(str, risk_list["currency"].dropna().unique())))


# --- the tables ---------------------------------------------------------------------------------------


def write_renewal_rates(cursor: _SheetCursor, scorecard: Mapping[str, Any] | None) -> tuple[int, int, float] | None:
    """Both renewal rates and the pure one, of the newest months and of the years that end with them.

    The first row of the table, how many there are, and where the scale of a chart may begin; None where there is no
    scorecard.
    """
    words = cursor.writer.messages
    cursor.start_section(words.text("summary.rates"), words.text("summary.rates_about") if scorecard else "")
    if scorecard is None:
        cursor.write_line(words.text("summary.no_rates"), "text")
        return None
    names = {
        one["measure"]: one["name"][words.language]
        for one in scorecard["definitions"]
        if one["measure"] in RENEWAL_RATES
    }
    rows = renewal_rate_rows(scorecard)
    told = [[*row[:2], words.text(f"state.{row[2]}"), *row[3:]] for row in rows]
    measures = [names[measure] for measure in RENEWAL_RATES]
    years = [words.text("summary.by_year", measure=name) for name in measures]
    head = [words.text("page.month"), words.text("summary.due"), words.text("summary.state"), *measures, *years]
    known = [rate for row in rows for rate in row[6:8] if rate is not None]
    lowest = max(math.floor(10 * min(known, default=0.0)) / 10 - 0.1, 0.0)
    return cursor.write_table(head, told, ("month", "number", "text", *["probability"] * 6)), len(rows), lowest


def renewal_rate_rows(scorecard: Mapping[str, Any]) -> list[list[Any]]:
    """One row per month, the newest last: its first day, the renewals decided, its state, and `RENEWAL_RATES` of the
    month and of the year that ends with it; None where a rate is open."""
    rows = [dict(zip(scorecard["columns"], row, strict=True)) for row in scorecard["rows"]]
    own = {(r["period_kind"], r["period"], r["measure"]): r for r in rows if r["segment_kind"] == "company"}
    months = sorted({period for kind, period, name in own if kind == "month" and name in RENEWAL_RATES})[-MAX_MONTHS:]
    table = []
    for month in months:
        count = own[("month", month, RENEWAL_RATES[0])]
        both = [
            own.get((kind, month, name), {}).get("value")
            for kind in ("month", "trailing_year")
            for name in RENEWAL_RATES
        ]
        table.append([_first_day(month), count["denominator"], count["state"], *both])
    return table


def _first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def write_forecast(cursor: _SheetCursor, forecast: Sequence[Mapping[str, Any]]) -> None:
    """The forecast by quarter and for the year: money, then rates."""
    words = cursor.writer.messages
    cursor.start_section(words.text("summary.forecast_money"))
    if not forecast:
        cursor.write_line(words.text("summary.no_forecast"), "text")
        return
    cursor.write_line(words.text("summary.forecast_about", confidence=forecast[0]["confidence"]), "note")
    for measures, kind in ((FORECAST_AMOUNTS, "number"), (FORECAST_RATES, "probability")):
        if kind == "probability":
            cursor.start_section(words.text("summary.forecast_rates"))
        ends = (words.text("page.low"), words.text("page.high"))
        head = [text for name in measures for text in (words.text(f"forecast.{name}"), *ends)]
        rows = [[_period_text(words, *period), *own] for period, own in _values_by_period(forecast, measures).items()]
        cursor.write_table([words.text("forecast.period"), *head], rows, ("text", *[kind] * (3 * len(measures))))


def _values_by_period(
    forecast: Sequence[Mapping[str, Any]], measures: Sequence[str]
) -> dict[tuple[str, str], list[Any]]:
    """Expected, low and high of each measure, by period, in the forecast's order."""
    own = {(row["period_kind"], row["period"], row["measure"]): row for row in forecast}
    periods = dict.fromkeys((row["period_kind"], row["period"]) for row in forecast)
    ends = ("expected", "low", "high")
    return {p: [own.get((*p, name), {}).get(end) for name in measures for end in ends] for p in periods}


def _period_text(messages: Any, kind: str, last: str) -> str:
    back = (QUARTER_MONTHS if kind == "quarter" else YEAR_MONTHS) - 1
    first = str(pd.Period(last, "M") - back)
    return str(messages.text(f"forecast.{kind}", first=messages.month(first), last=messages.month(last)))


def write_months(cursor: _SheetCursor, months: Sequence[Mapping[str, Any]]) -> int:
    """ARR up for renewal, at risk and expected to stay, by month; the first row of the table."""
    words = cursor.writer.messages
    cursor.start_section(words.text("page.by_month"))
    sums = [(m["accounts"], m["arr"], m["arr_at_risk"], m["arr"] - m["arr_at_risk"]) for m in months]
    rows = [[_first_day(m["month"]), *own] for m, own in zip(months, sums, strict=True)]
    return cursor.write_table(
        [words.text("page.month"), *_sum_headings(words), words.text("summary.rest")], rows, ("month", *["number"] * 4)
    )


def _sum_headings(messages: Any) -> list[str]:
    return [messages.text("page.accounts"), messages.heading("arr"), messages.heading("arr_at_risk")]


def write_groups(cursor: _SheetCursor, name: str, title: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """Accounts, ARR and ARR at risk of each risk band or quadrant."""
    words = cursor.writer.messages
    cursor.start_section(words.text(title))
    rows = [[words.value(name, one[name]), one["accounts"], one["arr"], one["arr_at_risk"]] for one in groups]
    cursor.write_table([words.heading(name), *_sum_headings(words)], rows, ("text", *["number"] * 3))


def write_changes(cursor: _SheetCursor, comparison: ListComparison | None) -> None:
    """What changed since the last list."""
    words = cursor.writer.messages
    cursor.start_section(
        words.text("summary.changes", last=words.day(comparison.previous_day))
        if comparison
        else words.text("page.changed")
    )
    if comparison is None:
        cursor.write_line(words.text("summary.no_last"), "text")
        return
    counts = [
        [words.text(f"summary.{n}", points=CHANGE_THRESHOLD_POINTS), getattr(comparison, n)]
        for n in ("fell", "rose", "new", "gone")
    ]
    cursor.write_table(["", words.text("summary.accounts")], counts, ("text", "number"))
    cursor.start_section(words.text("summary.bands"))
    head = [words.heading("risk_band"), *(words.text(f"summary.{name}") for name in ("before", "came", "left", "now"))]
    rows = [[words.value("risk_band", band), *own] for band, *own in comparison.band_changes.itertuples(index=False)]
    cursor.write_table(head, rows, ("text", *["number"] * 4))
    if len(comparison.largest_decreases):
        _write_decreases(cursor, comparison.largest_decreases)


def _write_decreases(cursor: _SheetCursor, decreases: pd.DataFrame) -> None:
    """Whose chance fell most, and why; one row per account."""
    words = cursor.writer.messages
    cursor.start_section(words.text("summary.falls"))
    names = ["account_name", "csm", "arr", "then", "renewal_probability", "probability_change", "reason_change"]
    cells = decreases[names].astype(object).where(decreases[names].notna(), None).to_numpy().tolist()
    then = words.text("summary.then")
    first = cursor.write_table(
        [then if name == "then" else words.heading(name) for name in names],
        [[*own[:-1], None] for own in cells],
        ("text", "text", "number", "probability", "probability", "change", "text"),
    )
    for row, own in enumerate(cells, start=first):
        cursor.write_wrapped(own[-1] or "", row, first=len(names) - 1)


def write_portfolios(cursor: _SheetCursor, portfolios: Sequence[Mapping[str, Any]]) -> None:
    """The fullest portfolios beside what their managers can carry (M2); what is too much is red."""
    words = cursor.writer.messages
    cursor.start_section(words.text("summary.portfolios"), words.text("page.load_about"))
    full = sorted((one for one in portfolios if one["load"] is not None), key=lambda one: -one["load"])
    names = ("accounts", "most_accounts", "arr", "most_arr", "fits")
    rows = [
        [one["name"] or words.text("page.nobody"), one["load"], *(one[name] for name in names)]
        for one in full[:MAX_PORTFOLIOS]
    ]
    head = ["page.accounts", "page.room_accounts", "heading.arr", "page.room_arr", "summary.within"]
    first = cursor.write_table(
        [words.heading("csm"), words.text("summary.load"), *map(words.text, head)],
        rows,
        ("text", "probability", *["number"] * 5),
    )
    if rows:
        rule = {"type": "cell", "criteria": ">", "value": 1, "format": cursor.writer.formats["high"]}
        check_return_code(cursor.sheet.conditional_format(first, 1, cursor.row - 1, 1, rule))
    if len(full) > MAX_PORTFOLIOS:
        cursor.write_line(words.text("summary.portfolios_more", number=len(full) - MAX_PORTFOLIOS), "note")


# --- the charts ---------------------------------------------------------------------------------------


def _add_months_chart(writer: WorkbookWriter, sheet: Worksheet, title: str, first: int, count: int, row: int) -> None:
    """ARR by month of renewal: what is at risk, and above it the rest."""
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
    """The renewal rates of the years that end with each month, by count and by revenue."""
    chart = writer.workbook.add_chart({"type": "line"})
    for column, name in ((6, "count"), (7, "revenue")):
        chart.add_series(
            _series_options(title, first, count, column) | {"line": {"color": SERIES_COLOURS[name], "width": 2.25}}
        )
    chart.set_y_axis({"num_format": "0%", "min": lowest, "max": 1, **_axis_options(writer)})
    chart.show_blanks_as("gap")
    _insert_chart(writer, sheet, chart, writer.messages.text("summary.rates"), row, 5)


def _series_options(title: str, first: int, count: int, column: int) -> dict[str, Any]:
    """A column of a table, named by its heading and drawn by its first column."""
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
