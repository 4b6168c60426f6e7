"""Roll usage up to person-days, one immutable part per month of arrival (design, decision 4).

A part is built once. A new month adds a part; a late event is in the part of its arrival month, so old parts do not
change. Each part is stored with the digest of its events: if a source rewrites its history, the part is built again and
a warning is logged.
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
    """Update the parts to the clean events; return the numbers of parts, of those built, and of those the source
    rewrote."""
    root = job.data / ROLLUP
    old_names.rename_file(root / ROLLUP_FEATURES)
    required = _required_parts(job)
    existing = _read_parts(root)
    stale = [
        month
        for month, fingerprint in required.items()
        if month not in existing or not existing[month].same_part(fingerprint)
    ]
    rewritten = _log_rebuilds(
        {month: (existing[month], required[month]) for month in sorted(stale) if month in existing}
    )
    for month in sorted(set(existing) - set(required)):
        shutil.rmtree(_part_path(root, month).parent, ignore_errors=True)
    if stale:
        # Parts that will be rebuilt are unlisted first, so that an interrupted run does not leave them listed as valid.
        _write_parts(root, {m: fingerprint for m, fingerprint in existing.items() if m in required and m not in stale})
        _build_parts(root, stale, job)
    _write_parts(root, required)
    return {"parts": len(required), "built": len(stale), "rewritten": rewritten}


@dataclass(frozen=True)
class PartFingerprint:
    """Digests of a part's inputs: its events, the roll-up rules, and the release and settings that read the events."""

    events: str
    rules: str
    reading: str

    def same_part(self, other: PartFingerprint) -> bool:
        """True if both give the same part: equal events and rules."""
        return (self.events, self.rules) == (other.events, other.rules)


def _required_parts(job: Job) -> dict[int, PartFingerprint]:
    """Fingerprint that the part of each month must have, by month number."""
    settings = job.settings
    rules = _sha256(f"{VERSION}|{settings.usage.model_dump_json()}")
    # The extraction day does not change how rows are read.
    source = settings.source.model_dump_json(exclude={"extracted_at"})
    reading = _sha256(f"{package_version()}|{source}|{settings.quarantine.model_dump_json()}")
    digests = usage_partitions.read_digests(job.data / "clean")
    return {month: PartFingerprint(_sha256(events), rules, reading) for month, events in digests.items()}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _log_rebuilds(rebuilt: Mapping[int, tuple[PartFingerprint, PartFingerprint]]) -> int:
    """Log why parts are built again, from their old and new fingerprints; return how many the source rewrote."""
    events = {month for month, (old, new) in rebuilt.items() if old.events != new.events}
    read_differently = {month for month in events if rebuilt[month][0].reading != rebuilt[month][1].reading}
    rewritten = events - read_differently
    if rewritten:
        log.warning("source changed past usage events; months rebuilt", months=_month_names(rewritten))
    if read_differently:
        log.info("usage months rebuilt: reading parameters or release changed", months=_month_names(read_differently))
    if parameters := set(rebuilt) - events:
        log.info("usage months rebuilt: section `usage` or release changed", months=_month_names(parameters))
    return len(rewritten)


def _month_names(months: Iterable[int]) -> list[str]:
    return [usage_partitions.month_name(month) for month in sorted(months)]


def _build_parts(root: Path, months: list[int], job: Job) -> None:
    """Write the part of each of these months, one month at a time, so that memory does not grow with history."""
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
    """Known features followed by the new ones in `events`; positions never change, so old parts stay valid."""
    present = events.select("feature").distinct().to_pyarrow()["feature"].to_pylist()
    return features + sorted(set(present) - set(features))


def _product_features(features: list[str], job: Job) -> pa.Table:
    """Table of block, bit and properties of each product feature; one row per feature, in order of position."""
    columns = product_features(features, job.settings)
    return pa.table(
        {
            column: pa.array(columns[column], pa.type_for_alias(type_name))
            for column, type_name in PRODUCT_FEATURE_TYPES.items()
        }
    )


def _read_features(root: Path) -> list[str]:
    path = root / ROLLUP_FEATURES
    return data_files.load_json(path) if path.exists() else []


def _write_features(root: Path, features: list[str]) -> None:
    atomic.write_bytes(root / ROLLUP_FEATURES, json.dumps(features, indent=1, ensure_ascii=False).encode())


# --- parts -------------------------------------------------------------------------------------------


def _part_path(root: Path, month: int) -> Path:
    return root / PERSON_DAYS / f"arrived={usage_partitions.month_name(month)}" / "part.parquet"


def _read_parts(root: Path) -> dict[int, PartFingerprint]:
    """Fingerprints of the existing parts by month number; incomplete ones, from older releases, are left out."""
    path = root / ROLLUP_PARTS
    by_name = data_files.load_json(path) if path.exists() and (root / ROLLUP_FEATURES).exists() else {}
    fingerprints = {
        usage_partitions.month_number(name): PartFingerprint(**fingerprint)
        for name, fingerprint in by_name.items()
        if isinstance(fingerprint, dict)
    }
    return {month: fingerprint for month, fingerprint in fingerprints.items() if _part_path(root, month).exists()}


def _write_parts(root: Path, fingerprints: Mapping[int, PartFingerprint]) -> None:
    by_name = {usage_partitions.month_name(month): asdict(fingerprint) for month, fingerprint in fingerprints.items()}
    atomic.write_bytes(root / ROLLUP_PARTS, json.dumps(by_name, indent=1, sort_keys=True).encode())


if __name__ == "__main__":
    main(rollup)
