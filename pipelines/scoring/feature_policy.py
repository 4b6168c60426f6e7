"""Parameters that decide what a feature means: stored with each model and compared when it scores a list."""

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
"""The sections that features read; `alerts` is left out because the rules do not depend on the model."""
MAX_VALUE_LENGTH = 60
"""Maximum length of a value in a sentence, in characters."""


def feature_policy(settings: Settings) -> dict[str, dict[str, Any]]:
    """Parameters that decide what a feature means, by section and key, as JSON values."""
    return settings.model_dump(mode="json", include=set(SECTIONS))


def changed_parameters(old: Parameters, new: Parameters) -> list[str]:
    """Texts of the parameters whose value differs, one per changed value: `usage.steady_days: 4 → 6`.

    A parameter that is missing on one side (another release) is ignored.
    """
    pairs = [(section, key) for section, values in new.items() for key in values if key in old.get(section, {})]
    return [
        text
        for section, key in pairs
        for text in _describe_changes(f"{section}.{key}", old[section][key], new[section][key])
    ]


def _describe_changes(key: str, old: Any, new: Any) -> Iterator[str]:
    """Yield one text per changed leaf of a value; for a list, the added and removed elements."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _describe_changes(f"{key}.{name}", old.get(name), new.get(name))
    else:
        yield f"{key}: {_describe_difference(old, new)}"


def _describe_difference(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        changes = [f"+{value}" for value in new if value not in old] + [
            f"-{value}" for value in old if value not in new
        ]
        if changes:
            return truncate(" ".join(changes), MAX_VALUE_LENGTH, "…")
    return " → ".join(truncate(json.dumps(value, ensure_ascii=False), MAX_VALUE_LENGTH, "…") for value in (old, new))
