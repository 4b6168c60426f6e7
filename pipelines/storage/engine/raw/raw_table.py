"""A raw table as it was given, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis.expr.types as ir

CHUNK = 1 << 20


@dataclass(frozen=True)
class Given:
    """A raw table as it was given: one relation per schema met among its files."""

    name: str
    parts: tuple[ir.Table, ...]
    fingerprint: str
    text: bool = False
    """Whether every value is a text still to be read, as in CSV."""
    numerals: frozenset[str] = frozenset()
    """Columns of ids whose text is the digits of a number, of a type too wide for the engine."""


def _fingerprint_of_files(files: Sequence[Path], root: Path) -> str:
    whole = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix() if file != root else ""
        whole.update(f"{name}\x00{_sha256(file)}\n".encode())
    return f"sha256:{whole.hexdigest() if len(files) > 1 else _sha256(files[0])}"


def digest(file: Path) -> str | None:
    """The SHA-256 of a file; None where there is none."""
    return _sha256(file) if file.is_file() else None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint_of_rows(con: Any, rows: ir.Table) -> str:
    """A digest of the rows in any order: a database has neither a file nor an order."""
    query = f"SELECT count(*), sum(hash(r)::HUGEINT) FROM ({con.compile(rows)}) AS r"
    count, total = con.raw_sql(query).fetchone()
    return f"rows:{count}:{total or 0:x}"
