"""Usage events by the month in which they arrived: what a month holds, told in a digest (design, decision 4).

The certified events lie in order of arrival with their month beside them, so that one month is read without the
others; the digest of a month changes exactly when the source rewrites it.
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
    """The events with `arrival_month`: months since the year 0, of the day of arrival."""
    day = ibis.literal(EPOCH) + arrival_day(events).as_interval("D")
    return events.mutate(arrival_month=(day.year() * 12 + day.month() - 1).cast("int32"))


def month_name(month: int) -> str:
    """A month as people write it."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def month_number(name: str) -> int:
    """A month as it is counted."""
    return int(name[:4]) * 12 + int(name[5:]) - 1


def write_digests(events: ir.Table, clean_folder: Path) -> None:
    """Tell beside the certified events what each month of arrival holds, whatever the order of its rows.

    The marks are added up without losing a digit; in an exclusive or equal rows would cancel out.
    """
    columns = {c: events[c] for c in events.columns if c != "arrival_month"}
    marks = events.select("arrival_month", mark=ibis.struct(columns).hash())
    months = marks.group_by("arrival_month").agg(rows=_.count(), sum=_.mark.cast("decimal(38,0)").sum())
    found = months.order_by("arrival_month").to_pyarrow().to_pylist()
    digests = {month_name(r["arrival_month"]): f"{r['rows']}|{r['sum']}" for r in found}
    atomic.write_bytes(clean_folder / f"{TABLE}.json", json.dumps(digests, indent=1).encode())


def read_digests(clean_folder: Path) -> dict[int, str]:
    """What each month of arrival holds."""
    path = clean_folder / f"{TABLE}.json"
    if not path.exists():
        raise MissingInputError(f"no digests of the events at {path}: run `renewals check` first")
    return {month_number(name): digest for name, digest in data_files.load_json(path).items()}
