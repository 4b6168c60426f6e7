"""Options that several commands share, and how a command runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from renewals.pipelines.runtime.job import Job

Tables = Annotated[
    str | None,
    typer.Option(
        help="Input tables: a folder of Parquet or CSV files, duckdb:///FILE or postgresql://…  [default: `tables` in "
        "params.yaml, else data/company]"
    ),
]
IgnoredTables = Annotated[str, typer.Option("--tables", hidden=True, help="Accepted for compatibility; ignored.")]
Data = Annotated[Path, typer.Option(help="Folder for intermediate tables, models and MLflow runs.")]
Params = Annotated[Path | None, typer.Option(help="Parameter file.  [default: params.yaml, if it exists]")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one parameter, for example list.language=zh; repeatable."
    ),
]
Lists = Annotated[Path, typer.Option(help="Folder of the published lists, with one subfolder per date.")]
AsOf = Annotated[str, typer.Option(metavar="DATE", help="As-of date (YYYY-MM-DD): only data known before it are used.")]
ListDate = Annotated[str, typer.Option(metavar="DATE", help="Date of the published list (YYYY-MM-DD).")]
AllowStale = Annotated[
    bool,
    typer.Option(
        "--allow-stale", help="Continue if tables are too old or incomplete for the date; the result has a notice."
    ),
]
Until = Annotated[
    str, typer.Option(metavar="DATE", help="Training cutoff (YYYY-MM-DD): only data known before this date are used.")
]
Hindsight = Annotated[
    bool,
    typer.Option(
        "--hindsight",
        help="Allow a date before the training cutoff of the champion; the result is marked and not used as history.",
    ),
]
DATA_FOLDER = Path("data")
LISTS_FOLDER = Path("lists")


def known_target(target: str | None) -> str | None:
    """Return the target, or raise BadParameter if no module in `models/targets/` defines it."""
    from renewals.models.targets import load_targets

    try:
        load_targets([target] if target else [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return target


def flag_overrides(overrides: list[str] | None, allow_stale: bool = False, hindsight: bool = False) -> list[str]:
    """The overrides plus the parameters that `--allow-stale` and `--hindsight` set to true."""
    flags = {"freshness.allow_stale": allow_stale, "list.hindsight": hindsight}
    return [*(overrides or ()), *(f"{parameter}=true" for parameter, is_set in flags.items() if is_set)]


def run_job(
    command: str,
    run: Callable[[Job], dict[str, Any]],
    tables: str | None,
    data: Path,
    params: Path | None,
    overrides: list[str] | None,
    lists: Path = LISTS_FOLDER,
    check: Callable[[Job], None] = lambda job: None,
    as_of: str | None = None,
    until: str | None = None,
) -> None:
    """Create the job, run the preflight checks, take the lock if the command needs it, and run the command.

    `check` validates the command's own arguments. `run` imports its command only when it is called: no module is loaded
    for a wrong command line, and an error while modules load ends the run like any other error.
    """
    from renewals.pipelines.runtime import runner

    def work() -> dict[str, Any]:
        from renewals.pipelines.runtime.job import parse_date
        from renewals.pipelines.session import open_job

        start = None if as_of is None else parse_date(as_of, "--as-of")
        cutoff = None if until is None else parse_date(until, "--until")
        with open_job(command, tables, data, lists, params, overrides or (), check, start, cutoff) as job:
            return run(job)

    raise typer.Exit(runner.run_command(work, data, command))
