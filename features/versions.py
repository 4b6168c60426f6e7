"""Versions of a row: what an account was on a day, as known then.

A table may contain several rows of one thing, its versions, told apart by `recorded_at` and `valid_from`. Of those
known before a day, the newest one that applies on that day holds: an amendment changes nothing before its `valid_from`,
and one that is still to come changes nothing yet. The first version applies from ever. A thing that was deleted by then
is not there. `features.point_in_time` cuts off the future; only versions known by then are compared here, so that a
later row never changes an earlier answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.family import KEY
from renewals.features.point_in_time import as_of_rows, as_of_rows_by_date, has_passed, known_rows
from renewals.features.tables import TABLES


def accounts_as_of(accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Version of each observed account that holds at the observation: one row per (account_id, as_of)."""
    return versions_in_force("accounts", as_of_rows("accounts", accounts, spine), KEY)


def accounts_by_date(accounts: ir.Table, spine: ir.Table) -> ir.Table:
    """Version of every account that holds at each observation date: one row per (account_id, as_of)."""
    return versions_in_force("accounts", as_of_rows_by_date("accounts", accounts, spine), KEY)


def accounts_known(accounts: ir.Table, day: date) -> ir.Table:
    """Version of every account that holds on a day: one row per account_id."""
    known = known_rows("accounts", accounts, day).mutate(as_of=ibis.literal(day, "date"))
    return versions_in_force("accounts", known, KEY).drop("as_of")


def has_versions(name: str, rows: ir.Table) -> ir.BooleanScalar:
    """True if a table contains several versions of one thing."""
    spec = TABLES[name]
    things = rows.group_by(*(column for column in spec.key if column not in spec.versions)).agg(_versions=_.count())
    return (things._versions > 1).any()


def versions_in_force(name: str, known: ir.Table, by: Sequence[str]) -> ir.Table:
    """Of the rows of a table known at each `as_of`, with `by` equal, the one that holds: at most one row per `by`.

    `known` is made by `features.point_in_time`, and `by` includes `as_of`.
    """
    rows = known.mutate(_known=TABLES[name].known_at(known))
    age = ("_known", "valid_from", "recorded_at")
    oldest = ibis.window(group_by=by, order_by=[rows[column].asc(nulls_first=True) for column in age])
    rows = rows.mutate(_is_first=ibis.row_number().over(oldest) == 0)
    rows = rows.filter(rows._is_first | rows.valid_from.isnull() | has_passed(rows, rows.valid_from))
    newest = ibis.window(group_by=by, order_by=[rows[column].desc(nulls_first=False) for column in age])
    rows = rows.mutate(_place=ibis.row_number().over(newest)).filter(_._place == 0, _.deleted_at.isnull())
    return rows.drop("_known", "_is_first", "_place")
