"""Notices: facts that users must know before they read a list, one sentence each, in every language.

A notice is a code with values; its sentence is `notice.<code>` in the catalogues of `reports/words`. `check` stores its
notices in `validation_report.json`, other stages in their own files; `score.json` and the manifest of a list contain
all of them. The page, the workbook and the terminal show them at the top. Those of `history_notices` ask for no action:
model card, `score.json` and manifest have them under `history`, and page and workbook show them at their end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from renewals.pipelines.runtime.console import is_interactive
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import FRESHNESS
from renewals.reports.sanitize import make_printable, truncate
from renewals.reports.words import MESSAGES, Messages

NoticeValue = str | int | float
MAX_TEXT_LENGTH = 200
"""Maximum number of characters of a text value, because a value from the tables may have any length."""

OLD_CODES = {
    **{"most_rows_set_aside": "most_rows_quarantined", "terms_set_aside": "contracts_quarantined"},
    **{"loaded_at_once": "bulk_load", "nothing_known": "no_known_rows", "allowed_stale": "stale_allowed"},
}
"""New codes by the codes in files of an older release; `contracts_quarantined` is in those only."""


@dataclass(frozen=True)
class Notice:
    """One notice: its code and the values for the placeholders of its sentence.

    The value `table` is a table name, shown translated; `month` is a month as YYYY-MM; names that end in `day` are ISO
    dates.
    """

    code: str
    values: Mapping[str, NoticeValue] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Code and values for a JSON file, without the sentence."""
        return {"code": self.code, "values": dict(self.values)}

    def text(self, language: str) -> str:
        """Sentence in a language. Raises KeyError if the code has no sentence or a value is missing."""
        messages = Messages(language)
        shown = {name: _format_value(name, value, messages) for name, value in self.values.items()}
        return messages.text(f"notice.{self.code}", **shown)


def _format_value(name: str, value: NoticeValue, messages: Messages) -> NoticeValue:
    if not isinstance(value, str):
        return value
    if name == "table":
        return messages.value("table", value)
    if name == "month":
        return messages.month(value)
    return messages.day(value) if name.endswith("day") else truncate(make_printable(value), MAX_TEXT_LENGTH, " …")


def load_notices(path: Path, stage: str) -> list[Notice]:
    """Read the notices from the JSON file that a stage wrote; none if the file is from an older release.

    Raises MissingInputError.
    """
    try:
        content = data_files.load_json(path)
    except FileNotFoundError:
        raise MissingInputError(f"{path} is missing: run the stage `{stage}` first") from None
    return [
        Notice(OLD_CODES.get(entry["code"], entry["code"]), entry["values"]) for entry in content.get("notices", ())
    ]


def add_texts(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    """Records of the notices for a list, without duplicates: code, values and the sentence in every language."""
    records = [notice.as_dict() | {language: notice.text(language) for language in MESSAGES} for notice in notices]
    return [record for index, record in enumerate(records) if record not in records[:index]]


def history_notices(history: Mapping[str, Sequence[str]]) -> list[Notice]:
    """Notices about columns without a history: those that no model reads, and those that models do."""
    codes = {"left_out": "left_out_without_history", "kept": "kept_without_history"}
    return [Notice(code, {"columns": ", ".join(history[key])}) for key, code in codes.items() if history.get(key)]


def report_notices(records: Sequence[Mapping[str, Any]], language: str) -> None:
    """Print the notices on a terminal; elsewhere log each as a warning."""
    for record in records:
        if is_interactive():
            print(f"! {record[language]}", file=sys.stderr)
        else:
            structlog.get_logger().warning("notice", code=record["code"], text=record[language])


def freshness_notices(job: Job) -> list[Notice]:
    """Notices that the stage `freshness` wrote to the job's folder. Raises `MissingInputError`."""
    return load_notices(job.folder / FRESHNESS, "freshness")
