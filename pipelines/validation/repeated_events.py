"""Decide what equal rows of `usage_events` are: uses of their own, or one use delivered more than once (ADR 5).

Times rounded to the day make equal rows of real uses; a queue or a file read twice makes equal rows of one use. Only
rows without an `event_id` are held against each other here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_MIDNIGHT_SHARE = 0.95
"""Times are rounded to the day where so large a share of them is midnight UTC."""
MIN_REDELIVERED_SHARE = 0.9
"""So large a share of the distinct rows occurs a multiple of the commonest number of times: probably two deliveries."""
SETTING_KEY = "source.repeated_events"


@dataclass(frozen=True)
class RepeatedEvents:
    """How often the rows of a table occur, and what is made of those that occur more than once."""

    setting: str
    """`auto`, `count` or `deduplicate`."""
    frequencies: Mapping[int, int]
    """How often rows occur, 1 included, and how many distinct rows occur so often."""
    at_midnight: int
    """Rows whose time is midnight UTC."""

    @property
    def rows(self) -> int:
        """All rows held against each other."""
        return sum(times * distinct for times, distinct in self.frequencies.items())

    @property
    def distinct(self) -> int:
        """Rows that differ from each other."""
        return sum(self.frequencies.values())

    @property
    def repeats(self) -> int:
        """Rows beyond the first of each."""
        return self.rows - self.distinct

    @property
    def is_rounded(self) -> bool:
        """Whether the times say no more than the day."""
        return self.at_midnight >= MIN_MIDNIGHT_SHARE * self.rows

    @property
    def deliveries(self) -> int:
        """How often the whole table was delivered: the number that divides how often each row occurs."""
        return math.gcd(*self.frequencies)

    @property
    def is_counted(self) -> bool:
        """Whether equal rows stay as uses of their own; of a rounded table delivered twice, each second one."""
        if self.setting != "auto":
            return self.setting == "count"
        return self.is_rounded and len(self.frequencies) > 1

    @property
    def divisor(self) -> int | None:
        """Of so many equal rows one is kept; None: of however many there are."""
        if not self.is_counted:
            return None
        return 1 if self.setting == "count" else self.deliveries

    def to_certificate(self) -> dict[str, Any]:
        """What the certificate says of them."""
        return {
            "setting": self.setting,
            "treatment": "counted" if self.is_counted else "deduplicated",
            "reason": self.reason,
            "rows": self.rows,
            "distinct": self.distinct,
            "repeats": self.repeats,
            "at_midnight": self.at_midnight,
            "most": max(self.frequencies),
            "deliveries": self.deliveries,
        }

    @property
    def reason(self) -> str:
        """Why they are taken so, in words."""
        if self.setting != "auto":
            return f"{SETTING_KEY} is {self.setting}"
        share = f"{self.at_midnight} of {self.rows} times are midnight UTC"
        if not self.is_rounded:
            return (
                f"{share}, fewer than {MIN_MIDNIGHT_SHARE:.0%}: equal rows with exact times are one use delivered again"
            )
        if len(self.frequencies) == 1:
            return f"every row occurs {max(self.frequencies)} times, which is taken for a table delivered so often"
        several = f", every row a multiple of {self.deliveries} times, which is taken for a table delivered so often"
        once = f"{self.frequencies.get(1, 0)} of {self.distinct} distinct rows occur once"
        occur = f"{once}, the others up to {max(self.frequencies)} times{several if self.deliveries > 1 else ''}"
        return f"{share}, so they are rounded to the day, and {occur}"

    @property
    def _redelivery_hint(self) -> str:
        """That most of the table seems to have been delivered more than once, where it does; cannot be made sure of."""
        often = max(self.frequencies, key=lambda times: self.frequencies[times])
        alike = sum(distinct for times, distinct in self.frequencies.items() if times % often == 0)
        if often == 1 or self.deliveries > 1 or alike < MIN_REDELIVERED_SHARE * self.distinct:
            return ""
        return f"; but {alike} distinct rows occur a multiple of {often} times, as if delivered so often"

    def warning_text(self) -> str:
        """That they are counted, in one line."""
        kept = (
            "each is counted as a use" if self.divisor == 1 else f"one of {self.divisor} equal rows is counted as a use"
        )
        return (
            f"usage_events: {self.repeats} of {self.rows} rows without an event_id repeat another row, and {kept} "
            f"({SETTING_KEY}: {self.setting}): {self.reason}{self._redelivery_hint}. {SET_ASIDE_ADVICE}"
        )


COUNT_ADVICE = (
    "If each of them is a use, give an `event_id` for each event, or one row with its `quantity`, "
    f"or count them with --set {SETTING_KEY}=count"
)
SET_ASIDE_ADVICE = (
    "If part of the table was delivered twice, load each delivery once, or give an `event_id` for each event; "
    f"--set {SETTING_KEY}=deduplicate keeps one of each"
)
