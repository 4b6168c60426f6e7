"""What changed since the last list, and why: `change.parquet`, and two columns of the list.

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
from renewals.models.explanation.reasons import Words as Feature
from renewals.models.explanation.score_change import PARTS, SCALES, speakers, split
from renewals.models.ranking import worklist
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import bounded
from renewals.pipelines.runtime.errors import InputMissing, Stop
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring.render_failures import report_losses
from renewals.pipelines.storage import features_file
from renewals.pipelines.storage.artifacts import CHANGE, SCORING
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.registry import model_loader
from renewals.reports.render_failures import Losses
from renewals.reports.sentences import score_change as telling
from renewals.reports.words import LANGUAGES, Words

if TYPE_CHECKING:
    from renewals.models.training.ensemble import Learned

BLOCK = 65_536
"""Accounts split at a time."""
SAME = 1e-10
"""So far what is said again may lie from what was published."""
SAID = {language: f"reason_{language}" for language in LANGUAGES}
"""Where `change.parquet` says why, by language."""
SPLIT = [f"{scale}_{part}" for scale in SCALES for part in ("before", "now", *PARTS)]


@dataclass(frozen=True)
class Speech:
    """In which languages a change is told: in the list's, and as far as the page reaches in all of them."""

    language: str
    shown: int
    """The first accounts of the list, which the page shows."""
    losses: Losses = field(default_factory=Losses)
    """The accounts whose change cannot be said."""

    def said(self, place: int, say: Callable[[Words], str | None]) -> dict[str, str | None]:
        """What is said of the account at a place of the list, by column."""
        languages = SAID if place < self.shown else (self.language,)
        return {SAID[language]: say(Words(language)) for language in languages}

    def table(self, said: dict[int, dict[str, str | None]]) -> pd.DataFrame:
        """What is said, one row per account of which something is, in its place on the list."""
        return pd.DataFrame.from_dict(said, orient="index", columns=list(SAID.values()), dtype=object)


class Untold(Exception):
    """The parts of the changes cannot be told; the message is one of
    `renewals.reports.sentences.score_change.UNTOLD`."""


@dataclass(frozen=True)
class Sides:
    """The figures of two days, the models that spoke of them, and what both are called."""

    was: features_file.FeatureRows
    now: features_file.FeatureRows
    old: Learned
    new: Learned
    features: Sequence[Feature]

    @property
    def clock(self) -> set[str]:
        """The columns that move by themselves, as the catalogue declares."""
        return {str(feature["name"]) for feature in self.features if feature.get("clock")}


def told(
    job: Job, listed: pd.DataFrame, features: Sequence[Feature], name: str, version: str, model: Learned
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The list with `probability_change` and `reason_change`, and what to say of it in the manifest.

    `name`, `version` and `model` are the list's model of renewal. Writes `change.parquet`: one row per scored account.
    """
    last = published_lists.newest(job)
    rows = compared(listed, last)
    options, why, found = job.settings.list, None, rows.iloc[:0][list(KEY)]
    speech = Speech(options.language, options.page_rows)
    if last is not None and rows["word"].isna().any():
        try:
            sides = _sides(job, last, features, (name, version, model))
            rows, found = explained(rows, sides, speech)
        except Untold as reason:
            why = str(reason)
            rows = _told(rows, _untold_of(rows[rows["word"].isna()], why, speech))
    rows = _told(rows, _without(rows[rows["word"].notna()], speech))
    _write(job, rows, found)
    filled = listed.assign(
        probability_change=rows["change"].reindex(listed.index),
        reason_change=rows[SAID[speech.language]].reindex(listed.index),
    )
    return filled, _summary(last, rows, found, why) | {"left_out": report_losses(speech.losses)}


def _untold_of(rows: pd.DataFrame, why: str, speech: Speech) -> pd.DataFrame:
    """Changes whose parts cannot be told; one row per row given."""
    pairs = zip(rows.index, rows["change"], strict=True)
    return speech.table({place: speech.said(place, partial(telling.why_untold, x, why)) for place, x in pairs})


def _without(rows: pd.DataFrame, speech: Speech) -> pd.DataFrame:
    """Why accounts have no change; one row per row given."""
    pairs = zip(rows.index, rows["word"], strict=True)
    return speech.table({place: speech.said(place, partial(telling.without_change, word)) for place, word in pairs})


def _told(rows: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """The rows with what is said of some of them; one row per row given."""
    filled = rows.copy()
    filled.loc[said.index, list(SAID.values())] = said
    return filled


def compared(listed: pd.DataFrame, last: published_lists.Published | None) -> pd.DataFrame:
    """The scored accounts beside what the last list said, one row per scored account, on the list's index.

    `change` is the new chance less the old one; where there is none `word` says why.
    """
    rows = listed.loc[listed["status"].eq(worklist.SCORED), [*KEY, "renewal_date", "renewal_probability"]]
    rows = rows.assign(**{name: pd.Series(None, index=rows.index, dtype=object) for name in SAID.values()})
    if last is None:
        return rows.assign(before=np.nan, change=np.nan, word=pd.Series("no_list", index=rows.index, dtype=object))
    there = last.listed.drop_duplicates("account_id", ignore_index=True)
    place = pd.Index(there["account_id"].astype(object)).get_indexer(pd.Index(rows["account_id"].astype(object)))
    was = there.reindex(place).set_axis(rows.index)
    other = pd.to_datetime(was["renewal_date"]).ne(pd.to_datetime(rows["renewal_date"])).to_numpy()
    tests = [place < 0, other, ~was["renewal_probability"].between(0, 1).to_numpy()]
    spoken = pd.Series(np.select(tests, ["new", "new_term", "not_scored"], ""), index=rows.index).astype(object)
    spoken = spoken.where(spoken.ne(""), None)
    before = was["renewal_probability"].where(spoken.isna())
    return rows.assign(before=before, change=rows["renewal_probability"] - before, word=spoken)


def _sides(
    job: Job, last: published_lists.Published, features: Sequence[Feature], current: tuple[str, str, Learned]
) -> Sides:
    """What a split takes. Raises Untold where any of it cannot be had."""
    name, version, model = current
    path = published_lists.figures_path(job, last.day)
    try:
        was, now = features_file.FeatureRows(path), features_file.FeatureRows(job.side / SCORING)
    except (OSError, ValueError, KeyError) as fault:
        raise _untold("no_figures", fault) from None
    old = model if last.model == (name, version) else _loaded(job, last)
    if set(old.schema.names) & action_features():
        raise _untold("reads_actions", f"{'/'.join(last.model)} reads logged actions")
    if not set(old.schema.names) <= was.names & now.names:
        raise _untold("other_features", f"{path} and today's figures are not those of {'/'.join(last.model)}")
    return Sides(was, now, old, model, features)


def _loaded(job: Job, last: published_lists.Published) -> Learned:
    """The last list's model from the registry, checked and tried. Raises Untold."""
    from renewals.pipelines.storage.registry import model_registry

    name, version = last.model
    try:
        if name != model_registry.registry_name(RENEWAL):
            raise InputMissing(f"the list of {last.day} was made by {name}, which is not a model of ours")
        return model_loader.loaded(job.data, f"{name}/{version}", model_registry.registered(job, RENEWAL, version))
    except Stop as stop:
        raise _untold("no_model", stop) from None


def _untold(word: str, why: object) -> Untold:
    structlog.get_logger().warning("what moved the chances cannot be told", why=str(why))
    return Untold(word)


def explained(rows: pd.DataFrame, sides: Sides, speech: Speech) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with the reasons of their changes, and the parts of the changes; both one row per scored account.

    Raises Untold where the kept figures are those of no account or cannot be read.
    """
    asked = rows[rows["word"].isna()]
    try:
        was, now = sides.was.places(asked["account_id"]), sides.now.places(asked["account_id"])
        order = np.argsort(now, kind="stable")
        both = order[(was[order] >= 0) & (now[order] >= 0)]
        blocks = [both[start : start + BLOCK] for start in range(0, len(both), BLOCK)]
        made = [_block(asked.iloc[block], sides, was[block], now[block], speech) for block in blocks]
    except Exception as fault:  # what cannot be told is a word on the list, and never ends a run
        raise _untold("other_figures", fault) from None
    if not made:
        raise _untold("other_figures", "none of the accounts is among the kept figures")
    found = pd.concat([parts for parts, _ in made])
    untold = asked.loc[asked.index.difference(found.index)]
    rows = _told(rows, _untold_of(untold, "other_figures", speech))
    return _told(rows, pd.concat([said for _, said in made])), found


def _block(
    rows: pd.DataFrame, sides: Sides, was: npt.NDArray[np.int64], now: npt.NDArray[np.int64], speech: Speech
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The parts of some accounts' changes, and their words; accounts of which the old model now says something else
    than was published are left out."""
    old_names = list(sides.old.schema.names)
    before, _ = bounded(sides.was.rows(was, old_names))
    today, _ = bounded(sides.now.rows(now, list(dict.fromkeys([*old_names, *sides.new.schema.names]))))
    parts = split(sides.old, sides.new, before, today, sides.clock)
    gap = np.maximum(
        np.abs(parts["probability_before"].to_numpy() - rows["before"].to_numpy()),
        np.abs(parts["probability_now"].to_numpy() - rows["renewal_probability"].to_numpy()),
    )
    sure = np.flatnonzero(gap <= SAME)
    before, today, parts = (table.iloc[sure].reset_index(drop=True) for table in (before, today, parts))
    said = _said(rows.iloc[sure], parts, before, today, sides, speech)
    return parts.set_index(rows.index[sure]), said


def _said(
    rows: pd.DataFrame,
    parts: pd.DataFrame,
    before: pd.DataFrame,
    now: pd.DataFrame,
    sides: Sides,
    speech: Speech,
) -> pd.DataFrame:
    """The reason of each change, on its index; figures are asked for only where they made a point."""
    shown = parts[[f"probability_{part}" for part in PARTS]].set_axis(list(PARTS), axis=1)
    shown["change"] = rows["change"].to_numpy()
    moved = np.flatnonzero([telling.points(part) != 0 for part in shown["data"]])
    towards = np.sign(shown["data"].to_numpy()[moved])
    named = speakers(
        sides.old, before.iloc[moved], now.iloc[moved], sides.features, sides.clock, towards
    ) if len(moved) else []  # fmt: skip
    speaking = dict(zip(moved.tolist(), named, strict=True))

    def reason(row: int) -> dict[str, str | None]:
        own = {str(name): float(shown[name].iloc[row]) for name in shown.columns}
        was, today = _own(before, row, speaking), _own(now, row, speaking)
        return speech.said(rows.index[row], partial(telling.why_changed, own, speaking.get(row, []), was, today))

    def without(row: int) -> dict[str, str | None]:
        return speech.said(rows.index[row], partial(telling.why_untold, shown["change"].iloc[row], "other_figures"))

    each = speech.losses.each("list", "reason_change", reason, range(len(rows)), rows["account_id"], without)
    return speech.table(dict(zip(rows.index, each, strict=True)))


def _own(figures: pd.DataFrame, row: int, speaking: dict[int, list[Feature]]) -> dict[str, Any]:
    """One account's figures of the features that may be named; what is not known is None."""
    names = [str(feature["name"]) for feature in speaking.get(row, [])]
    values = {name: figures[name].iloc[row] for name in names}
    return {name: None if pd.isna(value) else value for name, value in values.items()}


def _write(job: Job, rows: pd.DataFrame, found: pd.DataFrame) -> None:
    """One row per scored account, in the order of the list: the change, its parts, and why it came or is not there."""
    table = rows.join(found.reindex(columns=SPLIT).astype("float64"))
    sink = io.BytesIO()
    table.astype(dict.fromkeys(("word", *SAID.values()), "string")).to_parquet(sink, index=False)
    atomic.write_bytes(job.side / CHANGE, sink.getvalue())


def _summary(
    last: published_lists.Published | None, rows: pd.DataFrame, found: pd.DataFrame, why: str | None
) -> dict[str, Any]:
    """What the manifest says: against which list, how many changes were split, and how far each part went."""
    split_up = found.reindex(columns=SPLIT).astype("float64")
    means = {part: float(split_up[f"probability_{part}"].abs().mean()) for part in PARTS} if len(found) else {}
    return {
        "last": None if last is None else {"as_of": last.day.isoformat(), "key": last.manifest["key"]},
        "changes": int(rows["change"].notna().sum()),
        "split": len(found),
        "untold": why,
        "without": {str(word): int(count) for word, count in rows["word"].value_counts().sort_index().items()},
        "mean_distance": means,
    }
