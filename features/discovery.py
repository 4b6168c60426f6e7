"""Find the modules of a package by their file names: adding a file is enough to add a family, an alert or a target."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Sequence


def module_names(package_path: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    """Names of the modules in a package: those in `order` first and in that order, then all others by name.

    Imports none of them. Raises ValueError for a name in `order` without a module.
    """
    present = {module.name for module in pkgutil.iter_modules(package_path)}
    if missing := [name for name in order if name not in present]:
        raise ValueError(f"no module {missing[0]!r}, which is named in ORDER")
    return (*order, *sorted(present.difference(order)))
