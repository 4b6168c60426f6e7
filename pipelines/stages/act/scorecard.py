"""Compute the scorecard of a day: all measures by period and segment; write Parquet, JSON with definitions, and a
page."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import ibis.expr.types as ir

from renewals.features.scorecard import measures
from renewals.features.scorecard import totals as cards
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.scoring.render_failures import report_failures
from renewals.pipelines.storage import artifacts, data_files
from renewals.pipelines.storage.artifacts import (
    SCORECARD,
    SCORECARD_FOLDER,
    SCORECARD_SUMMARY,
    read_person_days,
    read_tables,
)
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.reports.html.scorecard_page import render_scorecard_page
from renewals.reports.render_failures import RenderFailures

STEP = Step(after="ledger", commands=("score",), optional=True)

LEDGER_TABLES = ("ledger", "renewals", "expansions", "roll_forward", "revenue_intervals")
OPTIONAL_TABLES = ("trials", "surveys", "referrals")
SORT_COLUMNS = ["period_kind", "period", "segment_kind", "segment", "measure"]
JSON_COLUMNS = (
    "period_kind",
    "period",
    "segment_kind",
    "segment",
    "measure",
    "value",
    "numerator",
    "denominator",
    "state",
)
"""Columns of a row in the JSON, in this order; facts of a measure or a period are stored once, outside the rows."""
PAGE = "scorecard.html"


def scorecard(job: Job) -> dict[str, Any]:
    """Write the scorecard (Parquet, JSON and page) from the ledger of the same day."""
    con = warehouse.connect(job.settings.engine)
    inputs = _load_inputs(con, job)
    numbers = itertools.count()

    def materialize(table: ir.Table) -> ir.Table:
        return con.create_table(f"scorecard_{next(numbers)}", table, temp=True)

    first = inputs["roll_forward"].month.min().to_pyarrow().as_py() or job.day
    options = job.settings.scorecard
    rows = cards.scorecard(inputs, job.day, job.settings, options, first, materialize)
    losses = cards.losses_by_reason(inputs["entries"], job.day, job.settings, options, first)
    folder = job.folder / SCORECARD_FOLDER
    count = warehouse.write_parquet(rows, folder / SCORECARD, order_by=SORT_COLUMNS)
    absent = measures.missing_measures(inputs)
    failures = RenderFailures()
    content = _scorecard_json(con, folder, losses, absent, job, failures)
    atomic.write_bytes(folder / SCORECARD_SUMMARY, content)
    atomic.write_bytes(folder / PAGE, render_scorecard_page(json.loads(content), job.settings.list.language))
    result = {"as_of": job.day.isoformat(), "folder": str(folder), "rows": count, "missing_measures": absent}
    return result | {"render_failures": report_failures(failures)}


def read_scorecard(job: Job) -> dict[str, Any] | None:
    """Read the JSON of the scorecard of the act date; None if there is none of that day."""
    path = job.folder / SCORECARD_FOLDER / SCORECARD_SUMMARY
    content: dict[str, Any] = data_files.load_json(path) if path.exists() else {}
    return content if content.get("as_of") == job.day.isoformat() else None


def fingerprint(job: Job) -> str:
    """SHA-256 of the JSON file that `read_scorecard` reads."""
    return hashlib.sha256((job.folder / SCORECARD_FOLDER / SCORECARD_SUMMARY).read_bytes()).hexdigest()


def _load_inputs(con: Any, job: Job) -> dict[str, ir.Table]:
    clean = warehouse.clean_tables(con, job.data)
    ledger_tables = read_tables(con, job.folder / artifacts.LEDGER, LEDGER_TABLES)
    person_days = read_person_days(con, job)
    return {
        **{name: clean[name] for name in ("accounts", "contracts", *OPTIONAL_TABLES) if name in clean},
        "entries": ledger_tables.pop("ledger"),
        **ledger_tables,
        "person_days": person_days,
    }


def _scorecard_json(
    con: Any, folder: Path, losses: ir.Table, absent: list[str], job: Job, failures: RenderFailures
) -> bytes:
    """JSON of the written rows with the definitions that explain them, and of the losses by reason; the same rows give
    the same bytes."""
    rows = warehouse.read_parquet(con, folder / SCORECARD).order_by(SORT_COLUMNS).to_pyarrow()
    spans = rows.select(["period_kind", "period", "period_start", "period_end"]).to_pylist()
    content = {
        "as_of": job.day.isoformat(),
        "currency": job.settings.money.reporting_currency,
        "missing_measures": absent,
        "definitions": measures.measure_definitions(),
        "segments": {kind: {"en": en, "zh": zh} for kind, (en, zh) in cards.SEGMENTS.items()},
        "periods": [dict(span) for span in sorted({tuple(span.items()) for span in spans})],
        "columns": list(JSON_COLUMNS),
        "rows": [_finite_row(row, failures) for row in rows.select(list(JSON_COLUMNS)).to_pylist()],
        "losses_by_reason": {
            "columns": list(cards.LOSS_COLUMNS),
            "rows": [list(row.values()) for row in _ordered_losses(losses)],
        },
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, default=date.isoformat).encode()


def _ordered_losses(losses: ir.Table) -> list[dict[str, Any]]:
    """Rows of the losses by reason: by period, and the largest amount of a period first."""
    rows: list[dict[str, Any]] = losses.to_pyarrow().to_pylist()
    return sorted(rows, key=lambda row: (row["period_kind"], row["period"], -row["arr"], str(row["loss_reason"] or "")))


def _finite_row(row: dict[str, Any], failures: RenderFailures) -> list[Any]:
    """Values of a row for JSON; an infinite or NaN value becomes None and is added to `failures`."""
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            failures.add("scorecard", f"{row['measure']} {name}", "not finite", row["period"])
            row = {**row, name: None}
    return list(row.values())


if __name__ == "__main__":
    main(scorecard)
