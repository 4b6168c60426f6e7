"""Log lines and progress on standard error: short for a person, JSON for a scheduler."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


def is_interactive() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def configure_logging() -> None:
    """JSON lines on standard error for a scheduler; short lines for a person."""
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
    """Writes log lines to standard error; a reader who has gone costs the lines, not the run."""

    def msg(self, message: str) -> None:
        """Write one line."""
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = msg


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[str], None]]:
    """Yields `step(what)`: a bar on a terminal, a log line a step elsewhere."""
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
