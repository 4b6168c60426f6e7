"""Returned workbooks read back: verdicts and notes kept with what the list said, actions made interventions.

What is understood is kept, what is not is told with its cell, and the folder of answers changes whole or not at all.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from renewals.models.ranking import manager_feedback
from renewals.pipelines.runtime.console import on_terminal, progress
from renewals.pipelines.runtime.errors import Config, DataContract, InputMissing, OutputFailed
from renewals.pipelines.runtime.job import Job, iso_date
from renewals.pipelines.runtime.lock import exclusive_lock
from renewals.pipelines.stages.act import disagreements
from renewals.pipelines.storage import data_files, folders
from renewals.pipelines.storage import feedback_log as answers
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import hindsight
from renewals.pipelines.storage.published.list_folder import harmed
from renewals.pipelines.storage.published.manifest import MANIFEST, RISK_LIST, UNREADABLE, read_manifest
from renewals.reports.sanitize import printable
from renewals.reports.sentences import disagreements as spoken
from renewals.reports.words import Words
from renewals.reports.workbook import feedback_answers
from renewals.reports.workbook import feedback_reader as returned
from renewals.reports.workbook.feedback_answers import Answer, Known, Refusal
from renewals.reports.workbook.feedback_reader import Book, NotReturned

SAID = ["account_name", "renewal_date", "renewal_probability", "risk_band"]
"""What of the list is kept beside an answer."""
LOCK, HOLDER = ".returned.lock", ".returned.json"
"""Collecting has a lock of its own: it waits for no run, and none for it."""
TOLD = 10
"""So many refusals are told at once; the file has all."""


@dataclass(frozen=True)
class Listed:
    """A published list that a workbook belongs to: its key, its rows by account id, the ids as workbooks show them."""

    key: str
    rows: pd.DataFrame
    known: Known

    @property
    def managers(self) -> dict[str, str | None]:
        """Whose each account is, by its id as workbooks show it."""
        csm = self.rows["csm"].astype(object).where(self.rows["csm"].notna(), None)
        return {text: csm[own] for text, own in self.known.ids.items()}


@dataclass
class Taken:
    """What came of the files: answers with the list and the digest of their file, refusals, sheets that are missing."""

    answers: list[Answer] = field(default_factory=list)
    lists: dict[str, Listed] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def collect(job: Job, files: Sequence[Path], recorded: str | None = None) -> dict[str, Any]:
    """Take the answers of returned workbooks; `recorded` is the day they came in, now where it is not given.

    Raises DataContract where anything was refused, after the rest was kept; InputMissing for a file that is not there.
    """
    contents = _contents(files)
    instant = _instant(recorded)
    with exclusive_lock(job.data, "collect", LOCK, HOLDER):
        return _collected(job, contents, instant)


def _collected(job: Job, contents: Mapping[str, bytes], instant: datetime) -> dict[str, Any]:
    before = answers.read_log(job)
    taken = _taken(job, contents, instant)
    known = _already(before)
    new = [own for own in taken.answers if (taken.digests[own.file], *own.about) not in known]
    kept, refused = feedback_answers.once(new)
    taken.refused.extend(refused)
    log = _appended(before, kept, taken, instant)
    _keep(job, log, taken.refused)
    told = _told(job, taken, kept, before) | {"already_known": len(taken.answers) - len(new)}
    told["disagreements"] = None if log is None else disagreements.so_far(job, log)
    if on_terminal():
        _show(job, told)
    if taken.refused:
        raise DataContract(_refusal(told, taken.refused), **told)
    return told


def _contents(files: Sequence[Path]) -> dict[str, bytes]:
    """The bytes of each file by its path; one given twice is one."""
    contents = {}
    for file in files:
        try:
            contents[str(file)] = file.read_bytes()
        except FileNotFoundError:
            raise InputMissing(f"no file {file}: name the workbooks that came back") from None
        except IsADirectoryError:
            raise InputMissing(f"{file} is a folder: name the workbooks in it, for example {file}/*.xlsx") from None
        except OSError as error:
            raise InputMissing(f"{file} cannot be read: {error.strerror or error}") from None
    return contents


def _instant(recorded: str | None) -> datetime:
    if recorded is None:
        return datetime.now(UTC).replace(tzinfo=None)
    return datetime.combine(iso_date(recorded, "--recorded"), time())


def _taken(job: Job, contents: Mapping[str, bytes], instant: datetime) -> Taken:
    """Every file read, in the order given. A file that is no returned workbook is refused, and the others go on."""
    taken, firsts = Taken(), _firsts(job)
    listed = cache(lambda as_of, key: _listed(job, as_of, key, firsts))
    with progress(len(contents), "collect") as step:
        for file, content in contents.items():
            try:
                book = returned.read_book(content)
                _take(taken, file, content, book, listed(book.cover.as_of, book.cover.key), instant)
            except NotReturned as fault:
                taken.refused.append(Refusal(f"is not taken: {fault}", file=file))
            step(Path(file).name)
    return taken


def _take(taken: Taken, file: str, content: bytes, book: Book, own: Listed, instant: datetime) -> None:
    as_of = book.cover.as_of
    book, strays = returned.rightful(book, own.managers)
    if instant.date() < as_of:
        raise Config(
            f"{file} answers the list of {as_of}, which cannot be answered on {instant.date()}: "
            "say with --recorded on which day the answers came in"
        )
    understood, refused = feedback_answers.understood(book, file, own.known, instant)
    taken.answers.extend(understood)
    taken.refused.extend(refused)
    taken.digests[file] = hashlib.sha256(content).hexdigest()
    taken.lists[file] = own
    taken.missing.extend(
        f"{file}: sheet {sheet.title} is not there, deleted or renamed: {_whose(sheet.csm)} are missing"
        for sheet in book.missing
    )
    taken.refused.extend(
        Refusal(
            "has answers, but is no sheet of this list: put them into the manager's own sheet", stray.title, file=file
        )
        for stray in strays
        if stray.rows
    )


def _whose(csm: str | None) -> str:
    return f"the answers of {csm}" if csm else "the answers for accounts without a manager"


# --- the list that was answered ------------------------------------------------------------------


def _listed(job: Job, as_of: date, key: str, firsts: Mapping[Any, date]) -> Listed:
    """The list that a workbook belongs to, also where another has taken its place. Raises NotReturned."""
    folder = _folder(job.lists, as_of, key)
    rows = data_files.load_frame(folder / RISK_LIST, columns=["account_id", "csm", *SAID])
    shown = rows["account_id"].astype(str).map(printable)
    ids = dict(zip(shown, rows["account_id"].tolist(), strict=True))
    return Listed(key, rows.set_index("account_id"), Known(ids, firsts))


def _folder(lists: Path, as_of: date, key: str) -> Path:
    day = as_of.isoformat()
    there = lists / day
    kept = sorted((lists / ".revisions" / day).glob("*/"))
    folders = [folder for folder in (there, *kept) if (folder / MANIFEST).is_file()]
    if not folders:
        raise NotReturned(f"no list of {day} is published in {lists}: give the folder that holds it with --lists")
    for folder in folders:
        try:
            manifest = read_manifest(folder)
        except UNREADABLE:
            continue
        if str(manifest["key"]) == key:
            if harmed(folder, manifest):
                raise NotReturned(
                    f"the list in {folder} is not as it was published: publish it anew, and collect again"
                )
            if hindsight.is_marked(manifest):
                raise NotReturned(
                    f"it belongs to the list in {folder}, which was made with hindsight: answers to such a list are "
                    "not kept, for its models knew what came later. Copy them into the workbook of a list "
                    "made in its time"
                )
            return folder
    raise NotReturned(
        f"it belongs to a list of {day} that is no longer kept in {lists}: another was published for that day since. "
        "Copy the answers into the workbook of the list that is there, and collect that"
    )


def _firsts(job: Job) -> dict[Any, date]:
    """The first day of every account's first contract."""
    contracts = warehouse.clean_tables(warehouse.connect(job.settings.engine), job.data)["contracts"]
    first = contracts.group_by("account_id").agg(first=contracts.start_date.min().date()).to_pyarrow().to_pydict()
    return dict(zip(first["account_id"], first["first"], strict=True))


# --- what is kept --------------------------------------------------------------------------------


def _already(before: pd.DataFrame | None) -> set[tuple[Any, ...]]:
    """What was taken from which file. A file collected again says nothing new, nor does it take back a newer answer."""
    if before is None:
        return set()
    return set(before[["file", "as_of", "account_id"]].itertuples(index=False, name=None))


def _appended(
    before: pd.DataFrame | None, kept: Sequence[Answer], taken: Taken, instant: datetime
) -> pd.DataFrame | None:
    """The log with the new answers below; one row per account answered in a workbook. None where nothing ever was."""
    if not kept:
        return before
    rows = pd.DataFrame([_logged(own, taken, instant) for own in kept])
    if before is None:
        return rows
    if pd.api.types.is_integer_dtype(before["account_id"]) != pd.api.types.is_integer_dtype(rows["account_id"]):
        raise DataContract(
            "the answers collected so far name accounts by ids of another type than this list does: "
            "move the folder `returned` of the data folder away, and collect again"
        )
    return pd.concat([before.astype(object), rows.astype(object)], ignore_index=True).astype(
        {"account_id": before["account_id"].dtype}
    )


def _logged(own: Answer, taken: Taken, instant: datetime) -> dict[str, Any]:
    listed = taken.lists[own.file]
    said = listed.rows.loc[own.account_id, SAID].to_dict()
    answer = {name: getattr(own, name) for name in ("as_of", "account_id", "csm", "verdict", "action", "begun", "note")}
    return answer | said | {"key": listed.key, "file": taken.digests[own.file], "recorded_at": instant}


def _keep(job: Job, log: pd.DataFrame | None, refused: Sequence[Refusal]) -> None:
    """Put the log, what follows from it, and what was refused in the place of what was there, all at once."""
    folder = answers.folder(job)
    files = {answers.REFUSED: feedback_answers.as_csv(refused), **({} if log is None else _made(log))}
    staged = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        for name, content in files.items():
            atomic.write_bytes(staged / name, content)
        folders.replace_folder(staged, folder)
    except OSError as error:
        raise OutputFailed(f"{folder} could not be written: {error.strerror or error}; nothing was taken") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        folders.undo_replace(folder)


def _made(log: pd.DataFrame) -> dict[str, bytes]:
    """The log, the verdicts in force, and what was begun: bytes by file name."""
    of_verdicts = {name: kind for name, kind in answers.TYPES.items() if name not in ("action", "begun", "file")}
    return {
        answers.LOG: answers.as_parquet(log, answers.TYPES),
        answers.VERDICTS: answers.as_parquet(manager_feedback.verdicts(log), of_verdicts),
        f"{answers.INTERVENTIONS}.parquet": _interventions(manager_feedback.begun(log)),
    }


def _interventions(begun: pd.DataFrame) -> bytes:
    """One row per intervention, in the columns of the data contract and the day of the list that was answered."""
    rows = begun.rename(columns={"action": "playbook", "begun": "started_at", "as_of": answers.MARK})
    rows = rows.assign(started_at=pd.to_datetime(rows["started_at"]), ended_at=None)
    types = {"account_id": None, "playbook": pa.string(), "csm": pa.string()}
    times = dict.fromkeys(("started_at", "ended_at", "recorded_at"), answers.INSTANT)
    return answers.as_parquet(rows, types | times | {answers.MARK: pa.date32()})


# --- what is told --------------------------------------------------------------------------------


def _told(job: Job, taken: Taken, kept: Sequence[Answer], before: pd.DataFrame | None) -> dict[str, Any]:
    """What came of the files, in numbers."""
    last = _last_said(before)
    return {
        "files": len(taken.digests),
        "kept": len(kept),
        "changed": sum(_differs(own.said, last[own.about]) for own in kept if own.about in last),
        "verdicts": sum(own.verdict is not None for own in kept),
        "actions": sum(own.action is not None for own in kept),
        "refused": len(taken.refused),
        "missing": taken.missing,
        "returned": str(job.data / answers.FOLDER),
    }


def _last_said(before: pd.DataFrame | None) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The newest word on each part of an answer, by list and account; what was never said is not there."""
    if before is None:
        return {}
    parts = before.groupby(["as_of", "account_id"])[["verdict", "action", "begun", "note"]].last().astype(object)
    said = parts.where(parts.notna(), None)
    return dict(zip(said.index, said.itertuples(index=False, name=None), strict=True))


def _differs(now: Sequence[Any], before: Sequence[Any]) -> bool:
    """Whether something is said otherwise than before; what is said for the first time, or left empty, is not."""
    return any(None not in pair and pair[0] != pair[1] for pair in zip(now, before, strict=True))


def _refusal(told: Mapping[str, Any], refused: Sequence[Refusal]) -> str:
    lines = [f"  {one}" for one in refused[:TOLD]]
    if len(refused) > TOLD:
        lines.append(f"  and {len(refused) - TOLD} more")
    head = f"{_counted(told)}, refused: {len(refused)}, all in {told['returned']}/{answers.REFUSED}"
    return "\n".join([head, *lines, "Nothing is taken twice: correct these and collect again"])


def _counted(told: Mapping[str, Any]) -> str:
    return (
        f"answers kept: {told['kept']} (verdicts: {told['verdicts']}, actions: {told['actions']}; "
        f"otherwise than before: {told['changed']}), known already: {told['already_known']}"
    )


def _show(job: Job, told: Mapping[str, Any]) -> None:
    """What came of it for a person; refusals are told after."""
    lines = [*told["missing"]] if told["refused"] else [_counted(told), *told["missing"]]
    if told["disagreements"]:
        lines.extend(spoken.tally(told["disagreements"], Words(job.settings.list.language)))
    print("\n".join(map(printable, lines)), file=sys.stderr)
