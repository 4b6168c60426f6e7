"""Find the rows of a table that say again what another row says: exact duplicates, and keys that occur twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.tables import Rule, TableSpec
from renewals.pipelines.validation.context import CheckContext, TableReport, ValidatedTable, known_time
from renewals.pipelines.validation.repeated_events import COUNT_ADVICE, RepeatedEvents

REPEATABLE_TABLE = "usage_events"
"""The one table whose equal rows may be facts of their own."""


def _always_holds(rows: ir.Table) -> ir.BooleanValue:
    """The answer of a rule that is not asked of one row alone."""
    return ibis.literal(True)


DUPLICATE_RULE = Rule("duplicate", "", "the row is an exact duplicate of another", _always_holds)


def conflict_rule(table: TableSpec) -> Rule:
    """The rule that a key occurs once."""
    words = f"{', '.join(table.key)} occurs again with different content; the row known first is kept"
    return Rule("conflict", (table.key or ("",))[0], words, _always_holds)


def duplicate_advice(table: str, report: TableReport) -> str:
    """What to do where the exact duplicates of a table are too many; allowing more of them is no way out."""
    if table != REPEATABLE_TABLE:
        return "load each delivery once: a row delivered again says nothing new"
    if report.repeated_events is None:
        return "load each delivery once: an `event_id` that occurs again is one event delivered again"
    return f"{report.repeated_events.reason}. If a delivery was read twice, load it once. {COUNT_ADVICE}"


@dataclass(frozen=True)
class DeduplicatedRows:
    """The rows of a table with the exact duplicates apart."""

    remaining_rows: ir.Table
    """The rows that stay, as they were."""
    duplicate_rows: Mapping[Rule, ir.Table]
    """The rows set aside, by the rule that says why."""


def split_duplicates(
    context: CheckContext, validated: ValidatedTable, valid_rows: ir.Table, report: TableReport
) -> DeduplicatedRows | None:
    """Part the exact duplicates from the rows that stay; `None` where every row differs from every other.

    Of usage events, equal rows that are counted stay, and `report.repeated` says how equal rows were taken. A digest
    of every row finds the few that may be duplicates, and only those are compared.
    """
    same = _identity_columns(validated, valid_rows)
    marked = valid_rows.mutate(mark=ibis.struct(same).hash(), named=_has_row_id(validated.table, valid_rows))
    times = marked.group_by("mark", "named").agg(times=_.count()).filter(_.times > 1)
    repeated = context.con.create_table(f"repeated_{validated.table.name}", times, temp=True)
    if context.con.raw_sql(f"SELECT 1 FROM {repeated.get_name()} LIMIT 1").fetchone() is None:
        return None
    if validated.table.name == REPEATABLE_TABLE:
        report.repeated_events = _count_repeated_events(context, marked, repeated)
    divisor = report.repeated_events.divisor if report.repeated_events else None
    suspects = _number_copies(validated, marked.inner_join(repeated, ["mark", "named"]))
    allowed = 1 if divisor is None else suspects.named.ifelse(1, suspects.times // divisor)
    stay, gone = suspects.filter(suspects.copy < allowed), suspects.filter(suspects.copy >= allowed)
    single = marked.anti_join(repeated, ["mark", "named"])
    kept = ibis.union(single.select(*valid_rows.columns), stay.select(*valid_rows.columns))
    again = replace(DUPLICATE_RULE, message=f"{validated.table.row_id} occurs again; the row known first is kept")
    return DeduplicatedRows(kept, {DUPLICATE_RULE: gone.filter(~gone.named), again: gone.filter(gone.named)})


def _identity_columns(validated: ValidatedTable, rows: ir.Table) -> dict[str, ir.Value]:
    """What two equal rows have in common: the column that identifies a row where it is filled, otherwise all."""
    row_id = validated.table.row_id
    if not row_id:
        return {name: rows[name] for name in validated.columns}
    unnamed = rows[row_id].isnull()
    others = {n: unnamed.ifelse(rows[n], ibis.null(rows[n].type())) for n in validated.columns if n != row_id}
    return {row_id: rows[row_id], **others}


def _has_row_id(table: TableSpec, rows: ir.Table) -> ir.BooleanValue:
    return rows[table.row_id].notnull() if table.row_id else ibis.literal(False)


def _number_copies(validated: ValidatedTable, rows: ir.Table) -> ir.Table:
    """The rows with `copy`, the place of each among those equal to it; the row known first comes first."""
    order = [known_time(rows, validated.table).asc(nulls_first=True), *validated.columns, *validated.raw_column_names]
    by = list(_identity_columns(validated, rows).values())
    return rows.mutate(copy=ibis.row_number().over(ibis.window(group_by=by, order_by=order)))


def _count_repeated_events(
    context: CheckContext, hashed_rows: ir.Table, repeated_hashes: ir.Table
) -> RepeatedEvents | None:
    """How often the rows without an id occur; None where they all differ."""
    found = (
        repeated_hashes.filter(~repeated_hashes.named)
        .group_by("times")
        .agg(distinct=_.count())
        .to_pyarrow()
        .to_pylist()
    )
    times = {row["times"]: row["distinct"] for row in found}
    if not times:
        return None
    midnight = (_.occurred_at == _.occurred_at.truncate("D")).sum()
    all_rows = hashed_rows.filter(~hashed_rows.named).agg(rows=_.count(), midnight=midnight).to_pyarrow().to_pylist()[0]
    single = all_rows["rows"] - sum(often * distinct for often, distinct in times.items())
    setting = context.job.settings.source.repeated_events
    return RepeatedEvents(setting, times | ({1: single} if single else {}), all_rows["midnight"])


def rank_within_key(validated: ValidatedTable, rows: ir.Table) -> ir.Table:
    """The rows with their `place` among the rows of their key; the rows themselves where the table has no key.

    First comes the row known first, so that a row arriving later changes nothing that was known before;
    of rows known at one instant a filled one comes before an empty one.
    """
    key = validated.table.key
    if not key:
        return rows
    known = rows.mutate(known=known_time(rows, validated.table))
    order: list[Any] = [
        known.known.asc(nulls_first=True),
        *(known[c].asc(nulls_first=False) for c in validated.columns),
    ]
    return known.mutate(place=ibis.row_number().over(ibis.window(group_by=list(key), order_by=order)))


def rank_within(rows: ir.Table, by: Sequence[str], order: Sequence[str]) -> ir.IntegerValue:
    """The place of each row among those equal in `by`, from 0."""
    return ibis.row_number().over(ibis.window(group_by=list(by), order_by=list(order)))
