"""Atomic replacement of folders: a reader sees the old one or the new one, never a mixture."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from renewals.pipelines.runtime.errors import OutputError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def replace_folder(new: Path, old: Path) -> None:
    """Move the finished folder `new` to the path `old` and delete the folder that was there.

    One atomic step if the system supports it.
    """
    aside = old.with_name(f".{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists() and exchange_folders(new, old):
        shutil.rmtree(new, ignore_errors=True)
        return
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def copy_folder(source: Path, copy: Path) -> None:
    """Copy a folder and replace an older copy of it, completely or not at all. Raises `OutputError`."""
    unfinished = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(source, unfinished)
        replace_folder(unfinished, copy)
    except OSError as error:
        raise OutputError(f"{copy} could not be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def undo_replace(folder: Path) -> None:
    """Move the old folder back if a crash interrupted `replace_folder` before the new folder was in place."""
    aside = folder.with_name(f".{folder.name}.old")
    if aside.exists() and not folder.exists():
        aside.rename(folder)


def exchange_folders(first: Path, second: Path) -> bool:
    """Exchange two folders in one atomic step; False if the system does not support it."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    call = getattr(libc, "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(second))
