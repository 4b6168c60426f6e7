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
from renewals.pipelines.runtime.console import is_interactive, progress
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError, OutputError
from renewals.pipelines.runtime.job import Job, parse_date
from renewals.pipelines.runtime.lock import exclusive_lock
from renewals.pipelines.stages.act import disagreements
from renewals.pipelines.storage import data_files, folders
from renewals.pipelines.storage import feedback_log as answers
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import hindsight
from renewals.pipelines.storage.published.list_folder import corrupted_files
from renewals.pipelines.storage.published.manifest import MANIFEST, RISK_LIST, UNREADABLE, read_manifest
from renewals.reports.sanitize import make_printable
from renewals.reports.sentences import disagreements as spoken
from renewals.reports.words import Messages
from renewals.reports.workbook import feedback_answers
from renewals.reports.workbook import feedback_reader as returned
from renewals.reports.workbook.feedback_answers import Answer, ListedAccounts, Rejection
from renewals.reports.workbook.feedback_reader import InvalidWorkbookError, ReturnedWorkbook

LIST_COLUMNS = ["account_name", "renewal_date", "renewal_probability", "risk_band"]
"""What of the list is kept beside an answer."""
LOCK_FILE, HOLDER_FILE = ".feedback.lock", ".feedback.json"
"""Collecting has a lock of its own: it waits for no run, and none for it."""
MAX_LISTED_REJECTIONS = 10
"""So many refusals are told at once; the file has all."""


@dataclass(frozen=True)
class AnsweredList:
    """A published list that a workbook belongs to: its key, its rows by account id, the ids as workbooks show them."""

    key: str
    rows: pd.DataFrame
    accounts: ListedAccounts

    @property
    def managers(self) -> dict[str, str | None]:
        """Whose each account is, by its id as workbooks show it."""
        csm = self.rows["csm"].astype(object).where(self.rows["csm"].notna(), None)
        return {text: csm[own] for text, own in self.accounts.ids_by_text.items()}


@dataclass
class CollectedAnswers:
    """What came of the files: answers with the list and the digest of their file, refusals, sheets that are missing."""

    answers: list[Answer] = field(default_factory=list)
    lists: dict[str, AnsweredList] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    missing_sheets: list[str] = field(default_factory=list)


def collect(job: Job, files: Sequence[Path], recorded: str | None = None) -> dict[str, Any]:
    """Take the answers of returned workbooks; `recorded` is the day they came in, now where it is not given.

    Raises DataContractError where anything was refused, after the rest was kept; MissingInputError for a file that is
    not there.
    """
    contents = _read_files(files)
    instant = _recorded_time(recorded)
    with exclusive_lock(job.data, "collect", LOCK_FILE, HOLDER_FILE):
        return _collect_answers(job, contents, instant)


def _collect_answers(job: Job, contents: Mapping[str, bytes], instant: datetime) -> dict[str, Any]:
    before = answers.read_log(job)
    taken = _read_workbooks(job, contents, instant)
    known = _collected_keys(before)
    new = [own for own in taken.answers if (taken.digests[own.file], *own.key) not in known]
    kept, refused = feedback_answers.reject_contradictions(new)
    taken.rejections.extend(refused)
    log = _append_answers(before, kept, taken, instant)
    _write_feedback(job, log, taken.rejections)
    told = _count_results(job, taken, kept, before) | {"already_collected": len(taken.answers) - len(new)}
    told["disagreements"] = None if log is None else disagreements.current_tally(job, log)
    if is_interactive():
        _print_result(job, told)
    if taken.rejections:
        raise DataContractError(_rejection_message(told, taken.rejections), **told)
    return told


def _read_files(files: Sequence[Path]) -> dict[str, bytes]:
    """The bytes of each file by its path; one given twice is one."""
    contents = {}
    for file in files:
        try:
            contents[str(file)] = file.read_bytes()
        except FileNotFoundError:
            raise MissingInputError(f"no file {file}: name the workbooks that came back") from None
        except IsADirectoryError:
            raise MissingInputError(
                f"{file} is a folder: name the workbooks in it, for example {file}/*.xlsx"
            ) from None
        except OSError as error:
            raise MissingInputError(f"{file} cannot be read: {error.strerror or error}") from None
    return contents


def _recorded_time(recorded: str | None) -> datetime:
    if recorded is None:
        return datetime.now(UTC).replace(tzinfo=None)
    return datetime.combine(parse_date(recorded, "--recorded"), time())


def _read_workbooks(job: Job, contents: Mapping[str, bytes], instant: datetime) -> CollectedAnswers:
    """Every file read, in the order given. A file that is no returned workbook is refused, and the others go on."""
    taken, firsts = CollectedAnswers(), _first_contract_days(job)
    listed = cache(lambda as_of, key: _load_list(job, as_of, key, firsts))
    with progress(len(contents), "collect") as step:
        for file, content in contents.items():
            try:
                book = returned.read_workbook(content)
                _add_workbook(taken, file, content, book, listed(book.info.as_of, book.info.fingerprint), instant)
            except InvalidWorkbookError as fault:
                taken.rejections.append(Rejection(f"was rejected: {fault}", file=file))
            step(Path(file).name)
    return taken


def _add_workbook(
    collected: CollectedAnswers,
    file: str,
    content: bytes,
    workbook: ReturnedWorkbook,
    answered_list: AnsweredList,
    instant: datetime,
) -> None:
    as_of = workbook.info.as_of
    workbook, strays = returned.match_renamed_sheets(workbook, answered_list.managers)
    if instant.date() < as_of:
        raise ConfigError(
            f"{file} answers the list of {as_of}, but {instant.date()} is before that list: "
            "give the date the answers were received with --recorded"
        )
    understood, refused = feedback_answers.parse_answers(workbook, file, answered_list.accounts, instant)
    collected.answers.extend(understood)
    collected.rejections.extend(refused)
    collected.digests[file] = hashlib.sha256(content).hexdigest()
    collected.lists[file] = answered_list
    collected.missing_sheets.extend(
        f"{file}: sheet {sheet.title} is not there, deleted or renamed: {_describe_owner(sheet.csm)} are missing"
        for sheet in workbook.missing_sheets
    )
    collected.rejections.extend(
        Rejection(
            "has answers, but is no sheet of this list: put them into the manager's own sheet", stray.title, file=file
        )
        for stray in strays
        if stray.rows
    )


def _describe_owner(csm: str | None) -> str:
    return f"the answers of {csm}" if csm else "the answers for accounts without a manager"


# --- the list that was answered ------------------------------------------------------------------


def _load_list(job: Job, as_of: date, key: str, first_contract_days: Mapping[Any, date]) -> AnsweredList:
    """The list that a workbook belongs to, also where another has taken its place. Raises InvalidWorkbookError."""
    folder = _find_list_folder(job.lists, as_of, key)
    rows = data_files.load_frame(folder / RISK_LIST, columns=["account_id", "csm", *LIST_COLUMNS])
    shown = rows["account_id"].astype(str).map(make_printable)
    ids = dict(zip(shown, rows["account_id"].tolist(), strict=True))
    return AnsweredList(key, rows.set_index("account_id"), ListedAccounts(ids, first_contract_days))


def _find_list_folder(lists: Path, as_of: date, key: str) -> Path:
    day = as_of.isoformat()
    there = lists / day
    kept = sorted((lists / ".revisions" / day).glob("*/"))
    folders = [folder for folder in (there, *kept) if (folder / MANIFEST).is_file()]
    if not folders:
        raise InvalidWorkbookError(
            f"no list of {day} is published in {lists}: give the folder that holds it with --lists"
        )
    for folder in folders:
        try:
            manifest = read_manifest(folder)
        except UNREADABLE:
            continue
        if str(manifest["list_key"]) == key:
            if corrupted_files(folder, manifest):
                raise InvalidWorkbookError(
                    f"the list in {folder} is not as it was published: publish it anew, and collect again"
                )
            if hindsight.is_hindsight_list(manifest):
                raise InvalidWorkbookError(
                    f"it belongs to the list in {folder}, which was made with hindsight: answers to such a list are "
                    "not kept, for its models knew what came later. Copy them into the workbook of a list "
                    "made in its time"
                )
            return folder
    raise InvalidWorkbookError(
        f"the list of {day} it was made from is no longer in {lists} (replaced). "
        "Copy the answers into the workbook of the current list and collect that"
    )


def _first_contract_days(job: Job) -> dict[Any, date]:
    """The first day of every account's first contract."""
    contracts = warehouse.clean_tables(warehouse.connect(job.settings.engine), job.data)["contracts"]
    first = contracts.group_by("account_id").agg(first=contracts.start_date.min().date()).to_pyarrow().to_pydict()
    return dict(zip(first["account_id"], first["first"], strict=True))


# --- what is kept --------------------------------------------------------------------------------


def _collected_keys(previous_log: pd.DataFrame | None) -> set[tuple[Any, ...]]:
    """What was taken from which file. A file collected again says nothing new, nor does it take back a newer answer."""
    if previous_log is None:
        return set()
    return set(previous_log[["file_sha256", "as_of", "account_id"]].itertuples(index=False, name=None))


def _append_answers(
    previous_log: pd.DataFrame | None, new_answers: Sequence[Answer], collected: CollectedAnswers, instant: datetime
) -> pd.DataFrame | None:
    """The log with the new answers below; one row per account answered in a workbook. None where nothing ever was."""
    if not new_answers:
        return previous_log
    rows = pd.DataFrame([_log_row(own, collected, instant) for own in new_answers])
    if previous_log is None:
        return rows
    if pd.api.types.is_integer_dtype(previous_log["account_id"]) != pd.api.types.is_integer_dtype(rows["account_id"]):
        raise DataContractError(
            "the answers collected so far name accounts by ids of another type than this list does: "
            "move the folder `feedback` of the data folder away, and collect again"
        )
    return pd.concat([previous_log.astype(object), rows.astype(object)], ignore_index=True).astype(
        {"account_id": previous_log["account_id"].dtype}
    )


def _log_row(answer_row: Answer, collected: CollectedAnswers, instant: datetime) -> dict[str, Any]:
    listed = collected.lists[answer_row.file]
    said = listed.rows.loc[answer_row.account_id, LIST_COLUMNS].to_dict()
    answer = {
        name: getattr(answer_row, name)
        for name in ("as_of", "account_id", "csm", "verdict", "action", "started_on", "note")
    }
    return (
        answer
        | said
        | {"list_key": listed.key, "file_sha256": collected.digests[answer_row.file], "recorded_at": instant}
    )


def _write_feedback(job: Job, log: pd.DataFrame | None, rejections: Sequence[Rejection]) -> None:
    """Put the log, what follows from it, and what was refused in the place of what was there, all at once."""
    folder = answers.feedback_folder(job)
    files = {
        answers.REJECTIONS_FILE: feedback_answers.rejections_to_csv(rejections),
        **({} if log is None else _output_files(log)),
    }
    staged = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        for name, content in files.items():
            atomic.write_bytes(staged / name, content)
        folders.replace_folder(staged, folder)
    except OSError as error:
        raise OutputError(f"{folder} could not be written: {error.strerror or error}; nothing was taken") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        folders.undo_replace(folder)


def _output_files(log: pd.DataFrame) -> dict[str, bytes]:
    """The log, the verdicts in force, and what was begun: bytes by file name."""
    of_verdicts = {
        name: kind for name, kind in answers.LOG_SCHEMA.items() if name not in ("action", "started_on", "file_sha256")
    }
    return {
        answers.LOG_FILE: answers.to_typed_parquet(log, answers.LOG_SCHEMA),
        answers.VERDICTS_FILE: answers.to_typed_parquet(manager_feedback.current_verdicts(log), of_verdicts),
        f"{answers.INTERVENTIONS}.parquet": _interventions_parquet(manager_feedback.started_actions(log)),
    }


def _interventions_parquet(actions: pd.DataFrame) -> bytes:
    """One row per intervention, in the columns of the data contract and the day of the list that was answered."""
    rows = actions.rename(columns={"action": "playbook", "started_on": "started_at", "as_of": answers.LIST_DATE_COLUMN})
    rows = rows.assign(started_at=pd.to_datetime(rows["started_at"]), ended_at=None)
    types = {"account_id": None, "playbook": pa.string(), "csm": pa.string()}
    times = dict.fromkeys(("started_at", "ended_at", "recorded_at"), answers.TIMESTAMP_TYPE)
    return answers.to_typed_parquet(rows, types | times | {answers.LIST_DATE_COLUMN: pa.date32()})


# --- what is told --------------------------------------------------------------------------------


def _count_results(
    job: Job, collected: CollectedAnswers, new_answers: Sequence[Answer], previous_log: pd.DataFrame | None
) -> dict[str, Any]:
    """What came of the files, in numbers."""
    last = _latest_answers(previous_log)
    return {
        "files": len(collected.digests),
        "accepted": len(new_answers),
        "changed": sum(_answer_changed(own.content, last[own.key]) for own in new_answers if own.key in last),
        "verdicts": sum(own.verdict is not None for own in new_answers),
        "actions": sum(own.action is not None for own in new_answers),
        "rejected": len(collected.rejections),
        "missing_sheets": collected.missing_sheets,
        "folder": str(job.data / answers.FOLDER),
    }


def _latest_answers(previous_log: pd.DataFrame | None) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The newest word on each part of an answer, by list and account; what was never said is not there."""
    if previous_log is None:
        return {}
    parts = (
        previous_log.groupby(["as_of", "account_id"])[["verdict", "action", "started_on", "note"]].last().astype(object)
    )
    said = parts.where(parts.notna(), None)
    return dict(zip(said.index, said.itertuples(index=False, name=None), strict=True))


def _answer_changed(new: Sequence[Any], old: Sequence[Any]) -> bool:
    """Whether something is said otherwise than before; what is said for the first time, or left empty, is not."""
    return any(None not in pair and pair[0] != pair[1] for pair in zip(new, old, strict=True))


def _rejection_message(result: Mapping[str, Any], rejections: Sequence[Rejection]) -> str:
    lines = [f"  {one}" for one in rejections[:MAX_LISTED_REJECTIONS]]
    if len(rejections) > MAX_LISTED_REJECTIONS:
        lines.append(f"  and {len(rejections) - MAX_LISTED_REJECTIONS} more")
    head = f"{_counts_text(result)}, rejected: {len(rejections)}, all in {result['folder']}/{answers.REJECTIONS_FILE}"
    return "\n".join(
        [
            head,
            *lines,
            "Correct the rejected answers and run collect again; accepted answers are not added twice",
        ]
    )


def _counts_text(result: Mapping[str, Any]) -> str:
    return (
        f"answers accepted: {result['accepted']} (verdicts: {result['verdicts']}, actions: {result['actions']}; "
        f"changed: {result['changed']}), already collected: {result['already_collected']}"
    )


def _print_result(job: Job, result: Mapping[str, Any]) -> None:
    """What came of it for a person; refusals are told after."""
    missing = result["missing_sheets"]
    lines = [*missing] if result["rejected"] else [_counts_text(result), *missing]
    if result["disagreements"]:
        lines.extend(spoken.tally_sentences(result["disagreements"], Messages(job.settings.list.language)))
    print("\n".join(map(make_printable, lines)), file=sys.stderr)
