"""Where MLflow's artifacts lie: in this data folder, whatever absolute address was recorded.

MLflow writes the absolute address of every artifact into its database. Once the data folder is moved, renamed, copied
or mounted elsewhere these addresses lead nowhere, or to the files of the original. So nobody here follows them: an
address is read by its end, under the `mlartifacts` of the folder in use. MLflow's own user interface does follow them,
so they are brought up to date in the database as well, the first time a moved folder is used.
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
"""Every column of MLflow's database that holds the address of an artifact."""
LOCK_TIMEOUT_SECONDS = 30


def artifacts_folder(data: Path) -> Path:
    """The folder of a data folder's artifacts."""
    return data.resolve() / ARTIFACTS


def local_artifact_uri(data: Path, uri: str | None) -> str | None:
    """The address of the same artifact in this data folder; one that is no file of ours stays as it is."""
    if uri is None or not uri.startswith(("file:", "/")):
        return uri
    _, mark, end = uri.rpartition(f"/{ARTIFACTS}")
    if not mark or not (end == "" or end.startswith("/")):
        return uri
    return artifacts_folder(data).as_uri() + end


def relocate_artifacts(data: Path) -> int:
    """Record where the artifacts of a moved or copied data folder lie now; the number of addresses changed.

    All are changed in one transaction, or none. A database that cannot be written stays as it is: whoever reads a
    model resolves its address, and MLflow itself says what is wrong with a database that is none.
    """
    try:
        uri = f"{(data.resolve() / DATABASE).as_uri()}?mode=rw"  # never make one
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_SECONDS)) as database, database:
            database.create_function("present", 1, lambda recorded: local_artifact_uri(data, recorded))
            return sum(_update_column(database, table, column) for table, column in URI_COLUMNS)
    except sqlite3.Error:
        return 0


def _update_column(database: sqlite3.Connection, table: str, column: str) -> int:
    change = f"UPDATE {table} SET {column} = present({column}) WHERE {column} IS NOT present({column})"
    return database.execute(change).rowcount
