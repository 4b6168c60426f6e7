"""Check that the tables are fresh and complete enough for the requested day, before anything is computed from them.

A dead feed looks like customers who have stopped using the product: every account would be at high risk. Therefore the
age of a table's newest row known before the day is limited, and so is the drop of usage in the last complete month. The
age depends on when events happened (`occurred_at`), not on when rows arrived: a feed that died in June and is loaded
again every night arrives fresh each day. Rows dated on or after the day are ignored: one clock that runs ahead would
make a dead feed look alive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import structlog

from renewals.features.tables import TABLES, TableSpec
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage.artifacts import FRESHNESS
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.notices import Notice, NoticeValue
from renewals.pipelines.validation.context import known_time
from renewals.pipelines.validation.volume import REFERENCE_MONTHS, MonthlyVolume, midnight, monthly_volume
from renewals.pipelines.validation.volume import TABLE as VOLUME_TABLE

STEP = Step(after="check", commands=("learn", "score", "scorecard"))

ALLOW_STALE_NOTICE = Notice("stale_allowed")
ALLOW_STALE_ADVICE = (
    "To continue with these tables, use --allow-stale (freshness.allow_stale: true): all results then carry a notice"
)


@dataclass(frozen=True)
class Finding:
    """A problem with the age or the volume of a table on a day."""

    notice: Notice
    """Shown to readers of the results if the run continues."""
    is_blocking: bool
    problem: str
    """Shown to the data owner: the observation and the setting that decides."""
    remedy: str

    @property
    def text(self) -> str:
        """The problem and its remedy."""
        return f"{self.problem}. {self.remedy}"


@dataclass(frozen=True)
class TableExtent:
    """Number of rows and first and newest days of a table, as of a day."""

    rows: int
    newest_day: date | None
    """Day of the newest event before the day, among rows known before the day; None if there is none."""
    first_event: date | None
    """Day of the first event, whenever it became known."""
    first_known: date | None


def freshness(job: Job) -> dict[str, Any]:
    """Write and return `freshness.json` of the job's folder: newest day of each table, usage volume, and notices.

    Raises `DataContractError` if a table is too old or incomplete, unless `freshness.allow_stale` is set.
    """
    report, findings = assess_freshness(job)
    stop_or_warn(findings, job)
    content = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    atomic.write_bytes(job.folder / FRESHNESS, content.encode())
    return report


def assess_freshness(job: Job) -> tuple[dict[str, Any], list[Finding]]:
    """Measure age and volume of the tables on the day; return the report and the problems found."""
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    extents = {name: measure_extent(name, tables[name], job.day) for name in tables if _has_limit(name, job)}
    ages = (_age_finding(name, extent, job) for name, extent in extents.items())
    volume = monthly_volume(tables[VOLUME_TABLE], job.day)
    findings = [finding for finding in (*ages, _volume_finding(volume, job)) if finding]
    report = {
        "day": job.day.isoformat(),
        "newest_days": {
            name: extent.newest_day.isoformat() if extent.newest_day else None for name, extent in extents.items()
        },
        "volume": volume.as_dict() if volume else None,
        "notices": [notice.as_dict() for notice in finding_notices(findings)],
    }
    return report, findings


def _has_limit(name: str, job: Job) -> bool:
    age = job.settings.freshness.age_limits_of(name)
    return bool(age.warn_days or age.stop_days)


def finding_notices(findings: Iterable[Finding]) -> Iterator[Notice]:
    """Yield one notice per finding; before them, if a finding is blocking, the notice that `allow_stale` was used."""
    listed = list(findings)
    if any(finding.is_blocking for finding in listed):
        yield ALLOW_STALE_NOTICE
    yield from (finding.notice for finding in listed)


def stop_or_warn(findings: list[Finding], job: Job) -> None:
    """Log each finding. Raises `DataContractError` if one is blocking and `freshness.allow_stale` is not set."""
    stops = [finding.text for finding in findings if finding.is_blocking]
    if stops and not job.settings.freshness.allow_stale:
        raise DataContractError("\n".join([*stops, ALLOW_STALE_ADVICE]))
    for finding in findings:
        structlog.get_logger().warning("the tables are too old or incomplete", why=finding.text)


# --- age ---------------------------------------------------------------------------------------------


def measure_extent(name: str, rows: ir.Table, day: date) -> TableExtent:
    """Measure row count, first and newest days of a table, as of a day, in one pass over the rows."""
    table, end = TABLES[name], midnight(day)
    event, known = ibis.coalesce(*(rows[column] for column in table.event_time)), known_time(rows, table)
    extent = rows.agg(
        rows=rows.count(),
        newest=event.max(where=(known.isnull() | (known < end)) & (event < end)),
        first_event=event.min(),
        first_known=known.min(),
    )
    (row,) = extent.to_pyarrow().to_pylist()
    return TableExtent(row["rows"], *(_to_date(row[key]) for key in ("newest", "first_event", "first_known")))


def _to_date(instant: datetime | None) -> date | None:
    return instant.date() if instant else None


def _age_finding(name: str, extent: TableExtent, job: Job) -> Finding | None:
    """Finding if the table is older than its limits, else None; a table without rows known before the day is too
    old."""
    limits = job.settings.freshness.age_limits_of(name)
    if extent.newest_day is None:
        return _no_rows_finding(name, extent, job)
    days = (job.day - extent.newest_day).days - 1
    stops = limits.stop_days is not None and days >= limits.stop_days
    if not stops and (limits.warn_days is None or days < limits.warn_days):
        return None
    setting = "stop_days" if stops else "warn_days"
    values: dict[str, NoticeValue] = {
        "table": name,
        "newest_day": str(extent.newest_day),
        "days": days,
        "day": str(job.day),
    }
    return Finding(
        Notice("stale", values),
        stops,
        f"{name}: the newest row known before {job.day} is dated {extent.newest_day}; the {days} days since have "
        f"no rows (freshness.{name}.{setting}: {getattr(limits, setting)})",
        f"Update the table, or run for {extent.newest_day + timedelta(days=1)}, the day after its newest row",
    )


def _no_rows_finding(name: str, extent: TableExtent, job: Job) -> Finding:
    limits = job.settings.freshness.age_limits_of(name)
    setting = "stop_days" if limits.stop_days else "warn_days"
    problem, remedy = _no_rows_reason(name, extent, job.day)
    return Finding(
        Notice("no_known_rows", {"table": name, "day": str(job.day)}),
        limits.stop_days is not None,
        f"{name}: {problem} (freshness.{name}.{setting}: {getattr(limits, setting)})",
        remedy,
    )


def _no_rows_reason(name: str, extent: TableExtent, day: date) -> tuple[str, str]:
    """Reason why no row of a table was known before a day, and the remedy."""
    if not extent.rows:
        return "the table has no rows", "Provide its rows, or remove the table if it is not required"
    if extent.first_event and extent.first_event >= day:
        return (
            f"its first row is dated {extent.first_event}, and no row was known before {day}",
            f"Run for a day well after {extent.first_event}, or provide earlier rows",
        )
    return (
        f"none of its {extent.rows} rows was known before {day}: the first is dated {extent.first_event}, but the "
        f"first known time is {extent.first_known}",
        f"If {_columns_of_known_time(TABLES[name])} is the time of a load, remove the column, or provide the time at "
        "which each row first arrived; if it is not, run for a later day",
    )


def _columns_of_known_time(table: TableSpec) -> str:
    """Columns that can make a row known later than its event."""
    return " or ".join([name for name in table.known_time if name not in table.event_time] or table.known_time)


# --- volume ------------------------------------------------------------------------------------------


def _volume_finding(volume: MonthlyVolume | None, job: Job) -> Finding | None:
    limits = job.settings.freshness.volume
    if volume is None or volume.share >= max(limits.warn, limits.stop):
        return None
    stops = volume.share < limits.stop
    setting = "stop" if stops else "warn"
    values: dict[str, NoticeValue] = {
        "rows": volume.rows,
        "usual": round(volume.median_rows),
        "share": round(volume.share, 4),
    }
    return Finding(
        Notice("low_volume", {"table": VOLUME_TABLE, "month": volume.month, **values}),
        stops,
        f"{VOLUME_TABLE}: {volume.rows:,} rows of {volume.month} were known before {job.day}, {volume.share:.0%} of "
        f"the {volume.median_rows:,.0f} rows of a usual month (median of the complete months before it, at most "
        f"{REFERENCE_MONTHS}; "
        f"freshness.volume.{setting}: {getattr(limits, setting)})",
        "Look for missing deliveries of that month and load them; if usage has really fallen that much, lower the "
        "setting",
    )


if __name__ == "__main__":
    main(freshness)
