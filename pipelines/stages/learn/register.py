"""A trained model goes to MLflow, and through the gate: what passes serves, what does not says why.

The same data, parameters and code make the same version: nothing is registered twice. The gate is asked every time,
for its limits may have changed.
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
    """Register the target's model and let the gate decide; write and return what it decided.

    `passed` says whether the gate let it through, `reasons` why not, `champion_version` which version serves now,
    `waiting_reason` why a model that passed does not. Nothing is raised on refusal: the caller decides. The model and
    its evaluation are copied from the side of learning to the data folder: those of the last learning.

    A trial registers and copies nothing. It is compared with the champion and tracked; `gate_outcome` says what would
    have come of it in earnest.
    """
    files = read_model(job.folder, target)
    untrained = untrained_reason(files)
    if untrained is None:
        decided = _register_model(job, target, files, read_metrics(job, target))
    else:
        decided = {"passed": False, "trained": False, "reasons": [untrained], "version": None}
        decided |= {"already_registered": False}
        decided |= {"experiment": job.trial, "gate_outcome": "rejected"} if job.trial else {}
    decided = {"target": target, "name": model_registry.registry_name(target), **decided}
    atomic.write_bytes(job.folder / REGISTERED / f"{target}.json", to_json_bytes(_receipt(decided)))
    if not job.trial:
        _copy_outputs(job, target)
    return decided


def _receipt(decision: Mapping[str, Any]) -> dict[str, Any]:
    """What stays true of a registration: which version serves, and which waits, only the registry knows later on."""
    moving = ("champion_version", "waiting_reason")
    kept = {name: value for name, value in decision.items() if name not in moving}
    return kept | {"at_registration": {name: decision[name] for name in moving if name in decision}}


def _copy_outputs(job: Job, target: str) -> None:
    """Copy what was learned of a target to the data folder, each folder whole or not at all."""
    for kind in (MODELS, EVALUATION):
        folders.copy_folder(job.folder / kind / target, job.data / kind / target)
    receipt = job.folder / REGISTERED / f"{target}.json"
    atomic.write_bytes(job.data / REGISTERED / receipt.name, receipt.read_bytes())


def read_metrics(job: Job, target: str) -> dict[str, Any]:
    """What `evaluate` wrote."""
    path = job.folder / EVALUATION / target / METRICS
    if not path.is_file():
        raise MissingInputError(f"no back-test at {path}: run `renewals learn`, or the stage evaluate, first")
    metrics: dict[str, Any] = json.loads(path.read_bytes())
    return metrics


@dataclass(frozen=True)
class GateDecision:
    """What the gate says of a model, beside the champion of the moment."""

    reasons: list[str]
    """Why it may not serve; empty where it may."""
    comparison: dict[str, Any] | None
    """How it compares with the champion on the same rows; None where there is none, or it is the champion itself."""
    wait_reason: str | None
    """Why it does not serve by itself, although it passed."""
    is_older: bool
    """Whether it learned until an earlier day than the champion."""
    no_comparison_reason: str | None = None
    """Why it was not compared with the champion that is there; None where it was, or where there is none."""


def _register_model(job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]) -> dict[str, Any]:
    """Register the model, or track it as a trial; what the gate says of it, and what serves now."""
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            if job.trial:
                version, already = _find_version(client, job, target, files), False
            else:
                version, already = _find_or_create_version(client, job, target, files, metrics)
            champion = model_registry.version_by_alias(client, target)
            verdict = _evaluate_gate(client, job, target, champion, version, files, metrics)
            if job.trial:
                done = _track_trial(client, job, target, files, metrics, verdict, _same_version(champion, version))
            else:
                assert version is not None
                waits = _apply_decision(client, target, version, champion, verdict)
                done = {"version": str(version.version), "already_registered": already, "waiting_reason": waits}
            champion = model_registry.version_by_alias(client, target)
    return {
        "passed": not verdict.reasons,
        "trained": True,
        "reasons": verdict.reasons,
        "champion_version": str(champion.version) if champion is not None else None,
        "champion_comparison": verdict.comparison,
        "not_compared_reason": verdict.no_comparison_reason,
        **done,
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
    """Ask the gate; `version` is the registered version of these files, None where there is none."""
    from renewals.models.evaluation.gate import failed_checks, failed_comparisons

    gate, until = job.settings.gate, str(model_registry.read_model_json(files, MODEL_CARD)["until"])
    reasons, same = failed_checks(metrics["gate_metrics"], gate), _same_version(champion, version)
    compared, uncompared = None, None
    if champion is not None and not same:
        compared, uncompared = compare_with_champion(client, job, target, champion, files)
        reasons += failed_comparisons(compared, str(champion.version)) if compared else []
    older = champion is not None and until < champion.tags.get("until", "")
    waits = None if same else _wait_reason(client, target, champion, version, until if older else None, gate.promote)
    return GateDecision(reasons, compared, None if reasons else waits, older, uncompared)


def _same_version(first: ModelVersion | None, second: ModelVersion | None) -> bool:
    return first is not None and second is not None and first.version == second.version


def _apply_decision(
    client: MlflowClient, target: str, version: ModelVersion, champion: ModelVersion | None, decision: GateDecision
) -> str | None:
    """Write down what the gate said and let what passed serve; why it waits instead, where it does.

    What has served before and was taken back, or gave way to another, returns by hand only: learning once more from
    the same rows must not undo a rollback. A model that learned until an earlier day than the champion serves by hand
    only, too, and is no challenger: it must not take the place of one that waits.
    """
    said, reasons = (
        model_registry.REJECTED if decision.reasons else model_registry.PASSED,
        "; ".join(decision.reasons) or "none",
    )
    client.set_model_version_tag(version.name, version.version, model_registry.GATE_TAG, said)
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
    by_hand = f"{decision.wait_reason}: `renewals promote {target} --version {version.version}` makes it serve"
    structlog.get_logger().warning(
        "model passed the gate and is not promoted automatically", target=target, version=version.version, why=by_hand
    )
    return by_hand


def _wait_reason(
    client: MlflowClient,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    older_day: str | None,
    promote_mode: str,
) -> str | None:
    """Why a model that passed does not serve by itself; `older_day` is its day where the champion learned until a
    later."""
    who = f"version {version.version}" if version is not None else "this model"
    if older_day and champion is not None:
        return (
            f"{who} was trained until {older_day}, before the training day of the champion, version {champion.version} "
            f"({champion.tags['until']})"
        )
    if promote_mode == "manual":
        return f"{who} passed the gate and is not promoted automatically (gate.promote is manual)"
    if version is None:
        return None
    if champion_history.ROLLED_BACK_TAG in version.tags:
        return f"{who} was rolled back ({version.tags[champion_history.ROLLED_BACK_TAG]})"
    served = str(version.version) in champion_history.champion_versions(client, target, champion)
    return f"{who} was champion before and was replaced" if served else None


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
    """Log a trial to MLflow: a run under the trial's name, and no version. Returns what learning it would have done."""
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
    """What would have come of a trial, had it been learned in earnest."""
    if decision.reasons:
        return "rejected"
    if serves:
        return "unchanged"
    return "challenger" if decision.wait_reason else "promoted"


def _comparison_metrics(comparison: Mapping[str, Any]) -> Iterable[Any]:
    """How much better a model is than the champion, with the ends of the interval, where that can be said."""
    from mlflow.entities import Metric

    for name in ("gain", "auc"):
        for end, value in (comparison.get(name) or {}).items():
            if math.isfinite(value):
                yield Metric(f"{name}_over_champion.{end}", float(value), 0, 0)


# --- the champion's word -------------------------------------------------------------------------


# --- the run and the version ---------------------------------------------------------------------


def _find_or_create_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> tuple[ModelVersion, bool]:
    """The version of these files, unharmed, and whether it was there already."""
    known = _find_version(client, job, target, files)
    return (known, True) if known else (_create_version(client, job, target, files, metrics), False)


def _find_version(client: MlflowClient, job: Job, target: str, files: dict[str, bytes]) -> ModelVersion | None:
    """The registered version of these files, where there is one that is unharmed."""
    identity = _identity(job, files)
    same = (
        own
        for own in model_registry.registered_versions(client, target)
        if own.tags.get(model_registry.IDENTITY_TAG) == identity
    )
    return next((version for version in same if intact_files(client, version)), None)


def _identity(job: Job, files: Mapping[str, bytes]) -> str:
    """What makes a version the same: what it learned from, how, by which code, and what came out."""
    from renewals.models.training.ensemble import MODEL_FILES

    card = model_registry.read_model_json(dict(files), MODEL_CARD)
    made_of = [
        card["rows_sha256"],
        model_registry.code_fingerprint(),
        training_settings(job),
        [sha256(files[n]) for n in MODEL_FILES],
    ]
    return sha256(json.dumps(made_of, sort_keys=True).encode())


def _create_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> ModelVersion:
    name = model_registry.registry_name(target)
    kept = version_files(files, job, metrics)
    manifest = model_registry.build_manifest(kept)
    card = model_registry.read_model_json(files, MODEL_CARD)
    tags = {
        **run_tags(job, target, card),
        model_registry.IDENTITY_TAG: _identity(job, files),
        model_registry.MANIFEST_TAG: sha256(manifest),
        "schema_sha256": model_registry.read_model_json(files, SCHEMA)["hash"],
    }
    with ThreadPoolExecutor(1) as beside:  # the trial is a process of its own: meanwhile there is time to draw
        tried = beside.submit(model_loader.load_model, job.data, f"of {target} in {job.folder / MODELS}", files)
        pictures = draw_plots(job, target)
    booster = tried.result().booster
    run = client.create_run(
        model_registry.ensure_experiment(client, job, target), tags=tags, run_name=f"{target} {card['until']}"
    )
    log_run(client, run.info.run_id, job, card, metrics, pictures)
    source = log_model(client, run, booster, {**kept, model_registry.MANIFEST: manifest}, target)
    ensure_registered(client, name, target)
    version = client.create_model_version(name, source, run.info.run_id, tags=tags, await_creation_for=60)
    client.set_terminated(run.info.run_id)
    return version


# --- plots ---------------------------------------------------------------------------------------


if __name__ == "__main__":
    main(register)
