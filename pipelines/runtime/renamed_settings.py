"""Old and new names of settings and of playbook keys; `features/old_names.py` has those of features.

They were renamed once, before the first release. A file or an override that uses an old name is refused with the new
name in the message; nothing is translated silently. Light to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from renewals.features.old_names import RENAMED_FEATURES

RENAMED_SETTINGS = {
    "alerts.drop": "alerts.min_usage_drop",
    "alerts.chance": "alerts.max_p_value",
    "alerts.least_use": "alerts.min_expected_person_days",
    "alerts.silent_visits": "alerts.missed_visits",
    "alerts.recent_days": "alerts.recent_breach_days",
    "alerts.hold_days": "alerts.expire_days",
    "alerts.quiet_days": "alerts.cooldown_days",
    "tickets.limits.*.respond_hours": "tickets.limits.*.first_response_hours",
    "tickets.limits.*.resolve_hours": "tickets.limits.*.resolution_hours",
    "actions.touchpoints": "actions.touchpoint_kinds",
    "source.names": "source.table_names",
    "source.nulls": "source.null_values",
    "source.extract": "source.extracted_at",
    "quarantine.allow_most": "quarantine.allow_majority",
    "spine.first": "spine.first_month",
    "spine.months": "spine.max_months",
    "folds.first_share": "folds.first_train_share",
    "folds.focus_days": "folds.focus_lead_days",
    "folds.treated": "folds.treated_rows",
    "linear.strengths": "linear.inverse_penalties",
    "linear.category_rows": "linear.min_category_rows",
    "linear.near_days": "linear.near_term_days",
    "linear.iterations": "linear.max_iterations",
    "lightgbm.rounds": "lightgbm.num_rounds",
    "lightgbm.shares": "lightgbm.tree_weights",
    "lightgbm.threads": "lightgbm.parallel_fits",
    "calibration.trust": "calibration.prior_renewals",
    "gate.slope": "gate.slope_range",
    "gate.max_error": "gate.max_calibration_error",
    "gate.sure": "gate.base_rate_confidence",
    "gate.bootstrap": "gate.bootstrap_samples",
    "drift.psi": "drift.psi_threshold",
    "drift.missing": "drift.missing_threshold",
    "drift.calibration": "drift.calibration_threshold",
    "effect.rest_days": "effect.washout_days",
    "effect.highest_chance": "effect.max_propensity",
    "effect.min_alike": "effect.min_overlap_share",
    "effect.min_effective": "effect.min_effective_sample_size",
    "tune.ladders": "tune.search_space",
    "tune.held_out": "tune.holdout_share",
    "list.unlike_above": "list.max_out_of_range_share",
    "list.faulty_limit": "list.invalid_row_limit",
    "list.expansion_high": "list.expansion_threshold",
    "list.peers_min": "list.min_peers",
    "list.reason_share": "list.min_reason_share",
    "list.whatif": "list.what_if_features",
    "forecast.usual_spread": "forecast.quarter_effect_sd",
}
"""New keys of `params.yaml` by old ones; `*` matches any key."""
RENAMED_VALUES = {("source.repeated_events", "set_aside"): "deduplicate"}
"""New values of settings, by key and old value."""
RENAMED_PLAYBOOK_KEYS = {
    "plays.*.grows": "plays.*.expansion",
    "plays.*.adds": "plays.*.expansion_arr_share",
    "plays.*.effect": "plays.*.log_odds_effect",
}
"""New keys of `playbooks.yaml` by old ones; `*` matches any playbook."""


@dataclass(frozen=True)
class OldName:
    """Old name that occurs in a file or an override."""

    keys: tuple[str, ...]
    """Path of keys to the name, from the top level."""
    message: str


def find_old_names(tree: Mapping[Any, Any], renamed_keys: Mapping[str, str]) -> Iterator[OldName]:
    """Iterate over the old keys, values and features in a configuration, in its order.

    `renamed_keys` is `RENAMED_SETTINGS` or `RENAMED_PLAYBOOK_KEYS`.
    """
    for keys, value in _nodes(tree):
        new = _new_key(keys, renamed_keys)
        if new:
            yield OldName(keys, f"{'.'.join(keys)} is now {new}")
        yield from _old_values(keys, new or ".".join(keys), value)


def _nodes(tree: Mapping[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        keys = (*above, str(key))
        yield keys, value
        if isinstance(value, Mapping):
            yield from _nodes(value, keys)


def _new_key(keys: tuple[str, ...], renamed_keys: Mapping[str, str]) -> str | None:
    for old, new in renamed_keys.items():
        parts = old.split(".")
        if len(parts) == len(keys) and all(part in ("*", key) for part, key in zip(parts, keys, strict=True)):
            new_parts = zip(new.split("."), keys, strict=True)
            return ".".join(key if part == "*" else part for part, key in new_parts)
    return None


def _old_values(keys: tuple[str, ...], setting: str, value: Any) -> Iterator[OldName]:
    """Iterate over the old names in the value of a setting; `setting` is its new name."""
    if isinstance(value, str) and (setting, value) in RENAMED_VALUES:
        yield OldName(keys, f"{setting}: the value {value} is now {RENAMED_VALUES[setting, value]}")
    if setting == "list.what_if_features" and isinstance(value, list):
        for position, name in enumerate(value):
            if isinstance(name, str) and name in RENAMED_FEATURES:
                yield OldName((*keys, str(position)), f"{setting}: the feature {name} is now {RENAMED_FEATURES[name]}")
    if setting == "tune.search_space" and isinstance(value, Mapping):
        for name in map(str, value):
            if name in RENAMED_SETTINGS:
                yield OldName((*keys, name), f"{setting}: {name} is now {RENAMED_SETTINGS[name]}")


def rename_playbook_keys(play: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the keys of a playbook that an older release stored with a list to the present ones."""
    renamed = {old.rpartition(".")[2]: new.rpartition(".")[2] for old, new in RENAMED_PLAYBOOK_KEYS.items()}
    return {renamed.get(key, key): value for key, value in play.items()}
