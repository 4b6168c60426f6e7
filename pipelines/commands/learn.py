"""The whole of learning, as the command line runs it; `dvc.yaml` runs the same stages one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from renewals.pipelines.runtime.console import on_terminal, progress
from renewals.pipelines.runtime.errors import GateRefused
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn.evaluate import evaluate
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.stages.learn.training_table import count_steps, make_training_table
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.notices import freshness_notices, report_notices, with_words
from renewals.pipelines.storage.registry.model_registry import ui_command


def learn(job: Job, tried: bool = False, name: str | None = None) -> dict[str, Any]:
    """From raw tables to registered models: what was known until the day, and what had become of it.

    A trial works in a folder of its own: it says how its models compare with the champions, and changes neither them
    nor the last learning. `name` is what the trial is called; without one its day and parameters give it a name.
    """
    job = as_trial(job, name) if tried or job.trial else job
    done: dict[str, Any] = {"until": str(job.until)}
    with progress(count_steps(job) + 3 * len(job.settings.targets), "learn") as step:
        done |= make_training_table(job, step)
        for target in job.settings.targets:
            for judge in (train, evaluate, register):
                done[f"{judge.__name__} {target}"] = judge(job, target)
                step(f"{judge.__name__} {target}")
    if job.trial:
        _show(done, job)
    else:
        _refused(done["register renewal"])
    summary = _summary(done, job)
    report_notices(summary["notices"], job.settings.list.language)
    return summary


def as_trial(job: Job, name: str | None = None) -> Job:
    """The same learning as a trial. Raises `Config` where the name cannot be a folder's."""
    made_of = f"{job.tables} {job.settings.model_dump_json()}".encode()
    named = replace(job, trial=name or job.trial or f"{job.day}-{sha256(made_of)[:8]}")
    return replace(named, apart=str(named.trial_folder.relative_to(job.data)))


def _show(done: Mapping[str, Any], job: Job) -> None:
    """What a trial has shown, a sentence for each target, on the standard error of a person."""
    if on_terminal():
        for target in job.settings.targets:
            print(sentence(done[f"register {target}"]), file=sys.stderr)


def sentence(tried: Mapping[str, Any]) -> str:
    """What a trial has shown of one target, and what would have come of it in earnest."""
    from renewals.models.evaluation.gate import comparison

    if not tried["trained"]:
        return f"{tried['target']}: no model could be trained: {tried['reasons'][0]}"
    told = comparison(tried["against_champion"]) if tried["against_champion"] else "there is no other champion"
    if tried["not_compared"]:
        told = f"not compared, for {tried['not_compared']}"
    why = "; ".join(tried["reasons"]) or tried["waits"]
    return f"{tried['target']}: {told}. Learned in earnest it {tried['verdict']}" + (f": {why}" if why else "")


def _refused(renewal: dict[str, Any]) -> None:
    if not renewal["passed"]:
        raise GateRefused("the renewal model was not promoted:\n  " + "\n  ".join(renewal["reasons"]))


def _summary(done: dict[str, Any], job: Job) -> dict[str, Any]:
    return {
        "until": done["until"],
        **({"trial": job.trial, "folder": str(job.side)} if job.trial else {}),
        "observations": done["spine"]["observations"],
        "columns": done["assemble"]["columns"],
        "families_absent": done["assemble"]["families_absent"],
        "notices": with_words(freshness_notices(job)),
        "models": {target: done[f"register {target}"] for target in job.settings.targets},
        "show_runs": ui_command(job),
    }
