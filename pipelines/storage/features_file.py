"""The features of many accounts in a Parquet file, read in parts: they are never held whole."""

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

BLOCK_ROWS = 16_384
"""Accounts judged at a time."""


@dataclass(frozen=True)
class FeatureBlocks:
    """The figures of every feature, one row per observation, in a file: read by column, or by block of rows."""

    path: Path
    rows: npt.NDArray[np.int64]
    """The place in the file of each observation, rising."""

    @property
    def names(self) -> list[str]:
        """The columns of the file."""
        return list(self._file.schema_arrow.names)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return data_files.open_parquet(self.path)

    def select(self, wanted: npt.NDArray[np.bool_]) -> FeatureBlocks:
        """The figures of some of the observations."""
        return FeatureBlocks(self.path, self.rows[wanted])

    def column(self, name: str) -> pd.Series:
        """One figure of every observation."""
        whole = self._file.read([name], use_threads=False).column(0).to_pandas()
        return whole if len(self.rows) == len(whole) else whole.take(self.rows).reset_index(drop=True)

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Some figures, block by block, with the observations that they are of; columns that are not there are left
        out, and there is always a block, if need be without a row."""
        first, start = 0, 0
        with data_files.open_parquet(self.path) as file:
            there = [name for name in names if name in file.schema_arrow.names]
            if not len(self.rows):
                yield slice(0, 0), file.schema_arrow.empty_table().select(there).to_pandas()
            for batch in file.iter_batches(BLOCK_ROWS, columns=there):
                end = int(np.searchsorted(self.rows, start + len(batch)))
                if end > first:
                    block = pa.Table.from_batches([batch]).to_pandas()
                    yield slice(first, end), block.take(self.rows[first:end] - start).reset_index(drop=True)
                first, start = end, start + len(batch)


class FeatureRows:
    """The figures of many accounts in a Parquet file, read a few accounts at a time; one row per account."""

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(path)
        self.accounts = pd.Index(self.file.read(columns=["account_id"]).to_pandas()["account_id"].astype(object))
        sizes = [self.file.metadata.row_group(group).num_rows for group in range(self.file.num_row_groups)]
        self.starts = np.cumsum([0, *sizes])

    @property
    def names(self) -> set[str]:
        """The columns of the file."""
        return set(self.file.schema_arrow.names)

    def row_positions(self, accounts: pd.Series) -> npt.NDArray[np.int64]:
        """Where each account stands, -1 where it does not. Raises ValueError where one stands twice."""
        if not self.accounts.is_unique:
            raise ValueError("an account stands twice among the figures")
        return np.asarray(self.accounts.get_indexer(pd.Index(accounts.astype(object))), np.int64)

    def column(self, name: str) -> pd.Series:
        """One figure of every account, by place."""
        return self.file.read(columns=[name]).to_pandas()[name]

    def rows(self, positions: npt.NDArray[np.int64], names: list[str]) -> pd.DataFrame:
        """Some columns of the accounts at these places; only the parts of the file that hold them are read."""
        within = np.searchsorted(self.starts, positions, side="right") - 1
        groups = np.unique(within)
        read = self.file.read_row_groups(groups.tolist(), columns=names)
        sizes = np.diff(self.starts)[groups]
        first = np.cumsum([0, *sizes])[np.searchsorted(groups, within)]
        return read.take(first + positions - self.starts[within]).to_pandas()[names]
