"""Train the model of one target on all outcomes that were final on the training day, with walk-forward validation.

This stage logs no MLflow run: DVC may skip it, and then the run would be missing. `register` logs the run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.scoring import drift_reference
from renewals.pipelines.scoring.feature_policy import feature_policy
from renewals.pipelines.storage import notices
from renewals.pipelines.storage.artifacts import (
    BACKTEST,
    BACKTEST_BY_AGE,
    HISTORY,
    MODEL_CARD,
    MODELS,
    SCHEMA,
    read_catalogue,
    read_history,
    read_training,
    sha256,
    to_json_bytes,
    to_parquet_bytes,
    training_digest,
)
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.notices import freshness_notices
from renewals.pipelines.storage.registry.trained_models import settings_fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from renewals.models.training.schema import Schema
    from renewals.models.training.walk_forward import OriginFit, SelectedModel

STEP = Step(after="assemble", commands=("learn",), per_target=True)

IMPORTANCE_ROWS = 2000
"""Number of newest rows used for the feature importance."""


def train(job: Job, target: str) -> dict[str, Any]:
    """Train the target and write `models/<target>/` in the job's folder: the model, its card and its back-test.

    `register` copies it to the data folder. With too few outcomes only a `schema.json` with `"trained": false` and the
    reason is written. Returns the card's summary. Raises DataContractError if the training table cannot be used.
    """
    from renewals.models.training.splits import InsufficientHistoryError, observations

    training, catalogue = read_training(job), read_catalogue(job.folder)
    try:
        observed = observations(training, target, job.day, job.settings.folds.treated_rows)
    except ValueError as error:
        raise DataContractError(f"{job.folder / 'training.parquet'}: {error}") from error
    try:
        files, card = fit_model(observed, training, catalogue, target, job)
    except InsufficientHistoryError as reason:
        files, card = _untrained_files(target, str(reason)), {"trained": False, "reason": str(reason)}
    except ValueError as error:
        raise DataContractError(f"{job.folder / 'training.parquet'}: {error}") from error
    _write_files(files, job.folder / MODELS / target)
    return {"target": target, "rows": len(observed), **card}


def fit_model(
    observed: pd.DataFrame, training: pd.DataFrame, catalogue: list[dict[str, Any]], target: str, job: Job
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Fit the model and its back-test; return its files by name and the summary of its card.

    `observed` are the rows of the training table with a final outcome. Raises InsufficientHistoryError if there are too
    few of them for a model.
    """
    import pandas as pd

    from renewals.models.training import uncertainty, walk_forward
    from renewals.models.training.schema import Schema

    options = job.settings
    schema = Schema.from_catalogue(catalogue, observed, target, options.lightgbm.monotone)
    steps = walk_forward.fit_origins(observed, schema, options)
    choice = walk_forward.select_model(observed, steps, pd.Timestamp(job.day), options)
    selected = walk_forward.select_at_origins(observed, steps, options)
    predictions = walk_forward.predict_at_origins(observed, steps, selected, options)
    predictions_by_age = walk_forward.predict_by_model_age(observed, schema, steps, selected, options)
    hidden_sd = uncertainty.hidden_effect_sd(predictions) if target == RENEWAL else 0.0
    model = walk_forward.fit_model(observed, schema, choice, options, hidden_sd)
    newest = observed.sort_values("as_of", kind="stable").tail(IMPORTANCE_ROWS)
    summary = _card_summary(observed, schema, choice, model.account_effect_sd, hidden_sd, steps)
    card = {
        "target": target,
        "until": str(job.day),
        "rows": len(observed),
        **summary,
        "rows_sha256": rows_fingerprint(observed, schema.names),
        "training_sha256": training_digest(job),
        "options_sha256": settings_fingerprint(job),
        "notices": notices.add_texts(freshness_notices(job)),
        HISTORY: notices.add_texts(notices.history_notices(read_history(job.folder))),
        "parameters": feature_policy(job.settings),
        "candidates": walk_forward.candidate_table(choice.candidate_losses),
        "importance": walk_forward.feature_importance(model.contributions(newest)[0]),
    }
    tables = {BACKTEST: to_parquet_bytes(predictions), BACKTEST_BY_AGE: to_parquet_bytes(predictions_by_age)}
    json_files = {
        MODEL_CARD: to_json_bytes(card),
        drift_reference.REFERENCE: to_json_bytes(drift_reference.build_reference(training, predictions, schema)),
    }
    return {**model.to_files(), **json_files, **tables}, summary


def _card_summary(
    observed: pd.DataFrame,
    schema: Schema,
    choice: SelectedModel,
    spread: float,
    account_effect_sd: float,
    steps: Sequence[OriginFit],
) -> dict[str, Any]:
    """Summary of a model for its card: counts, hyperparameters, calibration, uncertainty and origins."""
    hyperparameters, sigmoid = choice.hyperparameters, choice.sigmoid
    return {
        "trained": True,
        "terms": int(observed["term"].nunique()),
        "positive_terms": int(observed.groupby("term")["label"].max().sum()),
        "features": len(schema.names),
        "hyperparameters": {
            "inverse_penalty": hyperparameters.inverse_penalty,
            "num_rounds": hyperparameters.num_rounds,
            "tree_weight": hyperparameters.tree_weight,
        },
        "calibration": {
            **{"slope": sigmoid.slope, "intercept": sigmoid.intercept},
            **{"rows": choice.rows, "terms": choice.terms},
        },
        "uncertainty": {"account_effect_sd": spread, "hidden_effect_sd": account_effect_sd},
        "origins": [str(step.fold.origin.date()) for step in steps],
    }


def _untrained_files(target: str, reason: str) -> dict[str, bytes]:
    return {SCHEMA: to_json_bytes({"target": target, "trained": False, "reason": reason})}


def _write_files(files: dict[str, bytes], folder: Path) -> None:
    """Replace the folder's content with these files; the schema is written last because it marks a complete model."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in sorted(files, key=lambda name: name == SCHEMA):
        atomic.write_bytes(folder / name, files[name])


def rows_fingerprint(observed: pd.DataFrame, names: tuple[str, ...]) -> str:
    """SHA-256 of the training rows (key, label and features), independent of the file they came from."""
    import pandas as pd

    rows = observed[["account_id", "as_of", "label", "matured_at", "term", *names]]
    return sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())


if __name__ == "__main__":
    main(train)
