"""Targets, one module each: it holds a `TARGET`, and its file name is listed under `targets` in `params.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module

from renewals.models.target import Target


def load_targets(names: Iterable[str]) -> dict[str, Target]:
    """Load targets by name, in the order given. Raises ValueError for a name without a module."""
    return {name: _load_target(name) for name in names}


def _load_target(name: str) -> Target:
    try:
        target = import_module(f"renewals.models.targets.{name}").TARGET
    except (ModuleNotFoundError, AttributeError):
        raise ValueError(f"no target {name!r}: models/targets/{name}.py with a TARGET is missing") from None
    return replace(target, name=name)
