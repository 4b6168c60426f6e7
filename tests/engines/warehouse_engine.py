"""Run the plan of `tests.oracle.worlds.Engine` in another warehouse and compare the features with DuckDB's."""

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


class WarehouseEngine(Engine):
    """Features of one set of tables, computed by the same steps as in DuckDB, each stored in another warehouse."""

    def __init__(self, warehouse: Warehouse, world: World, dates: Sequence[date], policy: Policy) -> None:
        self.dates, self.policy, self.tables, self.families = sorted(dates), policy, list(TABLES), tuple(FAMILIES)
        self._warehouse = warehouse
        self._schemas = {name: clean_schema(name) for name in self.tables}
        rows = {**world, "people": graded(world["people"], policy)}
        inputs = {name: arrow(rows[name], self._schemas[name]) for name in self.tables}
        inputs["product"] = arrow(
            numbered(world["usage_events"], policy), ibis.schema(usage_windows.PRODUCT_FEATURE_TYPES)
        )
        inputs["outcomes"] = arrow(OUTCOMES, outcome_schema())
        inputs["term_states"] = self._term_states(world).to_pyarrow()
        self._con = _TableCatalog({name: warehouse.load(name, rows) for name, rows in inputs.items()})
        self._steps: dict[str, ir.Table] = {}
        self._plan()

    def _step(self, name: str, expression: ir.Table) -> ir.Table:
        self._steps[name] = self._warehouse.store(name, expression)
        return self._steps[name]

    def results(self) -> dict[str, Answer]:
        """Rows of the spine and of every family, fetched from the warehouse."""
        return {name: self._fetch(name) for name in ("spine", *FAMILIES)}

    def _fetch(self, name: str) -> Answer:
        rows = self._steps[name].to_pyarrow().to_pylist()
        answer = {(row["account_id"], row["as_of"], row["renewal_id"]): row for row in rows}
        assert len(answer) == len(rows), f"{name} holds {len(rows)} rows for {len(answer)} observations"
        return answer


class _TableCatalog:
    """Substitute for a connection: `table` returns a loaded table by name."""

    def __init__(self, tables: dict[str, ir.Table]) -> None:
        self.table = tables.__getitem__


# --- comparison ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Features of an engine compared with the expected ones; `differences` has the first difference of each column."""

    engine: str
    observations: int
    features: tuple[str, ...]
    differences: dict[str, str]

    def __str__(self) -> str:
        """One line for the engine and one for each column that differs."""
        same = [name for name in self.features if name not in self.differences]
        equal = f"{len(same)} of {len(self.features)} features equal to DuckDB's"
        lines = [f"{self.engine}: {equal} and the oracle's on {self.observations} observations"]
        return "\n".join([*lines, *(f"  {text}" for text in self.differences.values())])


def compare_answers(engine: str, expected: dict[str, Answer], actual: dict[str, Answer]) -> Comparison:
    """Compare every column on every observation; a missing observation differs in every column."""
    differences: dict[str, str] = {}
    columns = [(name, column) for name in expected for column in next(iter(expected[name].values()))]
    for name, column in columns:
        for key in sorted({*expected[name], *actual[name]}, key=str):
            expected_value, value = (answer[name].get(key, {}).get(column, "absent") for answer in (expected, actual))
            if not values_match(expected_value, value):
                text = f"{name}.{column} of {key[2]} on {key[1]}: {value}, DuckDB has {expected_value}"
                differences.setdefault(f"{name}.{column}", text)
    features = tuple(f"{family.name}.{feature.name}" for family in FAMILIES.values() for feature in family.features)
    return Comparison(engine, len(expected["spine"]), features, differences)
