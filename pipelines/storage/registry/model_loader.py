"""A model's first load is tried in a process of its own.

Fingerprints say that the files are those that were registered, not that they are whole: a booster registered half
written passes every check and then kills the interpreter. What dies here is the child. A load that went well is
remembered in the data folder by the model's fingerprint, LightGBM's version and the kind of machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.engine import atomic

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel

SMOKE_TESTED_FOLDER = "model_load_checks"
LOAD_TIMEOUT_SECONDS = 120
"""A load takes two or three, mostly imports; the rest is for a machine that is busy."""


def load_model(data: Path, name: str, files: Mapping[str, bytes]) -> EnsembleModel:
    """The model of these files, whose fingerprints were checked; tried in a child first where it is new here.

    `name` is how the model is called in the words of an error. Raises DataContractError where it cannot be loaded.
    """
    from renewals.models.training.ensemble import MODEL_FILES, EnsembleModel

    lost = [file for file in MODEL_FILES if file not in files]
    if lost:
        raise DataContractError(f"model {name} lacks {', '.join(lost)}: run `renewals learn` again")
    remembered = data / SMOKE_TESTED_FOLDER / _load_fingerprint({file: files[file] for file in MODEL_FILES})
    if not remembered.is_file():
        _run_smoke_test(name, {file: files[file] for file in MODEL_FILES})
        atomic.write_bytes(remembered, b"")
        old_names.remove_remade(data, [SMOKE_TESTED_FOLDER])
    try:
        return EnsembleModel.from_files(files)
    except (ValueError, KeyError, TypeError) as error:
        raise DataContractError(f"model {name} cannot be read: {error!r}; run `renewals learn` again") from error


def _load_fingerprint(files: Mapping[str, bytes]) -> str:
    """One name for these files as read by this LightGBM on this kind of machine."""
    digest = hashlib.sha256(f"{version('lightgbm')} {platform.machine()}".encode())
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _run_smoke_test(name: str, files: Mapping[str, bytes]) -> None:
    """Load the files and let them speak once, in a child. Raises DataContractError where it does not come back well."""
    path = os.pathsep.join(filter(None, sys.path))  # the child imports what we import, from the same places
    with tempfile.TemporaryDirectory(prefix="renewals-trial-") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        try:
            child = subprocess.run(
                [sys.executable, "-P", "-m", "renewals.pipelines.storage.registry.model_loader", folder],
                capture_output=True, text=True, check=False, errors="replace", timeout=LOAD_TIMEOUT_SECONDS,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DataContractError(
                f"model {name} did not load within {LOAD_TIMEOUT_SECONDS} s: try again when the machine is less busy, "
                "else run `renewals learn` again"
            ) from None
    if child.returncode:
        raise DataContractError(f"model {name} cannot be loaded: {_exit_reason(child)}; run `renewals learn` again")


def _exit_reason(child: subprocess.CompletedProcess[str]) -> str:
    """How the child ended, in words."""
    if child.returncode < 0:
        return f"LightGBM crashed ({signal.Signals(-child.returncode).name})"
    return (child.stderr.strip().splitlines() or [f"the trial ended with {child.returncode}"])[-1]


def smoke_test(folder: Path) -> None:
    """Load the model that lies in a folder and let it speak of one account, with contributions."""
    import pandas as pd

    from renewals.models.training.ensemble import EnsembleModel

    model = EnsembleModel.from_files({path.name: path.read_bytes() for path in folder.iterdir()})
    row = pd.DataFrame({name: [0.0] for name in model.schema.names})
    model.probability(row)
    model.contributions(row)


if __name__ == "__main__":
    smoke_test(Path(sys.argv[1]))
