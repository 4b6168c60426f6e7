"""Judge whether the tables are fresh and whole enough for the day asked for, before anything is computed from them.

A feed that has died looks like customers who have stopped using the product: every account would be at high risk. So
the newest row of a table known before the day may be only so old, and use of the last complete month may be only so
much less than usual. How old a table is goes by when things happened (`occurred_at`), not by when rows arrived: a feed
that died in June and is loaded again every night arrives fresh each day. Rows dated on or after the day say nothing:
one clock that runs ahead would make a dead feed look alive.
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

from renewals.features.tables import TABLES
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
    "To go on with such tables on purpose, give --allow-stale (freshness.allow_stale: true): whatever is made from "
    "them then carries a notice"
)


@dataclass(frozen=True)
class Finding:
    """What is wrong with a table on a day."""

    notice: Notice
    """For those who read what is made from it all the same."""
    is_blocking: bool
    problem: str
    """For those who give the tables: what was found, and which setting decides."""
    remedy: str

    @property
    def text(self) -> str:
        """The problem with what to do about it."""
        return f"{self.problem}. {self.remedy}"


@dataclass(frozen=True)
class TableExtent:
    """What a table holds on a day."""

    rows: int
    newest_day: date | None
    """The newest day before the day on which anything happened, among rows known before the day."""
    first_event: date | None
    """The first day on which anything happened, whenever it became known."""
    first_known: date | None


def freshness(job: Job) -> dict[str, Any]:
    """Write `freshness.json` on the side of the job: the newest day of each table, and notices of what is too old.

    Raises `DataContractError` where a table is too old or holds too little, unless `freshness.allow_stale` is set.
    """
    report, findings = assess_freshness(job)
    stop_or_warn(findings, job)
    content = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    atomic.write_bytes(job.folder / FRESHNESS, content.encode())
    return report


def assess_freshness(job: Job) -> tuple[dict[str, Any], list[Finding]]:
    """What the tables hold on the day, and what is wrong with that."""
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    extents = {name: measure_extent(name, tables[name], job.day) for name in tables if _has_limit(name, job)}
    ages = (_age_finding(name, extent, job) for name, extent in extents.items())
    volume = monthly_volume(tables[VOLUME_TABLE], job.day)
    findings = [found for found in (*ages, _volume_finding(volume, job)) if found]
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
    """One for each finding, below one that says where the run went on although it should have stopped."""
    found = list(findings)
    if any(one.is_blocking for one in found):
        yield ALLOW_STALE_NOTICE
    yield from (one.notice for one in found)


def stop_or_warn(findings: list[Finding], job: Job) -> None:
    """Log each finding. Raises `DataContractError` where one stops the run and `freshness.allow_stale` is not set."""
    stops = [one.text for one in findings if one.is_blocking]
    if stops and not job.settings.freshness.allow_stale:
        raise DataContractError("\n".join([*stops, ALLOW_STALE_ADVICE]))
    for one in findings:
        structlog.get_logger().warning("the tables are too old or incomplete", why=one.text)


# --- age ---------------------------------------------------------------------------------------------


def measure_extent(name: str, rows: ir.Table, day: date) -> TableExtent:
    """What a table holds on a day; one pass over it."""
    table, cut = TABLES[name], midnight(day)
    event, known = ibis.coalesce(*(rows[one] for one in table.event_time)), known_time(rows, table)
    found = rows.agg(
        rows=rows.count(),
        newest=event.max(where=(known.isnull() | (known < cut)) & (event < cut)),
        first_event=event.min(),
        first_known=known.min(),
    )
    (row,) = found.to_pyarrow().to_pylist()
    return TableExtent(row["rows"], *(_to_date(row[key]) for key in ("newest", "first_event", "first_known")))


def _to_date(instant: datetime | None) -> date | None:
    return instant.date() if instant else None


def _age_finding(name: str, extent: TableExtent, job: Job) -> Finding | None:
    """What is wrong with the age of a table; a table without a row known before the day is as old as can be."""
    age = job.settings.freshness.age_limits_of(name)
    if extent.newest_day is None:
        return _no_rows_finding(name, extent, job)
    days = (job.day - extent.newest_day).days - 1
    stops = age.stop_days is not None and days >= age.stop_days
    if not stops and (age.warn_days is None or days < age.warn_days):
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
        f"{name}: the newest row known before {job.day} is of {extent.newest_day}, and the {days} days since have none "
        f"(freshness.{name}.{setting}: {getattr(age, setting)})",
        f"Bring the table up to date, or ask for {extent.newest_day + timedelta(days=1)}, the day after its newest",
    )


def _no_rows_finding(name: str, extent: TableExtent, job: Job) -> Finding:
    age = job.settings.freshness.age_limits_of(name)
    setting = "stop_days" if age.stop_days else "warn_days"
    problem, remedy = _no_rows_reason(name, extent, job.day)
    return Finding(
        Notice("no_known_rows", {"table": name, "day": str(job.day)}),
        age.stop_days is not None,
        f"{name}: {problem} (freshness.{name}.{setting}: {getattr(age, setting)})",
        remedy,
    )


def _no_rows_reason(name: str, extent: TableExtent, day: date) -> tuple[str, str]:
    """Why no row of a table was known before a day, and what to do."""
    if not extent.rows:
        return "the table holds no row", "Give its rows, or leave the table out where it is not required"
    if extent.first_event and extent.first_event >= day:
        return (
            f"its history begins on {extent.first_event}, and nothing was known before {day}",
            f"Ask for a day well after {extent.first_event}, or give its earlier rows",
        )
    return (
        f"none of its {extent.rows} rows was known before {day}: they begin on {extent.first_event}, but the first "
        f"became known on {extent.first_known}",
        f"Where {TABLES[name].known_time[0]} is the time of a load, leave the column out, or give the time at which "
        "each row first arrived; otherwise ask for a later day",
    )


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
        f"{VOLUME_TABLE}: of {volume.month} {volume.rows:,} rows were known before {job.day}, {volume.share:.0%} of "
        f"the {volume.median_rows:,.0f} of a usual month (median of the complete months before it, at most "
        f"{REFERENCE_MONTHS}; "
        f"freshness.volume.{setting}: {getattr(limits, setting)})",
        "Look for deliveries of that month that are missing, and give them; where use has truly fallen so much, lower "
        "the setting",
    )


if __name__ == "__main__":
    main(freshness)
