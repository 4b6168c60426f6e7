"""Log lines and progress on standard error: short lines on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


def is_interactive() -> bool:
    """True if standard error is a terminal."""
    return sys.stderr.isatty()


def configure_logging() -> None:
    """Configure structlog: short lines on a terminal, JSON lines elsewhere; silence chatty libraries."""
    import structlog

    for chatty in ("mlflow", "alembic", "matplotlib", "ibis"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    renderer: Any = structlog.dev.ConsoleRenderer() if is_interactive() else structlog.processors.JSONRenderer()
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
    """Logger that writes lines to standard error; if the pipe is closed the lines are lost and the run continues."""

    def msg(self, message: str) -> None:
        """Write one line to standard error."""
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = msg


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[str], None]]:
    """Report progress over `total` steps: call the yielded `step(name)` once per step.

    Shows a progress bar on a terminal and writes one log line per step elsewhere.
    """
    if is_interactive():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=total)

            def step(what: str) -> None:
                bar.update(task, advance=1, description=f"{label}: {what}")

            yield step
            bar.update(task, description=label)
    else:
        import structlog

        log = structlog.get_logger()
        count = iter(range(1, total + 1))

        def step(what: str) -> None:
            log.info(label, step=what, number=next(count, total), of=total)

        yield step
