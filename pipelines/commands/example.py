"""Command `renewals example`: write the tables of the example company to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from renewals.pipelines.runtime.errors import ConfigError, OutputError
from renewals.pipelines.runtime.job import Job


def example(job: Job) -> dict[str, Any]:
    """Generate the example company of the settings and write its tables to `job.tables`; return the row counts.

    Raises `ConfigError` if that folder holds anything but an example company, `OutputError` if it cannot be written.
    """
    from renewals.examples.company import ForeignFolderError, refuse_foreign_folder, simulate_company, write_company

    demo_settings, folder = job.settings.demo, Path(job.tables)
    try:
        refuse_foreign_folder(folder)
        structlog.get_logger().info("example company", **demo_settings.model_dump())
        company = simulate_company(demo_settings.accounts, demo_settings.months, demo_settings.seed)
        write_company(company, folder)
    except ForeignFolderError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    rows = {name: table.num_rows for name, table in company.tables.items()}
    return {"tables": str(folder), "until": company.extract_date.isoformat(), "rows": rows}
