"""Every account of the act date with its probabilities, reasons and rank: the list, not yet published.

The figures are never held whole: a million accounts with 240 features are 2 GB. What is usual among peers is found
feature by feature, probabilities and contributions block by block, sentences feature by feature again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from renewals.features.family import KEY
from renewals.features.registry import FAMILIES
from renewals.models.explanation import reasons
from renewals.models.ranking import expected_value, worklist
from renewals.models.ranking.expected_value import Plays
from renewals.models.ranking.playbooks import ANY, Library, in_force
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import bounded
from renewals.pipelines.runtime import json_values
from renewals.pipelines.runtime.errors import DataContract, InputMissing, InternalError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.scoring import challenger, drift, score_change, what_if_grid
from renewals.pipelines.scoring.champion_models import Champion, resolved
from renewals.pipelines.scoring.feature_policy import Parameters, changed_parameters, feature_policy
from renewals.pipelines.storage import artifacts, notices, playbook_library
from renewals.pipelines.storage.artifacts import (
    CONTRIBUTIONS,
    GROUP,
    LIST,
    PEERS,
    PLAYS,
    SCORE,
    SCORING,
    SPINE,
    STRENGTHS,
    UNSCORED,
    WHATIF,
    read_catalogue,
)
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.features_file import FeatureBlocks
from renewals.pipelines.storage.notices import Notice, freshness_notices
from renewals.pipelines.storage.published.hindsight import MARK, Trained, require_foresight
from renewals.pipelines.storage.scored_list import _read
from renewals.reports import risk_list, row_checks
from renewals.reports.columns import HIGH, LOW
from renewals.reports.row_checks import STRANGENESS, BrokenListError
from renewals.reports.settings import ListOptions
from renewals.reports.words import Words

ENDLESS = "endless"
"""The column beside the probabilities that names the first figure of an account that is infinite."""


@dataclass(frozen=True)
class Columns:
    """Some columns of the figures, one at a time."""

    figures: FeatureBlocks
    names: Sequence[str]

    def items(self) -> Iterator[tuple[Hashable, pd.Series]]:
        """Each column with its name."""
        return ((name, self.figures.column(name)) for name in self.names)


@dataclass(frozen=True)
class Scored:
    """A list and what stands behind it."""

    listed: pd.DataFrame
    """The risk list."""
    reasons: pd.DataFrame
    """Why an account has no score, in every language; one row per account without one."""
    faulty: dict[str, Any]
    """How many rows break an invariant of the list, and of each fault how many and one account."""
    peers: pd.DataFrame
    """One row per group of peers: the usual figure of each feature."""
    plays: pd.DataFrame
    """One row per observation: its key, the ids of its plays, and what the best is worth."""
    strengths: pd.DataFrame
    """One row per account of the list, in its order: the feature that each strength speaks of."""


Made = TypeVar("Made")
Keep = Callable[[pd.DataFrame], None]
"""Takes the contributions, block by block; one row per scored account: its key, its group of peers, and what each
feature adds to the margin."""


def score(job: Job) -> dict[str, Any]:
    """Score, explain and rank the accounts of the act date.

    Raises InternalError where the list breaks its contract as a whole, or in too many rows.
    """
    started = datetime.now(UTC)
    champions, absent = resolved(job)
    trained = {target: Trained(own.version, own.until) for target, own in champions.items()}
    hindsight = require_foresight(job, trained)
    warned = artifacts.read_standing(job)
    observations, figures = read_observations(job.side)
    observations["alerts"] = risk_list.alert_codes(observations["account_id"], artifacts.read_alerts(job))
    catalogue = read_catalogue(job.side)
    options, threads, plays = job.settings.list, job.settings.engine.threads, known_plays(job)
    with _whole(job), kept(job.side / CONTRIBUTIONS) as keep:
        outcome = scored(observations, figures, catalogue, champions, options, keep, plays, threads)
    own = champions[RENEWAL]
    listed, changed = score_change.told(job, outcome.listed, catalogue, own.name, own.version, own.learned)
    _warn_of_faults(outcome)
    atomic.write_bytes(job.side / LIST, risk_list.as_parquet(listed))
    atomic.write_bytes(job.side / PEERS, _parquet(outcome.peers.infer_objects()))
    atomic.write_bytes(job.side / PLAYS, _parquet(outcome.plays))
    atomic.write_bytes(job.side / STRENGTHS, _parquet(outcome.strengths))
    atomic.write_bytes(job.side / UNSCORED, _parquet(outcome.reasons))
    tried = what_if_grid.said(job.side, listed, catalogue, own.learned, options, threads)
    atomic.write_bytes(job.side / WHATIF, _parquet(tried))
    drifted = drift.watched(job, listed, catalogue, own.usual)
    standing = {
        "as_of": job.day.isoformat(),
        "models": {
            target: {"name": c.name, "version": c.version, "trained_until": c.until and c.until.isoformat()}
            for target, c in champions.items()
        },
        MARK: hindsight,
        "absent": absent,
        "families_absent": [name for name in FAMILIES if name not in {feature["family"] for feature in catalogue}],
        "features": schema_hash(catalogue),
        "unseen_categories": unseen(champions[RENEWAL], figures),
        "rows": risk_list.counts(outcome.listed),
        "faulty": outcome.faulty,
        "playbooks": told_plays(plays),
        "whatif": tried["feature"].unique().tolist(),
        "alerts": warned,
        "change": changed,
        "drift": drifted,
        "notices": notices.with_words(collect_notices(job, trained.values(), drifted, own.parameters)),
        "shadow": challenger.shadowed(
            job, outcome.listed, observations, figures, plays, {t: str(c) for t, c in champions.items()}
        ),
        "started_at": started.isoformat(timespec="seconds"),
    }
    atomic.write_bytes(
        job.side / SCORE, json.dumps(json_values.without_nan(standing), indent=1, ensure_ascii=False).encode()
    )
    return standing


def collect_notices(
    job: Job, trained: Iterable[Trained], drifted: Mapping[str, Any], learned_with: Parameters | None
) -> list[Notice]:
    """Everything to be known before this list is read: of hindsight, of the tables, and of drift."""
    changed = changed_parameters(learned_with, feature_policy(job.settings)) if learned_with else []
    certified = notices.load_notices(job.data / artifacts.CERTIFICATE, "check")
    return [
        *hindsight_notices(job, trained),
        *freshness_notices(job),
        *certified,
        *drift.drift_notices(drifted, changed),
    ]


def hindsight_notices(job: Job, models: Iterable[Trained]) -> list[Notice]:
    """One notice where a model learned after the day of the list."""
    later = [own.until for own in models if own.until is not None and own.until > job.day]
    days = {"as_of_day": job.day.isoformat(), "training_day": max(later, default=job.day).isoformat()}
    return [Notice(MARK, days)] if later else []


@contextmanager
def _whole(job: Job) -> Iterator[None]:
    """A list that breaks its contract stops the run. Raises InternalError."""
    try:
        yield
    except BrokenListError as error:
        raise InternalError(
            f"the list of {job.day} is not published: {error}. Look for what these accounts have in common in the "
            "tables; if nothing is wrong there, this is a fault of the software and should be reported"
        ) from error


def _warn_of_faults(outcome: Scored) -> None:
    """One line in the log for each fault of rows; ids and counts, and nothing else of an account."""
    for fault in outcome.faulty["faults"]:
        structlog.get_logger().warning("rows are listed without scores, for they break an invariant", **fault)


def known_plays(job: Job) -> Plays:
    """The library of the settings, with the effects measured so far."""
    library, measured = playbook_library.library(job), playbook_library.measured(job)
    if strange := sorted(set(measured) - {*library.plays, ANY}):
        structlog.get_logger().warning("measured plays that are not in the library", plays=strange)
    return Plays(library, in_force(library, measured), job.settings.folds.decided_days)


def told_plays(plays: Plays) -> dict[str, Any]:
    """Every play as it stands in the library, its effect that in force, and on how many observations that stands."""
    return {
        key: play.model_dump(mode="json")
        | {"effect": plays.effects[key].log_odds, "treated": plays.effects[key].treated}
        for key, play in plays.library.plays.items()
    }


def read_observations(side: Path) -> tuple[pd.DataFrame, FeatureBlocks]:
    """The observations in the order of their figures, and the figures; both one row per observation."""
    spine, path = _read(side / SPINE), side / SCORING
    keys = _read(path, list(KEY))
    try:
        rows = keys.assign(_row=np.arange(len(keys))).merge(spine, on=list(KEY), validate="one_to_one")
    except pd.errors.MergeError as error:
        raise InternalError(f"{side}: {SPINE} or {SCORING} lists an observation twice: {error}") from error
    if len(rows) < len(spine):
        raise InputMissing(f"{path} lacks observations of the spine: run `assemble` again")
    return rows.drop(columns="_row"), FeatureBlocks(path, rows["_row"].to_numpy(np.int64))


def schema_hash(catalogue: Sequence[reasons.Words]) -> str:
    """One fingerprint for the names and kinds of all features."""
    names = sorted((str(f["name"]), str(f.get("kind", "number"))) for f in catalogue)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def unseen(champion: Champion, figures: FeatureBlocks) -> dict[str, int]:
    """How many accounts have a category that the model never met, and so takes for unknown, per feature."""
    counts, there = {}, figures.names
    for name, known in champion.learned.schema.categories.items():
        met = figures.column(name).dropna().astype(str) if name in there else pd.Series(dtype=str)
        counts[name] = int((~met.isin(known)).sum())
    strange = {name: count for name, count in counts.items() if count}
    if strange:
        structlog.get_logger().warning("categories the model never met", **strange)
    return strange


def scored(
    observations: pd.DataFrame,
    figures: FeatureBlocks,
    catalogue: Sequence[reasons.Words],
    champions: Mapping[str, Champion],
    options: ListOptions,
    keep: Keep,
    plays: Plays,
    threads: int = 1,
) -> Scored:
    """The list of these observations; one row per observation. Their contributions go to `keep`.

    Accounts with too little history, unlike any in training, or at fault are listed without scores. Raises
    DataContract where the features are not those a model was trained on, BrokenListError where too many rows are at
    fault. The number of threads changes no byte.
    """
    observations = observations.assign(status=worklist.status(observations["account_age"], options.min_history_days))
    is_known = observations["status"].eq(worklist.SCORED).to_numpy()
    observations = row_checks.set_aside(observations)
    known, figures = observations[is_known], figures.of(is_known)
    names = set(figures.names)
    there = [name for name in champions[RENEWAL].learned.schema.names if name in names]
    peers = reasons.peers_of(Columns(figures, there), known["size_band"], known["stage"], options.peers_min)
    words = reasons.tellable(catalogue, there)
    keyed = known[list(KEY)].assign(**{GROUP: peers.figures.index.to_numpy()[peers.group]})

    def judged(rows: slice, values: pd.DataFrame) -> tuple[pd.DataFrame, reasons.Chosen, pd.DataFrame]:
        chances, pushes = _spoken(champions, values, options.confidence)
        group = peers.group[rows]
        chosen = reasons.chosen(pushes, values, words, peers.figures, group, options.language, options.reason_share)
        own = keyed.iloc[rows].reset_index(drop=True)
        return chances, chosen, pd.concat([own, pushes.astype(np.float32)], axis=1)

    chances, choices = [], []
    for chance, choice, pushes in in_order(judged, figures.blocks(_needed(champions)), threads):
        chances.append(chance)
        choices.append(choice)
        keep(pushes)
    told = reasons.worded(
        reasons.together(choices), figures.column, words, peers, Words(options.language).phrases()
    ).set_axis(known.index)
    probabilities = pd.concat(chances).set_axis(known.index)
    observations = _with_standing(observations, probabilities, catalogue, options)
    models = {target: str(one) for target, one in champions.items()}
    by_feature = told
    probabilities, told = probabilities.reindex(observations.index), told.reindex(observations.index)
    able = probabilities.where(observations["status"].eq(worklist.SCORED))
    prescribed = expected_value.prescribed(observations, able, told, plays, options.expansion_high)
    named = risk_list.playbooks(prescribed, plays.library, options.language)
    listed, reasons_, faulty = risk_list.risk_list(observations, probabilities, told, named, models, options)
    by_id = _by_id(observations, prescribed, plays.library, listed)
    return Scored(listed, reasons_, faulty, peers.figures, by_id, _strengths(listed, keyed, by_feature))


def _with_standing(
    observations: pd.DataFrame, probabilities: pd.DataFrame, catalogue: Sequence[reasons.Words], options: ListOptions
) -> pd.DataFrame:
    """The observations, those set aside whose figures are infinite, or unlike any in training; one row per row given.

    `probabilities` has one row per observation that a model spoke of.
    """
    families = {str(feature["name"]): str(feature["family"]) for feature in catalogue}
    endless, strangeness = (probabilities[name].reindex(observations.index) for name in (ENDLESS, STRANGENESS))
    why = endless.map(lambda name: row_checks.Fault(name, "figure", family=families.get(name, "")), na_action="ignore")
    if row_checks.FAULT in observations:
        why = observations[row_checks.FAULT].where(observations[row_checks.FAULT].notna(), why)
    status = observations["status"].mask(strangeness > options.unlike_above, worklist.UNLIKE_TRAINING)
    return observations.assign(**{row_checks.FAULT: why, "status": status.mask(why.notna(), worklist.NOT_SCORED)})


def _by_id(
    observations: pd.DataFrame, prescribed: pd.DataFrame, library: Library, listed: pd.DataFrame
) -> pd.DataFrame:
    """The plays by their ids, none for an account that the list does not score; one row per observation."""
    scored = listed.loc[listed["status"].eq(worklist.SCORED), "account_id"]
    ids = np.array([*library.plays, None], object)
    named = {name: ids[prescribed[name].to_numpy()] for name in (*expected_value.PLAYS, "best")}
    own = prescribed.assign(**named).where(observations["account_id"].isin(scored), None)
    return pd.concat(
        [observations[list(KEY)], own.astype(dict.fromkeys(("gain", "hours", "worth"), "float64"))], axis=1
    )


def _strengths(listed: pd.DataFrame, keyed: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """The features behind the strengths, one row per row of the list; empty where it is not scored."""
    names = [f"strength_{k}_feature" for k in range(1, reasons.STRENGTHS + 1)]
    place = pd.Index(keyed["account_id"]).get_indexer(pd.Index(listed["account_id"]))
    own = told[names].astype("string").reset_index(drop=True).reindex(place)
    return listed[["account_id"]].join(own.set_axis(listed.index))


def _spoken(
    champions: Mapping[str, Champion], figures: pd.DataFrame, confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What every champion says of a block: the probabilities, the interval about renewal's, how strange the account is
    and which of its figures is infinite, if any; and what each feature adds to renewal's margin. Both one row per row
    given."""
    figures, endless = bounded(figures)
    said: dict[str, Any] = {ENDLESS: endless}
    pushes = pd.DataFrame()
    for target, champion in champions.items():
        try:
            if target == RENEWAL:
                said[target], pushes, said[STRANGENESS] = champion.learned.spoken(figures)
            else:
                said[target] = champion.learned.probability(figures)
        except (ValueError, KeyError) as error:
            raise DataContract(
                f"the features do not fit the model of {target}, {champion}: {error}. Give the tables that it learned "
                f"from, or learn from these and let that version serve (`renewals promote {target} --version N`)"
            ) from error
    said[LOW], said[HIGH] = champions[RENEWAL].learned.interval(said[RENEWAL], confidence)
    return pd.DataFrame(said, index=figures.index), pushes


def _needed(champions: Mapping[str, Champion]) -> list[str]:
    """Every feature that some model was trained on."""
    return list(dict.fromkeys(name for own in champions.values() for name in own.learned.schema.names))


def in_order(work: Callable[..., Made], given: Iterable[tuple[Any, ...]], threads: int) -> Iterator[Made]:
    """What comes of each, in order; a few at a time, so that no more of them live at once."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        for one in given:
            waiting.append(pool.submit(work, *one))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def kept(path: Path) -> Iterator[Keep]:
    """A file of contributions that blocks can be added to; it appears whole or not at all.

    Single precision is enough to look at. Contributions are all different: neither a dictionary nor packing saves.
    """
    writer: pq.ParquetWriter | None = None

    def keep(block: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(block, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(unfinished, table.schema, compression="snappy", use_dictionary=[*KEY, GROUP])
        writer.write_table(table.cast(writer.schema))

    with atomic.beside(path) as unfinished:
        try:
            yield keep
        finally:
            if writer is not None:
                writer.close()


def _parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.to_parquet(sink)
    return sink.getvalue()


if __name__ == "__main__":
    main(score)
