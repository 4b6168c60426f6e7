"""Small worlds of raw tables, as plain rows, and the project's own answer for them.

A world is `{table: [row, ...]}`, a row `{column: value}` with every column of the contract. `Engine` computes the
spine and all families for fixed dates as the stages do: each step a table of DuckDB, so that what is worked out once
for the dates (the calendar, the SQL) serves any number of worlds. Exact duplicates are set aside, as `check` does, and
equal events are counted where it counts them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from renewals.features import alert_registry as rules
from renewals.features import spine as spines
from renewals.features import usage_windows
from renewals.features.alerts.usage_drop import activity
from renewals.features.families.fit import FIT_DIMENSIONS
from renewals.features.families.stakeholders import GRADE_COLUMNS, text_rows
from renewals.features.family import KEY
from renewals.features.point_in_time import Calendar
from renewals.features.policy import Policy
from renewals.features.registry import FAMILIES, FeatureInputs, family_table
from renewals.features.tables import ID, TABLES
from renewals.pipelines.stages.prepare.windows import WINDOW_TABLES
from renewals.pipelines.validation.repeated_events import RepeatedEvents
from tests.oracle.outcomes import OUTCOMES

Row = dict[str, Any]
World = dict[str, list[Row]]
Answer = dict[tuple[Any, date], Row]
"""What is known of each observation: (account_id, as_of) -> columns."""


def world(**tables: Iterable[Mapping[str, Any]]) -> World:
    """A world of these rows; columns that are not named are null, tables that are not named are empty."""
    unknown = set(tables) - set(TABLES)
    assert not unknown, f"no table {unknown}"
    return {name: [whole(name, row) for row in tables.get(name, ())] for name in TABLES}


def whole(table: str, row: Mapping[str, Any]) -> Row:
    """A row with all the columns of its table."""
    unknown = set(row) - set(TABLES[table].columns)
    assert not unknown, f"no column {unknown} in {table}"
    return {column: _instant(row.get(column)) for column in TABLES[table].columns}


def _instant(value: Any) -> Any:
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return datetime(value.year, value.month, value.day) if is_day else value


def schema(table: str, ids: str = "string") -> ibis.Schema:
    """The types of a table of the contract."""
    columns = TABLES[table].columns.values()
    return ibis.schema({c.name: ids if c.type == ID else c.type for c in columns})


def clean_schema(table: str, ids: str = "string") -> ibis.Schema:
    """The types of a clean table, as features read it."""
    added = dict.fromkeys(GRADE_COLUMNS, "string") if table == "people" else {}
    return ibis.schema({**schema(table, ids), **added})


def graded(people: Sequence[Row], policy: Policy) -> list[Row]:
    """The people as `check` grades them."""
    texts = {row[column] for row in people for column in ("title", "role")} - {None}
    known = {row["text"]: row for row in text_rows(texts, policy)} | {None: {"tier": None, "normalized": None}}
    return [
        row
        | {
            "effective_tier": row["tier"] or known[row["title"]]["tier"] or known[row["role"]]["tier"],
            "role_normalized": known[row["role"]]["normalized"],
        }
        for row in people
    ]


def numbered(events: Sequence[Row], policy: Policy) -> list[Row]:
    """The product features of events, as the roll-up numbers them."""
    columns = usage_windows.product_features(sorted({event["feature"] for event in events}), policy, BLOCK)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def arrow(rows: Sequence[Row], kinds: ibis.Schema) -> pa.Table:
    """Rows as a table of these types."""
    types = kinds.to_pyarrow()
    return pa.table([pa.array([row[c] for row in rows], type=types.field(c).type) for c in types.names], schema=types)


def outcome_schema(ids: str = "string") -> ibis.Schema:
    """The types of the final renewals of all customers."""
    words = dict.fromkeys(FIT_DIMENSIONS, "string")
    return ibis.schema({"account_id": ids, "matured_at": "timestamp(6)", "renewed": "int8", **words})


ROLLED = "person_days"
BLOCK = 3
"""So few features to a block that every world has several."""


class Engine:
    """The project's answers on these dates, under this policy, from these tables."""

    def __init__(
        self,
        dates: Sequence[date],
        policy: Policy,
        without: Iterable[str] = (),
        ids: str = "string",
        families: Collection[str] = tuple(FAMILIES),
    ) -> None:
        self.families = families
        self.dates, self.policy = sorted(dates), policy
        self.tables = [name for name in TABLES if name not in without]
        self._con = ibis.duckdb.connect(threads=1)
        self._schemas = {name: clean_schema(name, ids) for name in self.tables}
        self._steps: dict[str, ir.Table] = {}
        for name, kinds in self._schemas.items():
            self._con.create_table(name, schema=kinds)
        self._con.create_table("outcomes", schema=outcome_schema(ids))
        self._con.create_table("product", schema=ibis.schema(usage_windows.PRODUCT_FEATURE_TYPES))
        self._alerts: dict[str, ir.Table] = {}
        self._plan()

    def _plan(self) -> None:
        given = {name: self._con.table(name) for name in self.tables}
        given = {name: rows if name == "usage_events" else rows.distinct() for name, rows in given.items()}
        candidates = spines.candidate_observations(given["contracts"], self.dates)
        terms = spines.terms(given["contracts"], given.get("rates"), candidates, self.policy)
        spine = self._step(
            "spine", spines.add_account_columns(spines.observations(terms, candidates, self.policy), given["accounts"])
        )
        made = {"spine": spine, "outcomes": self._con.table("outcomes")}
        if "usage_events" in given:
            days = self._step(ROLLED, usage_windows.person_days(given["usage_events"], self._con.table("product")))
            calendar = Calendar(self.dates, usage_windows.WINDOW_DAYS)
            for name, sum_up in WINDOW_TABLES.items():
                made[name] = self._step(name, sum_up(days, calendar).semi_join(spine, KEY))
        self._inputs = {**given, **made}
        known = FeatureInputs(self._inputs, self.policy)
        for name, family in FAMILIES.items():
            if name in self.families and not any(known.is_missing(need) for need in family.needs):
                self._step(name, family_table(family, known))

    def _step(self, name: str, expression: ir.Table) -> ir.Table:
        self._con.create_view(f"plan_{name}", expression)
        self._steps[name] = expression  # kept, for with it would go the calendar that the view reads
        self._make(name)
        return self._con.table(f"made_{name}")

    # --- one world after another ---------------------------------------------------------------

    def answers(
        self, world: World, parts: Callable[[Row], Any] | None = None, outcomes: Sequence[Row] = OUTCOMES
    ) -> dict[str, Answer]:
        """The spine and every family of a world. `parts` tells the part in which an event is rolled up."""
        world = world | {"usage_events": checked_events(world["usage_events"])}
        for name in self.tables:
            self._fill(name, graded(world[name], self.policy) if name == "people" else world[name])
        self._fill("outcomes", outcomes)
        self._fill("product", numbered(world["usage_events"], self.policy))
        for name in self._steps:
            if parts is None or name != ROLLED:
                self._make(name)
            else:
                self._roll_up_in_parts(world["usage_events"], parts)
        return {name: self._read(name) for name in ("spine", *FAMILIES) if name in self._steps}

    def alerts(self, world: World, policy: Policy | None = None) -> list[Row]:
        """What the rules of a policy say of a world, one row per (account_id, as_of, code); planned once a policy."""
        own = policy or self.policy
        view = f"alerts_{abs(hash(own.model_dump_json()))}"
        self.answers(world)
        if view not in self._alerts:
            compared = activity(self._con.table(f"made_{ROLLED}"), self.dates, own)
            inputs = {**self._inputs, "activity": compared.semi_join(self._inputs["spine"], KEY)}
            self._alerts[view] = rules.compute_alerts(FeatureInputs(inputs, own))
            self._con.create_view(view, self._alerts[view])
        return self._con.con.sql(f"SELECT * FROM {view}").to_arrow_table().to_pylist()

    def _fill(self, name: str, rows: Sequence[Row]) -> None:
        self._con.raw_sql(f'DELETE FROM "{name}"')
        if rows:
            self._con.con.register("given", arrow(rows, self._con.table(name).schema()))
            self._con.raw_sql(f'INSERT INTO "{name}" SELECT * FROM given')
            self._con.con.unregister("given")

    def _make(self, name: str) -> None:
        self._con.raw_sql(f'CREATE OR REPLACE TABLE "made_{name}" AS FROM "plan_{name}"')

    def _roll_up_in_parts(self, events: Sequence[Row], parts: Callable[[Row], Any]) -> None:
        self._con.raw_sql(f'DELETE FROM "made_{ROLLED}"')
        for part in sorted({parts(event) for event in events}):
            self._fill("usage_events", [event for event in events if parts(event) == part])
            self._con.raw_sql(f'INSERT INTO "made_{ROLLED}" FROM "plan_{ROLLED}"')

    def _read(self, name: str) -> Answer:
        rows = self._con.con.sql(f'SELECT * FROM "made_{name}"').to_arrow_table().to_pylist()
        answer = {(row["account_id"], row["as_of"]): row for row in rows}
        assert len(answer) == len(rows), f"{name} holds {len(rows)} rows for {len(answer)} observations"
        return answer


def checked_events(events: Sequence[Row]) -> list[Row]:
    """The usage events that `check` leaves of these."""
    times = Counter(tuple(row.items()) for row in events)
    midnight = sum(row["occurred_at"].time() == time() for row in events)
    divisor = RepeatedEvents("auto", Counter(times.values()), midnight).divisor if times else None
    return [dict(row) for row, often in times.items() for _ in range(often // divisor if divisor else 1)]


RULED: dict[Any, Engine] = {}


def ruled(dates: Sequence[date], policy: Policy, without: Iterable[str] = ()) -> Engine:
    """The one engine for alerts: it leaves out the families, which the rules do not read."""
    key = (tuple(dates), policy.model_dump_json(exclude={"alerts"}), frozenset(without))
    if key not in RULED:
        RULED[key] = Engine(dates, policy, without, families=())
    return RULED[key]


ENGINES: dict[Any, Engine] = {}


def engine(dates: Sequence[date], policy: Policy, without: Iterable[str] = (), ids: str = "string") -> Engine:
    """The one engine for these dates, policy and tables: planning takes seconds, answering moments."""
    key = (tuple(dates), policy.model_dump_json(), frozenset(without), ids)
    if key not in ENGINES:
        ENGINES[key] = Engine(dates, policy, without, ids)
    return ENGINES[key]


# --- answers side by side ----------------------------------------------------------------------


def differences(
    one: Mapping[str, Answer], other: Mapping[str, Answer], among: Collection[tuple[Any, date]] | None = None
) -> list[str]:
    """Where two answers differ in a column that both have, in words; `among` these observations only."""
    found = []
    for name in one:
        for key in sorted({*one[name], *other[name]}, key=str):
            if among is None or key in among:
                found += _unlike(name, key, one[name].get(key), other[name].get(key))
    return found


def _unlike(name: str, key: tuple[Any, date], one: Row | None, other: Row | None) -> list[str]:
    where = f"{name} of {key[0]} on {key[1]}"
    if one is None or other is None:
        return [f"{where}: {'there' if one else 'absent'} and {'there' if other else 'absent'}"] if one != other else []
    return [f"{where}: {c} is {one[c]} and {other[c]}" for c in one if c in other and not alike(one[c], other[c])]


def alike(one: Any, other: Any) -> bool:
    """Equal, or numbers that differ by rounding only."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)
