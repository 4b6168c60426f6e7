"""The back-test as people read it: one page that holds all it needs, and a small table for a terminal.

A report (`pipelines/stages/learn/backtest.py`) goes in, words and drawings come out; every number in them is one of the
report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from renewals.reports.sanitize import make_printable
from renewals.reports.words import Messages

JsonObject = Mapping[str, Any]
Points = Sequence[tuple[float, float]]

DASH = "–"
GAIN_VERDICTS = ("better", "no_difference", "worse")
CHART_WIDTH, CHART_HEIGHT, CHART_MARGIN = 420, 240, 44
"""Of a drawing: its size, and the margin around what is drawn."""
LINE_COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be123c", "#4b5563")


@dataclass(frozen=True)
class TextTable:
    """Rows of text under headings; the first column says what a row is about."""

    headings: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class ChartLine:
    """One line of a drawing, already in the units of the drawing."""

    name: str
    colour: str
    points: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines between two axes; ticks are (place, label)."""

    x_label: str
    y_label: str
    lines: list[ChartLine]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class PageSection:
    """A heading, sentences, and what they are about."""

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[TextTable] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)


def render_backtest_page(reports: Mapping[str, JsonObject], language: str) -> str:
    """The whole page, in one language. Names from outside are shown as text, whatever they hold."""
    words = Messages(language)
    shelf = Environment(
        loader=PackageLoader("renewals.reports.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    parts = [(target_heading(report, words), build_sections(report, words)) for report in reports.values()]
    until = next(iter(reports.values()))["until"]
    return shelf.get_template("page.html").render(
        language={"zh": "zh-Hans"}.get(language, language),
        title=words.text("backtest.title", until=until),
        notes=[words.text("backtest.about"), words.text("backtest.intervals")],
        parts=parts,
        wide=CHART_WIDTH,
        high=CHART_HEIGHT,
        edge=CHART_MARGIN,
    )


def target_heading(report: JsonObject, messages: Messages) -> str:
    """What stands over one target."""
    target = messages.value("target", report["target"])
    if not report["trained"]:
        return target
    key = "backtest.at_lead" if report["lead_days"] else "backtest.at_all"
    return messages.text(key, target=target, days=report["lead_days"], terms=report["overall"]["terms"])


def untrained_text(report: JsonObject, messages: Messages) -> str:
    """Why there is nothing to judge."""
    return messages.text(
        "backtest.untrained", target=messages.value("target", report["target"]), reason=report["reason"]
    )


def build_sections(report: JsonObject, messages: Messages) -> list[PageSection]:
    """Everything that is told of one target, in order; what was not measured is left out."""
    if not report["trained"]:
        return [PageSection(messages.value("target", report["target"]), [untrained_text(report, messages)])]
    told = (
        _overall_section,
        _calibration_section,
        _leads_section,
        _capacity_section,
        _profit_section,
        _activity_section,
        _segments_section,
        _quarters_section,
        _model_age_section,
        _risk_coverage_section,
    )
    made = (tell(report, messages) for tell in told)
    return [section for section in made if section is not None]


# --- the model beside the baselines ---------------------------------------------------------------

TABLE_METRICS = (
    *("average_precision", "brier", "calibration_slope", "calibration_intercept", "calibration_error"),
    *("calibration_error_by_chance", "lift_top_tenth"),
)


def comparison_table(report: JsonObject, messages: Messages) -> TextTable:
    """The model and every baseline on the rows that are judged; one row per speaker."""
    whole = report["overall"]
    columns = ("model", "auc", "log_loss", *TABLE_METRICS, "gain", "verdict")
    rows = [
        [
            _model_name(name, messages),
            *_interval_cells(one),
            *(_format_number(one[figure]) for figure in TABLE_METRICS),
            *_gain_cells(whole, name, messages),
        ]
        for name, one in whole["models"].items()
    ]
    return TextTable(_column_headings(columns, messages), rows)


def _overall_section(report: JsonObject, messages: Messages) -> PageSection:
    whole, tested = report["overall"], report["tested"]
    counted = messages.text(
        "backtest.counted",
        rows=whole["rows"], accounts=whole["accounts"], mean_observed=_format_percent(whole["mean_observed"]),
        origins=len(report["origins"]), first=report["origins"][0], last=report["origins"][-1],
        decided=tested["excluded_signed"], treated=tested["excluded_treated"],
    )  # fmt: skip
    said = [_gain_sentence(name, gain, messages) for name, gain in whole["gain_over"].items()]
    return PageSection(
        messages.text("backtest.section.overall"), [counted, *said], [comparison_table(report, messages)]
    )


def _gain_sentence(name: str, gain: JsonObject, messages: Messages) -> str:
    figures = {end: _format_number(gain[end], 4) for end in ("value", "low", "high")}
    return messages.text(f"backtest.than.{gain['verdict']}", baseline=_model_name(name, messages), **figures)


def _gain_cells(overall: JsonObject, name: str, messages: Messages) -> list[str]:
    gain = overall["gain_over"].get(name)
    if gain is None:
        return [DASH, DASH]
    return [_format_gain(gain), messages.text(f"backtest.verdict.{gain['verdict']}")]


def _interval_cells(metrics: JsonObject) -> list[str]:
    return [_format_interval(metrics[name], *metrics[f"{name}_interval"]) for name in ("auc", "log_loss")]


def _parts_table(parts: Iterable[tuple[str, JsonObject]], column: str, messages: Messages) -> TextTable:
    """The model in each of some parts, and which baselines it beat there, could not be told from, or lost to."""
    columns = (
        *(column, "terms", "mean_observed", "mean_predicted", "auc", "log_loss", "calibration_slope"),
        *GAIN_VERDICTS,
    )
    return TextTable(_column_headings(columns, messages), [[name, *_part_cells(one, messages)] for name, one in parts])


def _part_cells(part: JsonObject, messages: Messages) -> list[str]:
    if not part["rows"]:
        return ["0", *[DASH] * 8]
    model = part["models"]["model"]
    figures = [
        str(part["terms"]),
        _format_percent(part["mean_observed"]),
        _format_percent(model["mean_predicted"]),
        *_interval_cells(model),
    ]
    met = {
        verdict: [n for n, gain in part["gain_over"].items() if gain["verdict"] == verdict] for verdict in GAIN_VERDICTS
    }
    return [
        *figures,
        _format_number(model["calibration_slope"]),
        *(_join_names(met[verdict], messages) for verdict in GAIN_VERDICTS),
    ]


def _join_names(models: Sequence[str], messages: Messages) -> str:
    return messages.text("and").join(_model_name(name, messages) for name in models) or DASH


def _leads_section(report: JsonObject, messages: Messages) -> PageSection | None:
    leads = [lead for lead in report.get("leads", []) if lead["rows"]]
    if not leads:
        return None
    table = _parts_table(((str(lead["lead_days"]), lead) for lead in leads), "lead_days", messages)
    lines = {
        _model_name(name, messages): [(lead["lead_days"], lead["models"][name]["auc"]) for lead in leads]
        for name in leads[0]["models"]
    }
    drawn = build_charts(lines, messages.text("backtest.column.lead_days"), messages.text("backtest.column.auc"))
    return PageSection(messages.text("backtest.section.leads"), [], [table], drawn)


def _activity_section(report: JsonObject, messages: Messages) -> PageSection | None:
    if not report["activity"]:
        return None
    named = ((messages.text(f"backtest.{one['activity']}"), one) for one in report["activity"])
    return PageSection(messages.text("backtest.section.activity"), [], [_parts_table(named, "activity", messages)])


def _segments_section(report: JsonObject, messages: Messages) -> PageSection:
    named = ((_segment_name(one["segment"], messages), one) for one in report["segments"])
    notes = [messages.text("backtest.segments")]
    return PageSection(messages.text("backtest.section.segments"), notes, [_parts_table(named, "segment", messages)])


def _segment_name(segment: Sequence[str], messages: Messages) -> str:
    column, value = segment
    return f"{messages.value('dimension', column)} {messages.value(column, make_printable(value))}"


def _quarters_section(report: JsonObject, messages: Messages) -> PageSection | None:
    quarters = report["quarters"]
    if not quarters:
        return None
    rows = [
        [
            *(one["period"], str(one["terms"])),
            *(_format_percent(one["mean_observed"]), _format_percent(one["mean_predicted"])),
            *(_format_number(one["models"][name][figure]) for name in one["models"] for figure in ("auc",)),
        ]
        for one in quarters
    ]
    speakers = [messages.text("backtest.auc_of", model=_model_name(name, messages)) for name in quarters[0]["models"]]
    headings = [*_column_headings(("quarter", "terms", "mean_observed", "mean_predicted"), messages), *speakers]
    lines = {
        messages.text(f"backtest.column.{name}"): [(number, one[name]) for number, one in enumerate(quarters)]
        for name in ("mean_observed", "mean_predicted")
    }
    labels = {number: one["period"] for number, one in enumerate(quarters)}
    drawn = build_charts(
        lines, messages.text("backtest.column.quarter"), messages.text("backtest.column.mean_observed"), labels
    )
    return PageSection(messages.text("backtest.section.quarters"), [], [TextTable(headings, rows)], drawn)


# --- what a manager would have found ----------------------------------------------------------------


RECALL_COLUMNS = ("recall", "arr_share_listed", "recall_early")
MANAGER_COLUMNS = ("recall", "recall_early", "accounts_listed")
RANKING_COLUMNS = ("recall", "recall_early", "in_time_recall", "in_time_recall_early")
CAPACITY_COLUMNS = ("recall", "arr_share_listed", "accounts_listed", "in_time_recall")
"""What says nothing where every list fits."""


def _capacity_section(report: JsonObject, messages: Messages) -> PageSection | None:
    told = report.get("capacity")
    if not told or not told["models"]:
        return None
    silent = CAPACITY_COLUMNS if told["accounts_listed"] == 1 else ()
    found, by_manager, ordered = (
        tuple(name for name in names if name not in silent)
        for names in (RECALL_COLUMNS, MANAGER_COLUMNS, RANKING_COLUMNS)
    )
    rows = [
        [_model_name(n, messages), *(_format_percent(one[figure]) for figure in found)]
        for n, one in told["models"].items()
    ]
    managers = [
        [
            make_printable(one["csm"]) if one["csm"] is not None else DASH,
            *(
                str(one["rows"]),
                _format_money(one["lost_arr"]),
                *(_format_percent(one[figure]) for figure in by_manager),
            ),
        ]
        for one in told["managers"]
    ]
    every = TextTable(_column_headings(("model", *found), messages), rows)
    each = TextTable(_column_headings(("csm", "rows", "lost_arr", *by_manager), messages), managers)
    key = "backtest.capacity.all_fit" if silent else "backtest.capacity"
    note = messages.text(key, lists=told["lists"], lost=_format_money(told["lost_arr"]), currency=report["currency"])
    otherwise = messages.text(
        "backtest.rankings",
        lost=_format_money(told["lost_arr_in_time"]),
        currency=report["currency"],
        days=told["decided_days"],
    )
    rankings = [
        [messages.text(f"backtest.ranking.{name}"), *(_format_percent(one[figure]) for figure in ordered)]
        for name, one in told["rankings"].items()
    ]
    tables = [every, each, TextTable(_column_headings(("ranking", *ordered), messages), rankings)]
    return PageSection(messages.text("backtest.section.capacity"), [note, otherwise], tables)


def _profit_section(report: JsonObject, messages: Messages) -> PageSection | None:
    told = report.get("profit")
    if not told:
        return None
    title = messages.text("backtest.section.profit")
    if "skipped" in told:
        return PageSection(title, [messages.text(f"backtest.profit.{told['skipped']}")])
    accepted = told["alpha"] / (told["alpha"] + told["beta"])
    note = messages.text(
        "backtest.profit", accepted=_format_percent(accepted), offer=_format_percent(told["incentive_fraction"]),
        contact=_format_money(told["contact_cost"]), currency=report["currency"],
    )  # fmt: skip
    rows = [[_model_name(name, messages), _format_money(value)] for name, value in told["models"].items()]
    return PageSection(title, [note], [TextTable(_column_headings(("model", "profit"), messages), rows)])


# --- how words age, how sure they are, when to be silent ----------------------------------------------


def _calibration_section(report: JsonObject, messages: Messages) -> PageSection | None:
    if not report["calibration"]:
        return None
    lines = {
        messages.text("backtest.model"): [
            (one["mean_predicted"], one["mean_observed"]) for one in report["calibration"]
        ],
        messages.text("backtest.true"): [(0.0, 0.0), (1.0, 1.0)],
    }
    drawn = build_charts(
        lines, messages.text("backtest.column.mean_predicted"), messages.text("backtest.column.mean_observed")
    )
    told, title = report.get("interval_coverage"), messages.text("backtest.section.calibration")
    if not told or told["covered"] is None:
        return PageSection(title, charts=drawn)
    note = messages.text(
        "backtest.interval_coverage",
        covered=_format_percent(told["covered"]),
        confidence=_format_percent(told["confidence"]),
    )
    columns = ("mean_predicted", "low", "high", "mean_observed")
    rows = [
        [*(_format_percent(one[column]) for column in columns), messages.flag(one["covered"])] for one in told["groups"]
    ]
    return PageSection(title, [note], [TextTable(_column_headings((*columns, "covered"), messages), rows)], drawn)


def _model_age_section(report: JsonObject, messages: Messages) -> PageSection | None:
    told = report["by_model_age"]
    if not told:
        return None
    columns = (
        "month",
        "rows",
        "model_count",
        "auc",
        "newest_auc",
        "log_loss",
        "newest_log_loss",
        "newest_month",
        "gain",
    )
    figures = ("auc", "newest_auc", "log_loss", "newest_log_loss")
    rows = [
        [
            _format_month(one["month"], messages), str(one["rows"]), str(one["model_count"]),
            *(_format_number(one[f]) for f in figures),
            _format_number(one["newest_month"], 1), _format_gain(one["gain"]),
        ]
        for one in told
    ]  # fmt: skip
    lines = {
        messages.text(f"backtest.column.{name}"): [(one["month"], one[name]) for one in told]
        for name in ("log_loss", "newest_log_loss")
    }
    drawn = build_charts(lines, messages.text("backtest.column.month"), messages.text("backtest.column.log_loss"))
    notes = [messages.text("backtest.by_model_age")]
    return PageSection(
        messages.text("backtest.section.by_model_age"),
        notes,
        [TextTable(_column_headings(columns, messages), rows)],
        drawn,
    )


def _format_gain(gain: JsonObject | None) -> str:
    return DASH if gain is None else _format_interval(gain["value"], gain["low"], gain["high"], 4)


def _format_month(number: int, messages: Messages) -> str:
    return str(number) if number < 13 else messages.text("backtest.older", month=number)


def _risk_coverage_section(report: JsonObject, messages: Messages) -> PageSection | None:
    told = report["risk_coverage"]
    if not told:
        return None
    rows = [
        [_format_percent(one["coverage"]), str(one["rows"]), _format_percent(one["out_of_range_share"]),
         _format_number(one["log_loss"]), _format_number(one["auc"])]
        for one in told
    ]  # fmt: skip
    table = TextTable(_column_headings(("coverage", "rows", "out_of_range_share", "log_loss", "auc"), messages), rows)
    drawn = build_charts(
        {messages.text("backtest.model"): [(one["coverage"], one["log_loss"]) for one in told]},
        messages.text("backtest.column.coverage"),
        messages.text("backtest.column.log_loss"),
    )
    return PageSection(
        messages.text("backtest.section.risk_coverage"), [messages.text("backtest.risk_coverage")], [table], drawn
    )


# --- text and drawings --------------------------------------------------------------------------------


def _column_headings(columns: Iterable[str], messages: Messages) -> list[str]:
    return [messages.text(f"backtest.column.{column}") for column in columns]


def _model_name(model: str, messages: Messages) -> str:
    return messages.text(f"backtest.{model}")


def _format_number(value: float | None, digits: int = 3) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def _format_percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1%}"


def _format_money(value: float) -> str:
    return f"{value:,.0f}"


def _format_interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    ends = "\u00a0…\u00a0".join(_format_number(end, digits) for end in (low, high))  # a line breaks before it alone
    return f"{_format_number(value, digits)} ({ends})"


def build_charts(
    lines: Mapping[str, Sequence[tuple[float, float | None]]],
    x_label: str,
    y_label: str,
    labels: Mapping[int, str] | None = None,
) -> list[Chart]:
    """A drawing of some lines, or none where no line has two points. `labels` stand for places along the bottom."""
    known = {name: [(float(x), y) for x, y in points if y is not None] for name, points in lines.items()}
    every = [point for points in known.values() for point in points]
    if len({x for x, _ in every}) < 2:
        return []
    x_at, x_ends = _linear_scale([x for x, _ in every], CHART_MARGIN, CHART_WIDTH - CHART_MARGIN / 2)
    y_at, y_ends = _linear_scale([y for _, y in every], CHART_HEIGHT - CHART_MARGIN, CHART_MARGIN / 4)
    drawn = [
        ChartLine(name, LINE_COLOURS[number % len(LINE_COLOURS)],
             " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points),
             [(round(x_at(x), 1), round(y_at(y), 1)) for x, y in points])
        for number, (name, points) in enumerate(known.items())
    ]  # fmt: skip
    bottom = [(round(x_at(x), 1), name) for x, name in (labels or _axis_ticks(*x_ends)).items()]
    side = [(round(y_at(y), 1), name) for y, name in _axis_ticks(*y_ends).items()]
    return [Chart(x_label, y_label, drawn, _thin_ticks(bottom), side)]


def _linear_scale(values: Sequence[float], start: float, end: float) -> tuple[Any, tuple[float, float]]:
    """From a value to its place, and the values at both ends."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return lambda value: start + (value - low) / (high - low) * (end - start), (low, high)


ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
ROUNDING_TOLERANCE = 1e-9
"""A float this near a round number is that number: 1.0 / 0.2 comes out below five."""


def _axis_ticks(low: float, high: float, max_ticks: int = 5) -> dict[float, str]:
    """The round numbers between two ends, about so many."""
    size = 10.0 ** np.floor(np.log10((high - low) / max_ticks))
    step = next(size * times for times in ROUND_STEPS if size * times * max_ticks >= high - low)
    first, last = int(np.ceil(low / step - ROUNDING_TOLERANCE)), int(np.floor(high / step + ROUNDING_TOLERANCE))
    return {place * step: f"{place * step:.10g}" for place in range(first, last + 1)}


def _thin_ticks(ticks: list[tuple[float, str]], max_ticks: int = 8) -> list[tuple[float, str]]:
    return ticks[:: -(-len(ticks) // max_ticks)]
