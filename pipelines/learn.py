"""The whole of learning, as the command line runs it; `dvc.yaml` runs the same stages one by one."""

from __future__ import annotations

from typing import Any

from pipelines.assemble import assemble
from pipelines.check import check
from pipelines.errors import GateRefused
from pipelines.evaluate import evaluate
from pipelines.featurize import featurize
from pipelines.label import label
from pipelines.ledger import ledger
from pipelines.register import register
from pipelines.rollup import rollup
from pipelines.spine import spine
from pipelines.stage import Job, progress
from pipelines.tracking import ui_command
from pipelines.train import train
from pipelines.windows import windows

PREPARE = (check, rollup, spine, windows, ledger, featurize)


def learn(job: Job) -> dict[str, Any]:
    """From raw tables to registered models: what was known until the day, and what had become of it."""
    done: dict[str, Any] = {"until": str(job.until)}
    with progress(len(PREPARE) + 1 + 4 * len(job.settings.targets), "learn") as step:
        for stage in PREPARE:
            done[stage.__name__] = stage(job)
            step(stage.__name__)
        for target in job.settings.targets:
            done[f"label {target}"] = label(job, target)
            step(f"label {target}")
        done["assemble"] = assemble(job)
        step("assemble")
        for target in job.settings.targets:
            for judge in (train, evaluate, register):
                done[f"{judge.__name__} {target}"] = judge(job, target)
                step(f"{judge.__name__} {target}")
    _refused(done["register renewal"])
    return _summary(done, job)


def _refused(renewal: dict[str, Any]) -> None:
    if not renewal["passed"]:
        raise GateRefused("the renewal model was not promoted:\n  " + "\n  ".join(renewal["reasons"]))


def _summary(done: dict[str, Any], job: Job) -> dict[str, Any]:
    return {
        "until": done["until"],
        "observations": done["spine"]["observations"],
        "columns": done["assemble"]["columns"],
        "families_absent": done["assemble"]["families_absent"],
        "models": {target: done[f"register {target}"] for target in job.settings.targets},
        "show_runs": ui_command(job),
    }
