"""The example company, written where a person asks for it: tables to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from renewals.pipelines.runtime.errors import Config, OutputFailed
from renewals.pipelines.runtime.job import Job


def example(job: Job) -> dict[str, Any]:
    """Write the example company of the settings to `job.tables`, where it replaces nothing but an example company.

    Raises `Config` where that folder holds anything else, `OutputFailed` where it cannot be written.
    """
    from renewals.examples.company import ForeignFolderError, refuse_foreign, simulate, write

    wanted, folder = job.settings.demo, Path(job.tables)
    try:
        refuse_foreign(folder)
        structlog.get_logger().info("example company", **wanted.model_dump())
        company = simulate(wanted.accounts, wanted.months, wanted.seed)
        write(company, folder)
    except ForeignFolderError as error:
        raise Config(str(error)) from None
    except OSError as error:
        raise OutputFailed(f"{folder} cannot be written: {error.strerror or error}") from None
    rows = {name: table.num_rows for name, table in company.tables.items()}
    return {"tables": str(folder), "until": company.until.isoformat(), "rows": rows}
