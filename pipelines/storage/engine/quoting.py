"""Text and names inside SQL."""

from __future__ import annotations


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
