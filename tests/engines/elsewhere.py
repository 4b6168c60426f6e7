"""The plan of `tests.oracle.worlds.Engine`, step by step in another warehouse, and what comes of it side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import ibis
import ibis.expr.types as ir

from renewals.features import usage_windows
from renewals.features.policy import Policy
from renewals.features.registry import FAMILIES
from renewals.features.tables import TABLES
from tests.engines.warehouses import Warehouse
from tests.oracle.outcomes import OUTCOMES
from tests.oracle.worlds import (
    Answer,
    Engine,
    World,
    arrow,
    clean_schema,
    graded,
    numbered,
    outcome_schema,
    values_match,
)


class Elsewhere(Engine):
    """One world, worked out in a warehouse that is not DuckDB: the same steps, each kept there."""

    def __init__(self, warehouse: Warehouse, world: World, dates: Sequence[date], policy: Policy) -> None:
        self.dates, self.policy, self.tables, self.families = sorted(dates), policy, list(TABLES), tuple(FAMILIES)
        self._warehouse = warehouse
        rows = {**world, "people": graded(world["people"], policy)}
        given = {name: arrow(rows[name], clean_schema(name)) for name in self.tables}
        given["product"] = arrow(
            numbered(world["usage_events"], policy), ibis.schema(usage_windows.PRODUCT_FEATURE_TYPES)
        )
        given["outcomes"] = arrow(OUTCOMES, outcome_schema())
        self._con = _Loaded({name: warehouse.load(name, rows) for name, rows in given.items()})
        self._steps: dict[str, ir.Table] = {}
        self._plan()

    def _step(self, name: str, expression: ir.Table) -> ir.Table:
        self._steps[name] = self._warehouse.keep(name, expression)
        return self._steps[name]

    def found(self) -> dict[str, Answer]:
        """The spine and every family, brought home."""
        return {name: self._brought(name) for name in ("spine", *FAMILIES)}

    def _brought(self, name: str) -> Answer:
        rows = self._steps[name].to_pyarrow().to_pylist()
        answer = {(row["account_id"], row["as_of"]): row for row in rows}
        assert len(answer) == len(rows), f"{name} holds {len(rows)} rows for {len(answer)} observations"
        return answer


class _Loaded:
    """The tables that the plan asks a connection for."""

    def __init__(self, tables: dict[str, ir.Table]) -> None:
        self.table = tables.__getitem__


# --- side by side --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How many features are equal on every observation, and where the others differ first."""

    engine: str
    observations: int
    features: tuple[str, ...]
    unlike: dict[str, str]

    def __str__(self) -> str:
        """A line for the engine and one for each column that differs."""
        same = [name for name in self.features if name not in self.unlike]
        equal = f"{len(same)} of {len(self.features)} features equal to DuckDB's"
        lines = [f"{self.engine}: {equal} and the oracle's on {self.observations} observations"]
        return "\n".join([*lines, *(f"  {words}" for words in self.unlike.values())])


def compared(engine: str, expected: dict[str, Answer], found: dict[str, Answer]) -> Comparison:
    """Every column of every family on every observation. An observation that is missing is unlike in every column."""
    unlike: dict[str, str] = {}
    columns = [(name, column) for name in expected for column in next(iter(expected[name].values()))]
    for name, column in columns:
        for account, as_of in sorted({*expected[name], *found[name]}, key=str):
            one, other = (answer[name].get((account, as_of), {}).get(column, "absent") for answer in (expected, found))
            if not values_match(one, other):
                words = f"{name}.{column} of {account} on {as_of}: {other}, DuckDB has {one}"
                unlike.setdefault(f"{name}.{column}", words)
    features = tuple(f"{family.name}.{feature.name}" for family in FAMILIES.values() for feature in family.features)
    return Comparison(engine, len(expected["spine"]), features, unlike)
