"""What an account's rows said on a day, row by row and to the microsecond: the rules of time, written out by hand.

Nothing here is shared with `features/point_in_time.py` or read from `features/tables.py`. The data contract is the
source: a row exists from its known time on, an event of the future has not happened, and a later fact is blank.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from renewals.features.policy import Policy

Row = dict[str, Any]
World = dict[str, list[Row]]

KNOWN = {
    "accounts": ("recorded_at", "created_at"),
    "contracts": ("signed_at", "start_date"),
    "usage_events": ("recorded_at", "occurred_at"),
    "people": ("recorded_at", "valid_from"),
    "tickets": ("recorded_at", "opened_at"),
    "surveys": ("recorded_at", "sent_at", "answered_at"),
    "touchpoints": ("recorded_at", "occurred_at"),
    "interventions": ("recorded_at", "started_at"),
    "value_goals": ("recorded_at", "set_at"),
    "referrals": ("recorded_at", "referred_at"),
    "trials": ("recorded_at", "requested_at"),
    "rates": ("date",),
}
"""From when a row exists: the first of these that is given. None given: it always has."""

EVENT = {table: tuple(c for c in columns if c not in ("recorded_at", "signed_at")) for table, columns in KNOWN.items()}
"""When it happened: the first of these that is given."""

LATER = {
    "contracts": {"paid_at": "paid_at", "cancelled_at": "cancelled_at"},
    "people": {"valid_to": "valid_to"},
    "tickets": {c: c for c in ("first_response_at", "resolved_at", "reopened_at", "escalated_at")},
    "surveys": {"score": "answered_at", "answered_at": "answered_at", "followed_up_at": "followed_up_at"},
    "interventions": {"ended_at": "ended_at"},
    "value_goals": {"achieved_at": "achieved_at"},
    "referrals": {"converted_at": "converted_at", "reward_cost": "converted_at"},
    "trials": {"started_at": "started_at", "finished_at": "finished_at"},
}
"""Facts written into a row after it was made: the column, and the column that says when."""


def first(row: Row, columns: Iterable[str]) -> datetime | None:
    """The first of these instants that is given."""
    return next((row[c] for c in columns if row[c] is not None), None)


def seen_from(table: str, row: Row) -> datetime | None:
    """The instant after which a row exists for an observation; none: it always does.

    A contract may be known before it begins; anything else must have happened, whatever its clock says.
    """
    instants = [first(row, KNOWN[table]), None if table == "contracts" else first(row, EVENT[table])]
    return max((i for i in instants if i is not None), default=None)


def seen(table: str, row: Row, t: datetime) -> Row | None:
    """The row as it stood just before `t`, or nothing."""
    since = seen_from(table, row)
    if since is not None and not since < t:
        return None
    later = LATER.get(table, {})
    return {
        c: v if c not in later or (row[later[c]] is not None and row[later[c]] < t) else None for c, v in row.items()
    }


def midnight(day: date) -> datetime:
    """The instant a day begins."""
    return datetime(day.year, day.month, day.day)


def whole_days(earlier: datetime, later: datetime) -> int:
    """The number of midnights between two instants: from one calendar day to another."""
    return (later.date() - earlier.date()).days


class Then:
    """What was known of one account just before midnight of `as_of`."""

    def __init__(self, world: World, account_id: Any, as_of: date, policy: Policy) -> None:
        self.account_id, self.as_of, self.t, self.policy = account_id, as_of, midnight(as_of), policy
        self._world = world

    def rows(self, table: str) -> list[Row]:
        """The account's rows of a table."""
        mine = [row for row in self._world[table] if row["account_id"] == self.account_id]
        return [row for row in (seen(table, row, self.t) for row in mine) if row is not None]

    def rate(self, currency: str | None) -> float | None:
        """Units of the reporting currency for one of another; none where nobody knew."""
        if currency is None or currency == self.policy.money.reporting_currency:
            return 1.0
        quoted = [r for r in self._world["rates"] if r["currency"] == currency and seen("rates", r, self.t)]
        return max(quoted, key=lambda r: r["date"])["rate"] if quoted else None

    def inside(self, instant: datetime | None, days: int, before: int = 0) -> bool:
        """Whether an instant lies in the window of `days` that ends `before` days before `as_of`."""
        end = self.t - timedelta(days=before)
        return instant is not None and end - timedelta(days=days) <= instant < end

    def days_ago(self, instant: datetime) -> int:
        """Days from an instant's day to `as_of`: 1 is yesterday."""
        return whole_days(instant, self.t)


def addable(number: float) -> float:
    """The nearest 1024th, as everything is that is added up."""
    return math.floor(number * 1024 + 0.5) / 1024


def mean(values: Sequence[float]) -> float | None:
    """The mean; none of nothing."""
    return sum(values) / len(values) if values else None


def share(part: float, whole: float) -> float | None:
    """A part over a whole; none of nothing."""
    return part / whole if whole else None


def hours(earlier: datetime | None, later: datetime | None) -> float | None:
    """Hours between two instants; none where one is missing."""
    if earlier is None or later is None:
        return None
    return (later - earlier).total_seconds() / 3600


def felt(days: int, half_life: int = 180) -> float:
    """What something so many days ago still counts."""
    return math.floor(1024 * 0.5 ** (days / half_life) + 0.5) / 1024
