"""The example company, written where a person asks for it: tables to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from renewals.pipelines.runtime.errors import ConfigError, OutputError
from renewals.pipelines.runtime.job import Job


def example(job: Job) -> dict[str, Any]:
    """Write the example company of the settings to `job.tables`, where it replaces nothing but an example company.

    Raises `ConfigError` where that folder holds anything else, `OutputError` where it cannot be written.
    """
    from renewals.examples.company import ForeignFolderError, refuse_foreign_folder, simulate_company, write_company

    wanted, folder = job.settings.demo, Path(job.tables)
    try:
        refuse_foreign_folder(folder)
        structlog.get_logger().info("example company", **wanted.model_dump())
        company = simulate_company(wanted.accounts, wanted.months, wanted.seed)
        write_company(company, folder)
    except ForeignFolderError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    rows = {name: table.num_rows for name, table in company.tables.items()}
    return {"tables": str(folder), "until": company.extract_date.isoformat(), "rows": rows}
