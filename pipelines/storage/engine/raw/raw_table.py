"""A raw table as it was given, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis.expr.types as ir

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class RawTable:
    """A raw table as it was given: one relation per schema met among its files."""

    name: str
    parts: tuple[ir.Table, ...]
    fingerprint: str
    is_text: bool = False
    """Whether every value is a text still to be read, as in CSV."""
    numeric_text_columns: frozenset[str] = frozenset()
    """Columns of ids whose text is the digits of a number, of a type too wide for the engine."""


def fingerprint_files(files: Sequence[Path], root: Path) -> str:
    """One fingerprint for the content and the names of files."""
    whole = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix() if file != root else ""
        whole.update(f"{name}\x00{file_sha256(file)}\n".encode())
    return f"sha256:{whole.hexdigest() if len(files) > 1 else file_sha256(files[0])}"


def file_digest(file: Path) -> str | None:
    """The SHA-256 of a file; None where there is none."""
    return file_sha256(file) if file.is_file() else None


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint_rows(con: Any, rows: ir.Table) -> str:
    """A digest of the rows in any order: a database has neither a file nor an order."""
    query = f"SELECT count(*), sum(hash(r)::HUGEINT) FROM ({con.compile(rows)}) AS r"
    count, total = con.raw_sql(query).fetchone()
    return f"rows:{count}:{total or 0:x}"
