"""Rows of an account as known on a day, row by row and to the microsecond: the rules of time, implemented separately.

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
"""Columns of the known time of a row: the first that is not null. If all are null, the row always existed."""

EVENT = {table: tuple(c for c in columns if c not in ("recorded_at", "signed_at")) for table, columns in KNOWN.items()}
"""Columns of the event time of a row: the first that is not null."""

LATER = {
    "accounts": {"merged_into_account_id": "merged_at", "merged_at": "merged_at", "deleted_at": "deleted_at"},
    "contracts": {
        **{c: c for c in ("paid_at", "cancelled_at", "notice_given_at", "go_live_at", "deleted_at")},
        **dict.fromkeys(("loss_reason", "lost_to", "loss_recorded_at"), "loss_recorded_at"),
    },
    "people": {"valid_to": "valid_to"},
    "tickets": {c: c for c in ("first_response_at", "resolved_at", "reopened_at", "escalated_at")},
    "surveys": {"score": "answered_at", "answered_at": "answered_at", "followed_up_at": "followed_up_at"},
    "interventions": {"ended_at": "ended_at"},
    "value_goals": {"achieved_at": "achieved_at"},
    "referrals": {"converted_at": "converted_at", "reward_cost": "converted_at"},
    "trials": {"started_at": "started_at", "finished_at": "finished_at"},
}
"""Facts written into an existing row: the column, and the column with the time of the fact."""

WITHOUT_A_TIME = ("merged_into_account_id", "loss_reason", "lost_to")
"""Later facts that are known with the row if the time of the fact is null."""


def first(row: Row, columns: Iterable[str]) -> datetime | None:
    """First of these columns that is not null."""
    return next((row[c] for c in columns if row[c] is not None), None)


def seen_from(table: str, row: Row) -> datetime | None:
    """Instant after which a row exists for an observation; None if it always exists.

    A contract may be known before it starts; any other event must have happened, whatever its known time.
    """
    instants = [first(row, KNOWN[table]), None if table == "contracts" else first(row, EVENT[table])]
    return max((i for i in instants if i is not None), default=None)


def seen(table: str, row: Row, t: datetime) -> Row | None:
    """The row as known just before `t`, or None."""
    since = seen_from(table, row)
    if since is not None and not since < t:
        return None
    return {c: v if _is_seen(table, row, c, t) else None for c, v in row.items()}


def _is_seen(table: str, row: Row, column: str, t: datetime) -> bool:
    when = LATER.get(table, {}).get(column)
    if when is None:
        return True
    return column in WITHOUT_A_TIME if row[when] is None else row[when] < t


def midnight(day: date) -> datetime:
    """First instant of a day."""
    return datetime(day.year, day.month, day.day)


def calendar_days(earlier: datetime, later: datetime) -> int:
    """Number of midnights between two instants: days from one calendar day to the other."""
    return (later.date() - earlier.date()).days


class AccountView:
    """Rows of one account as known just before midnight of `as_of`."""

    def __init__(self, world: World, account_id: Any, as_of: date, policy: Policy) -> None:
        self.account_id, self.as_of, self.t, self.policy = account_id, as_of, midnight(as_of), policy
        self._world = world
        self.cache: dict[str, Any] = {}
        self.renewal: Row = {}
        """Row of the spine whose features are asked for."""

    def rows(self, table: str) -> list[Row]:
        """Known rows of the account in a table."""
        rows = [row for row in self._world[table] if row["account_id"] == self.account_id]
        return [row for row in (seen(table, row, self.t) for row in rows) if row is not None]

    def raw(self, table: str) -> list[Row]:
        """All rows of the account in a table, known or not."""
        return [row for row in self._world[table] if row["account_id"] == self.account_id]

    def all_rows(self, table: str) -> list[Row]:
        """All rows of a table, known or not."""
        return self._world[table]

    def rate(self, currency: str | None) -> float | None:
        """Units of the reporting currency per unit of this currency; None if no rate is known."""
        if currency is None or currency == self.policy.money.reporting_currency:
            return 1.0
        quoted = [r for r in self._world["rates"] if r["currency"] == currency and seen("rates", r, self.t)]
        return max(quoted, key=lambda r: r["date"])["rate"] if quoted else None

    def inside(self, instant: datetime | None, days: int, before: int = 0) -> bool:
        """True if an instant is in the window of `days` days that ends `before` days before `as_of`."""
        end = self.t - timedelta(days=before)
        return instant is not None and end - timedelta(days=days) <= instant < end

    def days_ago(self, instant: datetime) -> int:
        """Days from an instant's day to `as_of`: 1 is yesterday."""
        return calendar_days(instant, self.t)


def quantize(number: float) -> float:
    """Round to the nearest 1024th, as all values are before they are added."""
    return math.floor(number * 1024 + 0.5) / 1024


def mean(values: Sequence[float]) -> float | None:
    """Mean of the values; None without values."""
    return sum(values) / len(values) if values else None


def share(part: float, total: float) -> float | None:
    """A part divided by the total; None if the total is zero."""
    return part / total if total else None


def hours(earlier: datetime | None, later: datetime | None) -> float | None:
    """Hours between two instants; None if one is missing."""
    if earlier is None or later is None:
        return None
    return (later - earlier).total_seconds() / 3600


def decay_weight(days: int, half_life: int = 180) -> float:
    """Weight of an event so many days ago."""
    return math.floor(1024 * 0.5 ** (days / half_life) + 0.5) / 1024
