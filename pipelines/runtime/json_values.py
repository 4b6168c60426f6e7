"""Conversion of values to ones that JSON can represent."""

from __future__ import annotations

import math
from typing import Any


def nan_to_null(tree: Any) -> Any:
    """Copy of a nested structure with NaN and infinite numbers replaced by null, which JSON needs; keys become text."""
    if isinstance(tree, dict):
        return {str(key): nan_to_null(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [nan_to_null(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
