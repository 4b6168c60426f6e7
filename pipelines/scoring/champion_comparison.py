"""Compare a new model with the champion on back-test rows that neither was trained on."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from renewals.features.family import RENEWAL_KEY
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
    """Compare the trained model with the champion on rows that neither was trained on.

    Returns the comparison and None, or None and the reason why there is no comparison. A champion that reads logged
    actions is not compared: it may know which accounts were treated, and may not serve.
    """
    from renewals.models.evaluation.gate import compare_with_champion, pair_predictions

    champion_files, champion_name = intact_files(client, champion), f"the champion, version {champion.version},"
    if champion_files is None:
        return None, f"{champion_name} is corrupted"
    if logged_action_features(champion_files):
        return None, f"{champion_name} reads logged actions"
    training, challenger = read_training(job), read_backtest(files)
    later_rows = _champion_predictions(job, champion, champion_files, training, challenger)
    segments = [name for name in job.settings.gate.segments if name in training.columns]
    rows = pair_predictions(challenger, read_backtest(champion_files), later_rows)
    rows = rows.merge(_select_columns(training, segments), on=list(RENEWAL_KEY), how="left", validate="one_to_one")
    return {**compare_with_champion(rows, target, job.settings.gate), "rows_scored_by_champion": len(later_rows)}, None


def _champion_predictions(
    job: Job, champion: ModelVersion, files: dict[str, bytes], training: pd.DataFrame, challenger: pd.DataFrame
) -> pd.DataFrame:
    """Predictions of the champion for back-test rows observed since it was trained; one row per observation.

    The table is empty if the champion cannot predict: it does not load, or it needs columns that no longer exist.
    """
    import pandas as pd

    from renewals.models.evaluation.gate import is_champion_row

    until = pd.Timestamp(model_registry.read_model_json(files, MODEL_CARD)["until"])
    keys = challenger.loc[is_champion_row(challenger, until), list(RENEWAL_KEY)]
    if keys.empty:
        return keys.assign(probability=0.0)
    try:
        rows = keys.merge(
            _select_columns(training, training.columns.drop(list(RENEWAL_KEY))),
            on=list(RENEWAL_KEY),
            validate="one_to_one",
        )
        model = model_loader.load_model(job.data, f"{champion.name}/{champion.version}", files)
        return rows[list(RENEWAL_KEY)].assign(probability=model.probability(rows))
    except (DataContractError, ValueError) as error:
        structlog.get_logger().warning("champion could not be scored", model=champion.name, why=str(error))
        return keys.head(0).assign(probability=0.0)


def _select_columns(training: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The key and some columns of the training table, with `as_of` in the type that the back-test has."""
    import pandas as pd

    return training[[*RENEWAL_KEY, *columns]].assign(as_of=pd.to_datetime(training["as_of"]))


def read_backtest(files: Mapping[str, bytes]) -> pd.DataFrame:
    """Read the back-test of a model from its files: past predictions, one row per test observation."""
    import pandas as pd

    return upgrade_backtest(pd.read_parquet(io.BytesIO(files[BACKTEST])))
