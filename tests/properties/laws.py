"""What the laws are tried on: worlds of many accounts, and the ways in which later knowledge may reach them."""

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
"""The accounts of a world, each named after its seed."""


DAYS = st.lists(st.sampled_from(DATES), min_size=3, max_size=3, unique=True)
"""Some of the dates, to stand on."""

ARRIVING = tuple(name for name, columns in KNOWN.items() if columns[0] == "recorded_at" and name != "accounts")
"""The tables whose rows arrive, at a time of their own."""

LOOPED = settings(max_examples=max(1, settings().max_examples // 2))
"""For a law that asks for many answers in every world."""


def project() -> Engine:
    """The project's answers on all the dates."""
    return engine(DATES, POLICY)


def until(last: date, *answers: dict[str, Answer]) -> set[tuple[Any, date]]:
    """The observations on these days up to `last`, in any of the answers."""
    return {key for answer in answers for key in answer["spine"] if key[1] <= last}


def joined(one: World, other: World) -> World:
    """Both worlds' rows."""
    return {table: one[table] + other[table] for table in one}


def each(world: World, change: Callable[[str, Row], Row]) -> World:
    """A world with every row changed."""
    return {table: [change(table, row) for row in rows] for table, rows in world.items()}


def only(world: World, keep: Callable[[str, Row], bool]) -> World:
    """A world without some of its rows."""
    return {table: [row for row in rows if keep(table, row)] for table, rows in world.items()}


# --- what becomes known later ------------------------------------------------------------------


def learnt_from(moment: datetime, seeds: Iterable[int]) -> World:
    """Rows about these accounts that nobody could know before `moment`, whatever their events' times."""
    later: World = {table: [] for table in KNOWN}
    for seed in seeds:
        for table, row in _of_another_life(seed):
            later[table] += [
                late for late in _late_versions(table, row, moment) if not seen_before(table, late, moment)
            ]
    later["rates"] = [row | {"date": max(row["date"], moment)} for row in rates(1 + sum(seeds))[:2]]
    return later


def written_ahead(arrived: datetime, moment: datetime, seeds: Iterable[int]) -> World:
    """Rows that had arrived early on about what happens at `moment` or later."""
    rows = learnt_from(moment, seeds)
    ahead = {name: [row | {"recorded_at": arrived} for row in rows[name]] for name in ARRIVING}
    return {
        name: [row for row in ahead.get(name, []) if (first(row, EVENT[name]) or arrived) >= moment] for name in KNOWN
    }


def seen_before(table: str, row: Row, moment: datetime) -> bool:
    """Whether a row was visible to somebody who stood on `moment`."""
    since = seen_from(table, row)
    return since is None or since < moment


def _of_another_life(seed: int) -> Iterator[tuple[str, Row]]:
    """The rows of another account as if they were this one's, under ids of their own."""
    for table, row in account(seed + 10**7):
        if table != "accounts":  # one row an account: `without_masters` leaves some out to be appended
            own = {key: f"late-{row[key]}" for key in ("contract_id", "ticket_id") if key in row}
            yield table, row | own | {"account_id": f"a{seed}"}


def _late_versions(table: str, row: Row, moment: datetime) -> Iterator[Row]:
    """The row, and the same row known at `moment` exactly and by an instant more: only its arrival is late."""
    arrives = KNOWN[table][0]
    yield row
    yield row | {arrives: moment} | _renamed(row, "-at")
    yield row | {arrives: moment + TICK} | _renamed(row, "-just-after")


def _renamed(row: Row, suffix: str) -> Row:
    return {key: row[key] + suffix for key in ("contract_id", "ticket_id") if key in row}


# --- what is written into earlier rows ---------------------------------------------------------


def rewritten(world: World, moment: datetime, random: Random) -> tuple[World, dict[tuple[str, str], int]]:
    """Every fact of `moment` or later, inside whatever row, moved to another such instant or taken away.

    Tells how often that happened to each (table, column).
    """
    counts = {(table, column): 0 for table, columns in LATER.items() for column in columns}

    def change(table: str, row: Row) -> Row:
        changed = dict(row)
        for column, when in LATER.get(table, {}).items():
            if row[when] is not None and row[when] >= moment:
                changed[column] = _another(row[column], moment, random)
                counts[table, column] += changed[column] != row[column]
        return changed

    return each(world, change), counts


def _another(value: Any, moment: datetime, random: Random) -> Any:
    if random.random() < 0.4:
        return None
    if isinstance(value, datetime):
        return moment + random.choice((timedelta(0), TICK, timedelta(days=random.randint(1, 200))))
    return value + 1 if value is not None else None


def without_masters(world: World, share: int = 2) -> tuple[World, list[Row]]:
    """A world with the master row of every second account left out, and those rows, known for ever or by a date."""
    left_out = {row["account_id"] for row in world["accounts"][::share]}
    kept = only(world, lambda table, row: table != "accounts" or row["account_id"] not in left_out)
    return kept, [row for row in world["accounts"] if row["account_id"] in left_out]


def month_of_arrival(event: Row) -> tuple[int, int]:
    """The month in which an event both has happened and is known."""
    day = max(event["occurred_at"], event["recorded_at"] or event["occurred_at"])
    return day.year, day.month


def at(day: date) -> datetime:
    """The instant at which an observation of the day stands."""
    return midnight(day)
