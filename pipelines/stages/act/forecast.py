"""What will be renewed, kept and bought in the four quarters from a day on, as Parquet and as JSON with its words."""

from __future__ import annotations

import io
import itertools
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis.expr.types as ir
import pandas as pd

from renewals.features.point_in_time import known_on
from renewals.features.revenue.ledger import Book
from renewals.features.scorecard import upcoming
from renewals.features.scorecard.totals import SEGMENTS, UNKNOWN
from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.job import Job, first_of_month
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import (
    BACKTEST,
    FORECAST,
    FORECAST_FOLDER,
    FORECAST_SUMMARY,
    as_json,
    as_parquet,
)
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.scored_list import read_scored
from renewals.reports.words import LANGUAGES, Words

if TYPE_CHECKING:
    from renewals.models.forecast.quarter_effect import Spread
    from renewals.models.forecast.renewal_schedule import Standing

DIVIDED = ("size_band", "industry", "csm")
"""What the forecast is divided by, beside the company."""
COLUMNS = [
    *("period_kind", "period", "period_start", "period_end", "segment_kind", "segment", "measure", "unit"),
    *("expected", "low", "high", "by_last_year", "by_size"),
]
SAID = [name for name in COLUMNS if name not in ("period_start", "period_end", "unit")]
"""What the JSON says of a row, in this order; what hangs on the measure or the period alone stands there once."""


def forecast(job: Job) -> dict[str, Any]:
    """Write `forecast/forecast.parquet` and `.json` of the act date, from its scores and all that was known then."""
    from renewals.models.forecast import simulation as forecasts
    from renewals.models.forecast.quarter_effect import spread

    first_of_month(job)
    standing_on, listed = read_scored(job)
    said = read_backtest(job, standing_on["models"][RENEWAL]["version"])
    con = warehouse.connect(job.settings.engine)
    known = known_on_day(con, warehouse.clean_tables(con, job.data), job.day, job)
    options = job.settings.forecast
    chances = listed[["account_id", "renewal_date", "renewal_probability"]]
    chances = chances.rename(columns={"renewal_probability": "probability"})
    shock = spread(said, known.day, options.usual_spread)
    rows = dated(forecasts.forecast(known, chances, shock, options, DIVIDED, UNKNOWN), job.day)
    folder = job.side / FORECAST_FOLDER
    told = said_of(rows, shock, known, job) | {"models": standing_on["models"]}
    atomic.write_bytes(folder / FORECAST, as_parquet(rows))
    atomic.write_bytes(folder / FORECAST_SUMMARY, as_json(told))
    return {"as_of": job.day.isoformat(), "folder": str(folder), "rows": len(rows), "shock": told["shock"]}


def forecast_where_due(job: Job) -> dict[str, Any]:
    """Forecast as a stage of DVC: on another day than the first of a month `forecast.json` says why there is none."""
    if job.day.day == 1:
        return forecast(job)
    told = {"as_of": None, "absent": f"a forecast stands on the first day of a month, not on {job.day}"}
    atomic.write_bytes(job.side / FORECAST_FOLDER / FORECAST_SUMMARY, as_json(told))
    return told


def read_backtest(job: Job, version: str) -> pd.DataFrame:
    """The back-test of a registered model of renewals; one row per tested observation.

    The last learning may be of another model than the one that scored the list. Raises as `tracking.registered` does.
    """
    return pd.read_parquet(io.BytesIO(model_registry.registered(job, RENEWAL, version)[BACKTEST]))


def known_on_day(con: Any, tables: dict[str, ir.Table], day: date, job: Job) -> Standing:
    """What was known on the day of past and coming quarters."""
    book = opened(con, tables, day, upcoming.ahead(day, job.settings), job)
    return standing(book, tables["accounts"], day, day)


def standing(book: Book, accounts: ir.Table, day: date, known_at: date) -> Standing:
    """The quarters about a day, as a book has them whose contracts are those known on another."""
    from renewals.models.forecast.renewal_schedule import Standing as Known

    numbers = range(1 - upcoming.BEHIND, upcoming.AHEAD + 1)
    months = [month for number in numbers for month in upcoming.months_of(day, number)]
    moved = upcoming.quarters(book.account_roll_forward(months), day, numbers, book.policy)
    edges = {number: pd.Timestamp(upcoming.quarter_start(day, number)) for number in (*numbers, upcoming.AHEAD + 1)}
    return Known(
        day=pd.Timestamp(known_at),
        edges=edges,
        grace_days=book.policy.grace.after_days,
        quarters=_in_units(moved.to_pandas()),
        sets=_in_units(upcoming.sets_due(book).to_pandas()),
        accounts=known_on("accounts", accounts, known_at).select("account_id", "industry", "csm").to_pandas(),
    )


def opened(con: Any, tables: dict[str, ir.Table], known_at: date, at: date, job: Job) -> Book:
    """The contracts known on one day, in a book opened on another, with what others build on computed once."""
    known = {
        name: known_on(name, tables[name], known_at) for name in ("contracts", "accounts", "rates") if name in tables
    }
    paid = bool(known["contracts"].paid_at.notnull().any().to_pyarrow().as_py())
    numbers, name = itertools.count(), f"outlook_{known_at:%Y%m%d}_{at:%Y%m%d}"

    def keep(table: ir.Table) -> ir.Table:
        return con.create_table(f"{name}_{next(numbers)}", table, temp=True, overwrite=True)

    return Book(known["contracts"], at, job.settings, paid, known.get("rates"), known["accounts"], keep)


MONEY = {"opening", "closing", "lost", "kept", "amount_due", "amount_renewed", "amount_kept", "growth"}
DAYS = {"end_date", "due_at", "matured_at", "began", "followed_at", "moves_at", "lasts_until"}


def _in_units(table: pd.DataFrame) -> pd.DataFrame:
    """Cents as units of the currency, and days as instants; one row per row given, in one order."""
    money = {name: table[name].astype("float64") / 100.0 for name in table.columns if name in MONEY}
    days = {name: pd.to_datetime(table[name]) for name in table.columns if name in DAYS}
    key = [name for name in ("quarter", "account_id", "end_date", "due_at", "matured_at") if name in table]
    return table.assign(**money, **days).sort_values(key, kind="stable", ignore_index=True)


def dated(rows: pd.DataFrame, day: date) -> pd.DataFrame:
    """The rows that say anything, under the names of the scorecard's periods."""
    from renewals.models.forecast.renewal_schedule import YEAR

    starts = {number: pd.Timestamp(upcoming.quarter_start(day, number)) for number in range(1, YEAR + 2)}
    whole = rows["quarter"] > YEAR
    begin = rows["quarter"].where(~whole, 1).map(starts)
    end = rows["quarter"].where(whole, rows["quarter"] + 1).map(starts)
    named = rows.assign(
        period_kind=whole.map({False: "quarter", True: "trailing_year"}),
        period=(end - pd.Timedelta(days=1)).dt.strftime("%Y-%m"),
        period_start=begin.dt.date,
        period_end=end.dt.date,
        unit=rows["measure"].map(UNITS),
    )
    return named.dropna(subset="expected")[COLUMNS].reset_index(drop=True)


UNITS = {
    **dict.fromkeys(("opening_arr", "arr_due", "arr_decided", "arr_renewed", "arr_at_risk"), "money"),
    **dict.fromkeys(("revenue_renewal_rate", "gross_retention", "net_retention"), "share"),
}


def said_of(rows: pd.DataFrame, shock: Spread, known: Standing, job: Job) -> dict[str, Any]:
    """The rows once more, with all the words that explain them."""
    options = job.settings.forecast
    spans = rows[["period_kind", "period", "period_start", "period_end"]].drop_duplicates().astype(str)
    quarters = {"past_quarters": len(known.final), "naive_quarters": len(known.last_year)}
    return {
        "as_of": job.day.isoformat(),
        "currency": job.settings.money.reporting_currency,
        "confidence": options.confidence,
        "draws": options.draws,
        "shock": {"spread": round(shock.mean, 6), "quarters": shock.quarters},
        **quarters,
        "definitions": [definition(name, unit) for name, unit in UNITS.items()],
        "segments": {kind: dict(zip(("en", "zh"), SEGMENTS[kind], strict=True)) for kind in ("company", *DIVIDED)},
        "periods": spans.to_dict("records"),
        "columns": SAID,
        "rows": rows[SAID].to_numpy(object).tolist(),
    }


def definition(measure: str, unit: str) -> dict[str, Any]:
    """What a measure means, in every language."""
    words = {language: Words(language) for language in LANGUAGES}
    return {
        "measure": measure,
        "unit": unit,
        "name": {language: own.say(f"forecast.{measure}") for language, own in words.items()},
        "definition": {language: own.say(f"forecast.about.{measure}") for language, own in words.items()},
    }


if __name__ == "__main__":
    main(forecast_where_due)
