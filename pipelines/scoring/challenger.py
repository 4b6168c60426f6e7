"""A challenger that waits is scored beside the champion, and never shown: what would change if it served?

Nothing here may fail or change a list. Whatever is wrong with a challenger is a warning, and a word in the manifest.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import structlog

from renewals.features.family import KEY
from renewals.models.evaluation import challenger
from renewals.models.ranking import expected_value, worklist
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import mask_infinite
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import CHALLENGER_SCORES
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import model_loader, model_registry
from renewals.pipelines.storage.registry.serving_checks import reject_unservable_model
from renewals.reports import risk_list
from renewals.reports.columns import TARGETS
from renewals.reports.settings import ListOptions

if TYPE_CHECKING:
    from renewals.models.ranking.expected_value import AvailablePlaybooks
    from renewals.models.training.ensemble import EnsembleModel
    from renewals.pipelines.storage.features_file import FeatureBlocks

COLUMN_TYPES = {
    **{"probability": "float64", "risk_band": "object", "rank": "Int64", "in_top": "boolean"},
    **{"probability_challenger": "float64", "risk_band_challenger": "object", "rank_challenger": "Int64"},
    "in_top_challenger": "boolean",
}
COLUMNS = ("target", *KEY, "champion", "challenger", *COLUMN_TYPES)


def score_challengers(
    job: Job,
    listed: pd.DataFrame,
    observations: pd.DataFrame,
    features: FeatureBlocks,
    playbooks: AvailablePlaybooks,
    champions: dict[str, str],
) -> dict[str, Any]:
    """Score the list's accounts with every challenger that waits; write `challenger_scores.parquet`, return what to
    say of each.

    `playbooks` are those the list prescribed; `champions` names the model of each target that made it, as
    `name/version`.
    """
    told: dict[str, Any] = {}
    tables = [pd.DataFrame({name: listed[name].head(0) if name in KEY else [] for name in COLUMNS})]
    for target, champion in champions.items():
        try:
            waiting = _load_challenger(job, target)
            if waiting is None:
                continue
            name, model = waiting
            rows = pair_scores(target, model, listed, observations, features, job.settings.list, playbooks)
            told[target] = {"champion": champion, "challenger": name, **challenger.compare_scores(rows)}
            tables.append(rows.assign(target=target, champion=champion, challenger=name))
        except Exception as fault:  # a shadow may not fail a list, whatever is wrong with it
            structlog.get_logger().warning("challenger scoring failed", target=target, why=str(fault))
            told[target] = {"champion": champion, "failed": str(fault)}
    atomic.write_bytes(job.folder / CHALLENGER_SCORES, _as_parquet(tables))
    return told


def _load_challenger(job: Job, target: str) -> tuple[str, EnsembleModel] | None:
    """The challenger of a target, by name and loaded; None where none waits."""
    found = model_registry.fetch_challenger(job, target)
    if found is None:
        return None
    name, version, files = found
    reject_unservable_model(target, version, files)
    return f"{name}/{version}", model_loader.load_model(job.data, f"{name}/{version}", files)


def pair_scores(
    target: str,
    model: EnsembleModel,
    listed: pd.DataFrame,
    observations: pd.DataFrame,
    features: FeatureBlocks,
    options: ListOptions,
    playbooks: AvailablePlaybooks,
) -> pd.DataFrame:
    """What the list says and what it would say; one row per scored account of which the challenger gives a
    probability, in the order of the list.

    The challenger's rank is by its own probability of renewal with the list's reasons and expansions.

    `in_top` is what lies within capacity for renewal, the top tenth by probability for the rest. Raises ValueError
    where the features do not fit the model.
    """
    scored = listed[listed["status"].eq(worklist.SCORED)].reset_index(drop=True)
    known = observations["account_id"].isin(scored["account_id"]).to_numpy()
    said = [
        model.probability(mask_infinite(block)[0]) for _, block in features.select(known).blocks(model.schema.names)
    ]
    order = pd.Index(observations["account_id"][known]).get_indexer(scored["account_id"])
    chance = pd.Series(np.concatenate(said)[order], index=scored.index, dtype="float64")
    is_chance = chance.between(0, 1)
    if not is_chance.any() and len(chance):
        raise ValueError("the challenger returned no valid probability")
    if not is_chance.all():
        unsaid = scored.loc[~is_chance, "account_id"]
        structlog.get_logger().warning(
            "challenger returned no probability for some accounts",
            target=target,
            rows=len(unsaid),
            example=str(unsaid.iloc[0]),
        )
        scored, chance, order = scored[is_chance], chance[is_chance], order[is_chance]
    rows = scored[list(KEY)].assign(probability=scored[f"{target}_probability"], probability_challenger=chance)
    if target != RENEWAL:
        both = {f"in_top{side}": challenger.in_top_share(rows[f"probability{side}"]) for side in ("", "_challenger")}
        return rows.assign(**both).reindex(columns=[*KEY, *COLUMN_TYPES])
    signed = observations.loc[known, "renewal_signed"].iloc[order].set_axis(scored.index)
    chances = pd.DataFrame({name: scored[f"{name}_probability"] for name in TARGETS}).assign(renewal=chance)
    found = expected_value.prescribe_playbooks(
        scored.assign(renewal_signed=signed), chances, scored, playbooks, options.expansion_threshold
    )
    would = risk_list.ranking_columns(
        scored.assign(renewal_probability=chance), found["gain_per_hour"], found["hours"], options
    )
    return rows.assign(
        risk_band=scored["risk_band"], rank=scored["rank"], in_top=scored["within_capacity"],
        risk_band_challenger=would["risk_band"], rank_challenger=would["rank"],
        in_top_challenger=would["within_capacity"],
    )  # fmt: skip


def _as_parquet(tables: list[pd.DataFrame]) -> bytes:
    """One row per target and scored account; no row where no challenger waits."""
    filled = [table for table in tables if len(table)] or tables[:1]
    rows = pd.concat(filled, ignore_index=True)[list(COLUMNS)].astype(COLUMN_TYPES)
    sink = io.BytesIO()
    rows.to_parquet(sink, index=False)
    return sink.getvalue()
