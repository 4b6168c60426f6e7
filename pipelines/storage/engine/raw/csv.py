"""Raw tables in CSV files."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ibis.expr.types as ir

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.engine.engine_errors import translate_engine_errors
from renewals.pipelines.storage.engine.parquet import copy_to_parquet
from renewals.pipelines.storage.engine.raw.raw_table import (
    CHUNK_BYTES,
    RawTable,
    file_sha256,
)


def read_csv_table(con: Any, table: str, path: Path, source: Source, scratch: Path) -> RawTable:
    """A CSV file as one relation of texts."""
    encoding = source.encodings.get(table, source.encoding)
    decoded = ensure_utf8(table, path, encoding, scratch / f"{table}.csv")
    names = _read_header(table, decoded, source.delimiter)
    rows = read_text_columns(con, decoded, names, delim=source.delimiter, header=True, nullstr=list(source.null_values))
    return RawTable(table, (rows,), f"sha256:{file_sha256(path)}", is_text=True)


def ensure_utf8(table: str, path: Path, encoding: str, copy: Path) -> Path:
    """The file if it is valid UTF-8, or a decoded copy of it; the encoding is declared, never guessed.

    Raises `DataContractError` naming the file, the byte at which it cannot be decoded, and what to try.
    """
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig"):
        for _text in _iter_decoded_text(table, path, "utf-8"):
            pass
        return path
    with copy.open("w", encoding="utf-8", newline="") as out:
        out.writelines(_iter_decoded_text(table, path, encoding))
    return copy


def _iter_decoded_text(table: str, path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    with path.open("rb") as content:
        while True:
            chunk = content.read(CHUNK_BYTES)
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise DataContractError(
                    _decoding_error_message(table, path, encoding, done - waiting + error.start)
                ) from None
            if text:
                yield text
            if not chunk:
                return
            done += len(chunk)


def _decoding_error_message(table: str, path: Path, encoding: str, offset: int) -> str:
    return (
        f"{table}: {path.name} is not {encoding}: byte {offset} cannot be decoded. Say which encoding it has, "
        f"for example --set source.encodings.{table}=gb18030"
    )


def _read_header(table: str, path: Path, delimiter: str) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        first = next(csv.reader(text, delimiter=delimiter), [])
    if not any(first):
        raise DataContractError(f"{table}: {path.name} has no header line")
    names = [name or f"unnamed_{place}" for place, name in enumerate(first, start=1)]
    lowered = [name.lower() for name in names]
    twice = [name for name, low in zip(names, lowered, strict=True) if lowered.count(low) > 1]
    if twice:
        raise DataContractError(f"{table}: {path.name} has two columns named {twice[0]!r}")
    return names


def read_text_columns(con: Any, path: Path, names: Sequence[str], **options: Any) -> ir.Table:
    """A CSV file with every column as text."""
    places = {f"c{place}": "VARCHAR" for place in range(len(names))}
    rows = con.read_csv(str(path), columns=places, quote='"', escape='"', **options)
    return rows.rename(dict(zip(names, places, strict=True)))


def materialize_text(con: Any, table: str, rows: ir.Table, scratch: Path) -> ir.Table:
    """The same rows from a Parquet copy, so that a file of text is parsed once. Raises `DataContractError` saying
    where."""
    import duckdb

    copy = scratch / f"{table}.parquet"
    with translate_engine_errors(f"writing {copy}"):
        try:
            copy_to_parquet(rows, copy)
        except duckdb.InvalidInputException as error:
            raise DataContractError(f"{table}: {_csv_error_message(str(error))}") from None
    return con.read_parquet(str(copy))


def _csv_error_message(error_text: str) -> str:
    """The engine's words without the row itself, which may hold what nobody should find in a log."""
    line = re.search(r"CSV Error on Line: (\d+)", error_text)
    cells = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", error_text)
    where = f"line {line[1]} of the CSV file" if line else "the CSV file"
    if cells:
        return f"{where} has {cells[2]} cells where the header has {cells[1]}"
    return f"{where} cannot be read: a quote is not closed, or the delimiter is not the declared one"
