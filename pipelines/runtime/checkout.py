"""Where this code runs from: a working copy with its top-level files, or an installed wheel."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGED_PLAYBOOKS = Path(__file__).with_name("playbooks.yaml")
"""The copy of the top-level file that only a wheel holds (`force-include` in `pyproject.toml`)."""


def checkout_root() -> Path | None:
    """The root of the working copy, or None for an installed wheel.

    Beside the packages of a wheel lies `site-packages`, where nothing of ours may be looked for.
    """
    return None if PACKAGED_PLAYBOOKS.is_file() else Path(__file__).resolve().parents[2]


def default_playbooks_path() -> Path:
    """The default library of playbooks: the top-level file of a working copy, or the wheel's copy of it."""
    root = checkout_root()
    return PACKAGED_PLAYBOOKS if root is None else root / "playbooks.yaml"


def code_revision() -> str:
    """The commit of the working copy, marked where files were changed since; elsewhere the package's version.

    Git is asked only about a repository whose root is the working copy itself: a wheel, or a copy without `.git`, may
    lie inside the repository of somebody else.
    """
    root = checkout_root()
    if root is None or not (root / ".git").exists():
        return f"version {package_version()}"
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"version {package_version()}"


def package_version() -> str:
    """The version of this package: another release may tell the same inputs otherwise."""
    try:
        return version("renewals")
    except PackageNotFoundError:
        return "unknown"
