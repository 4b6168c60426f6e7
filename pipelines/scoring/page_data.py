"""Collect the data of the list page: feature values, contributions, score changes and earlier probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from renewals.features.family import RENEWAL_KEY, THEMES
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
    """Collect the data of the list page for the first rows of the list, as many as the page shows.

    `score_summary` is the summary that `score` wrote, `previous_lists` are the lists before this one, and
    `forecast_rows` is the result of `company_forecast`. Accounts without a score get neither strengths nor themes,
    because the list contains none for them.
    """
    shown = listed.head(job.settings.list.page_rows)
    catalogue = read_catalogue(job.folder)
    scored = shown["status"].eq(SCORED)
    strengths = (
        data_files.load_frame(job.folder / STRENGTH_FEATURES)
        .drop(columns=["account_id", "renewal_id"])
        .reindex(shown.index)
        .where(scored)
    )
    groups, themes = theme_contributions(job, shown, catalogue)
    themes = themes[scored.reindex(themes.index)]
    grid = _align_to_list(shown, data_files.load_frame(job.folder / WHAT_IF_GRID))
    return PageData(
        features=catalogue,
        feature_values=_feature_values(job, shown, page_features(shown, strengths, grid, catalogue)),
        peer_values=data_files.load_frame(job.folder / PEER_MEDIANS),
        peer_group=groups,
        strengths=strengths,
        theme_contributions=themes,
        change_texts=_change_reasons(job, shown),
        not_scored_reasons=_align_to_list(shown, data_files.load_frame(job.folder / NOT_SCORED_REASONS)),
        past_probabilities=_earlier_probabilities(
            shown, {past_list.day: past_list.scores for past_list in previous_lists}
        ),
        what_if_grid=grid,
        alerts=_align_to_list(shown, artifacts.read_alerts(job), "account_id"),
        prescribed_playbooks=_align_to_list(shown, data_files.load_frame(job.folder / PRESCRIBED_PLAYBOOKS)),
        library=score_summary["playbooks"],
        forecast=forecast_rows or [],
        notices=score_summary["notices"],
        history=score_summary[artifacts.HISTORY],
    )


def _align_to_list(page_rows: pd.DataFrame, table: pd.DataFrame, key: str = "renewal_id") -> pd.DataFrame:
    """Rows of a table for the rows on the page, with the index of their row in the list.

    A table of accounts (`key="account_id"`) has its rows once for each renewal of the account.
    """
    places = pd.DataFrame({key: page_rows[key].astype(object), "_row": page_rows.index})
    joined = table.astype({key: object}).merge(places, on=key, how="inner")
    return joined.drop(columns="_row").set_axis(pd.Index(joined["_row"]).rename(None))


def _feature_values(job: Job, page_accounts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Values of the features that the page shows; one row per account on the page."""
    features = features_file.FeatureRows(job.folder / SCORING)
    present = [name for name in names if name in features.names]
    return features.rows(features.row_positions(page_accounts["renewal_id"]), present).set_axis(page_accounts.index)


def theme_contributions(job: Job, page_accounts: pd.DataFrame, catalogue: Any) -> tuple[pd.Series, pd.DataFrame]:
    """Peer group and summed contributions by theme; one row per account on the page that has contributions."""
    theme = {str(feature["name"]): str(feature["theme"]) for feature in catalogue}
    positions = pd.Index(page_accounts["renewal_id"].astype(object))
    groups, sums, index = [], [], []
    with data_files.open_parquet(job.folder / CONTRIBUTIONS) as file:
        for batch in file.iter_batches():
            rows = batch.to_pandas()
            page_rows = positions.get_indexer(pd.Index(rows["renewal_id"].astype(object)))
            shown = rows[page_rows >= 0]
            contributions = shown.drop(columns=[*RENEWAL_KEY, PEER_GROUP]).astype("float64")
            sums.append(contributions.T.groupby([theme.get(str(name)) for name in contributions.columns]).sum().T)
            groups.append(shown[PEER_GROUP])
            index.append(page_accounts.index[page_rows[page_rows >= 0]])
    order = np.concatenate(index) if index else np.array([], np.int64)
    totals = pd.concat(sums).reindex(columns=list(THEMES)).set_axis(order) if sums else pd.DataFrame()
    return pd.concat(groups).set_axis(order) if groups else pd.Series(dtype=object), totals.dropna(axis=1, how="all")


def _change_reasons(job: Job, page_accounts: pd.DataFrame) -> pd.DataFrame:
    """Reason of each score change, one column per language; one row per account on the page, empty where not scored."""
    names = list(score_change.REASON_COLUMNS.values())
    texts = data_files.load_frame(job.folder / SCORE_CHANGES, columns=["renewal_id", *names]).set_index("renewal_id")
    return texts.reindex(page_accounts["renewal_id"]).set_axis(page_accounts.index).set_axis(list(MESSAGES), axis=1)


def load_earlier_lists(job: Job) -> list[published_lists.PreviousList]:
    """Load the complete lists before the act date, at most `MAX_EARLIER_LISTS`, newest first."""
    return list(islice(published_lists.iter_previous_lists(job), published_lists.MAX_EARLIER_LISTS))


def _earlier_probabilities(page_accounts: pd.DataFrame, previous_lists: Mapping[date, pd.DataFrame]) -> pd.DataFrame:
    """Earlier probabilities of the same renewal; one row per account on the page.

    One column per list day, oldest first; days without any probability are left out.
    """
    probabilities = {}
    for day in sorted(previous_lists):
        scores = previous_lists[day].drop_duplicates("renewal_id").set_index("renewal_id")["renewal_probability"]
        probabilities[day] = page_accounts["renewal_id"].map(scores).to_numpy("float64")
    table = pd.DataFrame(probabilities, index=page_accounts.index)
    return table.loc[:, table.notna().any()]


def company_forecast(job: Job, model: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Forecast rows of the whole company for the act date; None if there is no forecast for that day and model."""
    path = job.folder / FORECAST_FOLDER / FORECAST_SUMMARY
    if model is None or not path.exists():
        return None
    summary = data_files.load_json(path)
    if summary["as_of"] != job.day.isoformat() or not is_same_version(summary["models"]["renewal"], model):
        return None
    rows = [dict(zip(summary["columns"], row, strict=True)) for row in summary["rows"]]
    names = ("period_kind", "period", "measure", "expected", "low", "high")
    confidence = {"confidence": summary["confidence"]}
    return [
        {name: finite_or_none(row[name]) for name in names} | confidence
        for row in rows
        if row["segment_kind"] == "company"
    ]


def finite_or_none(value: Any) -> Any:
    """The value, or None for a float that is not finite: JSON in a page cannot hold one."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
