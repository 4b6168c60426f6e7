"""What the words of the past were worth: the model beside every baseline, on the whole and in parts.

`predictions` rows are observations with the outcome `label`, the `term` they belong to, and one column per speaker: the
model and each baseline that could speak, each trained before the observation was made. Figures of a part weigh the rows
of a term one together, as everywhere. Intervals are over resampled accounts, each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models import metrics
from renewals.models.evaluation.baselines import BASELINE_NAMES
from renewals.models.evaluation.gate import large_segments
from renewals.models.metrics import Resampling
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import add_log_odds
from renewals.models.settings import RENEWAL, GateSettings
from renewals.models.training.splits import KEY, term_weights
from renewals.models.training.uncertainty import probability_interval

Floats = npt.NDArray[np.float64]
JsonObject = dict[str, Any]

MODEL = "model"
IDLE_COLUMN = "days_since_last_use"
"""Days since anybody did anything."""
SILENT_DAYS = 90
"""Nobody did anything for longer: the account has gone silent, and its loss is seldom news."""
MAX_AGE_MONTHS = 13
"""Models in their thirteenth month and older are looked at together."""
COVERAGE_LEVELS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""The shares of rows that are kept when the strangest are left out."""
DECILES = 10
EARLY_SHARE = 0.2
"""The part of each list that is looked at apart, for where everything fits the capacity says nothing."""
OFFER_ASSUMPTIONS = {"alpha": 6, "beta": 14, "incentive_fraction": 0.05, "contact_cost": 15}
"""What the measure of expected profit takes for granted, as its authors do: three in ten accept 5 % of the revenue."""


@dataclass(frozen=True)
class BacktestSettings:
    """What is judged, and how: the target, how intervals are drawn, and what a manager can carry."""

    target: str
    gate: GateSettings
    portfolio_limits: Callable[[str | None], worklist.PortfolioLimits]
    assumed_effect: float = 0.0
    """What a play that saves is taken to add to the log-odds of renewing."""
    decided_days: int = 0
    """Decisions have fallen so long before the end."""

    @property
    def resampling(self) -> Resampling:
        """How every interval is resampled."""
        return Resampling(self.gate.bootstrap_samples, self.gate.confidence)


def compared_models(predictions: pd.DataFrame) -> list[str]:
    """The model and the baselines that could speak."""
    return [name for name in (MODEL, *BASELINE_NAMES) if name in predictions.columns]


def evaluation_rows(predictions: pd.DataFrame, target: str, gate: GateSettings) -> pd.DataFrame:
    """The rows that are judged: one per renewal at the gate's lead; every row where growth is asked."""
    rows = metrics.select_at_lead(predictions, gate.lead_days) if target == RENEWAL else predictions
    return rows.reset_index(drop=True)


def positive_class(truth: Any, probability: Any, target: str) -> tuple[Any, Any]:
    """What is looked for at the top: losses, or for expansion the growing."""
    return (1 - truth, 1 - probability) if target == RENEWAL else (truth, probability)


def model_metrics(rows: pd.DataFrame, model_name: str, target: str, weighted: bool = False) -> dict[str, float]:
    """Every metric of one speaker on these rows. What is found at the top are losses, or for expansion the growing."""
    truth, chance = rows["label"].to_numpy(), rows[model_name].to_numpy()
    weight = term_weights(rows["term"]) if weighted else None
    top = positive_class(truth, chance, target)
    return {
        "auc": metrics.auc(truth, chance, weight),
        "average_precision": metrics.average_precision(*top, weight),
        "log_loss": metrics.log_loss(truth, chance, weight),
        "brier": metrics.brier(truth, chance, weight),
        "mean_predicted": metrics.mean_predicted(truth, chance, weight),
        "calibration_slope": metrics.calibration_slope(truth, chance, weight),
        "calibration_intercept": metrics.calibration_intercept(truth, chance, weight),
        "calibration_error": metrics.calibration_error(truth, chance, weight),
        "lift_top_tenth": metrics.lift(*top, weight),
        "recall_top_fifth": metrics.recall_at(*top, weight, top_share=0.2),
    }


def build_report(
    predictions: pd.DataFrame,
    predictions_by_model_age: pd.DataFrame,
    account_effect_sd: float,
    settings: BacktestSettings,
) -> JsonObject:
    """Everything that is told of one target.

    `predictions` rows are not yet decided; `predictions_by_model_age` are the words of models of every age
    (`models.training.walk_forward.predict_by_model_age`); `account_effect_sd` is how far the accounts' own chances lie
    about what is said (`models.training.uncertainty`).
    """
    judged = evaluation_rows(predictions, settings.target, settings.gate)
    told = {
        "overall": compare_models(judged, settings),
        "segments": [
            {"segment": name, **compare_models(rows, settings)} for name, rows in split_segments(judged, settings.gate)
        ],
        "activity": [{"activity": name, **compare_models(rows, settings)} for name, rows in split_by_activity(judged)],
        "quarters": metrics_by_period(judged, settings.target, "Q"),
        "months": metrics_by_period(judged, settings.target, "M"),
        "by_model_age": metrics_by_model_age(judged, predictions_by_model_age, settings),
        "risk_coverage": risk_coverage(judged, predictions_by_model_age),
        "calibration": calibration_table(judged),
    }
    if settings.target != RENEWAL:
        return told
    leads = {days: metrics.select_at_lead(predictions, days).reset_index(drop=True) for days in metrics.LEAD_DAYS}
    return {
        **told,
        "leads": [{"lead_days": days, **compare_models(rows, settings)} for days, rows in leads.items() if len(rows)],
        "capacity": recall_at_capacity(predictions, settings),
        "interval_coverage": interval_coverage(judged, account_effect_sd),
        "profit": empb_profit(judged),
    }


# --- the model beside the baselines ----------------------------------------------------------------


def compare_models(rows: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    """How every speaker did on some rows, with intervals, and by how much the model did better than each baseline."""
    weight, names = _row_weights(rows), compared_models(rows)
    told: JsonObject = {
        "rows": len(rows),
        "terms": int(rows["term"].nunique()),
        "accounts": int(rows["account_id"].nunique()),
        "mean_observed": metrics.mean_observed(rows["label"], rows[MODEL], weight),
        "models": {name: _model_report(rows, name, weight, settings) for name in names},
    }
    if not len(rows):
        return {**told, "gain_over": {}}
    return {
        **told,
        "gain_over": {name: _gain_over_baseline(rows, name, weight, settings.resampling) for name in names[1:]},
    }


def _model_report(rows: pd.DataFrame, name: str, weight: Floats, settings: BacktestSettings) -> JsonObject:
    found: JsonObject = dict(model_metrics(rows, name, settings.target, weighted=True)) if len(rows) else {}
    if not len(rows):
        return found
    about = (rows["label"].to_numpy(), rows[name].to_numpy(), rows["account_id"], settings.resampling, weight)
    return {
        **found,
        "calibration_error_by_chance": metrics.calibration_error_by_chance(rows[name], weight),
        "auc_interval": list(metrics.auc_interval(*about)),
        "log_loss_interval": list(metrics.log_loss_interval(*about)),
    }


def _gain_over_baseline(rows: pd.DataFrame, baseline: str, weight: Floats, resampling: Resampling) -> JsonObject:
    value, low, high = metrics.log_loss_gain(
        rows["label"], rows[MODEL], rows[baseline], rows["account_id"], resampling, weight
    )
    return {"value": value, "low": low, "high": high, "verdict": verdict(low, high)}


def verdict(low: float, high: float) -> str:
    """`better` or `worse` where the interval of the gain lies wholly on one side of nought; else `no_difference`."""
    return "better" if low > 0 else "worse" if high < 0 else "no_difference"


def _row_weights(rows: pd.DataFrame) -> Floats:
    return term_weights(rows["term"]) if len(rows) else np.zeros(0)


# --- parts ----------------------------------------------------------------------------------------


def split_segments(evaluated_rows: pd.DataFrame, gate: GateSettings) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """The segments that are large enough to judge, as [column, value], with their rows."""
    for column in (name for name in gate.segments if name in evaluated_rows.columns):
        one = gate.model_copy(update={"segments": (column,)})
        for name, rows in large_segments(evaluated_rows, one):
            yield [column, name.removeprefix(f"{column} ")], rows.reset_index(drop=True)


def split_by_activity(evaluated_rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Accounts that were still in use, and those already silent; nothing where use is not known."""
    if IDLE_COLUMN not in evaluated_rows.columns:
        return
    silent = ~(evaluated_rows[IDLE_COLUMN] <= SILENT_DAYS)
    for name, where in (("active", ~silent), ("silent", silent)):
        if where.any():
            yield name, evaluated_rows[where].reset_index(drop=True)


def metrics_by_period(evaluated_rows: pd.DataFrame, target: str, length: Literal["M", "Q"]) -> list[JsonObject]:
    """What was promised and what came, by the renewal's month or quarter; the observation's where growth is asked."""
    day = evaluated_rows["renewal_date" if target == RENEWAL else "as_of"]
    return [
        _period_metrics(str(name), rows) for name, rows in evaluated_rows.groupby(day.dt.to_period(length), sort=True)
    ]


def _period_metrics(name: str, rows: pd.DataFrame) -> JsonObject:
    weight, truth = _row_weights(rows), rows["label"].to_numpy()
    both = {
        speaker: {
            "auc": metrics.auc(truth, rows[speaker], weight),
            "log_loss": metrics.log_loss(truth, rows[speaker], weight),
        }
        for speaker in compared_models(rows)
    }
    return {
        "period": name,
        "terms": int(rows["term"].nunique()),
        "mean_observed": metrics.mean_observed(truth, truth, weight),
        "mean_predicted": metrics.mean_predicted(truth, rows[MODEL], weight),
        "models": both,
    }


def calibration_table(evaluated_rows: pd.DataFrame) -> list[JsonObject]:
    """What was promised and what was seen, by tenth of the promises."""
    if not len(evaluated_rows):
        return []
    return _to_records(
        metrics.calibration_curve(evaluated_rows["label"], evaluated_rows[MODEL], _row_weights(evaluated_rows))
    )


# --- what a manager would have found ----------------------------------------------------------------


def recall_at_capacity(predictions: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    """Of the revenue that was lost, how much stood among the accounts a manager could carry.

    Each month's list is ranked by ARR x (1 - p) for each manager and cut at that manager's capacity. An account that is
    lost counts on every list it stands on before. `arr_share_listed` is the share of all ARR that fits, whoever
    ranks: what would be found by chance. `ranking_scores` are other rankings of the model's own words; `in_time` is
    what could still be saved when it was listed.
    """
    if not {"arr", "csm"} <= set(predictions.columns) or not len(predictions):
        return {"models": {}, "managers": [], "rankings": {}}
    arr = predictions["arr"].fillna(0.0)
    lost = arr.to_numpy(np.float64) * (1 - predictions["label"].to_numpy())
    in_time = lost * (predictions["days_to_renewal"] > settings.decided_days).to_numpy(bool)
    fits = {
        name: list_positions(predictions, worklist.arr_at_risk(arr, predictions[name]), settings.portfolio_limits)
        for name in compared_models(predictions)
    }
    ordered = {
        name: list_positions(predictions, worth, settings.portfolio_limits)
        for name, worth in ranking_scores(predictions, settings).items()
    }
    return {
        "lists": int(predictions["as_of"].nunique()),
        "lost_arr": float(lost.sum()),
        "decided_days": settings.decided_days,
        "lost_arr_in_time": float(in_time.sum()),
        "accounts_listed": float(fits[MODEL]["kept"].mean()),
        "models": {name: _list_recall(predictions, own, lost) for name, own in fits.items()},
        "rankings": {
            name: _list_recall(predictions, own, lost)
            | {
                f"in_time_{part}": figure
                for part, figure in _list_recall(predictions, own, in_time).items()
                if part != "arr_share_listed"
            }
            for name, own in ordered.items()
        },
        "managers": _manager_metrics(predictions.assign(**fits[MODEL], lost=lost)),
    }


def ranking_scores(predictions: pd.DataFrame, settings: BacktestSettings) -> dict[str, pd.Series]:
    """What the model's lists might be ranked by; one entry per row each.

    `ranking_score` is what a play of the usual effect is expected to save, nothing once the decision has fallen: no
    reasons are told of the past, so it is not known which play would have been prescribed, nor the hours it takes.
    """
    chance, arr = predictions[MODEL], predictions["arr"].fillna(0.0)
    rise = add_log_odds(chance.to_numpy(np.float64), np.full(len(chance), settings.assumed_effect)) - chance
    return {
        "expected_gain": (arr * rise).where(predictions["days_to_renewal"] > settings.decided_days, 0.0),
        "probability": 1 - chance,
        "arr": arr,
        "arr_at_risk": worklist.arr_at_risk(arr, chance),
        "expected_profit": expected_profit(chance, arr),
    }


def expected_profit(probability: pd.Series, arr: pd.Series) -> pd.Series:
    """The expected profit of contacting an account, by the costs behind EMPB (Janssens and others 2022).

    Who is about to leave accepts with the mean of Beta(alpha, beta) and then brings the ARR less the incentive; who is
    not takes the incentive all the same.
    """
    accepts = OFFER_ASSUMPTIONS["alpha"] / (OFFER_ASSUMPTIONS["alpha"] + OFFER_ASSUMPTIONS["beta"])
    share, cost = OFFER_ASSUMPTIONS["incentive_fraction"], OFFER_ASSUMPTIONS["contact_cost"]
    leaving = accepts * ((1 - share) * arr - cost) - (1 - accepts) * cost
    return (1 - probability) * leaving - probability * (share * arr + cost)


def list_positions(
    predictions: pd.DataFrame,
    ranking_score: pd.Series,
    portfolio_limits: Callable[[str | None], worklist.PortfolioLimits],
) -> pd.DataFrame:
    """Where each row stood on its month's list, ranked by worth; one row per row given.

    `kept` tells whether it was within its manager's capacity, `early` whether it was in the first fifth of the list.
    """
    ranks = pd.concat(
        worklist.rank_accounts(
            ranking_score[rows.index], rows["arr"], rows["csm"], rows["account_id"], portfolio_limits
        )
        for _, rows in predictions.groupby("as_of", sort=True)
    ).reindex(predictions.index)
    length = predictions.groupby(["as_of", "csm"], dropna=False)["account_id"].transform("size")
    early = ranks["rank"] <= np.ceil(length * EARLY_SHARE)
    return pd.DataFrame({"kept": ranks["within_capacity"].astype(bool), "early": early.astype(bool)})


def _list_recall(predictions: pd.DataFrame, positions: pd.DataFrame, lost: Floats) -> JsonObject:
    arr, kept = predictions["arr"].fillna(0.0).to_numpy(np.float64), positions["kept"].to_numpy()
    return {
        "recall": _ratio(lost[kept].sum(), lost.sum()),
        "arr_share_listed": _ratio(arr[kept].sum(), arr.sum()),
        "recall_early": _ratio(lost[positions["early"].to_numpy()].sum(), lost.sum()),
    }


def _manager_metrics(rows: pd.DataFrame) -> list[JsonObject]:
    return [
        {
            "csm": None if pd.isna(csm) else str(csm),
            "rows": len(own),
            "lost_arr": float(own["lost"].sum()),
            "recall": _ratio(own.loc[own["kept"], "lost"].sum(), own["lost"].sum()),
            "recall_early": _ratio(own.loc[own["early"], "lost"].sum(), own["lost"].sum()),
            "accounts_listed": float(own["kept"].mean()),
        }
        for csm, own in rows.groupby("csm", dropna=False, sort=True)
    ]


def _ratio(part: float, total: float) -> float | None:
    return float(part / total) if total else None


# --- how words age ------------------------------------------------------------------------------------


def metrics_by_model_age(
    evaluated_rows: pd.DataFrame, predictions_by_model_age: pd.DataFrame, settings: BacktestSettings
) -> list[JsonObject]:
    """Models in their 1st, 2nd, … month, beside the youngest model there was, on the same rows; one entry per month.

    A model is in its first month on the day it was trained. Ages are those that the origins allow. Where a younger one
    spoke of some of the rows of an age, only those count; where of none, there is nothing to compare.
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
    told = _compare_with_newest(older, settings) if len(older) else dict.fromkeys(NEWEST_METRICS)
    rows = older if len(older) else rows
    truth, weight = rows["label"].to_numpy(), _row_weights(rows)
    return {
        "rows": len(rows),
        "model_count": int(rows["origin"].nunique()),
        "auc": metrics.auc(truth, rows["probability"], weight),
        "log_loss": metrics.log_loss(truth, rows["probability"], weight),
        **told,
    }


NEWEST_METRICS = ("newest_auc", "newest_log_loss", "newest_month", "gain")


def _compare_with_newest(rows: pd.DataFrame, settings: BacktestSettings) -> JsonObject:
    """What the youngest models said of rows that older ones spoke of, and what the older ones gain over them."""
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


# --- when to be silent, and how sure ------------------------------------------------------------------


def risk_coverage(evaluated_rows: pd.DataFrame, predictions_by_model_age: pd.DataFrame) -> list[JsonObject]:
    """How true the words are that remain when those on the strangest rows are left out; one entry per share kept.

    Rows that are equally strange stay or go together, so a little more may be kept than was asked for.
    """
    strange = evaluated_rows.merge(
        predictions_by_model_age[[*KEY, "origin", "out_of_range_share"]], on=[*KEY, "origin"], validate="one_to_one"
    )
    found: list[JsonObject] = []
    for share in COVERAGE_LEVELS if len(strange) else ():
        limit = float(strange["out_of_range_share"].quantile(share, interpolation="higher"))
        kept = strange[strange["out_of_range_share"] <= limit]
        if found and len(kept) == found[-1]["rows"]:
            continue
        truth, chance, weight = kept["label"], kept[MODEL], _row_weights(kept)
        found.append(
            {
                "coverage": len(kept) / len(strange),
                "rows": len(kept),
                "out_of_range_share": limit,
                "log_loss": metrics.log_loss(truth, chance, weight),
                "auc": metrics.auc(truth, chance, weight),
            }
        )
    return found


def empb_profit(evaluated_rows: pd.DataFrame) -> JsonObject:
    """What each speaker's order would bring at its best cut: EMPB, in money per account (Janssens and others 2022).

    Whoever stands above the cut is contacted, for `contact_cost`, and offered `incentive_fraction` of the ARR; of those
    about to leave a share drawn from Beta(alpha, beta) stays. The cut is the best in hindsight, so this compares orders
    and promises no money.
    """
    if "arr" not in evaluated_rows.columns or not len(evaluated_rows):
        return {"skipped": "no_arr"}
    from empulse.metrics import empb_score  # slow to import

    loss, arr = 1 - evaluated_rows["label"].to_numpy(), evaluated_rows["arr"].fillna(0.0).to_numpy(np.float64)
    found = {
        name: float(empb_score(loss, 1 - evaluated_rows[name].to_numpy(), clv=arr, **OFFER_ASSUMPTIONS))
        for name in compared_models(evaluated_rows)
    }
    return {**OFFER_ASSUMPTIONS, "models": found}


def interval_coverage(evaluated_rows: pd.DataFrame, account_effect_sd: float, confidence: float = 0.8) -> JsonObject:
    """Whether the share seen in each tenth lies within the mean interval of its accounts.

    An interval is for the account's own chance, which a single outcome does not show: of the chances only their mean
    over many rows can be seen. So this finds intervals that lie in the wrong place, and not those that are too wide.
    The spread is the one of the model that serves now, for every row.
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
