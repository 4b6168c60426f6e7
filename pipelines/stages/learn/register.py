"""Register a trained model in MLflow and apply the gate: a model that passes can serve, otherwise reasons are recorded.

The same data, parameters and code give the same version: nothing is registered twice. The gate is evaluated every time,
because its limits may have changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.scoring.champion_comparison import compare_with_champion
from renewals.pipelines.storage import folders
from renewals.pipelines.storage.artifacts import (
    EVALUATION,
    HISTORY,
    METRICS,
    MODEL_CARD,
    MODELS,
    SCHEMA,
    read_model,
    sha256,
    to_json_bytes,
    untrained_reason,
)
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import champion_history, model_loader, model_registry
from renewals.pipelines.storage.registry.evaluation_plots import draw_plots
from renewals.pipelines.storage.registry.mlflow_runs import (
    REGISTERED,
    ensure_registered,
    intact_files,
    log_model,
    log_run,
    run_tags,
    version_files,
)
from renewals.pipelines.storage.registry.trained_models import training_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

STEP = Step(after="evaluate", commands=("learn",), per_target=True)

EXPERIMENT_TAG, OUTCOME_TAG = "renewals.experiment", "renewals.gate_outcome"


def register(job: Job, target: str) -> dict[str, Any]:
    """Register the target's model and apply the gate; write and return the result.

    Keys: `passed`; `reasons` why it did not pass; `champion_version` that serves now; `waiting_reason` why a model that
    passed does not serve. A rejection raises nothing: the caller decides. The model and its evaluation are copied from
    the job's folder to the data folder, where those of the newest training are.

    A trial registers and copies nothing. It is compared with the champion and tracked in MLflow; `gate_outcome` is what
    the gate would have decided outside a trial.
    """
    files = read_model(job.folder, target)
    untrained = untrained_reason(files)
    if untrained is None:
        result = _register_model(job, target, files, read_metrics(job, target))
    else:
        result = {"passed": False, "trained": False, "reasons": [untrained], "version": None}
        result |= {"already_registered": False}
        result |= {"experiment": job.trial, "gate_outcome": "rejected"} if job.trial else {}
    result = {"target": target, "name": model_registry.registry_name(target), **result}
    atomic.write_bytes(job.folder / REGISTERED / f"{target}.json", to_json_bytes(_receipt(result)))
    if not job.trial:
        _copy_outputs(job, target)
    return result


def _receipt(decision: Mapping[str, Any]) -> dict[str, Any]:
    """The lasting facts of a registration; champion and waiting reason may change, so `at_registration` holds them."""
    changing_keys = ("champion_version", "waiting_reason")
    lasting = {name: value for name, value in decision.items() if name not in changing_keys}
    return lasting | {"at_registration": {name: decision[name] for name in changing_keys if name in decision}}


def _copy_outputs(job: Job, target: str) -> None:
    """Copy model, evaluation and receipt of a target to the data folder; each folder completely or not at all."""
    for kind in (MODELS, EVALUATION):
        folders.copy_folder(job.folder / kind / target, job.data / kind / target)
    receipt = job.folder / REGISTERED / f"{target}.json"
    atomic.write_bytes(job.data / REGISTERED / receipt.name, receipt.read_bytes())


def read_metrics(job: Job, target: str) -> dict[str, Any]:
    """Read the metrics that `evaluate` wrote. Raises MissingInputError if there are none."""
    path = job.folder / EVALUATION / target / METRICS
    if not path.is_file():
        raise MissingInputError(f"no back-test at {path}: run `renewals learn`, or the stage evaluate, first")
    metrics: dict[str, Any] = json.loads(path.read_bytes())
    return metrics


@dataclass(frozen=True)
class GateDecision:
    """Result of the gate for a model, given the present champion."""

    reasons: list[str]
    """Failed checks; empty if the model passed."""
    comparison: dict[str, Any] | None
    """Comparison with the champion on the same rows; None if there is no champion, or the model is the champion."""
    wait_reason: str | None
    """Why it is not promoted automatically although it passed."""
    is_older: bool
    """True if its training day is before the champion's."""
    no_comparison_reason: str | None = None
    """Why it was not compared with the present champion; None if it was, or if there is no champion."""


def _register_model(job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]) -> dict[str, Any]:
    """Register the model or track it as a trial, apply the gate; return the decision and the champion's version."""
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            if job.trial:
                version, already_registered = _find_version(client, job, target, files), False
            else:
                version, already_registered = _find_or_create_version(client, job, target, files, metrics)
            champion = model_registry.version_by_alias(client, target)
            decision = _evaluate_gate(client, job, target, champion, version, files, metrics)
            if job.trial:
                outcome = _track_trial(client, job, target, files, metrics, decision, _same_version(champion, version))
            else:
                assert version is not None
                wait_reason = _apply_decision(client, target, version, champion, decision)
                outcome = {
                    "version": str(version.version),
                    "already_registered": already_registered,
                    "waiting_reason": wait_reason,
                }
            champion = model_registry.version_by_alias(client, target)
    return {
        "passed": not decision.reasons,
        "trained": True,
        "reasons": decision.reasons,
        "champion_version": str(champion.version) if champion is not None else None,
        "champion_comparison": decision.comparison,
        "not_compared_reason": decision.no_comparison_reason,
        **outcome,
    }


def _evaluate_gate(
    client: MlflowClient,
    job: Job,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    files: dict[str, bytes],
    metrics: Mapping[str, Any],
) -> GateDecision:
    """Evaluate the gate; `version` is the registered version of these files, None if there is none."""
    from renewals.models.evaluation.gate import failed_checks, failed_comparisons

    gate, until = job.settings.gate, str(model_registry.read_model_json(files, MODEL_CARD)["until"])
    reasons, is_champion = failed_checks(metrics["gate_metrics"], gate), _same_version(champion, version)
    comparison, no_comparison_reason = None, None
    if champion is not None and not is_champion:
        comparison, no_comparison_reason = compare_with_champion(client, job, target, champion, files)
        reasons += failed_comparisons(comparison, str(champion.version)) if comparison else []
    is_older = champion is not None and until < champion.tags.get("until", "")
    wait_reason = (
        None
        if is_champion
        else _wait_reason(client, target, champion, version, until if is_older else None, gate.promote)
    )
    return GateDecision(reasons, comparison, None if reasons else wait_reason, is_older, no_comparison_reason)


def _same_version(first: ModelVersion | None, second: ModelVersion | None) -> bool:
    return first is not None and second is not None and first.version == second.version


def _apply_decision(
    client: MlflowClient, target: str, version: ModelVersion, champion: ModelVersion | None, decision: GateDecision
) -> str | None:
    """Tag the version with the gate's decision and promote it if it passed; return why a passed model waits, else None.

    A version that was champion before (rolled back or replaced) is promoted by hand only: training again on the same
    rows must not undo a rollback. A model with an earlier training day than the champion is also promoted by hand only,
    and does not become challenger: it must not replace a waiting one.
    """
    gate_state, reasons = (
        model_registry.REJECTED if decision.reasons else model_registry.PASSED,
        "; ".join(decision.reasons) or "none",
    )
    client.set_model_version_tag(version.name, version.version, model_registry.GATE_TAG, gate_state)
    client.set_model_version_tag(version.name, version.version, model_registry.REASONS_TAG, reasons)
    if decision.reasons:
        champion_history.clear_challenger(client, target, version)
        return None
    if _same_version(champion, version):
        return None
    if decision.wait_reason is None:
        champion_history.set_champion(client, target, version, champion_history.PASSED_GATE)
        return None
    if not decision.is_older:
        champion_history.set_challenger(client, version)
    message = f"{decision.wait_reason}: `renewals promote {target} --version {version.version}` makes it serve"
    structlog.get_logger().warning(
        "model passed the gate and is not promoted automatically", target=target, version=version.version, why=message
    )
    return message


def _wait_reason(
    client: MlflowClient,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    older_day: str | None,
    promote_mode: str,
) -> str | None:
    """Reason why a model that passed is not promoted automatically, or None; `older_day` is its training day if that is
    before the champion's."""
    model_name = f"version {version.version}" if version is not None else "this model"
    if older_day and champion is not None:
        return (
            f"{model_name} was trained until {older_day}, before the training day of the champion, "
            f"version {champion.version} ({champion.tags['until']})"
        )
    if promote_mode == "manual":
        return f"{model_name} passed the gate and is not promoted automatically (gate.promote is manual)"
    if version is None:
        return None
    if champion_history.ROLLED_BACK_TAG in version.tags:
        return f"{model_name} was rolled back ({version.tags[champion_history.ROLLED_BACK_TAG]})"
    was_champion = str(version.version) in champion_history.champion_versions(client, target, champion)
    return f"{model_name} was champion before and was replaced" if was_champion else None


# --- trials --------------------------------------------------------------------------------------


def _track_trial(
    client: MlflowClient,
    job: Job,
    target: str,
    files: dict[str, bytes],
    metrics: Mapping[str, Any],
    decision: GateDecision,
    serves: bool,
) -> dict[str, Any]:
    """Log a trial to MLflow as a run with the trial's name, without a version; return the keys of its result."""
    card, outcome = model_registry.read_model_json(files, MODEL_CARD), _trial_outcome(decision, serves)
    tags = {
        **run_tags(job, target, card),
        EXPERIMENT_TAG: str(job.trial),
        OUTCOME_TAG: outcome,
        model_registry.REASONS_TAG: "; ".join(decision.reasons) or "none",
    }
    name = f"{target} {card['until']}, trial {job.trial}"
    run = client.create_run(model_registry.ensure_experiment(client, job, target), tags=tags, run_name=name)
    log_run(client, run.info.run_id, job, card, metrics, draw_plots(job, target))
    client.log_batch(run.info.run_id, metrics=list(_comparison_metrics(decision.comparison or {})))
    client.set_terminated(run.info.run_id)
    return {
        "experiment": job.trial,
        "version": None,
        "already_registered": False,
        "waiting_reason": decision.wait_reason,
        "gate_outcome": outcome,
    }


def _trial_outcome(decision: GateDecision, serves: bool) -> str:
    """Outcome that the model would have had outside a trial: rejected, unchanged, challenger or promoted."""
    if decision.reasons:
        return "rejected"
    if serves:
        return "unchanged"
    return "challenger" if decision.wait_reason else "promoted"


def _comparison_metrics(comparison: Mapping[str, Any]) -> Iterable[Any]:
    """Yield the gains over the champion with their interval bounds as MLflow metrics; values that are not finite are
    left out."""
    from mlflow.entities import Metric

    for name in ("gain", "auc"):
        for bound, value in (comparison.get(name) or {}).items():
            if math.isfinite(value):
                yield Metric(f"{name}_over_champion.{bound}", float(value), 0, 0)


# --- the run and the version ---------------------------------------------------------------------


def _find_or_create_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> tuple[ModelVersion, bool]:
    """Find an intact version of these files, or create one; return it and whether it existed already."""
    existing = _find_version(client, job, target, files)
    return (existing, True) if existing else (_create_version(client, job, target, files, metrics), False)


def _find_version(client: MlflowClient, job: Job, target: str, files: dict[str, bytes]) -> ModelVersion | None:
    """Find the registered version of these files with intact artifacts; None if there is none."""
    identity = _identity(job, files)
    matches = (
        candidate
        for candidate in model_registry.registered_versions(client, target)
        if candidate.tags.get(model_registry.IDENTITY_TAG) == identity
    )
    return next((version for version in matches if intact_files(client, version)), None)


def _identity(job: Job, files: Mapping[str, bytes]) -> str:
    """SHA-256 that identifies a version: training rows, code, settings and the model files."""
    from renewals.models.training.ensemble import MODEL_FILES

    card = model_registry.read_model_json(dict(files), MODEL_CARD)
    parts = [
        card["rows_sha256"],
        model_registry.code_fingerprint(),
        training_settings(job),
        [sha256(files[name]) for name in MODEL_FILES],
    ]
    return sha256(json.dumps(parts, sort_keys=True).encode())


def _create_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> ModelVersion:
    name = model_registry.registry_name(target)
    stored_files = version_files(files, job, metrics)
    manifest = model_registry.build_manifest(stored_files)
    card = model_registry.read_model_json(files, MODEL_CARD)
    tags = {
        **run_tags(job, target, card),
        model_registry.IDENTITY_TAG: _identity(job, files),
        model_registry.MANIFEST_TAG: sha256(manifest),
        "schema_sha256": model_registry.read_model_json(files, SCHEMA)["hash"],
    }
    with ThreadPoolExecutor(1) as pool:  # the test load runs in a separate process: draw the plots meanwhile
        loaded = pool.submit(model_loader.load_model, job.data, f"of {target} in {job.folder / MODELS}", files)
        plots = draw_plots(job, target)
    booster = loaded.result().booster
    run = client.create_run(
        model_registry.ensure_experiment(client, job, target), tags=tags, run_name=f"{target} {card['until']}"
    )
    log_run(client, run.info.run_id, job, card, metrics, plots)
    source = log_model(client, run, booster, {**stored_files, model_registry.MANIFEST: manifest}, target)
    ensure_registered(client, name, target)
    version = client.create_model_version(
        name,
        source,
        run.info.run_id,
        tags=tags,
        description=" ".join(record["en"] for record in card.get(HISTORY, ())),
        await_creation_for=60,
    )
    client.set_terminated(run.info.run_id)
    return version


if __name__ == "__main__":
    main(register)
