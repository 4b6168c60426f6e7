"""A list appears whole or not at all: `lists/<as_of>/` is complete, or absent, at every instant.

Files are written beside their place, flushed to the disk, read back and compared, and the whole folder is then
renamed into place. POSIX cannot rename a folder over one that holds files, and removing the old one first would
leave a moment without any; so an earlier list of the same day is first kept under `.revisions/<as_of>/<n>/` (hard
links, no copying) and then exchanged with the new one in one step (Linux `renameat2`, RENAME_EXCHANGE). Where the
system has no such call the old folder is moved away before the new one comes: in between the list is absent, never
half there. Links to the current folder would do the same everywhere, but a link is lost when `lists/` is copied,
zipped, or put under DVC.

A kill at any point leaves at most a `.staging-…` folder, removed by a later run, and a revision that equals the
current list, which the next run finds and uses.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from filelock import FileLock, Timeout

from renewals.pipelines.runtime import errors
from renewals.pipelines.runtime.checkout import checkout
from renewals.pipelines.runtime.job import PLAIN_NAME, Job, iso_date, main
from renewals.pipelines.runtime.signals import raise_if_received
from renewals.pipelines.storage import data_files, folders
from renewals.pipelines.storage import hindsight as training_day

if TYPE_CHECKING:
    import pandas as pd

    from renewals.pipelines.scoring.interventions_since import Since
    from renewals.pipelines.storage.published_lists import Published
    from renewals.reports.render_failures import Losses
    from renewals.reports.workbook.workbook import Behind

MANIFEST = "manifest.json"
PUBLISHED = "published"
ALREADY = "already published"
NOT_PUBLISHED = "not published"


def place(
    lists: Path, as_of: date, files: Mapping[str, bytes], manifest: Mapping[str, Any], keep_hours: float = 24.0
) -> dict[str, Any]:
    """Publish the files of one day under `lists/<as_of>/` with their manifest, whole or not at all.

    `manifest["identity"]` says from what the list was made: where a list of the same identity stands there
    already, unharmed, nothing is touched. Returns the state, the folder and, where an earlier list was replaced, the
    number under which it is kept. Raises Busy while another run publishes, OutputFailed where the disk refuses, Config
    where a list made with hindsight would take the place of one made in its time.
    """
    raise_if_received()
    day = iso_date(as_of.isoformat(), "as_of")
    target = lists / day.isoformat()
    _refuse_odd_names(files)
    with _disk(lists), _alone(lists):
        _sweep(lists, keep_hours)
        if training_day.is_marked(manifest):
            require_no_list_in_time(target)
        if refuse_link(target).exists() and standing(target, manifest["identity"]):
            return {"state": ALREADY, "folder": str(target), "kept_as": None}
        staging = lists / f".staging-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _write(staging, files, manifest)
            kept_as = _swap(staging, target, lists / ".revisions" / day.isoformat())
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return {"state": PUBLISHED, "folder": str(target), "kept_as": kept_as}


def lists_folder(job: Job) -> Path:
    """Where the job publishes: a trial in its own folder, for a look at its list."""
    return job.trial_folder / "lists" if job.trial else job.lists


def require_no_list_in_time(target: Path) -> None:
    """Raise `Config` where a list made in its time stands: one made with hindsight must not take its place."""
    if training_day.stands_in_time(target, MANIFEST):
        raise errors.Config(
            f"{target} holds a list made in its time, and one made with hindsight does not take its place: name "
            "another folder with --lists"
        )


def standing(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a complete, unharmed list made from the same things stands here."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return bool(manifest["key"] == key_of(identity)) and not harmed(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def harmed(folder: Path) -> list[str]:
    """The files of a published list that are missing or other than its manifest says."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    return [name for name, said in manifest["files"].items() if _fingerprint(folder / name) != said["sha256"]]


def key_of(identity: Mapping[str, Any]) -> str:
    """One fingerprint for all that a list was made from."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=True, default=str).encode()).hexdigest()


def _fingerprint(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _refuse_odd_names(files: Mapping[str, bytes]) -> None:
    odd = [name for name in files if not PLAIN_NAME.fullmatch(name) or name == MANIFEST]
    if odd:
        raise ValueError(f"not the name of a file to publish: {odd[0]!r}")


def refuse_link(target: Path) -> Path:
    """The place of a list. Raises `OutputFailed` where something else than a folder stands there."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise errors.OutputFailed(f"{target} is not a folder of its own: move it away, then publish again")
    return target


@contextmanager
def _disk(lists: Path) -> Iterator[None]:
    """Whatever the disk refuses is said as one sentence."""
    try:
        lists.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        raise errors.OutputFailed(
            f"the list could not be published: {error.filename or lists}: {words}; no half list was left"
        ) from error


@contextmanager
def _alone(lists: Path) -> Iterator[None]:
    """Hold the lock of the lists folder; it frees itself when its holder dies."""
    lock = FileLock(lists / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise errors.Busy(f"another run is publishing into {lists}: try again when it has ended") from None
    try:
        yield
    finally:
        lock.release()


def _sweep(lists: Path, keep_hours: float) -> None:
    """Remove what killed runs left behind, once it is old enough to be nobody's."""
    for left in lists.glob(".staging-*"):
        if time.time() - left.lstat().st_mtime > keep_hours * 3600:
            shutil.rmtree(left, ignore_errors=True)


def _write(staging: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write, flush, and read back every file; the manifest last."""
    staging.mkdir()
    sizes = {}
    for name, content in files.items():
        _flushed(staging / name, content)
        sizes[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    ended = {"ended_at": datetime.now(UTC).isoformat(timespec="seconds"), "exit_state": PUBLISHED}
    whole = {**manifest, "key": key_of(manifest["identity"]), "files": sizes, **ended}
    text = json.dumps(data_files.without_nan(whole), indent=1, sort_keys=True, ensure_ascii=False, default=str)
    _flushed(staging / MANIFEST, text.encode())
    if spoilt := harmed(staging):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(staging / spoilt[0]))
    _flush_folder(staging)


def _flushed(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(staging: Path, target: Path, revisions: Path) -> int | None:
    """Put the staged folder in its place; an earlier one is kept, and its number returned."""
    if not target.exists():
        os.rename(staging, target)
        _flush_folder(target.parent)
        return None
    number = _keep(target, revisions)
    if not folders.exchange(staging, target):
        aside = staging.with_name(f"{staging.name}-old")
        os.rename(target, aside)
        os.rename(staging, target)
        shutil.rmtree(aside, ignore_errors=True)
    _flush_folder(target.parent)
    return number


def _keep(target: Path, revisions: Path) -> int:
    """Keep a list as the next revision, unless the newest one is the same list."""
    numbers = sorted(int(kept.name) for kept in revisions.glob("[0-9]*") if kept.name.isdigit())
    if numbers and _same(target, revisions / str(numbers[-1])):
        return numbers[-1]
    number = numbers[-1] + 1 if numbers else 1
    revisions.mkdir(parents=True, exist_ok=True)
    copy = revisions.parent.parent / f".staging-{os.getpid()}-{secrets.token_hex(4)}-kept"
    try:
        shutil.copytree(target, copy, copy_function=_linked)
        _flush_folder(copy)
        os.rename(copy, revisions / str(number))
        _flush_folder(revisions)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return number


def _same(one: Path, other: Path) -> bool:
    names = {path.name for path in one.iterdir()}
    return names == {path.name for path in other.iterdir()} and all(
        _fingerprint(one / name) == _fingerprint(other / name) for name in names if (one / name).is_file()
    )


def _linked(source: str, copy: str) -> None:
    try:
        os.link(source, copy)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        shutil.copy2(source, copy)


@dataclass(frozen=True)
class _Beside:
    """What a list is shown with that its scores do not hold."""

    before: list[Published]
    """The lists before it, the newest first."""
    foretold: list[dict[str, Any]] | None
    card: dict[str, Any] | None
    """The scorecard of the day."""
    since: Since | None
    """What was begun since the last list."""


def publish(job: Job, without: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Publish the list that was scored for the act date: Parquet, CSV, workbook, pages and manifest.

    A trial publishes nothing: its list is kept in the trial's folder, for a look at it. `without` names what failed
    beside the list, and why.
    """
    from renewals.pipelines.scoring import page_data
    from renewals.pipelines.scoring.interventions_since import since
    from renewals.pipelines.scoring.render_failures import report_losses
    from renewals.pipelines.stages.act import scorecard
    from renewals.pipelines.stages.act.score import read_scored
    from renewals.pipelines.storage.list_archive import keep_day
    from renewals.pipelines.storage.published_lists import keep_told
    from renewals.reports.render_failures import Losses
    from renewals.reports.risk_list import counts

    standing, listed = read_scored(job)
    hindsight = training_day.is_marked(standing)
    models = {target: f"{model['name']}/{model['version']}" for target, model in standing["models"].items()}
    foretold = page_data.forecast(job, standing["models"]["renewal"])
    done = since(job, listed, standing["playbooks"])
    beside = _Beside(page_data.earlier_lists(job), foretold, scorecard.read(job), done)
    certificate = _certificate(job.data)
    identity = _identity(job, standing, certificate["inputs"], beside)
    manifest = {
        **standing,
        "identity": identity,
        "inputs": certificate["inputs"],
        "quarantine": certificate["quarantine"],
        "rows": counts(listed),
        "language": job.settings.list.language,
        "code": code_revision(),
    }
    losses = Losses()
    files = _files(job, standing, listed, models, beside, key_of(identity), losses)
    manifest |= {"left_out": report_losses(losses), "without": dict(without or {})}
    outcome = place(lists_folder(job), job.day, files, manifest, job.settings.list.keep_staging_hours)
    if job.trial:
        outcome |= {"state": NOT_PUBLISHED, "trial": job.trial}
        structlog.get_logger().warning("a trial publishes no list", trial=job.trial, kept_in=outcome["folder"])
    else:
        keep_day(job, key_of(identity), done, hindsight)
        if not hindsight:
            keep_told(job)
    about = {"as_of": standing["as_of"], training_day.MARK: hindsight, "rows": len(listed), "models": models}
    return outcome | about | {"absent": standing["absent"], "notices": standing["notices"]}


def _files(
    job: Job,
    standing: Mapping[str, Any],
    listed: pd.DataFrame,
    models: Mapping[str, str],
    beside: _Beside,
    key: str,
    losses: Losses,
) -> dict[str, bytes]:
    """The bytes of every file of the list but its manifest, by name."""
    from renewals.pipelines.scoring import page_data
    from renewals.pipelines.stages.act import scorecard
    from renewals.reports.csv_export import as_csv
    from renewals.reports.html.list_page import as_page
    from renewals.reports.html.scorecard_page import as_page as as_scorecard
    from renewals.reports.risk_list import as_parquet
    from renewals.reports.workbook.workbook import as_workbook

    options, card = job.settings.list, beside.card
    drawn = page_data.behind(job, listed, standing, beside.before, beside.foretold)
    files = {
        "risk_list.parquet": as_parquet(listed),
        "risk_list.csv": as_csv(listed),
        "risk_list.xlsx": as_workbook(listed, _behind(job, standing, listed, models, beside, key), options, losses),
        "risk_list.html": as_page(listed, drawn, options, scorecard.PAGE if card else "", losses),
    }
    if card:
        files[scorecard.PAGE] = as_scorecard(card, options.language, "risk_list.html", standing["notices"])
    return files


def _behind(
    job: Job, standing: Mapping[str, Any], listed: pd.DataFrame, models: Mapping[str, str], beside: _Beside, key: str
) -> Behind:
    """What stands behind the workbook."""
    from renewals.pipelines.stages.act import disagreements
    from renewals.reports.workbook.workbook import Behind

    done, last = beside.since, (standing["change"]["last"] or {}).get("key")
    return Behind(
        models=models,
        absent=standing["absent"],
        untold=standing["families_absent"],
        plays=standing["playbooks"],
        since=(done.last, done.begun) if done else None,
        last=next(((one.day, one.listed) for one in beside.before if str(one.manifest["key"]) == last), None),
        forecast=beside.foretold or (),
        card=beside.card,
        apart=disagreements.read(job),
        key=key,
        notices=standing["notices"],
    )


def _identity(job: Job, standing: Mapping[str, Any], inputs: Mapping[str, Any], beside: _Beside) -> dict[str, Any]:
    """All that a list is made from."""
    from renewals.pipelines.stages.act import disagreements, scorecard

    return {
        "as_of": standing["as_of"],
        "models": standing["models"],
        "features": standing["features"],
        "inputs": inputs,
        "policy": _policy(job),
        "list": job.settings.list.model_dump(mode="json", exclude={"hindsight"}),
        "playbooks": standing["playbooks"],
        "decided_days": job.settings.folds.decided_days,
        "last": standing["change"]["last"],
        "alerts": standing["alerts"]["digest"],
        "release": release(),
        "earlier": [str(one.manifest["key"]) for one in beside.before],
        "forecast": key_of({"rows": beside.foretold}),
        "scorecard": scorecard.digest(job) if beside.card else None,
        "disagreements": disagreements.digest(job),
        "notices": standing["notices"],
    }


def _policy(job: Job) -> str:
    """A digest of the parameters that decide who is listed and what a feature means; those of the machine do not."""
    names = (
        "spine",
        "grace",
        "renewal",
        "usage",
        "stakeholders",
        "tickets",
        "journey",
        "money",
        "quarantine",
        "source",
    )
    told = job.settings.model_dump_json(include=set(names))
    return hashlib.sha256(told.encode()).hexdigest()


def _certificate(data: Path) -> dict[str, dict[str, Any]]:
    """The fingerprint of each table read, and how many of its rows were set aside."""
    try:
        tables = data_files.load_json(data / "certificate.json")["tables"]
    except FileNotFoundError:
        raise errors.InputMissing(f"no certificate in {data}: run `renewals check` first") from None
    inputs = {name: table["fingerprint"] for name, table in tables.items()}
    return {"inputs": inputs, "quarantine": {name: table["rows_quarantined"] for name, table in tables.items()}}


def code_revision() -> str:
    """The commit of the working copy, marked where files were changed since; elsewhere the package's version.

    Git is asked only about a repository whose root is the working copy itself: a wheel, or a copy without `.git`, may
    lie inside the repository of somebody else.
    """
    root = checkout()
    if root is None or not (root / ".git").exists():
        return f"version {release()}"
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"version {release()}"


def release() -> str:
    """The version of this package: another release may tell the same inputs otherwise."""
    try:
        return version("renewals")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    main(publish)
