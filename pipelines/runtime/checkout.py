"""Where this code runs from: a working copy with its top-level files, or an installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGED = Path(__file__).with_name("playbooks.yaml")
"""The copy of the top-level file that only a wheel holds (`force-include` in `pyproject.toml`)."""


def checkout() -> Path | None:
    """The root of the working copy, or None for an installed wheel.

    Beside the packages of a wheel lies `site-packages`, where nothing of ours may be looked for.
    """
    return None if PACKAGED.is_file() else Path(__file__).resolve().parents[2]


def shipped_playbooks() -> Path:
    """The default library of playbooks: the top-level file of a working copy, or the wheel's copy of it."""
    root = checkout()
    return PACKAGED if root is None else root / "playbooks.yaml"
