"""A new model beside the champion, on back-test rows that neither of them learned from."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from renewals.features.family import KEY
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import (
    BACKTEST,
    MODEL_CARD,
    read_training,
)
from renewals.pipelines.storage.old_keys import upgrade_backtest
from renewals.pipelines.storage.registry import model_loader, model_registry
from renewals.pipelines.storage.registry.logged_actions import logged_action_features

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
from renewals.pipelines.storage.registry.mlflow_runs import intact_files


def compare_with_champion(
    client: MlflowClient, job: Job, target: str, champion: ModelVersion, files: Mapping[str, bytes]
) -> tuple[dict[str, Any] | None, str | None]:
    """How the trained model compares with the champion on rows neither had seen, or why it cannot be compared.

    A champion that reads logged actions may know whom we treated, and may not serve: it is no measure.
    """
    from renewals.models.evaluation.gate import compare_with_champion, pair_predictions

    standing, who = intact_files(client, champion), f"the champion, version {champion.version},"
    if standing is None:
        return None, f"{who} is harmed"
    if logged_action_features(standing):
        return None, f"{who} reads logged actions"
    training, challenger = read_training(job), backtest(files)
    later = _champion_predictions(job, champion, standing, training, challenger)
    parts = [name for name in job.settings.gate.segments if name in training.columns]
    rows = pair_predictions(challenger, backtest(standing), later)
    rows = rows.merge(_select_columns(training, parts), on=list(KEY), how="left", validate="one_to_one")
    return {**compare_with_champion(rows, target, job.settings.gate), "rows_scored_by_champion": len(later)}, None


def _champion_predictions(
    job: Job, champion: ModelVersion, files: dict[str, bytes], training: pd.DataFrame, challenger: pd.DataFrame
) -> pd.DataFrame:
    """What the champion itself says of rows observed since it was trained; one row per observation, perhaps none.

    None at all where it cannot be asked: it does not load, or knows columns that are there no longer.
    """
    import pandas as pd

    from renewals.models.evaluation.gate import is_champion_row

    until = pd.Timestamp(model_registry.read_model_json(files, MODEL_CARD)["until"])
    keys = challenger.loc[is_champion_row(challenger, until), list(KEY)]
    if keys.empty:
        return keys.assign(probability=0.0)
    try:
        rows = keys.merge(
            _select_columns(training, training.columns.drop(list(KEY))), on=list(KEY), validate="one_to_one"
        )
        model = model_loader.load_model(job.data, f"{champion.name}/{champion.version}", files)
        return rows[list(KEY)].assign(probability=model.probability(rows))
    except (DataContractError, ValueError) as fault:
        structlog.get_logger().warning("champion could not be scored", model=champion.name, why=str(fault))
        return keys.head(0).assign(probability=0.0)


def _select_columns(training: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Some columns of the training table beside its key, with days as the back-test has them."""
    import pandas as pd

    return training[[*KEY, *columns]].assign(as_of=pd.to_datetime(training["as_of"]))


def backtest(files: Mapping[str, bytes]) -> pd.DataFrame:
    """What a model would have said in the past; one row per tested observation."""
    import pandas as pd

    return upgrade_backtest(pd.read_parquet(io.BytesIO(files[BACKTEST])))
