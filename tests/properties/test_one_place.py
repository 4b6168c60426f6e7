"""Static checks of the code of `features/`: only `point_in_time.py` cuts off time (design, decision 3).

`versions.py` chooses among the rows that were known by then, and reads them from there like everybody else.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

import pytest

from renewals import features
from renewals.features.families.stakeholders import people_then
from renewals.features.registry import FAMILIES
from renewals.features.spine import add_account_columns, terms
from renewals.features.tables import TABLES
from renewals.features.versions import accounts_as_of, accounts_by_date, accounts_known

FOLDER = Path(features.__file__).parent
FILES = sorted(path for path in FOLDER.rglob("*.py") if path.name != "point_in_time.py")

PACKAGES = {f"{path.parent.name}.py" for path in FOLDER.glob("*/__init__.py")}
CUT = {"as_of", "_cut", "_known_day", "_event_day"}
"""Names of the date of an observation, or of the day when a row was known or happened."""
ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
RANGES = {"between", "asof_join", "truncate"}


def mentions(tree: ast.AST, names: set[str]) -> bool:
    """True if code uses one of these names: as an attribute, a variable or a quoted column."""
    for node in ast.walk(tree):
        name = getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "value", None)
        if isinstance(name, str) and name in names:
            return True
    return False


def comparisons(code: str, names: set[str]) -> list[int]:
    """Lines that compare one of these names with anything by order."""
    lines = []
    for node in ast.walk(ast.parse(code)):
        by_order = isinstance(node, ast.Compare) and any(isinstance(op, ORDERED) for op in node.ops)
        by_range = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RANGES
        if (by_order or by_range) and mentions(node, names):
            lines.append(node.lineno)
    return lines


def test_the_files_include_all_loaded_modules():
    """An empty list of files, for example after a move, would pass every check."""
    read = {path.relative_to(FOLDER).as_posix() for path in FILES}
    modules = {name.removeprefix("renewals.features.") for name in sys.modules if name.startswith("renewals.features.")}
    assert {f"{name.replace('.', '/')}.py" for name in modules} - read - PACKAGES == {"point_in_time.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_compared_with_as_of_outside_point_in_time(path):
    assert comparisons(path.read_text(), CUT | _day_column(path)) == []


def _day_column(path: Path) -> set[str]:
    """Name of the spine's day number; in `revenue`, which uses later outcomes, the name has another meaning."""
    return {"day"} if path.parent.name != "revenue" else set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_cutoff_columns_are_not_used_outside_point_in_time(path):
    assert not mentions(ast.parse(path.read_text()), CUT - {"as_of"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_clock_is_read(path):
    """With `now` or `today` the same list would differ between two days."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not {getattr(call, "attr", getattr(call, "id", "")) for call in calls} & {"now", "today", "utcnow"}


@pytest.mark.parametrize(
    "code",
    ["t.filter(_.as_of > _.opened_at)", "t.opened_at.between(a, spine.as_of)", 't["as_of"] <= x', "a < b < _._cut"],
)
def test_comparisons_are_detected(code):
    assert comparisons(code, CUT) == [1]


SOURCES = [make for family in FAMILIES.values() for make in family.sources.values()]
SOURCES += [people_then, terms, add_account_columns, accounts_as_of, accounts_by_date, accounts_known]


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_a_source_reads_its_tables_as_known(make):
    """A table of a source is passed to a function of `point_in_time` under its name, or to another source."""
    (function,) = ast.parse(inspect.getsource(make)).body
    tree = ast.Module(function.body, [])
    tables = set(inspect.signature(make).parameters) & set(TABLES) - {"rates"}  # those go through known_rates
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    read_as_known = {table for call in calls for table in _tables_read_as_known(call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in tables and isinstance(node.ctx, ast.Load):
            assert node in read_as_known, f"{make.__name__} reads {node.id} without as_of_rows on line {node.lineno}"


def _tables_read_as_known(call: ast.Call) -> list[ast.expr]:
    """Tables that a call reads as known: `as_of_rows("people", people, ...)`, or the arguments of another source."""
    name = getattr(call.func, "id", "")
    if name in ("as_of_rows", "as_of_rows_by_date", "known_rows") and getattr(call.args[0], "value", None) == getattr(
        call.args[1], "id", ""
    ):
        return [call.args[1]]
    return call.args if name in {make.__name__ for make in SOURCES} else []


def test_tables_read_directly_are_detected():
    codes = ('as_of_rows("people", people, spine)', 'as_of_rows("tickets", people, spine)', "people.count()")
    assert [len(_tables_read_as_known(ast.parse(code, mode="eval").body)) for code in codes] == [1, 0, 0]
