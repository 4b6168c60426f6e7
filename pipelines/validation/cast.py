"""Cast the columns of a raw table to the types of the contract; ids keep the type of the source.

No id passes through a floating-point number: whole numbers that are, or may be, wider than 64 bits (decimals, unsigned
integers, numbers that a database returned as text) are read by their digits (ADR 36).
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
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.engine.raw import csv
from renewals.pipelines.storage.engine.raw.raw_table import RawTable
from renewals.pipelines.validation.context import CheckContext
from renewals.pipelines.validation.times import day_after, read_time
from renewals.pipelines.validation.value_forms import DOT_GROUPED_PATTERN, epoch_hints

MAX_EXACT_INTEGER = 2**53
"""Above this, a floating-point number cannot distinguish whole numbers."""


DELIMITERS = (";", "\t", "|", ",")


def require_columns(raw: RawTable, table: TableSpec) -> None:
    """Raise `DataContractError` if a required column is missing."""
    for rows in raw.parts:
        missing = [c.name for c in table.columns.values() if c.required and c.name not in rows.columns]
        if missing:
            present = ", ".join(rows.columns)
            hint = _header_hint(rows.columns, missing, raw.is_text)
            raise DataContractError(
                f"{table.name}: required column {', '.join(missing)} is missing; found {present}{hint}"
            )


def _header_hint(columns: Sequence[str], missing: Sequence[str], is_text: bool) -> str:
    """Advice if the columns exist, but the header is split at the wrong character or spelled differently."""
    delimiter = next(
        (delimiter for delimiter in DELIMITERS if is_text and len(columns) == 1 and delimiter in columns[0]), None
    )
    if delimiter is not None:
        escaped = delimiter.replace("\t", r"\t")
        return f". The delimiter seems to be {delimiter!r}: --set 'source.delimiter=\"{escaped}\"'"
    by_lower_case = {name.strip().lower(): name for name in columns}
    pairs = [f"{by_lower_case[name]!r} to {name!r}" for name in missing if name in by_lower_case]
    return f". Rename {', '.join(pairs)}: column names must match exactly, including case" if pairs else ""


@dataclass(frozen=True)
class CastTable:
    """A table with the columns of the contract next to the raw columns; one row per raw row."""

    rows: ir.Table
    raw_columns: Mapping[str, str]
    """Names of the raw columns in the source, and their names in `rows`."""
    type_rules: tuple[Rule, ...]
    """One rule per column with values that may fail to cast."""
    is_text: bool = False
    """True if the raw table is text, so that `source.null_values` and `source.decimal` apply to it."""


@dataclass(frozen=True)
class IdTypes:
    """The type of every id column of every table, and the warnings of `check` about them."""

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
    """True if its type counts; a typed column without any value may have lost its type."""


def id_types(raw_tables: Mapping[str, RawTable]) -> IdTypes:
    """Determine the type of every id column: one type per entity, and text if one of its ids exceeds 64 bits.

    Raises `DataContractError` that names, for each entity, one column with text and one with numbers.
    """
    id_columns = [ids for name, raw in raw_tables.items() for ids in _find_id_columns(raw, TABLES[name])]
    by_entity = {
        ids.entity: [column for column in id_columns if column.entity == ids.entity and column.is_conclusive]
        for ids in id_columns
    }
    errors = [line for columns in by_entity.values() for line in _mixed_type_errors(columns)]
    if errors:
        raise DataContractError("\n".join(errors))
    types, warnings = {}, []
    for entity, columns in by_entity.items():
        is_text = not columns or columns[0].is_text  # text if no column determines the type
        wide_id = None if is_text else next((row for row in map(_find_wide_id, columns) if row), None)
        types[entity] = dt.string if is_text or wide_id else dt.int64
        warnings += [_wide_id_warning(entity, wide_id, columns)] if wide_id else []
    entities_by_table = {
        t.name: {c.name: c.entity for c in t.columns.values() if c.type == ID} for t in TABLES.values()
    }
    types_by_table = {
        table: {name: types.get(entity, dt.string) for name, entity in ids.items()}
        for table, ids in entities_by_table.items()
    }
    return IdTypes(types_by_table, tuple(warnings))


def _mixed_type_errors(columns: Sequence[_IdColumn]) -> Iterator[str]:
    """Yield a message that names two columns of one entity, one with text and one with numbers, if any."""
    names = {ids.is_text: ids.qualified_name for ids in reversed(columns)}
    if len(names) > 1:
        first_is_text = columns[0].is_text
        type_names = {True: "text", False: "whole numbers"}
        yield (
            f"{names[not first_is_text]} contains {type_names[not first_is_text]} and {names[first_is_text]} contains "
            f"{type_names[first_is_text]}: ids of one entity must have one type"
        )


def _find_id_columns(raw: RawTable, table: TableSpec) -> Iterator[_IdColumn]:
    for column in table.columns.values():
        for rows in raw.parts:
            if column.type == ID and column.name in rows.columns:
                is_text = _is_text_id(rows[column.name].type(), column, raw)
                if is_text is not None:
                    is_conclusive = raw.is_text or not _is_all_null(rows, column.name)
                    yield _IdColumn(
                        f"{raw.name}.{column.name}", column.entity, rows[column.name], is_text, is_conclusive
                    )


def _is_text_id(dtype: dt.DataType, column: ColumnSpec, raw: RawTable) -> bool | None:
    """True if ids of this type are text, False if they are whole numbers, None if the type cannot hold ids.

    Floats count as whole numbers: a column of whole numbers with gaps often became a float.
    """
    if column.name in raw.numeric_text_columns and dtype.is_string():
        return False
    if dtype.is_string() or dtype.is_uuid():
        return True
    if dtype.is_integer() or dtype.is_decimal() or dtype.is_floating():
        return False
    return None


def _find_wide_id(ids: _IdColumn) -> tuple[str, str] | None:
    """Name of the column and one of its ids beyond 64 bits; None if all ids fit."""
    dtype = ids.value.type()
    if dtype.is_floating() or (dtype.is_integer() and dtype != dt.uint64):
        return None
    digits = _to_digits(ids.value).name("digits").as_table()
    beyond = digits.filter(digits.digits.notnull() & digits.digits.try_cast("int64").isnull())
    example = beyond.digits.min().to_pyarrow().as_py()
    return (ids.qualified_name, example) if example else None


def _wide_id_warning(entity: str, wide_id: tuple[str, str], columns: Sequence[_IdColumn]) -> str:
    name, example = wide_id
    names = ", ".join(dict.fromkeys(ids.qualified_name for ids in columns))
    return (
        f"{name} contains whole numbers beyond 64 bits, for example {example}: the ids of every {entity} are read as "
        f"text, in {names} and in every output"
    )


def _is_all_null(rows: ir.Table, column: str) -> bool:
    return bool(rows.filter(rows[column].notnull()).limit(1).count().to_pyarrow().as_py() == 0)


def cast_table(context: CheckContext, raw: RawTable, table: TableSpec) -> CastTable:
    """Cast a raw table: the columns of the contract next to the raw columns, one row per raw row."""
    names = list(dict.fromkeys(name for rows in raw.parts for name in rows.columns))
    raw_columns = {name: f"given_{place}" for place, name in enumerate(names)}
    raw_types = {
        name: _common_type([rows[name].type() for rows in raw.parts if name in rows.columns]) for name in names
    }
    types = {c.name: context.id_types[table.name][c.name] if c.type == ID else c.type for c in table.columns.values()}
    source = context.job.settings.source
    parts = []
    for rows in raw.parts:
        raw_values = {raw_columns[name]: _cast_or_null(rows, name, kind) for name, kind in raw_types.items()}
        cast = {c.name: _cast_column(rows, c, types[c.name], raw, source) for c in table.columns.values()}
        if table.name == "contracts" and source.inclusive_ends:
            cast["end_date"] = day_after(cast["end_date"])
        parts.append(rows.select(**raw_values, **cast))
    combined = ibis.union(*parts) if len(parts) > 1 else parts[0]
    if raw.is_text:
        rows = csv.materialize_text(context.con, table.name, combined, context.scratch)
    else:
        rows = context.con.create_view(f"typed_{table.name}", combined)
    if feedback_log.LIST_DATE_COLUMN in raw_columns and table.name == feedback_log.INTERVENTIONS:
        rows = feedback_log.drop_duplicate_actions(rows, raw_columns[feedback_log.LIST_DATE_COLUMN])
    return CastTable(rows, raw_columns, tuple(_type_rules(raw, table, types, raw_columns)), raw.is_text)


def _common_type(dtypes: Sequence[dt.DataType]) -> dt.DataType:
    return dtypes[0] if len(set(dtypes)) == 1 else dt.string


def _cast_or_null(rows: ir.Table, name: str, dtype: dt.DataType) -> ir.Value:
    return rows[name].cast(dtype) if name in rows.columns else ibis.null(dtype)


def require_types(raw: RawTable, table: TableSpec, ids: Mapping[str, dt.DataType]) -> None:
    """Raise `DataContractError` that names every typed column whose type does not fit the contract; text always fits.

    `ids` has the type of each id column; if it is empty, id columns are not checked.
    """
    if raw.is_text:
        return
    columns = [c for c in table.columns.values() if c.type != ID or ids]
    errors = [line for c in columns for line in _type_errors(raw, c, ids[c.name] if c.type == ID else c.type)]
    if errors:
        raise DataContractError("\n".join(dict.fromkeys(errors)))


def _type_errors(raw: RawTable, column: ColumnSpec, target_type: dt.DataType) -> Iterator[str]:
    for rows in raw.parts:
        if column.name in rows.columns:
            dtype = rows[column.name].type()
            if not (_is_compatible(dtype, target_type, column, raw) or _is_all_null(rows, column.name)):
                types = f"found {_type_name(dtype)} ({dtype}), expected {_type_name(target_type)}"
                hint = _epoch_hint(rows[column.name], target_type)
                yield f"{raw.name}.{column.name} has the wrong type: {types}{hint}"


def _epoch_hint(value: ir.Value, target_type: dt.DataType) -> str:
    """Hint about the unit if whole numbers were given where times are expected, else an empty text."""
    if not (target_type.is_timestamp() and value.type().is_integer()):
        return ""
    largest, rows = value.max().to_pyarrow().as_py(), value.count().to_pyarrow().as_py()
    return "".join(f"; {hint}: write timestamps at the source" for hint in epoch_hints({str(largest): rows}))


def _cast_column(
    rows: ir.Table, column: ColumnSpec, target_type: dt.DataType, raw: RawTable, source: Source
) -> ir.Value:
    """A column cast to its contract type; null where a value cannot be cast."""
    if column.name not in rows.columns:
        return ibis.null(target_type)
    value = rows[column.name]
    dtype = value.type()
    if column.is_time and (raw.is_text or dtype.is_timestamp() or dtype.is_date()):
        return read_time(value, column, source)
    if dtype == target_type and column.name not in raw.numeric_text_columns:
        return value
    if raw.is_text:
        return _parse_text(value, target_type, source.decimal)
    if not _is_compatible(dtype, target_type, column, raw):
        return ibis.null(target_type)  # `require_types` checked that the column is empty
    return _convert_value(value, target_type, column.type == ID and not _is_text_id(dtype, column, raw))


def _convert_value(value: ir.Value, target_type: dt.DataType, is_integer_id: bool) -> ir.Value:
    dtype = value.type()
    if is_integer_id:
        return _to_digits(value).try_cast(target_type)
    if target_type.is_integer() and (dtype.is_floating() or dtype.is_decimal()):
        return _to_integer(value.cast("float64"))
    return value.try_cast(target_type) if dtype.is_unsigned_integer() else value.cast(target_type)


def _to_digits(number: ir.Value) -> ir.StringValue:
    """A whole number as its digits; null if it is not whole, or is a float too large to be exact."""
    dtype = number.type()
    if dtype.is_integer():
        return number.cast("string")
    if dtype.is_floating():
        return _to_integer(number).cast("string")
    digits = number.cast("string").re_replace(r"\.0*$", "")
    return digits.re_search(r"^-?\d+$").ifelse(digits, ibis.null("string"))


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
    """A text cast to a type that is not a time."""
    if target_type.is_numeric() and decimal == ",":
        value = _replace_decimal_comma(value)
    if target_type.is_integer():
        return _to_integer(value.try_cast("float64"))
    return value.try_cast(target_type)


def _replace_decimal_comma(value: ir.StringValue) -> ir.StringValue:
    """`12.000,50` as `12000.50`; null if a dot does not separate thousands."""
    with_point = value.re_search(DOT_GROUPED_PATTERN).ifelse(
        value.replace(".", "").replace(",", "."), ibis.null("string")
    )
    return value.contains(".").ifelse(with_point, value.replace(",", "."))


def _to_integer(number: ir.Value) -> ir.Value:
    """A number as an integer; null if it is not whole or too large to be exact."""
    null = ibis.null("float64")
    exact = (number.abs() <= MAX_EXACT_INTEGER).ifelse(number, null)
    return (exact == exact.floor()).ifelse(exact, null).cast("int64")


def _type_name(dtype: dt.DataType) -> str:
    """Common name of a type, such as text or whole numbers."""
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
        name, target_type = column.name, types[column.name]
        source_types = [rows[name].type() for rows in raw.parts if name in rows.columns]
        if any(_cast_may_fail(source_type, target_type, column, raw) for source_type in source_types):
            message = _type_rule_message(column, target_type, source_types)
            yield Rule(f"{name}_unreadable", name, message, _is_readable(name, raw_columns[name]))


def _type_rule_message(column: ColumnSpec, target_type: dt.DataType, source_types: Sequence[dt.DataType]) -> str:
    if column.type == ID and any(kind.is_floating() for kind in source_types):
        return f"{column.name} is not a whole number up to 2^53; larger floats have lost digits: give it as text"
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
