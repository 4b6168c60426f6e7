"""What every stage has in common: the job it is given, how it reports, and how it is run by name."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from renewals.pipelines.runtime.errors import Config

if TYPE_CHECKING:
    from renewals.pipelines.runtime.settings import Settings


TRIALS = "trials"
"""The folder in the data folder that holds one folder per trial."""
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Job:
    """One run's inputs: what was configured, where the tables are, and the day it stands on."""

    settings: Settings
    tables: str
    data: Path
    lists: Path
    until: date | None = None
    as_of: date | None = None
    apart: str | None = None
    """A folder of its own for a study of the past, which must not disturb what learning left."""
    trial: str | None = field(default_factory=lambda: os.environ.get("DVC_EXP_NAME") or None)
    """The name of the trial that this run is part of: it registers no version, promotes none and publishes no list.

    An experiment of DVC is a trial, whichever command or stage it runs: `dvc exp run` sets this variable for the
    stages, in the workspace, with `--temp` and with `--queue`; `dvc repro` does not.
    """

    @property
    def day(self) -> date:
        """The day on which the run stands: nothing known at or after it exists."""
        day = self.as_of or self.until
        if day is None:
            raise Config("this stage needs a day: give --until or --as-of")
        return day

    @property
    def trial_folder(self) -> Path:
        """The folder of the trial that this run is part of. Raises `Config` where its name cannot be a folder's."""
        if not PLAIN_NAME.fullmatch(self.trial or ""):
            raise Config(f"{self.trial!r} cannot be the name of a trial: use letters, digits, '.', '_' and '-'")
        return self.data / TRIALS / str(self.trial)

    @property
    def side(self) -> Path:
        """The folder of this half of the work: `act` on a date, `learn` until one, or what is kept apart."""
        return self.data / (self.apart or ("act" if self.as_of else "learn"))


def iso_date(text: str, name: str) -> date:
    """A day written as YYYY-MM-DD and in no other way. Raises `Config`."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise Config(f"{name}: {text!r} is not a day; write it as YYYY-MM-DD, for example 2026-06-01")
    return day


def on_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def start_logging() -> None:
    """JSON lines on standard error for a scheduler; short lines for a person."""
    import structlog

    for chatty in ("mlflow", "alembic", "matplotlib", "ibis"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    renderer: Any = structlog.dev.ConsoleRenderer() if on_terminal() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=lambda *_: StderrLogger(),
    )


class StderrLogger:
    """Writes log lines to standard error; a reader who has gone costs the lines, not the run."""

    def msg(self, message: str) -> None:
        """Write one line."""
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = msg


@contextmanager
def progress(total: int, words: str) -> Iterator[Callable[[str], None]]:
    """Yields `step(what)`: a bar on a terminal, a log line a step elsewhere."""
    if on_terminal():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(words, total=total)

            def step(what: str) -> None:
                bar.update(task, advance=1, description=f"{words}: {what}")

            yield step
            bar.update(task, description=words)
    else:
        import structlog

        log = structlog.get_logger()
        count = iter(range(1, total + 1))

        def step(what: str) -> None:
            log.info(words, step=what, number=next(count, total), of=total)

        yield step


class Parser(argparse.ArgumentParser):
    """An argument parser whose usage errors end as those of the command line do."""

    def error(self, message: str) -> NoReturn:
        """Print the usage, the message and the JSON line; exit code 2."""
        from renewals.pipelines.runtime.runner import end_usage

        self.print_usage(sys.stderr)
        raise SystemExit(end_usage(message))


def main(stage: Callable[..., dict[str, Any]], writes: bool = True) -> None:
    """`python -m renewals.pipelines.stages.<room>.<stage> [ITEM]`: the same stage as the command line runs.

    Its dates are those of `params.yaml`.

    `--act` runs it for the act date, otherwise for learning; ITEM is a family or a target. A stage that `writes` holds
    the lock of the data folder.
    """
    from renewals.pipelines.runtime import runner
    from renewals.pipelines.runtime.lock import exclusive_lock
    from renewals.pipelines.runtime.paths import tables_address
    from renewals.pipelines.runtime.settings import read_settings

    parser = Parser(description=(stage.__doc__ or stage.__name__).splitlines()[0])
    parser.add_argument("item", nargs="*", help="a family or a target, where the stage takes one")
    parser.add_argument("--act", action="store_true", help="run for dates.as_of instead of dates.until")
    parser.add_argument("--tables", help="the raw tables, in place of `tables` in params.yaml")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--lists", type=Path, default=Path("lists"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    asked = parser.parse_args()
    command = " ".join(("stage", stage.__name__, *asked.item))

    def work() -> dict[str, Any]:
        settings = read_settings(asked.params, asked.overrides)
        day = iso_date(settings.dates.as_of if asked.act else settings.dates.until, "dates")
        when: dict[str, Any] = {"as_of" if asked.act else "until": day}
        job = Job(settings, tables_address(settings.tables, asked.tables), asked.data, asked.lists, **when)
        with exclusive_lock(asked.data, command) if writes else nullcontext():
            return stage(job, *asked.item)

    raise SystemExit(runner.run(work, asked.data, command))
