"""The order of the stages in a command, from the `STEP` that each stage module declares.

A module in `pipelines/stages/<room>/` with a `STEP` is a stage; its function has the name of the module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from renewals.pipelines import stages
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_order import StagedCommand, Step

ROOMS = ("prepare", "learn", "act")

Stage = Callable[..., Any]


def find_stages(command: StagedCommand, *, per_target: bool = False, optional: bool = False) -> tuple[Stage, ...]:
    """Stages of a command in the order in which they run; stages that follow the same stage are ordered by name.

    A stage that runs once per target takes the target as its second argument; the others take the job alone.
    """
    return tuple(
        stage
        for stage, step in _ordered_stages()
        if command in step.commands and step.per_target == per_target and step.optional == optional
    )


def run_stages(stages: Iterable[Stage], job: Job, step: Callable[[str], None]) -> dict[str, Any]:
    """Run stages in order and return their results by name; call `step` with the name of each."""
    results = {}
    for stage in stages:
        results[stage.__name__] = stage(job)
        step(stage.__name__)
    return results


@cache
def _ordered_stages() -> tuple[tuple[Stage, Step], ...]:
    found: dict[str, tuple[Stage, Step]] = {}
    for room in ROOMS:
        for name in sorted(module.name for module in iter_modules([f"{stages.__path__[0]}/{room}"])):
            module = import_module(f"renewals.pipelines.stages.{room}.{name}")
            if step := getattr(module, "STEP", None):
                found[name] = getattr(module, name), step
    return tuple(found[name] for name in order_steps({name: step for name, (_, step) in found.items()}))


def order_steps(steps: dict[str, Step]) -> list[str]:
    """Names in the order in which stages run. Raises ValueError for a stage that follows an unknown one."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, step in steps.items():
        if step.after is not None and step.after not in steps:
            raise ValueError(f"stage {name!r} runs after {step.after!r}, which is no stage")
        sorter.add(name, *filter(None, [step.after]))
    sorter.prepare()
    order: list[str] = []
    while ready := sorted(sorter.get_ready()):
        order += ready
        sorter.done(*ready)
    return order
