"""Read times: instants, converted to UTC, and calendar days, taken as they are in the time zone of the source.

A time with an offset is an instant whatever the zone of the source. The start and the end of a contract are calendar
days: converted to UTC, a midnight in Shanghai would be a day earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from renewals.features.tables import LAST_YEAR, TIME, ColumnSpec
from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation.context import Anomaly, ValidatedTable

OFFSET_PATTERN = r":\d\d(\.\d+)?([+-]\d\d(:?\d\d){0,2}|Z| UTC)$|[A-Za-z]+/[A-Za-z_]+$"
"""End of a time with an offset or a zone name, which a plain cast would drop. Other abbreviations, like CST, name
several zones and are not matched."""
SPACED_OFFSET_PATTERN = r"(:\d\d(?:\.\d+)?)\s+([+-]\d\d(?::?\d\d)?|Z)$"
"""A space before the offset, as printed by Snowflake, Ruby and Zendesk; DuckDB would read the offset as a zone name."""
ZONED = dt.Timestamp(timezone="UTC", scale=6)
LAST_MINUTE = 23 * 60 + 59
"""Minute of the day from which on a time is the end of its day."""
MIN_LAST_MINUTE_SHARE = 0.9
"""Share of ends in the last minute of a day from which on the ends of a table are last days."""


@ibis.udf.scalar.builtin(name="timezone", signature=((dt.string, TIME), ZONED))
def _from_zone(zone, local):  # type: ignore[no-untyped-def]
    """Instant of a local time in a zone, as computed by the engine."""


@ibis.udf.scalar.builtin(name="timezone", signature=((dt.string, ZONED), TIME))
def _to_zone(zone, instant):  # type: ignore[no-untyped-def]
    """Local time of an instant in a zone, as computed by the engine."""


def require_known_zone(con: Any, source: Source) -> None:
    """Raise `ConfigError` if the engine does not know the time zone."""
    if source.time_zone is not None:
        rows = con.con.execute("SELECT name FROM pg_timezone_names() WHERE name = ?", [source.time_zone]).fetchall()
        if not rows:
            raise ConfigError(f"source.time_zone: unknown time zone {source.time_zone!r}; write it as Asia/Shanghai")


def read_time(value: ir.Value, column: ColumnSpec, source: Source) -> ir.TimestampValue:
    """A text, date or timestamp as the column's time: an instant in UTC, or the midnight of a calendar day.

    Null where a text cannot be read. A time without an offset is a local time of the source.
    """
    if column.calendar_day:
        return local_time(value, source).truncate("D").cast(TIME)
    if not value.type().is_string():
        return value.cast(TIME) if _has_zone(value) else _to_utc(value.cast(TIME), source)
    value = _join_offset(value)
    return value.re_search(OFFSET_PATTERN).ifelse(
        value.try_cast(ZONED).cast(TIME), _to_utc(value.try_cast(TIME), source)
    )


def local_time(value: ir.Value, source: Source) -> ir.TimestampValue:
    """A text, date or timestamp as local time in the time zone of the source; null where a text cannot be read."""
    if not value.type().is_string():
        return _to_local(value.cast(ZONED), source) if _has_zone(value) else value.cast(TIME)
    value = _join_offset(value)
    return value.re_search(OFFSET_PATTERN).ifelse(_to_local(value.try_cast(ZONED), source), value.try_cast(TIME))


def day_after(day: ir.TimestampValue) -> ir.TimestampValue:
    """The next day; the last day that can be written, which means an open end, stays."""
    return (day < datetime(LAST_YEAR, 12, 31)).ifelse(day + ibis.interval(days=1), day)


def _has_zone(value: ir.Value) -> bool:
    return getattr(value.type(), "timezone", None) is not None


def _join_offset(text: ir.StringValue) -> ir.StringValue:
    return text.re_replace(SPACED_OFFSET_PATTERN, r"\1\2")


def _to_utc(local: ir.TimestampValue, source: Source) -> ir.TimestampValue:
    return local if source.time_zone is None else _from_zone(source.time_zone, local).cast(TIME)


def _to_local(instant: ir.TimestampValue, source: Source) -> ir.TimestampValue:
    return instant.cast(TIME) if source.time_zone is None else _to_zone(source.time_zone, instant)


def find_inclusive_ends(validated: ValidatedTable, source: Source) -> Iterator[Anomaly]:
    """Yield an anomaly if nearly all ends of contracts are in the last minute of a day, and so are last days."""
    if validated.table.name != "contracts" or source.inclusive_ends or "end_date" not in validated.raw_columns:
        return
    end = local_time(validated.rows[validated.raw_columns["end_date"]], source)
    ends = validated.rows.select(minute=end.hour() * 60 + end.minute()).filter(ibis._.minute.notnull())
    counts = ends.agg(ends=ends.count(), last=(ends.minute >= LAST_MINUTE).sum()).to_pyarrow().to_pylist()[0]
    if not counts["ends"] or counts["last"] < MIN_LAST_MINUTE_SHARE * counts["ends"]:
        return
    yield Anomaly(
        f"contracts: {counts['last']} of {counts['ends']} values of end_date are at 23:59 or later: they look like the "
        "last day of the term, but count as the first day after it, so each term is one day too short: --set "
        "source.inclusive_ends=true",
        Notice("ends_on_last_day", {"ends": counts["last"]}),
    )
