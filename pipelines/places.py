"""Where the project lies, also for a stage that runs in the temporary copy of a DVC experiment. Light to import."""

from __future__ import annotations

import os
from pathlib import Path

DVC_ROOT = "DVC_ROOT"
"""Set by DVC for the command of every stage: the folder of the project, whatever folder the stage runs in."""


def project_root() -> Path:
    """The project's folder: where its tables and its registry are.

    `dvc exp run --temp` and `--queue` run the stages in a copy of what git knows, below `.dvc/tmp/exps`; the tables,
    the registry and everything else that git ignores stay in the project. Outside DVC it is the current folder.
    """
    root = Path(os.environ.get(DVC_ROOT) or ".")
    return Path() if root.resolve() == Path.cwd() else root
