"""The parameters that decide what a feature means: kept with each model, and compared where a list is made with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from renewals.features.policy import Policy
from renewals.pipelines.runtime.settings import Settings
from renewals.reports.sanitize import shortened

Parameters = Mapping[str, Mapping[str, Any]]
"""The values of `params.yaml` by section and key."""
SECTIONS = tuple(name for name in Policy.model_fields if name != "alerts")
"""All that features may ask about the company; alerts are rules beside the model."""
LONGEST = 60
"""Characters of a value in a sentence."""


def feature_policy(settings: Settings) -> dict[str, dict[str, Any]]:
    """The parameters that decide what a feature means, by section and key, as JSON holds them."""
    return settings.model_dump(mode="json", include=set(SECTIONS))


def changed_parameters(then: Parameters, now: Parameters) -> list[str]:
    """What is other than it was, one text per parameter: `usage.steady_days: 4 → 6`.

    Nothing is said of a parameter that one of two releases did not know.
    """
    pairs = [(section, key) for section, own in now.items() for key in own if key in then.get(section, {})]
    return [
        text for section, key in pairs for text in _changes(f"{section}.{key}", then[section][key], now[section][key])
    ]


def _changes(key: str, then: Any, now: Any) -> Iterator[str]:
    """The changed leaves of a value; of a list what came and what went."""
    if then == now:
        return
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted({*then, *now}):
            yield from _changes(f"{key}.{name}", then.get(name), now.get(name))
    else:
        yield f"{key}: {_difference(then, now)}"


def _difference(then: Any, now: Any) -> str:
    if isinstance(then, list) and isinstance(now, list):
        moved = [f"+{one}" for one in now if one not in then] + [f"-{one}" for one in then if one not in now]
        if moved:
            return shortened(" ".join(moved), LONGEST, "…")
    return " → ".join(shortened(json.dumps(one, ensure_ascii=False), LONGEST, "…") for one in (then, now))
