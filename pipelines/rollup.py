"""Roll usage up to person-days, one immutable part per month of arrival (design, decision 4).

A part is built once. A new month adds a part; a late event lies in the part of its arrival, so the old
parts stay as they are. Each part carries the fingerprint of the events it was made from: where a source
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
import structlog
from ibis import _

from features.policy import Usage
from features.usage import feature_days, person_days
from features.windows import EPOCH, arrival_day
from pipelines import warehouse
from pipelines.stage import Job, main, progress

log = structlog.get_logger()

VERSION = 1
"""Raise when the meaning of a rolled-up column changes: every part is then built again."""

GRAINS = {"person_days": person_days, "feature_days": feature_days}


def rollup(job: Job) -> dict[str, Any]:
    """Bring the parts up to date with the clean events."""
    con = warehouse.connect(job.settings.engine)
    events = warehouse.clean_tables(con, job.data)["usage_events"].mutate(arrived=_arrival_month)
    root = job.data / "rollup"
    wanted = _fingerprints(events, job.settings.usage)
    have = _read_parts(root)
    stale = [month for month, mark in wanted.items() if have.get(month) != mark]
    for month in sorted(set(have) - set(wanted)):
        _remove(root, month)
    rewritten = sorted(set(stale) & set(have))
    if rewritten:
        log.warning("history was rewritten at the source", months=rewritten)
    with progress(len(stale), "roll-up") as step:
        for month in stale:
            _build(con, events, root, month, job)
            have[month] = wanted[month]
            _write_parts(root, {m: have[m] for m in have if m in wanted})
            step(month)
    _write_parts(root, wanted)
    return {"parts": len(wanted), "built": len(stale), "rewritten": len(rewritten)}


def _arrival_month(events: ir.Table) -> ir.StringValue:
    day = arrival_day(events)
    return (ibis.literal(EPOCH).cast("timestamp") + day.cast("int64").as_interval("D")).strftime("%Y-%m")


def _fingerprints(events: ir.Table, usage: Usage) -> dict[str, str]:
    """Per month of arrival, a digest of its events and of what decides how they are rolled up."""
    columns = [c for c in events.columns if c != "arrived"]
    row = ibis.literal("").join([events[c].cast("string").fill_null("\x00") + "\x1f" for c in columns]).hash()
    marked = events.mutate(_mark=row)
    months = marked.group_by("arrived").agg(rows=_.count(), low=_._mark.bit_xor(), sum=(_._mark % 1_000_003).sum())
    rules = f"{VERSION}|{usage.model_dump_json()}"
    return {
        r["arrived"]: hashlib.sha256(f"{rules}|{r['rows']}|{r['low']}|{r['sum']}".encode()).hexdigest()
        for r in months.order_by("arrived").to_pyarrow().to_pylist()
    }


def _build(con: Any, events: ir.Table, root: Path, month: str, job: Job) -> None:
    arrived = events.filter(_.arrived == month)
    for grain, roll in GRAINS.items():
        part = roll(arrived, job.settings)
        keys = [c for c in ("account_id", "user_id", "feature", "day", "known_day") if c in part.columns]
        warehouse.write_parquet(part, _part(root, grain, month), order_by=keys)


def _part(root: Path, grain: str, month: str) -> Path:
    return root / grain / f"arrived={month}" / "part.parquet"


def _remove(root: Path, month: str) -> None:
    for grain in GRAINS:
        shutil.rmtree(_part(root, grain, month).parent, ignore_errors=True)


def _read_parts(root: Path) -> dict[str, str]:
    path = root / "parts.json"
    marks: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return {m: mark for m, mark in marks.items() if all(_part(root, g, m).exists() for g in GRAINS)}


def _write_parts(root: Path, marks: dict[str, str]) -> None:
    warehouse.write_bytes(root / "parts.json", json.dumps(marks, indent=1, sort_keys=True).encode())


if __name__ == "__main__":
    main(rollup)
