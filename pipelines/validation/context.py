"""Shared parts of `check`: its context, the report on each table, and the validated table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from renewals.features.tables import Rule, TableSpec
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation.repeated_events import RepeatedEvents


@dataclass(frozen=True)
class Anomaly:
    """A finding that breaks no rule but is probably an error.

    It has a warning for the user of `check` and, if it changes what a list shows, a notice for readers of the list.
    """

    warning: str
    notice: Notice | None


@dataclass
class TableReport:
    """Result of checking one table: row counts, broken rules, examples, advice and anomalies."""

    rows: int
    clean_rows: int = 0
    broken_rows: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rule_counts: dict[str, int] = field(default_factory=dict)
    broken_rules: dict[str, Rule] = field(default_factory=dict)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    advice: dict[str, list[str]] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)
    repeated_events: RepeatedEvents | None = None
    """For usage events: how often equal rows occur; None if all rows differ."""

    @property
    def violations(self) -> int:
        """Number of rows quarantined for breaking a rule; an exact duplicate breaks none."""
        return self.broken_rows + self.conflicts


@dataclass(frozen=True)
class CheckContext:
    """Connection, job, folders and id types that the check of every table needs."""

    con: Any
    job: Job
    clean_folder: Path
    quarantine_folder: Path
    scratch: Path
    id_types: Mapping[str, Mapping[str, dt.DataType]]
    id_warnings: tuple[str, ...] = ()

    def clean_table(self, name: str) -> ir.Table:
        """A clean table already written in this run."""
        return warehouse.read_parquet(self.con, self.clean_folder / f"{name}.parquet")


@dataclass(frozen=True)
class ValidatedTable:
    """A table after checking its rows against every rule."""

    table: TableSpec
    rows: ir.Table
    """The raw and cast columns, and one flag `breaks_<place>` per rule."""
    raw_columns: Mapping[str, str]
    rules: tuple[Rule, ...]

    @property
    def is_broken(self) -> ir.BooleanValue:
        """True for rows that break any rule."""
        return ibis.or_(*(self.rows[f"breaks_{place}"] for place, _rule in enumerate(self.rules)))

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the contract."""
        return list(self.table.columns)

    @property
    def raw_column_names(self) -> list[str]:
        """Names of the raw columns in `rows`."""
        return list(self.raw_columns.values())


def record_violation(report: TableReport, rule: Rule, count: int) -> int:
    """Add a rule and the number of rows that break it to the report, if not zero; return the number."""
    if count:
        report.rule_counts[rule.name] = count
        report.broken_rules[rule.name] = rule
    return count


def count_rows(rows: ir.Table) -> int:
    """Number of rows of an expression."""
    return int(rows.count().to_pyarrow().as_py())


def known_time(rows: ir.Table, table: TableSpec) -> ir.TimestampValue:
    """Known time of each row; null if it was always known."""
    return table.known_at(rows)
