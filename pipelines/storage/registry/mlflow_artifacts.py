"""Addresses of MLflow's artifacts, which stay valid when the data folder is moved or copied.

MLflow writes the absolute address of every artifact into its database. After the data folder is moved, renamed, copied
or mounted elsewhere these addresses are invalid, or lead to the files of the original. So this code uses only the end
of an address, relative to `mlartifacts` in the current data folder. MLflow's user interface uses the full addresses, so
they are also updated in the database when a moved folder is first used.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
URI_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that contain addresses of artifacts."""
LOCK_TIMEOUT_SECONDS = 30


def artifacts_folder(data: Path) -> Path:
    """Absolute path of the artifacts in a data folder."""
    return data.resolve() / ARTIFACTS


def local_artifact_uri(data: Path, uri: str | None) -> str | None:
    """Address of the same artifact in this data folder; an address outside `mlartifacts` is returned unchanged."""
    if uri is None or not uri.startswith(("file:", "/")):
        return uri
    _, mark, end = uri.rpartition(f"/{ARTIFACTS}")
    if not mark or not (end == "" or end.startswith("/")):
        return uri
    return artifacts_folder(data).as_uri() + end


def relocate_artifacts(data: Path) -> int:
    """Update the artifact addresses in the database of a moved or copied data folder; return the number changed.

    All are changed in one transaction. A database that cannot be written stays unchanged: models are still found, and
    MLflow itself reports an invalid database.
    """
    try:
        uri = f"{(data.resolve() / DATABASE).as_uri()}?mode=rw"  # do not create a database
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_SECONDS)) as database, database:
            database.create_function("present", 1, lambda recorded: local_artifact_uri(data, recorded))
            return sum(_update_column(database, table, column) for table, column in URI_COLUMNS)
    except sqlite3.Error:
        return 0


def _update_column(database: sqlite3.Connection, table: str, column: str) -> int:
    statement = f"UPDATE {table} SET {column} = present({column}) WHERE {column} IS NOT present({column})"
    return database.execute(statement).rowcount
