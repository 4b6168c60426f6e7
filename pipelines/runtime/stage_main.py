"""Command line of a single stage: `python -m renewals.pipelines.stages.<room>.<stage>`, as DVC runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from renewals.pipelines.runtime.job import Job, parse_date


class StageParser(argparse.ArgumentParser):
    """Argument parser that reports usage errors in the same way as the `renewals` command."""

    def error(self, message: str) -> NoReturn:
        """Print the usage, the message and the JSON line, and exit with code 2."""
        from renewals.pipelines.runtime.runner import report_usage_error

        self.print_usage(sys.stderr)
        raise SystemExit(report_usage_error(message))


def main(stage: Callable[..., dict[str, Any]], writes: bool = True) -> None:
    """Parse the arguments of `python -m renewals.pipelines.stages.<room>.<stage> [ITEM]`, run the stage and exit.

    The dates are those of `params.yaml`: the scoring date with `--act`, else the training cutoff. ITEM is a family or a
    target. A stage that `writes` holds the lock of the data folder.
    """
    from renewals.pipelines.runtime import runner
    from renewals.pipelines.runtime.lock import exclusive_lock
    from renewals.pipelines.runtime.paths import tables_address
    from renewals.pipelines.runtime.settings import read_settings

    parser = StageParser(description=(stage.__doc__ or stage.__name__).splitlines()[0])
    parser.add_argument("item", nargs="*", help="a family or a target, where the stage takes one")
    parser.add_argument(
        "--act",
        action="store_true",
        help="run for the scoring date (dates.as_of) instead of the training cutoff (dates.until)",
    )
    parser.add_argument("--tables", help="the raw tables, in place of `tables` in params.yaml")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--lists", type=Path, default=Path("lists"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    command = " ".join(("stage", stage.__name__, *arguments.item))

    def work() -> dict[str, Any]:
        settings = read_settings(arguments.params, arguments.overrides)
        day = parse_date(settings.dates.as_of if arguments.act else settings.dates.until, "dates")
        when: dict[str, Any] = {"as_of" if arguments.act else "until": day}
        job = Job(
            settings,
            tables_address(settings.tables, arguments.tables),
            arguments.data,
            arguments.lists,
            opened={},
            **when,
        )
        with exclusive_lock(arguments.data, command) if writes else nullcontext():
            return stage(job, *arguments.item)

    raise SystemExit(runner.run_command(work, arguments.data, command))
