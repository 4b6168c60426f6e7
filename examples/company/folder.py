"""Write the example company into a folder without overwriting files that it did not write."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from renewals.examples.company import states, truth

if TYPE_CHECKING:
    from renewals.examples.company.simulation import Company

MARKER = "example_company.json"
"""Name of the file among the tables that holds the digest of every other file written."""
CREATED_BY = "renewals example"
EARLIER_RELEASE_HINT = f"; an example company of an earlier release, which has no {MARKER}, can be deleted"
ROWS_PER_GROUP = 250_000


class ForeignFolderError(Exception):
    """A folder holds files that the example company did not write, or that were changed since."""


def write_company(company: Company, folder: Path | str) -> Path:
    """Write each table as `<folder>/<table>.parquet`, and the truth into `<folder>/ground_truth`.

    The folder appears complete or not at all. Raises `ForeignFolderError` as `refuse_foreign_folder` does.
    """
    folder = Path(folder).absolute()
    refuse_foreign_folder(folder)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "ground_truth").mkdir(parents=True)
    _write_tables(company, unfinished)
    marker = {"made_by": CREATED_BY, "until": company.extract_date.isoformat(), "files": _file_digests(unfinished)}
    (unfinished / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    refuse_foreign_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder


def refuse_foreign_folder(folder: Path) -> None:
    """Raise `ForeignFolderError` unless the folder is missing, empty, or unchanged since `write_company` wrote it."""
    present = _file_digests(folder)
    recorded = _recorded_digests(folder)
    foreign = sorted(name for name, digest in present.items() if recorded.get(name) != digest)
    if foreign:
        more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
        raise ForeignFolderError(
            f"{folder} holds files that the example company did not write, or that were changed since "
            f"({foreign[0]}{more}): nothing was written. Use another folder{'' if recorded else EARLIER_RELEASE_HINT}"
        )


def _write_tables(company: Company, folder: Path) -> None:
    for target, group in ((folder, company.tables), (folder / "ground_truth", company.truth)):
        for name, table in group.items():
            pq.write_table(table, target / f"{name}.parquet", compression="zstd", row_group_size=ROWS_PER_GROUP)
    readme = truth.README_TEMPLATE.format(effect=states.INTERVENTION_EFFECT, follow_up=truth.FOLLOW_UP_DAYS)
    (folder / "ground_truth" / "README.md").write_text(readme, encoding="utf-8")


def _recorded_digests(folder: Path) -> dict[str, str]:
    """Digest of each file that `write_company` wrote here, by relative path; empty if there is no valid marker."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return dict(marker["files"]) if marker["made_by"] == CREATED_BY else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _file_digests(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder except the marker, by relative path."""
    if folder.is_file():
        return {".": _sha256(folder)}
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / MARKER)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)}


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
