"""MLflow runs and registered models: what is logged with them."""

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
    """The files of a version: the model without the words of its forerunners, what its features mean, its metrics."""
    own = {name: content for name, content in files.items() if name != BACKTEST_BY_AGE}
    return {**own, CATALOGUE: to_json_bytes({"features": read_catalogue(job.folder)}), METRICS: to_json_bytes(metrics)}


def run_tags(job: Job, target: str, card: Mapping[str, Any]) -> dict[str, str]:
    """What every run says of what it learned, from what and by which code."""
    about = {"target": target, "until": card["until"], "code_sha256": model_registry.code_fingerprint()}
    return about | _data_fingerprints(job, card)


def _data_fingerprints(job: Job, card: Mapping[str, Any]) -> dict[str, str]:
    certificate = job.data / VALIDATION_REPORT
    found = {"training_sha256": card["training_sha256"], "rows_sha256": card["rows_sha256"]}
    return {**found, "validation_report_sha256": sha256(certificate.read_bytes())} if certificate.is_file() else found


def ensure_registered(client: MlflowClient, name: str, target: str) -> None:
    """Make the registered model where there is none yet."""
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
    # Addresses may hold a password, and say nothing of the model.
    resolved = job.settings.model_dump(mode="json", exclude={"tracking", "tables", "warehouse"})
    _log_bytes(client, run_id, "params.json", to_json_bytes(resolved))


def _run_metrics(card: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterable[Any]:
    """Every finite figure: by lead, step 0 of all folds together, step n of the n-th; MLflow spoils infinite ones."""
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
    """The native booster, which MLflow loads without us, and all the rest beside it; returns where."""
    import mlflow.lightgbm

    with tempfile.TemporaryDirectory(prefix="renewals-model-") as folder:
        beside = Path(folder) / "files"
        beside.mkdir()
        for name, content in files.items():
            (beside / name).write_bytes(content)
        mlflow.lightgbm.save_model(
            booster,
            str(Path(folder) / "model"),
            pip_requirements=[f"lightgbm=={_installed_version('lightgbm')}"],
            extra_files=[str(path) for path in sorted(beside.iterdir())],
        )
        model = client.create_logged_model(run.info.experiment_id, name=target, source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(model.model_id, "READY")
    return f"models:/{model.model_id}"


def _installed_version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def intact_files(client: MlflowClient, version: ModelVersion) -> dict[str, bytes] | None:
    """The files of a version, or None where they are harmed: such a one can neither serve nor stand in the way."""
    try:
        return model_registry.verified_files(client, version)
    except DataContractError as harm:
        structlog.get_logger().warning("registered model is corrupted", model=version.name, why=str(harm))
        return None
