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

VERSION = 2
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
    rewritten = sorted(set(stale) & set(have))
    if rewritten:
        log.warning("history was rewritten at the source", months=rewritten)
    for month in sorted(set(have) - set(wanted)):
        _remove(root, month)
    if stale:
        # What is about to be written again does not count as there, should the run be cut short.
        _write_parts(root, {m: mark for m, mark in have.items() if wanted.get(m) == mark})
        _build(con, events.filter(_.arrived.isin(stale)), root, stale, job)
    _write_parts(root, wanted)
    return {"parts": len(wanted), "built": len(stale), "rewritten": len(rewritten)}


def _arrival_month(events: ir.Table) -> ir.IntegerValue:
    """Months since the year 0, of the day of arrival."""
    arrived = ibis.literal(EPOCH) + arrival_day(events).as_interval("D")
    return (arrived.year() * 12 + arrived.month() - 1).cast("int32")


def _fingerprints(events: ir.Table, usage: Usage) -> dict[int, str]:
    """Per month of arrival, a digest of its events and of what decides how they are rolled up."""
    columns = {c: events[c] for c in events.columns if c != "arrived"}
    marked = events.select("arrived", _mark=ibis.struct(columns).hash())
    months = marked.group_by("arrived").agg(rows=_.count(), xor=_._mark.bit_xor(), sum=(_._mark % 1_000_003).sum())
    rules = f"{VERSION}|{usage.model_dump_json()}"
    return {
        r["arrived"]: hashlib.sha256(f"{rules}|{r['rows']}|{r['xor']}|{r['sum']}".encode()).hexdigest()
        for r in months.order_by("arrived").to_pyarrow().to_pylist()
    }


def _build(con: Any, events: ir.Table, root: Path, months: list[int], job: Job) -> None:
    """Roll up all months in one pass over the events, then write each as its own part."""
    with progress(len(GRAINS), "roll-up") as step:
        for grain, roll in GRAINS.items():
            rolled = con.create_table(f"rolled_{grain}", roll(events, job.settings, by=("arrived",)), temp=True)
            keys = [c for c in ("account_id", "user_id", "feature", "day", "known_day") if c in rolled.columns]
            for month in months:
                part = rolled.filter(_.arrived == month).drop("arrived")
                warehouse.write_parquet(part, _part(root, grain, month), order_by=keys)
            con.drop_table(f"rolled_{grain}")
            step(f"{grain}, {len(months)} parts")


def _named(month: int) -> str:
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def _part(root: Path, grain: str, month: int) -> Path:
    return root / grain / f"arrived={_named(month)}" / "part.parquet"


def _remove(root: Path, month: int) -> None:
    for grain in GRAINS:
        shutil.rmtree(_part(root, grain, month).parent, ignore_errors=True)


def _read_parts(root: Path) -> dict[int, str]:
    path = root / "parts.json"
    named: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    marks = {int(name[:4]) * 12 + int(name[5:]) - 1: mark for name, mark in named.items()}
    return {m: mark for m, mark in marks.items() if all(_part(root, g, m).exists() for g in GRAINS)}


def _write_parts(root: Path, marks: dict[int, str]) -> None:
    named = {_named(month): mark for month, mark in marks.items()}
    warehouse.write_bytes(root / "parts.json", json.dumps(named, indent=1, sort_keys=True).encode())


if __name__ == "__main__":
    main(rollup)
