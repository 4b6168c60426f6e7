"""Old and new names of keys of JSON files and of columns of registered files, for files of earlier releases."""

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
"""New keys by old ones, for each section of a manifest and of `score.json`; sections by their new names."""
BACKTEST_COLUMNS = {"decided": "renewal_signed"}


def upgrade_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the keys of a manifest or a `score.json` to those of this release; values are unchanged.

    `identity` is not changed, because the list's key is its hash.
    """
    upgraded: dict[str, Any] = _upgrade(manifest, "")
    return upgraded


def _upgrade(tree: Any, section: str) -> Any:
    if isinstance(tree, list):
        return [_upgrade(item, section) for item in tree]
    if not isinstance(tree, Mapping):
        return tree
    names = MANIFEST_KEYS.get(section, {})
    new_keys = {key: names.get(key, key) for key in tree if names.get(key) not in tree}
    return {
        new: tree[key] if (inner := f"{section}.{new}".lstrip(".")) == "identity" else _upgrade(tree[key], inner)
        for key, new in new_keys.items()
    }


def upgrade_backtest(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rename the columns of a registered version's backtest to those of this release, and add `renewal_id`."""
    renamed = predictions.rename(columns={old: new for old, new in BACKTEST_COLUMNS.items() if new not in predictions})
    return add_renewal_id(renamed)


def add_renewal_id(rows: pd.DataFrame) -> pd.DataFrame:
    """Add `renewal_id` to rows of an older release, which have one renewal per account; other rows are unchanged."""
    import pandas as pd

    if "renewal_id" in rows:
        return rows
    ends = pd.to_datetime(rows["renewal_date"]).dt.strftime("%Y-%m-%d").fillna("")
    return rows.assign(renewal_id=rows["account_id"].astype(str) + ":" + ends)
