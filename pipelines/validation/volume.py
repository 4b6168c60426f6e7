"""Compare the use delivered for the last complete month with the usual: half a month missing looks like a fall."""

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
"""The usual month is the median of so many complete months before the last one."""
MIN_MONTHS = 4
"""Of fewer complete months before the last one nobody can say what is usual."""


@dataclass(frozen=True)
class MonthlyVolume:
    """How many rows of the last complete month were known, beside the usual month's."""

    month: str
    rows: int
    median_rows: float

    @property
    def share(self) -> float:
        """The rows as a share of the usual ones."""
        return self.rows / self.median_rows

    def as_dict(self) -> dict[str, Any]:
        """The volume as `freshness.json` has it."""
        return {"month": self.month, "rows": self.rows, "usual": self.median_rows, "share": round(self.share, 4)}


def monthly_volume(rows: ir.Table, day: date) -> MonthlyVolume | None:
    """Rows of the last complete month before the day, by when they happened, beside the median of the months before.

    Each month is counted as it was known so many days after its end as the last one is now: events arrive late, and
    months of long ago are complete while the last is not. A month of which nothing was known then came with a load of
    history, and counts as it is known now. None where fewer than `MIN_MONTHS` complete months lie before the last, or
    where no month was ever known so early.
    """
    months = _complete_months(day)
    counts = _count_rows_by_month(rows, months, day)
    begun = [month for month in months[:-1] if counts.first and month >= counts.first]
    early, known = ([one[month] for month in begun] for one in (counts.early, counts.known))
    last = counts.known[months[-1]]
    if len(begun) < MIN_MONTHS or not (last or any(early)):
        return None
    usual = median(first or all_of for first, all_of in zip(early, known, strict=True))
    return MonthlyVolume(f"{months[-1]:%Y-%m}", last, usual) if usual else None


def _complete_months(day: date) -> list[date]:
    """The first days of the last complete month before a day, and of those it is held against, rising."""
    months = [day.replace(day=1)]
    while len(months) <= REFERENCE_MONTHS + 1:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    return months[:0:-1]


@dataclass(frozen=True)
class _MonthCounts:
    """Rows by month: those known before the day, and those known as early as the last month's are."""

    known: dict[date, int]
    early: dict[date, int]
    first: date | None
    """The first month that the history holds from its first day on."""


def _count_rows_by_month(rows: ir.Table, months: list[date], day: date) -> _MonthCounts:
    event, known, cut = rows.occurred_at, known_time(rows, TABLES[TABLE]), midnight(day)
    lag = day - next_month(months[-1])
    sums = {}
    for place, month in enumerate(months):
        there = (event >= midnight(month)) & (event < midnight(next_month(month))) & (known < cut)
        sums[f"known_{place}"] = there.sum()
        sums[f"early_{place}"] = (there & (known < midnight(next_month(month) + lag))).sum()
    (row,) = rows.agg(first=event.min(where=known < cut), **sums).to_pyarrow().to_pylist()
    by = {kind: {m: row[f"{kind}_{i}"] or 0 for i, m in enumerate(months)} for kind in ("known", "early")}
    return _MonthCounts(first=_first_full_month(row["first"]), **by)


def midnight(day: date) -> ir.TimestampScalar:
    """The instant at which a day begins."""
    return ibis.literal(datetime.combine(day, datetime.min.time()), "timestamp(6)")


def _first_full_month(first: datetime | None) -> date | None:
    if first is None:
        return None
    return first.date() if first.day == 1 else next_month(first.date())
