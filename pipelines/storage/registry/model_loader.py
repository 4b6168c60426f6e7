"""Load models; the first load of a model on a machine is tested in a child process.

Fingerprints prove that the files are the registered ones, not that they are complete: a booster that was incomplete at
registration passes every check and then crashes the interpreter. Here only the child process crashes. A successful test
is recorded in the data folder by the model's fingerprint, LightGBM's version and the machine type.
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
"""A load takes two or three seconds, mostly for imports; the rest is a reserve for a busy machine."""


def load_model(data: Path, name: str, files: Mapping[str, bytes]) -> EnsembleModel:
    """Load a model from its verified files, after a smoke test in a child process if it is new on this machine.

    `name` is the name of the model in error messages. Raises DataContractError if it cannot be loaded.
    """
    from renewals.models.training.ensemble import MODEL_FILES, EnsembleModel

    missing = [file for file in MODEL_FILES if file not in files]
    if missing:
        raise DataContractError(f"model {name} lacks {', '.join(missing)}: run `renewals learn` again")
    passed_marker = data / SMOKE_TESTED_FOLDER / _load_fingerprint({file: files[file] for file in MODEL_FILES})
    if not passed_marker.is_file():
        _run_smoke_test(name, {file: files[file] for file in MODEL_FILES})
        atomic.write_bytes(passed_marker, b"")
        old_names.remove_old_versions(data, [SMOKE_TESTED_FOLDER])
    try:
        return EnsembleModel.from_files(files)
    except (ValueError, KeyError, TypeError) as error:
        raise DataContractError(f"model {name} cannot be read: {error!r}; run `renewals learn` again") from error


def _load_fingerprint(files: Mapping[str, bytes]) -> str:
    """Fingerprint of the files, the installed LightGBM version and the machine type."""
    digest = hashlib.sha256(f"{version('lightgbm')} {platform.machine()}".encode())
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _run_smoke_test(name: str, files: Mapping[str, bytes]) -> None:
    """Run `smoke_test` on the files in a child process. Raises DataContractError if it fails, crashes or times out."""
    path = os.pathsep.join(filter(None, sys.path))  # the child imports from the same folders as this process
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
    """Phrase for an error message about how the child process ended."""
    if child.returncode < 0:
        return f"LightGBM crashed ({signal.Signals(-child.returncode).name})"
    return (child.stderr.strip().splitlines() or [f"the trial ended with {child.returncode}"])[-1]


def smoke_test(folder: Path) -> None:
    """Load the model from a folder and compute probability and contributions of one row of zeros."""
    import pandas as pd

    from renewals.models.training.ensemble import EnsembleModel

    model = EnsembleModel.from_files({path.name: path.read_bytes() for path in folder.iterdir()})
    row = pd.DataFrame({name: [0.0] for name in model.schema.names})
    model.probability(row)
    model.contributions(row)


if __name__ == "__main__":
    smoke_test(Path(sys.argv[1]))
