"""The files that stages leave for each other in the data folder: what JSON can hold, and reading it back.

A damaged file is named, with what to do.
"""

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
    """The content of a JSON file. Raises FileNotFoundError, or `DataContractError` where it is damaged."""
    return load(path, lambda: json.loads(path.read_bytes()))


def load_frame(path: Path, **options: Any) -> pd.DataFrame:
    """A Parquet file as a frame; `options` are those of `pandas.read_parquet`. Raises as `load_json` does."""
    return load(old_names.existing_file(path), lambda: old_names.read_frame(path, **options))


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file to be read in parts. Raises as `load_json` does."""
    import pyarrow.parquet as pq

    return load(path, lambda: pq.ParquetFile(path))


def load(path: Path, read: Callable[[], Content]) -> Content:
    """What `read` gives of a file. Raises as `load_json` does.

    Errors of Arrow and of JSON are ValueErrors, or OSErrors that carry no number.
    """
    try:
        return read()
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise DataContractError(
            f"{path} is damaged ({type(error).__name__}): remove it, and run the command again that makes it"
        ) from error
