"""Suspect tables whose known times are the night of one load, so that their history was known to nobody before it.

By the first law a row does not exist before its known time. A migration or a first load that stamps every row with its
own night therefore hides all of history: nothing can be learned from before it, and nothing says so.
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
"""Weekly and monthly deliveries arrive within so many days of what happened; a load of history does not."""
MIN_ROWS = 20
"""Fewer rows of one day prove nothing."""


def find_bulk_loads(table: TableSpec, clean: ir.Table) -> Iterator[Anomaly]:
    """One suspicion where at least half of a table's rows became known on one day, long after they happened."""
    column, event = table.known_time[0], ibis.coalesce(*(clean[name] for name in table.event_time))
    if column in table.event_time:
        return
    known = known_time(clean, table)
    late = clean.mutate(known_on=known.date(), at=event).filter(event + ibis.interval(days=MAX_DELIVERY_DAYS) < known)
    by_day = late.group_by("known_on").agg(rows=_.count(), first=_["at"].min())
    found = by_day.order_by(_.rows.desc(), _.known_on).limit(1).to_pyarrow().to_pylist()
    rows = count_rows(clean) if found else 0
    if not found or found[0]["rows"] < max(MIN_ROWS, rows / 2):
        return
    count, day, first = found[0]["rows"], found[0]["known_on"], found[0]["first"]
    yield Anomaly(
        f"{table.name}: {count:,} of {rows:,} rows became known on {day} ({column}), more than {MAX_DELIVERY_DAYS} "
        "days after "
        f"they happened, the first of {first:%Y-%m-%d}: nothing of them can be learned from before that day. Where "
        f"{column} is the time of a load or a migration, leave the column out, or give the time at which each row "
        "first arrived",
        Notice("bulk_load", {"table": table.name, "known_day": str(day)}),
    )
