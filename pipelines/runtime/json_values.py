"""Values that JSON can hold."""

from __future__ import annotations

import math
from typing import Any


def without_nan(tree: Any) -> Any:
    """The same tree with null for every number that is none or infinite, which JSON does not have; keys as text."""
    if isinstance(tree, dict):
        return {str(key): without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
