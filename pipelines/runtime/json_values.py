"""Values that JSON can hold."""

from __future__ import annotations

import math
from typing import Any


def nan_to_null(tree: Any) -> Any:
    """The same tree with null for every number that is none or infinite, which JSON does not have; keys as text."""
    if isinstance(tree, dict):
        return {str(key): nan_to_null(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [nan_to_null(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
