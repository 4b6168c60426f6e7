"""What `renewals history` keeps between two runs, so that only new copies are read: held rows, versions, manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.pipelines.history.rebuild import HeldRows
from renewals.pipelines.history.source_watch import SourceWatch
from renewals.pipelines.runtime.history_settings import History, HistorySource
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.engine.atomic import atomic_path, write_bytes
from renewals.pipelines.storage.engine.raw.raw_table import file_digest

FOLDER, MANIFEST, ROWS, VERSIONS = ".history", "manifest.json", "rows.parquet", "versions.parquet"
FORMAT = 1
"""Number of the form of these files: a file of another form is not read."""


@dataclass(frozen=True)
class SourceState:
    """What is kept of one source."""

    held: HeldRows
    versions: pd.DataFrame
    files: list[dict[str, Any]]
    """The files that were read."""


def settings_fingerprint(settings: HistorySource, rules: History, source: Source) -> str:
    """Fingerprint of all settings on which the versions of a source depend."""
    limits = rules.model_dump(mode="json", exclude={"sources", "reported_share"})
    tree = [FORMAT, settings.model_dump(mode="json"), limits, source.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def load_state(folder: Path, fingerprint: str) -> SourceState | str | None:
    """What an earlier run kept; None if there was none, or the reason why it is of no use."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return "the files of the last run are damaged"
    if manifest.get("fingerprint") != fingerprint:
        return "the settings changed"
    if any(file_digest(folder / name) != digest for name, digest in manifest["digests"].items()):
        return "the files of the last run are damaged"
    held = HeldRows(_read(folder / ROWS), manifest["columns"], SourceWatch.from_json(manifest["watch"]))
    return SourceState(held, _read(folder / VERSIONS), manifest["files"])


def read_before(folder: Path) -> list[dict[str, Any]]:
    """Files that an earlier run read, whatever has changed since."""
    try:
        files: list[dict[str, Any]] = json.loads((folder / MANIFEST).read_bytes())["files"]
    except (OSError, ValueError, KeyError):
        return []
    return files


def save_state(folder: Path, state: SourceState, fingerprint: str) -> None:
    """Keep a state for the next run; the manifest is written last, so that a broken run is recognised."""
    for name, rows in ((ROWS, state.held.rows), (VERSIONS, state.versions)):
        with atomic_path(folder / name) as unfinished:
            pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), unfinished, compression="zstd")
    manifest = {
        "fingerprint": fingerprint,
        "digests": {name: file_digest(folder / name) for name in (ROWS, VERSIONS)},
        "columns": state.held.columns,
        "watch": state.held.watch.to_json(),
        "files": state.files,
    }
    write_bytes(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _read(path: Path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()
