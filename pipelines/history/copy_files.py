"""Files of dated extracts: which there are, the day of each, and which were read before."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.storage.engine.raw.raw_table import file_sha256

DAY_PATTERN = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d{3})")
"""A day in a name: 2024-01-31, 2024_01_31 or 20240131, also before a time of day."""
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class CopyFile:
    """A file of a set of extracts."""

    path: Path
    name: str
    """Path relative to the folder that all files of the set have in common."""
    day: date | None
    """Day of the copy; None for a file that contains the whole history."""
    size: int
    digest: str

    @property
    def copy_name(self) -> str:
        """Name of the copy that it is, or is a part of: up to the last part of its path that contains the day."""
        parts = self.name.split("/")
        with_day = [place for place, part in enumerate(parts) if day_of_name(part) is not None]
        return "/".join(parts[: with_day[-1] + 1]) if with_day else self.name

    @property
    def identity(self) -> tuple[str, int, str]:
        """What a file is recognised by: name, size and digest."""
        return (self.name, self.size, self.digest)

    def entry(self) -> dict[str, Any]:
        """The file as an entry of the manifest."""
        day = None if self.day is None else self.day.isoformat()
        return {"name": self.name, "size": self.size, "digest": self.digest, "day": day}


def find_files(source: str, pattern: str, dated: bool) -> list[CopyFile]:
    """Files of a set of extracts, those of one day in the order of their names, earlier days first.

    `source` is the name of the set for messages. Raises `MissingInputError` without any file, `ConfigError` for a file
    without a day in its name.
    """
    folder, paths = _matching_paths(pattern)
    if not paths:
        raise MissingInputError(f"history.sources.{source}: no CSV or Parquet file at {pattern}")
    files = [_copy_file(source, path, path.relative_to(folder).as_posix(), dated) for path in paths]
    return sorted(files, key=lambda file: (file.day or date.min, file.name))


def _matching_paths(pattern: str) -> tuple[Path, list[Path]]:
    """The folder that all files have in common, and the files."""
    if Path(pattern).is_dir():
        folder, found = Path(pattern), list(Path(pattern).rglob("*"))
    else:
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        folder, found = Path(fixed).parent, [Path(name) for name in glob.glob(pattern, recursive=True)]
        folder = Path(fixed) if fixed.endswith("/") else folder
    files = [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
    return folder, [p for p in files if not any(part.startswith((".", "_")) for part in p.relative_to(folder).parts)]


def _copy_file(source: str, path: Path, name: str, dated: bool) -> CopyFile:
    day = day_of_name(name) if dated else None
    if dated and day is None:
        raise ConfigError(
            f"history.sources.{source}: {name} has no day in its name; write it as {path.stem}_2026-01-31{path.suffix}"
        )
    return CopyFile(path, name, day, path.stat().st_size, file_sha256(path))


def day_of_name(name: str) -> date | None:
    """The last day that is written in a name, or None."""
    for match in reversed(list(DAY_PATTERN.finditer(name))):
        try:
            return date(*map(int, match.groups()))
        except ValueError:
            continue
    return None


@dataclass(frozen=True)
class ReadingPlan:
    """Files to read in this run."""

    new_files: tuple[CopyFile, ...]
    rebuild_reason: str | None = None
    """Why everything is read again; None if the earlier versions are kept."""
    removed: tuple[str, ...] = ()
    """Files that were read before and are no longer there."""


def plan_reading(files: Sequence[CopyFile], read_before: Sequence[dict[str, Any]], dated: bool) -> ReadingPlan:
    """Compare the files with those read before; a file that changed, or is older than the last one, means a rebuild."""
    if not read_before:
        return ReadingPlan(tuple(files))
    before = {entry["name"]: (entry["name"], entry["size"], entry["digest"]) for entry in read_before}
    present = {file.name for file in files}
    removed = tuple(name for name in before if name not in present)
    changed = [file.name for file in files if file.name in before and file.identity != before[file.name]]
    new = [file for file in files if file.name not in before]
    if changed:
        return ReadingPlan(tuple(files), f"{changed[0]} changed since it was read")
    if not dated:
        reason = f"{(new[0].name if new else removed[0])} is new or gone" if new or removed else None
        return ReadingPlan(tuple(files) if reason else (), reason)
    last = max(date.fromisoformat(entry["day"]) for entry in read_before)
    late = [file.name for file in new if file.day is not None and file.day <= last]
    if late:
        return ReadingPlan(tuple(files), f"{late[0]} is not later than the last copy read ({last})")
    return ReadingPlan(tuple(new), None, removed)
