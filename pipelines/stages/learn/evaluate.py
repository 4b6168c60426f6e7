"""The back-test of one target: what the model would have said at each origin, beside what must be beaten.

Every number here is of rows whose outcome was final on the training day, said by a model that stood on an earlier day.
Observations with a follow-on already signed are left out: foretelling what is known proves nothing.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from renewals.models.evaluation.backtest import IDLE_COLUMN, MODEL, compared_models, evaluation_rows, model_metrics
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

EXTRA_COLUMNS = ("arr", "csm", IDLE_COLUMN)
"""What is kept of an observation beside its segments, where it is there."""


def evaluate(job: Job, target: str) -> dict[str, Any]:
    """Write `evaluation/<target>/metrics.json`, its headline and its plots; where nothing was trained they say so."""
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
    """The dozen figures by which two runs are compared, flat. DVC takes whatever is called `error` for its own."""
    judged = metrics.get("gate_metrics", {})
    if "auc" not in judged:
        return {"trained": metrics["trained"]}
    auc, whole = judged["auc"], metrics["overall"][MODEL]
    return {
        "trained": True,
        **{name: judged[name] for name in ("rows", "terms", "events")},
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "calibration_slope": judged["calibration_slope"]["value"],
        "calibration_error": judged["calibration_error"],
        **{name: whole[name] for name in ("log_loss", "average_precision", "recall_top_fifth")},
        **{f"gain_over_{name}": gain["value"] for name, gain in judged["gain_over"].items()},
    }


def compute_metrics(job: Job, target: str, files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The metrics and the plots of a model that was trained."""
    tested = backtest_predictions(job, target, files)
    fair = tested[~tested["renewal_signed"].astype(bool)].reset_index(drop=True)
    gate = job.settings.gate
    judged = evaluation_rows(fair, target, gate)
    metrics = {
        "trained": True,
        "until": str(job.day),
        "tested": {
            "observations": len(fair),
            "terms": int(fair["term"].nunique()),
            "accounts": int(fair["account_id"].nunique()),
            "excluded_signed": len(tested) - len(fair),
        },
        "gate_metrics": _gate_metrics(judged, gate),
        "at_lead": _metrics_by_lead(fair, target),
        "overall": _metrics_by_model(fair, target, weighted=True),
        "folds": _metrics_by_fold(fair, target),
    }
    importance = json.loads(files[MODEL_CARD])["importance"]
    return metrics, _plot_files(judged, metrics, importance)


def backtest_predictions(job: Job, target: str, files: dict[str, bytes]) -> pd.DataFrame:
    """The back-test with every baseline beside the model; one row per tested observation. All read the same features.

    Raises MissingInputError where the model was trained on other rows, or under other settings, than stand there now.
    """
    import pandas as pd

    from renewals.models.evaluation import baselines
    from renewals.models.training import splits
    from renewals.models.training.schema import Schema

    options = job.settings
    observed = splits.observations(read_training(job), target, job.day, options.folds.treated_rows)
    schema = Schema.from_json(json.loads(files[SCHEMA]))
    numbers = [name for name in schema.names if name not in schema.categories]
    cut = splits.rolling_origin_folds(observed, options.folds, target)
    beside = baselines.predict_baselines(observed, cut, numbers, options.lightgbm.parallel_fits)
    about = dict.fromkeys(name for name in (*options.gate.segments, *EXTRA_COLUMNS) if name in observed.columns)
    known = observed[[*splits.KEY, *about]]
    beside = beside.merge(known, on=splits.KEY, validate="one_to_one")
    said = pd.read_parquet(io.BytesIO(files[BACKTEST])).rename(columns={"probability": MODEL})
    tested = said.merge(beside, on=splits.KEY, validate="one_to_one")
    if not len(tested) == len(said) == len(beside):
        raise MissingInputError(
            f"the model of {target} was trained on a different training table than {job.folder / TRAINING}, or with "
            "different parameters: run `renewals learn`, or the stage train, first"
        )
    return tested


def _metrics_by_model(rows: pd.DataFrame, target: str, weighted: bool = False) -> dict[str, Any]:
    from renewals.models.metrics import mean_observed

    label = rows["label"]
    own = {"rows": len(rows), "positives": int(label.sum()), "positive_rate": mean_observed(label, rows[MODEL])}
    return {**own, **{name: model_metrics(rows, name, target, weighted) for name in compared_models(rows)}}


def _metrics_by_lead(rows: pd.DataFrame, target: str) -> dict[str, Any]:
    from renewals.models.metrics import LEAD_DAYS, select_at_lead

    return {str(days): _metrics_by_model(select_at_lead(rows, days), target) for days in LEAD_DAYS}


def _metrics_by_fold(predictions: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    """AUC and log loss of the model by origin and lead, over all observations as well."""
    from renewals.models.metrics import LEAD_DAYS, auc, log_loss, select_at_lead

    def two(rows: pd.DataFrame) -> dict[str, float]:
        return {
            "rows": len(rows),
            "auc": auc(rows["label"], rows[MODEL]),
            "log_loss": log_loss(rows["label"], rows[MODEL]),
        }

    return [
        {
            "origin": f"{origin:%Y-%m-%d}",
            "overall": two(rows),
            "at_lead": {str(days): two(select_at_lead(rows, days)) for days in LEAD_DAYS},
        }
        for origin, rows in predictions.groupby("origin", sort=True)
    ]


def _gate_metrics(rows: pd.DataFrame, gate: GateSettings) -> dict[str, Any]:
    """What the gate needs to know, with intervals over resampled accounts."""
    import numpy as np

    from renewals.models import metrics
    from renewals.models.evaluation.gate import REQUIRED_BASELINE, segment_calibration
    from renewals.models.training.splits import term_weights

    truth, chance, accounts = rows["label"].to_numpy(), rows[MODEL].to_numpy(), rows["account_id"]
    weight = term_weights(rows["term"]) if len(rows) else np.zeros(0)
    yes = float((truth * weight).sum())
    found: dict[str, Any] = {
        "rows": len(rows),
        "terms": rows["term"].nunique(),
        "events": float(min(yes, weight.sum() - yes)),
    }
    if len(set(truth)) < 2:
        return found
    resampling = metrics.Resampling(gate.bootstrap_samples, gate.confidence)
    for metric, ranged in (
        (metrics.auc, metrics.auc_interval),
        (metrics.calibration_slope, metrics.calibration_slope_interval),
    ):
        low, high = ranged(truth, chance, accounts, resampling, weight)
        found[metric.__name__] = {"value": metric(truth, chance, weight), "low": low, "high": high}
    found["calibration_error"] = metrics.calibration_error(truth, chance, weight)
    found["calibration_error_by_chance"] = metrics.calibration_error_by_chance(chance, weight)
    surely = {REQUIRED_BASELINE: replace(resampling, confidence=gate.base_rate_confidence)}
    found["gain_over"] = {
        name: dict(
            zip(
                ("value", "low", "high"),
                metrics.log_loss_gain(truth, chance, rows[name], accounts, surely.get(name, resampling), weight),
                strict=True,
            )
        )
        for name in compared_models(rows)[1:]
    }
    found["segments"] = segment_calibration(rows, MODEL, gate)
    return found


def _plot_files(rows_at_lead: pd.DataFrame, metrics: dict[str, Any], importance: dict[str, float]) -> dict[str, bytes]:
    import pandas as pd

    rows = [
        {"lead_days": int(days), "model": name, "auc": one[name]["auc"], "log_loss": one[name]["log_loss"]}
        for days, one in metrics["at_lead"].items()
        for name in compared_models(rows_at_lead)
        if one["rows"]
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
    """Promised and seen; one row per tenth of the observations."""
    from renewals.models.metrics import calibration_curve
    from renewals.models.training.splits import term_weights

    return (
        calibration_curve(rows["label"], rows[MODEL], term_weights(rows["term"]))
        if len(rows)
        else rows.reindex(columns=PLOT_COLUMNS["calibration.csv"])
    )


def _roc_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """The ROC curve of the model and of the plain logistic regression; one row per corner."""
    import pandas as pd
    from sklearn.metrics import roc_curve

    curves = [pd.DataFrame(columns=PLOT_COLUMNS["roc.csv"])]
    for name in compared_models(rows):
        if name in (MODEL, "logistic_regression") and rows["label"].nunique() == 2:
            off, on, _ = roc_curve(rows["label"], rows[name])
            curves.append(pd.DataFrame({"false_positive_rate": off, "true_positive_rate": on, "model": name}))
    return pd.concat(curves[1:] or curves, ignore_index=True)


def _as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


if __name__ == "__main__":
    main(evaluate)
