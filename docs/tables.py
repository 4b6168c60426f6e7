"""Write `docs/tables.md`: the columns of every input table, from `features/tables.py`."""

from __future__ import annotations

import inspect
from pathlib import Path

from renewals.features.tables import TABLES, ColumnSpec, TableSpec

PAGE = Path(__file__).with_name("tables.md")
HEAD = """# Input tables

The columns of every table, printed from `features/tables.py` by `make docs`; do not edit. Only columns marked
*required* must be there; a missing optional column disables what needs it. Times may have an offset; without one they
are in `source.time_zone` (UTC unless set), and dates count as midnight. Days are days of the calendar in that zone. Ids
are text or whole numbers. [What to know about your data](guide/data.md).
"""
TYPES = {"float64": "number", "int64": "whole number", "string": "text", "boolean": "yes or no", "id": "id"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_text(), encoding="utf-8")


def page_text() -> str:
    """Text of the page: a section per table, the required ones first."""
    order = sorted(TABLES.values(), key=lambda table: not table.required)
    return HEAD + "".join(f"\n{section}" for section in map(table_section, order))


def table_section(table: TableSpec) -> str:
    """Section of one table: its grain, when a row becomes known, and its columns."""
    kind = "required" if table.required else "optional"
    key = f" One row per {', '.join(f'`{name}`' for name in table.key)}." if table.key else ""
    rows = "".join(column_row(column) for column in table.columns.values())
    return (
        f"## {table.name} ({kind})\n\n{inspect.cleandoc(table.meaning)}\n\n{known_sentence(table)}{key}\n\n"
        f"| column | type | required | meaning |\n|---|---|---|---|\n{rows}"
    )


def known_sentence(table: TableSpec) -> str:
    """Sentence on when a row becomes known: a rule of its own, or the first column that is filled."""
    if table.known_rule is not None:
        rule = " ".join((table.known_rule.__doc__ or "").split())
        return f"A row is known from {rule[0].lower()}{rule[1:]}"
    return f"A row is known from {' or '.join(f'`{name}`' for name in table.known_time)}."


def column_row(column: ColumnSpec) -> str:
    """Row of the table of columns."""
    kind = "time" if column.is_time else TYPES.get(str(column.type), str(column.type))
    kind = "day" if column.calendar_day else kind
    required = ("required, may be empty" if column.nullable else "required") if column.required else ""
    meaning = " ".join(column.meaning.split()).replace("|", "\\|")
    return f"| `{column.name}` | {kind} | {required} | {meaning} |\n"


if __name__ == "__main__":
    main()
