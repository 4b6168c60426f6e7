"""One module per target: a module that holds a `TARGET` is found by its name, and its name stands in `params.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module

from renewals.models.target import Target


def load_targets(names: Iterable[str]) -> dict[str, Target]:
    """The targets by name, in the order given. Raises ValueError for a name without a file of its own."""
    return {name: _load_target(name) for name in names}


def _load_target(name: str) -> Target:
    try:
        found = import_module(f"renewals.models.targets.{name}").TARGET
    except (ModuleNotFoundError, AttributeError):
        raise ValueError(f"no target {name!r}: models/targets/{name}.py with a TARGET is missing") from None
    return replace(found, name=name)
