"""What the champion says at each step of the figures that a manager can move: `what_if_grid.parquet`, for the page.

It says at each step what `renewals whatif` says of that wish.
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
"""Accounts asked of at a time."""
COLUMNS = ("account_id", "feature", "value", "probability")


class PeerFeatures:
    """The figures of every account that the model speaks of, and who its peers are."""

    def __init__(self, folder: Path, listed: pd.DataFrame, min_peers: int) -> None:
        spoken_of = pd.read_parquet(folder / CONTRIBUTIONS, columns=["account_id"])["account_id"]
        known = listed[listed["account_id"].isin(spoken_of)]
        self.features = features_file.FeatureRows(folder / SCORING)
        self.accounts = pd.Index(known["account_id"].astype(object))
        self.row_positions = self.features.row_positions(known["account_id"])
        self.peer_groups = peer_groups(known["size_band"], known["stage"], min_peers)

    def positions(self, accounts: pd.Series) -> npt.NDArray[np.int64]:
        """Where each account stands in here."""
        return np.asarray(self.accounts.get_indexer(pd.Index(accounts.astype(object))), np.int64)

    def load_columns(self, names: Iterable[str]) -> dict[str, Floats]:
        """Some figures of every account, by name; not a number where one is not known, or infinite."""
        columns = {n: self.features.column(n).to_numpy(np.float64, na_value=np.nan)[self.row_positions] for n in names}
        return {name: np.where(np.isinf(own), np.nan, own) for name, own in columns.items()}

    def peer_values(self, column: Floats, group: int) -> Floats:
        """The known figures of a group, rising."""
        own = column[self.peer_groups.members[group]]
        return np.sort(own[~np.isnan(own)])

    def windows(
        self, columns: Mapping[str, Floats], rows: npt.NDArray[np.int64], group: int
    ) -> dict[str, FeatureWindow]:
        """Some accounts of one group beside their peers, by column."""
        return {name: FeatureWindow(column[rows], self.peer_values(column, group)) for name, column in columns.items()}


class WhatIfGrid(NamedTuple):
    """The steps of one feature; everything is accounts × steps, not a number where there is no step."""

    feature: str
    values: Floats
    changed_columns: dict[str, Floats]
    """The columns as they would be: the feature's own, and those that move along."""


def what_if_table(
    folder: Path,
    listed: pd.DataFrame,
    catalogue: Sequence[FeatureMeta],
    model: EnsembleModel,
    options: ListOptions,
    threads: int = 1,
) -> pd.DataFrame:
    """One row per (account, feature, value) that is other than the account's own: what the model would say.

    Of the first accounts of the list, as many as the page shows; a step of which the model gives no probability is left
    out. The number of threads changes no byte.
    """
    features = what_if_features(options.what_if_features, catalogue, model.schema.names)
    _warn_unusable(options.what_if_features, catalogue)
    shown = listed.head(options.page_rows)
    shown = shown[shown["status"] == SCORED]
    if not features or shown.empty:
        return pd.DataFrame({name: [] for name in COLUMNS})
    company = PeerFeatures(folder, listed, options.min_peers)
    rows = company.positions(shown["account_id"])
    tries = [_build_grid(company, rows, feature, catalogue, model) for feature in features]
    chances = _predict_grids(company, rows, tries, model, threads)
    return pd.concat(
        [_grid_rows(shown, own, chance) for own, chance in zip(tries, chances, strict=True)], ignore_index=True
    )


def _warn_unusable(names: Iterable[str], catalogue: Sequence[FeatureMeta]) -> None:
    there = {str(feature["name"]): feature for feature in catalogue}
    known = [name for name in names if name in there]
    if given := [name for name in known if not there[name]["actionable"]]:
        structlog.get_logger().warning("features not actionable, left out of list.what_if_features", features=given)
    if given := [name for name in known if there[name].get("action")]:
        structlog.get_logger().warning(
            "features are logged actions that no model reads, left out of list.what_if_features", features=given
        )


def _build_grid(
    peer_features: PeerFeatures,
    rows: npt.NDArray[np.int64],
    feature: FeatureMeta,
    catalogue: Sequence[FeatureMeta],
    model: EnsembleModel,
) -> WhatIfGrid:
    name, read = str(feature["name"]), model.schema.names
    columns, within = (
        peer_features.load_columns([name, *sibling_windows(feature, catalogue, read)]),
        training_range(model, name),
    )
    figure = np.full((len(rows), len(PEER_QUANTILES)), np.nan)
    changed = {column: np.full(figure.shape, np.nan) for column in columns}
    groups = peer_features.peer_groups.group[rows]
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        windows = peer_features.windows(columns, rows[mine], group)
        own = np.array([round(value, decimal_places(str(feature["en"]))) for value in windows[name].values.tolist()])
        for k, step in enumerate(grid_values(feature, windows[name].peer_values, within)):
            figure[mine, k] = np.where(own == step, np.nan, step)
            for column, values in shift_windows(name, np.full(len(mine), step), windows).items():
                changed[column][mine, k] = values
    return WhatIfGrid(name, figure, changed)


def _predict_grids(
    peer_features: PeerFeatures,
    rows: npt.NDArray[np.int64],
    grids: Sequence[WhatIfGrid],
    model: EnsembleModel,
    threads: int,
) -> list[Floats]:
    """The probability at every step; for each feature accounts × steps."""
    chances = [np.full(own.values.shape, np.nan) for own in grids]

    def ask(first: int) -> None:
        part = slice(first, first + BLOCK_ROWS)
        with one_reader:
            frame = peer_features.features.rows(peer_features.row_positions[rows[part]], names)
        for own, chance in zip(grids, chances, strict=True):
            for k in range(own.values.shape[1]):
                asked = np.flatnonzero(~np.isnan(own.values[part, k]))
                there = {name: values[part, k][asked] for name, values in own.changed_columns.items()}
                chance[first + asked, k] = model.probability(frame.take(asked).assign(**there))

    names, one_reader = list(model.schema.names), Lock()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(0, len(rows), BLOCK_ROWS)))
    return chances


def _grid_rows(page_accounts: pd.DataFrame, grid: WhatIfGrid, probabilities: Floats) -> pd.DataFrame:
    who, k = np.nonzero(~np.isnan(grid.values) & (probabilities >= 0) & (probabilities <= 1))
    accounts = page_accounts["account_id"].reset_index(drop=True).take(who).reset_index(drop=True)
    return pd.DataFrame(
        {
            "account_id": accounts,
            "feature": grid.feature,
            "value": grid.values[who, k],
            "probability": probabilities[who, k],
        }
    )
