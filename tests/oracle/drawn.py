"""Small tables drawn as text in a test, and the features of the accounts in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from renewals.features.policy import Policy, Usage
from renewals.features.tables import TABLES, TIME
from tests.oracle.outcomes import OUTCOMES
from tests.oracle.worlds import Answer, Row, engine, world

AS_OF = date(2026, 3, 1)
"""Its windows start on 2026-02-22 (7 days), 2026-02-01 (28), 2025-12-01 (90), 2025-09-02 (180), 2025-03-01 (365)."""

POLICY = Policy(
    usage=Usage(
        north_star=("send",),
        core_workflow=("send",),
        levels={"view": ("look",), "analyse": ("report",), "act": ("send",)},
        steady_days=2,
    )
)

RUNNING = """
    account_id | contract_id | start_date | end_date   | arr   | seats
    acme       | acme-1      | 2025-06-01 | 2026-06-01 | 12000 | 10
    quiet      | quiet-1     | 2025-06-01 | 2026-06-01 | 12000 | 10
"""
"""The two accounts of every test that draws no contracts; quiet has no activity in any test."""


def drawn_rows(table: str, text: str) -> list[Row]:
    """Rows of a table drawn with `|` between its cells; an empty cell is null, and `account` means `account_id`."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    names = [name if name in TABLES[table].columns else f"{name}_id" for name in head]
    return [{column: _value(table, column, cell) for column, cell in zip(names, line, strict=True)} for line in lines]


def _value(table: str, column: str, cell: str) -> Any:
    kind = TABLES[table].columns[column].type
    if not cell:
        return None
    if kind == TIME:
        return datetime.fromisoformat(cell)
    if kind == "id" or kind.is_string():
        return cell
    return cell == "yes" if kind.is_boolean() else int(cell) if kind.is_integer() else float(cell)


class DrawnFeatures:
    """Features on `AS_OF`."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    def __call__(self, family: str, *columns: str) -> dict[Any, Any]:
        """Value of a column by account, of its main renewal, or a list of the values of several columns."""
        main = {key: row["is_main"] for key, row in self._answers["spine"].items()}
        rows = {key[0]: row for key, row in sorted(self._answers[family].items()) if main[key]}
        return {a: row[columns[0]] if len(columns) == 1 else [row[c] for c in columns] for a, row in rows.items()}

    def by_renewal(self, family: str, *columns: str) -> dict[str, Any]:
        """Value of a column by `renewal_id`, or a list of the values of several columns."""
        rows = {key[2]: row for key, row in sorted(self._answers[family].items())}
        return {a: row[columns[0]] if len(columns) == 1 else [row[c] for c in columns] for a, row in rows.items()}


def drawn_features(
    policy: Policy = POLICY, without: tuple[str, ...] = (), outcomes: Sequence[Row] = OUTCOMES, **tables: str
) -> DrawnFeatures:
    """Features of the accounts in these drawn tables."""
    texts = {"contracts": RUNNING, **tables}
    rows = {name: drawn_rows(name, text) for name, text in texts.items()}
    return DrawnFeatures(engine((AS_OF,), policy, without).answers(world(**rows), outcomes=outcomes))
