"""Forecast renewals, retention and growth of ARR for the next four quarters; write Parquet, and JSON with texts."""

from __future__ import annotations

import io
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis.expr.types as ir
import pandas as pd

from renewals.features.policy import Policy
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.scorecard import upcoming
from renewals.features.scorecard.totals import SEGMENTS, UNKNOWN_SEGMENT
from renewals.features.versions import accounts_known
from renewals.models.ranking import worklist
from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.job import Job, require_first_of_month
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.stages.prepare.ledger import open_ledger
from renewals.pipelines.storage.artifacts import (
    BACKTEST,
    FORECAST,
    FORECAST_FOLDER,
    FORECAST_SUMMARY,
    to_json_bytes,
    to_parquet_bytes,
)
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.old_keys import upgrade_backtest
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.words import MESSAGES, Messages

if TYPE_CHECKING:
    from renewals.models.forecast.quarter_effect import QuarterEffectPosterior
    from renewals.models.forecast.renewal_schedule import ForecastInputs

STEP = Step(after="score", commands=("score",), optional=True)

SEGMENT_COLUMNS = ("size_band", "industry", "csm")
"""Segments of the forecast, in addition to the company total."""
COLUMNS = [
    *("period_kind", "period", "period_start", "period_end", "segment_kind", "segment", "measure", "unit"),
    *("expected", "low", "high", "by_last_year", "by_size"),
]
JSON_COLUMNS = [name for name in COLUMNS if name not in ("period_start", "period_end", "unit")]
"""Columns of a row in the JSON, in this order; facts of a measure or a period are stored once, outside the rows."""


def forecast(job: Job) -> dict[str, Any]:
    """Write `forecast/forecast.parquet` and `.json` of the act date, from its scored list and the tables known then."""
    from renewals.models.forecast import simulation as forecasts
    from renewals.models.forecast.quarter_effect import fit_quarter_effect_sd

    require_first_of_month(job)
    score_summary, listed = read_scored_list(job)
    if RENEWAL not in score_summary["models"]:
        return _no_forecast(job, "there is no renewal model yet")
    past_predictions = load_backtest(job, score_summary["models"][RENEWAL]["version"])
    con = warehouse.connect(job.settings.engine)
    inputs = load_inputs(warehouse.clean_tables(con, job.data), job.day, job.settings)
    options = job.settings.forecast
    probabilities = list_probabilities(listed)
    quarter_effect = fit_quarter_effect_sd(past_predictions, inputs.day, options.quarter_effect_sd)
    rows = name_periods(
        forecasts.forecast_measures(inputs, probabilities, quarter_effect, options, SEGMENT_COLUMNS, UNKNOWN_SEGMENT),
        job.day,
    )
    folder = job.folder / FORECAST_FOLDER
    summary = forecast_json(rows, quarter_effect, inputs, job) | {"models": score_summary["models"]}
    atomic.write_bytes(folder / FORECAST, to_parquet_bytes(rows))
    atomic.write_bytes(folder / FORECAST_SUMMARY, to_json_bytes(summary))
    return {
        "as_of": job.day.isoformat(),
        "folder": str(folder),
        "rows": len(rows),
        "quarter_effect": summary["quarter_effect"],
    }


def list_probabilities(listed: pd.DataFrame) -> pd.DataFrame:
    """Probability of each renewal of the list: account_id, renewal_date, probability; one that gave notice is lost."""
    probability = listed["renewal_probability"].mask(listed["status"].eq(worklist.LEAVING), 0.0)
    return listed[["account_id", "renewal_date"]].assign(probability=probability)


def forecast_where_due(job: Job) -> dict[str, Any]:
    """Run the forecast as a DVC stage; if the day is not the first of a month, write only the reason to
    `forecast.json`."""
    if job.day.day == 1:
        return forecast(job)
    return _no_forecast(job, f"a forecast needs the first day of a month, not {job.day}")


def _no_forecast(job: Job, reason: str) -> dict[str, Any]:
    """Write the reason instead of a forecast, and return it."""
    summary = {"as_of": None, "no_forecast_reason": reason}
    atomic.write_bytes(job.folder / FORECAST_FOLDER / FORECAST_SUMMARY, to_json_bytes(summary))
    return summary


def load_backtest(job: Job, version: str) -> pd.DataFrame:
    """Load the back-test of a registered renewal model; one row per test observation.

    Read from the registry because the newest trained model may not be the one that scored the list. Raises the errors
    of `model_registry.fetch_version`.
    """
    files = model_registry.fetch_version(job, RENEWAL, version)
    return upgrade_backtest(pd.read_parquet(io.BytesIO(files[BACKTEST])))


def load_inputs(tables: dict[str, ir.Table], day: date, policy: Policy) -> ForecastInputs:
    """Load the forecast inputs: past and coming quarters, from the tables as known on `day`."""
    renewal_ledger = open_ledger(tables, upcoming.horizon_end(day, policy), policy, known_until=day)
    return forecast_inputs(renewal_ledger, tables["accounts"], day, day)


def forecast_inputs(renewal_ledger: RenewalLedger, accounts: ir.Table, day: date, known_at: date) -> ForecastInputs:
    """Build the forecast inputs for the quarters around `day`.

    `renewal_ledger` and `accounts` are used as known at `known_at`, which may be another day.
    """
    from renewals.models.forecast.renewal_schedule import ForecastInputs as Known

    numbers = range(1 - upcoming.HISTORY_QUARTERS, upcoming.FORECAST_QUARTERS + 1)
    months = [month for number in numbers for month in upcoming.quarter_months(day, number)]
    account_quarters = upcoming.account_quarters(
        renewal_ledger.account_roll_forward(months), day, numbers, renewal_ledger.policy
    )
    quarter_starts = {
        number: pd.Timestamp(upcoming.quarter_start(day, number))
        for number in (*numbers, upcoming.FORECAST_QUARTERS + 1)
    }
    return Known(
        day=pd.Timestamp(known_at),
        quarter_starts=quarter_starts,
        grace_days=renewal_ledger.policy.grace.after_days,
        quarters=_convert_units(account_quarters.to_pandas()),
        renewals=_convert_units(upcoming.renewal_sets(renewal_ledger).to_pandas()),
        accounts=accounts_known(accounts, known_at).select("account_id", "industry", "csm").to_pandas(),
    )


MONEY_COLUMNS = {
    *("opening", "gained", "lost", "kept", "retained"),
    *("amount_due", "amount_renewed", "amount_kept", "growth"),
}
DATE_COLUMNS = {"end_date", "due_at", "matured_at", "booked_month", "began", "followed_at", "moves_at", "lasts_until"}


def _convert_units(table: pd.DataFrame) -> pd.DataFrame:
    """Convert cents to currency units and dates to timestamps; one row per row of `table`, in a fixed order."""
    money = {name: table[name].astype("float64") / 100.0 for name in table.columns if name in MONEY_COLUMNS}
    days = {name: pd.to_datetime(table[name]) for name in table.columns if name in DATE_COLUMNS}
    key = [name for name in ("quarter", "account_id", "end_date", "due_at", "matured_at") if name in table]
    return table.assign(**money, **days).sort_values(key, kind="stable", ignore_index=True)


def name_periods(rows: pd.DataFrame, day: date) -> pd.DataFrame:
    """Add the period columns of the scorecard and the unit; drop rows without an expected value."""
    from renewals.models.forecast.renewal_schedule import QUARTERS_PER_YEAR

    starts = {number: pd.Timestamp(upcoming.quarter_start(day, number)) for number in range(1, QUARTERS_PER_YEAR + 2)}
    is_year = rows["quarter"] > QUARTERS_PER_YEAR
    begin = rows["quarter"].where(~is_year, 1).map(starts)
    end = rows["quarter"].where(is_year, rows["quarter"] + 1).map(starts)
    with_periods = rows.assign(
        period_kind=is_year.map({False: "quarter", True: "trailing_year"}),
        period=(end - pd.Timedelta(days=1)).dt.strftime("%Y-%m"),
        period_start=begin.dt.date,
        period_end=end.dt.date,
        unit=rows["measure"].map(MEASURE_UNITS),
    )
    return with_periods.dropna(subset="expected")[COLUMNS].reset_index(drop=True)


MEASURE_UNITS = {
    **dict.fromkeys(("opening_arr", "arr_due", "arr_decided", "arr_renewed", "arr_at_risk"), "money"),
    **dict.fromkeys(("revenue_renewal_rate", "gross_retention", "net_retention"), "share"),
}


def forecast_json(
    rows: pd.DataFrame, quarter_sd: QuarterEffectPosterior, inputs: ForecastInputs, job: Job
) -> dict[str, Any]:
    """Build the JSON content of the forecast: settings, definitions, segments, periods and the rows."""
    options = job.settings.forecast
    spans = rows[["period_kind", "period", "period_start", "period_end"]].drop_duplicates().astype(str)
    quarters = {"past_quarters": len(inputs.final_quarters), "naive_quarters": len(inputs.last_year_quarters)}
    return {
        "as_of": job.day.isoformat(),
        "currency": job.settings.money.reporting_currency,
        "confidence": options.confidence,
        "draws": options.draws,
        "quarter_effect": {"sd": round(quarter_sd.mean, 6), "quarters": quarter_sd.quarters},
        **quarters,
        "definitions": [define_measure(name, unit) for name, unit in MEASURE_UNITS.items()],
        "segments": {
            kind: dict(zip(("en", "zh"), SEGMENTS[kind], strict=True)) for kind in ("company", *SEGMENT_COLUMNS)
        },
        "periods": spans.to_dict("records"),
        "columns": JSON_COLUMNS,
        "rows": rows[JSON_COLUMNS].to_numpy(object).tolist(),
    }


def define_measure(measure: str, unit: str) -> dict[str, Any]:
    """Name and definition of a measure in every language, with its unit."""
    messages = {language: Messages(language) for language in MESSAGES}
    return {
        "measure": measure,
        "unit": unit,
        "name": {language: message.text(f"forecast.{measure}") for language, message in messages.items()},
        "definition": {language: message.text(f"forecast.about.{measure}") for language, message in messages.items()},
    }


if __name__ == "__main__":
    main(forecast_where_due)
