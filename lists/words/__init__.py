"""The words a person reads, by language: headings, meanings, values and the phrases around a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lists.words import en, zh
from models.reasons import Phrases

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": en.WORDS, "zh": zh.WORDS}
PARAMETERS = ("tier", "dimension", "kind", "severity", "survey_kind", "level", "by")
"""The parameters of a feature whose values have words."""

_NUMBERED = re.compile(r"(reason|strength|playbook)_(\d)(?:_(feature|contribution|family|theme|actionable))?$")


@dataclass(frozen=True)
class Words:
    """Everything said in one language."""

    language: str

    def say(self, key: str, **fields: Any) -> str:
        """The words of a key, its placeholders filled. Raises KeyError for a key that has none."""
        return LANGUAGES[self.language][key].format(**fields)

    def heading(self, column: str) -> str:
        """What stands over a column."""
        name, number = _family_of_columns(column)
        return self.say(f"heading.{name}", number=number)

    def about(self, column: str, **fields: Any) -> str:
        """What a column means."""
        return self.say(f"about.{_family_of_columns(column)[0]}", **fields)

    def value(self, column: str, value: Any) -> str:
        """A coded value of a column in words; a value without words as it is."""
        return LANGUAGES[self.language].get(f"{column}.{value}", str(value))

    def theme(self, theme: str, actionable: bool) -> str:
        """What a reason is about; marked where no manager can do anything about its figure."""
        own = self.value("theme", theme)
        return own if actionable else self.say("phrase.background", theme=own)

    def flag(self, value: bool) -> str:
        """Yes or no."""
        return self.say("flag.yes" if value else "flag.no")

    def phrases(self) -> Phrases:
        """The words around the features' own sentences."""
        own = LANGUAGES[self.language]
        return Phrases(
            language=self.language,
            missing=own["phrase.missing"],
            no_figure=own["phrase.no_figure"],
            yes=own["flag.yes"].lower(),
            no=own["flag.no"].lower(),
            params={
                name: {key.partition(".")[2]: words for key, words in own.items() if key.startswith(f"{name}.")}
                for name in PARAMETERS
            },
        )


def _family_of_columns(column: str) -> tuple[str, str]:
    """`reason_3_family` is `reason_family` with the number 3; other columns are themselves."""
    match = _NUMBERED.match(column)
    if match is None:
        return column, ""
    kind, number, part = match.groups()
    return (f"{kind}_{part}" if part else kind), number
