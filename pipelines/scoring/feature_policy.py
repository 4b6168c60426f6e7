"""The parameters that decide what a feature means: kept with each model, and compared where a list is made with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from renewals.features.policy import Policy
from renewals.pipelines.runtime.settings import Settings
from renewals.reports.sanitize import truncate

Parameters = Mapping[str, Mapping[str, Any]]
"""The values of `params.yaml` by section and key."""
SECTIONS = tuple(name for name in Policy.model_fields if name != "alerts")
"""All that features may ask about the company; alerts are rules beside the model."""
MAX_VALUE_LENGTH = 60
"""Characters of a value in a sentence."""


def feature_policy(settings: Settings) -> dict[str, dict[str, Any]]:
    """The parameters that decide what a feature means, by section and key, as JSON holds them."""
    return settings.model_dump(mode="json", include=set(SECTIONS))


def changed_parameters(old: Parameters, new: Parameters) -> list[str]:
    """What is other than it was, one text per parameter: `usage.steady_days: 4 → 6`.

    Nothing is said of a parameter that one of two releases did not know.
    """
    pairs = [(section, key) for section, own in new.items() for key in own if key in old.get(section, {})]
    return [
        text
        for section, key in pairs
        for text in _describe_changes(f"{section}.{key}", old[section][key], new[section][key])
    ]


def _describe_changes(key: str, old: Any, new: Any) -> Iterator[str]:
    """The changed leaves of a value; of a list what came and what went."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _describe_changes(f"{key}.{name}", old.get(name), new.get(name))
    else:
        yield f"{key}: {_describe_difference(old, new)}"


def _describe_difference(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        moved = [f"+{one}" for one in new if one not in old] + [f"-{one}" for one in old if one not in new]
        if moved:
            return truncate(" ".join(moved), MAX_VALUE_LENGTH, "…")
    return " → ".join(truncate(json.dumps(one, ensure_ascii=False), MAX_VALUE_LENGTH, "…") for one in (old, new))
