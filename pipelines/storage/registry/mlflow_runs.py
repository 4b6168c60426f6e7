"""Logging of parameters, metrics, plots and models to MLflow runs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import (
    BACKTEST_BY_AGE,
    CATALOGUE,
    METRICS,
    VALIDATION_REPORT,
    read_catalogue,
    sha256,
    to_json_bytes,
)
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.registry.trained_models import training_settings

if TYPE_CHECKING:
    import lightgbm as lgb
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


REGISTERED = "registered"


def version_files(files: Mapping[str, bytes], job: Job, metrics: dict[str, Any]) -> dict[str, bytes]:
    """Files to register for a version, content by name: the model's files without the predictions by model age, the
    metadata of its features, and its metrics."""
    catalogue = to_json_bytes({"features": read_catalogue(job.folder)})
    model_files = {name: content for name, content in files.items() if name != BACKTEST_BY_AGE}
    return {**model_files, CATALOGUE: catalogue, METRICS: to_json_bytes(metrics)}


def run_tags(job: Job, target: str, card: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a run: target, training cutoff, and fingerprints of the code and of the data."""
    tags = {"target": target, "until": card["until"], "code_sha256": model_registry.code_fingerprint()}
    return tags | _data_fingerprints(job, card)


def _data_fingerprints(job: Job, card: Mapping[str, Any]) -> dict[str, str]:
    report = job.data / VALIDATION_REPORT
    tags = {"training_sha256": card["training_sha256"], "rows_sha256": card["rows_sha256"]}
    return {**tags, "validation_report_sha256": sha256(report.read_bytes())} if report.is_file() else tags


def ensure_registered(client: MlflowClient, name: str, target: str) -> None:
    """Create the registered model of a target unless it exists."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=f"The probability of {target}, per account and month.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def log_run(
    client: MlflowClient,
    run_id: str,
    job: Job,
    card: Mapping[str, Any],
    metrics: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> None:
    """Log parameters, metrics and plots to a run."""
    from mlflow.entities import Param

    chosen = {
        "until": card["until"],
        **{f"hyperparameters.{key}": value for key, value in card["hyperparameters"].items()},
    }
    params = [Param(key, str(value)[:6000]) for key, value in {**training_settings(job), **chosen}.items()]
    client.log_batch(run_id, metrics=list(_run_metrics(card, metrics)), params=params)
    for name, content in pictures.items():
        _log_bytes(client, run_id, f"plots/{name}", content)
    # Addresses are excluded: they may contain a password and do not affect the model.
    resolved = job.settings.model_dump(mode="json", exclude={"tracking", "tables", "warehouse"})
    _log_bytes(client, run_id, "params.json", to_json_bytes(resolved))


def _run_metrics(card: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterable[Any]:
    """Iterate over the finite metrics of a run; step 0 is over all folds, step n is fold n.

    Infinite values are left out, because MLflow changes them.
    """
    from mlflow.entities import Metric

    def figures() -> Iterable[tuple[str, Any, int]]:
        yield from (
            ("rows", card["rows"], 0),
            ("terms", card["terms"], 0),
            ("positive_terms", card["positive_terms"], 0),
        )
        for days, models in metrics["at_lead"].items():
            for model, scores in models.items():
                if isinstance(scores, dict):
                    prefix = "" if model == "model" else f"{model}."
                    yield from ((f"{prefix}{name}_{days}d", value, 0) for name, value in scores.items())
        for number, fold in enumerate(metrics["folds"], start=1):
            for days, scores in fold["at_lead"].items():
                yield from ((f"fold.{name}_{days}d", scores[name], number) for name in ("auc", "log_loss", "rows"))

    for key, value, step in figures():
        if value is not None and math.isfinite(value):
            yield Metric(key, float(value), 0, step)


def _log_bytes(client: MlflowClient, run_id: str, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="renewals-run-") as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        client.log_artifact(run_id, str(path), str(Path(name).parent) if "/" in name else None)


def log_model(client: MlflowClient, run: Any, booster: lgb.Booster, files: Mapping[str, bytes], target: str) -> str:
    """Log the native booster, which MLflow can load without this package, with all other files as extra files.

    Returns the address `models:/ID` of the logged model.
    """
    import mlflow.lightgbm

    with tempfile.TemporaryDirectory(prefix="renewals-model-") as folder:
        extra_folder = Path(folder) / "files"
        extra_folder.mkdir()
        for name, content in files.items():
            (extra_folder / name).write_bytes(content)
        mlflow.lightgbm.save_model(
            booster,
            str(Path(folder) / "model"),
            pip_requirements=[f"lightgbm=={_installed_version('lightgbm')}"],
            extra_files=[str(path) for path in sorted(extra_folder.iterdir())],
        )
        model = client.create_logged_model(run.info.experiment_id, name=target, source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(model.model_id, "READY")
    return f"models:/{model.model_id}"


def _installed_version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def intact_files(client: MlflowClient, version: ModelVersion) -> dict[str, bytes] | None:
    """Verified files of a version; None, with a warning, if they are corrupted, so that the version can be ignored."""
    try:
        return model_registry.verified_files(client, version)
    except DataContractError as error:
        structlog.get_logger().warning("registered model is corrupted", model=version.name, why=str(error))
        return None
