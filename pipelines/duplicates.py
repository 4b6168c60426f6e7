"""Find the rows of a table that say again what another row says: exact duplicates, and keys that occur twice."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from features.tables import Rule, Table
from pipelines.check_context import CheckContext, ValidatedTable, known_time


def _holds(rows: ir.Table) -> ir.BooleanValue:
    """The answer of a rule that is not asked of one row alone."""
    return ibis.literal(True)


DUPLICATE = Rule("duplicate", "", "the row is an exact duplicate of another", _holds)


def conflict(table: Table) -> Rule:
    """The rule that a key occurs once."""
    words = f"{', '.join(table.key)} occurs again with different content; the row known first is kept"
    return Rule("conflict", (table.key or ("",))[0], words, _holds)


def copies_of(context: CheckContext, checked: ValidatedTable, sound: ir.Table) -> ir.Table | None:
    """The exact duplicates but for one of each: one row per row too many; `None` where there is none.

    A digest of every row finds the few that may be duplicates, and only those are compared.
    """
    marked = sound.mutate(mark=ibis.struct({name: sound[name] for name in checked.columns}).hash())
    repeated = marked.group_by("mark").agg(times=ibis._.count()).filter(ibis._.times > 1).select("mark")
    settled = context.con.create_table(f"repeated_{checked.table.name}", repeated, temp=True)
    if context.con.raw_sql(f"SELECT 1 FROM {settled.get_name()} LIMIT 1").fetchone() is None:
        return None
    suspects = marked.semi_join(settled, "mark")
    copies = suspects.mutate(copy=place_among(suspects, checked.columns, checked.as_given))
    return copies.filter(copies.copy > 0)


def first_of_each(checked: ValidatedTable, sound: ir.Table, copies: ir.Table | None) -> ir.Table:
    """One of each row; where the table has a key, with its `place` among the rows of that key.

    First comes the row known first, so that a row arriving later changes nothing that was known before;
    of rows known at one instant a filled one comes before an empty one.
    """
    key = checked.table.key
    if not key:
        return sound.select(*checked.columns).distinct() if copies is not None else sound
    if copies is not None:
        numbered = sound.mutate(copy=place_among(sound, checked.columns, checked.as_given))
        sound = numbered.filter(numbered.copy == 0)
    known = sound.mutate(known=known_time(sound, checked.table))
    order = [known.known.asc(nulls_first=True), *(known[name].asc(nulls_first=False) for name in checked.columns)]
    return known.mutate(place=ibis.row_number().over(ibis.window(group_by=list(key), order_by=order)))


def place_among(rows: ir.Table, by: Sequence[str], order: Sequence[str]) -> ir.IntegerValue:
    """The place of each row among those equal in `by`, from 0."""
    return ibis.row_number().over(ibis.window(group_by=list(by), order_by=list(order)))
