"""What the champion says at each step of the figures that a manager can move: `whatif.parquet`, for the page.

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

from renewals.models.explanation.reasons import Words, circles, digits
from renewals.models.explanation.what_if import SHARES, Floats, Window, kin, movable, moved, steps, usual
from renewals.models.ranking.worklist import SCORED
from renewals.pipelines.storage import features_file
from renewals.pipelines.storage.artifacts import CONTRIBUTIONS, SCORING
from renewals.reports.settings import ListOptions

if TYPE_CHECKING:
    from renewals.models.training.ensemble import Learned

BLOCK = 4096
"""Accounts asked of at a time."""
COLUMNS = ("account_id", "feature", "figure", "probability")


class Company:
    """The figures of every account that the model speaks of, and who its peers are."""

    def __init__(self, side: Path, listed: pd.DataFrame, peers_min: int) -> None:
        spoken_of = pd.read_parquet(side / CONTRIBUTIONS, columns=["account_id"])["account_id"]
        known = listed[listed["account_id"].isin(spoken_of)]
        self.figures = features_file.FeatureRows(side / SCORING)
        self.accounts = pd.Index(known["account_id"].astype(object))
        self.places = self.figures.places(known["account_id"])
        self.circles = circles(known["size_band"], known["stage"], peers_min)

    def rows(self, accounts: pd.Series) -> npt.NDArray[np.int64]:
        """Where each account stands in here."""
        return np.asarray(self.accounts.get_indexer(pd.Index(accounts.astype(object))), np.int64)

    def columns(self, names: Iterable[str]) -> dict[str, Floats]:
        """Some figures of every account, by name; not a number where one is not known, or infinite."""
        columns = {n: self.figures.column(n).to_numpy(np.float64, na_value=np.nan)[self.places] for n in names}
        return {name: np.where(np.isinf(own), np.nan, own) for name, own in columns.items()}

    def peers(self, column: Floats, group: int) -> Floats:
        """The known figures of a group, rising."""
        own = column[self.circles.members[group]]
        return np.sort(own[~np.isnan(own)])

    def windows(self, columns: Mapping[str, Floats], rows: npt.NDArray[np.int64], group: int) -> dict[str, Window]:
        """Some accounts of one group beside their peers, by column."""
        return {name: Window(column[rows], self.peers(column, group)) for name, column in columns.items()}


class Tried(NamedTuple):
    """The steps of one feature; everything is accounts × steps, not a number where there is no step."""

    feature: str
    figure: Floats
    changed: dict[str, Floats]
    """The columns as they would be: the feature's own, and those that move along."""


def said(
    side: Path,
    listed: pd.DataFrame,
    catalogue: Sequence[Words],
    learned: Learned,
    options: ListOptions,
    threads: int = 1,
) -> pd.DataFrame:
    """One row per (account, feature, figure) that is other than the account's own: what the model would say.

    Of the first accounts of the list, as many as the page shows; a step of which the model gives no probability is left
    out. The number of threads changes no byte.
    """
    features = movable(options.whatif, catalogue, learned.schema.names)
    _warn(options.whatif, catalogue)
    shown = listed.head(options.page_rows)
    shown = shown[shown["status"] == SCORED]
    if not features or shown.empty:
        return pd.DataFrame({name: [] for name in COLUMNS})
    company = Company(side, listed, options.peers_min)
    rows = company.rows(shown["account_id"])
    tries = [_tried(company, rows, feature, catalogue, learned) for feature in features]
    chances = _asked(company, rows, tries, learned, threads)
    return pd.concat([_told(shown, own, chance) for own, chance in zip(tries, chances, strict=True)], ignore_index=True)


def _warn(names: Iterable[str], catalogue: Sequence[Words]) -> None:
    there = {str(feature["name"]): feature for feature in catalogue}
    known = [name for name in names if name in there]
    if given := [name for name in known if not there[name]["actionable"]]:
        structlog.get_logger().warning("no manager can move these: list.whatif leaves them out", features=given)
    if given := [name for name in known if there[name].get("action")]:
        structlog.get_logger().warning(
            "no score moves when these actions are logged: list.whatif leaves them out", features=given
        )


def _tried(
    company: Company, rows: npt.NDArray[np.int64], feature: Words, catalogue: Sequence[Words], learned: Learned
) -> Tried:
    name, read = str(feature["name"]), learned.schema.names
    columns, within = company.columns([name, *kin(feature, catalogue, read)]), usual(learned, name)
    figure = np.full((len(rows), len(SHARES)), np.nan)
    changed = {column: np.full(figure.shape, np.nan) for column in columns}
    groups = company.circles.group[rows]
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        windows = company.windows(columns, rows[mine], group)
        own = np.array([round(value, digits(str(feature["en"]))) for value in windows[name].own.tolist()])
        for k, step in enumerate(steps(feature, windows[name].peers, within)):
            figure[mine, k] = np.where(own == step, np.nan, step)
            for column, values in moved(name, np.full(len(mine), step), windows).items():
                changed[column][mine, k] = values
    return Tried(name, figure, changed)


def _asked(
    company: Company, rows: npt.NDArray[np.int64], tries: Sequence[Tried], learned: Learned, threads: int
) -> list[Floats]:
    """The probability at every step; for each feature accounts × steps."""
    chances = [np.full(own.figure.shape, np.nan) for own in tries]

    def ask(first: int) -> None:
        part = slice(first, first + BLOCK)
        with one_reader:
            frame = company.figures.rows(company.places[rows[part]], names)
        for own, chance in zip(tries, chances, strict=True):
            for k in range(own.figure.shape[1]):
                asked = np.flatnonzero(~np.isnan(own.figure[part, k]))
                there = {name: values[part, k][asked] for name, values in own.changed.items()}
                chance[first + asked, k] = learned.probability(frame.take(asked).assign(**there))

    names, one_reader = list(learned.schema.names), Lock()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(0, len(rows), BLOCK)))
    return chances


def _told(shown: pd.DataFrame, own: Tried, chance: Floats) -> pd.DataFrame:
    who, k = np.nonzero(~np.isnan(own.figure) & (chance >= 0) & (chance <= 1))
    accounts = shown["account_id"].reset_index(drop=True).take(who).reset_index(drop=True)
    return pd.DataFrame(
        {"account_id": accounts, "feature": own.feature, "figure": own.figure[who, k], "probability": chance[who, k]}
    )
