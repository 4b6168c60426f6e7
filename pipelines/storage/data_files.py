"""Read the JSON and Parquet files that stages exchange; the error for a damaged file names it and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.storage import old_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

Content = TypeVar("Content")


def load_json(path: Path) -> Any:
    """Read a JSON file. Raises FileNotFoundError if it is missing, `DataContractError` if it is damaged."""
    return load(path, lambda: json.loads(path.read_bytes()))


def load_frame(path: Path, **options: Any) -> pd.DataFrame:
    """Read a Parquet file as a frame with the present column names; raises the errors of `load_json`.

    `options` are those of `pandas.read_parquet`.
    """
    return load(old_names.existing_file(path), lambda: old_names.read_frame(path, **options))


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file for reading in parts; raises the errors of `load_json`."""
    import pyarrow.parquet as pq

    return load(path, lambda: pq.ParquetFile(path))


def load(path: Path, read: Callable[[], Content]) -> Content:
    """Call `read` for the file at `path` and return its result; raises the errors of `load_json`.

    Errors of Arrow and of JSON are ValueErrors, or OSErrors without an errno.
    """
    try:
        return read()
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise DataContractError(
            f"{path} is damaged ({type(error).__name__}): remove it and run the command that writes it again"
        ) from error
