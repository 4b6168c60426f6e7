"""Location and version of the running code: a working copy with its top-level files, or an installed wheel."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGED_PLAYBOOKS = Path(__file__).with_name("playbooks.yaml")
"""Copy of the top-level file; it exists only in a wheel (`force-include` in `pyproject.toml`)."""


def checkout_root() -> Path | None:
    """Root folder of the working copy, or None for an installed wheel.

    In a wheel the parent folder is `site-packages`, which contains no files of this project.
    """
    return None if PACKAGED_PLAYBOOKS.is_file() else Path(__file__).resolve().parents[2]


def default_playbooks_path() -> Path:
    """Path of the default playbook library: the top-level file of a working copy, or the wheel's copy of it."""
    root = checkout_root()
    return PACKAGED_PLAYBOOKS if root is None else root / "playbooks.yaml"


def code_revision() -> str:
    """Commit of the working copy, with `-dirty` for uncommitted changes; without Git, the version of the package.

    Git is called only if the working copy is the root of a repository: a wheel, or a copy without `.git`, may be inside
    a repository of another project.
    """
    root = checkout_root()
    if root is None or not (root / ".git").exists():
        return f"version {package_version()}"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"version {package_version()}"


def package_version() -> str:
    """Version of this package, or `unknown`; another release may give other results for the same inputs."""
    try:
        return version("renewals")
    except PackageNotFoundError:
        return "unknown"
