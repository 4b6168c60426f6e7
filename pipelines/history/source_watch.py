"""Tell rows that vanished from a source that stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

from renewals.pipelines.runtime.history_settings import History


def month_text(day: date) -> str:
    """Month of a day, as 2026-01."""
    return f"{day:%Y-%m}"


def months_through(first: date, last: date) -> Iterator[str]:
    """Months from that of `first` to that of `last`."""
    day = first.replace(day=1)
    while day <= last:
        yield month_text(day)
        day = (day + timedelta(days=31)).replace(day=1)


@dataclass
class SourceWatch:
    """What is known of a source so far: its last day, and if it has stopped."""

    first_day: date | None = None
    last_day: date | None = None
    rows_before_stop: int | None = None
    """Number of rows before the source stopped; None while it runs."""
    unknown_months: dict[str, str] = field(default_factory=dict)
    """Reason of each month that is unknown."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """What was noticed, copy by copy."""

    @property
    def is_stopped(self) -> bool:
        """True while rows that are not delivered stay as last seen."""
        return self.rows_before_stop is not None

    def judge(self, day: date, present: int, missing: int, delivered: int, rules: History) -> bool:
        """Book a copy: of `present` rows `missing` are not in it, and it has `delivered`. True if they have vanished.

        A source that stopped runs again with the first copy of at least the share of rows that must not be missing at
        once; what is missing then has vanished.
        """
        self._note_gap(day)
        share = missing / present if present else 0.0
        if self.rows_before_stop is not None:
            has_resumed = delivered >= (1 - rules.stopped_share) * self.rows_before_stop
            self._mark_unknown(day, "the source had stopped")
            if has_resumed:
                self.rows_before_stop = None
                self._find("resumed", day, missing=missing, of=present, share=share)
            return has_resumed
        if share > rules.stopped_share:
            self.rows_before_stop = present
            self._mark_unknown(day, "the source had stopped")
            self._find("stopped", day, missing=missing, of=present, share=share)
            return False
        if missing and share >= rules.reported_share:
            self._find("many_vanished", day, missing=missing, of=present, share=share)
        return True

    def finish(self, day: date) -> None:
        """Take note that a copy is done."""
        self.first_day = self.first_day or day
        self.last_day = day

    def _note_gap(self, day: date) -> None:
        for month in months_through(self.last_day or day, day):
            if month not in (month_text(day), month_text(self.last_day or day)):
                self.unknown_months.setdefault(month, "there is no copy")

    def _mark_unknown(self, day: date, reason: str) -> None:
        """Mark the month of a copy and those since the copy before it."""
        stopped = self.unknown_months.get(month_text(self.last_day or day)) == reason
        first = self.last_day if stopped and self.last_day else day
        for month in months_through(first, day):
            self.unknown_months[month] = reason

    def _find(self, what: str, day: date, **details: Any) -> None:
        details = {name: round(value, 4) if isinstance(value, float) else value for name, value in details.items()}
        self.findings.append({"what": what, "day": day.isoformat(), **details})

    def note(self, what: str, day: date, **details: Any) -> None:
        """Add a finding."""
        self._find(what, day, **details)

    def to_json(self) -> dict[str, Any]:
        """The watch as a tree for JSON."""
        tree = asdict(self)
        return tree | {
            name: None if tree[name] is None else tree[name].isoformat() for name in ("first_day", "last_day")
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> SourceWatch:
        """The watch that `to_json` wrote."""
        days = {n: None if tree[n] is None else date.fromisoformat(tree[n]) for n in ("first_day", "last_day")}
        return cls(**(tree | days))
