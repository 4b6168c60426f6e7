"""The words a person reads, by language: headings, meanings, values and the phrases around a reason.

They stand in gettext catalogues, which translators' tools read: the English in `renewals.pot`, each translation beside
its English in `<language>.po`; `make words` brings the translations up to it and marks what is to be translated again.
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
    """All messages of a language: the context of each is its key, its id the English."""
    source = files(__name__) / ("renewals.pot" if language == "en" else f"{language}.po")
    with source.open("rb") as file:
        return read_po(file, abort_invalid=True)


def _load_messages(language: str) -> Mapping[str, str]:
    """What is said, by key; what nobody translated is said in English."""
    return {str(said.context): str(said.string or said.id) for said in load_catalog(language) if said.id}


MESSAGES: Mapping[str, Mapping[str, str]] = {language: _load_messages(language) for language in ("en", "zh")}
LOCALES = {"zh": "zh_Hans_CN"}
LABELED_PARAMETERS = ("tier", "dimension", "kind", "severity", "survey_kind", "level", "by")
"""The parameters of a feature whose values have words."""

_NUMBERED_COLUMN = re.compile(r"(reason|strength|playbook)_(\d)(?:_(feature|contribution|family|theme|actionable))?$")


@dataclass(frozen=True)
class Messages:
    """Everything said in one language."""

    language: str

    def text(self, key: str, **fields: Any) -> str:
        """The words of a key, its placeholders filled. Raises KeyError for a key that has none."""
        return MESSAGES[self.language][key].format(**fields)

    def heading(self, column: str) -> str:
        """What stands over a column."""
        name, number = _split_column_number(column)
        return self.text(f"heading.{name}", number=number)

    def description(self, column: str, **fields: Any) -> str:
        """What a column means."""
        return self.text(f"about.{_split_column_number(column)[0]}", **fields)

    def value(self, column: str, value: Any) -> str:
        """A coded value of a column in words; a value without words as it is."""
        return MESSAGES[self.language].get(f"{column}.{value}", str(value))

    def alerts(self, codes: str) -> str:
        """The alerts of a row of the list in words, each on a line of its own."""
        return "\n".join(self.value("alerts", code) for code in codes.split(";"))

    def theme(self, theme: str, actionable: bool) -> str:
        """What a reason is about; marked where no manager can do anything about its figure."""
        own = self.value("theme", theme)
        return own if actionable else self.text("phrase.background", theme=own)

    def day(self, day: date | str) -> str:
        """A day as it stands in prose."""
        when = date.fromisoformat(str(day)[:10])
        return format_date(when, "medium", locale=LOCALES.get(self.language, self.language))

    def month(self, month: str) -> str:
        """A month, given as YYYY-MM, as it stands in prose."""
        when = date.fromisoformat(f"{month}-01")
        return format_skeleton("yMMM", when, locale=LOCALES.get(self.language, self.language))

    def flag(self, value: bool) -> str:
        """Yes or no."""
        return self.text("flag.yes" if value else "flag.no")

    def phrases(self) -> Phrases:
        """The words around the features' own sentences."""
        own = MESSAGES[self.language]
        return Phrases(
            language=self.language,
            missing_text=own["phrase.missing"],
            missing_template=own["phrase.no_figure"],
            yes=own["flag.yes"].lower(),
            no=own["flag.no"].lower(),
            params={
                name: {key.partition(".")[2]: words for key, words in own.items() if key.startswith(f"{name}.")}
                for name in LABELED_PARAMETERS
            },
        )


def _split_column_number(column: str) -> tuple[str, str]:
    """`reason_3_family` is `reason_family` with the number 3; other columns are themselves."""
    match = _NUMBERED_COLUMN.match(column)
    if match is None:
        return column, ""
    kind, number, part = match.groups()
    return (f"{kind}_{part}" if part else kind), number
