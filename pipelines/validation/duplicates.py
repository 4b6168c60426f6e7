"""Find exact duplicates and repeated keys in a table."""

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
"""The only table in which equal rows may be separate facts."""


def _always_holds(rows: ir.Table) -> ir.BooleanValue:
    """Condition of a rule that cannot be checked on a single row: always true."""
    return ibis.literal(True)


DUPLICATE_RULE = Rule("duplicate", "", "the row is an exact duplicate of another", _always_holds)


def conflict_rule(table: TableSpec) -> Rule:
    """The rule that each key occurs once."""
    same = f" and the same {' and '.join(table.versions)}" if table.versions else ""
    message = f"{', '.join(thing_columns(table))} occurs again with other values{same}; the row known first is kept"
    return Rule("conflict", (table.key or ("",))[0], message, _always_holds)


def thing_columns(table: TableSpec) -> list[str]:
    """Columns of the key that are equal in all versions of one thing."""
    return [name for name in table.key if name not in table.versions]


def duplicate_advice(table: str, report: TableReport) -> str:
    """Advice for a table with too many exact duplicates; a higher limit is never advised."""
    if table != REPEATABLE_TABLE:
        return "load each delivery once: a row delivered again adds nothing"
    if report.repeated_events is None:
        return "load each delivery once: a repeated `event_id` is one event delivered again"
    return f"{report.repeated_events.reason}. If a delivery was read twice, load it once. {COUNT_ADVICE}"


@dataclass(frozen=True)
class DeduplicatedRows:
    """The rows of a table, split into remaining rows and exact duplicates."""

    remaining_rows: ir.Table
    """The rows that remain, unchanged."""
    duplicate_rows: Mapping[Rule, ir.Table]
    """The duplicates, by the rule that they break."""


def split_duplicates(
    context: CheckContext, validated: ValidatedTable, valid_rows: ir.Table, report: TableReport
) -> DeduplicatedRows | None:
    """Split the exact duplicates from the remaining rows; `None` if all rows differ.

    Equal usage events that count as separate uses remain; `report.repeated_events` has the decision. A hash of every
    row finds candidates, and only those are compared.
    """
    identity = _identity_columns(validated, valid_rows)
    hashed = valid_rows.mutate(mark=ibis.struct(identity).hash(), named=_has_row_id(validated.table, valid_rows))
    repeated_hashes = hashed.group_by("mark", "named").agg(times=_.count()).filter(_.times > 1)
    repeated = context.con.create_table(f"repeated_{validated.table.name}", repeated_hashes, temp=True)
    if context.con.raw_sql(f"SELECT 1 FROM {repeated.get_name()} LIMIT 1").fetchone() is None:
        return None
    if validated.table.name == REPEATABLE_TABLE:
        report.repeated_events = _count_repeated_events(context, hashed, repeated)
    divisor = report.repeated_events.divisor if report.repeated_events else None
    suspects = _number_copies(validated, hashed.inner_join(repeated, ["mark", "named"]))
    allowed = 1 if divisor is None else suspects.named.ifelse(1, suspects.times // divisor)
    first_copies, extra_copies = suspects.filter(suspects.copy < allowed), suspects.filter(suspects.copy >= allowed)
    single = hashed.anti_join(repeated, ["mark", "named"])
    remaining = ibis.union(single.select(*valid_rows.columns), first_copies.select(*valid_rows.columns))
    repeated_id_rule = replace(
        DUPLICATE_RULE, message=f"{validated.table.row_id} occurs again; the row known first is kept"
    )
    return DeduplicatedRows(
        remaining,
        {
            DUPLICATE_RULE: extra_copies.filter(~extra_copies.named),
            repeated_id_rule: extra_copies.filter(extra_copies.named),
        },
    )


def _identity_columns(validated: ValidatedTable, rows: ir.Table) -> dict[str, ir.Value]:
    """Columns that define equal rows: the row id if it is filled, else all columns."""
    row_id = validated.table.row_id
    if not row_id:
        return {name: rows[name] for name in validated.columns}
    without_id = rows[row_id].isnull()
    other_columns = {n: without_id.ifelse(rows[n], ibis.null(rows[n].type())) for n in validated.columns if n != row_id}
    return {row_id: rows[row_id], **other_columns}


def _has_row_id(table: TableSpec, rows: ir.Table) -> ir.BooleanValue:
    return rows[table.row_id].notnull() if table.row_id else ibis.literal(False)


def _number_copies(validated: ValidatedTable, rows: ir.Table) -> ir.Table:
    """The rows with `copy`, the number of each among equal rows from 0; the row known first is 0."""
    order = [known_time(rows, validated.table).asc(nulls_first=True), *validated.columns, *validated.raw_column_names]
    by = list(_identity_columns(validated, rows).values())
    return rows.mutate(copy=ibis.row_number().over(ibis.window(group_by=by, order_by=order)))


def _count_repeated_events(
    context: CheckContext, hashed_rows: ir.Table, repeated_hashes: ir.Table
) -> RepeatedEvents | None:
    """Frequencies of equal rows among the rows without an id; None if all differ."""
    counts = (
        repeated_hashes.filter(~repeated_hashes.named)
        .group_by("times")
        .agg(distinct=_.count())
        .to_pyarrow()
        .to_pylist()
    )
    frequencies = {row["times"]: row["distinct"] for row in counts}
    if not frequencies:
        return None
    midnight = (_.occurred_at == _.occurred_at.truncate("D")).sum()
    all_rows = hashed_rows.filter(~hashed_rows.named).agg(rows=_.count(), midnight=midnight).to_pyarrow().to_pylist()[0]
    single = all_rows["rows"] - sum(frequency * distinct for frequency, distinct in frequencies.items())
    setting = context.job.settings.source.repeated_events
    return RepeatedEvents(setting, frequencies | ({1: single} if single else {}), all_rows["midnight"])


def rank_within_key(validated: ValidatedTable, rows: ir.Table) -> ir.Table:
    """Add `place`, the rank of each row within its key from 0; a table without a key is returned unchanged.

    The row known first is 0, so a row that arrives later changes nothing that was known before. Among rows with the
    same known time, a filled value comes before a missing one.
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
    """Rank of each row among rows with equal `by` columns, from 0."""
    return ibis.row_number().over(ibis.window(group_by=list(by), order_by=list(order)))
