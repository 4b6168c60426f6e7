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
from renewals.models.training.schema import bounded
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import SHADOW
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import model_loader, model_registry
from renewals.pipelines.storage.registry.logged_actions import refuse_actions
from renewals.reports import risk_list
from renewals.reports.columns import TARGETS
from renewals.reports.settings import ListOptions

if TYPE_CHECKING:
    from renewals.models.ranking.expected_value import Plays
    from renewals.models.training.ensemble import Learned
    from renewals.pipelines.storage.features_file import FeatureBlocks

SIDES = {
    **{"probability": "float64", "risk_band": "object", "rank": "Int64", "top": "boolean"},
    **{"probability_challenger": "float64", "risk_band_challenger": "object", "rank_challenger": "Int64"},
    "top_challenger": "boolean",
}
COLUMNS = ("target", *KEY, "champion", "challenger", *SIDES)


def shadowed(
    job: Job,
    listed: pd.DataFrame,
    observations: pd.DataFrame,
    figures: FeatureBlocks,
    plays: Plays,
    champions: dict[str, str],
) -> dict[str, Any]:
    """Score the list's accounts with every challenger that waits; write `shadow.parquet`, return what to say of each.

    `plays` are those the list prescribed; `champions` names the model of each target that made it, as `name/version`.
    """
    told: dict[str, Any] = {}
    tables = [pd.DataFrame({name: listed[name].head(0) if name in KEY else [] for name in COLUMNS})]
    for target, champion in champions.items():
        try:
            waiting = _waiting(job, target)
            if waiting is None:
                continue
            name, model = waiting
            rows = beside(target, model, listed, observations, figures, job.settings.list, plays)
            told[target] = {"champion": champion, "challenger": name, **challenger.compared(rows)}
            tables.append(rows.assign(target=target, champion=champion, challenger=name))
        except Exception as fault:  # a shadow may not fail a list, whatever is wrong with it
            structlog.get_logger().warning("the challenger was not scored", target=target, why=str(fault))
            told[target] = {"champion": champion, "failed": str(fault)}
    atomic.write_bytes(job.side / SHADOW, _parquet(tables))
    return told


def _waiting(job: Job, target: str) -> tuple[str, Learned] | None:
    """The challenger of a target, by name and loaded; None where none waits."""
    found = model_registry.challenger(job, target)
    if found is None:
        return None
    name, version, files = found
    refuse_actions(target, version, files)
    return f"{name}/{version}", model_loader.loaded(job.data, f"{name}/{version}", files)


def beside(
    target: str,
    model: Learned,
    listed: pd.DataFrame,
    observations: pd.DataFrame,
    figures: FeatureBlocks,
    options: ListOptions,
    plays: Plays,
) -> pd.DataFrame:
    """What the list says and what it would say; one row per scored account of which the challenger gives a
    probability, in the order of the list.

    The challenger's rank is by its own probability of renewal with the list's reasons and expansions.

    `top` is what lies within capacity for renewal, the top tenth by probability for the rest. Raises ValueError where
    the features do not fit the model.
    """
    scored = listed[listed["status"].eq(worklist.SCORED)].reset_index(drop=True)
    known = observations["account_id"].isin(scored["account_id"]).to_numpy()
    said = [model.probability(bounded(block)[0]) for _, block in figures.of(known).blocks(model.schema.names)]
    order = pd.Index(observations["account_id"][known]).get_indexer(scored["account_id"])
    chance = pd.Series(np.concatenate(said)[order], index=scored.index, dtype="float64")
    is_chance = chance.between(0, 1)
    if not is_chance.any() and len(chance):
        raise ValueError("the challenger gave nothing that is a probability")
    if not is_chance.all():
        unsaid = scored.loc[~is_chance, "account_id"]
        structlog.get_logger().warning(
            "the challenger gave no probability", target=target, rows=len(unsaid), example=str(unsaid.iloc[0])
        )
        scored, chance, order = scored[is_chance], chance[is_chance], order[is_chance]
    rows = scored[list(KEY)].assign(probability=scored[f"{target}_probability"], probability_challenger=chance)
    if target != RENEWAL:
        both = {f"top{side}": challenger.top_of(rows[f"probability{side}"]) for side in ("", "_challenger")}
        return rows.assign(**both).reindex(columns=[*KEY, *SIDES])
    decided = observations.loc[known, "decided"].iloc[order].set_axis(scored.index)
    chances = pd.DataFrame({name: scored[f"{name}_probability"] for name in TARGETS}).assign(renewal=chance)
    found = expected_value.prescribed(scored.assign(decided=decided), chances, scored, plays, options.expansion_high)
    would = risk_list.placed(scored.assign(renewal_probability=chance), found["worth"], found["hours"], options)
    return rows.assign(
        risk_band=scored["risk_band"], rank=scored["rank"], top=scored["within_capacity"],
        risk_band_challenger=would["risk_band"], rank_challenger=would["rank"],
        top_challenger=would["within_capacity"],
    )  # fmt: skip


def _parquet(tables: list[pd.DataFrame]) -> bytes:
    """One row per target and scored account; no row where no challenger waits."""
    filled = [table for table in tables if len(table)] or tables[:1]
    rows = pd.concat(filled, ignore_index=True)[list(COLUMNS)].astype(SIDES)
    sink = io.BytesIO()
    rows.to_parquet(sink, index=False)
    return sink.getvalue()
