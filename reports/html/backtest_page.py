"""The back-test report for readers: one self-contained page, and a small table for a terminal.

Tables, sentences and charts are made from a report (`pipelines/stages/learn/backtest.py`) and contain only its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from renewals.reports.html.line_chart import CHART_HEIGHT, CHART_MARGIN, CHART_WIDTH, Chart, build_charts
from renewals.reports.sanitize import make_printable
from renewals.reports.words import Messages

JsonObject = Mapping[str, Any]

DASH = "–"
GAIN_VERDICTS = ("better", "no_difference", "worse")


@dataclass(frozen=True)
class TextTable:
    """Rows of text under headings; the first column names the subject of a row."""

    headings: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class PageSection:
    """One section of the page: a title with its notes, tables and charts."""

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[TextTable] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)


def render_backtest_page(reports: Mapping[str, JsonObject], language: str) -> str:
    """Render the whole page in one language. Names from outside are escaped and shown as text."""
    messages = Messages(language)
    environment = Environment(
        loader=PackageLoader("renewals.reports.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    parts = [(target_heading(report, messages), build_sections(report, messages)) for report in reports.values()]
    until = next(iter(reports.values()))["until"]
    return environment.get_template("page.html").render(
        language={"zh": "zh-Hans"}.get(language, language),
        title=messages.text("backtest.title", until=until),
        notes=[messages.text("backtest.about"), messages.text("backtest.intervals")],
        parts=parts,
        wide=CHART_WIDTH,
        high=CHART_HEIGHT,
        edge=CHART_MARGIN,
    )


def target_heading(report: JsonObject, messages: Messages) -> str:
    """Heading of one target, with the lead time and the number of terms if a model was trained."""
    target = messages.value("target", report["target"])
    if not report["trained"]:
        return target
    key = "backtest.at_lead" if report["lead_days"] else "backtest.at_all"
    return messages.text(key, target=target, days=report["lead_days"], terms=report["overall"]["terms"])


def untrained_text(report: JsonObject, messages: Messages) -> str:
    """Text on why no model was trained and there is nothing to evaluate."""
    return messages.text(
        "backtest.untrained", target=messages.value("target", report["target"]), reason=report["reason"]
    )


def build_sections(report: JsonObject, messages: Messages) -> list[PageSection]:
    """Build the sections of one target in page order; sections without measurements are left out."""
    if not report["trained"]:
        return [PageSection(messages.value("target", report["target"]), [untrained_text(report, messages)])]
    builders = (
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
    sections = (build(report, messages) for build in builders)
    return [section for section in sections if section is not None]


# --- the model compared with the baselines -----------------------------------------------------------

TABLE_METRICS = (
    *("average_precision", "brier", "calibration_slope", "calibration_intercept", "calibration_error"),
    *("calibration_error_by_chance", "lift_top_tenth"),
)


def comparison_table(report: JsonObject, messages: Messages) -> TextTable:
    """Table of the model and every baseline on the evaluated rows; one row per model."""
    overall = report["overall"]
    columns = ("model", "auc", "log_loss", *TABLE_METRICS, "gain", "verdict")
    rows = [
        [
            _model_name(name, messages),
            *_interval_cells(one),
            *(_format_number(one[figure]) for figure in TABLE_METRICS),
            *_gain_cells(overall, name, messages),
        ]
        for name, one in overall["models"].items()
    ]
    return TextTable(_column_headings(columns, messages), rows)


def _overall_section(report: JsonObject, messages: Messages) -> PageSection:
    overall, tested = report["overall"], report["tested"]
    counts_sentence = messages.text(
        "backtest.counted",
        rows=overall["rows"], accounts=overall["accounts"], mean_observed=_format_percent(overall["mean_observed"]),
        origins=len(report["origins"]), first=report["origins"][0], last=report["origins"][-1],
        decided=tested["excluded_signed"], treated=tested["excluded_treated"],
    )  # fmt: skip
    gains = [_gain_sentence(name, gain, messages) for name, gain in overall["gain_over"].items()]
    return PageSection(
        messages.text("backtest.section.overall"), [counts_sentence, *gains], [comparison_table(report, messages)]
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
    """Table of the model's metrics by part of the rows, and of the baselines it beat, equalled or lost to; one row per
    part."""
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
    baselines = {
        verdict: [n for n, gain in part["gain_over"].items() if gain["verdict"] == verdict] for verdict in GAIN_VERDICTS
    }
    return [
        *figures,
        _format_number(model["calibration_slope"]),
        *(_join_names(baselines[verdict], messages) for verdict in GAIN_VERDICTS),
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
    parts = ((messages.text(f"backtest.{one['activity']}"), one) for one in report["activity"])
    return PageSection(messages.text("backtest.section.activity"), [], [_parts_table(parts, "activity", messages)])


def _segments_section(report: JsonObject, messages: Messages) -> PageSection:
    parts = ((_segment_name(one["segment"], messages), one) for one in report["segments"])
    notes = [messages.text("backtest.segments")]
    return PageSection(messages.text("backtest.section.segments"), notes, [_parts_table(parts, "segment", messages)])


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
    auc_headings = [
        messages.text("backtest.auc_of", model=_model_name(name, messages)) for name in quarters[0]["models"]
    ]
    headings = [*_column_headings(("quarter", "terms", "mean_observed", "mean_predicted"), messages), *auc_headings]
    lines = {
        messages.text(f"backtest.column.{name}"): [(number, one[name]) for number, one in enumerate(quarters)]
        for name in ("mean_observed", "mean_predicted")
    }
    labels = {number: one["period"] for number, one in enumerate(quarters)}
    drawn = build_charts(
        lines, messages.text("backtest.column.quarter"), messages.text("backtest.column.mean_observed"), labels
    )
    return PageSection(messages.text("backtest.section.quarters"), [], [TextTable(headings, rows)], drawn)


# --- losses that a manager's list would have contained -----------------------------------------------


RECALL_COLUMNS = ("recall", "arr_share_listed", "recall_early")
MANAGER_COLUMNS = ("recall", "recall_early", "accounts_listed")
RANKING_COLUMNS = ("recall", "recall_early", "in_time_recall", "in_time_recall_early")
CAPACITY_COLUMNS = ("recall", "arr_share_listed", "accounts_listed", "in_time_recall")
"""Columns without information if all accounts fit on the managers' lists."""


def _capacity_section(report: JsonObject, messages: Messages) -> PageSection | None:
    capacity = report.get("capacity")
    if not capacity or not capacity["models"]:
        return None
    omitted = CAPACITY_COLUMNS if capacity["accounts_listed"] == 1 else ()
    columns, manager_columns, ranking_columns = (
        tuple(name for name in names if name not in omitted)
        for names in (RECALL_COLUMNS, MANAGER_COLUMNS, RANKING_COLUMNS)
    )
    rows = [
        [_model_name(n, messages), *(_format_percent(one[figure]) for figure in columns)]
        for n, one in capacity["models"].items()
    ]
    managers = [
        [
            make_printable(one["csm"]) if one["csm"] is not None else DASH,
            *(
                str(one["rows"]),
                _format_money(one["lost_arr"]),
                *(_format_percent(one[figure]) for figure in manager_columns),
            ),
        ]
        for one in capacity["managers"]
    ]
    all_accounts = TextTable(_column_headings(("model", *columns), messages), rows)
    per_manager = TextTable(_column_headings(("csm", "rows", "lost_arr", *manager_columns), messages), managers)
    key = "backtest.capacity.all_fit" if omitted else "backtest.capacity"
    note = messages.text(
        key, lists=capacity["lists"], lost=_format_money(capacity["lost_arr"]), currency=report["currency"]
    )
    ranking_note = messages.text(
        "backtest.rankings",
        lost=_format_money(capacity["lost_arr_in_time"]),
        currency=report["currency"],
        days=capacity["decided_days"],
    )
    rankings = [
        [messages.text(f"backtest.ranking.{name}"), *(_format_percent(one[figure]) for figure in ranking_columns)]
        for name, one in capacity["rankings"].items()
    ]
    tables = [all_accounts, per_manager, TextTable(_column_headings(("ranking", *ranking_columns), messages), rankings)]
    return PageSection(messages.text("backtest.section.capacity"), [note, ranking_note], tables)


def _profit_section(report: JsonObject, messages: Messages) -> PageSection | None:
    profit = report.get("profit")
    if not profit:
        return None
    title = messages.text("backtest.section.profit")
    if "skipped" in profit:
        return PageSection(title, [messages.text(f"backtest.profit.{profit['skipped']}")])
    accepted = profit["alpha"] / (profit["alpha"] + profit["beta"])
    note = messages.text(
        "backtest.profit", accepted=_format_percent(accepted), offer=_format_percent(profit["incentive_fraction"]),
        contact=_format_money(profit["contact_cost"]), currency=report["currency"],
    )  # fmt: skip
    rows = [[_model_name(name, messages), _format_money(value)] for name, value in profit["models"].items()]
    return PageSection(title, [note], [TextTable(_column_headings(("model", "profit"), messages), rows)])


# --- calibration, age of the model, risk and coverage -------------------------------------------------


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
    coverage, title = report.get("interval_coverage"), messages.text("backtest.section.calibration")
    if not coverage or coverage["covered"] is None:
        return PageSection(title, charts=drawn)
    note = messages.text(
        "backtest.interval_coverage",
        covered=_format_percent(coverage["covered"]),
        confidence=_format_percent(coverage["confidence"]),
    )
    columns = ("mean_predicted", "low", "high", "mean_observed")
    rows = [
        [*(_format_percent(one[column]) for column in columns), messages.flag(one["covered"])]
        for one in coverage["groups"]
    ]
    return PageSection(title, [note], [TextTable(_column_headings((*columns, "covered"), messages), rows)], drawn)


def _model_age_section(report: JsonObject, messages: Messages) -> PageSection | None:
    months = report["by_model_age"]
    if not months:
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
        for one in months
    ]  # fmt: skip
    lines = {
        messages.text(f"backtest.column.{name}"): [(one["month"], one[name]) for one in months]
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
    steps = report["risk_coverage"]
    if not steps:
        return None
    rows = [
        [_format_percent(one["coverage"]), str(one["rows"]), _format_percent(one["out_of_range_share"]),
         _format_number(one["log_loss"]), _format_number(one["auc"])]
        for one in steps
    ]  # fmt: skip
    table = TextTable(_column_headings(("coverage", "rows", "out_of_range_share", "log_loss", "auc"), messages), rows)
    drawn = build_charts(
        {messages.text("backtest.model"): [(one["coverage"], one["log_loss"]) for one in steps]},
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
    ends = "\u00a0…\u00a0".join(_format_number(end, digits) for end in (low, high))  # keeps the interval on one line
    return f"{_format_number(value, digits)} ({ends})"
