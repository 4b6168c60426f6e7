"""Backtest report: the model against each baseline, overall and by segment.

Each row of `predictions` is an observation with its outcome `label`, its `term`, and one probability column for the
model and for each baseline that could predict. Every model was trained before the observation was made. In the metrics
of a segment the rows of one term have a total weight of one. Intervals come from resampling accounts, separately for
each segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from renewals.models import metrics
from renewals.models.evaluation.capacity_recall import OFFER_ASSUMPTIONS, _ratio, recall_at_capacity
from renewals.models.evaluation.compared_rows import MODEL, BacktestSettings, Floats, JsonObject, compared_models
from renewals.models.evaluation.gate import large_segments
from renewals.models.metrics import Resampling
from renewals.models.settings import RENEWAL, GateSettings
from renewals.models.training.splits import KEY, term_weights
from renewals.models.training.uncertainty import probability_interval

IDLE_COLUMN = "days_since_last_use"
"""Days since the last use by anybody."""
SILENT_DAYS = 90
"""An account without use for longer than this is silent; its loss is rarely a surprise."""
MAX_AGE_MONTHS = 13
"""Models in their thirteenth month or older form one group."""
COVERAGE_LEVELS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Shares of rows that remain after the rows with the most out-of-range values are removed."""
DECILES = 10


def evaluation_rows(predictions: pd.DataFrame, target: str, gate: GateSettings) -> pd.DataFrame:
    """Rows that are evaluated: one per renewal at the gate's lead time; for expansion targets every row."""
    rows = metrics.select_at_lead(predictions, gate.lead_days) if target == RENEWAL else predictions
    return rows.reset_index(drop=True)


def positive_class(truth: Any, probability: Any, target: str) -> tuple[Any, Any]:
    """Truth and probability of the outcome to be ranked at the top: the loss, or the expansion."""
    return (1 - truth, 1 - probability) if target == RENEWAL else (truth, probability)


def model_metrics(rows: pd.DataFrame, model_name: str, target: str, weighted: bool = False) -> dict[str, float]:
    """Every metric of one model or baseline on these rows, by name.

    Metrics of the top of the ranking count losses, or expansions for expansion targets.
    """
    truth, probability = rows["label"].to_numpy(), rows[model_name].to_numpy()
    weight = term_weights(rows["term"]) if weighted else None
    top = positive_class(truth, probability, target)
    return {
        "auc": metrics.auc(truth, probability, weight),
        "average_precision": metrics.average_precision(*top, weight),
        "log_loss": metrics.log_loss(truth, probability, weight),
        "brier": metrics.brier(truth, probability, weight),
        "mean_predicted": metrics.mean_predicted(truth, probability, weight),
        "calibration_slope": metrics.calibration_slope(truth, probability, weight),
        "calibration_intercept": metrics.calibration_intercept(truth, probability, weight),
        "calibration_error": metrics.calibration_error(truth, probability, weight),
        "lift_top_tenth": metrics.lift(*top, weight),
        "recall_top_fifth": metrics.recall_at(*top, weight, top_share=0.2),
    }


def build_report(
    predictions: pd.DataFrame,
    predictions_by_model_age: pd.DataFrame,
    account_effect_sd: float,
    settings: BacktestSettings,
) -> JsonObject:
    """Build the backtest report of one target: overall, by segment, activity, period and model age.

    For renewals it also contains lead times, recall at capacity, interval coverage and profit.

    `predictions` holds rows that were not decided yet. `predictions_by_model_age` holds the predictions of models of
    every age (`models.training.walk_forward.predict_by_model_age`). `account_effect_sd` is the standard deviation, in
    log-odds, of the accounts' true probabilities around the prediction (`models.training.uncertainty`).
    """
    evaluated = evaluation_rows(predictions, settings.target, settings.gate)
    report = {
        "overall": compare_models(evaluated, settings),
        "segments": [
            {"segment": name, **compare_models(rows, settings)}
            for name, rows in split_segments(evaluated, settings.gate)
        ],
        "activity": [
            {"activity": name, **compare_models(rows, settings)} for name, rows in split_by_activity(evaluated)
        ],
        "quarters": metrics_by_period(evaluated, settings.target, "Q"),
        "months": metrics_by_period(evaluated, settings.target, "M"),
        "by_model_age": metrics_by_model_age(evaluated, predictions_by_model_age, settings),
        "risk_coverage": risk_coverage(evaluated, predictions_by_model_age),
        "calibration": calibration_table(evaluated),
    }
    if settings.target != RENEWAL:
        return report
    leads = {days: metrics.select_at_lead(predictions, days).reset_index(drop=True) for days in metrics.LEAD_DAYS}
    return {
        **report,
        "leads": [{"lead_days": days, **compare_models(rows, settings)} for days, rows in leads.items() if len(rows)],
        "capacity": recall_at_capacity(predictions, settings),
        "interval_coverage": interval_coverage(evaluated, account_effect_sd),
        "profit": empb_profit(evaluated),
    }


# --- the model and the baselines --------------------------------------------------------------------


def compare_models(rows: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    """Metrics of every model on these rows, with intervals, and the model's log-loss gain over each baseline."""
    weight, names = _row_weights(rows), compared_models(rows)
    report: JsonObject = {
        "rows": len(rows),
        "terms": int(rows["term"].nunique()),
        "accounts": int(rows["account_id"].nunique()),
        "mean_observed": metrics.mean_observed(rows["label"], rows[MODEL], weight),
        "models": {name: _model_report(rows, name, weight, settings) for name in names},
    }
    if not len(rows):
        return {**report, "gain_over": {}}
    return {
        **report,
        "gain_over": {name: _gain_over_baseline(rows, name, weight, settings.resampling) for name in names[1:]},
    }


def _model_report(rows: pd.DataFrame, name: str, weight: Floats, settings: BacktestSettings) -> JsonObject:
    figures: JsonObject = dict(model_metrics(rows, name, settings.target, weighted=True)) if len(rows) else {}
    if not len(rows):
        return figures
    arguments = (rows["label"].to_numpy(), rows[name].to_numpy(), rows["account_id"], settings.resampling, weight)
    return {
        **figures,
        "calibration_error_by_chance": metrics.calibration_error_by_chance(rows[name], weight),
        "auc_interval": list(metrics.auc_interval(*arguments)),
        "log_loss_interval": list(metrics.log_loss_interval(*arguments)),
    }


def _gain_over_baseline(rows: pd.DataFrame, baseline: str, weight: Floats, resampling: Resampling) -> JsonObject:
    value, low, high = metrics.log_loss_gain(
        rows["label"], rows[MODEL], rows[baseline], rows["account_id"], resampling, weight
    )
    return {"value": value, "low": low, "high": high, "verdict": verdict(low, high)}


def verdict(low: float, high: float) -> str:
    """`better` or `worse` if the whole interval of the gain is above or below zero, else `no_difference`."""
    return "better" if low > 0 else "worse" if high < 0 else "no_difference"


def _row_weights(rows: pd.DataFrame) -> Floats:
    return term_weights(rows["term"]) if len(rows) else np.zeros(0)


# --- segments and periods ----------------------------------------------------------------------------


def split_segments(evaluated_rows: pd.DataFrame, gate: GateSettings) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Yield each segment that is large enough to evaluate, as ([column, value], its rows)."""
    for column in (name for name in gate.segments if name in evaluated_rows.columns):
        one_column = gate.model_copy(update={"segments": (column,)})
        for name, rows in large_segments(evaluated_rows, one_column):
            yield [column, name.removeprefix(f"{column} ")], rows.reset_index(drop=True)


def split_by_activity(evaluated_rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of active accounts and of silent ones, as (name, rows); nothing if the data contain no use."""
    if IDLE_COLUMN not in evaluated_rows.columns:
        return
    silent = ~(evaluated_rows[IDLE_COLUMN] <= SILENT_DAYS)
    for name, where in (("active", ~silent), ("silent", silent)):
        if where.any():
            yield name, evaluated_rows[where].reset_index(drop=True)


def metrics_by_period(evaluated_rows: pd.DataFrame, target: str, length: Literal["M", "Q"]) -> list[JsonObject]:
    """Predicted and observed share, AUC and log loss for each month or quarter; one record per period.

    The period is that of the renewal date, for expansion targets that of the observation.
    """
    day = evaluated_rows["renewal_date" if target == RENEWAL else "as_of"]
    return [
        _period_metrics(str(name), rows) for name, rows in evaluated_rows.groupby(day.dt.to_period(length), sort=True)
    ]


def _period_metrics(name: str, rows: pd.DataFrame) -> JsonObject:
    weight, truth = _row_weights(rows), rows["label"].to_numpy()
    per_model = {
        model_name: {
            "auc": metrics.auc(truth, rows[model_name], weight),
            "log_loss": metrics.log_loss(truth, rows[model_name], weight),
        }
        for model_name in compared_models(rows)
    }
    return {
        "period": name,
        "terms": int(rows["term"].nunique()),
        "mean_observed": metrics.mean_observed(truth, truth, weight),
        "mean_predicted": metrics.mean_predicted(truth, rows[MODEL], weight),
        "models": per_model,
    }


def calibration_table(evaluated_rows: pd.DataFrame) -> list[JsonObject]:
    """Mean predicted and mean observed share, one record per tenth of the predictions."""
    if not len(evaluated_rows):
        return []
    return _to_records(
        metrics.calibration_curve(evaluated_rows["label"], evaluated_rows[MODEL], _row_weights(evaluated_rows))
    )


# --- recall within the managers' capacity -----------------------------------------------------------


# --- age of the model ---------------------------------------------------------------------------------


def metrics_by_model_age(
    evaluated_rows: pd.DataFrame, predictions_by_model_age: pd.DataFrame, settings: BacktestSettings
) -> list[JsonObject]:
    """Metrics of models in their 1st, 2nd, … month and of the newest model on the same rows; one entry per month.

    A model is in its first month on the day of its training. The origins determine which ages occur. If a newer model
    predicted some of the rows of an age, only those rows count; if none did, there is no comparison.
    """
    youngest = evaluated_rows[[*KEY, "label", "term", MODEL, "origin"]].rename(columns={"origin": "newest"})
    rows = predictions_by_model_age[[*KEY, "origin", "probability"]].merge(youngest, on=KEY, validate="many_to_one")
    if not len(rows):
        return []
    age = (_month_number(rows["as_of"]) - _month_number(rows["origin"]) + 1).clip(upper=MAX_AGE_MONTHS)
    return [{"month": month, **_age_metrics(rows[age == month], settings)} for month in sorted(set(age.tolist()))]


def _month_number(day: pd.Series) -> pd.Series:
    return day.dt.year * 12 + day.dt.month


def _age_metrics(rows: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    rows = rows.sort_values("origin", kind="stable").drop_duplicates(KEY, keep="last")
    older = rows[rows["origin"] < rows["newest"]]
    newest = _compare_with_newest(older, settings) if len(older) else dict.fromkeys(NEWEST_METRICS)
    rows = older if len(older) else rows
    truth, weight = rows["label"].to_numpy(), _row_weights(rows)
    return {
        "rows": len(rows),
        "model_count": int(rows["origin"].nunique()),
        "auc": metrics.auc(truth, rows["probability"], weight),
        "log_loss": metrics.log_loss(truth, rows["probability"], weight),
        **newest,
    }


NEWEST_METRICS = ("newest_auc", "newest_log_loss", "newest_month", "gain")


def _compare_with_newest(rows: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    """Metrics of the newest models on the rows of older models, and the older models' log-loss gain over them."""
    truth, weight = rows["label"].to_numpy(), _row_weights(rows)
    gain = metrics.log_loss_gain(
        truth, rows["probability"], rows[MODEL], rows["account_id"], settings.resampling, weight
    )
    return {
        "newest_auc": metrics.auc(truth, rows[MODEL], weight),
        "newest_log_loss": metrics.log_loss(truth, rows[MODEL], weight),
        "newest_month": float((_month_number(rows["as_of"]) - _month_number(rows["newest"]) + 1).mean()),
        "gain": dict(zip(("value", "low", "high"), gain, strict=True)),
    }


# --- out-of-range rows, profit and intervals ----------------------------------------------------------


def risk_coverage(evaluated_rows: pd.DataFrame, predictions_by_model_age: pd.DataFrame) -> list[JsonObject]:
    """Log loss and AUC after the rows with the most out-of-range values are removed; one entry per share that remains.

    Rows with equal shares of out-of-range values stay or go together, so slightly more rows than the requested share
    may remain.
    """
    merged = evaluated_rows.merge(
        predictions_by_model_age[[*KEY, "origin", "out_of_range_share"]], on=[*KEY, "origin"], validate="one_to_one"
    )
    report: list[JsonObject] = []
    for share in COVERAGE_LEVELS if len(merged) else ():
        limit = float(merged["out_of_range_share"].quantile(share, interpolation="higher"))
        remaining = merged[merged["out_of_range_share"] <= limit]
        if report and len(remaining) == report[-1]["rows"]:
            continue
        truth, probability, weight = remaining["label"], remaining[MODEL], _row_weights(remaining)
        report.append(
            {
                "coverage": len(remaining) / len(merged),
                "rows": len(remaining),
                "out_of_range_share": limit,
                "log_loss": metrics.log_loss(truth, probability, weight),
                "auc": metrics.auc(truth, probability, weight),
            }
        )
    return report


def empb_profit(evaluated_rows: pd.DataFrame) -> JsonObject:
    """Maximum profit per account of contacting the top of each model's ranking (EMPB, Janssens and others 2022).

    Each account above the cut is contacted at `contact_cost` and offered `incentive_fraction` of its ARR. Of the
    accounts about to leave, a share drawn from Beta(alpha, beta) stays. The cut is the best one in hindsight, so the
    figures compare rankings and are no forecast of profit.
    """
    if "arr" not in evaluated_rows.columns or not len(evaluated_rows):
        return {"skipped": "no_arr"}
    from empulse.metrics import empb_score  # slow to import

    loss, arr = 1 - evaluated_rows["label"].to_numpy(), evaluated_rows["arr"].fillna(0.0).to_numpy(np.float64)
    profits = {
        name: float(empb_score(loss, 1 - evaluated_rows[name].to_numpy(), clv=arr, **OFFER_ASSUMPTIONS))
        for name in compared_models(evaluated_rows)
    }
    return {**OFFER_ASSUMPTIONS, "models": profits}


def interval_coverage(evaluated_rows: pd.DataFrame, account_effect_sd: float, confidence: float = 0.8) -> JsonObject:
    """Compare the observed share of each tenth of the predictions with the mean interval of its accounts.

    Returns the share of tenths within their interval and one record per tenth.

    An interval describes an account's own probability, which one outcome does not show; only the mean over many rows
    can be observed. So this check finds intervals in the wrong place, not intervals that are too wide. Every row uses
    the standard deviation of the current model.
    """
    low, high = probability_interval(evaluated_rows[MODEL].to_numpy(np.float64), account_effect_sd, confidence)
    rows = pd.DataFrame(
        {"mean_predicted": evaluated_rows[MODEL], "low": low, "high": high, "mean_observed": evaluated_rows["label"]}
    )
    order = rows["mean_predicted"].rank(method="first", pct=True)
    groups = rows.groupby(np.ceil(order * DECILES).astype(int)).mean()
    groups["covered"] = (groups["low"] <= groups["mean_observed"]) & (groups["mean_observed"] <= groups["high"])
    covered = _ratio(groups["covered"].sum(), len(groups))
    return {
        "confidence": confidence,
        "account_effect_sd": account_effect_sd,
        "covered": covered,
        "groups": _to_records(groups),
    }


def _to_records(table: pd.DataFrame) -> list[JsonObject]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
