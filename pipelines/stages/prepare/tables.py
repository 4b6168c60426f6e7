"""What the raw tables hold now, as digests: by these DVC knows whether they changed, wherever they are.

The tables are no dependency of a stage: DVC knows no database, and in the copy of an experiment their folder is not
there. So this stage runs each time and reads them, and `check` depends on what it writes.
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

    Raises as `raw_tables.raw_tables` does, and what `preflight` finds wrong that later stages would meet.
    """
    preflight.run_checks("stage tables", job)
    scratch = job.data / "fingerprints.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        found = raw_tables.table_fingerprints(warehouse.connect(job.settings.engine), job, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    actions = feedback_log.feedback_folder(job) / f"{feedback_log.INTERVENTIONS}.parquet"
    standing = {"tables": found, "feedback": raw_table.file_digest(actions)}
    atomic.write_bytes(job.data / TABLES, (json.dumps(standing, indent=1) + "\n").encode())
    return {**standing, "address": redact_url(job.tables)}


if __name__ == "__main__":
    main(tables)
