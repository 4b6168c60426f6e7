"""Decide whether equal rows of `usage_events` are separate uses or one use delivered more than once (ADR 5).

Times rounded to the day make real uses equal; a queue or a file read twice repeats one use. Only rows without an
`event_id` are compared here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_MIDNIGHT_SHARE = 0.95
"""Times count as rounded to the day if at least this share of them is midnight UTC."""
MIN_REDELIVERED_SHARE = 0.9
"""Minimum share of distinct rows with a multiple of the most common frequency, for a redelivery warning."""
SETTING_KEY = "source.repeated_events"


@dataclass(frozen=True)
class RepeatedEvents:
    """Frequencies of equal rows in a table, and the treatment of these rows."""

    setting: str
    """`auto`, `count` or `deduplicate`."""
    frequencies: Mapping[int, int]
    """Number of distinct rows by how often they occur, 1 included."""
    at_midnight: int
    """Number of rows with a time of midnight UTC."""

    @property
    def rows(self) -> int:
        """Number of rows compared."""
        return sum(times * distinct for times, distinct in self.frequencies.items())

    @property
    def distinct(self) -> int:
        """Number of distinct rows."""
        return sum(self.frequencies.values())

    @property
    def repeats(self) -> int:
        """Number of rows beyond the first of each distinct row."""
        return self.rows - self.distinct

    @property
    def is_rounded(self) -> bool:
        """True if the times are rounded to the day."""
        return self.at_midnight >= MIN_MIDNIGHT_SHARE * self.rows

    @property
    def deliveries(self) -> int:
        """Number of deliveries of the whole table: the greatest common divisor of all frequencies."""
        return math.gcd(*self.frequencies)

    @property
    def is_counted(self) -> bool:
        """True if equal rows count as separate uses.

        In a rounded table delivered n times, one of n equal rows counts.
        """
        if self.setting != "auto":
            return self.setting == "count"
        return self.is_rounded and len(self.frequencies) > 1

    @property
    def divisor(self) -> int | None:
        """One of this number of equal rows is kept; None: one is kept whatever their number."""
        if not self.is_counted:
            return None
        return 1 if self.setting == "count" else self.deliveries

    def as_dict(self) -> dict[str, Any]:
        """Entry of `validation_report.json`."""
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
        """Reason for the treatment, as a text."""
        if self.setting != "auto":
            return f"{SETTING_KEY} is {self.setting}"
        share = f"{self.at_midnight} of {self.rows} times are midnight UTC"
        if not self.is_rounded:
            return (
                f"{share}, fewer than {MIN_MIDNIGHT_SHARE:.0%}: equal rows with exact times are one use delivered again"
            )
        if len(self.frequencies) == 1:
            return f"every row occurs {max(self.frequencies)} times, as in a table delivered that often"
        deliveries = f", always a multiple of {self.deliveries}, as in a table delivered that often"
        once = f"{self.frequencies.get(1, 0)} of {self.distinct} distinct rows occur once"
        occur = f"{once}, the others up to {max(self.frequencies)} times{deliveries if self.deliveries > 1 else ''}"
        return f"{share}, so they are rounded to the day, and {occur}"

    @property
    def _redelivery_hint(self) -> str:
        """Hint that most of the table seems to have been delivered several times, else empty; it cannot be verified."""
        most_common = max(self.frequencies, key=lambda times: self.frequencies[times])
        multiples = sum(distinct for times, distinct in self.frequencies.items() if times % most_common == 0)
        if most_common == 1 or self.deliveries > 1 or multiples < MIN_REDELIVERED_SHARE * self.distinct:
            return ""
        return f"; but {multiples} distinct rows occur a multiple of {most_common} times, as if delivered that often"

    def warning_text(self) -> str:
        """One-line warning that equal rows are counted."""
        treatment = (
            "each is counted as a use" if self.divisor == 1 else f"one of {self.divisor} equal rows is counted as a use"
        )
        return (
            f"usage_events: {self.repeats} of {self.rows} rows without an event_id repeat another row, and {treatment} "
            f"({SETTING_KEY}: {self.setting}): {self.reason}{self._redelivery_hint}. {DEDUPLICATE_ADVICE}"
        )


COUNT_ADVICE = (
    "If each of them is a use, give each event an `event_id`, or one row with its `quantity`, "
    f"or count them with --set {SETTING_KEY}=count"
)
DEDUPLICATE_ADVICE = (
    "If part of the table was delivered twice, load each delivery once, or give each event an `event_id`; "
    f"--set {SETTING_KEY}=deduplicate keeps one of each"
)
