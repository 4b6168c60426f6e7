"""Write the back-test reports: `backtest/<target>/`, and one HTML page for all targets."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

from renewals.models.metrics import is_undecided
from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.stages.learn.evaluate import backtest_predictions
from renewals.pipelines.storage import playbook_library
from renewals.pipelines.storage.artifacts import (
    BACKTEST_BY_AGE,
    BACKTEST_FOLDER,
    BACKTEST_PAGE,
    BACKTEST_REPORT,
    BACKTEST_ROWS,
    MODEL_CARD,
    read_model,
    read_training,
    to_json_bytes,
    to_parquet_bytes,
    untrained_reason,
)
from renewals.pipelines.storage.engine import atomic

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

PLOT_COLUMNS = {
    "calibration.csv": ["mean_predicted", "mean_observed", "weight"],
    "by_lead.csv": ["lead_days", "model", "auc", "log_loss"],
    "by_model_age.csv": ["month", "auc", "log_loss", "newest_auc", "newest_log_loss"],
    "risk_coverage.csv": ["coverage", "log_loss", "auc"],
    "months.csv": ["period", "mean_predicted", "mean_observed", "terms"],
}
"""Plot files for DVC with their columns. They contain no customer or manager names, which a spreadsheet could run as
formulas."""
PLOT_KEYS = {"staleness.csv": "by_model_age", "abstention.csv": "risk_coverage"}
"""Report key of a plot, where it differs from the file name."""


def backtest(job: Job, root: Path | None = None) -> dict[str, Any]:
    """Evaluate the back-test of every target; write report files, DVC plots and an HTML page; return a summary.

    The models are read from `root`, by default from the job's folder. Each target's folder contains `report.json`,
    `predictions.parquet` (one row per test observation, with the predictions of the model and of each baseline) and
    `plots/`; if there is no trained model, the report has the reason.
    """
    from renewals.reports.html.backtest_page import render_backtest_page

    reports = {target: _write_report(job, target, root or job.folder) for target in job.settings.targets}
    page = job.data / BACKTEST_FOLDER / BACKTEST_PAGE
    atomic.write_bytes(page, render_backtest_page(reports, job.settings.list.language).encode())
    return {
        "until": str(job.day),
        "page": str(page),
        "targets": {target: report_summary(report) for target, report in reports.items()},
    }


def report_summary(report: dict[str, Any]) -> dict[str, Any]:
    """Short summary of a report: main metrics and the verdict against each baseline."""
    if not report["trained"]:
        return {"trained": False, "reason": report["reason"]}
    overall = report["overall"]
    model = overall["models"]["model"]
    verdicts = {name: gain["verdict"] for name, gain in overall["gain_over"].items()}
    metrics = {name: model.get(name) for name in ("auc", "log_loss", "calibration_slope")}
    return {"trained": True, "rows": overall["rows"], **metrics, "verdict_over": verdicts}


def _write_report(job: Job, target: str, root: Path) -> dict[str, Any]:
    """Write the report, predictions and plots of one target; return the report as written."""
    files, folder = read_model(root, target), job.data / BACKTEST_FOLDER / target
    reason = untrained_reason(files)
    shutil.rmtree(folder, ignore_errors=True)
    if reason is None:
        report_data, predictions = build_report(job, target, files)
        atomic.write_bytes(folder / BACKTEST_ROWS, to_parquet_bytes(predictions))
    else:
        report_data = {"target": target, "until": str(job.day), "trained": False, "reason": reason}
    content = to_json_bytes(report_data)
    atomic.write_bytes(folder / BACKTEST_REPORT, content)
    report: dict[str, Any] = json.loads(content)
    for name, columns in PLOT_COLUMNS.items():
        atomic.write_bytes(folder / "plots" / name, _as_csv(_plot_rows(name, report), columns))
    return report


def build_report(job: Job, target: str, files: dict[str, bytes]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Build the report of a trained model; return it and the predictions behind it (one row per test observation)."""
    import pandas as pd

    from renewals.models.evaluation.backtest import build_report
    from renewals.models.evaluation.compared_rows import BacktestSettings

    gate, card = job.settings.gate, json.loads(files[MODEL_CARD])
    predictions = backtest_predictions(job, target, files)
    unsigned = predictions[is_undecided(predictions)].reset_index(drop=True)
    predictions_by_age = pd.read_parquet(io.BytesIO(files[BACKTEST_BY_AGE]))
    settings = BacktestSettings(
        target,
        gate,
        job.settings.list.capacity.for_manager,
        _mean_playbook_effect(job),
        job.settings.folds.decided_days,
    )
    report = {
        "target": target,
        "until": str(job.day),
        "trained": True,
        "lead_days": gate.lead_days if target == RENEWAL else None,
        "confidence": gate.confidence,
        "currency": job.settings.money.reporting_currency,
        "origins": card["origins"],
        "tested": {
            "observations": len(unsigned),
            "excluded_signed": len(predictions) - len(unsigned),
            "excluded_treated": _count_treated(job, target),
        },
        **build_report(unsigned, predictions_by_age, card["uncertainty"]["account_effect_sd"], settings),
    }
    return report, predictions


def _mean_playbook_effect(job: Job) -> float:
    """Mean assumed effect of the library's retention playbooks (those without expansion), in log-odds; 0 if there are
    none."""
    effects = [
        play.log_odds_effect for play in playbook_library.load_library(job).plays.values() if play.expansion is None
    ]
    return sum(effects) / len(effects) if effects else 0.0


def _count_treated(job: Job, target: str) -> int:
    """Number of final observations that were excluded because an intervention may have influenced the outcome."""
    from renewals.models.training.splits import observations

    training, treated_rows = read_training(job), job.settings.folds.treated_rows
    return len(observations(training, target, job.day)) - len(observations(training, target, job.day, treated_rows))


def _plot_rows(name: str, report: dict[str, Any]) -> list[dict[str, Any]]:
    key = PLOT_KEYS.get(name, name.removesuffix(".csv"))
    if key != "by_lead":
        rows: list[dict[str, Any]] = report.get(key, [])
        return rows
    return [
        {"lead_days": lead["lead_days"], "model": model, **figures}
        for lead in report.get("leads", [])
        for model, figures in lead["models"].items()
    ]


def _as_csv(rows: list[dict[str, Any]], columns: list[str]) -> bytes:
    import pandas as pd

    table = pd.DataFrame(rows, columns=columns)
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


if __name__ == "__main__":
    main(backtest)
