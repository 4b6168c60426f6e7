"""Keys of JSON files, and columns of registered files, that earlier releases wrote under other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MANIFEST_KEYS: Mapping[str, Mapping[str, str]] = {
    "": {
        "key": "list_key",
        "code": "code_revision",
        "absent": "targets_without_model",
        "families_absent": "missing_families",
        "features": "features_sha256",
        "unseen_categories": "unknown_categories",
        "faulty": "invalid_rows",
        "whatif": "what_if_features",
        "change": "score_change",
        "shadow": "challengers",
        "left_out": "render_failures",
        "without": "failed_stages",
    },
    "alerts": {"absent": "unavailable_rules"},
    "score_change": {
        "last": "previous_list",
        "split": "decomposed",
        "untold": "no_decomposition_reason",
        "without": "accounts_without_change",
        "mean_distance": "mean_absolute_change",
        "left_out": "render_failures",
    },
    "score_change.previous_list": {"key": "list_key"},
    "invalid_rows.faults": {"fault": "kind"},
    "drift": {"looks": "comparisons", "figures": "features_compared", "last_list": "previous_list"},
    **{
        f"drift.{name}": {
            "what": "kind",
            "size": "difference",
            "chance": "p_value",
            "then": "reference",
            "now": "current",
        }
        for name in ("warnings", "inputs", "missing", "score", "previous_list", "calibration")
    },
}
"""New names by old ones, for each part of a manifest and of `score.json`; parts by their new names."""
BACKTEST_COLUMNS = {"decided": "renewal_signed"}


def upgrade_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest of a published list, or a `score.json`, with the keys of this release; values stay as they are.

    `identity` is left alone: the list's key is its hash.
    """
    upgraded: dict[str, Any] = _upgrade(manifest, "")
    return upgraded


def _upgrade(part: Any, place: str) -> Any:
    if isinstance(part, list):
        return [_upgrade(one, place) for one in part]
    if not isinstance(part, Mapping):
        return part
    names = MANIFEST_KEYS.get(place, {})
    new_keys = {key: names.get(key, key) for key in part if names.get(key) not in part}
    return {
        new: part[key] if (inner := f"{place}.{new}".lstrip(".")) == "identity" else _upgrade(part[key], inner)
        for key, new in new_keys.items()
    }


def upgrade_backtest(predictions: pd.DataFrame) -> pd.DataFrame:
    """The back-test of a registered version with the columns of this release; one row per row given."""
    return predictions.rename(columns={old: new for old, new in BACKTEST_COLUMNS.items() if new not in predictions})
