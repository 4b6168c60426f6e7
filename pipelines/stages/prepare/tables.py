"""Record fingerprints of the raw tables, so that DVC detects changes wherever the tables are.

The tables cannot be DVC dependencies: DVC cannot read databases, and the copy of an experiment does not contain their
folder. Therefore this stage runs every time and reads them, and `check` depends on its output.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from renewals.pipelines import preflight
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.addresses import redact_url
from renewals.pipelines.storage.artifacts import TABLES
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.engine.raw import raw_table, raw_tables


def tables(job: Job) -> dict[str, Any]:
    """Write `tables.json`: the fingerprint of each raw table, and that of the actions from returned workbooks.

    Raises the errors of `raw_tables.raw_tables`, and those of `preflight` for problems that would stop later stages.
    """
    preflight.run_checks("stage tables", job)
    scratch = job.data / "fingerprints.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        fingerprints = raw_tables.table_fingerprints(warehouse.connect(job.settings.engine), job, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    actions = feedback_log.feedback_folder(job) / f"{feedback_log.INTERVENTIONS}.parquet"
    digests = {"tables": fingerprints, "feedback": raw_table.file_digest(actions)}
    atomic.write_bytes(job.data / TABLES, (json.dumps(digests, indent=1) + "\n").encode())
    return {**digests, "address": redact_url(job.tables)}


if __name__ == "__main__":
    main(tables)
