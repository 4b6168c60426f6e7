"""Command `renewals collect`: import managers' answers from returned workbooks.

Verdicts and notes are stored with the values of the list; actions become interventions. Valid answers are stored and
the others are reported with their cells. The feedback folder is replaced as a whole or not at all.
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
from renewals.pipelines.storage import data_files, feedback_log, folders
from renewals.pipelines.storage.engine import atomic, warehouse
from renewals.pipelines.storage.published import hindsight
from renewals.pipelines.storage.published.list_folder import corrupted_files
from renewals.pipelines.storage.published.manifest import MANIFEST, RISK_LIST, UNREADABLE, read_manifest
from renewals.reports.sanitize import make_printable
from renewals.reports.sentences import disagreements as disagreement_sentences
from renewals.reports.words import Messages
from renewals.reports.workbook import feedback_answers, feedback_reader
from renewals.reports.workbook.feedback_answers import Answer, ListedAccounts, Rejection
from renewals.reports.workbook.feedback_reader import InvalidWorkbookError, ReturnedWorkbook

LIST_COLUMNS = ["account_name", "renewal_date", "renewal_probability", "risk_band"]
"""Columns of the list that are stored with an answer."""
LOCK_FILE, HOLDER_FILE = ".feedback.lock", ".feedback.json"
"""`collect` has its own lock, so that it and other runs never wait for each other."""
MAX_LISTED_REJECTIONS = 10
"""Number of rejections in the error message; the file has all of them."""


@dataclass(frozen=True)
class AnsweredList:
    """A published list that workbooks were made from: its key, its rows by account id, and its ids as text."""

    key: str
    rows: pd.DataFrame
    accounts: ListedAccounts

    @property
    def managers(self) -> dict[str, str | None]:
        """The manager of each account, by account id as workbooks show it; None without a manager."""
        csm = self.rows["csm"].astype(object).where(self.rows["csm"].notna(), None)
        return {text: csm[account_id] for text, account_id in self.accounts.ids_by_text.items()}


@dataclass
class CollectedAnswers:
    """Result of reading the files: answers with their lists and file hashes, rejections and missing sheets."""

    answers: list[Answer] = field(default_factory=list)
    lists: dict[str, AnsweredList] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    missing_sheets: list[str] = field(default_factory=list)


def collect(job: Job, files: Sequence[Path], recorded: str | None = None) -> dict[str, Any]:
    """Import the answers of returned workbooks and return counts; `recorded` is the date of receipt (default: now).

    Raises DataContractError if any answer was rejected, after storing the others; MissingInputError for a missing file.
    """
    contents = _read_files(files)
    instant = _recorded_time(recorded)
    with exclusive_lock(job.data, "collect", LOCK_FILE, HOLDER_FILE):
        return _collect_answers(job, contents, instant)


def _collect_answers(job: Job, contents: Mapping[str, bytes], instant: datetime) -> dict[str, Any]:
    previous_log = feedback_log.read_log(job)
    collected = _read_workbooks(job, contents, instant)
    collected_keys = _collected_keys(previous_log)
    new = [
        answer for answer in collected.answers if (collected.digests[answer.file], *answer.key) not in collected_keys
    ]
    accepted, contradictions = feedback_answers.reject_contradictions(new)
    collected.rejections.extend(contradictions)
    log = _append_answers(previous_log, accepted, collected, instant)
    _write_feedback(job, log, collected.rejections)
    result = _count_results(job, collected, accepted, previous_log) | {
        "already_collected": len(collected.answers) - len(new)
    }
    result["disagreements"] = None if log is None else disagreements.current_tally(job, log)
    if is_interactive():
        _print_result(job, result)
    if collected.rejections:
        raise DataContractError(_rejection_message(result, collected.rejections), **result)
    return result


def _read_files(files: Sequence[Path]) -> dict[str, bytes]:
    """The content of each file, by path; a file given twice is read once."""
    contents = {}
    for file in files:
        try:
            contents[str(file)] = file.read_bytes()
        except FileNotFoundError:
            raise MissingInputError(f"no file {file}: give the returned workbooks") from None
        except IsADirectoryError:
            raise MissingInputError(
                f"{file} is a folder: give the workbooks in it, for example {file}/*.xlsx"
            ) from None
        except OSError as error:
            raise MissingInputError(f"{file} cannot be read: {error.strerror or error}") from None
    return contents


def _recorded_time(recorded: str | None) -> datetime:
    if recorded is None:
        return datetime.now(UTC).replace(tzinfo=None)
    return datetime.combine(parse_date(recorded, "--recorded"), time())


def _read_workbooks(job: Job, contents: Mapping[str, bytes], instant: datetime) -> CollectedAnswers:
    """Read all files in the given order; a file that is not a returned workbook is rejected."""
    collected, first_contract_days = CollectedAnswers(), _first_contract_days(job)
    load_list = cache(lambda as_of, key: _load_list(job, as_of, key, first_contract_days))
    with progress(len(contents), "collect") as step:
        for file, content in contents.items():
            try:
                workbook = feedback_reader.read_workbook(content)
                _add_workbook(
                    collected,
                    file,
                    content,
                    workbook,
                    load_list(workbook.info.as_of, workbook.info.fingerprint),
                    instant,
                )
            except InvalidWorkbookError as error:
                collected.rejections.append(Rejection(f"was rejected: {error}", file=file))
            step(Path(file).name)
    return collected


def _add_workbook(
    collected: CollectedAnswers,
    file: str,
    content: bytes,
    workbook: ReturnedWorkbook,
    answered_list: AnsweredList,
    instant: datetime,
) -> None:
    as_of = workbook.info.as_of
    workbook, strays = feedback_reader.match_renamed_sheets(workbook, answered_list.managers)
    if instant.date() < as_of:
        raise ConfigError(
            f"{file} answers the list of {as_of}, but {instant.date()} is before that list: "
            "give the date the answers were received with --recorded"
        )
    accepted, rejected = feedback_answers.parse_answers(workbook, file, answered_list.accounts, instant)
    collected.answers.extend(accepted)
    collected.rejections.extend(rejected)
    collected.digests[file] = hashlib.sha256(content).hexdigest()
    collected.lists[file] = answered_list
    collected.missing_sheets.extend(
        f"{file}: sheet {sheet.title} is missing (deleted or renamed), so {_describe_owner(sheet.csm)} are missing"
        for sheet in workbook.missing_sheets
    )
    collected.rejections.extend(
        Rejection(
            "has answers, but is not a sheet of this list: copy them into the manager's sheet", stray.title, file=file
        )
        for stray in strays
        if stray.rows
    )


def _describe_owner(csm: str | None) -> str:
    return f"the answers of {csm}" if csm else "the answers for accounts without a manager"


# --- the list that was answered ------------------------------------------------------------------


def _load_list(job: Job, as_of: date, key: str, first_contract_days: Mapping[Any, date]) -> AnsweredList:
    """Load the list that a workbook belongs to, also if it was replaced since. Raises InvalidWorkbookError."""
    folder = _find_list_folder(job.lists, as_of, key)
    rows = _main_rows(folder / RISK_LIST, ["account_id", "csm", *LIST_COLUMNS])
    id_texts = rows["account_id"].astype(str).map(make_printable)
    ids = dict(zip(id_texts, rows["account_id"].tolist(), strict=True))
    return AnsweredList(key, rows.set_index("account_id"), ListedAccounts(ids, first_contract_days))


def _main_rows(path: Path, columns: list[str]) -> pd.DataFrame:
    """The main row of each account: an answer is about the account. Lists of older releases have no other."""
    with data_files.open_parquet(path) as file:
        has_main = "is_main" in file.schema_arrow.names
    rows = data_files.load_frame(path, columns=[*columns, *(["is_main"] if has_main else [])])
    return rows[rows["is_main"].astype(bool)].drop(columns="is_main") if has_main else rows


def _find_list_folder(lists: Path, as_of: date, key: str) -> Path:
    day = as_of.isoformat()
    current = lists / day
    revisions = sorted((lists / ".revisions" / day).glob("*/"))
    folders = [folder for folder in (current, *revisions) if (folder / MANIFEST).is_file()]
    if not folders:
        raise InvalidWorkbookError(
            f"no list of {day} is published in {lists}: give the folder of the lists with --lists"
        )
    for folder in folders:
        try:
            manifest = read_manifest(folder)
        except UNREADABLE:
            continue
        if str(manifest["list_key"]) == key:
            if corrupted_files(folder, manifest):
                raise InvalidWorkbookError(
                    f"files of the list in {folder} were changed after publication: run `renewals score --as-of {day}` "
                    "again, then collect again"
                )
            if hindsight.is_hindsight_list(manifest):
                raise InvalidWorkbookError(
                    f"it belongs to the list in {folder}, which was made with hindsight: answers to such a list are "
                    "not stored, because its models were trained on later data. Copy them into the workbook of a list "
                    "made without hindsight"
                )
            return folder
    raise InvalidWorkbookError(
        f"the list of {day} it was made from is no longer in {lists} (replaced). "
        "Copy the answers into the workbook of the current list and collect that"
    )


def _first_contract_days(job: Job) -> dict[Any, date]:
    """The start date of each account's first contract, by account id."""
    contracts = warehouse.clean_tables(warehouse.connect(job.settings.engine), job.data)["contracts"]
    first = contracts.group_by("account_id").agg(first=contracts.start_date.min().date()).to_pyarrow().to_pydict()
    return dict(zip(first["account_id"], first["first"], strict=True))


# --- stored files --------------------------------------------------------------------------------


def _collected_keys(previous_log: pd.DataFrame | None) -> set[tuple[Any, ...]]:
    """Keys (file hash, as-of date, account id) of all answers in the log.

    They make sure that a file collected again adds nothing and does not override a newer answer.
    """
    if previous_log is None:
        return set()
    return set(previous_log[["file_sha256", "as_of", "account_id"]].itertuples(index=False, name=None))


def _append_answers(
    previous_log: pd.DataFrame | None, new_answers: Sequence[Answer], collected: CollectedAnswers, instant: datetime
) -> pd.DataFrame | None:
    """The log with the new answers appended: one row per answered account of a workbook; None without any answer."""
    if not new_answers:
        return previous_log
    rows = pd.DataFrame([_log_row(answer, collected, instant) for answer in new_answers])
    if previous_log is None:
        return rows
    if pd.api.types.is_integer_dtype(previous_log["account_id"]) != pd.api.types.is_integer_dtype(rows["account_id"]):
        raise DataContractError(
            "account ids in the collected answers and in this list have different types (text and whole numbers): "
            "move the folder `feedback` out of the data folder, then collect again"
        )
    return pd.concat([previous_log.astype(object), rows.astype(object)], ignore_index=True).astype(
        {"account_id": previous_log["account_id"].dtype}
    )


def _log_row(answer_row: Answer, collected: CollectedAnswers, instant: datetime) -> dict[str, Any]:
    answered_list = collected.lists[answer_row.file]
    list_values = answered_list.rows.loc[answer_row.account_id, LIST_COLUMNS].to_dict()
    answer_values = {
        name: getattr(answer_row, name)
        for name in ("as_of", "account_id", "csm", "verdict", "action", "started_on", "note")
    }
    return (
        answer_values
        | list_values
        | {"list_key": answered_list.key, "file_sha256": collected.digests[answer_row.file], "recorded_at": instant}
    )


def _write_feedback(job: Job, log: pd.DataFrame | None, rejections: Sequence[Rejection]) -> None:
    """Replace the feedback folder in one step: the log, the tables derived from it and the rejections."""
    folder = feedback_log.feedback_folder(job)
    files = {
        feedback_log.REJECTIONS_FILE: feedback_answers.rejections_to_csv(rejections),
        **({} if log is None else _output_files(log)),
    }
    staged = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        for name, content in files.items():
            atomic.write_bytes(staged / name, content)
        folders.replace_folder(staged, folder)
    except OSError as error:
        raise OutputError(f"{folder} could not be written: {error.strerror or error}; no answer was stored") from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        folders.undo_replace(folder)


def _output_files(log: pd.DataFrame) -> dict[str, bytes]:
    """The log, the current verdicts and the started actions: content by file name."""
    verdict_schema = {
        name: kind
        for name, kind in feedback_log.LOG_SCHEMA.items()
        if name not in ("action", "started_on", "file_sha256")
    }
    return {
        feedback_log.LOG_FILE: feedback_log.to_typed_parquet(log, feedback_log.LOG_SCHEMA),
        feedback_log.VERDICTS_FILE: feedback_log.to_typed_parquet(
            manager_feedback.current_verdicts(log), verdict_schema
        ),
        f"{feedback_log.INTERVENTIONS}.parquet": _interventions_parquet(manager_feedback.started_actions(log)),
    }


def _interventions_parquet(actions: pd.DataFrame) -> bytes:
    """One row per intervention: the columns of the data contract plus the date of the answered list."""
    rows = actions.rename(
        columns={"action": "playbook", "started_on": "started_at", "as_of": feedback_log.LIST_DATE_COLUMN}
    )
    rows = rows.assign(started_at=pd.to_datetime(rows["started_at"]), ended_at=None)
    types = {"account_id": None, "playbook": pa.string(), "csm": pa.string()}
    times = dict.fromkeys(("started_at", "ended_at", "recorded_at"), feedback_log.TIMESTAMP_TYPE)
    return feedback_log.to_typed_parquet(rows, types | times | {feedback_log.LIST_DATE_COLUMN: pa.date32()})


# --- result for the user ------------------------------------------------------------------------


def _count_results(
    job: Job, collected: CollectedAnswers, new_answers: Sequence[Answer], previous_log: pd.DataFrame | None
) -> dict[str, Any]:
    """Counts of files, accepted, changed and rejected answers."""
    latest = _latest_answers(previous_log)
    return {
        "files": len(collected.digests),
        "accepted": len(new_answers),
        "changed": sum(
            _answer_changed(answer.content, latest[answer.key]) for answer in new_answers if answer.key in latest
        ),
        "verdicts": sum(answer.verdict is not None for answer in new_answers),
        "actions": sum(answer.action is not None for answer in new_answers),
        "rejected": len(collected.rejections),
        "missing_sheets": collected.missing_sheets,
        "folder": str(job.data / feedback_log.FOLDER),
    }


def _latest_answers(previous_log: pd.DataFrame | None) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The latest non-empty value of each part of an answer, by (as_of, account_id); None if there never was one."""
    if previous_log is None:
        return {}
    parts = (
        previous_log.groupby(["as_of", "account_id"])[["verdict", "action", "started_on", "note"]].last().astype(object)
    )
    values = parts.where(parts.notna(), None)
    return dict(zip(values.index, values.itertuples(index=False, name=None), strict=True))


def _answer_changed(new: Sequence[Any], old: Sequence[Any]) -> bool:
    """True if any part differs from its earlier value; a part that is new or left empty is no change."""
    return any(None not in pair and pair[0] != pair[1] for pair in zip(new, old, strict=True))


def _rejection_message(result: Mapping[str, Any], rejections: Sequence[Rejection]) -> str:
    lines = [f"  {rejection}" for rejection in rejections[:MAX_LISTED_REJECTIONS]]
    if len(rejections) > MAX_LISTED_REJECTIONS:
        lines.append(f"  and {len(rejections) - MAX_LISTED_REJECTIONS} more")
    file = f"{result['folder']}/{feedback_log.REJECTIONS_FILE}"
    head = f"{_counts_text(result)}, rejected: {len(rejections)}, all in {file}"
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
    """Print the result for a person; the rejections follow as the error message."""
    missing = result["missing_sheets"]
    lines = [*missing] if result["rejected"] else [_counts_text(result), *missing]
    if result["disagreements"]:
        texts = Messages(job.settings.list.language)
        lines.extend(disagreement_sentences.tally_sentences(result["disagreements"], texts))
    print("\n".join(map(make_printable, lines)), file=sys.stderr)
