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

from renewals.reports.sanitize import printable
from renewals.reports.words import Words

Tree = Mapping[str, Any]
Points = Sequence[tuple[float, float]]

DASH = "–"
VERDICTS = ("better", "alike", "worse")
WIDE, HIGH, EDGE = 420, 240, 44
"""Of a drawing: its size, and the margin around what is drawn."""
COLOURS = ("#0b5cad", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be123c", "#4b5563")


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the first column says what a row is about."""

    headings: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Line:
    """One line of a drawing, already in the units of the drawing."""

    name: str
    colour: str
    points: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines between two axes; ticks are (place, label)."""

    across: str
    upward: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and what they are about."""

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)


def page(reports: Mapping[str, Tree], language: str) -> str:
    """The whole page, in one language. Names from outside are shown as text, whatever they hold."""
    words = Words(language)
    shelf = Environment(
        loader=PackageLoader("renewals.reports.html"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    parts = [(heading(report, words), sections(report, words)) for report in reports.values()]
    until = next(iter(reports.values()))["until"]
    return shelf.get_template("page.html").render(
        language={"zh": "zh-Hans"}.get(language, language),
        title=words.say("backtest.title", until=until),
        notes=[words.say("backtest.about"), words.say("backtest.intervals")],
        parts=parts,
        wide=WIDE,
        high=HIGH,
        edge=EDGE,
    )


def heading(report: Tree, words: Words) -> str:
    """What stands over one target."""
    target = words.value("target", report["target"])
    if not report["trained"]:
        return target
    key = "backtest.at_lead" if report["lead_days"] else "backtest.at_all"
    return words.say(key, target=target, days=report["lead_days"], terms=report["whole"]["terms"])


def untrained(report: Tree, words: Words) -> str:
    """Why there is nothing to judge."""
    return words.say("backtest.untrained", target=words.value("target", report["target"]), reason=report["reason"])


def sections(report: Tree, words: Words) -> list[Section]:
    """Everything that is told of one target, in order; what was not measured is left out."""
    if not report["trained"]:
        return [Section(words.value("target", report["target"]), [untrained(report, words)])]
    told = (_whole, _calibration, _leads, _capacity, _profit, _activity, _segments, _quarters, _staleness, _abstention)
    made = (tell(report, words) for tell in told)
    return [section for section in made if section is not None]


# --- the model beside the baselines ---------------------------------------------------------------

FIGURES = ("average_precision", "brier", "slope", "intercept", "error", "error_by_chance", "lift_top_tenth")


def beside(report: Tree, words: Words) -> Table:
    """The model and every baseline on the rows that are judged; one row per speaker."""
    whole = report["whole"]
    columns = ("speaker", "auc", "log_loss", *FIGURES, "gain", "verdict")
    rows = [
        [_name(name, words), *_ranged(one), *(_number(one[figure]) for figure in FIGURES), *_won(whole, name, words)]
        for name, one in whole["speakers"].items()
    ]
    return Table(_headings(columns, words), rows)


def _whole(report: Tree, words: Words) -> Section:
    whole, tested = report["whole"], report["tested"]
    counted = words.say(
        "backtest.counted",
        rows=whole["rows"], accounts=whole["accounts"], seen=_percent(whole["seen"]),
        origins=len(report["origins"]), first=report["origins"][0], last=report["origins"][-1],
        decided=tested["left_out_decided"], treated=tested["left_out_treated"],
    )  # fmt: skip
    said = [_sentence(name, gain, words) for name, gain in whole["gain_over"].items()]
    return Section(words.say("backtest.section.whole"), [counted, *said], [beside(report, words)])


def _sentence(name: str, gain: Tree, words: Words) -> str:
    figures = {end: _number(gain[end], 4) for end in ("value", "low", "high")}
    return words.say(f"backtest.than.{gain['verdict']}", baseline=_name(name, words), **figures)


def _won(whole: Tree, name: str, words: Words) -> list[str]:
    gain = whole["gain_over"].get(name)
    if gain is None:
        return [DASH, DASH]
    return [_gained(gain), words.say(f"backtest.verdict.{gain['verdict']}")]


def _ranged(one: Tree) -> list[str]:
    return [_span(one[name], *one[f"{name}_interval"]) for name in ("auc", "log_loss")]


def _parts(named: Iterable[tuple[str, Tree]], what: str, words: Words) -> Table:
    """The model in each of some parts, and which baselines it beat there, could not be told from, or lost to."""
    columns = (what, "terms", "seen", "promised", "auc", "log_loss", "slope", *VERDICTS)
    return Table(_headings(columns, words), [[name, *_part(one, words)] for name, one in named])


def _part(one: Tree, words: Words) -> list[str]:
    if not one["rows"]:
        return ["0", *[DASH] * 8]
    model = one["speakers"]["model"]
    figures = [str(one["terms"]), _percent(one["seen"]), _percent(model["promised"]), *_ranged(model)]
    met = {verdict: [n for n, gain in one["gain_over"].items() if gain["verdict"] == verdict] for verdict in VERDICTS}
    return [*figures, _number(model["slope"]), *(_names(met[verdict], words) for verdict in VERDICTS)]


def _names(speakers: Sequence[str], words: Words) -> str:
    return words.say("and").join(_name(name, words) for name in speakers) or DASH


def _leads(report: Tree, words: Words) -> Section | None:
    leads = [lead for lead in report.get("leads", []) if lead["rows"]]
    if not leads:
        return None
    table = _parts(((str(lead["lead_days"]), lead) for lead in leads), "lead_days", words)
    lines = {
        _name(name, words): [(lead["lead_days"], lead["speakers"][name]["auc"]) for lead in leads]
        for name in leads[0]["speakers"]
    }
    drawn = chart(lines, words.say("backtest.column.lead_days"), words.say("backtest.column.auc"))
    return Section(words.say("backtest.section.leads"), [], [table], drawn)


def _activity(report: Tree, words: Words) -> Section | None:
    if not report["activity"]:
        return None
    named = ((words.say(f"backtest.{one['activity']}"), one) for one in report["activity"])
    return Section(words.say("backtest.section.activity"), [], [_parts(named, "activity", words)])


def _segments(report: Tree, words: Words) -> Section:
    named = ((_segment(one["segment"], words), one) for one in report["segments"])
    notes = [words.say("backtest.segments")]
    return Section(words.say("backtest.section.segments"), notes, [_parts(named, "segment", words)])


def _segment(segment: Sequence[str], words: Words) -> str:
    column, value = segment
    return f"{words.value('dimension', column)} {words.value(column, printable(value))}"


def _quarters(report: Tree, words: Words) -> Section | None:
    quarters = report["quarters"]
    if not quarters:
        return None
    rows = [
        [
            *(one["period"], str(one["terms"]), _percent(one["seen"]), _percent(one["promised"])),
            *(_number(one["speakers"][name][figure]) for name in one["speakers"] for figure in ("auc",)),
        ]
        for one in quarters
    ]
    speakers = [words.say("backtest.auc_of", speaker=_name(name, words)) for name in quarters[0]["speakers"]]
    headings = [*_headings(("quarter", "terms", "seen", "promised"), words), *speakers]
    lines = {
        words.say(f"backtest.column.{name}"): [(number, one[name]) for number, one in enumerate(quarters)]
        for name in ("seen", "promised")
    }
    labels = {number: one["period"] for number, one in enumerate(quarters)}
    drawn = chart(lines, words.say("backtest.column.quarter"), words.say("backtest.column.seen"), labels)
    return Section(words.say("backtest.section.quarters"), [], [Table(headings, rows)], drawn)


# --- what a manager would have found ----------------------------------------------------------------


FOUND = ("recall", "listed", "recall_early")
BY_MANAGER = ("recall", "recall_early", "accounts_listed")
OF_ORDERS = ("recall", "recall_early", "in_time_recall", "in_time_recall_early")
OF_CAPACITY = ("recall", "listed", "accounts_listed", "in_time_recall")
"""What says nothing where every list fits."""


def _capacity(report: Tree, words: Words) -> Section | None:
    told = report.get("capacity")
    if not told or not told["speakers"]:
        return None
    silent = OF_CAPACITY if told["accounts_listed"] == 1 else ()
    found, by_manager, ordered = (
        tuple(name for name in names if name not in silent) for names in (FOUND, BY_MANAGER, OF_ORDERS)
    )
    rows = [[_name(n, words), *(_percent(one[figure]) for figure in found)] for n, one in told["speakers"].items()]
    managers = [
        [
            printable(one["csm"]) if one["csm"] is not None else DASH,
            *(str(one["rows"]), _money(one["lost_arr"]), *(_percent(one[figure]) for figure in by_manager)),
        ]
        for one in told["managers"]
    ]
    every = Table(_headings(("speaker", *found), words), rows)
    each = Table(_headings(("csm", "rows", "lost_arr", *by_manager), words), managers)
    key = "backtest.capacity.all_fit" if silent else "backtest.capacity"
    note = words.say(key, lists=told["lists"], lost=_money(told["lost_arr"]), currency=report["currency"])
    otherwise = words.say(
        "backtest.orders", lost=_money(told["lost_in_time"]), currency=report["currency"], days=told["decided_days"]
    )
    orders = [
        [words.say(f"backtest.order.{name}"), *(_percent(one[figure]) for figure in ordered)]
        for name, one in told["orders"].items()
    ]
    tables = [every, each, Table(_headings(("order", *ordered), words), orders)]
    return Section(words.say("backtest.section.capacity"), [note, otherwise], tables)


def _profit(report: Tree, words: Words) -> Section | None:
    told = report.get("profit")
    if not told:
        return None
    title = words.say("backtest.section.profit")
    if "skipped" in told:
        return Section(title, [words.say(f"backtest.profit.{told['skipped']}")])
    accepted = told["alpha"] / (told["alpha"] + told["beta"])
    note = words.say(
        "backtest.profit", accepted=_percent(accepted), offer=_percent(told["incentive_fraction"]),
        contact=_money(told["contact_cost"]), currency=report["currency"],
    )  # fmt: skip
    rows = [[_name(name, words), _money(value)] for name, value in told["speakers"].items()]
    return Section(title, [note], [Table(_headings(("speaker", "profit"), words), rows)])


# --- how words age, how sure they are, when to be silent ----------------------------------------------


def _calibration(report: Tree, words: Words) -> Section | None:
    if not report["calibration"]:
        return None
    lines = {
        words.say("backtest.model"): [(one["promised"], one["seen"]) for one in report["calibration"]],
        words.say("backtest.true"): [(0.0, 0.0), (1.0, 1.0)],
    }
    drawn = chart(lines, words.say("backtest.column.promised"), words.say("backtest.column.seen"))
    told, title = report.get("coverage"), words.say("backtest.section.calibration")
    if not told or told["held"] is None:
        return Section(title, charts=drawn)
    note = words.say("backtest.coverage", held=_percent(told["held"]), confidence=_percent(told["confidence"]))
    columns = ("promised", "low", "high", "seen")
    rows = [[*(_percent(one[column]) for column in columns), words.flag(one["held"])] for one in told["groups"]]
    return Section(title, [note], [Table(_headings((*columns, "held"), words), rows)], drawn)


def _staleness(report: Tree, words: Words) -> Section | None:
    told = report["staleness"]
    if not told:
        return None
    columns = ("month", "rows", "models", "auc", "newest_auc", "log_loss", "newest_log_loss", "newest_month", "gain")
    figures = ("auc", "newest_auc", "log_loss", "newest_log_loss")
    rows = [
        [
            _month(one["month"], words), str(one["rows"]), str(one["models"]), *(_number(one[f]) for f in figures),
            _number(one["newest_month"], 1), _gained(one["gain"]),
        ]
        for one in told
    ]  # fmt: skip
    lines = {
        words.say(f"backtest.column.{name}"): [(one["month"], one[name]) for one in told]
        for name in ("log_loss", "newest_log_loss")
    }
    drawn = chart(lines, words.say("backtest.column.month"), words.say("backtest.column.log_loss"))
    notes = [words.say("backtest.staleness")]
    return Section(words.say("backtest.section.staleness"), notes, [Table(_headings(columns, words), rows)], drawn)


def _gained(gain: Tree | None) -> str:
    return DASH if gain is None else _span(gain["value"], gain["low"], gain["high"], 4)


def _month(number: int, words: Words) -> str:
    return str(number) if number < 13 else words.say("backtest.older", month=number)


def _abstention(report: Tree, words: Words) -> Section | None:
    told = report["abstention"]
    if not told:
        return None
    rows = [
        [_percent(one["kept"]), str(one["rows"]), _percent(one["strangeness"]), _number(one["log_loss"]),
         _number(one["auc"])]
        for one in told
    ]  # fmt: skip
    table = Table(_headings(("kept", "rows", "strangeness", "log_loss", "auc"), words), rows)
    drawn = chart(
        {words.say("backtest.model"): [(one["kept"], one["log_loss"]) for one in told]},
        words.say("backtest.column.kept"),
        words.say("backtest.column.log_loss"),
    )
    return Section(words.say("backtest.section.abstention"), [words.say("backtest.abstention")], [table], drawn)


# --- text and drawings --------------------------------------------------------------------------------


def _headings(columns: Iterable[str], words: Words) -> list[str]:
    return [words.say(f"backtest.column.{column}") for column in columns]


def _name(speaker: str, words: Words) -> str:
    return words.say(f"backtest.{speaker}")


def _number(value: float | None, digits: int = 3) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1%}"


def _money(value: float) -> str:
    return f"{value:,.0f}"


def _span(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    return f"{_number(value, digits)} ({_number(low, digits)}\u00a0…\u00a0{_number(high, digits)})"  # breaks before it


def chart(
    lines: Mapping[str, Sequence[tuple[float, float | None]]],
    across: str,
    upward: str,
    labels: Mapping[int, str] | None = None,
) -> list[Chart]:
    """A drawing of some lines, or none where no line has two points. `labels` stand for places along the bottom."""
    known = {name: [(float(x), y) for x, y in points if y is not None] for name, points in lines.items()}
    every = [point for points in known.values() for point in points]
    if len({x for x, _ in every}) < 2:
        return []
    x_at, x_ends = _scale([x for x, _ in every], EDGE, WIDE - EDGE / 2)
    y_at, y_ends = _scale([y for _, y in every], HIGH - EDGE, EDGE / 4)
    drawn = [
        Line(name, COLOURS[number % len(COLOURS)], " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points),
             [(round(x_at(x), 1), round(y_at(y), 1)) for x, y in points])
        for number, (name, points) in enumerate(known.items())
    ]  # fmt: skip
    bottom = [(round(x_at(x), 1), name) for x, name in (labels or _ticks(*x_ends)).items()]
    side = [(round(y_at(y), 1), name) for y, name in _ticks(*y_ends).items()]
    return [Chart(across, upward, drawn, _thinned(bottom), side)]


def _scale(values: Sequence[float], begin: float, end: float) -> tuple[Any, tuple[float, float]]:
    """From a value to its place, and the values at both ends."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return lambda value: begin + (value - low) / (high - low) * (end - begin), (low, high)


ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
SURE = 1e-9
"""A float this near a round number is that number: 1.0 / 0.2 comes out below five."""


def _ticks(low: float, high: float, most: int = 5) -> dict[float, str]:
    """The round numbers between two ends, about so many."""
    size = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(size * times for times in ROUND if size * times * most >= high - low)
    first, last = int(np.ceil(low / step - SURE)), int(np.floor(high / step + SURE))
    return {place * step: f"{place * step:.10g}" for place in range(first, last + 1)}


def _thinned(ticks: list[tuple[float, str]], most: int = 8) -> list[tuple[float, str]]:
    return ticks[:: -(-len(ticks) // most)]
