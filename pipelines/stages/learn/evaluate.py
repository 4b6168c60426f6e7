"""Evaluate the back-test of one target: metrics of the model at past origins, compared with the baselines.

All metrics use rows with an outcome that was final on the training day, predicted by a model trained on an earlier day.
Observations with a follow-on already signed are left out: their outcome was known at the as-of date.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from renewals.models.evaluation.backtest import IDLE_COLUMN, evaluation_rows, model_metrics
from renewals.models.evaluation.compared_rows import MODEL, compared_models
from renewals.models.metrics import is_undecided
from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage.artifacts import (
    BACKTEST,
    EVALUATION,
    HEADLINE,
    METRICS,
    MODEL_CARD,
    SCHEMA,
    TRAINING,
    read_model,
    read_training,
    to_json_bytes,
    untrained_reason,
)
from renewals.pipelines.storage.engine import atomic

if TYPE_CHECKING:
    import pandas as pd

    from renewals.models.settings import GateSettings

STEP = Step(after="train", commands=("learn",), per_target=True)

EXTRA_COLUMNS = ("arr", "csm", "is_main", IDLE_COLUMN)
"""Columns added to the predictions in addition to the segments, where the training table has them. `arr` is what falls
due for a renewal, and the account's for other targets."""


def evaluate(job: Job, target: str) -> dict[str, Any]:
    """Write the metrics, headline and plots of the target to `evaluation/<target>/`; return the gate metrics.

    Without a trained model the metrics contain the reason and the plots are empty.
    """
    files = read_model(job.folder, target)
    reason = untrained_reason(files)
    if reason is None:
        metrics, plots = compute_metrics(job, target, files)
    else:
        metrics, plots = {"trained": False, "reason": reason}, {}
    folder = job.folder / EVALUATION / target
    shutil.rmtree(folder / "plots", ignore_errors=True)
    for name, content in {**_empty_plot_files(), **plots}.items():
        atomic.write_bytes(folder / "plots" / name, content)
    atomic.write_bytes(folder / METRICS, to_json_bytes(metrics))
    atomic.write_bytes(folder / HEADLINE, to_json_bytes(headline_metrics(metrics)))
    return {"target": target, "trained": reason is None, **metrics.get("gate_metrics", {})}


def headline_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """Flat dictionary of the main metrics, for comparing two runs. No key is named `error`: DVC reserves that name."""
    gate_metrics = metrics.get("gate_metrics", {})
    if "auc" not in gate_metrics:
        return {"trained": metrics["trained"]}
    auc, overall = gate_metrics["auc"], metrics["overall"][MODEL]
    return {
        "trained": True,
        **{name: gate_metrics[name] for name in ("rows", "terms", "events")},
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "calibration_slope": gate_metrics["calibration_slope"]["value"],
        "calibration_error": gate_metrics["calibration_error"],
        **{name: overall[name] for name in ("log_loss", "average_precision", "recall_top_fifth")},
        **{f"gain_over_{name}": gain["value"] for name, gain in gate_metrics["gain_over"].items()},
    }


def compute_metrics(job: Job, target: str, files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Compute the metrics of a trained model; return them and its plot files by name."""
    predictions = backtest_predictions(job, target, files)
    unsigned = predictions[is_undecided(predictions)].reset_index(drop=True)
    gate = job.settings.gate
    gate_rows = evaluation_rows(unsigned, target, gate)
    metrics = {
        "trained": True,
        "until": str(job.day),
        "tested": {
            "observations": len(unsigned),
            "terms": int(unsigned["term"].nunique()),
            "accounts": int(unsigned["account_id"].nunique()),
            "excluded_signed": len(predictions) - len(unsigned),
        },
        "gate_metrics": _gate_metrics(gate_rows, gate),
        "at_lead": _metrics_by_lead(unsigned, target),
        "overall": _metrics_by_model(unsigned, target, weighted=True),
        "folds": _metrics_by_fold(unsigned, target),
    }
    importance = json.loads(files[MODEL_CARD])["importance"]
    return metrics, _plot_files(gate_rows, metrics, importance)


def backtest_predictions(job: Job, target: str, files: dict[str, bytes]) -> pd.DataFrame:
    """Back-test predictions of the model and of every baseline; one row per test observation. All use the same
    features.

    Raises MissingInputError if the model was trained on other rows or with other settings than the present ones.
    """
    import pandas as pd

    from renewals.models.evaluation import baselines
    from renewals.models.training import splits
    from renewals.models.training.schema import Schema

    options = job.settings
    observed = splits.observations(read_training(job), target, job.day, options.folds.treated_rows)
    schema = Schema.from_json(json.loads(files[SCHEMA]))
    numeric = [name for name in schema.names if name not in schema.categories]
    folds = splits.rolling_origin_folds(observed, options.folds, target)
    baseline_predictions = baselines.predict_baselines(observed, folds, numeric, options.lightgbm.parallel_fits)
    extra_columns = dict.fromkeys(name for name in (*options.gate.segments, *EXTRA_COLUMNS) if name in observed.columns)
    extra = observed[[*splits.KEY, *extra_columns]]
    if target == RENEWAL and "arr_due" in observed:
        extra = extra.assign(arr=observed["arr_due"])
    baseline_predictions = baseline_predictions.merge(extra, on=splits.KEY, validate="one_to_one")
    model_predictions = pd.read_parquet(io.BytesIO(files[BACKTEST])).rename(columns={"probability": MODEL})
    tested = model_predictions.merge(baseline_predictions, on=splits.KEY, validate="one_to_one")
    if not len(tested) == len(model_predictions) == len(baseline_predictions):
        raise MissingInputError(
            f"the model of {target} was trained on a different training table than {job.folder / TRAINING}, or with "
            "different parameters: run `renewals learn`, or the stage train, first"
        )
    return tested


def _metrics_by_model(rows: pd.DataFrame, target: str, weighted: bool = False) -> dict[str, Any]:
    from renewals.models.metrics import mean_observed

    label = rows["label"]
    counts = {"rows": len(rows), "positives": int(label.sum()), "positive_rate": mean_observed(label, rows[MODEL])}
    return {**counts, **{name: model_metrics(rows, name, target, weighted) for name in compared_models(rows)}}


def _metrics_by_lead(rows: pd.DataFrame, target: str) -> dict[str, Any]:
    from renewals.models.metrics import LEAD_DAYS, select_at_lead

    return {str(days): _metrics_by_model(select_at_lead(rows, days), target) for days in LEAD_DAYS}


def _metrics_by_fold(predictions: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    """AUC and log loss of the model by origin: over all observations and by lead time; one entry per origin."""
    from renewals.models.metrics import LEAD_DAYS, auc, log_loss, select_at_lead

    def fold_metrics(rows: pd.DataFrame) -> dict[str, float]:
        return {
            "rows": len(rows),
            "auc": auc(rows["label"], rows[MODEL]),
            "log_loss": log_loss(rows["label"], rows[MODEL]),
        }

    return [
        {
            "origin": f"{origin:%Y-%m-%d}",
            "overall": fold_metrics(rows),
            "at_lead": {str(days): fold_metrics(select_at_lead(rows, days)) for days in LEAD_DAYS},
        }
        for origin, rows in predictions.groupby("origin", sort=True)
    ]


def _gate_metrics(rows: pd.DataFrame, gate: GateSettings) -> dict[str, Any]:
    """Compute the metrics that the gate checks, with bootstrap intervals (accounts are resampled).

    Only the counts are returned if all rows have the same outcome.
    """
    import numpy as np

    from renewals.models import metrics
    from renewals.models.evaluation.gate import REQUIRED_BASELINE, segment_calibration
    from renewals.models.training.splits import term_weights

    label, probability, accounts = rows["label"].to_numpy(), rows[MODEL].to_numpy(), rows["account_id"]
    weight = term_weights(rows["term"]) if len(rows) else np.zeros(0)
    positives = float((label * weight).sum())
    result: dict[str, Any] = {
        "rows": len(rows),
        "terms": rows["term"].nunique(),
        "events": float(min(positives, weight.sum() - positives)),
    }
    if len(set(label)) < 2:
        return result
    resampling = metrics.Resampling(gate.bootstrap_samples, gate.confidence)
    for metric, interval in (
        (metrics.auc, metrics.auc_interval),
        (metrics.calibration_slope, metrics.calibration_slope_interval),
    ):
        low, high = interval(label, probability, accounts, resampling, weight)
        result[metric.__name__] = {"value": metric(label, probability, weight), "low": low, "high": high}
    result["calibration_error"] = metrics.calibration_error(label, probability, weight)
    result["calibration_error_by_chance"] = metrics.calibration_error_by_chance(probability, weight)
    resampling_by_baseline = {REQUIRED_BASELINE: replace(resampling, confidence=gate.base_rate_confidence)}
    result["gain_over"] = {
        name: dict(
            zip(
                ("value", "low", "high"),
                metrics.log_loss_gain(
                    label, probability, rows[name], accounts, resampling_by_baseline.get(name, resampling), weight
                ),
                strict=True,
            )
        )
        for name in compared_models(rows)[1:]
    }
    result["segments"] = segment_calibration(rows, MODEL, gate)
    return result


def _plot_files(rows_at_lead: pd.DataFrame, metrics: dict[str, Any], importance: dict[str, float]) -> dict[str, bytes]:
    import pandas as pd

    rows = [
        {"lead_days": int(days), "model": name, "auc": by_model[name]["auc"], "log_loss": by_model[name]["log_loss"]}
        for days, by_model in metrics["at_lead"].items()
        for name in compared_models(rows_at_lead)
        if by_model["rows"]
    ]
    return {
        "calibration.csv": _as_csv(_calibration_curve(rows_at_lead)),
        "roc.csv": _as_csv(_roc_curves(rows_at_lead)),
        "by_lead.csv": _as_csv(pd.DataFrame(rows, columns=PLOT_COLUMNS["by_lead.csv"])),
        "importance.csv": _as_csv(pd.DataFrame(list(importance.items())[:30], columns=PLOT_COLUMNS["importance.csv"])),
    }


PLOT_COLUMNS = {
    "calibration.csv": ["mean_predicted", "mean_observed", "weight"],
    "roc.csv": ["false_positive_rate", "true_positive_rate", "model"],
    "by_lead.csv": ["lead_days", "model", "auc", "log_loss"],
    "importance.csv": ["feature", "mean_contribution"],
}


def _empty_plot_files() -> dict[str, bytes]:
    return {name: (",".join(columns) + "\n").encode() for name, columns in PLOT_COLUMNS.items()}


def _calibration_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """Calibration curve: mean predicted and mean observed outcome; one row per tenth of the observations."""
    from renewals.models.metrics import calibration_curve
    from renewals.models.training.splits import term_weights

    return (
        calibration_curve(rows["label"], rows[MODEL], term_weights(rows["term"]))
        if len(rows)
        else rows.reindex(columns=PLOT_COLUMNS["calibration.csv"])
    )


def _roc_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """ROC curves of the model and of the logistic regression; one row per point of a curve."""
    import pandas as pd
    from sklearn.metrics import roc_curve

    curves = [pd.DataFrame(columns=PLOT_COLUMNS["roc.csv"])]
    for name in compared_models(rows):
        if name in (MODEL, "logistic_regression") and rows["label"].nunique() == 2:
            false_positive, true_positive, _ = roc_curve(rows["label"], rows[name])
            curves.append(
                pd.DataFrame(
                    {"false_positive_rate": false_positive, "true_positive_rate": true_positive, "model": name}
                )
            )
    return pd.concat(curves[1:] or curves, ignore_index=True)


def _as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


if __name__ == "__main__":
    main(evaluate)
