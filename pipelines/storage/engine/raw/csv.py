"""Reader of raw tables in CSV files."""

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
    """Open a CSV file as a raw table with all columns as text.

    A file in another encoding than UTF-8 is decoded to a copy in the folder `scratch`.
    """
    encoding = source.encodings.get(table, source.encoding)
    decoded = ensure_utf8(table, path, encoding, scratch / f"{table}.csv")
    names = _read_header(table, decoded, source.delimiter)
    rows = read_text_columns(con, decoded, names, delim=source.delimiter, header=True, nullstr=list(source.null_values))
    return RawTable(table, (rows,), f"sha256:{file_sha256(path)}", is_text=True)


def ensure_utf8(table: str, path: Path, encoding: str, copy: Path) -> Path:
    """Check that a file has the declared encoding; return the file itself if that is UTF-8, else a UTF-8 copy.

    Raises `DataContractError` with the file, the first invalid byte and what to try.
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
    offset = 0
    with path.open("rb") as content:
        while True:
            chunk = content.read(CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise DataContractError(
                    _decoding_error_message(table, path, encoding, offset - pending + error.start)
                ) from None
            if text:
                yield text
            if not chunk:
                return
            offset += len(chunk)


def _decoding_error_message(table: str, path: Path, encoding: str, offset: int) -> str:
    return (
        f"{table}: {path.name} is not {encoding}: byte {offset} cannot be decoded. Set its encoding, "
        f"for example --set source.encodings.{table}=gb18030"
    )


def _read_header(table: str, path: Path, delimiter: str) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        first = next(csv.reader(text, delimiter=delimiter), [])
    if not any(first):
        raise DataContractError(f"{table}: {path.name} has no header line")
    names = [name or f"unnamed_{number}" for number, name in enumerate(first, start=1)]
    lowered = [name.lower() for name in names]
    duplicates = [name for name, low in zip(names, lowered, strict=True) if lowered.count(low) > 1]
    if duplicates:
        raise DataContractError(f"{table}: {path.name} has two columns named {duplicates[0]!r}")
    return names


def read_text_columns(con: Any, path: Path, names: Sequence[str], **options: Any) -> ir.Table:
    """Open a CSV file with every column as text; `names` are the column names, in order.

    `options` are further options of DuckDB's CSV reader.
    """
    columns = {f"c{number}": "VARCHAR" for number in range(len(names))}
    rows = con.read_csv(str(path), columns=columns, quote='"', escape='"', **options)
    return rows.rename(dict(zip(names, columns, strict=True)))


def materialize_text(con: Any, table: str, rows: ir.Table, scratch: Path) -> ir.Table:
    """Copy the rows of a CSV file to Parquet and open the copy, so that the text is parsed once.

    Raises `DataContractError` with the line of an invalid row.
    """
    import duckdb

    copy = scratch / f"{table}.parquet"
    with translate_engine_errors(f"writing {copy}"):
        try:
            copy_to_parquet(rows, copy)
        except duckdb.InvalidInputException as error:
            raise DataContractError(f"{table}: {_csv_error_message(str(error))}") from None
    return con.read_parquet(str(copy))


def _csv_error_message(error_text: str) -> str:
    """Message for a CSV error of DuckDB without the row itself, because it may contain confidential data."""
    line = re.search(r"CSV Error on Line: (\d+)", error_text)
    cells = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", error_text)
    where = f"line {line[1]} of the CSV file" if line else "the CSV file"
    if cells:
        return f"{where} has {cells[2]} cells where the header has {cells[1]}"
    return f"{where} cannot be read: a quote is not closed, or the delimiter is not the declared one"
