"""`renewals`: the one command for people and schedulers. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from renewals.pipelines.runtime.job import Job

app = typer.Typer(
    help="Which contracts will be bought again, and which accounts will grow: learn from closed history, act on a day.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Tables = Annotated[
    str | None,
    typer.Option(
        help="The tables: a folder of Parquet or CSV, duckdb:///FILE or postgresql://…  [default: `tables` in "
        "params.yaml, data/company]"
    ),
]
IgnoredTables = Annotated[str, typer.Option("--tables", hidden=True, help="Taken for older scripts; not read.")]
Data = Annotated[Path, typer.Option(help="Where intermediate tables, models and MLflow live.")]
Params = Annotated[Path | None, typer.Option(help="The parameter file.  [default: params.yaml where there is one]")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one parameter; repeatable.")
]
Lists = Annotated[Path, typer.Option(help="Where lists/<as-of>/ is published.")]
AsOf = Annotated[
    str, typer.Option(metavar="DATE", help="The day it stands on, YYYY-MM-DD: nothing known later is used.")
]
AllowStale = Annotated[
    bool,
    typer.Option(
        "--allow-stale", help="Go on where tables are too old or incomplete for the day, with a notice on the result."
    ),
]
Until = Annotated[str, typer.Option(metavar="DATE", help="The day it pretends to stand on, YYYY-MM-DD.")]

Hindsight = Annotated[
    bool,
    typer.Option(
        "--hindsight",
        help="Also for a day before the training day of the models; the list is marked and never read as history.",
    ),
]

DATA_FOLDER = Path("data")
LISTS_FOLDER = Path("lists")


@app.command()
def demo(
    data: Data = Path("demo"),
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Run everything on the example company."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.demo import demo

        return demo(job)

    _run_job("demo", run, str(data / "company"), data, params, overrides, lists=lists)


@app.command()
def example(
    out: Annotated[Path, typer.Option(help="The folder to write: a new one, or an earlier example.")] = Path("demo")
    / "company",
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Write the tables of the example company, to try everything on."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.example import example

        return example(job)

    _run_job("example", run, str(out), DATA_FOLDER, params, overrides)


@app.command()
def check(
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Also judge whether they are fresh enough for this day, YYYY-MM-DD.",
            show_default=False,
        ),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Hold the tables against their contract, and say of each up to which day it goes."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.check import check_tables

        return check_tables(job)

    _run_job("check", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), as_of=as_of)


@app.command()
def learn(
    until: Until,
    trial_run: Annotated[
        bool, typer.Option("--try", help="Only compare with the champion: no model and no list is changed.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="What a trial is called.  [default: its day and a digest]", show_default=False)
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Train on what was known and final on a day."""
    if name and not trial_run:
        raise typer.BadParameter("--name is the name of a trial: give --try too")

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.learn import learn

        return learn(job, trial_run, name)

    _run_job("learn", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), until=until)


@app.command()
def backtest(
    until: Until,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """What would have been said in the past, and what it was worth: model beside baselines, as a page.

    Judges what `renewals learn` left for this day in the data folder; otherwise it learns first, and registers nothing.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.backtest import run_backtest

        return run_backtest(job)

    _run_job("backtest", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), until=until)


@app.command()
def tune(
    until: Until,
    target: Annotated[
        Literal["renewal", "upsell", "cross_sell", "expansion"] | None,
        typer.Option(help="Search for this one alone.  [default: every one in `targets`]", show_default=False),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Search the learner's settings in the past alone; changes none, and goes on where it was stopped.

    The best setting is held against the one in force on the newest outcomes, which the search did not see.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.tune import run_tune

        return run_tune(job, target)

    def check_target(job: Job) -> None:
        from renewals.pipelines.preflight import require_configured_target

        require_configured_target(job, target)

    _run_job(
        "tune", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), check=check_target, until=until
    )


@app.command()
def score(
    as_of: AsOf,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    hindsight: Hindsight = False,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Publish the risk list of a day, with its scorecard and, on the first of a month, its forecast."""
    allowed = _add_flag_overrides(overrides, allow_stale, hindsight)

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.score import run_score

        return run_score(job)

    _run_job("score", run, tables, data, params, allowed, lists=lists, as_of=as_of)


@app.command()
def publish(
    as_of: AsOf,
    to: Annotated[str, typer.Option(metavar="URL", help="The database: postgresql://… or duckdb:///FILE")],
    schema: Annotated[str, typer.Option(help="The schema that holds the tables.")] = "renewals",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Write a published list, its reasons and its forecast to a database, in one transaction; twice does no harm."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.publish import run_publish

        return run_publish(job, to, schema)

    _run_job("publish", run, "", data, params, overrides, lists, as_of=as_of)


@app.command()
def scorecard(
    as_of: AsOf,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """How the company stands on a day: churn, renewal rates, retention, use, referrals."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.scorecard import run_scorecard

        return run_scorecard(job)

    _run_job("scorecard", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), as_of=as_of)


@app.command()
def forecast(
    as_of: AsOf,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    hindsight: Hindsight = False,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """What will be renewed, kept and bought in the four quarters from a day on."""
    allowed = _add_flag_overrides(overrides, allow_stale, hindsight)

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.forecast import run_forecast

        return run_forecast(job)

    _run_job("forecast", run, tables, data, params, allowed, as_of=as_of)


@app.command()
def effect(
    as_of: AsOf,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Did it help: what each playbook did to renewals, adjusted for who was treated."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.effect import run_effect

        return run_effect(job)

    _run_job("effect", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), as_of=as_of)


@app.command()
def explain(
    account: Annotated[str, typer.Argument(help="The account's id.")],
    as_of: AsOf,
    tables: IgnoredTables = "",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Why this account is where it is on the list."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.explain import explain

        return explain(job, account)

    _run_job("explain", run, tables, data, params, overrides, lists, as_of=as_of)


@app.command()
def whatif(
    account: Annotated[str, typer.Argument(help="The account's id.")],
    as_of: AsOf,
    changes: Annotated[
        list[str], typer.Option("--set", metavar="FEATURE=VALUE", help="A figure as it might be; repeatable.")
    ],
    tables: IgnoredTables = "",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Override one parameter; repeatable.")
    ] = None,
) -> None:
    """What the model would say of an account if some of its figures were other: an association, not an effect.

    The other windows of such a figure move along, by as many ranks among the account's peers, unless set too.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.whatif import whatif

        return whatif(job, account, changes)

    _run_job("whatif", run, tables, data, params, overrides, lists, as_of=as_of)


@app.command()
def collect(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Workbooks that managers have filled in.")],
    recorded: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="The day the answers came in, YYYY-MM-DD.  [default: now]", show_default=False
        ),
    ] = None,
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Read back what managers wrote into the workbooks: verdicts, notes, and actions, which become interventions."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.collect import collect

        return collect(job, files, recorded)

    _run_job("collect", run, "", data, params, overrides, lists)


TargetName = Annotated[str, typer.Argument(help="What the model predicts: renewal, upsell, cross_sell or expansion.")]


@app.command()
def promote(
    target: TargetName,
    version: Annotated[int, typer.Option(min=1, help="The registered version that shall serve.")],
    force: Annotated[bool, typer.Option("--force", help="Even if the gate refused it; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Let a registered version make the lists from now on."""
    if force and not reason.strip():
        raise typer.BadParameter('--force needs --reason "…": why shall it serve although the gate refused it?')

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.models import promote

        return promote(job, target, version, reason.strip() or None, force)

    _run_job("promote", run, "", data, params, overrides)


@app.command()
def rollback(target: TargetName, data: Data = DATA_FOLDER, params: Params = None, overrides: Overrides = None) -> None:
    """Let the champion before the present one serve again; once more goes further back."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.models import rollback

        return rollback(job, target)

    _run_job("rollback", run, "", data, params, overrides)


def _add_flag_overrides(overrides: list[str] | None, allow_stale: bool = False, hindsight: bool = False) -> list[str]:
    """The overrides with the parameters that `--allow-stale` and `--hindsight` stand for."""
    flags = {"freshness.allow_stale": allow_stale, "list.hindsight": hindsight}
    return [*(overrides or ()), *(f"{parameter}=true" for parameter, given in flags.items() if given)]


LOCK_FREE_COMMANDS = ("example", "explain", "whatif", "publish", "collect", "promote", "rollback")
"""Commands that do not hold the data folder's lock: they write nothing there, or have a lock of their own."""


def _run_job(
    command: str,
    run: Callable[[Job], dict[str, Any]],
    tables: str | None,
    data: Path,
    params: Path | None,
    overrides: list[str] | None,
    lists: Path = LISTS_FOLDER,
    check: Callable[[Job], None] = lambda job: None,
    **dates: str | None,
) -> None:
    """Make the job, check what can be known at the start, take the lock where the command needs it, and run it.

    `check` looks at the command's own arguments. `run` imports its command only when it is called: no module is loaded
    for a command line that is wrong, and whatever happens while modules load ends the run as any other error does.
    """
    from renewals.pipelines.runtime import runner

    def work() -> dict[str, Any]:
        from renewals.pipelines import preflight
        from renewals.pipelines.runtime.job import Job, parse_date
        from renewals.pipelines.runtime.lock import exclusive_lock
        from renewals.pipelines.runtime.paths import tables_address
        from renewals.pipelines.runtime.settings import read_settings

        file = params or (Path("params.yaml") if Path("params.yaml").exists() else None)
        when: dict[str, Any] = {
            n: parse_date(text, f"--{n.replace('_', '-')}") for n, text in dates.items() if text is not None
        }
        settings = read_settings(file, overrides or ())
        job = Job(settings, tables_address(settings.tables, tables), data, lists, opened={}, **when)
        check(job)
        preflight.run_checks(command, job)
        with nullcontext() if command in LOCK_FREE_COMMANDS else exclusive_lock(data, command):
            return run(job)

    raise typer.Exit(runner.run_command(work, data, command))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, or these words of one; a wrong one ends with its usage, exit code 2 and the JSON line."""
    from typer._click.exceptions import (
        ClickException,
        NoArgsIsHelpError,
        UsageError,
    )  # typer brings its own copy of click

    from renewals.pipelines.runtime import runner

    try:
        code = app(arguments, standalone_mode=False)
    except ClickException as error:
        if isinstance(error, NoArgsIsHelpError):
            print(error.format_message(), file=sys.stderr)
            error = UsageError("no command was given")
        elif isinstance(error, UsageError) and error.ctx is not None:
            print(error.ctx.get_usage(), file=sys.stderr)
        code = runner.report_usage_error(error.format_message())
    raise SystemExit(code)


if __name__ == "__main__":
    main()
