"""Where the project lies, also for a stage that runs in the temporary copy of a DVC experiment. Light to import."""

from __future__ import annotations

import os
from pathlib import Path

DVC_ROOT = "DVC_ROOT"
"""Set by DVC for the command of every stage: the folder that holds `.dvc`, whatever folder the stage runs in."""
EXPERIMENTS_FOLDER = Path(".dvc", "tmp", "exps")
"""Where DVC keeps the copies in which experiments run."""


def project_root() -> Path:
    """The project's folder: where its tables and its registry are.

    `dvc exp run --temp` and `--queue` run the stages in a copy of what git knows, below `.dvc/tmp/exps`; the tables,
    the registry and everything else that git ignores stay in the project. Anywhere else it is the current folder.
    """
    here, root = Path.cwd(), Path(os.environ.get(DVC_ROOT) or ".").resolve()
    if not here.is_relative_to(root / EXPERIMENTS_FOLDER):
        return Path()
    copy = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)
    return root / here.relative_to(copy)


def tables_address(configured: str, option: str | None = None) -> str:
    """Where the raw tables are: the option of the command line, or what `tables` in `params.yaml` says.

    What is configured is relative to the project, also in the temporary copy of an experiment; an option is relative
    to the current folder, as every other path that a person types.
    """
    if option is not None:
        return option
    root = project_root()
    scheme, sign, path = configured.partition(":///")
    if not sign:
        return configured if "://" in configured else str(root / configured)
    # `duckdb:///x` is a relative path, `duckdb:////x` an absolute one.
    return f"{scheme}:///{root / path}" if scheme == "duckdb" and root != Path() else configured
