"""Plots of a model evaluation for an MLflow run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.artifacts import EVALUATION

if TYPE_CHECKING:
    import pandas as pd


def draw_plots(job: Job, target: str) -> dict[str, bytes]:
    """Draw the plots of calibration, ROC and feature importance of a target; PNG content by file name."""
    import pandas as pd

    folder = job.folder / EVALUATION / target / "plots"
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("calibration", "roc", "importance")}
    return {
        "calibration.png": _render_png(_draw_calibration, tables["calibration"]),
        "roc.png": _render_png(_draw_roc, tables["roc"]),
        "importance.png": _render_png(_draw_importance, tables["importance"].head(20)),
    }


def _render_png(draw: Any, table: pd.DataFrame) -> bytes:
    """Draw a table with `draw` and return PNG content; without pyplot, which keeps global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    draw(figure.subplots(), table)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=100, metadata={"Software": None})
    return sink.getvalue()


def _draw_calibration(axes: Any, table: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot(table["mean_predicted"], table["mean_observed"], marker="o")
    axes.set(xlabel="mean predicted", ylabel="mean observed", title="Calibration, by tenths", xlim=(0, 1), ylim=(0, 1))


def _draw_roc(axes: Any, table: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for model, curve in table.groupby("model", sort=False):
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], label=str(model))
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    if len(table):
        axes.legend()


def _draw_importance(axes: Any, table: pd.DataFrame) -> None:
    axes.barh(table["feature"][::-1], table["mean_contribution"][::-1])
    axes.set(xlabel="mean distance the margin is moved", title="Features")
