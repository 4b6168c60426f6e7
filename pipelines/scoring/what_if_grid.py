"""Champion's predictions on a grid of values of the features that a manager can change: `what_if_grid.parquet`.

The page shows them. At each grid value the prediction equals that of `renewals whatif`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import structlog

from renewals.models.explanation.reasons import FeatureMeta, decimal_places, peer_groups
from renewals.models.explanation.what_if import (
    PEER_QUANTILES,
    FeatureWindow,
    Floats,
    grid_values,
    shift_windows,
    sibling_windows,
    training_range,
    what_if_features,
)
from renewals.models.ranking.worklist import SCORED
from renewals.pipelines.storage import features_file
from renewals.pipelines.storage.artifacts import CONTRIBUTIONS, SCORING
from renewals.reports.settings import ListOptions

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel

BLOCK_ROWS = 4096
"""Number of accounts predicted at a time."""
COLUMNS = ("account_id", "renewal_id", "feature", "value", "probability")


class PeerFeatures:
    """Feature values and peer groups of every renewal that the model predicts."""

    def __init__(self, folder: Path, listed: pd.DataFrame, min_peers: int) -> None:
        predicted = pd.read_parquet(folder / CONTRIBUTIONS, columns=["renewal_id"])["renewal_id"]
        known = listed[listed["renewal_id"].isin(predicted)]
        self.features = features_file.FeatureRows(folder / SCORING)
        self.renewals = pd.Index(known["renewal_id"].astype(object))
        self.row_positions = self.features.row_positions(known["renewal_id"])
        self.peer_groups = peer_groups(known["size_band"], known["stage"], min_peers)

    def positions(self, renewals: pd.Series) -> npt.NDArray[np.int64]:
        """Position of each `renewal_id` in `self.renewals`; -1 where it is missing."""
        return np.asarray(self.renewals.get_indexer(pd.Index(renewals.astype(object))), np.int64)

    def load_columns(self, names: Iterable[str]) -> dict[str, Floats]:
        """Values of some features for every account, by name; NaN where a value is missing or infinite."""
        columns = {n: self.features.column(n).to_numpy(np.float64, na_value=np.nan)[self.row_positions] for n in names}
        return {name: np.where(np.isinf(values), np.nan, values) for name, values in columns.items()}

    def peer_values(self, column: Floats, group: int) -> Floats:
        """Values of a column in one peer group, without missing ones, in ascending order."""
        values = column[self.peer_groups.members[group]]
        return np.sort(values[~np.isnan(values)])

    def windows(
        self, columns: Mapping[str, Floats], rows: npt.NDArray[np.int64], group: int
    ) -> dict[str, FeatureWindow]:
        """Values of some accounts of one group with those of their peers, by column."""
        return {name: FeatureWindow(column[rows], self.peer_values(column, group)) for name, column in columns.items()}


class WhatIfGrid(NamedTuple):
    """Grid of one feature; all arrays are accounts × steps, NaN where there is no step."""

    feature: str
    values: Floats
    changed_columns: dict[str, Floats]
    """The columns after the change: the feature and the sibling windows that change with it."""


def what_if_table(
    folder: Path,
    listed: pd.DataFrame,
    catalogue: Sequence[FeatureMeta],
    model: EnsembleModel | None,
    options: ListOptions,
    threads: int = 1,
) -> pd.DataFrame:
    """Predictions for changed feature values; one row per (renewal, feature, value), current values excluded.

    Contains the accounts that the page shows. Steps without a valid probability are left out. The result does not
    depend on the number of threads.
    """
    if model is None:
        return pd.DataFrame({name: [] for name in COLUMNS})
    features = what_if_features(options.what_if_features, catalogue, model.schema.names)
    _warn_unusable(options.what_if_features, catalogue)
    shown = listed.head(options.page_rows)
    shown = shown[shown["status"] == SCORED]
    if not features or shown.empty:
        return pd.DataFrame({name: [] for name in COLUMNS})
    peer_features = PeerFeatures(folder, listed, options.min_peers)
    rows = peer_features.positions(shown["renewal_id"])
    grids = [_build_grid(peer_features, rows, feature, catalogue, model) for feature in features]
    probabilities = _predict_grids(peer_features, rows, grids, model, threads)
    return pd.concat(
        [_grid_rows(shown, grid, probability) for grid, probability in zip(grids, probabilities, strict=True)],
        ignore_index=True,
    )


def _warn_unusable(names: Iterable[str], catalogue: Sequence[FeatureMeta]) -> None:
    by_name = {str(feature["name"]): feature for feature in catalogue}
    known = [name for name in names if name in by_name]
    if unusable := [name for name in known if not by_name[name]["actionable"]]:
        structlog.get_logger().warning("features not actionable, left out of list.what_if_features", features=unusable)
    if unusable := [name for name in known if by_name[name].get("action")]:
        structlog.get_logger().warning(
            "features are logged actions that no model reads, left out of list.what_if_features", features=unusable
        )


def _build_grid(
    peer_features: PeerFeatures,
    rows: npt.NDArray[np.int64],
    feature: FeatureMeta,
    catalogue: Sequence[FeatureMeta],
    model: EnsembleModel,
) -> WhatIfGrid:
    name, model_features = str(feature["name"]), model.schema.names
    columns, limits = (
        peer_features.load_columns([name, *sibling_windows(feature, catalogue, model_features)]),
        training_range(model, name),
    )
    values = np.full((len(rows), len(PEER_QUANTILES)), np.nan)
    changed_columns = {column: np.full(values.shape, np.nan) for column in columns}
    groups = peer_features.peer_groups.group[rows]
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        windows = peer_features.windows(columns, rows[members], group)
        current = np.array(
            [round(value, decimal_places(str(feature["en"]))) for value in windows[name].values.tolist()]
        )
        for k, step in enumerate(grid_values(feature, windows[name].peer_values, limits)):
            values[members, k] = np.where(current == step, np.nan, step)
            for column, shifted in shift_windows(name, np.full(len(members), step), windows).items():
                changed_columns[column][members, k] = shifted
    return WhatIfGrid(name, values, changed_columns)


def _predict_grids(
    peer_features: PeerFeatures,
    rows: npt.NDArray[np.int64],
    grids: Sequence[WhatIfGrid],
    model: EnsembleModel,
    threads: int,
) -> list[Floats]:
    """Predict the probability at every grid step; return one array (accounts × steps) per feature."""
    probabilities = [np.full(grid.values.shape, np.nan) for grid in grids]

    def predict_part(first: int) -> None:
        block = slice(first, first + BLOCK_ROWS)
        with reader_lock:
            frame = peer_features.features.rows(peer_features.row_positions[rows[block]], names)
        for grid, probability in zip(grids, probabilities, strict=True):
            for k in range(grid.values.shape[1]):
                filled = np.flatnonzero(~np.isnan(grid.values[block, k]))
                changed = {name: values[block, k][filled] for name, values in grid.changed_columns.items()}
                probability[first + filled, k] = model.probability(frame.take(filled).assign(**changed))

    names, reader_lock = list(model.schema.names), Lock()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(predict_part, range(0, len(rows), BLOCK_ROWS)))
    return probabilities


def _grid_rows(page_accounts: pd.DataFrame, grid: WhatIfGrid, probabilities: Floats) -> pd.DataFrame:
    row, step = np.nonzero(~np.isnan(grid.values) & (probabilities >= 0) & (probabilities <= 1))
    keys = page_accounts[["account_id", "renewal_id"]].reset_index(drop=True).take(row).reset_index(drop=True)
    return keys.assign(feature=grid.feature, value=grid.values[row, step], probability=probabilities[row, step])
