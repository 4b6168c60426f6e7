"""Learn one target from every outcome that was final on the training day, and walk forward to see how far to trust it.

Makes no MLflow run: DVC may skip this stage, and then nothing must be missing elsewhere. `register` does that.
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
    MODEL_CARD,
    MODELS,
    SCHEMA,
    read_catalogue,
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
"""Rows behind the importance of features: the newest ones."""


def train(job: Job, target: str) -> dict[str, Any]:
    """Learn the target and write `models/<target>/`: the model, its card, and what it would have said in the past.

    All of it lies on the side of learning; `register` takes it to where the last learning is kept.
    With too few outcomes there is no model but a `schema.json` that says `"trained": false` and why.
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
    """The files of a model, and its card in short; `observed` are the rows of the training table that are final.

    Raises InsufficientHistoryError where history does not bear a model.
    """
    import pandas as pd

    from renewals.models.training import uncertainty, walk_forward
    from renewals.models.training.schema import Schema

    options = job.settings
    schema = Schema.from_catalogue(catalogue, observed, target, options.lightgbm.monotone)
    steps = walk_forward.fit_origins(observed, schema, options)
    choice = walk_forward.select_model(observed, steps, pd.Timestamp(job.day), options)
    chosen = walk_forward.select_at_origins(observed, steps, options)
    told = walk_forward.predict_at_origins(observed, steps, chosen, options)
    aged = walk_forward.predict_by_model_age(observed, schema, steps, chosen, options)
    hidden = uncertainty.hidden_effect_sd(told) if target == RENEWAL else 0.0
    model = walk_forward.fit_model(observed, schema, choice, options, hidden)
    newest = observed.sort_values("as_of", kind="stable").tail(IMPORTANCE_ROWS)
    short = _card_summary(observed, schema, choice, model.account_effect_sd, hidden, steps)
    card = {
        "target": target,
        "until": str(job.day),
        "rows": len(observed),
        **short,
        "rows_sha256": rows_fingerprint(observed, schema.names),
        "training_sha256": training_digest(job),
        "options_sha256": settings_fingerprint(job),
        "notices": notices.add_texts(freshness_notices(job)),
        "parameters": feature_policy(job.settings),
        "candidates": walk_forward.candidate_table(choice.candidate_losses),
        "importance": walk_forward.feature_importance(model.contributions(newest)[0]),
    }
    tables = {BACKTEST: to_parquet_bytes(told), BACKTEST_BY_AGE: to_parquet_bytes(aged)}
    beside = {
        MODEL_CARD: to_json_bytes(card),
        drift_reference.REFERENCE: to_json_bytes(drift_reference.build_reference(training, told, schema)),
    }
    return {**model.to_files(), **beside, **tables}, short


def _card_summary(
    observed: pd.DataFrame,
    schema: Schema,
    choice: SelectedModel,
    spread: float,
    account_effect_sd: float,
    steps: Sequence[OriginFit],
) -> dict[str, Any]:
    """What is worth knowing of a model at a glance."""
    recipe, sigmoid = choice.hyperparameters, choice.sigmoid
    return {
        "trained": True,
        "terms": int(observed["term"].nunique()),
        "positive_terms": int(observed.groupby("term")["label"].max().sum()),
        "features": len(schema.names),
        "hyperparameters": {
            "inverse_penalty": recipe.inverse_penalty,
            "num_rounds": recipe.num_rounds,
            "tree_weight": recipe.tree_weight,
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
    """The folder holds these files and no older ones; the schema, by which a model is known, comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in sorted(files, key=lambda name: name == SCHEMA):
        atomic.write_bytes(folder / name, files[name])


def rows_fingerprint(observed: pd.DataFrame, names: tuple[str, ...]) -> str:
    """One fingerprint for the rows that were learned from, whatever file they came in."""
    import pandas as pd

    told = observed[["account_id", "as_of", "label", "matured_at", "term", *names]]
    return sha256(pd.util.hash_pandas_object(told, index=False).to_numpy().tobytes())


if __name__ == "__main__":
    main(train)
