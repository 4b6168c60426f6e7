"""`renewals`: the one command for people and schedulers. Heavy imports wait until a command runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Which contracts will be bought again, and which accounts will grow: learn from closed history, act on a day.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Tables = Annotated[
    str,
    typer.Option(help="The tables: a folder of Parquet or CSV, duckdb:///FILE or postgresql://…", show_default=True),
]
Data = Annotated[Path, typer.Option(help="Where intermediate tables, models and MLflow live.")]
Params = Annotated[Path | None, typer.Option(help="The parameter file.  [default: params.yaml where there is one]")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one parameter; repeatable.")]
Lists = Annotated[Path, typer.Option(help="Where lists/<as-of>/ is published.")]
AsOf = Annotated[str, typer.Option(metavar="DATE", help="The day of the list, YYYY-MM-DD: nothing known later is used.")]
Until = Annotated[str, typer.Option(metavar="DATE", help="The day it pretends to stand on, YYYY-MM-DD.")]

HERE = Path("data")
LISTS = Path("lists")


@app.command()
def demo(
    data: Data = Path("demo"),
    lists: Lists = LISTS,
    params: Params = None,
    overrides: Set = None,
) -> None:
    """Make the example company, learn from its history and publish a list."""
    from pipelines.demo import demo as work

    _run(lambda job: work(job), str(data / "company"), data, params, overrides, lists=lists)


@app.command()
def check(tables: Tables = "data/company", data: Data = HERE, params: Params = None, overrides: Set = None) -> None:
    """Hold the tables against the contract; set aside what breaks it; write the certificate."""
    from pipelines.check import check as work

    _run(work, tables, data, params, overrides)


@app.command()
def learn(
    until: Until,
    tables: Tables = "data/company",
    data: Data = HERE,
    params: Params = None,
    overrides: Set = None,
) -> None:
    """Check the tables, build features and labels, train, back-test, register, and let the gate decide."""
    from pipelines.learn import learn as work

    _run(work, tables, data, params, overrides, until=until)


@app.command()
def score(
    as_of: AsOf,
    tables: Tables = "data/company",
    data: Data = HERE,
    lists: Lists = LISTS,
    params: Params = None,
    overrides: Set = None,
) -> None:
    """Score every account with a renewal in sight with the champion, and publish the list."""
    from pipelines.act import act as work

    _run(work, tables, data, params, overrides, lists=lists, as_of=as_of)


@app.command()
def explain(
    account: Annotated[str, typer.Argument(help="The account's id.")],
    as_of: AsOf,
    tables: Tables = "data/company",
    data: Data = HERE,
    lists: Lists = LISTS,
    params: Params = None,
    overrides: Set = None,
) -> None:
    """Why this account: probability, reasons, strengths, and what each feature family adds."""
    from pipelines.act import explain_account

    _run(lambda job: explain_account(job, account), tables, data, params, overrides, lists=lists, as_of=as_of)


def _run(
    work: Callable[[Any], dict[str, Any]],
    tables: str,
    data: Path,
    params: Path | None,
    overrides: list[str] | None,
    lists: Path = LISTS,
    **days: str,
) -> None:
    from pipelines import stage

    def prepared() -> dict[str, Any]:
        from pipelines.settings import read_settings

        file = params or (Path("params.yaml") if Path("params.yaml").exists() else None)
        when = {name: stage.iso_date(text, f"--{name.replace('_', '-')}") for name, text in days.items()}
        settings = read_settings(file, overrides or ())
        return work(stage.Job(settings, tables, data, lists, **when))

    raise typer.Exit(stage.run(prepared))


if __name__ == "__main__":
    app()
