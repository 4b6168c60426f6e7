"""Notices: what a reader must know before reading a list, one sentence each, in every language.

A notice is a code with values; its words are `notice.<code>` in the catalogues of `reports/words`. `check` keeps its
notices in `validation_report.json`, each side of the work keeps others in files of its own, and `score.json` and the
manifest of a list hold all of them. The page, the workbook and the terminal show them on top.
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
"""Characters of a text among the values: a notice is a sentence, and a value from outside may be of any length."""

OLD_CODES = {
    **{"most_rows_set_aside": "most_rows_quarantined", "terms_set_aside": "contracts_quarantined"},
    **{"loaded_at_once": "bulk_load", "nothing_known": "no_known_rows", "allowed_stale": "stale_allowed"},
}
"""Codes in files that an older release wrote, and what they are called now."""


@dataclass(frozen=True)
class Notice:
    """One notice: its code, and the values that its words have places for.

    A value called `table` is shown as the words of that table; `month` is a month as YYYY-MM, and a value whose name
    ends in `day` an ISO day.
    """

    code: str
    values: Mapping[str, NoticeValue] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The notice as JSON holds it where nobody reads it: without words."""
        return {"code": self.code, "values": dict(self.values)}

    def text(self, language: str) -> str:
        """The sentence in a language. Raises KeyError for a code without words, or where a value is missing."""
        words = Messages(language)
        shown = {name: _format_value(name, value, words) for name, value in self.values.items()}
        return words.text(f"notice.{self.code}", **shown)


def _format_value(name: str, value: NoticeValue, texts: Messages) -> NoticeValue:
    if not isinstance(value, str):
        return value
    if name == "table":
        return texts.value("table", value)
    if name == "month":
        return texts.month(value)
    return texts.day(value) if name.endswith("day") else truncate(make_printable(value), MAX_TEXT_LENGTH, " …")


def load_notices(path: Path, stage: str) -> list[Notice]:
    """The notices in the JSON file that a stage wrote; one of an older release has none. Raises MissingInputError."""
    try:
        held = data_files.load_json(path)
    except FileNotFoundError:
        raise MissingInputError(f"{path} is not there: run the stage `{stage}` first") from None
    return [Notice(OLD_CODES.get(one["code"], one["code"]), one["values"]) for one in held.get("notices", ())]


def add_texts(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    """The notices as a list carries them: each once, with its sentence in every language."""
    records = [notice.as_dict() | {language: notice.text(language) for language in MESSAGES} for notice in notices]
    return [one for place, one in enumerate(records) if one not in records[:place]]


def report_notices(records: Sequence[Mapping[str, Any]], language: str) -> None:
    """Print the notices for a person at a terminal; elsewhere log each as a warning."""
    for one in records:
        if is_interactive():
            print(f"! {one[language]}", file=sys.stderr)
        else:
            structlog.get_logger().warning("notice", code=one["code"], text=one[language])


def freshness_notices(job: Job) -> list[Notice]:
    """The notices that the stage left on the side of the job. Raises `MissingInputError`."""
    return load_notices(job.folder / FRESHNESS, "freshness")
