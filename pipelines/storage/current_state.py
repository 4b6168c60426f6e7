"""Columns that contain only today's value, because their table keeps no versions.

Today's value in a row of the past is not what was known then: a customer who has decided to leave turns off the
automatic renewal, and a model would learn the outcome from it. No model learns from the columns that
`source.current_state` names; others are kept, and what that may cost is said with each model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir

from renewals.features.tables import TABLES
from renewals.features.versions import has_versions
from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.source_settings import Source

Columns = Mapping[str, tuple[str, ...]]
"""Names of columns by table."""

KEPT_COLUMNS: Columns = {"contracts": ("seats",), "accounts": ("employee_count",), "people": ("tier",)}
"""Columns that change over time and that features read even from a table without versions."""


def require_optional_columns(source: Source) -> None:
    """Raise `ConfigError` if `source.current_state` names a column that is not there or that no row can do without."""
    for table, names in source.current_state.items():
        spec = TABLES[table]
        optional = [c.name for c in spec.columns.values() if not c.required and c.name not in spec.key]
        for name in names:
            if name not in optional:
                raise ConfigError(f"source.current_state.{table}: {name!r} is none of {', '.join(optional)}")


def hidden_columns(tables: Mapping[str, ir.Table], source: Source) -> dict[str, tuple[str, ...]]:
    """Columns of `source.current_state` that have values in tables without versions, by table."""
    return _filled_columns(tables, {k: v for k, v in source.current_state.items() if not _has_versions(tables, k)})


def hide_columns(tables: Mapping[str, ir.Table], hidden: Columns) -> dict[str, ir.Table]:
    """The tables with null in the hidden columns."""
    return {
        name: rows.mutate(
            **{column: ibis.null(rows[column].type()) for column in hidden[name] if column in rows.columns}
        )
        if hidden.get(name)
        else rows
        for name, rows in tables.items()
    }


def describe_history(tables: Mapping[str, ir.Table], source: Source) -> dict[str, list[str]]:
    """Columns without a history that models do not read (`left_out`), and those that they do (`kept`)."""
    left_out = hidden_columns(tables, source)
    without = {name: columns for name, columns in KEPT_COLUMNS.items() if not _has_versions(tables, name)}
    kept = _filled_columns(
        tables,
        {name: tuple(c for c in columns if c not in left_out.get(name, ())) for name, columns in without.items()},
    )
    return {"left_out": _qualified_names(left_out), "kept": _qualified_names(kept)}


def _has_versions(tables: Mapping[str, ir.Table], name: str) -> bool:
    return name in tables and bool(has_versions(name, tables[name]).to_pyarrow().as_py())


def _filled_columns(tables: Mapping[str, ir.Table], columns: Columns) -> dict[str, tuple[str, ...]]:
    """Those of the columns that have a value, by table; tables without any are left out."""
    filled = {}
    for name in (name for name, names in columns.items() if name in tables and names):
        rows = tables[name]
        counts: dict[str, Any] = rows.agg(**{c: rows[c].count() for c in columns[name]}).to_pyarrow().to_pylist()[0]
        if present := tuple(column for column, count in counts.items() if count):
            filled[name] = present
    return filled


def _qualified_names(columns: Columns) -> list[str]:
    return [f"{name}.{column}" for name, names in columns.items() for column in names]
