"""Cast the columns of a raw table to the types of the contract; ids keep the type in which they were given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from features.tables import ID, TABLES, Column, Rule, Table
from pipelines import answers, warehouse
from pipelines.check_context import CheckContext
from pipelines.errors import DataContract
from pipelines.warehouse import Given

OFFSET = r":\d\d(\.\d+)?[+-]\d\d(:?\d\d){0,2}$|[A-Za-z]+/[A-Za-z_]+$"
"""How an instant ends that names its offset or place; a plain cast would drop it. Letters like CST name several
zones, and are not read."""
SPACE_BEFORE_OFFSET = r"(:\d\d(?:\.\d+)?)\s+([+-]\d\d(?::?\d\d)?|Z)$"
"""Snowflake, Ruby and Zendesk print a space before the offset, which DuckDB takes for the name of a zone."""
DECIMAL_COMMA = r"^\s*[+-]?\d{1,3}(\.\d{3})+(,\d+)?\s*$"
"""A number with dots between thousands and, perhaps, a decimal comma."""
WHOLE_UP_TO = 2**53
"""Beyond this a floating-point number no longer tells two whole numbers apart."""


def require_columns(raw: Given, table: Table) -> None:
    """Raise `DataContract` where a required column is missing."""
    for rows in raw.parts:
        missing = [c.name for c in table.columns.values() if c.required and c.name not in rows.columns]
        if missing:
            found = ", ".join(rows.columns)
            raise DataContract(f"{table.name}: required column {', '.join(missing)} is missing; found {found}")


@dataclass(frozen=True)
class CastTable:
    """A table with its columns as the contract has them, and each row as it was given beside them."""

    rows: ir.Table
    given: Mapping[str, str]
    """The columns as given: their names, and the names they go by in `rows`."""
    unreadable: tuple[Rule, ...]
    """One rule for each column of which some value may not be of its type."""
    text: bool = False
    """Whether the table was given as text, so that `source.nulls` and `source.decimal` apply to it."""


def id_types(given: Mapping[str, Given]) -> dict[str, dict[str, dt.DataType]]:
    """The type of every id column of every table: one for all that name the same thing.

    Raises `DataContract` naming every column whose type differs from that of another.
    """
    places: dict[str, dict[str, dt.DataType]] = {}
    for name, raw in given.items():
        for column, rows, kind in _ids_given(raw, TABLES[name]):
            met = places.setdefault(column.of, {})
            if kind not in met.values() and (raw.text or not _all_null(rows, column.name)):
                met[f"{name}.{column.name}"] = kind
    mixed = [line for met in places.values() for line in _mixed_types(met)]
    if mixed:
        raise DataContract("\n".join(mixed))
    types = {of: next(iter(met.values()), dt.string) for of, met in places.items()}
    return {
        table.name: {c.name: types.get(c.of, dt.string) for c in table.columns.values() if c.type == ID}
        for table in TABLES.values()
    }


def _mixed_types(met: Mapping[str, dt.DataType]) -> Iterator[str]:
    first, *others = met.items()
    for column, kind in others:
        yield (
            f"{column} holds {_called(kind)} and {first[0]} holds {_called(first[1])}: "
            "ids of the same thing must be of one type"
        )


def _ids_given(raw: Given, table: Table) -> Iterator[tuple[Column, ir.Table, dt.DataType]]:
    for column in table.columns.values():
        for rows in raw.parts:
            if column.type == ID and column.name in rows.columns:
                kind = _id_type(rows[column.name].type(), column)
                if kind is not None:
                    yield column, rows, kind


def _id_type(kind: dt.DataType, column: Column) -> dt.DataType | None:
    """What an id of this type is kept as; a whole number with gaps has often become a float."""
    if kind.is_string() or kind.is_uuid():
        return dt.string
    if kind.is_integer() or (kind.is_decimal() and kind.scale == 0) or (kind.is_floating() and column.nullable):
        return dt.int64
    return None


def _all_null(rows: ir.Table, column: str) -> bool:
    return bool(rows.filter(rows[column].notnull()).limit(1).count().to_pyarrow().as_py() == 0)


def cast_table(context: CheckContext, raw: Given, table: Table) -> CastTable:
    """The contract's columns beside the row as given: one row per row given."""
    names = list(dict.fromkeys(name for rows in raw.parts for name in rows.columns))
    given = {name: f"given_{place}" for place, name in enumerate(names)}
    kinds = {name: _common_type([rows[name].type() for rows in raw.parts if name in rows.columns]) for name in names}
    types = {c.name: context.ids[table.name][c.name] if c.type == ID else c.type for c in table.columns.values()}
    decimal = context.job.settings.source.decimal
    parts = []
    for rows in raw.parts:
        kept = {given[name]: _as(rows, name, kind) for name, kind in kinds.items()}
        cast = {c.name: _cast(rows, c, types[c.name], raw, decimal) for c in table.columns.values()}
        parts.append(rows.select(**kept, **cast))
    together = ibis.union(*parts) if len(parts) > 1 else parts[0]
    if raw.text:
        rows = warehouse.settled(context.con, table.name, together, context.scratch)
    else:
        rows = context.con.create_view(f"typed_{table.name}", together)
    if answers.MARK in given and table.name == answers.INTERVENTIONS:
        rows = answers.told_once(rows, given[answers.MARK])
    return CastTable(rows, given, tuple(_unreadable(raw, table, types, given)), raw.text)


def _common_type(kinds: Sequence[dt.DataType]) -> dt.DataType:
    return kinds[0] if len(set(kinds)) == 1 else dt.string


def _as(rows: ir.Table, name: str, kind: dt.DataType) -> ir.Value:
    return rows[name].cast(kind) if name in rows.columns else ibis.null(kind)


def require_types(raw: Given, table: Table, ids: Mapping[str, dt.DataType]) -> None:
    """Raise `DataContract` naming every column whose type cannot hold what the contract wants.

    `ids` holds the type of each id column; without it those are not looked at.
    """
    if raw.text:
        return
    columns = [c for c in table.columns.values() if c.type != ID or ids]
    wrong = [line for c in columns for line in _wrong_types(raw, c, ids[c.name] if c.type == ID else c.type)]
    if wrong:
        raise DataContract("\n".join(dict.fromkeys(wrong)))


def _wrong_types(raw: Given, column: Column, wanted: dt.DataType) -> Iterator[str]:
    for rows in raw.parts:
        if column.name in rows.columns:
            found = rows[column.name].type()
            if not (_fits(found, wanted, column) or _all_null(rows, column.name)):
                met = f"found {_called(found)} ({found}), expected {_called(wanted)}"
                yield f"{raw.name}.{column.name} is of the wrong type: {met}"


def _cast(rows: ir.Table, column: Column, wanted: dt.DataType, raw: Given, decimal: str) -> ir.Value:
    """A column as its contract type: null where a value cannot be read as one."""
    if column.name not in rows.columns:
        return ibis.null(wanted)
    value = rows[column.name]
    found = value.type()
    if found == wanted:
        return value
    if raw.text:
        return _read_text(value, wanted, decimal)
    if not _fits(found, wanted, column):
        return ibis.null(wanted)  # `require_types` has seen that it is empty
    if wanted.is_integer() and (found.is_floating() or found.is_decimal()):
        return _whole(value.cast("float64"))
    return value.try_cast(wanted) if found.is_unsigned_integer() else value.cast(wanted)


def _fits(found: dt.DataType, wanted: dt.DataType, column: Column) -> bool:
    if column.type == ID:
        return _id_type(found, column) == wanted
    if wanted.is_timestamp():
        return found.is_timestamp() or found.is_date()
    if wanted.is_numeric():
        return found.is_numeric() and not found.is_boolean()
    if wanted.is_string():
        return found.is_string() or found.is_uuid()
    return found == wanted


def _read_text(value: ir.Value, wanted: dt.DataType, decimal: str) -> ir.Value:
    """A text as a typed value; an instant with an offset becomes UTC, one without is UTC."""
    if wanted.is_timestamp():
        value = value.re_replace(SPACE_BEFORE_OFFSET, r"\1\2")
        zoned = value.try_cast(dt.Timestamp(timezone="UTC", scale=6)).cast(wanted)
        return value.re_search(OFFSET).ifelse(zoned, value.try_cast(wanted))
    if wanted.is_numeric() and decimal == ",":
        value = _with_decimal_point(value)
    if wanted.is_integer():
        return _whole(value.try_cast("float64"))
    return value.try_cast(wanted)


def _with_decimal_point(value: ir.StringValue) -> ir.StringValue:
    """`12.000,50` as `12000.50`; a dot that does not part thousands is no number here, and becomes null."""
    plain = value.re_search(DECIMAL_COMMA).ifelse(value.replace(".", "").replace(",", "."), ibis.null("string"))
    return value.contains(".").ifelse(plain, value.replace(",", "."))


def _whole(number: ir.Value) -> ir.Value:
    """A number as a whole one; null where it is none, or too large to tell."""
    nothing = ibis.null("float64")
    exact = (number.abs() <= WHOLE_UP_TO).ifelse(number, nothing)
    return (exact == exact.floor()).ifelse(exact, nothing).cast("int64")


def _called(kind: dt.DataType) -> str:
    """What people call a type."""
    names = (
        ("text", kind.is_string()),
        ("true or false", kind.is_boolean()),
        ("whole numbers", kind.is_integer()),
        ("numbers", kind.is_numeric()),
        ("times", kind.is_timestamp()),
        ("dates", kind.is_date()),
    )
    return next((name for name, holds in names if holds), str(kind))


def _unreadable(raw: Given, table: Table, types: Mapping[str, dt.DataType], given: Mapping[str, str]) -> Iterator[Rule]:
    for column in table.columns.values():
        name, wanted = column.name, types[column.name]
        found = [rows[name].type() for rows in raw.parts if name in rows.columns]
        if any(kind != wanted and _may_fail(kind, wanted) for kind in found):
            words = f"{name} cannot be read as {_called(wanted)}"
            yield Rule(f"{name}_unreadable", name, words, _readable(name, given[name]))


def _may_fail(found: dt.DataType, wanted: dt.DataType) -> bool:
    return found.is_string() or found.is_unsigned_integer() or (wanted.is_integer() and not found.is_integer())


def _readable(name: str, as_given: str) -> Any:
    return lambda rows: rows[as_given].isnull() | rows[name].notnull()
