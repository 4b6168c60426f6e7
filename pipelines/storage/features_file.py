"""Read the features of many accounts from a Parquet file in parts, so that the whole file is never in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.old_keys import add_renewal_id

BLOCK_ROWS = 16_384
"""Maximum number of accounts per block."""


@dataclass(frozen=True)
class FeatureBlocks:
    """Selected rows of a features file with one row per observation; read by column or by block of rows."""

    path: Path
    rows: npt.NDArray[np.int64]
    """Row positions of the observations in the file, ascending."""

    @property
    def names(self) -> list[str]:
        """Column names of the file."""
        return list(self._file.schema_arrow.names)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return data_files.open_parquet(self.path)

    def select(self, wanted: npt.NDArray[np.bool_]) -> FeatureBlocks:
        """The observations for which the mask `wanted` is true."""
        return FeatureBlocks(self.path, self.rows[wanted])

    def column(self, name: str) -> pd.Series:
        """Values of one feature, one per observation."""
        values = self._file.read([name], use_threads=False).column(0).to_pandas()
        return values if len(self.rows) == len(values) else values.take(self.rows).reset_index(drop=True)

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Iterate over blocks of the named columns, each with the slice of the observations that it covers.

        Names that are not in the file are skipped. Without observations there is one block without rows.
        """
        first, start = 0, 0
        with data_files.open_parquet(self.path) as file:
            columns = [name for name in names if name in file.schema_arrow.names]
            if not len(self.rows):
                yield slice(0, 0), file.schema_arrow.empty_table().select(columns).to_pandas()
            for batch in file.iter_batches(BLOCK_ROWS, columns=columns):
                end = int(np.searchsorted(self.rows, start + len(batch)))
                if end > first:
                    block = pa.Table.from_batches([batch]).to_pandas()
                    yield slice(first, end), block.take(self.rows[first:end] - start).reset_index(drop=True)
                first, start = end, start + len(batch)


class FeatureRows:
    """Features file with one row per renewal, read a few rows at a time."""

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(path)
        self.renewals = pd.Index(self._read_keys()["renewal_id"].astype(object))
        sizes = [self.file.metadata.row_group(group).num_rows for group in range(self.file.num_row_groups)]
        self.starts = np.cumsum([0, *sizes])

    def _read_keys(self) -> pd.DataFrame:
        columns = [name for name in ("account_id", "renewal_id", "renewal_date") if name in self.names]
        return add_renewal_id(self.file.read(columns=columns).to_pandas())

    @property
    def names(self) -> set[str]:
        """Column names of the file."""
        return set(self.file.schema_arrow.names)

    def row_positions(self, renewals: pd.Series) -> npt.NDArray[np.int64]:
        """Row position of each `renewal_id` in the file, -1 if missing. Raises ValueError if the file has
        duplicates."""
        if not self.renewals.is_unique:
            raise ValueError("a renewal occurs twice in the features file")
        return np.asarray(self.renewals.get_indexer(pd.Index(renewals.astype(object))), np.int64)

    def column(self, name: str) -> pd.Series:
        """Values of one feature, one per row of the file."""
        return self.file.read(columns=[name]).to_pandas()[name]

    def rows(self, positions: npt.NDArray[np.int64], names: list[str]) -> pd.DataFrame:
        """The named columns of the rows at `positions`, in their order; reads only the row groups that contain them."""
        group_of_row = np.searchsorted(self.starts, positions, side="right") - 1
        groups = np.unique(group_of_row)
        table = self.file.read_row_groups(groups.tolist(), columns=names)
        sizes = np.diff(self.starts)[groups]
        first = np.cumsum([0, *sizes])[np.searchsorted(groups, group_of_row)]
        return table.take(first + positions - self.starts[group_of_row]).to_pandas()[names]
