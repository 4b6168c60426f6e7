"""Write `docs/tables.md`: the columns of every input table, from `features/tables.py`."""

from __future__ import annotations

import inspect
from pathlib import Path

from renewals.features.tables import TABLES, ColumnSpec, TableSpec

PAGE = Path(__file__).with_name("tables.md")
HEAD = """# Input tables

The columns of every table, printed from `features/tables.py` by `make docs`; do not edit. Only columns marked
*required* must be there; a missing optional column disables what needs it. Times may have a zone (without one: UTC),
dates count as midnight. Ids are text or whole numbers. [What to know about your data](guide/data.md).
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
    known = " or ".join(f"`{name}`" for name in table.known_time if name in table.columns)
    key = f" One row per {', '.join(f'`{name}`' for name in table.key)}." if table.key else ""
    rows = "".join(column_row(column) for column in table.columns.values())
    return (
        f"## {table.name} ({kind})\n\n{inspect.cleandoc(table.meaning)}\n\nA row is known from {known}.{key}\n\n"
        f"| column | type | required | meaning |\n|---|---|---|---|\n{rows}"
    )


def column_row(column: ColumnSpec) -> str:
    """Row of the table of columns."""
    kind = "time" if column.is_time else TYPES.get(str(column.type), str(column.type))
    meaning = " ".join(column.meaning.split()).replace("|", "\\|")
    return f"| `{column.name}` | {kind} | {'required' if column.required else ''} | {meaning} |\n"


if __name__ == "__main__":
    main()
