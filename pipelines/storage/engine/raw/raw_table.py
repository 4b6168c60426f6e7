"""Raw tables and fingerprints of their content."""

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
    """Raw table before validation; it has one part (relation) per distinct schema among its files."""

    name: str
    parts: tuple[ir.Table, ...]
    fingerprint: str
    is_text: bool = False
    """True if all values are text that must still be parsed, as in CSV."""
    numeric_text_columns: frozenset[str] = frozenset()
    """Id columns with the digits of numbers as text, because the numbers are too wide for the engine."""


def fingerprint_files(files: Sequence[Path], root: Path) -> str:
    """Fingerprint of the content of files and of their names relative to `root`; of a single file only the content."""
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix() if file != root else ""
        digest.update(f"{name}\x00{file_sha256(file)}\n".encode())
    return f"sha256:{digest.hexdigest() if len(files) > 1 else file_sha256(files[0])}"


def file_digest(file: Path) -> str | None:
    """SHA-256 of a file, or None if the file does not exist."""
    return file_sha256(file) if file.is_file() else None


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint_rows(con: Any, rows: ir.Table) -> str:
    """Fingerprint of the rows independent of their order, because tables of a database have neither files nor order."""
    query = f"SELECT count(*), sum(hash(r)::HUGEINT) FROM ({con.compile(rows)}) AS r"
    count, total = con.raw_sql(query).fetchone()
    return f"rows:{count}:{total or 0:x}"
