"""Paths of the project, also for a stage that runs in the temporary copy of a DVC experiment. Light to import."""

from __future__ import annotations

import os
from pathlib import Path

DVC_ROOT = "DVC_ROOT"
"""Environment variable that DVC sets for the command of every stage: the folder that contains `.dvc`."""
EXPERIMENTS_FOLDER = Path(".dvc", "tmp", "exps")
"""Folder with the copies of the project in which DVC runs experiments."""


def project_root() -> Path:
    """Folder of the project, with its tables and its registry.

    `dvc exp run --temp` and `--queue` run the stages in a copy of the files in Git, below `.dvc/tmp/exps`. The tables,
    the registry and all other ignored files stay in the project. In all other cases it is the current folder.
    """
    here, root = Path.cwd(), Path(os.environ.get(DVC_ROOT) or ".").resolve()
    if not here.is_relative_to(root / EXPERIMENTS_FOLDER):
        return Path()
    copy = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)
    return root / here.relative_to(copy)


def tables_address(configured: str, option: str | None = None) -> str:
    """Address of the raw tables: the command-line option, or `tables` of `params.yaml`.

    A configured path is relative to the project, also in the temporary copy of an experiment; an option is relative to
    the current folder, like every other path on the command line.
    """
    if option is not None:
        return option
    root = project_root()
    scheme, sign, path = configured.partition(":///")
    if not sign:
        return configured if "://" in configured else str(root / configured)
    # `duckdb:///x` is a relative path, `duckdb:////x` an absolute one.
    return f"{scheme}:///{root / path}" if scheme == "duckdb" and root != Path() else configured
