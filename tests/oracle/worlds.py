"""Small worlds of raw tables as plain rows, and the project's answers for them.

A world is `{table: [row, ...]}`, a row is `{column: value}` with every column of the contract. `Engine` computes the
spine and all families for fixed dates as the stages do: each step is a table of DuckDB, so that the calendar and the
SQL of the dates are built once for any number of worlds. Exact duplicates are removed, as `check` does, and equal
events are counted where `check` counts them.
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
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.tables import ID, TABLES
from renewals.pipelines.stages.prepare.windows import WINDOW_TABLES
from renewals.pipelines.validation.repeated_events import RepeatedEvents
from tests.oracle.outcomes import OUTCOMES

Row = dict[str, Any]
World = dict[str, list[Row]]
Answer = dict[tuple[Any, date, str], Row]
"""Columns of each observation: (account_id, as_of, renewal_id) -> columns."""


def world(**tables: Iterable[Mapping[str, Any]]) -> World:
    """A world of these rows; missing columns are null, missing tables are empty."""
    unknown = set(tables) - set(TABLES)
    assert not unknown, f"no table {unknown}"
    return {name: [complete_row(name, row) for row in tables.get(name, ())] for name in TABLES}


def complete_row(table: str, row: Mapping[str, Any]) -> Row:
    """A row with all columns of its table."""
    unknown = set(row) - set(TABLES[table].columns)
    assert not unknown, f"no column {unknown} in {table}"
    return {column: _instant(row.get(column)) for column in TABLES[table].columns}


def _instant(value: Any) -> Any:
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return datetime(value.year, value.month, value.day) if is_day else value


def schema(table: str, ids: str = "string") -> ibis.Schema:
    """Column types of a table of the contract."""
    columns = TABLES[table].columns.values()
    return ibis.schema({c.name: ids if c.type == ID else c.type for c in columns})


def clean_schema(table: str, ids: str = "string") -> ibis.Schema:
    """Column types of a clean table, the input of features."""
    added = dict.fromkeys(GRADE_COLUMNS, "string") if table == "people" else {}
    return ibis.schema({**schema(table, ids), **added})


def graded(people: Sequence[Row], policy: Policy) -> list[Row]:
    """The people with the tiers and roles that `check` adds."""
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
    """The product features of events, numbered as in the roll-up."""
    columns = usage_windows.product_features(sorted({event["feature"] for event in events}), policy, BLOCK)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def arrow(rows: Sequence[Row], kinds: ibis.Schema) -> pa.Table:
    """Rows as a table of these types."""
    types = kinds.to_pyarrow()
    return pa.table([pa.array([row[c] for row in rows], type=types.field(c).type) for c in types.names], schema=types)


def outcome_schema(ids: str = "string") -> ibis.Schema:
    """Column types of the final renewals of all customers."""
    dimensions = dict.fromkeys(FIT_DIMENSIONS, "string")
    return ibis.schema({"account_id": ids, "matured_at": "timestamp(6)", "renewed": "int8", **dimensions})


ROLLED = "person_days"
BLOCK = 3
"""Number of features per block: small, so that every world has several blocks."""


class Engine:
    """The project's answers on these dates, with this policy and these tables."""

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
        self._con.create_table("term_states", schema=self._term_states(world()).schema())
        self._con.create_table("product", schema=ibis.schema(usage_windows.PRODUCT_FEATURE_TYPES))
        self._alerts: dict[str, ir.Table] = {}
        self._plan()

    def _plan(self) -> None:
        raw = {name: self._con.table(name) for name in self.tables}
        raw = {name: rows if name == "usage_events" else rows.distinct() for name, rows in raw.items()}
        states = self._con.table("term_states")
        candidates = spines.candidate_observations(states, self.dates)
        terms = spines.terms(states, raw.get("rates"), candidates, self.policy)
        spine = self._step(
            "spine", spines.add_account_columns(spines.observations(terms, candidates, self.policy), raw["accounts"])
        )
        derived = {"observations": spine, "outcomes": self._con.table("outcomes"), "term_states": states}
        if "usage_events" in raw:
            days = self._step(ROLLED, usage_windows.person_days(raw["usage_events"], self._con.table("product")))
            calendar = Calendar(self.dates, usage_windows.WINDOW_DAYS)
            for name, sum_up in WINDOW_TABLES.items():
                derived[name] = self._step(name, sum_up(days, calendar).semi_join(spine, KEY))
        self._inputs = {**raw, **derived}
        known = FeatureInputs(self._inputs, self.policy)
        for name, family in FAMILIES.items():
            if name in self.families and not any(known.is_missing(need) for need in family.needs):
                self._step(name, family_table(family, known))

    def _term_states(self, world: World) -> ir.Table:
        """Terms of a world as the ledger stage writes them."""
        tables = {
            name: ibis.memtable(arrow(_distinct(world[name]), self._schemas[name]))
            for name in ("contracts", "accounts", "rates")
            if name in self.tables
        }
        told_on = self.dates[-1]
        return RenewalLedger(
            tables["contracts"], told_on, self.policy, tables.get("rates"), tables["accounts"]
        ).term_states

    def _step(self, name: str, expression: ir.Table) -> ir.Table:
        self._con.create_view(f"plan_{name}", expression)
        self._steps[name] = expression  # a reference: without it the calendar that the view reads would be deleted
        self._make(name)
        return self._con.table(f"step_{name}")

    # --- one world after another ---------------------------------------------------------------

    def answers(
        self, world: World, parts: Callable[[Row], Any] | None = None, outcomes: Sequence[Row] = OUTCOMES
    ) -> dict[str, Answer]:
        """The spine and every family of a world. `parts` gives the part in which an event is rolled up."""
        world = world | {"usage_events": checked_events(world["usage_events"])}
        for name in self.tables:
            self._fill(name, graded(world[name], self.policy) if name == "people" else world[name])
        self._fill("outcomes", outcomes)
        self._fill("term_states", self._term_states(world).to_pyarrow().to_pylist())
        self._fill("product", numbered(world["usage_events"], self.policy))
        for name in self._steps:
            if parts is None or name != ROLLED:
                self._make(name)
            else:
                self._roll_up_in_parts(world["usage_events"], parts)
        return {name: self._read(name) for name in ("spine", *FAMILIES) if name in self._steps}

    def alerts(self, world: World, policy: Policy | None = None) -> list[Row]:
        """Alerts of a policy for a world, one row per (account_id, as_of, code); the query is built once per policy."""
        rules_policy = policy or self.policy
        view = f"alerts_{abs(hash(rules_policy.model_dump_json()))}"
        self.answers(world)
        if view not in self._alerts:
            compared = activity(self._con.table(f"step_{ROLLED}"), self.dates, rules_policy)
            inputs = {**self._inputs, "activity": compared.semi_join(self._inputs["observations"], KEY)}
            self._alerts[view] = rules.compute_alerts(FeatureInputs(inputs, rules_policy))
            self._con.create_view(view, self._alerts[view])
        return self._con.con.sql(f"SELECT * FROM {view}").to_arrow_table().to_pylist()

    def _fill(self, name: str, rows: Sequence[Row]) -> None:
        self._con.raw_sql(f'DELETE FROM "{name}"')
        if rows:
            self._con.con.register("new_rows", arrow(rows, self._con.table(name).schema()))
            self._con.raw_sql(f'INSERT INTO "{name}" SELECT * FROM new_rows')
            self._con.con.unregister("new_rows")

    def _make(self, name: str) -> None:
        self._con.raw_sql(f'CREATE OR REPLACE TABLE "step_{name}" AS FROM "plan_{name}"')

    def _roll_up_in_parts(self, events: Sequence[Row], parts: Callable[[Row], Any]) -> None:
        self._con.raw_sql(f'DELETE FROM "step_{ROLLED}"')
        for part in sorted({parts(event) for event in events}):
            self._fill("usage_events", [event for event in events if parts(event) == part])
            self._con.raw_sql(f'INSERT INTO "step_{ROLLED}" FROM "plan_{ROLLED}"')

    def _read(self, name: str) -> Answer:
        rows = self._con.con.sql(f'SELECT * FROM "step_{name}"').to_arrow_table().to_pylist()
        answer = {(row["account_id"], row["as_of"], row["renewal_id"]): row for row in rows}
        assert len(answer) == len(rows), f"{name} holds {len(rows)} rows for {len(answer)} observations"
        return answer


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows without exact duplicates."""
    return list({tuple(row.items()): row for row in rows}.values())


def checked_events(events: Sequence[Row]) -> list[Row]:
    """Usage events that remain after `check`."""
    times = Counter(tuple(row.items()) for row in events)
    midnight = sum(row["occurred_at"].time() == time() for row in events)
    divisor = RepeatedEvents("auto", Counter(times.values()), midnight).divisor if times else None
    return [dict(row) for row, often in times.items() for _ in range(often // divisor if divisor else 1)]


ALERT_ENGINES: dict[Any, Engine] = {}


def alert_engine(dates: Sequence[date], policy: Policy, without: Iterable[str] = ()) -> Engine:
    """The shared engine for alerts, without the families, which alert rules do not read."""
    key = (tuple(dates), policy.model_dump_json(exclude={"alerts"}), frozenset(without))
    if key not in ALERT_ENGINES:
        ALERT_ENGINES[key] = Engine(dates, policy, without, families=())
    return ALERT_ENGINES[key]


ENGINES: dict[Any, Engine] = {}


def engine(dates: Sequence[date], policy: Policy, without: Iterable[str] = (), ids: str = "string") -> Engine:
    """The shared engine for these dates, policy and tables: building takes seconds, an answer is fast."""
    key = (tuple(dates), policy.model_dump_json(), frozenset(without), ids)
    if key not in ENGINES:
        ENGINES[key] = Engine(dates, policy, without, ids)
    return ENGINES[key]


def by_account(answer: Answer) -> dict[tuple[Any, date], Row]:
    """Columns by (account_id, as_of); each account must have one row."""
    rows = {key[:2]: row for key, row in answer.items()}
    assert len(rows) == len(answer)
    return rows


# --- comparison of answers ---------------------------------------------------------------------


def differences(
    left: Mapping[str, Answer], right: Mapping[str, Answer], among: Collection[tuple[Any, date, str]] | None = None
) -> list[str]:
    """Differences of two answers in their common columns, as text; only for the observations in `among`."""
    lines = []
    for name in left:
        for key in sorted({*left[name], *right[name]}, key=str):
            if among is None or key in among:
                lines += _row_differences(name, key, left[name].get(key), right[name].get(key))
    return lines


def _row_differences(name: str, key: tuple[Any, date, str], left: Row | None, right: Row | None) -> list[str]:
    where = f"{name} of {key[2]} on {key[1]}"
    if left is None or right is None:
        return (
            [f"{where}: {'there' if left else 'absent'} and {'there' if right else 'absent'}"] if left != right else []
        )
    return [
        f"{where}: {c} is {left[c]} and {right[c]}" for c in left if c in right and not values_match(left[c], right[c])
    ]


def values_match(left: Any, right: Any) -> bool:
    """True if two values are equal, or numbers that differ by rounding only."""
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return bool(left == right)
