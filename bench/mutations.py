"""Mutation tests of the rules of time: `python bench/mutations.py [--only WORD ...]`.

Each mutation breaks one rule in a copy of the tree in a temporary folder (this tree is only read), and the tests of the
rules that should fail are run; `--all` runs every test on each. A mutation that no test detects has survived, and the
exit code is 1. A test is only proved useful by the faults that it has detected.
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
COPIED = (
    "features",
    "models",
    "reports",
    "pipelines",
    "examples",
    "renewals",
    "tests",
    "pyproject.toml",
    "params.yaml",
)
TESTS = (
    "tests/properties/test_boundaries.py",
    "tests/properties/test_known_rows.py",
    "tests/properties/test_one_place.py",
    "tests/properties/test_time.py",
    "tests/features/test_point_in_time.py",
    "tests/features/families/test_fit.py",
    "tests/models/training/test_splits.py",
)

WINDOWS = "features/point_in_time.py"
# The rules, by words that select their tests (`pytest -k`).
APPENDED = "rows_known_later_change_nothing"
AHEAD = "event_ahead_of_its_arrival"
REWRITTEN = "facts_of_later_inside_earlier_rows"
KNOWN_AT = "row_known_at_as_of_is_invisible"
MASKED_AT = "later_fact_at_as_of_is_masked"
HAPPENED_AT = "event_at_as_of_is_of_the_future"
ROWS = "what_every_observation_knew or what_was_known_on_a_day"
FIRST_INSTANT = "window_begins_on_its_first_instant"
YEAR = "year_begins_on_its_first_instant"
SAME_ACCOUNT = "account_depends_on_its_own_rows"
ORDER = "order_and_exact_duplicates"
ONE_ROW = "one_row_per_observation"
ALONE = "dates_together_are_dates_alone"
PARTS = "rolled_up_in_parts"
ORACLE = "features_equal_the_oracle and not many"
ONE_PLACE = "compared_with_as_of_outside"
SIMILAR_SALES = "others_sold_alike"
COHORT = "cancels_early_is_learned_from_with_the_cohort"
SOLD = "known_when_its_renewal_was_final"


@dataclass(frozen=True)
class Mutation:
    """One fault: its description, the code that replaces another piece of code, and the rules that should detect it."""

    fault: str
    file: str
    old: str
    new: str
    laws: tuple[str, ...]


def unmasked(table: str, column: str, *laws: str) -> Mutation:
    """Mutation that shows a later fact of a table as if it had always been known."""
    original = "if column.known is not None and column.name in rows.columns]"
    replacement = f'{original[:-1]} and (spec.name, column.name) != ("{table}", "{column}")]'
    return Mutation(f"{table}.{column} is not masked", WINDOWS, original, replacement, laws or (REWRITTEN, ROWS))


STRETCH = "(_.reach > day_range.near) & (_.reach <= day_range.far)"
NEW = '_[mask] - (_[mask] & _[f"{mask}_earlier"].fill_null(0))'
STAKEHOLDERS, SPINE = "features/families/stakeholders.py", "features/spine.py"

MUTATIONS = [
    # known strictly before
    Mutation(
        "rows known later are visible",
        WINDOWS,
        "    rows = rows.filter(_._known_day.isnull() | (_._known_day < _._cut))\n",
        "",
        (APPENDED, KNOWN_AT, ROWS),
    ),
    Mutation(
        "a row known on the date is visible",
        WINDOWS,
        "_._known_day < _._cut",
        "_._known_day <= _._cut",
        (APPENDED, KNOWN_AT),
    ),
    Mutation(
        "an event on the date is visible",
        WINDOWS,
        "_._event_day < _._cut",
        "_._event_day <= _._cut",
        (HAPPENED_AT, ROWS),
    ),
    Mutation(
        "future events are visible",
        WINDOWS,
        "_._event_day < _._cut",
        "_._event_day < _._cut + 9999",
        (HAPPENED_AT, AHEAD, ROWS),
    ),
    Mutation(
        "a rate of the date is known",
        WINDOWS,
        "day_of(_.date) < _._cut",
        "day_of(_.date) <= _._cut",
        (APPENDED, KNOWN_AT),
    ),
    Mutation(
        "an outcome final on the date is known",
        WINDOWS,
        "day_of(_.matured_at) < _._cut",
        "day_of(_.matured_at) <= _._cut",
        (SIMILAR_SALES, ORACLE),
    ),
    Mutation(
        "a fact after an outcome counts as known at its sale",
        "features/families/fit.py",
        "days = final.select(*KEY, day=day_of(_.matured_at)).distinct()",
        "days = final.select(*KEY, day=day_of(_.matured_at) + 1).distinct()",
        (SOLD,),
    ),
    Mutation(
        "a company link recorded later is known",
        WINDOWS,
        'return _hide_future(dated.cross_join(dates), TABLES[name]).drop("_cut", "_event_day")',
        'return dated.cross_join(dates).drop("_cut", "_known_day")',
        ("parent_and_sisters",),
    ),
    Mutation(
        "the account's outcomes count for itself",
        "features/families/fit.py",
        '- _[f"{name}_own"].fill_null(0)',
        "",
        (SIMILAR_SALES, ORACLE),
    ),
    Mutation(
        "instants are rounded to days",
        WINDOWS,
        'return instant.cast("timestamp").date().epoch_days()',
        'return (instant.cast("timestamp") + ibis.interval(hours=12)).date().epoch_days()',
        (KNOWN_AT, ORACLE),
    ),
    # later facts
    Mutation(
        "a later fact of the date is visible",
        WINDOWS,
        "else column.known]) < rows._cut",
        "else column.known]) <= rows._cut",
        (REWRITTEN, MASKED_AT),
    ),
    unmasked("contracts", "paid_at"),
    unmasked("contracts", "cancelled_at"),
    unmasked("people", "valid_to"),
    *(unmasked("tickets", c) for c in ("first_response_at", "resolved_at", "reopened_at", "escalated_at")),
    *(unmasked("surveys", c) for c in ("score", "answered_at", "followed_up_at")),
    unmasked("value_goals", "achieved_at"),
    unmasked("interventions", "ended_at", ROWS),
    *(unmasked("referrals", c, ROWS) for c in ("converted_at", "reward_cost")),
    *(unmasked("trials", c, ROWS) for c in ("started_at", "finished_at")),
    # arrival of usage events
    Mutation(
        "late arrival is ignored",
        WINDOWS,
        "day_of(events.recorded_at.fill_null(events.occurred_at))",
        "happened",
        (APPENDED, ORACLE),
    ),
    Mutation(
        "a clock that is fast is trusted",
        WINDOWS,
        "ibis.greatest(happened, day_of(events.recorded_at.fill_null(events.occurred_at)))",
        "day_of(events.recorded_at.fill_null(events.occurred_at))",
        (ORACLE,),
    ),
    Mutation(
        "an arrival on the date is known",
        WINDOWS,
        "(d, self._cutoffs[bisect.bisect_right(self._cutoffs, d)]) for",
        "(d, self._cutoffs[bisect.bisect_left(self._cutoffs, d)]) for",
        (APPENDED, KNOWN_AT),
    ),
    Mutation(
        "late days are visible to earlier dates",
        WINDOWS,
        "if edge < known <= cut\n",
        "if edge < known\n",
        (APPENDED, ALONE),
    ),
    Mutation(
        "first uses known later are visible", WINDOWS, "in pairs if known <= cut]", "in pairs]", (APPENDED, ALONE)
    ),
    # windows and their slices
    Mutation(
        "a slice starts a day late",
        WINDOWS,
        "bisect.bisect_right(edges, d) - 1",
        "max(bisect.bisect_left(edges, d) - 1, 0)",
        (FIRST_INSTANT, ORACLE),
    ),
    Mutation(
        "edges are wrong by a day",
        WINDOWS,
        "{cut - depth for cut",
        "{cut - depth + (depth > 0) for cut",
        (FIRST_INSTANT, ORACLE),
    ),
    Mutation(
        "a window is a slice too long",
        WINDOWS,
        STRETCH,
        "(_.reach > day_range.near) & (_.reach <= day_range.far + 1)",
        (ORACLE, ALONE),
    ),
    Mutation(
        "a window lacks its first slice",
        WINDOWS,
        STRETCH,
        "(_.reach > day_range.near) & (_.reach < day_range.far)",
        (FIRST_INSTANT, ALONE),
    ),
    Mutation(
        "the previous window overlaps",
        WINDOWS,
        STRETCH,
        "(_.reach >= day_range.near) & (_.reach <= day_range.far)",
        (ALONE, ORACLE),
    ),
    Mutation(
        "the year is a day short",
        WINDOWS,
        "if 0 < cut - edge <= deepest",
        "if 0 < cut - edge < deepest",
        (YEAR, ORACLE),
    ),
    # days in buckets, and their masks
    Mutation(
        "late masks are visible to earlier dates",
        WINDOWS,
        "if bucket < known <= cut\n",
        "if bucket < known\n",
        (APPENDED,),
    ),
    Mutation(
        "a mask starts a day late",
        WINDOWS,
        "max(cutoff - self.far, bucket)",
        "max(cutoff - self.far + 1, bucket)",
        (ORACLE,),
    ),
    Mutation(
        "a mask ends a day early",
        WINDOWS,
        "min(cutoff - self.near, bucket",
        "min(cutoff - self.near - 1, bucket",
        (ORACLE,),
    ),
    Mutation(
        "the last use is the first of its bucket",
        WINDOWS,
        "last_day=_.day.max()",
        "last_day=_.day.min()",
        (ALONE, ORACLE),
    ),
    # a day with several arrivals counts once
    Mutation("a day counts at every arrival", WINDOWS, NEW, "_[mask]", (ORACLE, "several_arrivals")),
    Mutation(
        "a day that arrived late is ignored",
        WINDOWS,
        "late = rows.filter(_.known_from > _.at_once)",
        "late = rows.filter(_.known_from < _.at_once)",
        (ORACLE,),
    ),
    Mutation(
        "days of a user without id are not matched",
        WINDOWS,
        "late[key].identical_to(rows[key])",
        "late[key] == rows[key]",
        (ORACLE, "several_arrivals"),
    ),
    Mutation(
        "the roll-up ignores arrivals",
        "features/usage_windows.py",
        'keys = ("account_id", "user_id", "day", "known_day", "block")',
        'keys = ("account_id", "user_id", "day", "block")',
        (PARTS, APPENDED),
    ),
    Mutation(
        "other blocks of features are ignored",
        "features/usage_windows.py",
        '        person_days, ("account_id", "block"), calendar, ACCOUNT_SUM_RANGES',
        '        person_days.filter(_.block == 0), ("account_id", "block"), calendar, ACCOUNT_SUM_RANGES',
        (ORACLE,),
    ),
    # rows of the same account only
    Mutation(
        "use is joined by user only",
        STAKEHOLDERS,
        'people_then.left_join(person_windows, PERSON_KEY, rname="{name}_used")',
        'people_then.left_join(person_windows, ("as_of", "user_id"), rname="{name}_used")',
        (SAME_ACCOUNT,),
    ),
    Mutation(
        "tiers are joined by user only",
        STAKEHOLDERS,
        'known.left_join(people_then.select(*PERSON_KEY, "tier"), PERSON_KEY)',
        'known.left_join(people_then.select(*PERSON_KEY, "tier"), ("as_of", "user_id"))',
        (SAME_ACCOUNT,),
    ),
    Mutation(
        "the newest position of any account wins",
        STAKEHOLDERS,
        "newest = ibis.window(group_by=PERSON_KEY,",
        'newest = ibis.window(group_by=("as_of", "user_id"),',
        (SAME_ACCOUNT,),
    ),
    Mutation(
        "payments of other accounts count",
        SPINE,
        "pays=_.paid_at.notnull().any().over(group_by=KEY)",
        'pays=_.paid_at.notnull().any().over(group_by="as_of")',
        (ORACLE, SAME_ACCOUNT),
    ),
    # order of rows, and one row per key
    Mutation(
        "any version of a position may win",
        STAKEHOLDERS,
        'order_by=[*order, "left_ago", "effective_tier", "role"])',
        "order_by=order[:1])",
        (ORDER, ORACLE),
    ),
    Mutation(
        "two rates a day are two rows",
        WINDOWS,
        '.agg(date=_.date.max())\n    return quoted.join(newest, ["currency", "as_of", "date"])',
        ".agg(_on=day_of(_.date.max()))\n    quoted = quoted.mutate(_on=day_of(_.date))"
        '\n    return quoted.join(newest, ["currency", "as_of", "_on"])',
        (ORACLE, "rates_that_every_date_knew"),
    ),
    Mutation(
        "every set of terms of a customer with nothing due is observed",
        SPINE,
        "rows.filter((_.renewal_state != NOT_DUE) | (_._place == 0)).mutate",
        "rows.mutate",
        (ONE_ROW,),
    ),
    Mutation(
        "a term still runs at its end",
        SPINE,
        "has_ended = has_passed(known, known.end_date)",
        "has_ended = has_passed(known, known.end_date + ibis.interval(days=1))",
        (ORACLE,),
    ),
    # the code itself
    Mutation(
        "time is compared in another module",
        "features/families/tickets.py",
        '    known = as_of_rows("tickets", tickets, spine)\n',
        '    known = as_of_rows("tickets", tickets, spine)\n    known = known.filter(known.opened_at < known.as_of)\n',
        (ONE_PLACE,),
    ),
    Mutation(
        "an early outcome does not wait for its cohort",
        "models/training/splits.py",
        "np.maximum(matured_at, due + (matured_at - due).max())",
        "matured_at",
        (COHORT,),
    ),
]


def copy_tree(folder: Path) -> None:
    """Copy the files that the tests need, without caches."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy(source, target)


def apply_mutation(mutation: Mutation, folder: Path) -> str:
    """Write the fault into the copy; returns the original text of the file."""
    path = folder / mutation.file
    code = path.read_text(encoding="utf-8")
    if code.count(mutation.old) != 1:
        raise SystemExit(
            f"{mutation.fault}: {mutation.file} contains {code.count(mutation.old)} times, not once:\n{mutation.old}"
        )
    path.write_text(code.replace(mutation.old, mutation.new), encoding="utf-8")
    return code


def run_tests(folder: Path, laws: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Run the tests of these rules, or all; returns pytest's exit code and the names of the failed tests."""
    only = ["-k", " or ".join(f"({law})" for law in laws)] if laws else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *TESTS, *only]
    environment = os.environ | {
        "HYPOTHESIS_PROFILE": "brief",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(folder),
    }
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    names = re.findall(r"^(?:FAILED|ERROR) \S+?::(\w+)", run.stdout, re.MULTILINE)
    if run.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    return run.returncode, list(dict.fromkeys(names))


def main() -> int:
    """Run the selected mutations and print one line each; returns 1 if one survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only",
        nargs="*",
        default=[""],
        metavar="WORD",
        help="only mutations with one of these words in their description",
    )
    parser.add_argument(
        "--all", action="store_true", help="run every test on each mutation, not only those of its rules"
    )
    args = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if any(word in mutation.fault for word in args.only)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        folder = Path(name)
        copy_tree(folder)
        if len(chosen) == len(MUTATIONS):
            code, names = run_tests(folder)
            if code:
                raise SystemExit(f"these tests fail without any mutation: {', '.join(names)}")
        survived = sum(_survives(mutation, folder, args.all) for mutation in chosen)
    print(f"{len(chosen)} mutations, {survived} survived")
    return int(survived > 0)


def _survives(mutation: Mutation, folder: Path, every_test: bool) -> bool:
    """Run one mutation and print the result; True if it survived."""
    started = time.monotonic()
    before = apply_mutation(mutation, folder)
    try:
        code, names = run_tests(folder, () if every_test else mutation.laws)
    finally:
        (folder / mutation.file).write_text(before, encoding="utf-8")
    verdict = "killed" if code else "SURVIVED"
    print(f"{verdict:8} | {mutation.fault:38} | {time.monotonic() - started:4.0f} s | {', '.join(names)}", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
