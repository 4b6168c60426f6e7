"""Where the raw tables come from, how many of their rows may be set aside, and how old they may be. Light to import."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from renewals.features.policy import ConfigSection

MAX_DEFAULT_SHARE = 0.5
"""A larger share of rows is set aside only where a second setting allows it."""
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Source(ConfigSection):
    """How to read the raw tables."""

    encoding: str = "utf-8"
    """Encoding of CSV files, with or without a byte-order mark; declared, never guessed."""
    encodings: dict[str, str] = Field(default_factory=dict)
    """Encoding of single tables where it differs: `{accounts: gb18030}`."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    null_values: tuple[str, ...] = ("",)
    """What stands for "nothing" in a CSV cell; a region called NA is a region unless it is listed here."""
    decimal: Literal[".", ","] = "."
    """The decimal sign in CSV cells: with a comma, 12.000,50 is twelve thousand and a half."""
    schema_name: str | None = Field(default=None, pattern=IDENTIFIER_PATTERN)
    """The schema of a database that holds the tables; empty: its default."""
    table_names: dict[str, str] = Field(default_factory=dict)
    """What a table is called in the database or folder, where it is not its own name."""
    extracted_at: datetime | None = None
    """When the tables were drawn (UTC): a fact later than this is set aside. Empty: not checked."""
    repeated_events: Literal["auto", "count", "deduplicate"] = "auto"
    """What equal rows of `usage_events` without an `event_id` are: uses of their own (count), one use delivered again
    (deduplicate), or whichever the table shows (auto: ADR 5)."""

    @field_validator("encoding")
    @classmethod
    def _validate_encoding(cls, name: str) -> str:
        try:
            codecs.lookup(name)
            "a".encode(name)
        except LookupError:
            raise ValueError(f"{name!r} is not a text encoding known to Python; try utf-8 or gb18030") from None
        return name

    @field_validator("encodings")
    @classmethod
    def _validate_encodings(cls, names: dict[str, str]) -> dict[str, str]:
        return {table: cls._validate_encoding(name) for table, name in names.items()}

    @field_validator("extracted_at")
    @classmethod
    def _convert_to_utc(cls, instant: datetime | None) -> datetime | None:
        return instant.astimezone(UTC).replace(tzinfo=None) if instant and instant.tzinfo else instant


class Quarantine(ConfigSection):
    """The share of a table's rows that may break the contract before the run stops."""

    limit: float = Field(default=0.01, ge=0, le=1)
    limits: dict[str, float] = Field(default_factory=dict)
    """Limits of single tables where they differ: `{tickets: 0.05}`."""
    duplicate_limit: float = Field(default=0.25, ge=0, le=1)
    """Exact duplicates have a limit of their own: once set aside, an event delivered twice does no harm."""
    allow_majority: tuple[str, ...] = ()
    """The tables of which more than half may be set aside, where the limit allows it; for all others one half is most.
    A list made so carries a notice."""

    @model_validator(mode="after")
    def _validate_limits(self) -> Quarantine:
        for table, limit in self.limits.items():
            if limit > MAX_DEFAULT_SHARE and table not in self.allow_majority:
                raise ValueError(_limit_error_message(f"quarantine.limits.{table}={limit:g}", f"[{table}]"))
        for name, limit in (("limit", self.limit), ("duplicate_limit", self.duplicate_limit)):
            if limit > MAX_DEFAULT_SHARE and not self.allow_majority:
                raise ValueError(_limit_error_message(f"quarantine.{name}={limit:g}", "[TABLE, …]"))
        return self

    def limit_of(self, table: str) -> float:
        """The largest share of a table's rows that may break a rule."""
        return self._cap_limit(table, self.limits.get(table, self.limit))

    def duplicate_limit_of(self, table: str) -> float:
        """The largest share of a table's rows that may be exact duplicates."""
        return self._cap_limit(table, self.duplicate_limit)

    def _cap_limit(self, table: str, limit: float) -> float:
        return limit if table in self.allow_majority else min(limit, MAX_DEFAULT_SHARE)


def _limit_error_message(setting: str, tables: str) -> str:
    return (
        f"{setting} would quarantine most rows of a table; if this is intended, "
        f"also set quarantine.allow_majority={tables}"
    )


class AgeLimits(ConfigSection):
    """How many whole days before the day asked for may be without a row of a table; empty: it is not looked at."""

    warn_days: int | None = Field(default=None, ge=1)
    """From so many on the list carries a notice."""
    stop_days: int | None = Field(default=None, ge=1)
    """From so many on the run stops."""

    @model_validator(mode="after")
    def _validate_thresholds(self) -> Self:
        if self.warn_days and self.stop_days and self.stop_days < self.warn_days:
            raise ValueError(
                f"stop_days ({self.stop_days}) must not be smaller than warn_days ({self.warn_days}). "
                "Set both, or null for one of them"
            )
        return self


class UsageAgeLimits(AgeLimits):
    """Days without use of the product by anybody."""

    warn_days: int | None = Field(default=7, ge=1)
    stop_days: int | None = Field(default=35, ge=1)


class TicketAgeLimits(AgeLimits):
    """Days without a new ticket."""

    warn_days: int | None = Field(default=35, ge=1)


class VolumeLimits(ConfigSection):
    """How many rows of `usage_events` must have come, as a share of what is usual."""

    warn: float = Field(default=0.80, ge=0)
    """Below so much the list carries a notice; 0: never."""
    stop: float = Field(default=0.50, ge=0)
    """Below so much the run stops; 0: never."""

    @model_validator(mode="after")
    def _validate_thresholds(self) -> Self:
        if self.warn and self.stop > self.warn:
            raise ValueError(
                f"stop ({self.stop}) must not be larger than warn ({self.warn}). Set both, or 0 for one of them"
            )
        return self


NEVER_STALE_TABLES = {
    "accounts": "a company may win no account for months",
    "contracts": "a company may sign nothing for months",
    "rates": "the newest rate holds until there is another",
}
"""The tables whose age says nothing, and why."""


class Freshness(ConfigSection):
    """How old the newest row of a table may be, and how much use must have been delivered, on the day asked for."""

    usage_events: UsageAgeLimits = UsageAgeLimits()
    tickets: TicketAgeLimits = TicketAgeLimits()
    people: AgeLimits = AgeLimits()
    surveys: AgeLimits = AgeLimits()
    touchpoints: AgeLimits = AgeLimits()
    interventions: AgeLimits = AgeLimits()
    value_goals: AgeLimits = AgeLimits()
    referrals: AgeLimits = AgeLimits()
    trials: AgeLimits = AgeLimits()
    volume: VolumeLimits = VolumeLimits()
    allow_stale: bool = False
    """Go on where the tables are too old or incomplete, with a notice; `--allow-stale` sets it for one run."""

    @model_validator(mode="before")
    @classmethod
    def _reject_tables_without_age(cls, given: Any) -> Any:
        for table in NEVER_STALE_TABLES.keys() & given if isinstance(given, dict) else ():
            raise ValueError(
                f"freshness cannot be checked for {table}: {NEVER_STALE_TABLES[table]}. Remove freshness.{table}"
            )
        return given

    def age_limits_of(self, table: str) -> AgeLimits:
        """The limits of a table; none where nobody set any."""
        found = getattr(self, table, None)
        return found if isinstance(found, AgeLimits) else AgeLimits()
