"""Score changes since the last list, with their parts: `score_changes.parquet` and two columns of the list.

A change is decomposed only if this is exact: on the archived feature values the old model must reproduce the
probability of the last list. Otherwise the list shows a short reason; this is never an error.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import structlog

from renewals.features.family import RENEWAL_KEY
from renewals.features.registry import action_features
from renewals.models.explanation.reasons import FeatureMeta as Feature
from renewals.models.explanation.score_change import PARTS, SCALES, changed_features, decompose_change
from renewals.models.ranking import worklist
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import mask_infinite
from renewals.pipelines.runtime.errors import MissingInputError, RunError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring.render_failures import report_failures
from renewals.pipelines.storage import features_file
from renewals.pipelines.storage.artifacts import SCORE_CHANGES, SCORING
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.registry import model_loader
from renewals.reports.render_failures import RenderFailures
from renewals.reports.sentences import score_change as sentences
from renewals.reports.words import MESSAGES, Messages

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel
    from renewals.pipelines.scoring.champion_models import Champion

BLOCK_ROWS = 65_536
"""Number of accounts decomposed at a time."""
TOLERANCE = 1e-10
"""Maximum difference between a recomputed and a published probability."""
REASON_COLUMNS = {language: f"reason_{language}" for language in MESSAGES}
"""Columns of `score_changes.parquet` with the reason, by language."""
DECOMPOSITION_COLUMNS = [f"{scale}_{part}" for scale in SCALES for part in ("before", "now", *PARTS)]


@dataclass(frozen=True)
class ChangeText:
    """Render the text of each change: in the list's language, and in all languages for the accounts on the page."""

    language: str
    page_rows: int
    """Number of first rows of the list that the page shows."""
    failures: RenderFailures = field(default_factory=RenderFailures)
    """The accounts whose text could not be rendered."""

    def render(self, row_label: int, render_text: Callable[[Messages], str | None]) -> dict[str, str | None]:
        """Render the text of the account in one row of the list; return it by column (language)."""
        languages = REASON_COLUMNS if row_label < self.page_rows else (self.language,)
        return {REASON_COLUMNS[language]: render_text(Messages(language)) for language in languages}

    def to_frame(self, texts: dict[int, dict[str, str | None]]) -> pd.DataFrame:
        """Table of the texts, one column per language; one row per account with a text, indexed by list row."""
        return pd.DataFrame.from_dict(texts, orient="index", columns=list(REASON_COLUMNS.values()), dtype=object)


class NoDecompositionError(Exception):
    """The changes cannot be decomposed; the message is one of the codes
    `renewals.reports.sentences.score_change.NO_DECOMPOSITION_REASONS`."""


@dataclass(frozen=True)
class ModelPair:
    """Feature values of the last list and of today, the models that scored them, and the feature catalogue."""

    old_values: features_file.FeatureRows
    new_values: features_file.FeatureRows
    old_model: EnsembleModel
    new_model: EnsembleModel
    catalogue: Sequence[Feature]

    @property
    def clock_features(self) -> set[str]:
        """Names of the features that change with time alone, as the catalogue declares."""
        return {str(feature["name"]) for feature in self.catalogue if feature.get("clock")}


def add_score_changes(
    job: Job, listed: pd.DataFrame, catalogue: Sequence[Feature], champion: Champion | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Add `probability_change` and `reason_change` to the list; return the list and the summary for the manifest.

    `champion` is the renewal model of the list; without one no row is scored. Also writes `score_changes.parquet`: one
    row per scored renewal.
    """
    last = published_lists.latest_list(job)
    rows = join_previous_scores(listed, last)
    options, reason_code, parts = job.settings.list, None, rows.iloc[:0][list(RENEWAL_KEY)]
    change_text = ChangeText(options.language, options.page_rows)
    if last is not None and champion is not None and rows["no_change_reason"].isna().any():
        try:
            models = _load_model_pair(job, last, catalogue, champion)
            rows, parts = decompose_changes(rows, models, change_text)
        except NoDecompositionError as error:
            reason_code = str(error)
            rows = _fill_texts(
                rows, _no_decomposition_texts(rows[rows["no_change_reason"].isna()], reason_code, change_text)
            )
    rows = _fill_texts(rows, _no_change_texts(rows[rows["no_change_reason"].notna()], change_text))
    _write_changes(job, rows, parts)
    filled = listed.assign(
        probability_change=rows["probability_change"].reindex(listed.index),
        reason_change=rows[REASON_COLUMNS[change_text.language]].reindex(listed.index),
    )
    return filled, _summarize(last, rows, parts, reason_code) | {
        "render_failures": report_failures(change_text.failures)
    }


def _no_decomposition_texts(rows: pd.DataFrame, reason_code: str, change_text: ChangeText) -> pd.DataFrame:
    """Texts of changes that cannot be decomposed; one row per row of `rows`."""
    pairs = zip(rows.index, rows["probability_change"], strict=True)
    return change_text.to_frame(
        {
            row_label: change_text.render(row_label, partial(sentences.no_decomposition_text, change, reason_code))
            for row_label, change in pairs
        }
    )


def _no_change_texts(rows: pd.DataFrame, change_text: ChangeText) -> pd.DataFrame:
    """Texts that explain why accounts have no change; one row per row of `rows`."""
    pairs = zip(rows.index, rows["no_change_reason"], strict=True)
    return change_text.to_frame(
        {
            row_label: change_text.render(row_label, partial(sentences.no_change_text, reason_code))
            for row_label, reason_code in pairs
        }
    )


def _fill_texts(rows: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Copy of the rows with the texts filled in where `texts` has them; one row per row of `rows`."""
    filled = rows.copy()
    filled.loc[texts.index, list(REASON_COLUMNS.values())] = texts
    return filled


def join_previous_scores(listed: pd.DataFrame, last: published_lists.PreviousList | None) -> pd.DataFrame:
    """Join the scored accounts with their scores on the last list; one row per scored account, with the list's index.

    `probability_change` is the new probability minus the old one; where it is missing `no_change_reason` has the code.
    """
    rows = listed.loc[listed["status"].eq(worklist.SCORED), [*RENEWAL_KEY, "renewal_date", "renewal_probability"]]
    rows = rows.assign(**{name: pd.Series(None, index=rows.index, dtype=object) for name in REASON_COLUMNS.values()})
    if last is None:
        return rows.assign(
            previous_probability=np.nan,
            probability_change=np.nan,
            no_change_reason=pd.Series("no_list", index=rows.index, dtype=object),
        )
    previous_scores = last.scores.drop_duplicates("renewal_id", ignore_index=True)
    position = pd.Index(previous_scores["renewal_id"]).get_indexer(pd.Index(rows["renewal_id"]))
    previous = previous_scores.reindex(position).set_axis(rows.index)
    is_listed = rows["account_id"].astype(object).isin(previous_scores["account_id"].astype(object)).to_numpy()
    tests = [~is_listed, position < 0, ~previous["renewal_probability"].between(0, 1).to_numpy()]
    reason = pd.Series(np.select(tests, ["new", "new_term", "not_scored"], ""), index=rows.index).astype(object)
    reason = reason.where(reason.ne(""), None)
    before = previous["renewal_probability"].where(reason.isna())
    return rows.assign(
        previous_probability=before,
        probability_change=rows["renewal_probability"] - before,
        no_change_reason=reason,
    )


def _load_model_pair(
    job: Job, last: published_lists.PreviousList, catalogue: Sequence[Feature], champion: Champion
) -> ModelPair:
    """Load feature values and models of the last list and of today. Raises NoDecompositionError if one is missing."""
    path = published_lists.features_path(job, last.day)
    try:
        old_values, new_values = features_file.FeatureRows(path), features_file.FeatureRows(job.folder / SCORING)
    except (OSError, ValueError, KeyError) as error:
        raise _no_decomposition("no_feature_values", error) from None
    previous, is_same = "/".join(last.model or ()), last.model == (champion.name, champion.version)
    old_model = champion.model if is_same else _load_previous_model(job, last)
    if set(old_model.schema.names) & action_features():
        raise _no_decomposition("reads_actions", f"{previous} reads logged actions")
    if not set(old_model.schema.names) <= old_values.names & new_values.names:
        raise _no_decomposition("other_features", f"{path} and today's features are not those of {previous}")
    return ModelPair(old_values, new_values, old_model, champion.model, catalogue)


def _load_previous_model(job: Job, last: published_lists.PreviousList) -> EnsembleModel:
    """Load the last list's model from the registry, with its checks. Raises NoDecompositionError if that fails."""
    from renewals.pipelines.storage.registry import model_registry

    name, version = last.model or ("", "")
    try:
        if name != model_registry.registry_name(RENEWAL):
            raise MissingInputError(f"the list of {last.day} was made by {name}, which is not in this model registry")
        return model_loader.load_model(
            job.data, f"{name}/{version}", model_registry.fetch_version(job, RENEWAL, version)
        )
    except RunError as error:
        raise _no_decomposition("no_model", error) from None


def _no_decomposition(reason_code: str, cause: object) -> NoDecompositionError:
    structlog.get_logger().warning("score change not decomposed", why=str(cause))
    return NoDecompositionError(reason_code)


def decompose_changes(
    rows: pd.DataFrame, models: ModelPair, change_text: ChangeText
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decompose the changes into parts (data, clock, model) and fill in the reason texts.

    Returns `rows` with texts (one row per scored account) and the parts (one row per decomposed account). Raises
    NoDecompositionError if the archived feature values contain none of the accounts or cannot be read.
    """
    comparable = rows[rows["no_change_reason"].isna()]
    try:
        old_rows, new_rows = (
            models.old_values.row_positions(comparable["renewal_id"]),
            models.new_values.row_positions(comparable["renewal_id"]),
        )
        order = np.argsort(new_rows, kind="stable")
        in_both = order[(old_rows[order] >= 0) & (new_rows[order] >= 0)]
        blocks = [in_both[start : start + BLOCK_ROWS] for start in range(0, len(in_both), BLOCK_ROWS)]
        results = [
            _decompose_block(comparable.iloc[block], models, old_rows[block], new_rows[block], change_text)
            for block in blocks
        ]
    except Exception as error:  # a failed decomposition is a reason on the list and must never end a run
        raise _no_decomposition("other_feature_values", error) from None
    if not results:
        raise _no_decomposition("other_feature_values", "none of the accounts is in the archived feature values")
    decomposed = pd.concat([parts for parts, _ in results])
    without_parts = comparable.loc[comparable.index.difference(decomposed.index)]
    rows = _fill_texts(rows, _no_decomposition_texts(without_parts, "other_feature_values", change_text))
    return _fill_texts(rows, pd.concat([texts for _, texts in results])), decomposed


def _decompose_block(
    rows: pd.DataFrame,
    models: ModelPair,
    old_rows: npt.NDArray[np.int64],
    new_rows: npt.NDArray[np.int64],
    change_text: ChangeText,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parts and texts of the changes of a block of accounts.

    Accounts are left out if a recomputed probability differs from the published one.
    """
    old_names = list(models.old_model.schema.names)
    before, _ = mask_infinite(models.old_values.rows(old_rows, old_names))
    today, _ = mask_infinite(
        models.new_values.rows(new_rows, list(dict.fromkeys([*old_names, *models.new_model.schema.names])))
    )
    parts = decompose_change(models.old_model, models.new_model, before, today, models.clock_features)
    gap = np.maximum(
        np.abs(parts["probability_before"].to_numpy() - rows["previous_probability"].to_numpy()),
        np.abs(parts["probability_now"].to_numpy() - rows["renewal_probability"].to_numpy()),
    )
    exact = np.flatnonzero(gap <= TOLERANCE)
    before, today, parts = (table.iloc[exact].reset_index(drop=True) for table in (before, today, parts))
    texts = _render_reasons(rows.iloc[exact], parts, before, today, models, change_text)
    return parts.set_index(rows.index[exact]), texts


def _render_reasons(
    rows: pd.DataFrame,
    parts: pd.DataFrame,
    old_values: pd.DataFrame,
    new_values: pd.DataFrame,
    models: ModelPair,
    change_text: ChangeText,
) -> pd.DataFrame:
    """Texts of the changes, one row per row of `rows`; features are named only if the data part is not 0 points."""
    shown = parts[[f"probability_{part}" for part in PARTS]].set_axis(list(PARTS), axis=1)
    shown["change"] = rows["probability_change"].to_numpy()
    data_changed = np.flatnonzero([sentences.to_points(part) != 0 for part in shown["data"]])
    directions = np.sign(shown["data"].to_numpy()[data_changed])
    feature_lists = changed_features(
        models.old_model, old_values.iloc[data_changed], new_values.iloc[data_changed], models.catalogue,
        models.clock_features, directions
    ) if len(data_changed) else []  # fmt: skip
    features_by_row = dict(zip(data_changed.tolist(), feature_lists, strict=True))

    def reason(row: int) -> dict[str, str | None]:
        values = {str(name): float(shown[name].iloc[row]) for name in shown.columns}
        old, new = _account_values(old_values, row, features_by_row), _account_values(new_values, row, features_by_row)
        return change_text.render(
            rows.index[row], partial(sentences.explain_change, values, features_by_row.get(row, []), old, new)
        )

    def fallback(row: int) -> dict[str, str | None]:
        return change_text.render(
            rows.index[row], partial(sentences.no_decomposition_text, shown["change"].iloc[row], "other_feature_values")
        )

    texts = change_text.failures.render_each(
        "list", "reason_change", reason, range(len(rows)), rows["account_id"], fallback
    )
    return change_text.to_frame(dict(zip(rows.index, texts, strict=True)))


def _account_values(values_table: pd.DataFrame, row: int, named_features: dict[int, list[Feature]]) -> dict[str, Any]:
    """Values of the named features for the account in one row; None where the value is missing."""
    names = [str(feature["name"]) for feature in named_features.get(row, [])]
    values = {name: values_table[name].iloc[row] for name in names}
    return {name: None if pd.isna(value) else value for name, value in values.items()}


def _write_changes(job: Job, rows: pd.DataFrame, parts: pd.DataFrame) -> None:
    """Write `score_changes.parquet`: change, parts and reason; one row per scored account, in the order of the list."""
    table = rows.join(parts.reindex(columns=DECOMPOSITION_COLUMNS).astype("float64"))
    sink = io.BytesIO()
    table.astype(dict.fromkeys(("no_change_reason", *REASON_COLUMNS.values()), "string")).to_parquet(sink, index=False)
    atomic.write_bytes(job.folder / SCORE_CHANGES, sink.getvalue())


def _summarize(
    last: published_lists.PreviousList | None,
    rows: pd.DataFrame,
    parts: pd.DataFrame,
    no_decomposition_reason: str | None,
) -> dict[str, Any]:
    """Summary for the manifest: previous list, counts of changes and decompositions, mean absolute size of each
    part."""
    decomposed = parts.reindex(columns=DECOMPOSITION_COLUMNS).astype("float64")
    means = {part: float(decomposed[f"probability_{part}"].abs().mean()) for part in PARTS} if len(parts) else {}
    return {
        "previous_list": None
        if last is None
        else {"as_of": last.day.isoformat(), "list_key": last.manifest["list_key"]},
        "changes": int(rows["probability_change"].notna().sum()),
        "decomposed": len(parts),
        "no_decomposition_reason": no_decomposition_reason,
        "accounts_without_change": {
            str(code): int(count) for code, count in rows["no_change_reason"].value_counts().sort_index().items()
        },
        "mean_absolute_change": means,
    }
