"""Command line `renewals`. Heavy modules are imported only when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from renewals.pipelines.cli_options import (
    DATA_FOLDER,
    LISTS_FOLDER,
    AllowStale,
    AsOf,
    Data,
    Hindsight,
    IgnoredTables,
    ListDate,
    Lists,
    Overrides,
    Params,
    Tables,
    Until,
    flag_overrides,
    known_target,
    run_job,
)

if TYPE_CHECKING:
    from renewals.pipelines.runtime.job import Job

app = typer.Typer(
    help="Predict renewals and expansion of software subscriptions: train on past outcomes, then publish a ranked risk "
    "list for a date. To try it on example data, run `renewals demo`. For the options of a command, run `renewals "
    "COMMAND --help`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def demo(
    data: Data = Path("demo"),
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Run the whole pipeline on a generated example company.

    Generates the tables, trains the models and publishes one list. `demo` and `dates` in the parameter file set the
    size of the company and the dates.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.demo import demo

        return demo(job)

    run_job("demo", run, str(data / "company"), data, params, overrides, lists=lists)


@app.command()
def example(
    out: Annotated[Path, typer.Option(help="Folder to write: a new one, or one with an earlier example.")] = Path(
        "demo"
    )
    / "company",
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Generate the tables of an example company.

    An earlier example company in the folder is replaced; any other content is refused.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.example import example

        return example(job)

    run_job("example", run, str(out), DATA_FOLDER, params, overrides)


@app.command()
def check(
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Also check that the tables are recent enough for this date (YYYY-MM-DD).",
            show_default=False,
        ),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Validate the input tables and report the last date of each.

    Rows that break the data contract are written to DATA/quarantine with their reasons. Too many of them in a table are
    an error.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.check import check_tables

        return check_tables(job)

    run_job("check", run, tables, data, params, flag_overrides(overrides, allow_stale), as_of=as_of)


@app.command()
def history(
    out: Annotated[
        Path, typer.Option(help="Folder of the tables to write; it also keeps what is needed to read only new copies.")
    ] = DATA_FOLDER / "history",
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Rebuild versions of accounts, contracts and people from dated extracts.

    Reads the copies named in `history` of the parameter file (docs/history.md) that are new since the last run, and
    writes tables that `renewals check --tables OUT` reads.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.history import history

        return history(job)

    run_job("history", run, str(out), data, params, overrides)


@app.command()
def learn(
    until: Until,
    trial_run: Annotated[
        bool,
        typer.Option("--try", help="Trial: train and compare with the champion, but register and promote nothing."),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the trial; needs --try.  [default: date and a hash of the parameters]", show_default=False
        ),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Train and evaluate models, and register them in MLflow.

    Uses the data known and the outcomes final before the cutoff. With `gate.promote: auto`, a version that passes the
    gate becomes the champion. If the gate rejects the renewal model, the exit code is 80.
    """
    if name and not trial_run:
        raise typer.BadParameter("--name needs --try")

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.learn import learn

        return learn(job, trial_run, name)

    run_job("learn", run, tables, data, params, flag_overrides(overrides, allow_stale), until=until)


@app.command()
def backtest(
    until: Until,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Report predictions at past dates against actual outcomes.

    Writes an HTML report that compares the model with the baselines. Uses the models that `renewals learn` trained for
    this cutoff, or trains them first. Registers nothing.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.backtest import run_backtest

        return run_backtest(job)

    run_job("backtest", run, tables, data, params, flag_overrides(overrides, allow_stale), until=until)


@app.command()
def tune(
    until: Until,
    target: Annotated[
        str | None,
        typer.Option(
            help="Tune only this target.  [default: all in `targets`]", show_default=False, callback=known_target
        ),
    ] = None,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Tune the hyperparameters on past data.

    Compares the best settings with the current ones on the most recent outcomes, which are held out, and reports both.
    Changes no setting. An interrupted search is resumed.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.tune import run_tune

        return run_tune(job, target)

    def check_target(job: Job) -> None:
        from renewals.pipelines.preflight import require_configured_target

        require_configured_target(job, target)

    run_job("tune", run, tables, data, params, flag_overrides(overrides, allow_stale), check=check_target, until=until)


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
    """Score all accounts and publish the risk list of a date.

    The list comes with the scorecard and, on the first day of a month, the forecast. Running the command again with the
    same inputs changes nothing.
    """
    allowed = flag_overrides(overrides, allow_stale, hindsight)

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.score import run_score

        return run_score(job)

    run_job("score", run, tables, data, params, allowed, lists=lists, as_of=as_of)


@app.command()
def publish(
    as_of: ListDate,
    to: Annotated[str, typer.Option(metavar="URL", help="Address of the database: postgresql://… or duckdb:///FILE")],
    schema: Annotated[str, typer.Option(help="Database schema of the tables; created if it is missing.")] = "renewals",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Write a published list to a database.

    Writes the list, its reasons and its forecast in one transaction. Running the command again changes nothing.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.publish import run_publish

        return run_publish(job, to, schema)

    run_job("publish", run, "", data, params, overrides, lists, as_of=as_of)


@app.command()
def scorecard(
    as_of: AsOf,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Compute company metrics: churn, retention, usage, referrals.

    Needs no model. Metrics are by month, quarter and year, and by segment.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.scorecard import run_scorecard

        return run_scorecard(job)

    run_job("scorecard", run, tables, data, params, flag_overrides(overrides, allow_stale), as_of=as_of)


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
    """Forecast renewals, GRR and NRR for the next four quarters.

    Scores the accounts first. The date must be the first day of a month.
    """
    allowed = flag_overrides(overrides, allow_stale, hindsight)

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.forecast import run_forecast

        return run_forecast(job)

    run_job("forecast", run, tables, data, params, allowed, as_of=as_of)


@app.command()
def effect(
    as_of: AsOf,
    allow_stale: AllowStale = False,
    tables: Tables = None,
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Estimate the effect of each playbook on renewals.

    Compares treated accounts with similar untreated ones (propensity-adjusted), in renewals that were decided before
    the date.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.effect import run_effect

        return run_effect(job)

    run_job("effect", run, tables, data, params, flag_overrides(overrides, allow_stale), as_of=as_of)


@app.command()
def explain(
    account: Annotated[str, typer.Argument(help="Account id.")],
    as_of: ListDate,
    tables: IgnoredTables = "",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Explain the score and the rank of an account on a list.

    Shows its scores, reasons, playbooks and alerts, the contribution of every feature, and its number of rows in each
    input table.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.explain import explain

        return explain(job, account)

    run_job("explain", run, tables, data, params, overrides, lists, as_of=as_of)


@app.command()
def whatif(
    account: Annotated[str, typer.Argument(help="Account id.")],
    as_of: ListDate,
    changes: Annotated[
        list[str], typer.Option("--set", metavar="FEATURE=VALUE", help="Value of one changed feature; repeatable.")
    ],
    tables: IgnoredTables = "",
    data: Data = DATA_FOLDER,
    lists: Lists = LISTS_FOLDER,
    params: Params = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", help="Override one parameter of the parameter file; repeatable."),
    ] = None,
) -> None:
    """Predict renewal for an account with changed feature values.

    The result is an association, not a causal effect. Other time windows of a changed feature move by the same number
    of ranks among the peers, unless they are set too.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.whatif import whatif

        return whatif(job, account, changes)

    run_job("whatif", run, tables, data, params, overrides, lists, as_of=as_of)


@app.command()
def collect(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Workbooks returned by managers.")],
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
    """Import managers' answers from returned workbooks.

    Stores verdicts, notes and actions in DATA/feedback; the actions become interventions. If answers are rejected, the
    others are stored, the rejected ones are listed in rejected_answers.csv there, and the exit code is 65.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.collect import collect

        return collect(job, files, recorded)

    run_job("collect", run, "", data, params, overrides, lists)


TargetName = Annotated[str, typer.Argument(help="Target of the model: renewal, upsell, cross_sell or expansion.")]


@app.command()
def promote(
    target: TargetName,
    version: Annotated[int, typer.Option(min=1, help="Number of the registered version.")],
    force: Annotated[
        bool, typer.Option("--force", help="Promote a version that the gate rejected; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Reason for the promotion; stored with the version.")] = "",
    data: Data = DATA_FOLDER,
    params: Params = None,
    overrides: Overrides = None,
) -> None:
    """Make a registered model version the champion."""
    if force and not reason.strip():
        raise typer.BadParameter(
            '--force needs --reason "…": why is this version promoted although the gate rejected it?'
        )

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.models import promote

        return promote(job, target, version, reason.strip() or None, force)

    run_job("promote", run, "", data, params, overrides)


@app.command()
def rollback(target: TargetName, data: Data = DATA_FOLDER, params: Params = None, overrides: Overrides = None) -> None:
    """Restore the previous champion.

    Run it again to go back further.
    """

    def run(job: Job) -> dict[str, Any]:
        from renewals.pipelines.commands.models import rollback

        return rollback(job, target)

    run_job("rollback", run, "", data, params, overrides)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, by default those of the process.

    A wrong command line prints its usage and the JSON line; the exit code is 2.
    """
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
