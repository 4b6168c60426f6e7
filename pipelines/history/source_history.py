"""Rebuild one source: read its new copies, add their versions to the earlier ones, account for every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from renewals.pipelines.history.copy_files import CopyFile, ReadingPlan, plan_reading
from renewals.pipelines.history.copy_reader import REPEATED_REASON, CopyReader, SetAside
from renewals.pipelines.history.intervals import DELETION_REASON, REPLACED_REASON, Changes, daily_changes
from renewals.pipelines.history.rebuild import RowCounts, TableRebuild
from renewals.pipelines.history.state_files import (
    SourceState,
    load_state,
    read_before,
    save_state,
    settings_fingerprint,
)
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.runtime.history_settings import HistorySource
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.runtime.source_settings import Source

SAME_DAY_REASON = "another copy of the day; the last by name counts"
HARMLESS_REASONS = (SAME_DAY_REASON, REPEATED_REASON, REPLACED_REASON, DELETION_REASON)
"""Reasons that do no harm: such rows do not count towards the limit of unusable rows."""


@dataclass
class SourceHistory:
    """Versions of one source, and what was read for them in this run."""

    table: str
    versions: pd.DataFrame
    files_read: int
    files_before: int
    files_skipped: int
    """Files with a day before `first_day`."""
    removed: tuple[str, ...]
    rebuild_reason: str | None
    counts: RowCounts
    set_aside: list[SetAside]
    first_day: date | None
    last_day: date | None
    findings: list[dict[str, Any]]
    """What was noticed in the copies of this run."""
    unknown_months: dict[str, str]
    is_stopped: bool


@dataclass
class _Result:
    """Versions and counts that accumulate over the copies."""

    parts: list[pd.DataFrame] = field(default_factory=list)
    counts: RowCounts = field(default_factory=RowCounts)
    set_aside: list[SetAside] = field(default_factory=list)


def rebuild_source(
    name: str, found: Sequence[CopyFile], settings: Settings, folder: Path, step: Callable[[str], None]
) -> SourceHistory:
    """Bring the versions of a source up to date with its files; `step` is called once per file that is read.

    `folder` has what earlier runs kept of the source, and is written. Raises a `RunError` if a file cannot be read, or
    too many of its rows, or if copies that must be read again are no longer there.
    """
    source, rules = settings.history.sources[name], settings.history
    dated = source.format == "copies"
    fingerprint = settings_fingerprint(source, rules, settings.source)
    files = [f for f in found if f.day is None or source.first_day is None or f.day >= source.first_day]
    state = load_state(folder, fingerprint)
    plan = _plan(name, files, state, read_before(folder), dated)
    earlier = state if isinstance(state, SourceState) and plan.rebuild_reason is None else None
    rebuild = TableRebuild(name, source, rules, earlier.held if earlier else None)
    noticed = len(rebuild.held.watch.findings)
    result = _read_files(name, settings, plan.new_files, rebuild, step)
    versions = pd.concat([*([earlier.versions] if earlier else []), *result.parts], ignore_index=True)
    if plan.new_files:
        read = [*(earlier.files if earlier else []), *(file.entry() for file in plan.new_files)]
        save_state(folder, SourceState(rebuild.held, versions, read), fingerprint)
    watch = rebuild.held.watch
    return SourceHistory(
        source.table,
        versions,
        len(plan.new_files),
        len(earlier.files) if earlier else 0,
        len(found) - len(files),
        plan.removed,
        plan.rebuild_reason,
        result.counts,
        result.set_aside,
        watch.first_day,
        watch.last_day,
        watch.findings[noticed:],
        watch.unknown_months,
        watch.is_stopped,
    )


def _plan(
    name: str, files: Sequence[CopyFile], state: SourceState | str | None, before: list[dict[str, Any]], dated: bool
) -> ReadingPlan:
    """Files to read; copies that were read before and are gone cannot be read again."""
    plan = plan_reading(files, state.files if isinstance(state, SourceState) else (), dated)
    reason = state if isinstance(state, str) else plan.rebuild_reason
    gone = sorted({entry["name"] for entry in before} - {file.name for file in files}) if dated else []
    if reason and gone:
        raise MissingInputError(
            f"history.sources.{name}: all copies must be read again ({reason}), but {len(gone)} are no longer there, "
            f"for example {gone[0]}: put them back. To begin anew without them, delete the folder .history/{name}"
        )
    if isinstance(state, str):
        return ReadingPlan(tuple(files), reason)
    return plan


def _read_files(
    name: str, settings: Settings, files: Sequence[CopyFile], rebuild: TableRebuild, step: Callable[[str], None]
) -> _Result:
    source = settings.history.sources[name]
    reader = CopyReader(name, source, settings.source)
    read = _copies if source.format == "copies" else partial(_histories, source, settings.source)
    result = _Result()
    for changes in read(reader, files, step):
        _refuse_unreadable(name, source, settings, changes)
        versions, counts = rebuild.add(changes.copy, changes.gone)
        result.parts.append(versions)
        result.counts.add(counts)
        result.set_aside += changes.copy.set_aside
    return result


def _copies(reader: CopyReader, files: Sequence[CopyFile], step: Callable[[str], None]) -> Iterator[Changes]:
    """Yield the copy of each day; of several of one day the last by name counts."""
    for _day, group in groupby(files, key=lambda file: file.day):
        *others, last = (list(parts) for _name, parts in groupby(group, key=lambda file: file.copy_name))
        replaced = [file for parts in others for file in parts]
        copy = reader.read_copy(last)
        copy.set_aside += [SetAside(file.name, 0, SAME_DAY_REASON) for file in replaced]
        copy.further_set_aside = Counter({SAME_DAY_REASON: sum(len(reader.read_raw(f)) for f in replaced)})
        for file in (*replaced, *last):
            step(file.name)
        yield Changes(copy, None)


def _histories(
    source: HistorySource, form: Source, reader: CopyReader, files: Sequence[CopyFile], step: Callable[[str], None]
) -> Iterator[Changes]:
    """Yield the changes of each day of a history, which may be in several files."""
    parts = []
    for file in files:
        parts.append(reader.read_raw(file))
        step(file.name)
    if parts:
        yield from daily_changes(pd.concat(parts, ignore_index=True), files[0].name, source, reader, form)


def _refuse_unreadable(name: str, source: HistorySource, settings: Settings, changes: Changes) -> None:
    """Raise `DataContractError` if more rows of a copy cannot be used than may be quarantined."""
    unusable = [row for row in changes.copy.set_aside if row.row and row.reason not in HARMLESS_REASONS]
    limit = settings.quarantine.limit_of(source.table)
    if len(unusable) > limit * changes.copy.read:
        example = unusable[0]
        raise DataContractError(
            f"{name}: {len(unusable)} of {changes.copy.read} rows of {example.file} cannot be used, for example row "
            f"{example.row}: {example.reason}. The limit is quarantine.limit ({limit:.0%}); correct "
            f"history.sources.{name}, or raise quarantine.limits.{source.table}"
        )
