"""`renewals`: the one command for people and schedulers. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from renewals.pipelines.runtime.job import Job

app = typer.Typer(
    help="Predict renewals and expansion: train on past outcomes, then publish a risk list for a date.",
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
IgnoredTables = Annotated[str, typer.Option("--tables", hidden=True, help="Accepted for compatibility; ignored.")]
Data = Annotated[Path, typer.Option(help="Where intermediate tables, models and MLflow live.")]
Params = Annotated[Path | None, typer.Option(help="The parameter file.  [default: params.yaml where there is one]")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one parameter; repeatable.")
]
Lists = Annotated[Path, typer.Option(help="Where lists/<as-of>/ is published.")]
AsOf = Annotated[
    str, typer.Option(metavar="DATE", help="Date of the list (YYYY-MM-DD): only data known before it are used.")
]
AllowStale = Annotated[
    bool,
    typer.Option(
        "--allow-stale", help="Continue although tables are too old or incomplete; the result carries a notice."
    ),
]
Until = Annotated[
    str, typer.Option(metavar="DATE", help="Training cutoff (YYYY-MM-DD): only data known before this date are used.")
]

Hindsight = Annotated[
    bool,
    typer.Option(
        "--hindsight",
        help="Allow a date before the training cutoff of the models; the list is marked and not used as history.",
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
    """Write example tables to try the program on."""

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
            help="Also check whether the tables are recent enough for this date (YYYY-MM-DD).",
            show_default=False,
        ),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Validate the input tables and report the last date of each."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.check import check_tables

        return check_tables(job)

    _run_job("check", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), as_of=as_of)


@app.command()
def learn(
    until: Until,
    trial_run: Annotated[
        bool, typer.Option("--try", help="Train and compare with the champion only; nothing is registered or promoted.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the trial.  [default: date and a hash of the parameters]", show_default=False),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Train and register models with the data known and the outcomes final on a date."""
    if name and not trial_run:
        raise typer.BadParameter("--name needs --try")

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
    """Backtest: predictions at past dates compared with baselines and with the outcomes, as an HTML report.

    Uses the models that `renewals learn` trained for this date, or trains them first. Registers nothing.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.backtest import run_backtest

        return run_backtest(job)

    _run_job("backtest", run, tables, data, params, _add_flag_overrides(overrides, allow_stale), until=until)


@app.command()
def tune(
    until: Until,
    target: Annotated[
        str | None,
        typer.Option(help="Tune only this target.  [default: all in `targets`]", show_default=False),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Tune the hyperparameters on past data. Changes no setting; an interrupted search is resumed.

    Compares the best settings with the current ones on the most recent outcomes, which are held out.
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
    """Write a published list, its reasons and its forecast to a database in one transaction (idempotent)."""

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
    """Company metrics on a date: churn, renewal rates, retention, usage, referrals."""

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
    """Forecast renewals, GRR and NRR for the next four quarters."""
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
    """Estimate the effect of each playbook on renewals (propensity-adjusted)."""

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
    """Explain the score and the rank of one account on a published list."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.explain import explain

        return explain(job, account)

    _run_job("explain", run, tables, data, params, overrides, lists, as_of=as_of)


@app.command()
def whatif(
    account: Annotated[str, typer.Argument(help="The account's id.")],
    as_of: AsOf,
    changes: Annotated[
        list[str], typer.Option("--set", metavar="FEATURE=VALUE", help="Changed feature value; repeatable.")
    ],
    tables: IgnoredTables = "",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Override one parameter; repeatable.")
    ] = None,
) -> None:
    """Renewal probability of an account with changed feature values (an association, not a causal effect).

    Other time windows of the same feature move by the same number of ranks among the peers, unless they are set too.
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
            metavar="DATE", help="Date the answers were received (YYYY-MM-DD).  [default: now]", show_default=False
        ),
    ] = None,
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Import managers' answers from returned workbooks: verdicts, notes, and actions (stored as interventions)."""

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.collect import collect

        return collect(job, files, recorded)

    _run_job("collect", run, "", data, params, overrides, lists)


TargetName = Annotated[str, typer.Argument(help="What the model predicts: renewal, upsell, cross_sell or expansion.")]


@app.command()
def promote(
    target: TargetName,
    version: Annotated[int, typer.Option(min=1, help="Registered version to promote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Promote although the gate rejected it; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Make a registered version the champion."""
    if force and not reason.strip():
        raise typer.BadParameter(
            '--force needs --reason "…": why is this version promoted although the gate rejected it?'
        )

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.models import promote

        return promote(job, target, version, reason.strip() or None, force)

    _run_job("promote", run, "", data, params, overrides)


@app.command()
def rollback(target: TargetName, data: Data = DATA_FOLDER, params: Params = None, overrides: Overrides = None) -> None:
    """Restore the previous champion; repeat to go further back."""

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
    """Run the command line (or the given arguments). A wrong one prints its usage and the JSON line, exit code 2."""
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
