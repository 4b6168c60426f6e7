"""Cast the columns of a raw table to the types of the contract; ids keep the type in which they were given.

No id passes through a floating-point number: whole numbers that are wider than 64 bits, or of a type that may be
(decimals, unsigned numbers, numbers that a database gave as text), are read by their digits (ADR 36).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from renewals.features.tables import ID, TABLES, Column, Rule, Table
from renewals.pipelines.runtime.errors import DataContract
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.engine.raw import csv
from renewals.pipelines.storage.engine.raw.raw_table import Given
from renewals.pipelines.validation.context import CheckContext
from renewals.pipelines.validation.value_forms import DECIMAL_COMMA, since_1970

OFFSET = r":\d\d(\.\d+)?[+-]\d\d(:?\d\d){0,2}$|[A-Za-z]+/[A-Za-z_]+$"
"""How an instant ends that names its offset or place; a plain cast would drop it. Letters like CST name several
zones, and are not read."""
SPACE_BEFORE_OFFSET = r"(:\d\d(?:\.\d+)?)\s+([+-]\d\d(?::?\d\d)?|Z)$"
"""Snowflake, Ruby and Zendesk print a space before the offset, which DuckDB takes for the name of a zone."""
WHOLE_UP_TO = 2**53
"""Beyond this a floating-point number no longer tells two whole numbers apart."""


DELIMITERS = (";", "\t", "|", ",")


def require_columns(raw: Given, table: Table) -> None:
    """Raise `DataContract` where a required column is missing."""
    for rows in raw.parts:
        missing = [c.name for c in table.columns.values() if c.required and c.name not in rows.columns]
        if missing:
            found = ", ".join(rows.columns)
            hint = _other_header(rows.columns, missing, raw.text)
            raise DataContract(f"{table.name}: required column {', '.join(missing)} is missing; found {found}{hint}")


def _other_header(found: Sequence[str], missing: Sequence[str], text: bool) -> str:
    """What to do where the columns are there, but are cut or written in another way."""
    sign = next((sign for sign in DELIMITERS if text and len(found) == 1 and sign in found[0]), None)
    if sign is not None:
        written = sign.replace("\t", r"\t")
        return f". The columns seem to be cut by {sign!r}: --set 'source.delimiter=\"{written}\"'"
    spelled = {name.strip().lower(): name for name in found}
    pairs = [f"{spelled[name]!r} as {name!r}" for name in missing if name in spelled]
    return f". Name {', '.join(pairs)}: names of columns are compared letter by letter" if pairs else ""


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


@dataclass(frozen=True)
class IdTypes:
    """The type of every id column of every table, and what `check` has to say of them."""

    types: Mapping[str, Mapping[str, dt.DataType]]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _GivenIds:
    """One id column in one part of a raw table."""

    place: str
    of: str
    value: ir.Value
    is_text: bool
    matters: bool
    """Whether its type counts: a typed column without a value may have lost its type."""


def id_types(given: Mapping[str, Given]) -> IdTypes:
    """The type of every id column: one for all that name the same thing, and text where one id is beyond 64 bits.

    Raises `DataContract` naming for each thing two columns, one with text and one with numbers.
    """
    found = [ids for name, raw in given.items() for ids in _ids_given(raw, TABLES[name])]
    things = {ids.of: [other for other in found if other.of == ids.of and other.matters] for ids in found}
    mixed = [line for columns in things.values() for line in _mixed_types(columns)]
    if mixed:
        raise DataContract("\n".join(mixed))
    types, warnings = {}, []
    for of, columns in things.items():
        is_text = not columns or columns[0].is_text  # a thing that is named nowhere is named by text
        wide = None if is_text else next((row for row in map(_widest, columns) if row), None)
        types[of] = dt.string if is_text or wide else dt.int64
        warnings += [_widened(of, wide, columns)] if wide else []
    declared = {t.name: {c.name: c.of for c in t.columns.values() if c.type == ID} for t in TABLES.values()}
    kinds = {table: {name: types.get(of, dt.string) for name, of in ids.items()} for table, ids in declared.items()}
    return IdTypes(kinds, tuple(warnings))


def _mixed_types(columns: Sequence[_GivenIds]) -> Iterator[str]:
    """Say which two columns name the same thing, one by text and one by numbers, if any do."""
    met = {ids.is_text: ids.place for ids in reversed(columns)}
    if len(met) > 1:
        first = columns[0].is_text
        called = {True: "text", False: "whole numbers"}
        yield (
            f"{met[not first]} holds {called[not first]} and {met[first]} holds {called[first]}: "
            "ids of the same thing must be of one type"
        )


def _ids_given(raw: Given, table: Table) -> Iterator[_GivenIds]:
    for column in table.columns.values():
        for rows in raw.parts:
            if column.type == ID and column.name in rows.columns:
                is_text = _is_text_id(rows[column.name].type(), column, raw)
                if is_text is not None:
                    matters = raw.text or not _all_null(rows, column.name)
                    yield _GivenIds(f"{raw.name}.{column.name}", column.of, rows[column.name], is_text, matters)


def _is_text_id(kind: dt.DataType, column: Column, raw: Given) -> bool | None:
    """Whether ids of this type are text (or whole numbers); None: it holds no ids.

    A whole number with gaps has often become a float.
    """
    if column.name in raw.numerals and kind.is_string():
        return False
    if kind.is_string() or kind.is_uuid():
        return True
    if kind.is_integer() or kind.is_decimal() or kind.is_floating():
        return False
    return None


def _widest(ids: _GivenIds) -> tuple[str, str] | None:
    """A column with an id beyond 64 bits, and that id; None where all of its ids are within."""
    kind = ids.value.type()
    if kind.is_floating() or (kind.is_integer() and kind != dt.uint64):
        return None
    digits = _digits(ids.value).name("digits").as_table()
    beyond = digits.filter(digits.digits.notnull() & digits.digits.try_cast("int64").isnull())
    example = beyond.digits.min().to_pyarrow().as_py()
    return (ids.place, example) if example else None


def _widened(of: str, wide: tuple[str, str], columns: Sequence[_GivenIds]) -> str:
    place, example = wide
    kept = ", ".join(dict.fromkeys(ids.place for ids in columns))
    return (
        f"{place} holds whole numbers beyond 64 bits, for example {example}: the ids of every {of} are kept as text, "
        f"in {kept} and in every output"
    )


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
        rows = csv.settled(context.con, table.name, together, context.scratch)
    else:
        rows = context.con.create_view(f"typed_{table.name}", together)
    if feedback_log.MARK in given and table.name == feedback_log.INTERVENTIONS:
        rows = feedback_log.told_once(rows, given[feedback_log.MARK])
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
            if not (_fits(found, wanted, column, raw) or _all_null(rows, column.name)):
                met = f"found {_called(found)} ({found}), expected {_called(wanted)}"
                looks = _count_of_seconds(rows[column.name], wanted)
                yield f"{raw.name}.{column.name} is of the wrong type: {met}{looks}"


def _count_of_seconds(value: ir.Value, wanted: dt.DataType) -> str:
    """What numbers in place of times look like."""
    if not (wanted.is_timestamp() and value.type().is_integer()):
        return ""
    largest, rows = value.max().to_pyarrow().as_py(), value.count().to_pyarrow().as_py()
    return "".join(f"; {looks}: have the source write timestamps" for looks in since_1970({str(largest): rows}))


def _cast(rows: ir.Table, column: Column, wanted: dt.DataType, raw: Given, decimal: str) -> ir.Value:
    """A column as its contract type: null where a value cannot be read as one."""
    if column.name not in rows.columns:
        return ibis.null(wanted)
    value = rows[column.name]
    found = value.type()
    if found == wanted and column.name not in raw.numerals:
        return value
    if raw.text:
        return _read_text(value, wanted, decimal)
    if not _fits(found, wanted, column, raw):
        return ibis.null(wanted)  # `require_types` has seen that it is empty
    return _converted(value, wanted, column.type == ID and not _is_text_id(found, column, raw))


def _converted(value: ir.Value, wanted: dt.DataType, is_whole_id: bool) -> ir.Value:
    found = value.type()
    if is_whole_id:
        return _digits(value).try_cast(wanted)
    if wanted.is_integer() and (found.is_floating() or found.is_decimal()):
        return _whole(value.cast("float64"))
    return value.try_cast(wanted) if found.is_unsigned_integer() else value.cast(wanted)


def _digits(number: ir.Value) -> ir.StringValue:
    """A whole number as its digits; null where it is none, or a float that has lost its last digits."""
    kind = number.type()
    if kind.is_integer():
        return number.cast("string")
    if kind.is_floating():
        return _whole(number).cast("string")
    whole = number.cast("string").re_replace(r"\.0*$", "")
    return whole.re_search(r"^-?\d+$").ifelse(whole, ibis.null("string"))


def _fits(found: dt.DataType, wanted: dt.DataType, column: Column, raw: Given) -> bool:
    if column.type == ID:
        is_text = _is_text_id(found, column, raw)
        return wanted.is_string() if is_text else is_text is not None
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
        if any(_may_fail(kind, wanted, column, raw) for kind in found):
            words = _unreadable_words(column, wanted, found)
            yield Rule(f"{name}_unreadable", name, words, _readable(name, given[name]))


def _unreadable_words(column: Column, wanted: dt.DataType, found: Sequence[dt.DataType]) -> str:
    if column.type == ID and any(kind.is_floating() for kind in found):
        return (
            f"{column.name} is no whole number up to 2^53, and a float beyond has lost its last digits; give it as text"
        )
    if column.type == ID:
        return f"{column.name} cannot be read as whole numbers"
    return f"{column.name} cannot be read as {_called(wanted)}"


def _may_fail(found: dt.DataType, wanted: dt.DataType, column: Column, raw: Given) -> bool:
    if column.type == ID and not raw.text:
        return _is_text_id(found, column, raw) is False and not (found.is_integer() and found != dt.uint64)
    if found == wanted:
        return False
    return found.is_string() or found.is_unsigned_integer() or (wanted.is_integer() and not found.is_integer())


def _readable(name: str, as_given: str) -> Any:
    return lambda rows: rows[as_given].isnull() | rows[name].notnull()
