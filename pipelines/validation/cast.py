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

from renewals.features.tables import ID, TABLES, ColumnSpec, Rule, TableSpec
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.engine.raw import csv
from renewals.pipelines.storage.engine.raw.raw_table import RawTable
from renewals.pipelines.validation.context import CheckContext
from renewals.pipelines.validation.value_forms import DOT_GROUPED_PATTERN, epoch_hints

OFFSET_PATTERN = r":\d\d(\.\d+)?[+-]\d\d(:?\d\d){0,2}$|[A-Za-z]+/[A-Za-z_]+$"
"""How an instant ends that names its offset or place; a plain cast would drop it. Letters like CST name several
zones, and are not read."""
SPACED_OFFSET_PATTERN = r"(:\d\d(?:\.\d+)?)\s+([+-]\d\d(?::?\d\d)?|Z)$"
"""Snowflake, Ruby and Zendesk print a space before the offset, which DuckDB takes for the name of a zone."""
MAX_EXACT_INTEGER = 2**53
"""Beyond this a floating-point number no longer tells two whole numbers apart."""


DELIMITERS = (";", "\t", "|", ",")


def require_columns(raw: RawTable, table: TableSpec) -> None:
    """Raise `DataContractError` where a required column is missing."""
    for rows in raw.parts:
        missing = [c.name for c in table.columns.values() if c.required and c.name not in rows.columns]
        if missing:
            found = ", ".join(rows.columns)
            hint = _header_hint(rows.columns, missing, raw.is_text)
            raise DataContractError(
                f"{table.name}: required column {', '.join(missing)} is missing; found {found}{hint}"
            )


def _header_hint(columns: Sequence[str], missing: Sequence[str], is_text: bool) -> str:
    """What to do where the columns are there, but are cut or written in another way."""
    sign = next((sign for sign in DELIMITERS if is_text and len(columns) == 1 and sign in columns[0]), None)
    if sign is not None:
        written = sign.replace("\t", r"\t")
        return f". The columns seem to be cut by {sign!r}: --set 'source.delimiter=\"{written}\"'"
    spelled = {name.strip().lower(): name for name in columns}
    pairs = [f"{spelled[name]!r} as {name!r}" for name in missing if name in spelled]
    return f". Name {', '.join(pairs)}: names of columns are compared letter by letter" if pairs else ""


@dataclass(frozen=True)
class CastTable:
    """A table with its columns as the contract has them, and each row as it was given beside them."""

    rows: ir.Table
    raw_columns: Mapping[str, str]
    """The columns as given: their names, and the names they go by in `rows`."""
    type_rules: tuple[Rule, ...]
    """One rule for each column of which some value may not be of its type."""
    is_text: bool = False
    """Whether the table was given as text, so that `source.null_values` and `source.decimal` apply to it."""


@dataclass(frozen=True)
class IdTypes:
    """The type of every id column of every table, and what `check` has to say of them."""

    types: Mapping[str, Mapping[str, dt.DataType]]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _IdColumn:
    """One id column in one part of a raw table."""

    qualified_name: str
    entity: str
    value: ir.Value
    is_text: bool
    is_conclusive: bool
    """Whether its type counts: a typed column without a value may have lost its type."""


def id_types(raw_tables: Mapping[str, RawTable]) -> IdTypes:
    """The type of every id column: one for all that name the same thing, and text where one id is beyond 64 bits.

    Raises `DataContractError` naming for each thing two columns, one with text and one with numbers.
    """
    found = [ids for name, raw in raw_tables.items() for ids in _find_id_columns(raw, TABLES[name])]
    things = {
        ids.entity: [other for other in found if other.entity == ids.entity and other.is_conclusive] for ids in found
    }
    mixed = [line for columns in things.values() for line in _mixed_type_errors(columns)]
    if mixed:
        raise DataContractError("\n".join(mixed))
    types, warnings = {}, []
    for of, columns in things.items():
        is_text = not columns or columns[0].is_text  # a thing that is named nowhere is named by text
        wide = None if is_text else next((row for row in map(_find_wide_id, columns) if row), None)
        types[of] = dt.string if is_text or wide else dt.int64
        warnings += [_wide_id_warning(of, wide, columns)] if wide else []
    declared = {t.name: {c.name: c.entity for c in t.columns.values() if c.type == ID} for t in TABLES.values()}
    kinds = {table: {name: types.get(of, dt.string) for name, of in ids.items()} for table, ids in declared.items()}
    return IdTypes(kinds, tuple(warnings))


def _mixed_type_errors(columns: Sequence[_IdColumn]) -> Iterator[str]:
    """Say which two columns name the same thing, one by text and one by numbers, if any do."""
    met = {ids.is_text: ids.qualified_name for ids in reversed(columns)}
    if len(met) > 1:
        first = columns[0].is_text
        called = {True: "text", False: "whole numbers"}
        yield (
            f"{met[not first]} holds {called[not first]} and {met[first]} holds {called[first]}: "
            "ids of the same thing must be of one type"
        )


def _find_id_columns(raw: RawTable, table: TableSpec) -> Iterator[_IdColumn]:
    for column in table.columns.values():
        for rows in raw.parts:
            if column.type == ID and column.name in rows.columns:
                is_text = _is_text_id(rows[column.name].type(), column, raw)
                if is_text is not None:
                    matters = raw.is_text or not _is_all_null(rows, column.name)
                    yield _IdColumn(f"{raw.name}.{column.name}", column.entity, rows[column.name], is_text, matters)


def _is_text_id(dtype: dt.DataType, column: ColumnSpec, raw: RawTable) -> bool | None:
    """Whether ids of this type are text (or whole numbers); None: it holds no ids.

    A whole number with gaps has often become a float.
    """
    if column.name in raw.numeric_text_columns and dtype.is_string():
        return False
    if dtype.is_string() or dtype.is_uuid():
        return True
    if dtype.is_integer() or dtype.is_decimal() or dtype.is_floating():
        return False
    return None


def _find_wide_id(ids: _IdColumn) -> tuple[str, str] | None:
    """A column with an id beyond 64 bits, and that id; None where all of its ids are within."""
    kind = ids.value.type()
    if kind.is_floating() or (kind.is_integer() and kind != dt.uint64):
        return None
    digits = _to_digits(ids.value).name("digits").as_table()
    beyond = digits.filter(digits.digits.notnull() & digits.digits.try_cast("int64").isnull())
    example = beyond.digits.min().to_pyarrow().as_py()
    return (ids.qualified_name, example) if example else None


def _wide_id_warning(entity: str, wide: tuple[str, str], columns: Sequence[_IdColumn]) -> str:
    place, example = wide
    kept = ", ".join(dict.fromkeys(ids.qualified_name for ids in columns))
    return (
        f"{place} holds whole numbers beyond 64 bits, for example {example}: the ids of every {entity} are kept as "
        "text, "
        f"in {kept} and in every output"
    )


def _is_all_null(rows: ir.Table, column: str) -> bool:
    return bool(rows.filter(rows[column].notnull()).limit(1).count().to_pyarrow().as_py() == 0)


def cast_table(context: CheckContext, raw: RawTable, table: TableSpec) -> CastTable:
    """The contract's columns beside the row as given: one row per row given."""
    names = list(dict.fromkeys(name for rows in raw.parts for name in rows.columns))
    given = {name: f"given_{place}" for place, name in enumerate(names)}
    kinds = {name: _common_type([rows[name].type() for rows in raw.parts if name in rows.columns]) for name in names}
    types = {c.name: context.id_types[table.name][c.name] if c.type == ID else c.type for c in table.columns.values()}
    decimal = context.job.settings.source.decimal
    parts = []
    for rows in raw.parts:
        kept = {given[name]: _cast_or_null(rows, name, kind) for name, kind in kinds.items()}
        cast = {c.name: _cast_column(rows, c, types[c.name], raw, decimal) for c in table.columns.values()}
        parts.append(rows.select(**kept, **cast))
    together = ibis.union(*parts) if len(parts) > 1 else parts[0]
    if raw.is_text:
        rows = csv.materialize_text(context.con, table.name, together, context.scratch)
    else:
        rows = context.con.create_view(f"typed_{table.name}", together)
    if feedback_log.LIST_DATE_COLUMN in given and table.name == feedback_log.INTERVENTIONS:
        rows = feedback_log.drop_duplicate_actions(rows, given[feedback_log.LIST_DATE_COLUMN])
    return CastTable(rows, given, tuple(_type_rules(raw, table, types, given)), raw.is_text)


def _common_type(dtypes: Sequence[dt.DataType]) -> dt.DataType:
    return dtypes[0] if len(set(dtypes)) == 1 else dt.string


def _cast_or_null(rows: ir.Table, name: str, dtype: dt.DataType) -> ir.Value:
    return rows[name].cast(dtype) if name in rows.columns else ibis.null(dtype)


def require_types(raw: RawTable, table: TableSpec, ids: Mapping[str, dt.DataType]) -> None:
    """Raise `DataContractError` naming every column whose type cannot hold what the contract wants.

    `ids` holds the type of each id column; without it those are not looked at.
    """
    if raw.is_text:
        return
    columns = [c for c in table.columns.values() if c.type != ID or ids]
    wrong = [line for c in columns for line in _type_errors(raw, c, ids[c.name] if c.type == ID else c.type)]
    if wrong:
        raise DataContractError("\n".join(dict.fromkeys(wrong)))


def _type_errors(raw: RawTable, column: ColumnSpec, target_type: dt.DataType) -> Iterator[str]:
    for rows in raw.parts:
        if column.name in rows.columns:
            found = rows[column.name].type()
            if not (_is_compatible(found, target_type, column, raw) or _is_all_null(rows, column.name)):
                met = f"found {_type_name(found)} ({found}), expected {_type_name(target_type)}"
                looks = _epoch_hint(rows[column.name], target_type)
                yield f"{raw.name}.{column.name} is of the wrong type: {met}{looks}"


def _epoch_hint(value: ir.Value, target_type: dt.DataType) -> str:
    """What numbers in place of times look like."""
    if not (target_type.is_timestamp() and value.type().is_integer()):
        return ""
    largest, rows = value.max().to_pyarrow().as_py(), value.count().to_pyarrow().as_py()
    return "".join(f"; {looks}: have the source write timestamps" for looks in epoch_hints({str(largest): rows}))


def _cast_column(rows: ir.Table, column: ColumnSpec, target_type: dt.DataType, raw: RawTable, decimal: str) -> ir.Value:
    """A column as its contract type: null where a value cannot be read as one."""
    if column.name not in rows.columns:
        return ibis.null(target_type)
    value = rows[column.name]
    found = value.type()
    if found == target_type and column.name not in raw.numeric_text_columns:
        return value
    if raw.is_text:
        return _parse_text(value, target_type, decimal)
    if not _is_compatible(found, target_type, column, raw):
        return ibis.null(target_type)  # `require_types` has seen that it is empty
    return _convert_value(value, target_type, column.type == ID and not _is_text_id(found, column, raw))


def _convert_value(value: ir.Value, target_type: dt.DataType, is_integer_id: bool) -> ir.Value:
    found = value.type()
    if is_integer_id:
        return _to_digits(value).try_cast(target_type)
    if target_type.is_integer() and (found.is_floating() or found.is_decimal()):
        return _to_integer(value.cast("float64"))
    return value.try_cast(target_type) if found.is_unsigned_integer() else value.cast(target_type)


def _to_digits(number: ir.Value) -> ir.StringValue:
    """A whole number as its digits; null where it is none, or a float that has lost its last digits."""
    kind = number.type()
    if kind.is_integer():
        return number.cast("string")
    if kind.is_floating():
        return _to_integer(number).cast("string")
    whole = number.cast("string").re_replace(r"\.0*$", "")
    return whole.re_search(r"^-?\d+$").ifelse(whole, ibis.null("string"))


def _is_compatible(source_type: dt.DataType, target_type: dt.DataType, column: ColumnSpec, raw: RawTable) -> bool:
    if column.type == ID:
        is_text = _is_text_id(source_type, column, raw)
        return target_type.is_string() if is_text else is_text is not None
    if target_type.is_timestamp():
        return source_type.is_timestamp() or source_type.is_date()
    if target_type.is_numeric():
        return source_type.is_numeric() and not source_type.is_boolean()
    if target_type.is_string():
        return source_type.is_string() or source_type.is_uuid()
    return source_type == target_type


def _parse_text(value: ir.Value, target_type: dt.DataType, decimal: str) -> ir.Value:
    """A text as a typed value; an instant with an offset becomes UTC, one without is UTC."""
    if target_type.is_timestamp():
        value = value.re_replace(SPACED_OFFSET_PATTERN, r"\1\2")
        zoned = value.try_cast(dt.Timestamp(timezone="UTC", scale=6)).cast(target_type)
        return value.re_search(OFFSET_PATTERN).ifelse(zoned, value.try_cast(target_type))
    if target_type.is_numeric() and decimal == ",":
        value = _replace_decimal_comma(value)
    if target_type.is_integer():
        return _to_integer(value.try_cast("float64"))
    return value.try_cast(target_type)


def _replace_decimal_comma(value: ir.StringValue) -> ir.StringValue:
    """`12.000,50` as `12000.50`; a dot that does not part thousands is no number here, and becomes null."""
    plain = value.re_search(DOT_GROUPED_PATTERN).ifelse(value.replace(".", "").replace(",", "."), ibis.null("string"))
    return value.contains(".").ifelse(plain, value.replace(",", "."))


def _to_integer(number: ir.Value) -> ir.Value:
    """A number as a whole one; null where it is none, or too large to tell."""
    nothing = ibis.null("float64")
    exact = (number.abs() <= MAX_EXACT_INTEGER).ifelse(number, nothing)
    return (exact == exact.floor()).ifelse(exact, nothing).cast("int64")


def _type_name(dtype: dt.DataType) -> str:
    """What people call a type."""
    names = (
        ("text", dtype.is_string()),
        ("true or false", dtype.is_boolean()),
        ("whole numbers", dtype.is_integer()),
        ("numbers", dtype.is_numeric()),
        ("times", dtype.is_timestamp()),
        ("dates", dtype.is_date()),
    )
    return next((name for name, holds in names if holds), str(dtype))


def _type_rules(
    raw: RawTable, table: TableSpec, types: Mapping[str, dt.DataType], raw_columns: Mapping[str, str]
) -> Iterator[Rule]:
    for column in table.columns.values():
        name, wanted = column.name, types[column.name]
        found = [rows[name].type() for rows in raw.parts if name in rows.columns]
        if any(_cast_may_fail(kind, wanted, column, raw) for kind in found):
            words = _type_rule_message(column, wanted, found)
            yield Rule(f"{name}_unreadable", name, words, _is_readable(name, raw_columns[name]))


def _type_rule_message(column: ColumnSpec, target_type: dt.DataType, source_types: Sequence[dt.DataType]) -> str:
    if column.type == ID and any(kind.is_floating() for kind in source_types):
        return (
            f"{column.name} is no whole number up to 2^53, and a float beyond has lost its last digits; give it as text"
        )
    if column.type == ID:
        return f"{column.name} cannot be read as whole numbers"
    return f"{column.name} cannot be read as {_type_name(target_type)}"


def _cast_may_fail(source_type: dt.DataType, target_type: dt.DataType, column: ColumnSpec, raw: RawTable) -> bool:
    if column.type == ID and not raw.is_text:
        return _is_text_id(source_type, column, raw) is False and not (
            source_type.is_integer() and source_type != dt.uint64
        )
    if source_type == target_type:
        return False
    return (
        source_type.is_string()
        or source_type.is_unsigned_integer()
        or (target_type.is_integer() and not source_type.is_integer())
    )


def _is_readable(name: str, raw_name: str) -> Any:
    return lambda rows: rows[raw_name].isnull() | rows[name].notnull()
