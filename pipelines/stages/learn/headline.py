"""The figures and the plots by which two models are compared, beside the code, where git keeps them with `dvc.lock`.

`dvc metrics diff`, `dvc plots diff` and `dvc exp show` read them from commits. They name no customer and no manager.
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
"""One folder per target, below the folder where DVC runs."""


def headline(job: Job, target: str) -> dict[str, Any]:
    """Copy the target's headline and the plots of its evaluation and back-test to `metrics/<target>/`."""
    evaluated, shown = job.folder / EVALUATION / target, METRICS_FOLDER / target
    backtested = job.data / BACKTEST_FOLDER / target / "plots"
    copies = {HEADLINE: evaluated / HEADLINE}
    copies |= {f"plots/{path.name}": path for path in sorted((evaluated / "plots").glob("*.csv"))}
    copies |= {f"plots/backtest_{path.name}": path for path in sorted(backtested.glob("*.csv"))}
    shutil.rmtree(shown, ignore_errors=True)
    for name, path in copies.items():
        atomic.write_bytes(shown / name, path.read_bytes())
    return {"target": target, "folder": str(shown), "files": list(copies)}


if __name__ == "__main__":
    main(headline)
