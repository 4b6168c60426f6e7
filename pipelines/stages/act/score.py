"""Score all customers of the act date: probabilities, reasons and rank; the list is not published yet.

The feature table is never loaded completely: a million accounts with 240 features are 2 GB. Peer statistics are
computed feature by feature, probabilities and contributions block by block, and sentences feature by feature.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import structlog

from renewals.features.family import RENEWAL_KEY
from renewals.models.explanation import reasons
from renewals.models.ranking import expected_value, health, worklist
from renewals.models.ranking.expected_value import AvailablePlaybooks
from renewals.models.ranking.playbooks import ANY_PLAYBOOK, PlaybookLibrary, combine_effects
from renewals.models.settings import RENEWAL, HealthSettings
from renewals.pipelines.runtime import json_values
from renewals.pipelines.runtime.errors import InternalError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.scoring import challenger, drift, missing_model, score_change, what_if_grid
from renewals.pipelines.scoring.champion_models import Champion, load_champions
from renewals.pipelines.scoring.feature_policy import changed_parameters, feature_policy
from renewals.pipelines.scoring.predictions import (
    INFINITE_FEATURE,
    BlockWriter,
    contributions_writer,
    join_predictions,
    predict_and_explain,
    predict_other_targets,
)
from renewals.pipelines.storage import artifacts, notices, old_names, playbook_library
from renewals.pipelines.storage.artifacts import (
    CONTRIBUTIONS,
    LIST,
    NOT_SCORED_REASONS,
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
from renewals.reports.row_checks import OUT_OF_RANGE_SHARE, BrokenListError
from renewals.reports.settings import ListOptions

STEP = Step(after="assemble", commands=("score",))


@dataclass(frozen=True)
class ScoringResult:
    """The scored list and the tables behind it."""

    listed: pd.DataFrame
    """The risk list."""
    unscored_reasons: pd.DataFrame
    """Reason for a missing score in every language; one row per account without a score."""
    row_faults: dict[str, Any]
    """Number of rows that break an invariant of the list, with the count and one account for each fault."""
    peers: pd.DataFrame
    """Typical value of each feature; one row per peer group."""
    playbooks: pd.DataFrame
    """Playbook ids and the value of the best playbook; one row per observation, with its key."""
    strengths: pd.DataFrame
    """Feature of each strength; one row per account, in the order of the list."""


REMADE_FILES = (
    *(PRESCRIBED_PLAYBOOKS, PEER_MEDIANS, STRENGTH_FEATURES, NOT_SCORED_REASONS, WHAT_IF_GRID),
    *(artifacts.SCORE_CHANGES, artifacts.CHALLENGER_SCORES),
)
"""Files of this stage that had other names in earlier releases."""


def score(job: Job) -> dict[str, Any]:
    """Score, explain and rank the accounts of the act date; write the list and its tables, return the summary.

    Raises InternalError if the list breaks its contract as a whole or in too many rows.
    """
    started = datetime.now(UTC)
    champions, without_model = load_champions(job)
    trained = {target: TrainedVersion(champion.version, champion.until) for target, champion in champions.items()}
    hindsight = check_hindsight(job, trained)
    alert_summary = artifacts.read_alerts_summary(job)
    observations, features = read_observations(job.folder)
    observations["alerts"] = risk_list.alert_codes(observations["account_id"], artifacts.read_alerts(job))
    catalogue = read_catalogue(job.folder)
    options, threads, playbooks = job.settings.list, job.settings.engine.threads, load_playbooks(job)
    with _translate_list_errors(job), contributions_writer(job.folder / CONTRIBUTIONS) as write_block:
        outcome = score_accounts(observations, features, catalogue, champions, options, write_block, playbooks, threads)
    champion = champions.get(RENEWAL)
    listed, change_summary = score_change.add_score_changes(job, outcome.listed, catalogue, champion)
    _log_row_faults(outcome)
    atomic.write_bytes(job.folder / LIST, risk_list.to_parquet(listed))
    atomic.write_bytes(job.folder / PEER_MEDIANS, _as_parquet(outcome.peers.infer_objects()))
    atomic.write_bytes(job.folder / PRESCRIBED_PLAYBOOKS, _as_parquet(outcome.playbooks))
    atomic.write_bytes(job.folder / STRENGTH_FEATURES, _as_parquet(outcome.strengths))
    atomic.write_bytes(job.folder / NOT_SCORED_REASONS, _as_parquet(outcome.unscored_reasons))
    model = champion.model if champion else None
    grid = what_if_grid.what_if_table(job.folder, listed, catalogue, model, options, threads)
    atomic.write_bytes(job.folder / WHAT_IF_GRID, _as_parquet(grid))
    drift_report = drift.drift_report(job, listed, catalogue, champion.reference if champion else None)
    summary = {
        "as_of": job.day.isoformat(),
        "models": {
            target: {"name": c.name, "version": c.version, "trained_until": c.until and c.until.isoformat()}
            for target, c in champions.items()
        },
        HINDSIGHT_KEY: hindsight,
        "targets_without_model": without_model,
        "missing_families": [
            name for name in job.settings.families if name not in {feature["family"] for feature in catalogue}
        ],
        "features_sha256": schema_hash(catalogue),
        "unknown_categories": unseen_categories(champion, features) if champion else {},
        "rows": risk_list.count_rows(outcome.listed),
        "invalid_rows": outcome.row_faults,
        "playbooks": playbook_summary(playbooks),
        "what_if_features": grid["feature"].unique().tolist(),
        "alerts": alert_summary,
        "score_change": change_summary,
        "drift": drift_report,
        artifacts.HISTORY: list(champion.history if champion else ()),
        "notices": notices.add_texts(collect_notices(job, trained.values(), drift_report, champion)),
        "challengers": challenger.score_challengers(
            job, outcome.listed, observations, features, playbooks, {t: str(c) for t, c in champions.items()}
        ),
        "started_at": started.isoformat(timespec="seconds"),
    }
    atomic.write_bytes(
        job.folder / SCORE_SUMMARY, json.dumps(json_values.nan_to_null(summary), indent=1, ensure_ascii=False).encode()
    )
    old_names.remove_old_versions(job.folder, REMADE_FILES)
    return summary


def collect_notices(
    job: Job, trained: Iterable[TrainedVersion], drift_report: Mapping[str, Any], champion: Champion | None
) -> list[Notice]:
    """Notices for the readers of the list: about a missing model, hindsight, the tables (age, checks) and drift."""
    parameters = champion.parameters if champion else None
    changed = changed_parameters(parameters, feature_policy(job.settings)) if parameters else []
    check_notices = notices.load_notices(job.data / artifacts.VALIDATION_REPORT, "check")
    return [
        *([] if champion else [missing_model.missing_model_notice(job)]),
        *hindsight_notices(job, trained),
        *freshness_notices(job),
        *check_notices,
        *drift.drift_notices(drift_report, changed),
    ]


def hindsight_notices(job: Job, models: Iterable[TrainedVersion]) -> list[Notice]:
    """Notice that a model was trained with data from after the day of the list; empty if none was."""
    later = [model.until for model in models if model.until is not None and model.until > job.day]
    days = {"as_of_day": job.day.isoformat(), "training_day": max(later, default=job.day).isoformat()}
    return [Notice(HINDSIGHT_KEY, days)] if later else []


@contextmanager
def _translate_list_errors(job: Job) -> Iterator[None]:
    """Raise InternalError, with advice, if the list breaks its contract."""
    try:
        yield
    except BrokenListError as error:
        raise InternalError(
            f"the list of {job.day} is not published: {error}. Look for what these accounts have in common in the "
            "tables; if nothing is wrong there, this is a fault of the software and should be reported"
        ) from error


def _log_row_faults(result: ScoringResult) -> None:
    """Log one line per kind of row fault; it contains ids and counts but no other data of an account."""
    for fault in result.row_faults["faults"]:
        structlog.get_logger().warning("rows failed a check and are listed without a score", **fault)


def load_playbooks(job: Job) -> AvailablePlaybooks:
    """Load the playbook library with the effects measured so far; log measured playbooks that are not in it."""
    library, measured = playbook_library.load_library(job), playbook_library.load_measured_effects(job)
    if unknown := sorted(set(measured) - {*library.plays, ANY_PLAYBOOK}):
        structlog.get_logger().warning("playbooks with a measured effect that are not in the library", plays=unknown)
    return AvailablePlaybooks(library, combine_effects(library, measured), job.settings.folds.decided_days)


def playbook_summary(playbooks: AvailablePlaybooks) -> dict[str, Any]:
    """Every playbook of the library with the effect that is used and the number of treated observations behind it."""
    return {
        key: play.model_dump(mode="json")
        | {"log_odds_effect": playbooks.effects[key].log_odds, "treated": playbooks.effects[key].treated_rows}
        for key, play in playbooks.library.plays.items()
    }


def read_observations(folder: Path) -> tuple[pd.DataFrame, FeatureBlocks]:
    """Read the observations and their features; both have one row per observation, in the order of the features
    file.

    `arr` is what falls due in the row, and all that runs where nothing does.
    """
    spine, path = read_stage_frame(folder / SPINE), folder / SCORING
    keys = read_stage_frame(path, list(RENEWAL_KEY))
    try:
        rows = keys.assign(_row=np.arange(len(keys))).merge(spine, on=list(RENEWAL_KEY), validate="one_to_one")
    except pd.errors.MergeError as error:
        raise InternalError(
            f"{folder}: duplicate observation ({', '.join(RENEWAL_KEY)}) in {SPINE} or {SCORING}: {error}"
        ) from error
    if len(rows) < len(spine):
        raise MissingInputError(f"{path} has fewer observations than {SPINE}: run `renewals score` again")
    blocks = FeatureBlocks(path, rows["_row"].to_numpy(np.int64))
    return rows.drop(columns="_row").rename(columns={"arr_due": "arr"}), blocks


def schema_hash(catalogue: Sequence[reasons.FeatureMeta]) -> str:
    """SHA-256 of the names and kinds of all features."""
    names = sorted((str(feature["name"]), str(feature.get("kind", "number"))) for feature in catalogue)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def unseen_categories(champion: Champion, features: FeatureBlocks) -> dict[str, int]:
    """Number of accounts with a category unknown to the model, by feature; the model treats it as missing. Logs
    them."""
    counts, present = {}, features.names
    for name, categories in champion.model.schema.categories.items():
        values = features.column(name).dropna().astype(str) if name in present else pd.Series(dtype=str)
        counts[name] = int((~values.isin(categories)).sum())
    unseen = {name: count for name, count in counts.items() if count}
    if unseen:
        structlog.get_logger().warning("unknown categories", **unseen)
    return unseen


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
    """Score these observations and build the list; one row per observation. Contributions go to `write_block`.

    Renewals that are decided, customers of whom nothing is due, and rows with too little history, unlike all training
    data, or with invalid values are listed without renewal scores. The other targets are predicted once an account.
    Raises DataContractError if the features do not fit a model, BrokenListError if too many rows are invalid.
    The result does not depend on the number of threads.
    """
    has_model = RENEWAL in champions
    observations = observations.assign(status=worklist.row_status(observations, options.min_history_days, has_model))
    observations = add_health(observations, features, options.health)
    is_scored = observations["status"].eq(worklist.SCORED).to_numpy()
    checked = row_checks.mark_invalid_rows(observations)
    probabilities, reason_rows, peers, keyed = predict_and_explain(
        checked[is_scored],
        features.select(is_scored),
        catalogue,
        champions.get(RENEWAL),
        options,
        write_block,
        threads,
    )
    others = predict_other_targets(observations, features, champions, options, threads)
    observations = checked
    probabilities, texts = join_predictions(probabilities, others), reason_rows.reindex(observations.index)
    observations = _set_status(observations, probabilities, catalogue, options)
    model_names = {target: str(champion) for target, champion in champions.items()}
    scored = probabilities.where(observations["status"].eq(worklist.SCORED))
    prescribed = expected_value.prescribe_playbooks(observations, scored, texts, playbooks, options.expansion_threshold)
    playbook_names = risk_list.name_playbooks(prescribed, playbooks.library, options.language)
    listed, unscored_reasons, row_faults = risk_list.build_risk_list(
        observations, probabilities, texts, playbook_names, model_names, options
    )
    playbook_ids = _playbook_ids(observations, prescribed, playbooks.library, listed)
    return ScoringResult(
        listed,
        unscored_reasons,
        row_faults,
        peers.typical_values,
        playbook_ids,
        _strength_features(listed, keyed, reason_rows),
    )


def add_health(observations: pd.DataFrame, features: FeatureBlocks, settings: HealthSettings) -> pd.DataFrame:
    """Add `health` in words and `unscored_worth`, the ARR due times what is missing to full health; one row per row."""
    names = [name for name in settings.features if name in features.names]
    values = pd.DataFrame({name: features.column(name).to_numpy() for name in names}, index=observations.index)
    points = health.health_points(values, settings)
    worth = health.missing_health_arr(observations["arr"], points)
    return observations.assign(health=health.health_words(points, settings), unscored_worth=worth)


def _set_status(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    catalogue: Sequence[reasons.FeatureMeta],
    options: ListOptions,
) -> pd.DataFrame:
    """Set the status of observations with infinite features or unlike all training data; one row per observation.

    `probabilities` has one row per observation that was predicted.
    """
    families = {str(feature["name"]): str(feature["family"]) for feature in catalogue}
    infinite_feature, out_of_range_share = (
        probabilities[name].reindex(observations.index) for name in (INFINITE_FEATURE, OUT_OF_RANGE_SHARE)
    )
    fault = infinite_feature.map(
        lambda name: row_checks.Fault(name, "figure", family=families.get(name, "")), na_action="ignore"
    )
    if row_checks.FAULT_COLUMN in observations:
        fault = observations[row_checks.FAULT_COLUMN].where(observations[row_checks.FAULT_COLUMN].notna(), fault)
    status = observations["status"].mask(out_of_range_share > options.max_out_of_range_share, worklist.UNLIKE_TRAINING)
    return observations.assign(
        **{row_checks.FAULT_COLUMN: fault, "status": status.mask(fault.notna(), worklist.NOT_SCORED)}
    )


def _playbook_ids(
    observations: pd.DataFrame, prescribed: pd.DataFrame, library: PlaybookLibrary, listed: pd.DataFrame
) -> pd.DataFrame:
    """Playbooks by their ids, None for accounts that the list does not score; one row per observation."""
    scored = listed.loc[listed["status"].eq(worklist.SCORED), "renewal_id"]
    ids = np.array([*library.plays, None], object)
    by_column = {name: ids[prescribed[name].to_numpy()] for name in (*expected_value.PLAY_COLUMNS, "best")}
    with_ids = prescribed.assign(**by_column).where(observations["renewal_id"].isin(scored), None)
    return pd.concat(
        [
            observations[list(RENEWAL_KEY)],
            with_ids.astype(dict.fromkeys(("expected_gain", "hours", "gain_per_hour"), "float64")),
        ],
        axis=1,
    )


def _strength_features(listed: pd.DataFrame, keys: pd.DataFrame, reason_rows: pd.DataFrame) -> pd.DataFrame:
    """Features behind the strengths; one row per row of the list, missing for rows without predictions."""
    names = [f"strength_{k}_feature" for k in range(1, reasons.STRENGTH_COUNT + 1)]
    position = pd.Index(keys["renewal_id"]).get_indexer(pd.Index(listed["renewal_id"]))
    features = reason_rows[names].astype("string").reset_index(drop=True).reindex(position)
    return listed[["account_id", "renewal_id"]].join(features.set_axis(listed.index))


def _as_parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.to_parquet(sink)
    return sink.getvalue()


if __name__ == "__main__":
    main(score)
