"""Breaks each law of time on purpose and tells which tests notice: `python bench/mutations.py [--only WORD]`.

Works on a copy of the tree in a temporary folder; this tree is only read. A mutation that no test notices has
survived, and the exit code is 1. A law is worth as much as the faults it has been seen to catch.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("features", "models", "lists", "pipelines", "examples", "tests", "pyproject.toml", "params.yaml")
TESTS = ("tests/properties/test_boundaries.py", "tests/properties/test_known_rows.py", "tests/properties/test_one_place.py",
         "tests/properties/test_time.py", "tests/features/test_windows.py")  # fmt: skip

WINDOWS = "features/windows.py"
MASKED = {
    "contracts": ("paid_at", "cancelled_at"),
    "people": ("valid_to",),
    "tickets": ("first_response_at", "resolved_at", "reopened_at", "escalated_at"),
    "surveys": ("score", "answered_at", "followed_up_at"),
    "interventions": ("ended_at",),
    "value_goals": ("achieved_at",),
    "referrals": ("converted_at", "reward_cost"),
    "trials": ("started_at", "finished_at"),
}


@dataclass(frozen=True)
class Mutation:
    """One fault: in words, and as a piece of code put in place of another."""

    fault: str
    file: str
    old: str
    new: str


def unmasked(table: str, column: str) -> Mutation:
    """A later fact shown as if it had always been there."""
    chosen = "        if column.known is not None\n"
    beside = f'        if column.known is not None and (contract.name, column.name) != ("{table}", "{column}")\n'
    return Mutation(f"{table}.{column} is not masked", WINDOWS, chosen, beside)


MUTATIONS = [
    # strictly before, and known
    Mutation(
        "rows known later are seen",
        WINDOWS,
        "    rows = rows.filter(_._known_day.isnull() | (_._known_day < _._cut))\n",
        "",
    ),
    Mutation("a row known on the date is seen", WINDOWS, "(_._known_day < _._cut)", "(_._known_day <= _._cut)"),
    Mutation("an event on the date is seen", WINDOWS, "(_._event_day < _._cut)", "(_._event_day <= _._cut)"),
    Mutation("events of the future are seen", WINDOWS, "(_._event_day < _._cut)", "(_._event_day < _._cut + 9999)"),
    Mutation("a later fact of the date is seen", WINDOWS, "_own_time(column)]) < rows._cut", "_own_time(column)]) <= rows._cut"),
    *(unmasked(table, column) for table, columns in MASKED.items() for column in columns),
    Mutation("a rate of the date is known", WINDOWS, "filter(day_of(_.date) < _._cut)", "filter(day_of(_.date) <= _._cut)"),
    Mutation("days are rounded, not cut", WINDOWS, "/ 86_400.0).floor()", "/ 86_400.0).round()"),
    # arrival
    Mutation("late arrival is forgotten", WINDOWS, "day_of(events.recorded_at.fill_null(events.occurred_at))", "happened"),
    Mutation(
        "a clock running ahead is believed",
        WINDOWS,
        "ibis.greatest(happened, day_of(events.recorded_at.fill_null(events.occurred_at)))",
        "day_of(events.recorded_at.fill_null(events.occurred_at))",
    ),
    Mutation(
        "an arrival on the date is known",
        WINDOWS,
        "(d, self._cuts[bisect.bisect_right(self._cuts, d)])",
        "(d, self._cuts[bisect.bisect_left(self._cuts, d)])",
    ),
    Mutation("earlier dates see late days", WINDOWS, "            if edge < known <= cut\n", "            if edge < known\n"),
    Mutation("first uses known later are seen", WINDOWS, "in pairs if known <= cut]", "in pairs]"),
    # slices and windows
    Mutation("a slice begins a day late", WINDOWS, "bisect.bisect_right(self._edges, d) - 1", "max(bisect.bisect_left(self._edges, d) - 1, 0)"),
    Mutation("edges lie a day off", WINDOWS, "{cut - depth for cut", "{cut - depth + (depth > 0) for cut"),
    Mutation("a window is a slice too long", WINDOWS, "(_.reach > near) & (_.reach <= far)", "(_.reach > near) & (_.reach <= far + 1)"),
    Mutation("a window lacks its first slice", WINDOWS, "(_.reach > near) & (_.reach <= far)", "(_.reach > near) & (_.reach < far)"),
    Mutation("the window before overlaps", WINDOWS, "(_.reach > near) & (_.reach <= far)", "(_.reach >= near) & (_.reach <= far)"),
    Mutation("the last use is its slice's start", WINDOWS, "(_.day - _._last).min()", "_.reach.min()"),
    Mutation("the year is a day short", WINDOWS, "if 0 < cut - edge <= YEAR", "if 0 < cut - edge < YEAR"),
    # a day counts once
    Mutation(
        "a day counts at every arrival",
        WINDOWS,
        '.group_by(*keys, "day").agg(known_day=_.known_day.min())',
        '.select(*keys, "day", "known_day")',
    ),
    Mutation(
        "a day counts at its last arrival",
        WINDOWS,
        '.group_by(*keys, "day").agg(known_day=_.known_day.min())',
        '.group_by(*keys, "day").agg(known_day=_.known_day.max())',
    ),
    Mutation(
        "the roll-up forgets arrivals",
        "features/usage.py",
        '.group_by(*by, "account_id", "user_id", "day", "known_day").agg(\n',
        '.group_by(*by, "account_id", "user_id", "day").agg(\n        known_day=_.known_day.min(),\n',
    ),
    # whose rows
    Mutation(
        "use is joined by user only",
        "features/stakeholders.py",
        'people_then.left_join(person_windows, PERSON, rname="{name}_used")',
        'people_then.left_join(person_windows, ("as_of", "user_id"), rname="{name}_used")',
    ),
    Mutation(
        "tiers are joined by user only",
        "features/stakeholders.py",
        'known.left_join(people_then.select(*PERSON, "tier"), PERSON)',
        'known.left_join(people_then.select(*PERSON, "tier"), ("as_of", "user_id"))',
    ),
    Mutation(
        "the newest stretch of all accounts",
        "features/stakeholders.py",
        "newest = ibis.window(group_by=PERSON,",
        'newest = ibis.window(group_by=("as_of", "user_id"),',
    ),
    Mutation(
        "others' payments show that one pays",
        "features/spine.py",
        "pays=known.paid_at.notnull().any().over(group_by=KEY)",
        'pays=known.paid_at.notnull().any().over(group_by="as_of")',
    ),
    # order, duplicates, one row each
    Mutation("the first version of a stretch wins", "features/stakeholders.py", "for t in (known.valid_from, arrived)]", "for t in (known.valid_from,)]"),
    Mutation(
        "two rates a day are two rows",
        WINDOWS,
        '.agg(date=_.date.max())\n    return quoted.join(newest, ["currency", "as_of", "date"])',
        '.agg(_on=day_of(_.date.max()))\n    return quoted.mutate(_on=day_of(_.date)).join(newest, ["currency", "as_of", "_on"])',
    ),
    Mutation("a term still runs at its end", "features/spine.py", "hours_waiting(known, known.end_date) >= 0", "hours_waiting(known, known.end_date) > 0"),
    # the code itself
    Mutation(
        "time is cut elsewhere",
        "features/tickets.py",
        "    known = as_known(\"tickets\", tickets, spine)\n",
        "    known = as_known(\"tickets\", tickets, spine)\n    known = known.filter(known.opened_at < known.as_of)\n",
    ),
]  # fmt: skip


def copy_of_the_tree(folder: Path) -> None:
    """What the tests need, without what earlier runs left behind."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy(source, target)


def applied(mutation: Mutation, folder: Path) -> str:
    """Put the fault into the copy; returns what the file was."""
    path = folder / mutation.file
    code = path.read_text(encoding="utf-8")
    if code.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.fault}: {mutation.file} holds {code.count(mutation.old)} times\n{mutation.old}")
    path.write_text(code.replace(mutation.old, mutation.new), encoding="utf-8")
    return code


def failing(folder: Path, tests: tuple[str, ...]) -> tuple[int, list[str]]:
    """Exit code of the tests, and the names of those that fail."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    environment = os.environ | {"HYPOTHESIS_PROFILE": "brief", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    names = re.findall(r"^(?:FAILED|ERROR) \S+?::(\w+)", run.stdout, re.MULTILINE)
    if run.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    return run.returncode, list(dict.fromkeys(names))


def main() -> int:
    """One line per mutation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="mutations with this word in their fault")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="the tests to run on each")
    asked = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if asked.only in mutation.fault]
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        folder = Path(name)
        copy_of_the_tree(folder)
        if not asked.only:
            code, names = failing(folder, tuple(asked.tests))
            if code:
                raise SystemExit(f"without any fault these already fail: {', '.join(names)}")
        survived = sum(_tell(mutation, folder, tuple(asked.tests)) for mutation in chosen)
    print(f"{len(chosen)} mutations, {survived} survived")
    return int(survived > 0)


def _tell(mutation: Mutation, folder: Path, tests: tuple[str, ...]) -> bool:
    """Try one mutation and print what became of it; whether it survived."""
    begun = time.monotonic()
    before = applied(mutation, folder)
    try:
        code, names = failing(folder, tests)
    finally:
        (folder / mutation.file).write_text(before, encoding="utf-8")
    verdict = "killed" if code else "SURVIVED"
    print(f"{verdict:8} | {mutation.fault:40} | {time.monotonic() - begun:4.0f} s | {', '.join(names)}", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
