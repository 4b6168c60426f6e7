"""Roll usage up to person-days, one immutable part per month of arrival (design, decision 4).

A part is built once. A new month adds a part; a late event lies in the part of its arrival, so the old
parts stay as they are. Each part carries the digest of the events it was made from: where a source
rewrites its own history the part is built again, and the log says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import structlog
from ibis import _

from renewals.features.usage_windows import PRODUCT_FEATURE_TYPES, person_days, product_features
from renewals.pipelines.runtime.checkout import package_version
from renewals.pipelines.runtime.console import progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import data_files, old_names
from renewals.pipelines.storage.artifacts import PERSON_DAYS, ROLLUP, ROLLUP_FEATURES, ROLLUP_PARTS
from renewals.pipelines.storage.engine import atomic, usage_partitions, warehouse

STEP = Step(after="freshness", commands=("learn", "score", "scorecard"))

log = structlog.get_logger()

VERSION = 4
"""Raise when the meaning of a rolled-up column changes: every part is then built again."""
SORT_COLUMNS = ("account_id", "user_id", "day", "known_day", "block")


def rollup(job: Job) -> dict[str, Any]:
    """Bring the parts up to date with the clean events."""
    root = job.data / ROLLUP
    old_names.rename_file(root / ROLLUP_FEATURES)
    wanted = _required_parts(job)
    have = _read_parts(root)
    stale = [month for month, mark in wanted.items() if month not in have or not have[month].same_part(mark)]
    rewritten = _log_rebuilds({month: (have[month], wanted[month]) for month in sorted(stale) if month in have})
    for month in sorted(set(have) - set(wanted)):
        shutil.rmtree(_part_path(root, month).parent, ignore_errors=True)
    if stale:
        # What is about to be written again does not count as there, should the run be cut short.
        _write_parts(root, {m: mark for m, mark in have.items() if m in wanted and m not in stale})
        _build_parts(root, stale, job)
    _write_parts(root, wanted)
    return {"parts": len(wanted), "built": len(stale), "rewritten": rewritten}


@dataclass(frozen=True)
class PartFingerprint:
    """What a part was made from, as digests: its events, the rules of the roll-up, and how the events were read."""

    events: str
    rules: str
    reading: str

    def same_part(self, other: PartFingerprint) -> bool:
        """Whether both make the same part."""
        return (self.events, self.rules) == (other.events, other.rules)


def _required_parts(job: Job) -> dict[int, PartFingerprint]:
    """What the part of each month is to be made from."""
    settings = job.settings
    rules = _sha256(f"{VERSION}|{settings.usage.model_dump_json()}")
    source = settings.source.model_dump_json(exclude={"extracted_at"})  # another day reads the same rows alike
    reading = _sha256(f"{package_version()}|{source}|{settings.quarantine.model_dump_json()}")
    digests = usage_partitions.read_digests(job.data / "clean")
    return {month: PartFingerprint(_sha256(events), rules, reading) for month, events in digests.items()}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _log_rebuilds(rebuilt: Mapping[int, tuple[PartFingerprint, PartFingerprint]]) -> int:
    """Say why parts are built again, by what they were and are to be made from; how many the source rewrote."""
    events = {month for month, (was, now) in rebuilt.items() if was.events != now.events}
    otherwise_read = {month for month in events if rebuilt[month][0].reading != rebuilt[month][1].reading}
    rewritten = events - otherwise_read
    if rewritten:
        log.warning("source changed past usage events; months rebuilt", months=_month_names(rewritten))
    if otherwise_read:
        log.info("usage months rebuilt: reading parameters or release changed", months=_month_names(otherwise_read))
    if parameters := set(rebuilt) - events:
        log.info("usage months rebuilt: section `usage` or release changed", months=_month_names(parameters))
    return len(rewritten)


def _month_names(months: Iterable[int]) -> list[str]:
    return [usage_partitions.month_name(month) for month in sorted(months)]


def _build_parts(root: Path, months: list[int], job: Job) -> None:
    """Write a part for each of these months: one month is read at a time, so that memory does not grow with history."""
    events = warehouse.clean_tables(warehouse.connect_feature_engine(job.settings), job.data)["usage_events"]
    features = _read_features(root)
    with progress(len(months), "roll-up") as step:
        for month in sorted(months):
            arrived = events.filter(_.arrival_month == month)
            features = _append_new_features(features, arrived)
            _write_features(root, features)
            rows = person_days(arrived, ibis.memtable(_product_features(features, job)))
            warehouse.write_in_engine(rows, _part_path(root, month), order_by=SORT_COLUMNS)
            step(usage_partitions.month_name(month))


# --- product features by number --------------------------------------------------------------------


def _append_new_features(features: list[str], events: ir.Table) -> list[str]:
    """The features met so far and new ones behind them; a feature keeps its place, and old parts their meaning."""
    found = events.select("feature").distinct().to_pyarrow()["feature"].to_pylist()
    return features + sorted(set(found) - set(features))


def _product_features(features: list[str], job: Job) -> pa.Table:
    """Block, bit and meaning of each product feature, by its place."""
    columns = product_features(features, job.settings)
    return pa.table({c: pa.array(columns[c], pa.type_for_alias(kind)) for c, kind in PRODUCT_FEATURE_TYPES.items()})


def _read_features(root: Path) -> list[str]:
    path = root / ROLLUP_FEATURES
    return data_files.load_json(path) if path.exists() else []


def _write_features(root: Path, features: list[str]) -> None:
    atomic.write_bytes(root / ROLLUP_FEATURES, json.dumps(features, indent=1, ensure_ascii=False).encode())


# --- parts -------------------------------------------------------------------------------------------


def _part_path(root: Path, month: int) -> Path:
    return root / PERSON_DAYS / f"arrived={usage_partitions.month_name(month)}" / "part.parquet"


def _read_parts(root: Path) -> dict[int, PartFingerprint]:
    """What each part that is there was made from; those of a release that did not say it in full do not count."""
    path = root / ROLLUP_PARTS
    named = data_files.load_json(path) if path.exists() and (root / ROLLUP_FEATURES).exists() else {}
    marks = {
        usage_partitions.month_number(name): PartFingerprint(**mark)
        for name, mark in named.items()
        if isinstance(mark, dict)
    }
    return {month: mark for month, mark in marks.items() if _part_path(root, month).exists()}


def _write_parts(root: Path, fingerprints: Mapping[int, PartFingerprint]) -> None:
    named = {usage_partitions.month_name(month): asdict(mark) for month, mark in fingerprints.items()}
    atomic.write_bytes(root / ROLLUP_PARTS, json.dumps(named, indent=1, sort_keys=True).encode())


if __name__ == "__main__":
    main(rollup)
