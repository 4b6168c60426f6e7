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

from renewals.pipelines.runtime.errors import InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.scoring.champion_comparison import _against
from renewals.pipelines.storage import folders
from renewals.pipelines.storage.artifacts import (
    CARD,
    EVALUATION,
    METRICS,
    MODELS,
    SCHEMA,
    as_json,
    read_model,
    why_untrained,
)
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import champion_history, model_loader, model_registry
from renewals.pipelines.storage.registry.evaluation_plots import plots
from renewals.pipelines.storage.registry.mlflow_runs import (
    REGISTERED,
    _ensure_registered,
    _kept,
    _log,
    _log_model,
    _run_tags,
    _whole,
)
from renewals.pipelines.storage.registry.trained_models import learning_options

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TRIAL_TAG, VERDICT_TAG = "renewals.trial", "renewals.verdict"


def register(job: Job, target: str) -> dict[str, Any]:
    """Register the target's model and let the gate decide; write and return what it decided.

    `passed` says whether the gate let it through, `reasons` why not, `serves` which version serves now, `waits` why a
    model that passed does not. Nothing is raised on refusal: the caller decides. The model and its evaluation are
    copied from the side of learning to the data folder: those of the last learning.

    A trial registers and copies nothing. It is compared with the champion and tracked; `verdict` says what would have
    come of it in earnest.
    """
    files = read_model(job.side, target)
    untrained = why_untrained(files)
    if untrained is None:
        decided = _registered(job, target, files, read_metrics(job, target))
    else:
        decided = {"passed": False, "trained": False, "reasons": [untrained], "version": None, "already": False}
        decided |= {"trial": job.trial, "verdict": "would be refused"} if job.trial else {}
    decided = {"target": target, "name": model_registry.registry_name(target), **decided}
    atomic.write_bytes(job.side / REGISTERED / f"{target}.json", as_json(_receipt(decided)))
    if not job.trial:
        _land(job, target)
    return decided


def _receipt(decided: Mapping[str, Any]) -> dict[str, Any]:
    """What stays true of a registration: which version serves, and which waits, only the registry knows later on."""
    moving = {"serves": "champion", "waits": "waits"}
    kept = {name: value for name, value in decided.items() if name not in moving}
    return kept | {"at_registration": {name: decided[own] for own, name in moving.items() if own in decided}}


def _land(job: Job, target: str) -> None:
    """Copy what was learned of a target to the data folder, each folder whole or not at all."""
    for kind in (MODELS, EVALUATION):
        folders.copy_folder(job.side / kind / target, job.data / kind / target)
    receipt = job.side / REGISTERED / f"{target}.json"
    atomic.write_bytes(job.data / REGISTERED / receipt.name, receipt.read_bytes())


def read_metrics(job: Job, target: str) -> dict[str, Any]:
    """What `evaluate` wrote."""
    path = job.side / EVALUATION / target / METRICS
    if not path.is_file():
        raise InputMissing(f"no back-test at {path}: run `renewals learn`, or the stage evaluate, first")
    metrics: dict[str, Any] = json.loads(path.read_bytes())
    return metrics


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a model, beside the champion of the moment."""

    reasons: list[str]
    """Why it may not serve; empty where it may."""
    compared: dict[str, Any] | None
    """How it compares with the champion on the same rows; None where there is none, or it is the champion itself."""
    waits: str | None
    """Why it does not serve by itself, although it passed."""
    older: bool
    """Whether it learned until an earlier day than the champion."""
    uncompared: str | None = None
    """Why it was not compared with the champion that is there; None where it was, or where there is none."""


def _registered(job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]) -> dict[str, Any]:
    """Register the model, or track it as a trial; what the gate says of it, and what serves now."""
    with model_registry.alone(job):
        client = model_registry.tracking(job)
        with model_registry.answering(model_registry.tracking_uri(job)):
            if job.trial:
                version, already = _known(client, job, target, files), False
            else:
                version, already = _version(client, job, target, files, metrics)
            champion = model_registry.current(client, target)
            verdict = _verdict(client, job, target, champion, version, files, metrics)
            if job.trial:
                done = _track(client, job, target, files, metrics, verdict, _same(champion, version))
            else:
                assert version is not None
                waits = _decide(client, target, version, champion, verdict)
                done = {"version": str(version.version), "already": already, "waits": waits}
            champion = model_registry.current(client, target)
    return {
        "passed": not verdict.reasons,
        "trained": True,
        "reasons": verdict.reasons,
        "serves": str(champion.version) if champion is not None else None,
        "against_champion": verdict.compared,
        "not_compared": verdict.uncompared,
        **done,
    }


def _verdict(
    client: MlflowClient,
    job: Job,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    files: dict[str, bytes],
    metrics: Mapping[str, Any],
) -> Verdict:
    """Ask the gate; `version` is the registered version of these files, None where there is none."""
    from renewals.models.evaluation.gate import refusals, worse

    gate, until = job.settings.gate, str(model_registry.described(files, CARD)["until"])
    reasons, same = refusals(metrics["judged"], gate), _same(champion, version)
    compared, uncompared = None, None
    if champion is not None and not same:
        compared, uncompared = _against(client, job, target, champion, files)
        reasons += worse(compared, str(champion.version)) if compared else []
    older = champion is not None and until < champion.tags.get("until", "")
    waits = None if same else _why_it_waits(client, target, champion, version, until if older else None, gate.promote)
    return Verdict(reasons, compared, None if reasons else waits, older, uncompared)


def _same(one: ModelVersion | None, other: ModelVersion | None) -> bool:
    return one is not None and other is not None and one.version == other.version


def _decide(
    client: MlflowClient, target: str, version: ModelVersion, champion: ModelVersion | None, verdict: Verdict
) -> str | None:
    """Write down what the gate said and let what passed serve; why it waits instead, where it does.

    What has served before and was taken back, or gave way to another, returns by hand only: learning once more from
    the same rows must not undo a rollback. A model that learned until an earlier day than the champion serves by hand
    only, too, and is no challenger: it must not take the place of one that waits.
    """
    said, reasons = (
        model_registry.REFUSED if verdict.reasons else model_registry.PASSED,
        "; ".join(verdict.reasons) or "none",
    )
    client.set_model_version_tag(version.name, version.version, model_registry.GATE_TAG, said)
    client.set_model_version_tag(version.name, version.version, model_registry.REASONS_TAG, reasons)
    if verdict.reasons:
        champion_history.turn_away(client, target, version)
        return None
    if _same(champion, version):
        return None
    if verdict.waits is None:
        champion_history.crown(client, target, version, champion_history.PASSED_BY_ITSELF)
        return None
    if not verdict.older:
        champion_history.wait(client, version)
    by_hand = f"{verdict.waits}: `renewals promote {target} --version {version.version}` makes it serve"
    structlog.get_logger().warning("a model waits", target=target, version=version.version, why=by_hand)
    return by_hand


def _why_it_waits(
    client: MlflowClient,
    target: str,
    champion: ModelVersion | None,
    version: ModelVersion | None,
    older: str | None,
    promote: str,
) -> str | None:
    """Why a model that passed does not serve by itself; `older` is its day where the champion learned until a later."""
    who = f"version {version.version}" if version is not None else "this model"
    if older and champion is not None:
        return (
            f"{who} learned until {older}, an earlier day than the champion, version {champion.version}, "
            f"which learned until {champion.tags['until']}"
        )
    if promote == "manual":
        return f"{who} passed the gate and waits (gate.promote is manual)"
    if version is None:
        return None
    if champion_history.BACK_TAG in version.tags:
        return f"{who} was rolled back ({version.tags[champion_history.BACK_TAG]})"
    served = str(version.version) in champion_history.line(client, target, champion)
    return f"{who} served before and was replaced" if served else None


# --- trials --------------------------------------------------------------------------------------


def _track(
    client: MlflowClient,
    job: Job,
    target: str,
    files: dict[str, bytes],
    metrics: Mapping[str, Any],
    verdict: Verdict,
    serves: bool,
) -> dict[str, Any]:
    """Log a trial to MLflow: a run under the trial's name, and no version. Returns what learning it would have done."""
    card, outcome = model_registry.described(files, CARD), _outcome(verdict, serves)
    tags = {
        **_run_tags(job, target, card),
        TRIAL_TAG: str(job.trial),
        VERDICT_TAG: outcome,
        model_registry.REASONS_TAG: "; ".join(verdict.reasons) or "none",
    }
    name = f"{target} {card['until']}, trial {job.trial}"
    run = client.create_run(model_registry.experiment(client, job, target), tags=tags, run_name=name)
    _log(client, run.info.run_id, job, card, metrics, plots(job, target))
    client.log_batch(run.info.run_id, metrics=list(_gains(verdict.compared or {})))
    client.set_terminated(run.info.run_id)
    return {"trial": job.trial, "version": None, "already": False, "waits": verdict.waits, "verdict": outcome}


def _outcome(verdict: Verdict, serves: bool) -> str:
    """What would have come of a trial, had it been learned in earnest."""
    if verdict.reasons:
        return "would be refused"
    if serves:
        return "is the champion already"
    return "would wait" if verdict.waits else "would serve"


def _gains(compared: Mapping[str, Any]) -> Iterable[Any]:
    """How much better a model is than the champion, with the ends of the interval, where that can be said."""
    from mlflow.entities import Metric

    for name in ("gain", "auc"):
        for end, value in (compared.get(name) or {}).items():
            if math.isfinite(value):
                yield Metric(f"{name}_over_champion.{end}", float(value), 0, 0)


# --- the champion's word -------------------------------------------------------------------------


# --- the run and the version ---------------------------------------------------------------------


def _version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> tuple[ModelVersion, bool]:
    """The version of these files, unharmed, and whether it was there already."""
    known = _known(client, job, target, files)
    return (known, True) if known else (_new_version(client, job, target, files, metrics), False)


def _known(client: MlflowClient, job: Job, target: str, files: dict[str, bytes]) -> ModelVersion | None:
    """The registered version of these files, where there is one that is unharmed."""
    identity = _identity(job, files)
    same = (
        own for own in model_registry.versions(client, target) if own.tags.get(model_registry.IDENTITY_TAG) == identity
    )
    return next((version for version in same if _whole(client, version)), None)


def _identity(job: Job, files: Mapping[str, bytes]) -> str:
    """What makes a version the same: what it learned from, how, by which code, and what came out."""
    from renewals.models.training.ensemble import FILES

    card = model_registry.described(dict(files), CARD)
    made_of = [
        card["fingerprint"],
        model_registry.code_fingerprint(),
        learning_options(job),
        [model_registry.sha256(files[n]) for n in FILES],
    ]
    return model_registry.sha256(json.dumps(made_of, sort_keys=True).encode())


def _new_version(
    client: MlflowClient, job: Job, target: str, files: dict[str, bytes], metrics: dict[str, Any]
) -> ModelVersion:
    name = model_registry.registry_name(target)
    kept = _kept(files, job, metrics)
    manifest = model_registry.manifest_of(kept)
    card = model_registry.described(files, CARD)
    tags = {
        **_run_tags(job, target, card),
        model_registry.IDENTITY_TAG: _identity(job, files),
        model_registry.MANIFEST_TAG: model_registry.sha256(manifest),
        "schema_sha256": model_registry.described(files, SCHEMA)["hash"],
    }
    with ThreadPoolExecutor(1) as beside:  # the trial is a process of its own: meanwhile there is time to draw
        tried = beside.submit(model_loader.loaded, job.data, f"of {target} in {job.side / MODELS}", files)
        pictures = plots(job, target)
    booster = tried.result().booster
    run = client.create_run(
        model_registry.experiment(client, job, target), tags=tags, run_name=f"{target} {card['until']}"
    )
    _log(client, run.info.run_id, job, card, metrics, pictures)
    source = _log_model(client, run, booster, {**kept, model_registry.MANIFEST: manifest}, target)
    _ensure_registered(client, name, target)
    version = client.create_model_version(name, source, run.info.run_id, tags=tags, await_creation_for=60)
    client.set_terminated(run.info.run_id)
    return version


# --- plots ---------------------------------------------------------------------------------------


if __name__ == "__main__":
    main(register)
