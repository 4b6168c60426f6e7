"""The manifest of a published list: what it was made from, and the digest of each of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from renewals.pipelines.storage.old_keys import upgrade_manifest

MANIFEST = "manifest.json"
RISK_LIST = "risk_list.parquet"
"""The file of the list that programs read."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError)
"""What `read_manifest` raises where there is no manifest, or something else stands in its place."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the list in a folder, with at least its key and its files. Raises one of `UNREADABLE`.

    One of an earlier release is given the keys of this one.
    """
    manifest = upgrade_manifest(json.loads((folder / MANIFEST).read_bytes()))
    for name in ("list_key", "files"):
        _ = manifest[name]
    return manifest
