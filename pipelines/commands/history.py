"""Command `renewals history`: rebuild versions of accounts, contracts and people from dated extracts."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import structlog

from renewals.features.tables import TABLES
from renewals.pipelines.history.column_types import RECORDED_AT, VALID_FROM, empty_column, to_arrow
from renewals.pipelines.history.copy_files import find_files
from renewals.pipelines.history.source_history import SourceHistory, rebuild_source
from renewals.pipelines.history.state_files import FOLDER
from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.lock import exclusive_lock
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.storage.engine.atomic import atomic_path, write_bytes
from renewals.reports.sanitize import make_printable

REPORT, SET_ASIDE = "history.json", "history_set_aside.csv"
LOCK_FILE, HOLDER_FILE = ".history.lock", ".history.json"


def history(job: Job) -> dict[str, Any]:
    """Bring the tables in the folder `job.tables` up to date with all extracts; return counts, findings and months.

    Raises `ConfigError` without any source, and the errors of `rebuild_source`.
    """
    settings, folder = job.settings, Path(job.tables)
    if not settings.history.sources:
        raise ConfigError("history.sources is empty: name your extracts there; docs/history.md has examples")
    with exclusive_lock(folder, "history", LOCK_FILE, HOLDER_FILE):
        histories = _rebuild_sources(settings, folder)
        rows = _write_tables(settings, folder, histories)
        report = _report(histories, rows)
        _write_report(folder, report, histories)
    _print_summary(report)
    return {"tables": str(folder), **report}


def _rebuild_sources(settings: Settings, folder: Path) -> dict[str, SourceHistory]:
    sources = settings.history.sources
    files = {name: find_files(name, source.files, source.format == "copies") for name, source in sources.items()}
    with progress(sum(map(len, files.values())), "history") as step:
        return {name: rebuild_source(name, files[name], settings, folder / FOLDER / name, step) for name in sources}


def _write_tables(settings: Settings, folder: Path, histories: Mapping[str, SourceHistory]) -> dict[str, int]:
    """Write the versions of all sources of each table as one file; the number of rows by table."""
    rows = {}
    for table in dict.fromkeys(history.table for history in histories.values()):
        parts = {name: history.versions for name, history in histories.items() if history.table == table}
        versions = merge_versions(table, parts, settings)
        path = folder / f"{table}.parquet"
        with atomic_path(path) as unfinished:
            pq.write_table(to_arrow(versions, table), unfinished, compression="zstd")
        rows[table] = len(versions)
    return rows


def merge_versions(table: str, parts: Mapping[str, pd.DataFrame], settings: Settings) -> pd.DataFrame:
    """Versions of all sources of a table, in the order of their keys and of when they became known."""
    spec = TABLES[table]
    versions = pd.concat(
        [_exclusive_ends(rows, settings, name).assign(history_source=name) for name, rows in parts.items()],
        ignore_index=True,
    )
    for name in (c.name for c in spec.columns.values() if c.required and c.name not in versions):
        versions[name] = empty_column(spec.columns[name], len(versions))
    ordered = [name for name in (*spec.columns, "history_event", "history_source") if name in versions]
    key = [name for name in spec.key if name not in (RECORDED_AT, VALID_FROM)]
    order = [*key, RECORDED_AT, VALID_FROM]
    return versions[ordered].sort_values(order, na_position="first", kind="stable", ignore_index=True)


def _exclusive_ends(rows: pd.DataFrame, settings: Settings, source: str) -> pd.DataFrame:
    """Versions whose `end_date` is what `check` expects: terms by presence end on the first day after them."""
    if not settings.source.inclusive_ends or settings.history.sources[source].presence is None:
        return rows
    return rows.assign(end_date=rows["end_date"] - pd.Timedelta(days=1))


# --- the report ------------------------------------------------------------------------------------


def _report(histories: Mapping[str, SourceHistory], rows: Mapping[str, int]) -> dict[str, Any]:
    return {"rows": dict(rows), "sources": {name: _source_report(history) for name, history in histories.items()}}


def _source_report(history: SourceHistory) -> dict[str, Any]:
    counts = history.counts
    return {
        "table": history.table,
        "copies": {
            "read": history.files_read,
            "read_before": history.files_before,
            "before_first_day": history.files_skipped,
            "no_longer_there": len(history.removed),
        },
        "rebuilt_because": history.rebuild_reason,
        "rows_read": counts.read,
        "rows_made_versions": counts.made_versions,
        "rows_unchanged": counts.unchanged,
        "rows_set_aside": dict(sorted(counts.set_aside.items())),
        "further_versions": counts.further_versions,
        "versions_written": counts.versions,
        "events": dict(sorted(counts.events.items())),
        "versions_in_all": len(history.versions),
        "first_copy": None if history.first_day is None else history.first_day.isoformat(),
        "last_copy": None if history.last_day is None else history.last_day.isoformat(),
        "has_stopped": history.is_stopped,
        "unknown_months": history.unknown_months,
        "findings": history.findings,
    }


def _print_summary(report: Mapping[str, Any]) -> None:
    """Print the summary on a terminal, and log its lines elsewhere."""
    lines = [make_printable(line) for line in summary_lines(report)]
    if is_interactive():
        print("\n".join(lines), file=sys.stderr)
        return
    log = structlog.get_logger()
    for line in lines:
        log.info(line.strip())


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """Lines for a person: for each source what was read, what became of it, and what was noticed."""
    lines = []
    for name, source in report["sources"].items():
        set_aside = sum(source["rows_set_aside"].values())
        lines.append(
            f"{name}: {source['copies']['read']} new files ({source['copies']['read_before']} read before), "
            f"{source['rows_read']} rows = {source['rows_made_versions']} with versions + {source['rows_unchanged']} "
            f"unchanged + {set_aside} set aside; {source['versions_written']} versions written"
        )
        if source["rebuilt_because"]:
            lines.append(f"  read again from the first copy on: {source['rebuilt_because']}")
        lines += [f"  {_count(count, 'row')} set aside: {reason}" for reason, count in source["rows_set_aside"].items()]
        lines += [f"  {_finding_text(finding)}" for finding in source["findings"]]
        if source["unknown_months"]:
            lines.append(f"  unknown months: {', '.join(sorted(source['unknown_months']))}")
    return lines


def _finding_text(finding: Mapping[str, Any]) -> str:
    day, rows = finding["day"], finding.get("rows", 0)
    share = f"{finding['missing']} of {finding['of']} rows ({finding['share']:.0%})" if "missing" in finding else ""
    texts = {
        "stopped": f"{day}: {share} gone at once: the source stopped; all rows stay as last seen",
        "resumed": f"{day}: the source runs again; {share} are still missing and have vanished",
        "many_vanished": f"{day}: {share} vanished at once",
        "returned": f"{day}: {_count(rows, 'row')} returned",
        "keys_used_again": f"{day}: {_count(rows, 'key')} used again for something else",
        "columns_appeared": f"{day}: new columns: {', '.join(finding.get('columns', ()))}",
    }
    return texts[finding["what"]]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _write_report(folder: Path, report: Mapping[str, Any], histories: Mapping[str, SourceHistory]) -> None:
    """Write the report, and the rows that were set aside in this run, which are named and not shown."""
    write_bytes(folder / REPORT, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    write_bytes(folder / SET_ASIDE, _set_aside_csv(histories))


def _set_aside_csv(histories: Mapping[str, SourceHistory]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("source", "file", "row", "reason"))
    rows: Sequence[tuple[Any, ...]] = [
        (name, row.file, row.row or "", row.reason) for name, history in histories.items() for row in history.set_aside
    ]
    writer.writerows(rows)
    return text.getvalue().encode()
