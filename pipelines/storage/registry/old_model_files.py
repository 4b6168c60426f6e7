"""Rename keys in the JSON files of models that an older release registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

JsonObject = Mapping[str, Any]

EFFECT_KEYS = {"at": "knots", "height": "values"}
CALIBRATION_KEYS = {
    **{"level": "intercept", "near_level": "near_intercept"},
    **{"near_days": "near_term_days", "spread": "account_effect_sd"},
}
REFERENCE_KEYS = {"swing": "max_period_psi", "missing_swing": "max_period_missing_change"}


def upgrade_model_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Rename old keys in the files of a model; files that have only present keys are unchanged, byte for byte."""
    return {
        name: _upgrade_file(content, UPGRADES[name]) if name in UPGRADES else content for name, content in files.items()
    }


def _upgrade_file(content: bytes, upgrade: Callable[[JsonObject], dict[str, Any]]) -> bytes:
    tree = json.loads(content)
    upgraded = upgrade(tree)
    return content if upgraded == tree else (json.dumps(upgraded, indent=1, ensure_ascii=False) + "\n").encode()


def _rename_keys(tree: JsonObject, names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in tree.items()}


def _upgrade_linear(tree: JsonObject) -> dict[str, Any]:
    tree = _rename_keys(tree, {"share_of_trees": "tree_weight", "near": "near_term"})
    near_term = tree.get("near_term")
    return _upgrade_effects(tree) | {"near_term": near_term and _upgrade_effects(near_term)}


def _upgrade_effects(tree: JsonObject) -> dict[str, Any]:
    tree = _rename_keys(tree, {"parts": "effects"})
    return tree | {"effects": {name: _rename_keys(effect, EFFECT_KEYS) for name, effect in tree["effects"].items()}}


def _upgrade_calibration(tree: JsonObject) -> dict[str, Any]:
    return _rename_keys(tree, CALIBRATION_KEYS)


def _upgrade_reference(tree: JsonObject) -> dict[str, Any]:
    features = {name: _rename_keys(reference, REFERENCE_KEYS) for name, reference in tree["features"].items()}
    return {**tree, "features": features, "score": tree["score"] and _rename_keys(tree["score"], REFERENCE_KEYS)}


UPGRADES: dict[str, Callable[[JsonObject], dict[str, Any]]] = {
    **dict.fromkeys(("linear.json", "additive_model.json"), _upgrade_linear),
    "calibration.json": _upgrade_calibration,
    **dict.fromkeys(("reference.json", "drift_reference.json"), _upgrade_reference),
}
"""Function that renames the keys of a file, by its name, present or old."""
