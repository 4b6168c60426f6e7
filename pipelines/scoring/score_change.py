"""What changed since the last list, and why: `score_changes.parquet`, and two columns of the list.

A change is told only where it can be told exactly: the old model must say of the kept figures what the last list said.
Whatever stands in the way is a word on the list, never an error.
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

from renewals.features.family import KEY
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
from renewals.reports.sentences import score_change as telling
from renewals.reports.words import MESSAGES, Messages

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel

BLOCK_ROWS = 65_536
"""Accounts split at a time."""
TOLERANCE = 1e-10
"""So far what is said again may lie from what was published."""
REASON_COLUMNS = {language: f"reason_{language}" for language in MESSAGES}
"""Where `score_changes.parquet` says why, by language."""
DECOMPOSITION_COLUMNS = [f"{scale}_{part}" for scale in SCALES for part in ("before", "now", *PARTS)]


@dataclass(frozen=True)
class ChangeText:
    """In which languages a change is told: in the list's, and as far as the page reaches in all of them."""

    language: str
    page_rows: int
    """The first accounts of the list, which the page shows."""
    failures: RenderFailures = field(default_factory=RenderFailures)
    """The accounts whose change cannot be said."""

    def render(self, place: int, say: Callable[[Messages], str | None]) -> dict[str, str | None]:
        """What is said of the account at a place of the list, by column."""
        languages = REASON_COLUMNS if place < self.page_rows else (self.language,)
        return {REASON_COLUMNS[language]: say(Messages(language)) for language in languages}

    def to_frame(self, said: dict[int, dict[str, str | None]]) -> pd.DataFrame:
        """What is said, one row per account of which something is, in its place on the list."""
        return pd.DataFrame.from_dict(said, orient="index", columns=list(REASON_COLUMNS.values()), dtype=object)


class NoDecompositionError(Exception):
    """The parts of the changes cannot be told; the message is one of
    `renewals.reports.sentences.score_change.NO_DECOMPOSITION_REASONS`."""


@dataclass(frozen=True)
class ModelPair:
    """The figures of two days, the models that spoke of them, and what both are called."""

    old_values: features_file.FeatureRows
    new_values: features_file.FeatureRows
    old_model: EnsembleModel
    new_model: EnsembleModel
    catalogue: Sequence[Feature]

    @property
    def clock_features(self) -> set[str]:
        """The columns that move by themselves, as the catalogue declares."""
        return {str(feature["name"]) for feature in self.catalogue if feature.get("clock")}


def add_score_changes(
    job: Job, listed: pd.DataFrame, catalogue: Sequence[Feature], name: str, version: str, model: EnsembleModel
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The list with `probability_change` and `reason_change`, and what to say of it in the manifest.

    `name`, `version` and `model` are the list's model of renewal. Writes `score_changes.parquet`: one row per scored
    account.
    """
    last = published_lists.latest_list(job)
    rows = join_previous_scores(listed, last)
    options, why, found = job.settings.list, None, rows.iloc[:0][list(KEY)]
    speech = ChangeText(options.language, options.page_rows)
    if last is not None and rows["no_change_reason"].isna().any():
        try:
            sides = _load_model_pair(job, last, catalogue, (name, version, model))
            rows, found = decompose_changes(rows, sides, speech)
        except NoDecompositionError as reason:
            why = str(reason)
            rows = _fill_texts(rows, _no_decomposition_texts(rows[rows["no_change_reason"].isna()], why, speech))
    rows = _fill_texts(rows, _no_change_texts(rows[rows["no_change_reason"].notna()], speech))
    _write_changes(job, rows, found)
    filled = listed.assign(
        probability_change=rows["probability_change"].reindex(listed.index),
        reason_change=rows[REASON_COLUMNS[speech.language]].reindex(listed.index),
    )
    return filled, _summarize(last, rows, found, why) | {"render_failures": report_failures(speech.failures)}


def _no_decomposition_texts(rows: pd.DataFrame, reason_code: str, change_text: ChangeText) -> pd.DataFrame:
    """Changes whose parts cannot be told; one row per row given."""
    pairs = zip(rows.index, rows["probability_change"], strict=True)
    return change_text.to_frame(
        {place: change_text.render(place, partial(telling.no_decomposition_text, x, reason_code)) for place, x in pairs}
    )


def _no_change_texts(rows: pd.DataFrame, change_text: ChangeText) -> pd.DataFrame:
    """Why accounts have no change; one row per row given."""
    pairs = zip(rows.index, rows["no_change_reason"], strict=True)
    return change_text.to_frame(
        {place: change_text.render(place, partial(telling.no_change_text, word)) for place, word in pairs}
    )


def _fill_texts(rows: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """The rows with what is said of some of them; one row per row given."""
    filled = rows.copy()
    filled.loc[texts.index, list(REASON_COLUMNS.values())] = texts
    return filled


def join_previous_scores(listed: pd.DataFrame, last: published_lists.PreviousList | None) -> pd.DataFrame:
    """The scored accounts beside what the last list said, one row per scored account, on the list's index.

    `probability_change` is the new chance less the old one; where there is none `reason_code` says why.
    """
    rows = listed.loc[listed["status"].eq(worklist.SCORED), [*KEY, "renewal_date", "renewal_probability"]]
    rows = rows.assign(**{name: pd.Series(None, index=rows.index, dtype=object) for name in REASON_COLUMNS.values()})
    if last is None:
        return rows.assign(
            previous_probability=np.nan,
            probability_change=np.nan,
            no_change_reason=pd.Series("no_list", index=rows.index, dtype=object),
        )
    there = last.scores.drop_duplicates("account_id", ignore_index=True)
    place = pd.Index(there["account_id"].astype(object)).get_indexer(pd.Index(rows["account_id"].astype(object)))
    was = there.reindex(place).set_axis(rows.index)
    other = pd.to_datetime(was["renewal_date"]).ne(pd.to_datetime(rows["renewal_date"])).to_numpy()
    tests = [place < 0, other, ~was["renewal_probability"].between(0, 1).to_numpy()]
    spoken = pd.Series(np.select(tests, ["new", "new_term", "not_scored"], ""), index=rows.index).astype(object)
    spoken = spoken.where(spoken.ne(""), None)
    before = was["renewal_probability"].where(spoken.isna())
    return rows.assign(
        previous_probability=before,
        probability_change=rows["renewal_probability"] - before,
        no_change_reason=spoken,
    )


def _load_model_pair(
    job: Job, last: published_lists.PreviousList, catalogue: Sequence[Feature], current: tuple[str, str, EnsembleModel]
) -> ModelPair:
    """What a split takes. Raises NoDecompositionError where any of it cannot be had."""
    name, version, model = current
    path = published_lists.features_path(job, last.day)
    try:
        was, now = features_file.FeatureRows(path), features_file.FeatureRows(job.folder / SCORING)
    except (OSError, ValueError, KeyError) as fault:
        raise _no_decomposition("no_feature_values", fault) from None
    old = model if last.model == (name, version) else _load_previous_model(job, last)
    if set(old.schema.names) & action_features():
        raise _no_decomposition("reads_actions", f"{'/'.join(last.model)} reads logged actions")
    if not set(old.schema.names) <= was.names & now.names:
        raise _no_decomposition("other_features", f"{path} and today's figures are not those of {'/'.join(last.model)}")
    return ModelPair(was, now, old, model, catalogue)


def _load_previous_model(job: Job, last: published_lists.PreviousList) -> EnsembleModel:
    """The last list's model from the registry, checked and tried. Raises NoDecompositionError."""
    from renewals.pipelines.storage.registry import model_registry

    name, version = last.model
    try:
        if name != model_registry.registry_name(RENEWAL):
            raise MissingInputError(f"the list of {last.day} was made by {name}, which is not a model of ours")
        return model_loader.load_model(
            job.data, f"{name}/{version}", model_registry.fetch_version(job, RENEWAL, version)
        )
    except RunError as stop:
        raise _no_decomposition("no_model", stop) from None


def _no_decomposition(reason_code: str, cause: object) -> NoDecompositionError:
    structlog.get_logger().warning("score change not decomposed", why=str(cause))
    return NoDecompositionError(reason_code)


def decompose_changes(
    rows: pd.DataFrame, models: ModelPair, change_text: ChangeText
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with the reasons of their changes, and the parts of the changes; both one row per scored account.

    Raises NoDecompositionError where the kept figures are those of no account or cannot be read.
    """
    asked = rows[rows["no_change_reason"].isna()]
    try:
        was, now = (
            models.old_values.row_positions(asked["account_id"]),
            models.new_values.row_positions(asked["account_id"]),
        )
        order = np.argsort(now, kind="stable")
        both = order[(was[order] >= 0) & (now[order] >= 0)]
        blocks = [both[start : start + BLOCK_ROWS] for start in range(0, len(both), BLOCK_ROWS)]
        made = [_decompose_block(asked.iloc[block], models, was[block], now[block], change_text) for block in blocks]
    except Exception as fault:  # what cannot be told is a word on the list, and never ends a run
        raise _no_decomposition("other_feature_values", fault) from None
    if not made:
        raise _no_decomposition("other_feature_values", "none of the accounts is among the kept figures")
    found = pd.concat([parts for parts, _ in made])
    untold = asked.loc[asked.index.difference(found.index)]
    rows = _fill_texts(rows, _no_decomposition_texts(untold, "other_feature_values", change_text))
    return _fill_texts(rows, pd.concat([said for _, said in made])), found


def _decompose_block(
    rows: pd.DataFrame,
    models: ModelPair,
    old_rows: npt.NDArray[np.int64],
    new_rows: npt.NDArray[np.int64],
    change_text: ChangeText,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The parts of some accounts' changes, and their words; accounts of which the old model now says something else
    than was published are left out."""
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
    sure = np.flatnonzero(gap <= TOLERANCE)
    before, today, parts = (table.iloc[sure].reset_index(drop=True) for table in (before, today, parts))
    said = _render_reasons(rows.iloc[sure], parts, before, today, models, change_text)
    return parts.set_index(rows.index[sure]), said


def _render_reasons(
    rows: pd.DataFrame,
    parts: pd.DataFrame,
    old_values: pd.DataFrame,
    new_values: pd.DataFrame,
    models: ModelPair,
    change_text: ChangeText,
) -> pd.DataFrame:
    """The reason of each change, on its index; figures are asked for only where they made a point."""
    shown = parts[[f"probability_{part}" for part in PARTS]].set_axis(list(PARTS), axis=1)
    shown["change"] = rows["probability_change"].to_numpy()
    moved = np.flatnonzero([telling.to_points(part) != 0 for part in shown["data"]])
    towards = np.sign(shown["data"].to_numpy()[moved])
    named = changed_features(
        models.old_model, old_values.iloc[moved], new_values.iloc[moved], models.catalogue,
        models.clock_features, towards
    ) if len(moved) else []  # fmt: skip
    speaking = dict(zip(moved.tolist(), named, strict=True))

    def reason(row: int) -> dict[str, str | None]:
        own = {str(name): float(shown[name].iloc[row]) for name in shown.columns}
        was, today = _account_values(old_values, row, speaking), _account_values(new_values, row, speaking)
        return change_text.render(
            rows.index[row], partial(telling.explain_change, own, speaking.get(row, []), was, today)
        )

    def without(row: int) -> dict[str, str | None]:
        return change_text.render(
            rows.index[row], partial(telling.no_decomposition_text, shown["change"].iloc[row], "other_feature_values")
        )

    each = change_text.failures.render_each(
        "list", "reason_change", reason, range(len(rows)), rows["account_id"], without
    )
    return change_text.to_frame(dict(zip(rows.index, each, strict=True)))


def _account_values(values_table: pd.DataFrame, row: int, named_features: dict[int, list[Feature]]) -> dict[str, Any]:
    """One account's figures of the features that may be named; what is not known is None."""
    names = [str(feature["name"]) for feature in named_features.get(row, [])]
    values = {name: values_table[name].iloc[row] for name in names}
    return {name: None if pd.isna(value) else value for name, value in values.items()}


def _write_changes(job: Job, rows: pd.DataFrame, parts: pd.DataFrame) -> None:
    """One row per scored account, in the order of the list: the change, its parts, and why it came or is not there."""
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
    """What the manifest says: against which list, how many changes were split, and how far each part went."""
    split_up = parts.reindex(columns=DECOMPOSITION_COLUMNS).astype("float64")
    means = {part: float(split_up[f"probability_{part}"].abs().mean()) for part in PARTS} if len(parts) else {}
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
