"""Every account of the act date with its probabilities, reasons and rank: the list, not yet published.

Reading and writing are here; `scored` itself is values in, values out.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import structlog

from features.catalogue import FAMILIES
from features.family import KEY
from lists import risk_list
from lists.options import ListOptions
from lists.words import Words
from models import reasons, worklist
from pipelines import shadow, trial, warehouse
from pipelines.errors import DataContract, InputMissing
from pipelines.stage import Job, main

if TYPE_CHECKING:
    from models.learner import Learned

RENEWAL = "renewal"
LIST, CONTRIBUTIONS, PEERS, SCORE = "list.parquet", "contributions.parquet", "peers.parquet", "score.json"
GROUP = "peers"
"""The column of the contributions that names the account's group of peers."""


@dataclass(frozen=True)
class Champion:
    """The model that a target's registry alias pointed to when the run began."""

    name: str
    version: str
    learned: Learned

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class Scored:
    """A list and what stands behind it."""

    listed: pd.DataFrame
    """The risk list."""
    contributions: pd.DataFrame
    """One row per scored account: its key, its group of peers, and what each feature adds to the margin."""
    peers: pd.DataFrame
    """One row per group of peers: the usual figure of each feature."""


def score(job: Job) -> dict[str, Any]:
    """Score, explain and rank the accounts of the act date."""
    started = datetime.now(UTC)
    champions, absent = resolved(job)
    observations, values = read_observations(job.side)
    catalogue = read_catalogue(job.side)
    outcome = scored(observations, values, catalogue, champions, job.settings.list)
    _write(outcome, job.side)
    standing = {
        "as_of": job.day.isoformat(),
        "models": {target: {"name": c.name, "version": c.version} for target, c in champions.items()},
        "absent": absent,
        "families_absent": [name for name in FAMILIES if name not in {feature["family"] for feature in catalogue}],
        "features": schema_hash(catalogue),
        "unseen_categories": unseen(champions[RENEWAL], values),
        "rows": risk_list.counts(outcome.listed),
        "shadow": shadow.shadowed(job, outcome.listed, observations, values, {t: str(c) for t, c in champions.items()}),
        "started_at": started.isoformat(timespec="seconds"),
    }
    warehouse.write_bytes(job.side / SCORE, json.dumps(standing, indent=1, ensure_ascii=False).encode())
    return standing


def resolved(job: Job) -> tuple[dict[str, Champion], dict[str, str]]:
    """The champion of each target, asked for once, and why another target has none.

    Raises what the registry raises where renewal has no champion, or where any model is not what was registered.
    """
    champions: dict[str, Champion] = {}
    absent: dict[str, str] = {}
    for target in dict.fromkeys((RENEWAL, *job.settings.targets)):
        try:
            champions[target] = champion(job, target)
        except InputMissing as stop:
            if target == RENEWAL:
                raise
            absent[target] = str(stop)
            structlog.get_logger().warning("target not predicted", target=target, why=str(stop))
    return champions, absent


def champion(job: Job, target: str) -> Champion:
    """The champion of one target. Raises InputMissing where there is none."""
    from pipelines import tracking

    name, version, files = tracking.champion(job, target)
    return Champion(name, version, trial.loaded(job.data, f"{name}/{version}", files))


def read_observations(side: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The observations, and the figures of every feature; both one row per observation, on one index."""
    spine, figures = _read(side / "spine.parquet"), _read(side / "scoring.parquet")
    try:
        figures = spine[list(KEY)].merge(figures, on=list(KEY), how="left", validate="one_to_one", indicator=True)
    except pd.errors.MergeError as error:
        raise DataContract(f"{side}: spine.parquet or scoring.parquet lists an observation twice: {error}") from error
    if (figures["_merge"] != "both").any():
        raise InputMissing(f"{side / 'scoring.parquet'} lacks observations of the spine: run `assemble` again")
    return spine, figures.drop(columns="_merge")


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there: run the stages before `score` for this date first") from None


def read_catalogue(side: Path) -> list[dict[str, Any]]:
    """What each feature means, as written beside the features."""
    try:
        listed: list[dict[str, Any]] = json.loads((side / "features.json").read_bytes())["features"]
    except FileNotFoundError:
        raise InputMissing(f"no features.json in {side}: run `assemble` for this date first") from None
    return listed


def schema_hash(catalogue: Sequence[reasons.Words]) -> str:
    """One fingerprint for the names and kinds of all features."""
    names = sorted((str(f["name"]), str(f.get("kind", "number"))) for f in catalogue)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def unseen(champion: Champion, figures: pd.DataFrame) -> dict[str, int]:
    """How many accounts have a category that the model never met, and so takes for unknown, per feature."""
    counts = {}
    for name, known in champion.learned.schema.categories.items():
        met = figures[name].dropna().astype(str) if name in figures.columns else pd.Series(dtype=str)
        counts[name] = int((~met.isin(known)).sum())
    strange = {name: count for name, count in counts.items() if count}
    if strange:
        structlog.get_logger().warning("categories the model never met", **strange)
    return strange


def scored(
    observations: pd.DataFrame,
    values: pd.DataFrame,
    catalogue: Sequence[reasons.Words],
    champions: Mapping[str, Champion],
    options: ListOptions,
) -> Scored:
    """The list of these observations: values in, values out; one row per observation.

    Accounts with too little history are listed without scores. Raises DataContract where the features are not
    those a model was trained on, or a probability is not one.
    """
    observations = observations.assign(status=worklist.status(observations["account_age"], options.min_history_days))
    known = observations[observations["status"] == worklist.SCORED]
    figures = values.loc[known.index]
    chances = pd.DataFrame({t: _probability(c, t, figures) for t, c in champions.items()}, index=known.index)
    contributions = _contributions(champions[RENEWAL], figures)
    named = [name for name in contributions.columns if name in values.columns]
    peers = reasons.peers_of(figures[named], known["size_band"], known["stage"], options.peers_min)
    phrases = Words(options.language).phrases()
    told = reasons.told(contributions, figures, catalogue, peers, phrases, options.reason_share)
    models = {target: str(one) for target, one in champions.items()}
    listed = risk_list.risk_list(
        observations, chances.reindex(observations.index), told.reindex(observations.index), models, options
    )
    keyed = known[list(KEY)].assign(**{GROUP: peers.figures.index.to_numpy()[peers.group]})
    return Scored(listed, pd.concat([keyed, contributions], axis=1), peers.figures)


def _probability(champion: Champion, target: str, figures: pd.DataFrame) -> pd.Series:
    try:
        probability = np.asarray(champion.learned.probability(figures), dtype=np.float64)
    except (ValueError, KeyError) as error:
        raise DataContract(f"the features do not fit the model of {target}, {champion}: {error}") from error
    if not ((probability >= 0) & (probability <= 1)).all():
        raise DataContract(f"the model of {target}, {champion}, gave something that is not a probability")
    return pd.Series(probability, index=figures.index)


def _contributions(champion: Champion, figures: pd.DataFrame) -> pd.DataFrame:
    contributions, _ = champion.learned.contributions(figures)
    return contributions.set_axis(figures.index)


def _write(outcome: Scored, side: Path) -> None:
    warehouse.write_bytes(side / LIST, risk_list.as_parquet(outcome.listed))
    warehouse.write_bytes(side / CONTRIBUTIONS, _parquet(outcome.contributions))
    warehouse.write_bytes(side / PEERS, _parquet(outcome.peers.infer_objects()))


def _parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.to_parquet(sink)
    return sink.getvalue()


def read_scored(job: Job) -> tuple[dict[str, Any], pd.DataFrame]:
    """What `score` wrote for the act date: what it stands on, and the list. Raises InputMissing."""
    try:
        standing = json.loads((job.side / SCORE).read_bytes())
    except FileNotFoundError:
        raise InputMissing(f"nothing is scored in {job.data}: run `renewals score --as-of {job.day}` first") from None
    if standing["as_of"] != job.day.isoformat():
        raise InputMissing(
            f"the scores in {job.data} stand on {standing['as_of']}: run `renewals score --as-of {job.day}` first"
        )
    return standing, risk_list.typed(_read(job.side / LIST))


if __name__ == "__main__":
    main(score)
