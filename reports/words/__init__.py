"""Texts for readers by language: headings, descriptions, values, and phrases around a reason.

They are in gettext catalogues, which translators' tools can read: the English in `renewals.pot`, each translation with
its English in `<language>.po`. `make words` updates the translations and marks those that must be translated again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any

from babel.dates import format_date, format_skeleton
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from renewals.models.explanation.reasons import Phrases


def load_catalog(language: str) -> Catalog:
    """Load all messages of a language: the context of each message is its key, its id the English text."""
    source = files(__name__) / ("renewals.pot" if language == "en" else f"{language}.po")
    with source.open("rb") as file:
        return read_po(file, abort_invalid=True)


def _load_messages(language: str) -> Mapping[str, str]:
    """Texts of a language by key; the English text where a translation is missing."""
    return {str(message.context): str(message.string or message.id) for message in load_catalog(language) if message.id}


MESSAGES: Mapping[str, Mapping[str, str]] = {language: _load_messages(language) for language in ("en", "zh")}
LOCALES = {"zh": "zh_Hans_CN"}
LABELED_PARAMETERS = ("tier", "dimension", "kind", "severity", "survey_kind", "level", "by")
"""Parameters of features with a text for each of their values."""

_NUMBERED_COLUMN = re.compile(r"(reason|strength|playbook)_(\d)(?:_(feature|contribution|family|theme|actionable))?$")


@dataclass(frozen=True)
class Messages:
    """All texts in one language."""

    language: str

    def text(self, key: str, **fields: Any) -> str:
        """Text of a key with its placeholders filled. Raises KeyError for an unknown key."""
        return MESSAGES[self.language][key].format(**fields)

    def heading(self, column: str) -> str:
        """Heading of a column."""
        name, number = _split_column_number(column)
        return self.text(f"heading.{name}", number=number)

    def description(self, column: str, **fields: Any) -> str:
        """Description of a column's meaning."""
        return self.text(f"about.{_split_column_number(column)[0]}", **fields)

    def value(self, column: str, value: Any) -> str:
        """Text for a coded value of a column; the value itself if it has no text."""
        return MESSAGES[self.language].get(f"{column}.{value}", str(value))

    def alerts(self, codes: str) -> str:
        """Names of the alerts of one row of the list, one per line."""
        return "\n".join(self.value("alerts", code) for code in codes.split(";"))

    def theme(self, theme: str, actionable: bool) -> str:
        """Name of a reason's theme; marked as background if no manager can change the feature's value."""
        name = self.value("theme", theme)
        return name if actionable else self.text("phrase.background", theme=name)

    def day(self, day: date | str) -> str:
        """A date as written in a sentence."""
        when = date.fromisoformat(str(day)[:10])
        return format_date(when, "medium", locale=LOCALES.get(self.language, self.language))

    def month(self, month: str) -> str:
        """A month, given as YYYY-MM, as written in a sentence."""
        when = date.fromisoformat(f"{month}-01")
        return format_skeleton("yMMM", when, locale=LOCALES.get(self.language, self.language))

    def flag(self, value: bool) -> str:
        """Text for yes or no."""
        return self.text("flag.yes" if value else "flag.no")

    def phrases(self) -> Phrases:
        """Phrases used around the sentences of the features."""
        texts = MESSAGES[self.language]
        return Phrases(
            language=self.language,
            missing_text=texts["phrase.missing"],
            missing_template=texts["phrase.no_figure"],
            yes=texts["flag.yes"].lower(),
            no=texts["flag.no"].lower(),
            params={
                name: {key.partition(".")[2]: text for key, text in texts.items() if key.startswith(f"{name}.")}
                for name in LABELED_PARAMETERS
            },
        )


def _split_column_number(column: str) -> tuple[str, str]:
    """Split `reason_3_family` into `reason_family` and 3; other columns are returned unchanged with an empty number."""
    match = _NUMBERED_COLUMN.match(column)
    if match is None:
        return column, ""
    kind, number, part = match.groups()
    return (f"{kind}_{part}" if part else kind), number
