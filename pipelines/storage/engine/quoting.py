"""Quoting of text and names for SQL."""

from __future__ import annotations


def sql_literal(text: object) -> str:
    """Text as a quoted SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def sql_identifier(name: str) -> str:
    """Name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
