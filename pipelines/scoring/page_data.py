"""What stands behind the page of a list: figures, contributions, changes, and what earlier lists said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from renewals.features.family import KEY, THEMES
from renewals.models.ranking.worklist import SCORED
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import score_change
from renewals.pipelines.storage import artifacts, data_files, features_file
from renewals.pipelines.storage.artifacts import (
    CHANGE,
    CONTRIBUTIONS,
    FORECAST_FOLDER,
    FORECAST_SUMMARY,
    GROUP,
    PEERS,
    PLAYS,
    SCORING,
    STRENGTHS,
    UNSCORED,
    WHATIF,
    read_catalogue,
)
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.published.hindsight import same_version
from renewals.reports.html.list_page import Behind, spoken_of
from renewals.reports.words import LANGUAGES


def behind(
    job: Job,
    listed: pd.DataFrame,
    standing: Mapping[str, Any],
    before: Sequence[published_lists.Published],
    foretold: list[dict[str, Any]] | None,
) -> Behind:
    """What stands behind the first rows of the list, as many as the page shows.

    `standing` is what `score` wrote of the list, `before` the lists before it, and `foretold` is what `forecast` gave.
    Of an account without a score neither strengths nor themes are shown: the list holds none.
    """
    shown = listed.head(job.settings.list.page_rows)
    catalogue = read_catalogue(job.side)
    scored = shown["status"].eq(SCORED)
    strengths = (
        data_files.load_frame(job.side / STRENGTHS).drop(columns="account_id").reindex(shown.index).where(scored)
    )
    group, themes = pushed(job, shown, catalogue)
    themes = themes[scored.reindex(themes.index)]
    tried = _by_row(shown, data_files.load_frame(job.side / WHATIF))
    return Behind(
        features=catalogue,
        figures=_figures(job, shown, spoken_of(shown, strengths, tried, catalogue)),
        peers=data_files.load_frame(job.side / PEERS),
        group=group,
        strengths=strengths,
        themes=themes,
        changes=_changes(job, shown),
        unscored=_by_row(shown, data_files.load_frame(job.side / UNSCORED)),
        earlier=_chances(shown, {one.day: one.listed for one in before}),
        tried=tried,
        alerts=_by_row(shown, artifacts.read_alerts(job)),
        plays=_by_row(shown, data_files.load_frame(job.side / PLAYS)),
        library=standing["playbooks"],
        forecast=foretold or [],
        notices=standing["notices"],
    )


def _by_row(shown: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are of an account shown, on the account's row of the list."""
    places = pd.Index(shown["account_id"].astype(object)).get_indexer(pd.Index(told["account_id"].astype(object)))
    return told[places >= 0].set_axis(shown.index[places[places >= 0]])


def _figures(job: Job, shown: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The figures that the page speaks of; one row per account shown."""
    whole = features_file.FeatureRows(job.side / SCORING)
    there = [name for name in names if name in whole.names]
    return whole.rows(whole.places(shown["account_id"]), there).set_axis(shown.index)


def pushed(job: Job, shown: pd.DataFrame, catalogue: Any) -> tuple[pd.Series, pd.DataFrame]:
    """The group of peers, and what each theme adds in all; one row per account shown and scored."""
    theme = {str(feature["name"]): str(feature["theme"]) for feature in catalogue}
    places = pd.Index(shown["account_id"].astype(object))
    groups, sums, index = [], [], []
    with data_files.open_parquet(job.side / CONTRIBUTIONS) as file:
        for batch in file.iter_batches():
            rows = batch.to_pandas()
            at = places.get_indexer(pd.Index(rows["account_id"].astype(object)))
            own = rows[at >= 0]
            pushes = own.drop(columns=[*KEY, GROUP]).astype("float64")
            sums.append(pushes.T.groupby([theme.get(str(name)) for name in pushes.columns]).sum().T)
            groups.append(own[GROUP])
            index.append(shown.index[at[at >= 0]])
    order = np.concatenate(index) if index else np.array([], np.int64)
    added = pd.concat(sums).reindex(columns=list(THEMES)).set_axis(order) if sums else pd.DataFrame()
    return pd.concat(groups).set_axis(order) if groups else pd.Series(dtype=object), added.dropna(axis=1, how="all")


def _changes(job: Job, shown: pd.DataFrame) -> pd.DataFrame:
    """Why each chance changed, by language; one row per account shown and scored."""
    table = data_files.load_frame(job.side / CHANGE, columns=["account_id", *score_change.SAID.values()])
    said = table.set_index(table["account_id"].astype(object))[list(score_change.SAID.values())]
    return said.reindex(shown["account_id"].astype(object)).set_axis(shown.index).set_axis(list(LANGUAGES), axis=1)


def earlier_lists(job: Job) -> list[published_lists.Published]:
    """The whole lists before the act date, at most `EARLIER`, the newest first."""
    return list(islice(published_lists.published(job), published_lists.EARLIER))


def _chances(shown: pd.DataFrame, before: Mapping[date, pd.DataFrame]) -> pd.DataFrame:
    """By day, oldest first, the chance that was given to the same renewal; one row per account shown."""
    own = pd.DataFrame({"account_id": shown["account_id"].astype(object), "renewal_date": shown["renewal_date"]})
    said = {}
    for day in sorted(before):
        was = before[day].drop_duplicates("account_id")
        was = was.assign(account_id=was["account_id"].astype(object), renewal_date=pd.to_datetime(was["renewal_date"]))
        met = own.merge(was, on=["account_id", "renewal_date"], how="left")
        said[day] = met["renewal_probability"].to_numpy("float64")
    table = pd.DataFrame(said, index=shown.index)
    return table.loc[:, table.notna().any()]


def forecast(job: Job, model: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """What the forecast of the act date says of the whole company; None where there is none of that day and model."""
    path = job.side / FORECAST_FOLDER / FORECAST_SUMMARY
    if not path.exists():
        return None
    told = data_files.load_json(path)
    if told["as_of"] != job.day.isoformat() or not same_version(told["models"]["renewal"], model):
        return None
    rows = [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
    names = ("period_kind", "period", "measure", "expected", "low", "high")
    sure = {"confidence": told["confidence"]}
    return [{name: finite(row[name]) for name in names} | sure for row in rows if row["segment_kind"] == "company"]


def finite(value: Any) -> Any:
    """The value, None for a number that is none: no page can hold it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
