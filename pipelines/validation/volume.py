"""Compare the usage rows of the last complete month with earlier months: missing rows look like a drop in usage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

import ibis
import ibis.expr.types as ir

from renewals.features.point_in_time import next_month
from renewals.features.tables import TABLES
from renewals.pipelines.validation.context import known_time

TABLE = "usage_events"
REFERENCE_MONTHS = 6
"""The reference is the median of this number of complete months before the last one."""
MIN_MONTHS = 4
"""With fewer complete months before the last one there is no reference."""


@dataclass(frozen=True)
class MonthlyVolume:
    """Known rows of the last complete month and the median of the months before it."""

    month: str
    rows: int
    median_rows: float

    @property
    def share(self) -> float:
        """The rows as a share of the median."""
        return self.rows / self.median_rows

    def as_dict(self) -> dict[str, Any]:
        """Entry of `freshness.json`."""
        return {"month": self.month, "rows": self.rows, "usual": self.median_rows, "share": round(self.share, 4)}


def monthly_volume(rows: ir.Table, day: date) -> MonthlyVolume | None:
    """Rows of the last complete month before the day, by event time, and the median of the months before it.

    Each month is counted as it was known the same number of days after its end as the last month is now, because events
    arrive late and only older months are complete. A month with no rows known then was loaded later in bulk and is
    counted as it is known now. None if fewer than `MIN_MONTHS` complete months precede the last one, or if no month was
    ever known that early.
    """
    months = _complete_months(day)
    counts = _count_rows_by_month(rows, months, day)
    reference_months = [month for month in months[:-1] if counts.first and month >= counts.first]
    early, known = (
        [counts_by_month[month] for month in reference_months] for counts_by_month in (counts.early, counts.known)
    )
    last = counts.known[months[-1]]
    if len(reference_months) < MIN_MONTHS or not (last or any(early)):
        return None
    median_rows = median(early_rows or all_rows for early_rows, all_rows in zip(early, known, strict=True))
    return MonthlyVolume(f"{months[-1]:%Y-%m}", last, median_rows) if median_rows else None


def _complete_months(day: date) -> list[date]:
    """First days of the reference months and of the last complete month before a day, in ascending order."""
    months = [day.replace(day=1)]
    while len(months) <= REFERENCE_MONTHS + 1:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    return months[:0:-1]


@dataclass(frozen=True)
class _MonthCounts:
    """Rows by month: all known before the day, and those known as early as those of the last month."""

    known: dict[date, int]
    early: dict[date, int]
    first: date | None
    """The first month that the history covers from its first day."""


def _count_rows_by_month(rows: ir.Table, months: list[date], day: date) -> _MonthCounts:
    event, known, cut = rows.occurred_at, known_time(rows, TABLES[TABLE]), midnight(day)
    lag = day - next_month(months[-1])
    sums = {}
    for place, month in enumerate(months):
        in_month = (event >= midnight(month)) & (event < midnight(next_month(month))) & (known < cut)
        sums[f"known_{place}"] = in_month.sum()
        sums[f"early_{place}"] = (in_month & (known < midnight(next_month(month) + lag))).sum()
    (row,) = rows.agg(first=event.min(where=known < cut), **sums).to_pyarrow().to_pylist()
    by = {kind: {m: row[f"{kind}_{i}"] or 0 for i, m in enumerate(months)} for kind in ("known", "early")}
    return _MonthCounts(first=_first_full_month(row["first"]), **by)


def midnight(day: date) -> ir.TimestampScalar:
    """The time at which a day starts."""
    return ibis.literal(datetime.combine(day, datetime.min.time()), "timestamp(6)")


def _first_full_month(first: datetime | None) -> date | None:
    if first is None:
        return None
    return first.date() if first.day == 1 else next_month(first.date())
