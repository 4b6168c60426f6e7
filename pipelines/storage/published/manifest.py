"""Manifest of a published list: its inputs, and the SHA-256 of each of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from renewals.pipelines.storage.old_keys import upgrade_manifest

MANIFEST = "manifest.json"
RISK_LIST = "risk_list.parquet"
"""Name of the list's file for programs."""
UNREADABLE = (OSError, ValueError, KeyError, TypeError)
"""Exceptions that `read_manifest` raises if the manifest is missing or invalid."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of the list in a folder; it has at least `list_key` and `files`. Raises one of `UNREADABLE`.

    Keys of earlier releases are renamed to those of this one.
    """
    manifest = upgrade_manifest(json.loads((folder / MANIFEST).read_bytes()))
    for name in ("list_key", "files"):
        _ = manifest[name]
    return manifest
