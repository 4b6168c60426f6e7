"""Roll usage up to person-days, one immutable part per month of arrival (design, decision 4).

A part is built once. A new month adds a part; a late event lies in the part of its arrival, so the old
parts stay as they are. Each part carries the digest of the events it was made from: where a source
rewrites its own history the part is built again, and the log says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import structlog
from ibis import _

from features.usage import PRODUCT, person_days, product
from pipelines import arrivals, stored, warehouse
from pipelines.stage import Job, main, progress

log = structlog.get_logger()

VERSION = 4
"""Raise when the meaning of a rolled-up column changes: every part is then built again."""
ORDER = ("account_id", "user_id", "day", "known_day", "block")


def rollup(job: Job) -> dict[str, Any]:
    """Bring the parts up to date with the clean events."""
    root = job.data / "rollup"
    rules = f"{VERSION}|{job.settings.usage.model_dump_json()}"
    wanted = {
        month: hashlib.sha256(f"{rules}|{digest}".encode()).hexdigest()
        for month, digest in arrivals.read_digests(job.data / "clean").items()
    }
    have = _read_parts(root)
    stale = [month for month, mark in wanted.items() if have.get(month) != mark]
    rewritten = sorted(set(stale) & set(have))
    if rewritten:
        log.warning("history was rewritten at the source", months=[arrivals.named(month) for month in rewritten])
    for month in sorted(set(have) - set(wanted)):
        shutil.rmtree(_part(root, month).parent, ignore_errors=True)
    if stale:
        # What is about to be written again does not count as there, should the run be cut short.
        _write_parts(root, {m: mark for m, mark in have.items() if wanted.get(m) == mark})
        _build(root, stale, job)
    _write_parts(root, wanted)
    return {"parts": len(wanted), "built": len(stale), "rewritten": len(rewritten)}


def _build(root: Path, months: list[int], job: Job) -> None:
    """Write a part for each of these months: one month is read at a time, so that memory does not grow with history."""
    events = warehouse.clean_tables(warehouse.heavy(job.settings), job.data)["usage_events"]
    features = _read_features(root)
    with progress(len(months), "roll-up") as step:
        for month in sorted(months):
            arrived = events.filter(_.arrived == month)
            features = _met(features, arrived)
            _write_features(root, features)
            rows = person_days(arrived, ibis.memtable(_product_table(features, job)))
            warehouse.keep(rows, _part(root, month), order_by=ORDER)
            step(arrivals.named(month))


# --- product features by number --------------------------------------------------------------------


def _met(known: list[str], events: ir.Table) -> list[str]:
    """The features met so far and new ones behind them; a feature keeps its place, and old parts their meaning."""
    found = events.select("feature").distinct().to_pyarrow()["feature"].to_pylist()
    return known + sorted(set(found) - set(known))


def _product_table(features: list[str], job: Job) -> pa.Table:
    """Block, bit and meaning of each product feature, by its place."""
    columns = product(features, job.settings)
    return pa.table({c: pa.array(columns[c], pa.type_for_alias(kind)) for c, kind in PRODUCT.items()})


def _read_features(root: Path) -> list[str]:
    path = root / "features.json"
    return stored.load_json(path) if path.exists() else []


def _write_features(root: Path, features: list[str]) -> None:
    warehouse.write_bytes(root / "features.json", json.dumps(features, indent=1, ensure_ascii=False).encode())


# --- parts -------------------------------------------------------------------------------------------


def _part(root: Path, month: int) -> Path:
    return root / "person_days" / f"arrived={arrivals.named(month)}" / "part.parquet"


def _read_parts(root: Path) -> dict[int, str]:
    path = root / "parts.json"
    named: dict[str, str] = stored.load_json(path) if path.exists() and (root / "features.json").exists() else {}
    marks = {arrivals.number(name): mark for name, mark in named.items()}
    return {month: mark for month, mark in marks.items() if _part(root, month).exists()}


def _write_parts(root: Path, marks: dict[int, str]) -> None:
    named = {arrivals.named(month): mark for month, mark in marks.items()}
    warehouse.write_bytes(root / "parts.json", json.dumps(named, indent=1, sort_keys=True).encode())


if __name__ == "__main__":
    main(rollup)
