"""Find the rows of a table that say again what another row says: exact duplicates, and keys that occur twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.tables import Rule, Table
from renewals.pipelines.validation.context import CheckContext, TableReport, ValidatedTable, known_time
from renewals.pipelines.validation.repeated_events import TO_COUNT, RepeatedEvents

MAY_REPEAT = "usage_events"
"""The one table whose equal rows may be facts of their own."""


def _holds(rows: ir.Table) -> ir.BooleanValue:
    """The answer of a rule that is not asked of one row alone."""
    return ibis.literal(True)


DUPLICATE = Rule("duplicate", "", "the row is an exact duplicate of another", _holds)


def conflict(table: Table) -> Rule:
    """The rule that a key occurs once."""
    words = f"{', '.join(table.key)} occurs again with different content; the row known first is kept"
    return Rule("conflict", (table.key or ("",))[0], words, _holds)


def duplicate_advice(table: str, report: TableReport) -> str:
    """What to do where the exact duplicates of a table are too many; allowing more of them is no way out."""
    if table != MAY_REPEAT:
        return "load each delivery once: a row delivered again says nothing new"
    if report.repeated is None:
        return "load each delivery once: an `event_id` that occurs again is one event delivered again"
    return f"{report.repeated.reason}. If a delivery was read twice, load it once. {TO_COUNT}"


@dataclass(frozen=True)
class Copies:
    """The rows of a table with the exact duplicates apart."""

    kept: ir.Table
    """The rows that stay, as they were."""
    aside: Mapping[Rule, ir.Table]
    """The rows set aside, by the rule that says why."""


def copies_of(context: CheckContext, checked: ValidatedTable, sound: ir.Table, report: TableReport) -> Copies | None:
    """Part the exact duplicates from the rows that stay; `None` where every row differs from every other.

    Of usage events, equal rows that are counted stay, and `report.repeated` says how equal rows were taken. A digest
    of every row finds the few that may be duplicates, and only those are compared.
    """
    same = _identity(checked, sound)
    marked = sound.mutate(mark=ibis.struct(same).hash(), named=_is_named(checked.table, sound))
    times = marked.group_by("mark", "named").agg(times=_.count()).filter(_.times > 1)
    repeated = context.con.create_table(f"repeated_{checked.table.name}", times, temp=True)
    if context.con.raw_sql(f"SELECT 1 FROM {repeated.get_name()} LIMIT 1").fetchone() is None:
        return None
    if checked.table.name == MAY_REPEAT:
        report.repeated = _repeated_events(context, marked, repeated)
    divisor = report.repeated.divisor if report.repeated else None
    suspects = _numbered(checked, marked.inner_join(repeated, ["mark", "named"]))
    allowed = 1 if divisor is None else suspects.named.ifelse(1, suspects.times // divisor)
    stay, gone = suspects.filter(suspects.copy < allowed), suspects.filter(suspects.copy >= allowed)
    single = marked.anti_join(repeated, ["mark", "named"])
    kept = ibis.union(single.select(*sound.columns), stay.select(*sound.columns))
    again = replace(DUPLICATE, words=f"{checked.table.row_id} occurs again; the row known first is kept")
    return Copies(kept, {DUPLICATE: gone.filter(~gone.named), again: gone.filter(gone.named)})


def _identity(checked: ValidatedTable, rows: ir.Table) -> dict[str, ir.Value]:
    """What two equal rows have in common: the column that identifies a row where it is filled, otherwise all."""
    row_id = checked.table.row_id
    if not row_id:
        return {name: rows[name] for name in checked.columns}
    unnamed = rows[row_id].isnull()
    others = {n: unnamed.ifelse(rows[n], ibis.null(rows[n].type())) for n in checked.columns if n != row_id}
    return {row_id: rows[row_id], **others}


def _is_named(table: Table, rows: ir.Table) -> ir.BooleanValue:
    return rows[table.row_id].notnull() if table.row_id else ibis.literal(False)


def _numbered(checked: ValidatedTable, rows: ir.Table) -> ir.Table:
    """The rows with `copy`, the place of each among those equal to it; the row known first comes first."""
    order = [known_time(rows, checked.table).asc(nulls_first=True), *checked.columns, *checked.as_given]
    by = list(_identity(checked, rows).values())
    return rows.mutate(copy=ibis.row_number().over(ibis.window(group_by=by, order_by=order)))


def _repeated_events(context: CheckContext, marked: ir.Table, repeated: ir.Table) -> RepeatedEvents | None:
    """How often the rows without an id occur; None where they all differ."""
    found = repeated.filter(~repeated.named).group_by("times").agg(distinct=_.count()).to_pyarrow().to_pylist()
    times = {row["times"]: row["distinct"] for row in found}
    if not times:
        return None
    midnight = (_.occurred_at == _.occurred_at.truncate("D")).sum()
    all_rows = marked.filter(~marked.named).agg(rows=_.count(), midnight=midnight).to_pyarrow().to_pylist()[0]
    single = all_rows["rows"] - sum(often * distinct for often, distinct in times.items())
    setting = context.job.settings.source.repeated_events
    return RepeatedEvents(setting, times | ({1: single} if single else {}), all_rows["midnight"])


def first_of_each(checked: ValidatedTable, kept: ir.Table) -> ir.Table:
    """The rows with their `place` among the rows of their key; the rows themselves where the table has no key.

    First comes the row known first, so that a row arriving later changes nothing that was known before;
    of rows known at one instant a filled one comes before an empty one.
    """
    key = checked.table.key
    if not key:
        return kept
    known = kept.mutate(known=known_time(kept, checked.table))
    order: list[Any] = [known.known.asc(nulls_first=True), *(known[c].asc(nulls_first=False) for c in checked.columns)]
    return known.mutate(place=ibis.row_number().over(ibis.window(group_by=list(key), order_by=order)))


def place_among(rows: ir.Table, by: Sequence[str], order: Sequence[str]) -> ir.IntegerValue:
    """The place of each row among those equal in `by`, from 0."""
    return ibis.row_number().over(ibis.window(group_by=list(by), order_by=list(order)))
