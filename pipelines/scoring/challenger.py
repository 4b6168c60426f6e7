"""Score the waiting challenger on the accounts of the list and compare it with the champion (never shown on the list).

Nothing here may fail or change a list. A faulty challenger causes a warning and an entry in the manifest.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import structlog

from renewals.features.family import RENEWAL_KEY
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
COLUMNS = ("target", *RENEWAL_KEY, "champion", "challenger", *COLUMN_TYPES)


def score_challengers(
    job: Job,
    listed: pd.DataFrame,
    observations: pd.DataFrame,
    features: FeatureBlocks,
    playbooks: AvailablePlaybooks,
    champions: dict[str, str],
) -> dict[str, Any]:
    """Score the list's accounts with each target's challenger and write `challenger_scores.parquet`; return the
    comparison with the champion by target, for the manifest.

    `playbooks` are those the list prescribed; `champions` contains the model of each target that scored the list, as
    `name/version`.
    """
    summary: dict[str, Any] = {}
    tables = [pd.DataFrame({name: listed[name].head(0) if name in RENEWAL_KEY else [] for name in COLUMNS})]
    for target, champion in champions.items():
        try:
            loaded = _load_challenger(job, target)
            if loaded is None:
                continue
            name, model = loaded
            rows = pair_scores(target, model, listed, observations, features, job.settings.list, playbooks)
            summary[target] = {"champion": champion, "challenger": name, **challenger.compare_scores(rows)}
            tables.append(rows.assign(target=target, champion=champion, challenger=name))
        except Exception as error:  # a challenger must never fail a list, whatever the error
            structlog.get_logger().warning("challenger scoring failed", target=target, why=str(error))
            summary[target] = {"champion": champion, "failed": str(error)}
    atomic.write_bytes(job.folder / CHALLENGER_SCORES, _as_parquet(tables))
    return summary


def _load_challenger(job: Job, target: str) -> tuple[str, EnsembleModel] | None:
    """Load the challenger of a target; return `name/version` and the model, or None if there is no challenger."""
    challenger = model_registry.fetch_challenger(job, target)
    if challenger is None:
        return None
    name, version, files = challenger
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
    """Champion's and challenger's probability, risk band and rank; one row per scored account for which the challenger
    returns a probability, in the order of the list.

    The challenger's rank uses its probability of renewal with the reasons and expansions of the list. `in_top` is true
    for accounts within capacity (renewal) or in the top tenth by probability (other targets). Raises ValueError if the
    features do not fit the model.
    """
    scored = listed[listed["status"].eq(worklist.SCORED)].reset_index(drop=True)
    is_scored = observations["renewal_id"].isin(scored["renewal_id"]).to_numpy()
    predictions = [
        model.probability(mask_infinite(block)[0]) for _, block in features.select(is_scored).blocks(model.schema.names)
    ]
    order = pd.Index(observations["renewal_id"][is_scored]).get_indexer(scored["renewal_id"])
    probability = pd.Series(np.concatenate(predictions)[order], index=scored.index, dtype="float64")
    is_valid = probability.between(0, 1)
    if not is_valid.any() and len(probability):
        raise ValueError("the challenger returned no valid probability")
    if not is_valid.all():
        invalid = scored.loc[~is_valid, "account_id"]
        structlog.get_logger().warning(
            "challenger returned no probability for some accounts",
            target=target,
            rows=len(invalid),
            example=str(invalid.iloc[0]),
        )
        scored, probability, order = scored[is_valid], probability[is_valid], order[is_valid]
    rows = scored[list(RENEWAL_KEY)].assign(
        probability=scored[f"{target}_probability"], probability_challenger=probability
    )
    if target != RENEWAL:
        in_top = {f"in_top{side}": challenger.in_top_share(rows[f"probability{side}"]) for side in ("", "_challenger")}
        return rows.assign(**in_top).reindex(columns=[*RENEWAL_KEY, *COLUMN_TYPES])
    signed = observations.loc[is_scored, "renewal_signed"].iloc[order].set_axis(scored.index)
    probabilities = pd.DataFrame({name: scored[f"{name}_probability"] for name in TARGETS}).assign(renewal=probability)
    prescribed = expected_value.prescribe_playbooks(
        scored.assign(renewal_signed=signed), probabilities, scored, playbooks, options.expansion_threshold
    )
    ranking = risk_list.ranking_columns(
        scored.assign(renewal_probability=probability), prescribed["gain_per_hour"], prescribed["hours"], options
    )
    return rows.assign(
        risk_band=scored["risk_band"], rank=scored["rank"], in_top=scored["within_capacity"],
        risk_band_challenger=ranking["risk_band"], rank_challenger=ranking["rank"],
        in_top_challenger=ranking["within_capacity"],
    )  # fmt: skip


def _as_parquet(tables: list[pd.DataFrame]) -> bytes:
    """Parquet bytes of the paired scores: one row per (target, scored account), no rows if there is no challenger."""
    filled = [table for table in tables if len(table)] or tables[:1]
    rows = pd.concat(filled, ignore_index=True)[list(COLUMNS)].astype(COLUMN_TYPES)
    sink = io.BytesIO()
    rows.to_parquet(sink, index=False)
    return sink.getvalue()
