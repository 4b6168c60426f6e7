"""Command `renewals learn`: all stages of training in one process; `dvc.yaml` runs the same stages one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.errors import GateRejectedError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.sequence import find_stages, run_stages
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.notices import add_texts, freshness_notices, report_notices
from renewals.pipelines.storage.registry.model_registry import ui_command

STAGES, TARGET_STAGES = find_stages("learn"), find_stages("learn", per_target=True)
OUTCOME_TEXTS = {
    **{"rejected": "would be rejected", "unchanged": "is already the champion"},
    **{"challenger": "would become the challenger", "promoted": "would become the champion"},
}


def learn(job: Job, trial: bool = False, name: str | None = None) -> dict[str, Any]:
    """Train, evaluate and register the models of all targets with the data known before the cutoff.

    A trial works in its own folder: it compares its models with the champions and changes neither the champions nor the
    last training. `name` is the name of the trial; the default is made from its date and parameters.

    Raises `GateRejectedError` if the gate rejects the renewal model.
    """
    job = trial_job(job, name) if trial or job.trial else job
    results: dict[str, Any] = {"until": str(job.until)}
    with progress(len(STAGES) + len(TARGET_STAGES) * len(job.settings.targets), "learn") as step:
        results |= run_stages(STAGES, job, step)
        for target in job.settings.targets:
            for stage in TARGET_STAGES:
                results[f"{stage.__name__} {target}"] = stage(job, target)
                step(f"{stage.__name__} {target}")
    if job.trial:
        _print_trial(results, job)
    else:
        _require_gate_passed(results["register renewal"])
    summary = _summarize(results, job)
    report_notices(summary["notices"], job.settings.list.language)
    return summary


def trial_job(job: Job, name: str | None = None) -> Job:
    """The same job as a trial in its own folder. Raises `ConfigError` if the name cannot be a folder's."""
    inputs = f"{job.tables} {job.settings.model_dump_json()}".encode()
    renamed_job = replace(job, trial=name or job.trial or f"{job.day}-{sha256(inputs)[:8]}")
    return replace(renamed_job, workspace=str(renamed_job.trial_folder.relative_to(job.data)))


def _print_trial(results: Mapping[str, Any], job: Job) -> None:
    """Print one sentence per target about the result of a trial, if standard error is a terminal."""
    if is_interactive():
        for target in job.settings.targets:
            print(trial_sentence(results[f"register {target}"]), file=sys.stderr)


def trial_sentence(registration: Mapping[str, Any]) -> str:
    """Comparison of a trial's model with the champion, and what `learn` without --try would do with it."""
    from renewals.models.evaluation.gate import comparison_text

    if not registration["trained"]:
        return f"{registration['target']}: no model could be trained: {registration['reasons'][0]}"
    comparison = (
        comparison_text(registration["champion_comparison"])
        if registration["champion_comparison"]
        else "there is no champion to compare with"
    )
    if registration["not_compared_reason"]:
        comparison = f"not compared: {registration['not_compared_reason']}"
    reason = "; ".join(registration["reasons"]) or registration["waiting_reason"]
    return f"{registration['target']}: {comparison}. Without --try it {OUTCOME_TEXTS[registration['gate_outcome']]}" + (
        f": {reason}" if reason else ""
    )


def _require_gate_passed(registration: dict[str, Any]) -> None:
    if not registration["passed"]:
        raise GateRejectedError("the gate rejected the renewal model:\n  " + "\n  ".join(registration["reasons"]))


def _summarize(results: dict[str, Any], job: Job) -> dict[str, Any]:
    return {
        "until": results["until"],
        **({"experiment": job.trial, "folder": str(job.folder)} if job.trial else {}),
        "observations": results["spine"]["observations"],
        "columns": results["assemble"]["columns"],
        "missing_families": results["assemble"]["missing_families"],
        "notices": add_texts(freshness_notices(job)),
        "models": {target: results[f"register {target}"] for target in job.settings.targets},
        "mlflow_ui_command": ui_command(job),
    }
