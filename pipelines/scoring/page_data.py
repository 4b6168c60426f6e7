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
    CONTRIBUTIONS,
    FORECAST_FOLDER,
    FORECAST_SUMMARY,
    NOT_SCORED_REASONS,
    PEER_GROUP,
    PEER_MEDIANS,
    PRESCRIBED_PLAYBOOKS,
    SCORE_CHANGES,
    SCORING,
    STRENGTH_FEATURES,
    WHAT_IF_GRID,
    read_catalogue,
)
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.published.hindsight import is_same_version
from renewals.reports.html.list_page import PageData, page_features
from renewals.reports.words import MESSAGES


def build_page_data(
    job: Job,
    listed: pd.DataFrame,
    score_summary: Mapping[str, Any],
    previous_lists: Sequence[published_lists.PreviousList],
    forecast_rows: list[dict[str, Any]] | None,
) -> PageData:
    """What stands behind the first rows of the list, as many as the page shows.

    `score_summary` is what `score` wrote of the list, `previous_lists` the lists before it, and `forecast_rows` is what
    `company_forecast` gave. Of an account without a score neither strengths nor themes are shown: the list holds none.
    """
    shown = listed.head(job.settings.list.page_rows)
    catalogue = read_catalogue(job.folder)
    scored = shown["status"].eq(SCORED)
    strengths = (
        data_files.load_frame(job.folder / STRENGTH_FEATURES)
        .drop(columns="account_id")
        .reindex(shown.index)
        .where(scored)
    )
    group, themes = theme_contributions(job, shown, catalogue)
    themes = themes[scored.reindex(themes.index)]
    tried = _align_to_list(shown, data_files.load_frame(job.folder / WHAT_IF_GRID))
    return PageData(
        features=catalogue,
        feature_values=_feature_values(job, shown, page_features(shown, strengths, tried, catalogue)),
        peer_values=data_files.load_frame(job.folder / PEER_MEDIANS),
        peer_group=group,
        strengths=strengths,
        theme_contributions=themes,
        change_texts=_change_reasons(job, shown),
        not_scored_reasons=_align_to_list(shown, data_files.load_frame(job.folder / NOT_SCORED_REASONS)),
        past_probabilities=_earlier_probabilities(shown, {one.day: one.scores for one in previous_lists}),
        what_if_grid=tried,
        alerts=_align_to_list(shown, artifacts.read_alerts(job)),
        prescribed_playbooks=_align_to_list(shown, data_files.load_frame(job.folder / PRESCRIBED_PLAYBOOKS)),
        library=score_summary["playbooks"],
        forecast=forecast_rows or [],
        notices=score_summary["notices"],
    )


def _align_to_list(page_accounts: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that are of an account shown, on the account's row of the list."""
    places = pd.Index(page_accounts["account_id"].astype(object)).get_indexer(
        pd.Index(table["account_id"].astype(object))
    )
    return table[places >= 0].set_axis(page_accounts.index[places[places >= 0]])


def _feature_values(job: Job, page_accounts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The figures that the page speaks of; one row per account shown."""
    whole = features_file.FeatureRows(job.folder / SCORING)
    there = [name for name in names if name in whole.names]
    return whole.rows(whole.row_positions(page_accounts["account_id"]), there).set_axis(page_accounts.index)


def theme_contributions(job: Job, page_accounts: pd.DataFrame, catalogue: Any) -> tuple[pd.Series, pd.DataFrame]:
    """The group of peers, and what each theme adds in all; one row per account shown and scored."""
    theme = {str(feature["name"]): str(feature["theme"]) for feature in catalogue}
    places = pd.Index(page_accounts["account_id"].astype(object))
    groups, sums, index = [], [], []
    with data_files.open_parquet(job.folder / CONTRIBUTIONS) as file:
        for batch in file.iter_batches():
            rows = batch.to_pandas()
            at = places.get_indexer(pd.Index(rows["account_id"].astype(object)))
            own = rows[at >= 0]
            pushes = own.drop(columns=[*KEY, PEER_GROUP]).astype("float64")
            sums.append(pushes.T.groupby([theme.get(str(name)) for name in pushes.columns]).sum().T)
            groups.append(own[PEER_GROUP])
            index.append(page_accounts.index[at[at >= 0]])
    order = np.concatenate(index) if index else np.array([], np.int64)
    added = pd.concat(sums).reindex(columns=list(THEMES)).set_axis(order) if sums else pd.DataFrame()
    return pd.concat(groups).set_axis(order) if groups else pd.Series(dtype=object), added.dropna(axis=1, how="all")


def _change_reasons(job: Job, page_accounts: pd.DataFrame) -> pd.DataFrame:
    """Why each chance changed, by language; one row per account shown and scored."""
    table = data_files.load_frame(
        job.folder / SCORE_CHANGES, columns=["account_id", *score_change.REASON_COLUMNS.values()]
    )
    said = table.set_index(table["account_id"].astype(object))[list(score_change.REASON_COLUMNS.values())]
    return (
        said.reindex(page_accounts["account_id"].astype(object))
        .set_axis(page_accounts.index)
        .set_axis(list(MESSAGES), axis=1)
    )


def load_earlier_lists(job: Job) -> list[published_lists.PreviousList]:
    """The whole lists before the act date, at most `EARLIER`, the newest first."""
    return list(islice(published_lists.iter_previous_lists(job), published_lists.MAX_EARLIER_LISTS))


def _earlier_probabilities(page_accounts: pd.DataFrame, previous_lists: Mapping[date, pd.DataFrame]) -> pd.DataFrame:
    """By day, oldest first, the chance that was given to the same renewal; one row per account shown."""
    own = pd.DataFrame(
        {"account_id": page_accounts["account_id"].astype(object), "renewal_date": page_accounts["renewal_date"]}
    )
    said = {}
    for day in sorted(previous_lists):
        was = previous_lists[day].drop_duplicates("account_id")
        was = was.assign(account_id=was["account_id"].astype(object), renewal_date=pd.to_datetime(was["renewal_date"]))
        met = own.merge(was, on=["account_id", "renewal_date"], how="left")
        said[day] = met["renewal_probability"].to_numpy("float64")
    table = pd.DataFrame(said, index=page_accounts.index)
    return table.loc[:, table.notna().any()]


def company_forecast(job: Job, model: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """What the forecast of the act date says of the whole company; None where there is none of that day and model."""
    path = job.folder / FORECAST_FOLDER / FORECAST_SUMMARY
    if not path.exists():
        return None
    told = data_files.load_json(path)
    if told["as_of"] != job.day.isoformat() or not is_same_version(told["models"]["renewal"], model):
        return None
    rows = [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
    names = ("period_kind", "period", "measure", "expected", "low", "high")
    sure = {"confidence": told["confidence"]}
    return [
        {name: finite_or_none(row[name]) for name in names} | sure for row in rows if row["segment_kind"] == "company"
    ]


def finite_or_none(value: Any) -> Any:
    """The value, None for a number that is none: no page can hold it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
