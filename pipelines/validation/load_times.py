"""Detect tables with the date of one load as their known time, so that their history was unknown before it.

A row does not exist before its known time. A migration or a first load that sets the known time of every row to the
load date therefore hides all history: no model can learn from it, and no error appears.
"""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.tables import TableSpec
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation.context import Anomaly, count_rows, known_time

MAX_DELIVERY_DAYS = 30
"""Weekly and monthly deliveries arrive within this number of days after the event; a bulk load does not."""
MIN_ROWS = 20
"""A day with fewer rows is not evidence."""


def find_bulk_loads(table: TableSpec, clean: ir.Table) -> Iterator[Anomaly]:
    """Yield an anomaly if at least half of a table's rows became known on one day, long after they happened."""
    columns = [name for name in table.known_time if name not in table.event_time]
    if not columns:
        return
    event = ibis.coalesce(*(clean[name] for name in table.event_time))
    known = known_time(clean, table)
    late = clean.mutate(known_on=known.date(), at=event).filter(event + ibis.interval(days=MAX_DELIVERY_DAYS) < known)
    by_day = late.group_by("known_on").agg(rows=_.count(), first=_["at"].min())
    worst = by_day.order_by(_.rows.desc(), _.known_on).limit(1).to_pyarrow().to_pylist()
    rows = count_rows(clean) if worst else 0
    if not worst or worst[0]["rows"] < max(MIN_ROWS, rows / 2):
        return
    count, day, first = worst[0]["rows"], worst[0]["known_on"], worst[0]["first"]
    column = next(name for name in columns if count_rows(clean.filter(clean[name].notnull())))
    yield Anomaly(
        f"{table.name}: {count:,} of {rows:,} rows became known on {day} ({column}), more than {MAX_DELIVERY_DAYS} "
        f"days after they happened (the first on {first:%Y-%m-%d}): before that day no model can learn from them. If "
        f"{column} is the time of a load or a migration, leave the column out, or give the time at which each row "
        "first arrived",
        Notice("bulk_load", {"table": table.name, "known_day": str(day)}),
    )
