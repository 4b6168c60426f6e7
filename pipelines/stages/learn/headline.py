"""Copy the metrics and plots for comparing models to `metrics/`, where git versions them together with `dvc.lock`.

`dvc metrics diff`, `dvc plots diff` and `dvc exp show` read them from commits. They contain no customer or manager
names.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import BACKTEST_FOLDER, EVALUATION, HEADLINE
from renewals.pipelines.storage.engine import atomic

METRICS_FOLDER = Path("metrics")
"""Contains one folder per target; relative to the folder where DVC runs."""


def headline(job: Job, target: str) -> dict[str, Any]:
    """Copy the target's headline metrics and the plots of its evaluation and back-test to `metrics/<target>/`."""
    evaluation, target_folder = job.folder / EVALUATION / target, METRICS_FOLDER / target
    backtest_plots = job.data / BACKTEST_FOLDER / target / "plots"
    copies = {HEADLINE: evaluation / HEADLINE}
    copies |= {f"plots/{path.name}": path for path in sorted((evaluation / "plots").glob("*.csv"))}
    copies |= {f"plots/backtest_{path.name}": path for path in sorted(backtest_plots.glob("*.csv"))}
    shutil.rmtree(target_folder, ignore_errors=True)
    for name, path in copies.items():
        atomic.write_bytes(target_folder / name, path.read_bytes())
    return {"target": target, "folder": str(target_folder), "files": list(copies)}


if __name__ == "__main__":
    main(headline)
