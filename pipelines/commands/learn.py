"""The whole of learning, as the command line runs it; `dvc.yaml` runs the same stages one by one."""

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
    **{"rejected": "would be refused", "unchanged": "is the champion already"},
    **{"challenger": "would wait", "promoted": "would serve"},
}


def learn(job: Job, trial: bool = False, name: str | None = None) -> dict[str, Any]:
    """From raw tables to registered models: what was known until the day, and what had become of it.

    A trial works in a folder of its own: it says how its models compare with the champions, and changes neither them
    nor the last learning. `name` is what the trial is called; without one its day and parameters give it a name.
    """
    job = trial_job(job, name) if trial or job.trial else job
    done: dict[str, Any] = {"until": str(job.until)}
    with progress(len(STAGES) + len(TARGET_STAGES) * len(job.settings.targets), "learn") as step:
        done |= run_stages(STAGES, job, step)
        for target in job.settings.targets:
            for stage in TARGET_STAGES:
                done[f"{stage.__name__} {target}"] = stage(job, target)
                step(f"{stage.__name__} {target}")
    if job.trial:
        _print_trial(done, job)
    else:
        _require_gate_passed(done["register renewal"])
    summary = _summarize(done, job)
    report_notices(summary["notices"], job.settings.list.language)
    return summary


def trial_job(job: Job, name: str | None = None) -> Job:
    """The same learning as a trial. Raises `ConfigError` where the name cannot be a folder's."""
    made_of = f"{job.tables} {job.settings.model_dump_json()}".encode()
    named = replace(job, trial=name or job.trial or f"{job.day}-{sha256(made_of)[:8]}")
    return replace(named, workspace=str(named.trial_folder.relative_to(job.data)))


def _print_trial(results: Mapping[str, Any], job: Job) -> None:
    """What a trial has shown, a sentence for each target, on the standard error of a person."""
    if is_interactive():
        for target in job.settings.targets:
            print(trial_sentence(results[f"register {target}"]), file=sys.stderr)


def trial_sentence(registration: Mapping[str, Any]) -> str:
    """What a trial has shown of one target, and what would have come of it in earnest."""
    from renewals.models.evaluation.gate import comparison_text

    if not registration["trained"]:
        return f"{registration['target']}: no model could be trained: {registration['reasons'][0]}"
    told = (
        comparison_text(registration["champion_comparison"])
        if registration["champion_comparison"]
        else "there is no champion to compare with"
    )
    if registration["not_compared_reason"]:
        told = f"not compared, for {registration['not_compared_reason']}"
    why = "; ".join(registration["reasons"]) or registration["waiting_reason"]
    return f"{registration['target']}: {told}. Without --try it {OUTCOME_TEXTS[registration['gate_outcome']]}" + (
        f": {why}" if why else ""
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
