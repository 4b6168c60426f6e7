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

from renewals.reports.list_summary import POINTS, Moved, portfolios, summary
from renewals.reports.sanitize import shortened
from renewals.reports.settings import ListOptions
from renewals.reports.workbook.writer import DAYS, FONTS, LINE, Book, done, lines

RATES = ("logo_renewal_rate", "revenue_renewal_rate", "pure_renewal_rate")
"""The measures of the scorecard that are shown: R4 by count and by revenue, and R5."""
MONTHS = 12
MONEY, SHARES = ("arr_due", "arr_renewed", "arr_at_risk"), ("revenue_renewal_rate", "gross_retention", "net_retention")
"""The measures of the forecast that are shown."""
FULLEST = 20
"""So many portfolios are shown."""
QUARTER, YEAR = 3, 12
FIRST, OTHER, COLUMNS = 30, 14, 11
"""The widths of the columns, and how many there are."""
WIDTHS = (FIRST, *[OTHER] * (COLUMNS - 1))
CHART_ROWS = 15
LONGEST_NAME = 80
"""Of an account, within a sentence."""
COLOURS = {"arr_at_risk": "#C0504D", "rest": "#9DC3E6", "count": "#1F4E79", "revenue": "#C55A11"}


@dataclass(frozen=True)
class Told:
    """What the first sheet tells beside the list itself."""

    moved: Moved | None = None
    forecast: Sequence[Mapping[str, Any]] = ()
    """`period_kind`, `period`, `measure`, `expected`, `low`, `high` of the whole company; empty where there is none."""
    card: Mapping[str, Any] | None = None
    """The scorecard of the day, as its JSON has it."""
    notes: Sequence[str] = field(default_factory=list)
    """What else is to be said of this workbook."""


class _Page:
    """The sheet as it is written from top to bottom; `row` is the next free one."""

    def __init__(self, book: Book, sheet: Worksheet) -> None:
        self.book, self.sheet, self.row = book, sheet, 0

    def line(self, text: str, kind: str) -> None:
        self.book.text(self.sheet, self.row, 0, text, kind)
        self.row += 1

    def across(self, text: str, row: int, first: int = 0) -> None:
        """A text that wraps, from a column to the last, in a row made as high as it needs."""
        self.book.across(self.sheet, row, text, "wrapped", WIDTHS[first:], first)

    def section(self, title: str, about: str = "") -> None:
        self.row += 1
        self.line(title, "section")
        if about:
            self.line(about, "note")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Any]], kinds: Sequence[str]) -> int:
        """A table, the number of whose first row of cells is returned."""
        for place, (heading, kind) in enumerate(zip(headings, kinds, strict=True)):
            over = "head" if kind in ("text", "month") else "over"
            self.book.text(self.sheet, self.row, place, heading[:1].upper() + heading[1:], over)
        self.sheet.set_row(self.row, LINE * max(lines(heading, OTHER - 2) for heading in headings[1:]))
        first = self.row + 1
        self.book.rows(self.sheet, first, rows, kinds)
        self.row = first + len(rows)
        return first


def write(book: Book, title: str, listed: pd.DataFrame, told: Told, options: ListOptions) -> None:
    """The sheet; `listed` is the whole list."""
    sheet = book.sheet(title)
    sheet.set_column(0, 0, FIRST)
    sheet.set_column(1, COLUMNS - 1, OTHER)
    sheet.hide_gridlines(2)
    sheet.set_default_row(LINE)
    page, sums = _Page(book, sheet), summary(listed, options)
    page.row = book.write_notices(sheet, WIDTHS)
    sheet.set_row(page.row, 1.5 * LINE)
    carried = portfolios(listed, options)
    as_of = book.words.day(listed["as_of"].iloc[0].date()) if len(listed) else ""
    page.line(book.words.say("columns.as_of", as_of=as_of), "title")
    for sentence in [*first_words(listed, sums, carried, told.moved, book), *told.notes]:
        page.across(sentence, page.row)
        page.row += 1
    drawn = page.row + 1
    page.row += CHART_ROWS + 2
    rates = renewal_rates(page, told.card)
    foretold(page, told.forecast)
    months = by_month(page, sums["months"])
    by_group(page, "risk_band", "summary.by_band", sums["bands"])
    by_group(page, "quadrant", "page.by_quadrant", sums["quadrants"])
    changes(page, told.moved)
    over_capacity(page, carried)
    sheet.print_area(0, 0, page.row, COLUMNS - 1)
    if sums["months"]:
        _months_chart(book, sheet, title, months, len(sums["months"]), drawn)
    if rates:
        _rates_chart(book, sheet, title, *rates, drawn)


# --- what to look at first ----------------------------------------------------------------------------


def first_words(
    listed: pd.DataFrame, sums: Mapping[str, Any], carried: Sequence[Mapping[str, Any]], moved: Moved | None, book: Book
) -> list[str]:
    """What to look at first, in sentences."""
    if listed.empty:
        return [book.words.say("summary.nothing")]
    said = [_at_risk(listed, book), *([_expected(listed, sums, book)] if sums["months"] else [])]
    if moved:
        last = book.words.day(moved.last)
        said.append(book.words.say("summary.moved", last=last, fell=moved.fell, rose=moved.rose, points=POINTS))
    if over := sum((one["load"] or 0) > 1 for one in carried):
        said.append(book.words.say("summary.over", over=over, all=len(carried)))
    return said


def _at_risk(listed: pd.DataFrame, book: Book) -> str:
    high = listed[listed["risk_band"] == "high"]
    if high.empty:
        return book.words.say("summary.none_high", all=len(listed))
    most = high.sort_values(["arr_at_risk", "rank"], ascending=[False, True], kind="stable", na_position="last").iloc[0]
    name = str(most["account_name"] if pd.notna(most["account_name"]) else most["account_id"])
    return book.words.say(
        "summary.high",
        high=len(high),
        all=len(listed),
        arr_high=high["arr"].sum(),
        arr=listed["arr"].sum(),
        currency=_currency(listed),
        name=shortened(name, LONGEST_NAME, " …"),
        own=0.0 if pd.isna(most["arr"]) else most["arr"],
        day=book.words.day(most["renewal_date"].date()),
        chance=most["renewal_probability"],
    )


def _expected(listed: pd.DataFrame, sums: Mapping[str, Any], book: Book) -> str:
    most = max(sums["months"], key=lambda month: month["arr_at_risk"])
    own = {"month": book.words.month(most["month"]), "most": most["arr_at_risk"], "currency": _currency(listed)}
    return book.words.say("summary.lost", at_risk=sums["arr_at_risk"], **own)


def _currency(listed: pd.DataFrame) -> str:
    return " / ".join(sorted(map(str, listed["currency"].dropna().unique())))


# --- the tables ---------------------------------------------------------------------------------------


def renewal_rates(page: _Page, card: Mapping[str, Any] | None) -> tuple[int, int, float] | None:
    """Both renewal rates and the pure one, of the newest months and of the years that end with them.

    The first row of the table, how many there are, and where the scale of a chart may begin; None where there is no
    scorecard.
    """
    words = page.book.words
    page.section(words.say("summary.rates"), words.say("summary.rates_about") if card else "")
    if card is None:
        page.line(words.say("summary.no_rates"), "text")
        return None
    names = {one["measure"]: one["name"][words.language] for one in card["definitions"] if one["measure"] in RATES}
    rows = rates(card)
    told = [[*row[:2], words.say(f"state.{row[2]}"), *row[3:]] for row in rows]
    measures = [names[measure] for measure in RATES]
    years = [words.say("summary.by_year", measure=name) for name in measures]
    head = [words.say("page.month"), words.say("summary.due"), words.say("summary.state"), *measures, *years]
    known = [rate for row in rows for rate in row[6:8] if rate is not None]
    lowest = max(math.floor(10 * min(known, default=0.0)) / 10 - 0.1, 0.0)
    return page.table(head, told, ("month", "number", "text", *["probability"] * 6)), len(rows), lowest


def rates(card: Mapping[str, Any]) -> list[list[Any]]:
    """One row per month, the newest last: its first day, the renewals decided, its state, and `RATES` of the month and
    of the year that ends with it; None where a rate is open."""
    rows = [dict(zip(card["columns"], row, strict=True)) for row in card["rows"]]
    own = {(r["period_kind"], r["period"], r["measure"]): r for r in rows if r["segment_kind"] == "company"}
    months = sorted({period for kind, period, name in own if kind == "month" and name in RATES})[-MONTHS:]
    table = []
    for month in months:
        count = own[("month", month, RATES[0])]
        both = [own.get((kind, month, name), {}).get("value") for kind in ("month", "trailing_year") for name in RATES]
        table.append([_first_day(month), count["denominator"], count["state"], *both])
    return table


def _first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def foretold(page: _Page, forecast: Sequence[Mapping[str, Any]]) -> None:
    """The forecast by quarter and for the year: money, then rates."""
    words = page.book.words
    page.section(words.say("summary.forecast_money"))
    if not forecast:
        page.line(words.say("summary.no_forecast"), "text")
        return
    page.line(words.say("summary.forecast_about", confidence=forecast[0]["confidence"]), "note")
    for measures, kind in ((MONEY, "number"), (SHARES, "probability")):
        if kind == "probability":
            page.section(words.say("summary.forecast_rates"))
        ends = (words.say("page.low"), words.say("page.high"))
        head = [text for name in measures for text in (words.say(f"forecast.{name}"), *ends)]
        rows = [[_span(words, *period), *own] for period, own in _by_period(forecast, measures).items()]
        page.table([words.say("forecast.period"), *head], rows, ("text", *[kind] * (3 * len(measures))))


def _by_period(forecast: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> dict[tuple[str, str], list[Any]]:
    """Expected, low and high of each measure, by period, in the forecast's order."""
    own = {(row["period_kind"], row["period"], row["measure"]): row for row in forecast}
    periods = dict.fromkeys((row["period_kind"], row["period"]) for row in forecast)
    ends = ("expected", "low", "high")
    return {p: [own.get((*p, name), {}).get(end) for name in measures for end in ends] for p in periods}


def _span(words: Any, kind: str, last: str) -> str:
    back = (QUARTER if kind == "quarter" else YEAR) - 1
    first = str(pd.Period(last, "M") - back)
    return str(words.say(f"forecast.{kind}", first=words.month(first), last=words.month(last)))


def by_month(page: _Page, months: Sequence[Mapping[str, Any]]) -> int:
    """ARR up for renewal, at risk and expected to stay, by month; the first row of the table."""
    words = page.book.words
    page.section(words.say("page.by_month"))
    sums = [(m["accounts"], m["arr"], m["arr_at_risk"], m["arr"] - m["arr_at_risk"]) for m in months]
    rows = [[_first_day(m["month"]), *own] for m, own in zip(months, sums, strict=True)]
    return page.table(
        [words.say("page.month"), *_sums_head(words), words.say("summary.rest")], rows, ("month", *["number"] * 4)
    )


def _sums_head(words: Any) -> list[str]:
    return [words.say("page.accounts"), words.heading("arr"), words.heading("arr_at_risk")]


def by_group(page: _Page, name: str, title: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """Accounts, ARR and ARR at risk of each risk band or quadrant."""
    words = page.book.words
    page.section(words.say(title))
    rows = [[words.value(name, one[name]), one["accounts"], one["arr"], one["arr_at_risk"]] for one in groups]
    page.table([words.heading(name), *_sums_head(words)], rows, ("text", *["number"] * 3))


def changes(page: _Page, moved: Moved | None) -> None:
    """What changed since the last list."""
    words = page.book.words
    page.section(words.say("summary.changes", last=words.day(moved.last)) if moved else words.say("page.changed"))
    if moved is None:
        page.line(words.say("summary.no_last"), "text")
        return
    counts = [[words.say(f"summary.{n}", points=POINTS), getattr(moved, n)] for n in ("fell", "rose", "new", "gone")]
    page.table(["", words.say("summary.accounts")], counts, ("text", "number"))
    page.section(words.say("summary.bands"))
    head = [words.heading("risk_band"), *(words.say(f"summary.{name}") for name in ("before", "came", "left", "now"))]
    rows = [[words.value("risk_band", band), *own] for band, *own in moved.bands.itertuples(index=False)]
    page.table(head, rows, ("text", *["number"] * 4))
    if len(moved.falls):
        _falls(page, moved.falls)


def _falls(page: _Page, falls: pd.DataFrame) -> None:
    """Whose chance fell most, and why; one row per account."""
    words = page.book.words
    page.section(words.say("summary.falls"))
    names = ["account_name", "csm", "arr", "then", "renewal_probability", "probability_change", "reason_change"]
    cells = falls[names].astype(object).where(falls[names].notna(), None).to_numpy().tolist()
    then = words.say("summary.then")
    first = page.table(
        [then if name == "then" else words.heading(name) for name in names],
        [[*own[:-1], None] for own in cells],
        ("text", "text", "number", "probability", "probability", "change", "text"),
    )
    for row, own in enumerate(cells, start=first):
        page.across(own[-1] or "", row, first=len(names) - 1)


def over_capacity(page: _Page, carried: Sequence[Mapping[str, Any]]) -> None:
    """The fullest portfolios beside what their managers can carry (M2); what is too much is red."""
    words = page.book.words
    page.section(words.say("summary.portfolios"), words.say("page.load_about"))
    full = sorted((one for one in carried if one["load"] is not None), key=lambda one: -one["load"])
    names = ("accounts", "most_accounts", "arr", "most_arr", "fits")
    rows = [
        [one["name"] or words.say("page.nobody"), one["load"], *(one[name] for name in names)] for one in full[:FULLEST]
    ]
    head = ["page.accounts", "page.room_accounts", "heading.arr", "page.room_arr", "summary.within"]
    first = page.table(
        [words.heading("csm"), words.say("summary.load"), *map(words.say, head)],
        rows,
        ("text", "probability", *["number"] * 5),
    )
    if rows:
        rule = {"type": "cell", "criteria": ">", "value": 1, "format": page.book.formats["high"]}
        done(page.sheet.conditional_format(first, 1, page.row - 1, 1, rule))
    if len(full) > FULLEST:
        page.line(words.say("summary.portfolios_more", number=len(full) - FULLEST), "note")


# --- the charts ---------------------------------------------------------------------------------------


def _months_chart(book: Book, sheet: Worksheet, title: str, first: int, count: int, row: int) -> None:
    """ARR by month of renewal: what is at risk, and above it the rest."""
    chart = book.file.add_chart({"type": "column", "subtype": "stacked"})
    for column, name in ((3, "arr_at_risk"), (4, "rest")):
        chart.add_series(_series(title, first, count, column) | {"fill": {"color": COLOURS[name]}, "gap": 60})
    chart.set_y_axis({"num_format": "#,##0", **_axis(book)})
    _placed(book, sheet, chart, book.words.say("page.by_month"), row, 0)


def _rates_chart(book: Book, sheet: Worksheet, title: str, first: int, count: int, lowest: float, row: int) -> None:
    """The renewal rates of the years that end with each month, by count and by revenue."""
    chart = book.file.add_chart({"type": "line"})
    for column, name in ((6, "count"), (7, "revenue")):
        chart.add_series(_series(title, first, count, column) | {"line": {"color": COLOURS[name], "width": 2.25}})
    chart.set_y_axis({"num_format": "0%", "min": lowest, "max": 1, **_axis(book)})
    chart.show_blanks_as("gap")
    _placed(book, sheet, chart, book.words.say("summary.rates"), row, 5)


def _series(title: str, first: int, count: int, column: int) -> dict[str, Any]:
    """A column of a table, named by its heading and drawn by its first column."""
    span = (first, first + count - 1)
    return {
        "name": [title, first - 1, column],
        "categories": [title, span[0], 0, span[1], 0],
        "values": [title, span[0], column, span[1], column],
    }


def _axis(book: Book) -> dict[str, Any]:
    return {"num_font": _font(book), "major_gridlines": {"visible": True, "line": {"color": "#D9D9D9"}}}


def _font(book: Book) -> dict[str, Any]:
    return {"name": FONTS[book.words.language], "size": 9}


def _placed(book: Book, sheet: Worksheet, chart: Any, title: str, row: int, column: int) -> None:
    chart.set_title({"name": title, "name_font": {**_font(book), "size": 11, "bold": True}, "overlay": False})
    chart.set_legend({"position": "bottom", "font": _font(book)})
    month = DAYS[book.words.language]["month"]
    chart.set_x_axis({"num_font": _font(book) | {"rotation": -45}, "text_axis": True, "num_format": month})
    chart.set_size({"width": 600, "height": CHART_ROWS * 20})
    done(sheet.insert_chart(row, column, chart))
