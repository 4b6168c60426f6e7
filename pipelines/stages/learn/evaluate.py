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

from renewals.models.evaluation.backtest import IDLE, MODEL, at_lead, scores, speakers
from renewals.pipelines.runtime.errors import InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import (
    BACKTEST,
    CARD,
    EVALUATION,
    HEADLINE,
    METRICS,
    SCHEMA,
    TRAINING,
    as_json,
    read_model,
    read_training,
    why_untrained,
)
from renewals.pipelines.storage.engine import atomic

if TYPE_CHECKING:
    import pandas as pd

    from renewals.models.settings import Gate

BESIDE = {"arr": "arr", "csm": "csm", "days_since_last_use": IDLE}
"""What is kept of an observation beside its segments, where it is there, and under which name: a baseline that stands
in the same table is called `days_since_last_use` already."""


def evaluate(job: Job, target: str) -> dict[str, Any]:
    """Write `evaluation/<target>/metrics.json`, its headline and its plots; where nothing was trained they say so."""
    files = read_model(job.side, target)
    reason = why_untrained(files)
    if reason is None:
        metrics, plots = evaluated(job, target, files)
    else:
        metrics, plots = {"trained": False, "reason": reason}, {}
    folder = job.side / EVALUATION / target
    shutil.rmtree(folder / "plots", ignore_errors=True)
    for name, content in {**_empty_plots(), **plots}.items():
        atomic.write_bytes(folder / "plots" / name, content)
    atomic.write_bytes(folder / METRICS, as_json(metrics))
    atomic.write_bytes(folder / HEADLINE, as_json(headline(metrics)))
    return {"target": target, "trained": reason is None, **metrics.get("judged", {})}


def headline(metrics: dict[str, Any]) -> dict[str, Any]:
    """The dozen figures by which two runs are compared, flat. DVC takes whatever is called `error` for its own."""
    judged = metrics.get("judged", {})
    if "auc" not in judged:
        return {"trained": metrics["trained"]}
    auc, whole = judged["auc"], metrics["all"][MODEL]
    return {
        "trained": True,
        **{name: judged[name] for name in ("rows", "terms", "events")},
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "calibration_slope": judged["calibration_slope"]["value"],
        "calibration_error": judged["error"],
        **{name: whole[name] for name in ("log_loss", "average_precision", "recall_top_fifth")},
        **{f"gain_over_{name}": gain["value"] for name, gain in judged["gain_over"].items()},
    }


def evaluated(job: Job, target: str, files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The metrics and the plots of a model that was trained."""
    tested = told(job, target, files)
    fair = tested[~tested["decided"].astype(bool)].reset_index(drop=True)
    gate = job.settings.gate
    judged = at_lead(fair, target, gate)
    metrics = {
        "trained": True,
        "until": str(job.day),
        "tested": {
            "observations": len(fair),
            "terms": int(fair["term"].nunique()),
            "accounts": int(fair["account_id"].nunique()),
            "left_out_decided": len(tested) - len(fair),
        },
        "judged": _judged(judged, gate),
        "at_lead": _by_lead(fair, target),
        "all": _told_by_all(fair, target, weighted=True),
        "folds": _by_fold(fair, target),
    }
    importance = json.loads(files[CARD])["importance"]
    return metrics, _plots(judged, metrics, importance)


def told(job: Job, target: str, files: dict[str, bytes]) -> pd.DataFrame:
    """The back-test with every baseline beside the model; one row per tested observation. All read the same features.

    Raises InputMissing where the model was trained on other rows, or under other settings, than stand there now.
    """
    import pandas as pd

    from renewals.models.evaluation import baselines
    from renewals.models.training import splits
    from renewals.models.training.schema import Schema

    options = job.settings
    observed = splits.observations(read_training(job), target, job.day, options.folds.treated)
    schema = Schema.from_json(json.loads(files[SCHEMA]))
    numbers = [name for name in schema.names if name not in schema.categories]
    cut = splits.rolling(observed, options.folds, target)
    beside = baselines.spoken(observed, cut, numbers, options.lightgbm.threads)
    about = dict.fromkeys(name for name in (*options.gate.segments, *BESIDE) if name in observed.columns)
    known = observed[[*splits.KEY, *about]].rename(columns=BESIDE)
    beside = beside.merge(known, on=splits.KEY, validate="one_to_one")
    said = pd.read_parquet(io.BytesIO(files[BACKTEST])).rename(columns={"probability": MODEL})
    tested = said.merge(beside, on=splits.KEY, validate="one_to_one")
    if not len(tested) == len(said) == len(beside):
        raise InputMissing(
            f"the model of {target} was trained on other rows than {job.side / TRAINING}, or under "
            "other settings: run `renewals learn`, or the stage train, first"
        )
    return tested


def _told_by_all(rows: pd.DataFrame, target: str, weighted: bool = False) -> dict[str, Any]:
    from renewals.models.metrics import rate

    own = {"rows": len(rows), "yes": int(rows["label"].sum()), "rate": rate(rows["label"], rows[MODEL])}
    return {**own, **{name: scores(rows, name, target, weighted) for name in speakers(rows)}}


def _by_lead(fair: pd.DataFrame, target: str) -> dict[str, Any]:
    from renewals.models.metrics import LEADS, at_lead

    return {str(days): _told_by_all(at_lead(fair, days), target) for days in LEADS}


def _by_fold(fair: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    """AUC and log loss of the model by origin and lead, over all observations as well."""
    from renewals.models.metrics import LEADS, at_lead, auc, log_loss

    def two(rows: pd.DataFrame) -> dict[str, float]:
        return {
            "rows": len(rows),
            "auc": auc(rows["label"], rows[MODEL]),
            "log_loss": log_loss(rows["label"], rows[MODEL]),
        }

    return [
        {
            "origin": f"{origin:%Y-%m-%d}",
            "all": two(rows),
            "at_lead": {str(days): two(at_lead(rows, days)) for days in LEADS},
        }
        for origin, rows in fair.groupby("origin", sort=True)
    ]


def _judged(rows: pd.DataFrame, gate: Gate) -> dict[str, Any]:
    """What the gate needs to know, with intervals over resampled accounts."""
    import numpy as np

    from renewals.models import metrics
    from renewals.models.evaluation.gate import MUST_BEAT, segments
    from renewals.models.training.splits import weights

    truth, chance, accounts = rows["label"].to_numpy(), rows[MODEL].to_numpy(), rows["account_id"]
    weight = weights(rows["term"]) if len(rows) else np.zeros(0)
    yes = float((truth * weight).sum())
    found: dict[str, Any] = {
        "rows": len(rows),
        "terms": rows["term"].nunique(),
        "events": float(min(yes, weight.sum() - yes)),
    }
    if len(set(truth)) < 2:
        return found
    resampling = metrics.Resampling(gate.bootstrap, gate.confidence)
    for metric, ranged in (
        (metrics.auc, metrics.auc_interval),
        (metrics.calibration_slope, metrics.slope_interval),
    ):
        low, high = ranged(truth, chance, accounts, resampling, weight)
        found[metric.__name__] = {"value": metric(truth, chance, weight), "low": low, "high": high}
    found["error"] = metrics.calibration_error(truth, chance, weight)
    found["error_by_chance"] = metrics.chance_error(chance, weight)
    surely = {MUST_BEAT: replace(resampling, confidence=gate.sure)}
    found["gain_over"] = {
        name: dict(
            zip(
                ("value", "low", "high"),
                metrics.gain(truth, chance, rows[name], accounts, surely.get(name, resampling), weight),
                strict=True,
            )
        )
        for name in speakers(rows)[1:]
    }
    found["segments"] = segments(rows, MODEL, gate)
    return found


def _plots(judged: pd.DataFrame, metrics: dict[str, Any], importance: dict[str, float]) -> dict[str, bytes]:
    import pandas as pd

    rows = [
        {"lead_days": int(days), "speaker": name, "auc": one[name]["auc"], "log_loss": one[name]["log_loss"]}
        for days, one in metrics["at_lead"].items()
        for name in speakers(judged)
        if one["rows"]
    ]
    return {
        "calibration.csv": _csv(_calibration(judged)),
        "roc.csv": _csv(_roc(judged)),
        "by_lead.csv": _csv(pd.DataFrame(rows, columns=PLOTS["by_lead.csv"])),
        "importance.csv": _csv(pd.DataFrame(list(importance.items())[:30], columns=PLOTS["importance.csv"])),
    }


PLOTS = {
    "calibration.csv": ["promised", "seen", "weight"],
    "roc.csv": ["false_positive_rate", "true_positive_rate", "speaker"],
    "by_lead.csv": ["lead_days", "speaker", "auc", "log_loss"],
    "importance.csv": ["feature", "mean_contribution"],
}


def _empty_plots() -> dict[str, bytes]:
    return {name: (",".join(columns) + "\n").encode() for name, columns in PLOTS.items()}


def _calibration(judged: pd.DataFrame) -> pd.DataFrame:
    """Promised and seen; one row per tenth of the observations."""
    from renewals.models.metrics import bins
    from renewals.models.training.splits import weights

    return (
        bins(judged["label"], judged[MODEL], weights(judged["term"]))
        if len(judged)
        else judged.reindex(columns=PLOTS["calibration.csv"])
    )


def _roc(judged: pd.DataFrame) -> pd.DataFrame:
    """The ROC curve of the model and of the plain logistic regression; one row per corner."""
    import pandas as pd
    from sklearn.metrics import roc_curve

    curves = [pd.DataFrame(columns=PLOTS["roc.csv"])]
    for name in speakers(judged):
        if name in (MODEL, "logistic_regression") and judged["label"].nunique() == 2:
            off, on, _ = roc_curve(judged["label"], judged[name])
            curves.append(pd.DataFrame({"false_positive_rate": off, "true_positive_rate": on, "speaker": name}))
    return pd.concat(curves[1:] or curves, ignore_index=True)


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


if __name__ == "__main__":
    main(evaluate)
