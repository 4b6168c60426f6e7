"""Usage events by month of arrival, with a digest of each month's rows (design, decision 4).

The clean events are sorted by arrival and have their month as a column, so that one month can be read without the
others. The digest of a month changes exactly when the source rewrites the month.
"""

from __future__ import annotations

import json
from pathlib import Path

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.point_in_time import EPOCH, arrival_day
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.engine import atomic

TABLE = "usage_events"


def add_arrival_month(events: ir.Table) -> ir.Table:
    """Add the column `arrival_month` to the events: the month of the day of arrival, counted from January of year 0."""
    day = ibis.literal(EPOCH) + arrival_day(events).as_interval("D")
    return events.mutate(arrival_month=(day.year() * 12 + day.month() - 1).cast("int32"))


def month_name(month: int) -> str:
    """Text YYYY-MM of an `arrival_month`."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def month_number(name: str) -> int:
    """Number (`arrival_month`) of a month written as YYYY-MM."""
    return int(name[:4]) * 12 + int(name[5:]) - 1


def write_digests(events: ir.Table, clean_folder: Path) -> None:
    """Write a digest of each month of arrival next to the clean events; the order of rows does not matter.

    Row hashes are summed as exact decimals; in an exclusive or, equal rows would cancel out.
    """
    columns = {c: events[c] for c in events.columns if c != "arrival_month"}
    hashes = events.select("arrival_month", mark=ibis.struct(columns).hash())
    months = hashes.group_by("arrival_month").agg(rows=_.count(), sum=_.mark.cast("decimal(38,0)").sum())
    records = months.order_by("arrival_month").to_pyarrow().to_pylist()
    digests = {month_name(r["arrival_month"]): f"{r['rows']}|{r['sum']}" for r in records}
    atomic.write_bytes(clean_folder / f"{TABLE}.json", json.dumps(digests, indent=1).encode())


def read_digests(clean_folder: Path) -> dict[int, str]:
    """Read the digests of the clean events, by `arrival_month`. Raises MissingInputError."""
    path = clean_folder / f"{TABLE}.json"
    if not path.exists():
        raise MissingInputError(f"no digests of the events at {path}: run `renewals check` first")
    return {month_number(name): digest for name, digest in data_files.load_json(path).items()}
