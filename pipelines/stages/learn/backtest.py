"""The report on what would have been said in the past: `backtest/<target>/`, and one page for people."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

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
"""What DVC draws, with its columns. No name of a customer or a manager stands in these: they may be formulas."""
PLOT_KEYS = {"staleness.csv": "by_model_age", "abstention.csv": "risk_coverage"}
"""The key of the report that a plot draws, where it is not the name of the file."""


def backtest(job: Job, root: Path | None = None) -> dict[str, Any]:
    """Judge every target's back-test, and write it for machines, for DVC and for people.

    The models are those in `root`, or those that lie on the side of the job.

    Each target's folder holds `report.json`, `predictions.parquet` (one row per tested observation, with the word of
    the model and of each baseline) and `plots/`; where nothing was trained the report says why.
    """
    from renewals.reports.html.backtest_page import render_backtest_page

    reports = {target: _write_report(job, target, root or job.folder) for target in job.settings.targets}
    file = job.data / BACKTEST_FOLDER / BACKTEST_PAGE
    atomic.write_bytes(file, render_backtest_page(reports, job.settings.list.language).encode())
    return {
        "until": str(job.day),
        "page": str(file),
        "targets": {target: report_summary(one) for target, one in reports.items()},
    }


def report_summary(report: dict[str, Any]) -> dict[str, Any]:
    """A report in one line."""
    if not report["trained"]:
        return {"trained": False, "reason": report["reason"]}
    whole = report["overall"]
    model = whole["models"]["model"]
    beaten = {name: gain["verdict"] for name, gain in whole["gain_over"].items()}
    few = {name: model.get(name) for name in ("auc", "log_loss", "calibration_slope")}
    return {"trained": True, "rows": whole["rows"], **few, "verdict_over": beaten}


def _write_report(job: Job, target: str, root: Path) -> dict[str, Any]:
    """The report of one target, as it was written."""
    files, folder = read_model(root, target), job.data / BACKTEST_FOLDER / target
    reason = untrained_reason(files)
    shutil.rmtree(folder, ignore_errors=True)
    if reason is None:
        tree, tested = build_report(job, target, files)
        atomic.write_bytes(folder / BACKTEST_ROWS, to_parquet_bytes(tested))
    else:
        tree = {"target": target, "until": str(job.day), "trained": False, "reason": reason}
    content = to_json_bytes(tree)
    atomic.write_bytes(folder / BACKTEST_REPORT, content)
    report: dict[str, Any] = json.loads(content)
    for name, columns in PLOT_COLUMNS.items():
        atomic.write_bytes(folder / "plots" / name, _as_csv(_plot_rows(name, report), columns))
    return report


def build_report(job: Job, target: str, files: dict[str, bytes]) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report of a model that was trained, and the tested rows behind it."""
    import pandas as pd

    from renewals.models.evaluation.backtest import BacktestSettings, build_report

    gate, card = job.settings.gate, json.loads(files[MODEL_CARD])
    tested = backtest_predictions(job, target, files)
    fair = tested[~tested["renewal_signed"].astype(bool)].reset_index(drop=True)
    aged = pd.read_parquet(io.BytesIO(files[BACKTEST_BY_AGE]))
    asked = BacktestSettings(
        target,
        gate,
        job.settings.list.capacity.for_manager,
        _mean_playbook_effect(job),
        job.settings.folds.decided_days,
    )
    tree = {
        "target": target,
        "until": str(job.day),
        "trained": True,
        "lead_days": gate.lead_days if target == RENEWAL else None,
        "confidence": gate.confidence,
        "currency": job.settings.money.reporting_currency,
        "origins": card["origins"],
        "tested": {
            "observations": len(fair),
            "excluded_signed": len(tested) - len(fair),
            "excluded_treated": _count_treated(job, target),
        },
        **build_report(fair, aged, card["uncertainty"]["account_effect_sd"], asked),
    }
    return tree, tested


def _mean_playbook_effect(job: Job) -> float:
    """The mean effect of the plays that save, in log-odds, as the library assumes it."""
    effects = [
        play.log_odds_effect for play in playbook_library.load_library(job).plays.values() if play.expansion is None
    ]
    return sum(effects) / len(effects) if effects else 0.0


def _count_treated(job: Job, target: str) -> int:
    """How many final observations were left out because an intervention had a hand in their outcome."""
    from renewals.models.training.splits import observations

    training, own = read_training(job), job.settings.folds.treated_rows
    return len(observations(training, target, job.day)) - len(observations(training, target, job.day, own))


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
