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
from renewals.models.explanation import reasons
from renewals.models.ranking import expected_value, worklist
from renewals.models.ranking.expected_value import AvailablePlaybooks
from renewals.models.ranking.playbooks import ANY_PLAYBOOK, PlaybookLibrary, combine_effects
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import mask_infinite
from renewals.pipelines.runtime import json_values
from renewals.pipelines.runtime.errors import DataContractError, InternalError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.scoring import challenger, drift, score_change, what_if_grid
from renewals.pipelines.scoring.champion_models import Champion, load_champions
from renewals.pipelines.scoring.feature_policy import Parameters, changed_parameters, feature_policy
from renewals.pipelines.storage import artifacts, notices, old_names, playbook_library
from renewals.pipelines.storage.artifacts import (
    CONTRIBUTIONS,
    LIST,
    NOT_SCORED_REASONS,
    PEER_GROUP,
    PEER_MEDIANS,
    PRESCRIBED_PLAYBOOKS,
    SCORE_SUMMARY,
    SCORING,
    SPINE,
    STRENGTH_FEATURES,
    WHAT_IF_GRID,
    read_catalogue,
)
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.features_file import FeatureBlocks
from renewals.pipelines.storage.notices import Notice, freshness_notices
from renewals.pipelines.storage.published.hindsight import HINDSIGHT_KEY, TrainedVersion, check_hindsight
from renewals.pipelines.storage.scored_list import read_stage_frame
from renewals.reports import risk_list, row_checks
from renewals.reports.columns import RENEWAL_HIGH, RENEWAL_LOW
from renewals.reports.row_checks import OUT_OF_RANGE_SHARE, BrokenListError
from renewals.reports.settings import ListOptions
from renewals.reports.words import Messages

STEP = Step(after="assemble", commands=("score",))

INFINITE_FEATURE = "endless"
"""The column beside the probabilities that names the first figure of an account that is infinite."""


@dataclass(frozen=True)
class ColumnReader:
    """Some columns of the figures, one at a time."""

    features: FeatureBlocks
    names: Sequence[str]

    def items(self) -> Iterator[tuple[Hashable, pd.Series]]:
        """Each column with its name."""
        return ((name, self.features.column(name)) for name in self.names)


@dataclass(frozen=True)
class ScoringResult:
    """A list and what stands behind it."""

    listed: pd.DataFrame
    """The risk list."""
    unscored_reasons: pd.DataFrame
    """Why an account has no score, in every language; one row per account without one."""
    row_faults: dict[str, Any]
    """How many rows break an invariant of the list, and of each fault how many and one account."""
    peers: pd.DataFrame
    """One row per group of peers: the usual figure of each feature."""
    playbooks: pd.DataFrame
    """One row per observation: its key, the ids of its plays, and what the best is worth."""
    strengths: pd.DataFrame
    """One row per account of the list, in its order: the feature that each strength speaks of."""


REMADE_FILES = (
    *(PRESCRIBED_PLAYBOOKS, PEER_MEDIANS, STRENGTH_FEATURES, NOT_SCORED_REASONS, WHAT_IF_GRID),
    *(artifacts.SCORE_CHANGES, artifacts.CHALLENGER_SCORES),
)
"""What this stage writes that had another name."""

Result = TypeVar("Result")
BlockWriter = Callable[[pd.DataFrame], None]
"""Takes the contributions, block by block; one row per scored account: its key, its group of peers, and what each
feature adds to the margin."""


def score(job: Job) -> dict[str, Any]:
    """Score, explain and rank the accounts of the act date.

    Raises InternalError where the list breaks its contract as a whole, or in too many rows.
    """
    started = datetime.now(UTC)
    champions, absent = load_champions(job)
    trained = {target: TrainedVersion(own.version, own.until) for target, own in champions.items()}
    hindsight = check_hindsight(job, trained)
    warned = artifacts.read_summary(job)
    observations, figures = read_observations(job.folder)
    observations["alerts"] = risk_list.alert_codes(observations["account_id"], artifacts.read_alerts(job))
    catalogue = read_catalogue(job.folder)
    options, threads, plays = job.settings.list, job.settings.engine.threads, load_playbooks(job)
    with _translate_list_errors(job), contributions_writer(job.folder / CONTRIBUTIONS) as keep:
        outcome = score_accounts(observations, figures, catalogue, champions, options, keep, plays, threads)
    own = champions[RENEWAL]
    listed, changed = score_change.add_score_changes(job, outcome.listed, catalogue, own.name, own.version, own.model)
    _log_row_faults(outcome)
    atomic.write_bytes(job.folder / LIST, risk_list.to_parquet(listed))
    atomic.write_bytes(job.folder / PEER_MEDIANS, _as_parquet(outcome.peers.infer_objects()))
    atomic.write_bytes(job.folder / PRESCRIBED_PLAYBOOKS, _as_parquet(outcome.playbooks))
    atomic.write_bytes(job.folder / STRENGTH_FEATURES, _as_parquet(outcome.strengths))
    atomic.write_bytes(job.folder / NOT_SCORED_REASONS, _as_parquet(outcome.unscored_reasons))
    tried = what_if_grid.what_if_table(job.folder, listed, catalogue, own.model, options, threads)
    atomic.write_bytes(job.folder / WHAT_IF_GRID, _as_parquet(tried))
    drifted = drift.drift_report(job, listed, catalogue, own.reference)
    standing = {
        "as_of": job.day.isoformat(),
        "models": {
            target: {"name": c.name, "version": c.version, "trained_until": c.until and c.until.isoformat()}
            for target, c in champions.items()
        },
        HINDSIGHT_KEY: hindsight,
        "targets_without_model": absent,
        "missing_families": [
            name for name in job.settings.families if name not in {feature["family"] for feature in catalogue}
        ],
        "features_sha256": schema_hash(catalogue),
        "unknown_categories": unseen_categories(champions[RENEWAL], figures),
        "rows": risk_list.count_rows(outcome.listed),
        "invalid_rows": outcome.row_faults,
        "playbooks": playbook_summary(plays),
        "what_if_features": tried["feature"].unique().tolist(),
        "alerts": warned,
        "score_change": changed,
        "drift": drifted,
        "notices": notices.add_texts(collect_notices(job, trained.values(), drifted, own.parameters)),
        "challengers": challenger.score_challengers(
            job, outcome.listed, observations, figures, plays, {t: str(c) for t, c in champions.items()}
        ),
        "started_at": started.isoformat(timespec="seconds"),
    }
    atomic.write_bytes(
        job.folder / SCORE_SUMMARY, json.dumps(json_values.nan_to_null(standing), indent=1, ensure_ascii=False).encode()
    )
    old_names.remove_remade(job.folder, REMADE_FILES)
    return standing


def collect_notices(
    job: Job, trained: Iterable[TrainedVersion], drift_report: Mapping[str, Any], trained_parameters: Parameters | None
) -> list[Notice]:
    """Everything to be known before this list is read: of hindsight, of the tables, and of drift."""
    changed = changed_parameters(trained_parameters, feature_policy(job.settings)) if trained_parameters else []
    certified = notices.load_notices(job.data / artifacts.VALIDATION_REPORT, "check")
    return [
        *hindsight_notices(job, trained),
        *freshness_notices(job),
        *certified,
        *drift.drift_notices(drift_report, changed),
    ]


def hindsight_notices(job: Job, models: Iterable[TrainedVersion]) -> list[Notice]:
    """One notice where a model learned after the day of the list."""
    later = [own.until for own in models if own.until is not None and own.until > job.day]
    days = {"as_of_day": job.day.isoformat(), "training_day": max(later, default=job.day).isoformat()}
    return [Notice(HINDSIGHT_KEY, days)] if later else []


@contextmanager
def _translate_list_errors(job: Job) -> Iterator[None]:
    """A list that breaks its contract stops the run. Raises InternalError."""
    try:
        yield
    except BrokenListError as error:
        raise InternalError(
            f"the list of {job.day} is not published: {error}. Look for what these accounts have in common in the "
            "tables; if nothing is wrong there, this is a fault of the software and should be reported"
        ) from error


def _log_row_faults(result: ScoringResult) -> None:
    """One line in the log for each fault of rows; ids and counts, and nothing else of an account."""
    for fault in result.row_faults["faults"]:
        structlog.get_logger().warning("rows failed a check and are listed without a score", **fault)


def load_playbooks(job: Job) -> AvailablePlaybooks:
    """The library of the settings, with the effects measured so far."""
    library, measured = playbook_library.load_library(job), playbook_library.load_measured_effects(job)
    if strange := sorted(set(measured) - {*library.plays, ANY_PLAYBOOK}):
        structlog.get_logger().warning("playbooks with a measured effect that are not in the library", plays=strange)
    return AvailablePlaybooks(library, combine_effects(library, measured), job.settings.folds.decided_days)


def playbook_summary(playbooks: AvailablePlaybooks) -> dict[str, Any]:
    """Every play as it stands in the library, its effect that in force, and on how many observations that stands."""
    return {
        key: play.model_dump(mode="json")
        | {"log_odds_effect": playbooks.effects[key].log_odds, "treated": playbooks.effects[key].treated_rows}
        for key, play in playbooks.library.plays.items()
    }


def read_observations(folder: Path) -> tuple[pd.DataFrame, FeatureBlocks]:
    """The observations in the order of their figures, and the figures; both one row per observation."""
    spine, path = read_stage_frame(folder / SPINE), folder / SCORING
    keys = read_stage_frame(path, list(KEY))
    try:
        rows = keys.assign(_row=np.arange(len(keys))).merge(spine, on=list(KEY), validate="one_to_one")
    except pd.errors.MergeError as error:
        raise InternalError(
            f"{folder}: duplicate observation (account_id, as_of) in {SPINE} or {SCORING}: {error}"
        ) from error
    if len(rows) < len(spine):
        raise MissingInputError(f"{path} has fewer observations than {SPINE}: run `renewals score` again")
    return rows.drop(columns="_row"), FeatureBlocks(path, rows["_row"].to_numpy(np.int64))


def schema_hash(catalogue: Sequence[reasons.FeatureMeta]) -> str:
    """One fingerprint for the names and kinds of all features."""
    names = sorted((str(f["name"]), str(f.get("kind", "number"))) for f in catalogue)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def unseen_categories(champion: Champion, features: FeatureBlocks) -> dict[str, int]:
    """How many accounts have a category that the model never met, and so takes for unknown, per feature."""
    counts, there = {}, features.names
    for name, known in champion.model.schema.categories.items():
        met = features.column(name).dropna().astype(str) if name in there else pd.Series(dtype=str)
        counts[name] = int((~met.isin(known)).sum())
    strange = {name: count for name, count in counts.items() if count}
    if strange:
        structlog.get_logger().warning("unknown categories", **strange)
    return strange


def score_accounts(
    observations: pd.DataFrame,
    features: FeatureBlocks,
    catalogue: Sequence[reasons.FeatureMeta],
    champions: Mapping[str, Champion],
    options: ListOptions,
    write_block: BlockWriter,
    playbooks: AvailablePlaybooks,
    threads: int = 1,
) -> ScoringResult:
    """The list of these observations; one row per observation. Their contributions go to `write_block`.

    Accounts with too little history, unlike any in training, or at fault are listed without scores. Raises
    DataContractError where the features are not those a model was trained on, BrokenListError where too many rows are
    at fault. The number of threads changes no byte.
    """
    observations = observations.assign(
        status=worklist.score_status(observations["account_age"], options.min_history_days)
    )
    is_known = observations["status"].eq(worklist.SCORED).to_numpy()
    observations = row_checks.mark_invalid_rows(observations)
    known, features = observations[is_known], features.select(is_known)
    names = set(features.names)
    there = [name for name in champions[RENEWAL].model.schema.names if name in names]
    peers = reasons.peer_statistics(
        ColumnReader(features, there), known["size_band"], known["stage"], options.min_peers
    )
    words = reasons.features_with_sentences(catalogue, there)
    keyed = known[list(KEY)].assign(**{PEER_GROUP: peers.typical_values.index.to_numpy()[peers.group]})

    def judged(rows: slice, values: pd.DataFrame) -> tuple[pd.DataFrame, reasons.SelectedReasons, pd.DataFrame]:
        chances, pushes = _predict_block(champions, values, options.confidence)
        group = peers.group[rows]
        chosen = reasons.select_reasons(
            pushes, values, words, peers.typical_values, group, options.language, options.min_reason_share
        )
        own = keyed.iloc[rows].reset_index(drop=True)
        return chances, chosen, pd.concat([own, pushes.astype(np.float32)], axis=1)

    chances, choices = [], []
    for chance, choice, pushes in map_in_order(judged, features.blocks(_required_features(champions)), threads):
        chances.append(chance)
        choices.append(choice)
        write_block(pushes)
    told = reasons.render_reasons(
        reasons.concatenate_reasons(choices), features.column, words, peers, Messages(options.language).phrases()
    ).set_axis(known.index)
    probabilities = pd.concat(chances).set_axis(known.index)
    observations = _set_status(observations, probabilities, catalogue, options)
    models = {target: str(one) for target, one in champions.items()}
    by_feature = told
    probabilities, told = probabilities.reindex(observations.index), told.reindex(observations.index)
    able = probabilities.where(observations["status"].eq(worklist.SCORED))
    prescribed = expected_value.prescribe_playbooks(observations, able, told, playbooks, options.expansion_threshold)
    named = risk_list.name_playbooks(prescribed, playbooks.library, options.language)
    listed, reasons_, faulty = risk_list.build_risk_list(observations, probabilities, told, named, models, options)
    by_id = _playbook_ids(observations, prescribed, playbooks.library, listed)
    return ScoringResult(
        listed, reasons_, faulty, peers.typical_values, by_id, _strength_features(listed, keyed, by_feature)
    )


def _set_status(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    catalogue: Sequence[reasons.FeatureMeta],
    options: ListOptions,
) -> pd.DataFrame:
    """The observations, those set aside whose figures are infinite, or unlike any in training; one row per row given.

    `probabilities` has one row per observation that a model spoke of.
    """
    families = {str(feature["name"]): str(feature["family"]) for feature in catalogue}
    endless, strangeness = (
        probabilities[name].reindex(observations.index) for name in (INFINITE_FEATURE, OUT_OF_RANGE_SHARE)
    )
    why = endless.map(lambda name: row_checks.Fault(name, "figure", family=families.get(name, "")), na_action="ignore")
    if row_checks.FAULT_COLUMN in observations:
        why = observations[row_checks.FAULT_COLUMN].where(observations[row_checks.FAULT_COLUMN].notna(), why)
    status = observations["status"].mask(strangeness > options.max_out_of_range_share, worklist.UNLIKE_TRAINING)
    return observations.assign(
        **{row_checks.FAULT_COLUMN: why, "status": status.mask(why.notna(), worklist.NOT_SCORED)}
    )


def _playbook_ids(
    observations: pd.DataFrame, prescribed: pd.DataFrame, library: PlaybookLibrary, listed: pd.DataFrame
) -> pd.DataFrame:
    """The plays by their ids, none for an account that the list does not score; one row per observation."""
    scored = listed.loc[listed["status"].eq(worklist.SCORED), "account_id"]
    ids = np.array([*library.plays, None], object)
    named = {name: ids[prescribed[name].to_numpy()] for name in (*expected_value.PLAY_COLUMNS, "best")}
    own = prescribed.assign(**named).where(observations["account_id"].isin(scored), None)
    return pd.concat(
        [observations[list(KEY)], own.astype(dict.fromkeys(("expected_gain", "hours", "gain_per_hour"), "float64"))],
        axis=1,
    )


def _strength_features(listed: pd.DataFrame, keys: pd.DataFrame, reason_rows: pd.DataFrame) -> pd.DataFrame:
    """The features behind the strengths, one row per row of the list; empty where it is not scored."""
    names = [f"strength_{k}_feature" for k in range(1, reasons.STRENGTH_COUNT + 1)]
    place = pd.Index(keys["account_id"]).get_indexer(pd.Index(listed["account_id"]))
    own = reason_rows[names].astype("string").reset_index(drop=True).reindex(place)
    return listed[["account_id"]].join(own.set_axis(listed.index))


def _predict_block(
    champions: Mapping[str, Champion], features: pd.DataFrame, confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What every champion says of a block: the probabilities, the interval about renewal's, how strange the account is
    and which of its figures is infinite, if any; and what each feature adds to renewal's margin. Both one row per row
    given."""
    features, endless = mask_infinite(features)
    said: dict[str, Any] = {INFINITE_FEATURE: endless}
    pushes = pd.DataFrame()
    for target, champion in champions.items():
        try:
            if target == RENEWAL:
                said[target], pushes, said[OUT_OF_RANGE_SHARE] = champion.model.predict_and_explain(features)
            else:
                said[target] = champion.model.probability(features)
        except (ValueError, KeyError) as error:
            raise DataContractError(
                f"the model of {target}, {champion}, needs other features: {error}. Provide the tables it was trained "
                "on, or run `renewals learn` and promote the new version "
                f"(`renewals promote {target} --version N`)"
            ) from error
    said[RENEWAL_LOW], said[RENEWAL_HIGH] = champions[RENEWAL].model.interval(said[RENEWAL], confidence)
    return pd.DataFrame(said, index=features.index), pushes


def _required_features(champions: Mapping[str, Champion]) -> list[str]:
    """Every feature that some model was trained on."""
    return list(dict.fromkeys(name for own in champions.values() for name in own.model.schema.names))


def map_in_order(work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], threads: int) -> Iterator[Result]:
    """What comes of each, in order; a few at a time, so that no more of them live at once."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for one in tasks:
            waiting.append(pool.submit(work, *one))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def contributions_writer(path: Path) -> Iterator[BlockWriter]:
    """A file of contributions that blocks can be added to; it appears whole or not at all.

    Single precision is enough to look at. Contributions are all different: neither a dictionary nor packing saves.
    """
    writer: pq.ParquetWriter | None = None

    def keep(block: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(block, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(unfinished, table.schema, compression="snappy", use_dictionary=[*KEY, PEER_GROUP])
        writer.write_table(table.cast(writer.schema))

    with atomic.atomic_path(path) as unfinished:
        try:
            yield keep
        finally:
            if writer is not None:
                writer.close()


def _as_parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.to_parquet(sink)
    return sink.getvalue()


if __name__ == "__main__":
    main(score)
