"""Put a trained model and its evidence into MLflow, and let the gate decide whether it becomes champion."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from models.gate import objections, worse_than_champion
from pipelines import tracking, warehouse
from pipelines.errors import InputMissing
from pipelines.stage import Job, main
from pipelines.train import BACKTEST, CARD, read_catalogue, read_model, why_untrained

IDENTITY = "renewals.identity"
"""The tag by which the same model from the same evidence is known again."""
KEPT_BESIDE = (CARD, BACKTEST)
"""Files of a trained model that tell of it but are not part of it."""


def register(job: Job, target: str) -> dict[str, Any]:
    """Register the target's model and set the alias `champion` where the gate lets it pass."""
    files = read_model(job, target)
    reason = why_untrained(files)
    result = _untrained(target, reason) if reason else _registered(job, target, files)
    # No run ids in here: a stage's output must come out the same from the same model.
    warehouse.write_bytes(job.data / "registered" / f"{target}.json", _json(result))
    return result


def _untrained(target: str, reason: str) -> dict[str, Any]:
    return {"target": target, "trained": False, "passed": False, "version": None, "reasons": [reason]}


def _registered(job: Job, target: str, files: dict[str, bytes]) -> dict[str, Any]:
    metrics = _metrics(job, target)
    found = tracking.client(job)
    name = tracking.registered_name(target)
    model = {n: content for n, content in files.items() if n not in KEPT_BESIDE}
    listed = tracking.manifest(model)
    identity = _identity(listed, metrics, job)
    version = _known(found, name, identity)
    reasons = objections(target, metrics["judged"], job.settings.gate)
    if version is None:
        run_id = _log(found, job, target, files, model | {tracking.MANIFEST: listed}, metrics)
        version = _version(found, name, run_id, identity, listed)
    reasons += _against_champion(found, job, name, str(version), metrics["judged"]) if not reasons else []
    if not reasons:
        found.set_registered_model_alias(name, tracking.CHAMPION, version)
    found.set_model_version_tag(name, version, "renewals.gate", "passed" if not reasons else "; ".join(reasons)[:5000])
    found.set_model_version_tag(name, version, "renewals.judged", json.dumps(metrics["judged"])[:5000])
    return {"target": target, "trained": True, "passed": not reasons, "version": str(version), "reasons": reasons}


def _metrics(job: Job, target: str) -> dict[str, Any]:
    path = job.data / "evaluation" / target / "metrics.json"
    if not path.is_file():
        raise InputMissing(f"no back-test at {path}: run `renewals learn`, or the stage evaluate, first")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _identity(listed: bytes, metrics: dict[str, Any], job: Job) -> str:
    gate = job.settings.gate.model_dump_json()
    return hashlib.sha256(listed + json.dumps(metrics, sort_keys=True).encode() + gate.encode()).hexdigest()


def _known(found: Any, name: str, identity: str) -> str | None:
    """The version registered before from the same model and evidence."""
    same = [v for v in found.search_model_versions(f"name = '{name}'") if v.tags.get(IDENTITY) == identity]
    return max((v.version for v in same), key=int, default=None)


def _against_champion(found: Any, job: Job, name: str, version: str, judged: dict[str, Any]) -> list[str]:
    from mlflow.exceptions import MlflowException

    try:
        holder = found.get_model_version_by_alias(name, tracking.CHAMPION)
    except MlflowException:
        return []
    told = holder.tags.get("renewals.judged")
    if str(holder.version) == version or not told:
        return []
    return worse_than_champion(judged, json.loads(told))


def _version(found: Any, name: str, run_id: str, identity: str, listed: bytes) -> str:
    from mlflow.exceptions import MlflowException

    try:
        found.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {IDENTITY: identity, tracking.DIGEST: hashlib.sha256(listed).hexdigest()}
    made = found.create_model_version(name, source=f"runs:/{run_id}/model", run_id=run_id, tags=tags)
    return str(made.version)


# --- the run -----------------------------------------------------------------------------------


def _log(
    found: Any, job: Job, target: str, files: dict[str, bytes], model: dict[str, bytes], metrics: dict[str, Any]
) -> str:
    """One run with everything that speaks for or against the model; returns its id."""
    import mlflow

    tags = {"target": target, "until": str(job.day), "mlflow.user": "renewals", "mlflow.source.name": "renewals learn"}
    fingerprints = _fingerprints(job, json.loads(files[CARD]))
    with mlflow.start_run(
        experiment_id=tracking.experiment(found, job), run_name=f"{target} {job.day}", tags=tags | fingerprints
    ) as run:
        mlflow.log_params(_params(job, json.loads(files[CARD])))
        _log_metrics(metrics)
        mlflow.log_dict(job.settings.model_dump(mode="json"), "params.json")
        mlflow.log_dict({"features": read_catalogue(job)}, "features.json")
        mlflow.log_dict(metrics, "metrics.json")
        _log_files(model, tracking.FOLDER)
        _log_files({name: files[name] for name in KEPT_BESIDE}, "training")
        _log_files(pictures(job.data / "evaluation" / target / "plots"), "plots")
        _log_booster(files)
    return str(run.info.run_id)


def _fingerprints(job: Job, card: dict[str, Any]) -> dict[str, str]:
    certificate = job.data / "certificate.json"
    of_inputs = hashlib.sha256(certificate.read_bytes()).hexdigest() if certificate.is_file() else "none"
    return {
        "training_rows": card["fingerprint"],
        "training_sha256": card["training_sha256"],
        "certificate_sha256": of_inputs,
    }


def _params(job: Job, card: dict[str, Any]) -> dict[str, Any]:
    """The settings that learning reads, flat, and the recipe that was chosen."""
    settings = job.settings.model_dump(mode="json")
    sections = ("grace", "renewal", "folds", "linear", "lightgbm", "calibration", "gate")
    flat = {f"{name}.{key}": value for name in sections for key, value in settings[name].items()}
    return flat | {f"recipe.{key}": value for key, value in card["recipe"].items()}


def _log_metrics(metrics: dict[str, Any]) -> None:
    """AUC, log loss and calibration by lead, and by origin as steps; MLflow stores no infinities."""
    import mlflow

    for lead, told in metrics["at_lead"].items():
        for speaker, scores in told.items():
            if isinstance(scores, dict):
                mlflow.log_metrics(_finite({f"{speaker}_{n}_at_{lead}d": v for n, v in scores.items()}))
    for step, fold in enumerate(metrics["folds"]):
        for lead, scores in fold["at_lead"].items():
            mlflow.log_metrics(_finite({f"fold_{n}_at_{lead}d": v for n, v in scores.items()}), step=step)


def _finite(scores: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items() if value is not None and value - value == 0}


def _log_files(files: dict[str, bytes], folder: str) -> None:
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            Path(scratch, name).write_bytes(content)
        mlflow.log_artifacts(scratch, folder)


def _log_booster(files: dict[str, bytes]) -> None:
    """The booster in MLflow's own flavour, so that it loads anywhere without this repository."""
    import lightgbm as lgb
    import mlflow.lightgbm

    booster = lgb.Booster(model_str=files["model.txt"].decode())
    mlflow.lightgbm.log_model(booster, name="model", pip_requirements=[f"lightgbm=={lgb.__version__}"])


def pictures(folder: Path) -> dict[str, bytes]:
    """The plots of a back-test as PNG, by name."""
    os.environ.setdefault("MPLBACKEND", "agg")
    import pandas as pd

    calibration, roc, importance = (
        pd.read_csv(folder / f"{name}.csv") for name in ("calibration", "roc", "importance")
    )
    return {
        "calibration.png": _picture(lambda axes: _draw_calibration(axes, calibration)),
        "roc.png": _picture(lambda axes: _draw_roc(axes, roc)),
        "importance.png": _picture(lambda axes: _draw_importance(axes, importance)),
    }


def _picture(draw: Any) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    draw(figure.subplots())
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110)
    return sink.getvalue()


def _draw_calibration(axes: Any, calibration: Any) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.plot(calibration["promised"], calibration["seen"], marker="o")
    axes.set(xlabel="promised", ylabel="seen", title="Calibration, back-test")


def _draw_roc(axes: Any, roc: Any) -> None:
    for speaker, curve in roc.groupby("speaker"):
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], label=speaker.replace("_", " "))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, back-test")
    if len(roc):
        axes.legend()


def _draw_importance(axes: Any, importance: Any) -> None:
    top = importance.head(20).iloc[::-1]
    axes.barh(top["feature"], top["mean_contribution"])
    axes.set(xlabel="mean absolute contribution (log-odds)", title="What moves the margin")


def _json(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    main(register)
