"""Worlds of many accounts for the property tests, and ways in which later knowledge can reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.oracle.known import EVENT, KNOWN, LATER, first, midnight, seen_from
from tests.oracle.worlds import Answer, Engine, Row, World, engine
from tests.properties.accounts import DATES, POLICY, TICK, account, rates

ACCOUNTS = 60
SEEDS = st.lists(st.integers(0, 10**6), min_size=ACCOUNTS, max_size=ACCOUNTS, unique=True)
"""Seeds of the accounts of a world."""


DAYS = st.lists(st.sampled_from(DATES), min_size=3, max_size=3, unique=True)
"""Some of the as-of dates."""

ARRIVING = tuple(name for name, columns in KNOWN.items() if columns[0] == "recorded_at" and name != "accounts")
"""Tables with a recorded known time."""

LOOPED = settings(max_examples=max(1, settings().max_examples // 2))
"""Settings of properties that need many answers for each world."""


def project() -> Engine:
    """The project's answers on all dates."""
    return engine(DATES, POLICY)


def observations_until(last: date, *answers: dict[str, Answer]) -> set[tuple[Any, date]]:
    """The observations up to the day `last`, in any of the answers."""
    return {key for answer in answers for key in answer["spine"] if key[1] <= last}


def merge_worlds(first_world: World, second_world: World) -> World:
    """The rows of both worlds."""
    return {table: first_world[table] + second_world[table] for table in first_world}


def map_rows(world: World, change: Callable[[str, Row], Row]) -> World:
    """The world with `change` applied to every row."""
    return {table: [change(table, row) for row in rows] for table, rows in world.items()}


def filter_rows(world: World, keep: Callable[[str, Row], bool]) -> World:
    """The rows of a world for which `keep` is true."""
    return {table: [row for row in rows if keep(table, row)] for table, rows in world.items()}


# --- rows known later --------------------------------------------------------------------------


def rows_known_later(moment: datetime, seeds: Iterable[int]) -> World:
    """Rows of these accounts that are known at `moment` or later, with events at any time."""
    later: World = {table: [] for table in KNOWN}
    for seed in seeds:
        for table, row in _rows_of_another_account(seed):
            later[table] += [
                late for late in _late_versions(table, row, moment) if not is_known_before(table, late, moment)
            ]
    later["rates"] = [row | {"date": max(row["date"], moment)} for row in rates(1 + sum(seeds))[:2]]
    return later


def rows_dated_ahead(arrived: datetime, moment: datetime, seeds: Iterable[int]) -> World:
    """Rows with a known time of `arrived`, about events at `moment` or later."""
    rows = rows_known_later(moment, seeds)
    ahead = {name: [row | {"recorded_at": arrived} for row in rows[name]] for name in ARRIVING}
    return {
        name: [row for row in ahead.get(name, []) if (first(row, EVENT[name]) or arrived) >= moment] for name in KNOWN
    }


def is_known_before(table: str, row: Row, moment: datetime) -> bool:
    """True if a row was known before `moment`."""
    since = seen_from(table, row)
    return since is None or since < moment


def _rows_of_another_account(seed: int) -> Iterator[tuple[str, Row]]:
    """Rows of another account under this account's id, with new ids of contracts and tickets."""
    for table, row in account(seed + 10**7):
        if table != "accounts":  # one row per account: `without_account_rows` removes some for appending
            new_ids = {key: f"late-{row[key]}" for key in ("contract_id", "ticket_id") if key in row}
            yield table, row | new_ids | {"account_id": f"a{seed}"}


def _late_versions(table: str, row: Row, moment: datetime) -> Iterator[Row]:
    """The row, and two copies of it known exactly at `moment` and an instant later."""
    arrives = KNOWN[table][0]
    yield row
    yield row | {arrives: moment} | _new_ids(row, "-at")
    yield row | {arrives: moment + TICK} | _new_ids(row, "-just-after")


def _new_ids(row: Row, suffix: str) -> Row:
    return {key: row[key] + suffix for key in ("contract_id", "ticket_id") if key in row}


# --- facts written into earlier rows -----------------------------------------------------------


def rewrite_later_facts(world: World, moment: datetime, random: Random) -> tuple[World, dict[tuple[str, str], int]]:
    """Replace or delete every fact of `moment` or later in all rows, and count the changes by (table, column)."""
    counts = {(table, column): 0 for table, columns in LATER.items() for column in columns}

    def change(table: str, row: Row) -> Row:
        changed = dict(row)
        for column, when in LATER.get(table, {}).items():
            if row[when] is not None and row[when] >= moment:
                changed[column] = _replacement(row[column], moment, random)
                counts[table, column] += changed[column] != row[column]
        return changed

    return map_rows(world, change), counts


def _replacement(value: Any, moment: datetime, random: Random) -> Any:
    if random.random() < 0.4:
        return None
    if isinstance(value, datetime):
        return moment + random.choice((timedelta(0), TICK, timedelta(days=random.randint(1, 200))))
    if isinstance(value, str):
        return f"{value} too"
    return value + 1 if value is not None else None


def without_account_rows(world: World, share: int = 2) -> tuple[World, list[Row]]:
    """A world without the account row of every second account, and the rows removed."""
    removed = {row["account_id"] for row in world["accounts"][::share]}
    remaining = filter_rows(world, lambda table, row: table != "accounts" or row["account_id"] not in removed)
    return remaining, [row for row in world["accounts"] if row["account_id"] in removed]


def month_of_arrival(event: Row) -> tuple[int, int]:
    """Month in which an event both has happened and is known."""
    day = max(event["occurred_at"], event["recorded_at"] or event["occurred_at"])
    return day.year, day.month


def at(day: date) -> datetime:
    """Instant of the observations of a day."""
    return midnight(day)
