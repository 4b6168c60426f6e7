"""What the parts of `check` share: where they read and write, and what became of each table."""

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
    """What keeps the contract and is yet probably wrong, or does harm: for whoever runs `check`, and for readers."""

    warning: str
    notice: Notice


@dataclass
class TableReport:
    """What became of one table."""

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
    """Of usage events: how often equal rows occur; None where all differ."""

    @property
    def violations(self) -> int:
        """Rows set aside for breaking a rule; an exact duplicate breaks none."""
        return self.broken_rows + self.conflicts


@dataclass(frozen=True)
class CheckContext:
    """What the work on every table needs."""

    con: Any
    job: Job
    clean_folder: Path
    quarantine_folder: Path
    scratch: Path
    id_types: Mapping[str, Mapping[str, dt.DataType]]
    id_warnings: tuple[str, ...] = ()

    def clean_table(self, name: str) -> ir.Table:
        """A table already gone through in this run."""
        return warehouse.read_parquet(self.con, self.clean_folder / f"{name}.parquet")


@dataclass(frozen=True)
class ValidatedTable:
    """A table whose rows have been held against every rule."""

    table: TableSpec
    rows: ir.Table
    """The rows as given and as typed, and for each rule the flag `breaks_<place>`."""
    raw_columns: Mapping[str, str]
    rules: tuple[Rule, ...]

    @property
    def is_broken(self) -> ir.BooleanValue:
        """Whether any flag is up."""
        return ibis.or_(*(self.rows[f"breaks_{place}"] for place, _rule in enumerate(self.rules)))

    @property
    def columns(self) -> list[str]:
        """The columns of the contract."""
        return list(self.table.columns)

    @property
    def raw_column_names(self) -> list[str]:
        """The columns as given, by the names they go by in `rows`."""
        return list(self.raw_columns.values())


def record_violation(report: TableReport, rule: Rule, count: int) -> int:
    """Enter a rule and how many rows break it, unless none does; the count is returned."""
    if count:
        report.rule_counts[rule.name] = count
        report.broken_rules[rule.name] = rule
    return count


def count_rows(rows: ir.Table) -> int:
    """How many rows an expression has."""
    return int(rows.count().to_pyarrow().as_py())


def known_time(rows: ir.Table, table: TableSpec) -> ir.TimestampValue:
    """When each row became known to the company; null: always."""
    return ibis.coalesce(*(rows[name] for name in table.known_time))
