"""Settings of the raw tables: format, share of rows that may be quarantined, and age. Light to import."""

from __future__ import annotations

import codecs
import re
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from renewals.features.policy import ConfigSection

MAX_DEFAULT_SHARE = 0.5
"""Largest share of rows that is quarantined unless `allow_majority` names the table."""
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Source(ConfigSection):
    """Format of the raw tables."""

    encoding: str = "utf-8"
    """Encoding of CSV files, with or without a byte-order mark; it is never guessed."""
    encodings: dict[str, str] = Field(default_factory=dict)
    """Encodings of single tables with another encoding: `{accounts: gb18030}`."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    null_values: tuple[str, ...] = ("",)
    """Texts of CSV cells that mean a missing value; NA is read as text unless it is listed here."""
    decimal: Literal[".", ","] = "."
    """Decimal separator of CSV cells; with a comma, 12.000,50 is read as 12000.5."""
    time_zone: str | None = None
    """Time zone of times without an offset, as Area/City; empty: UTC. Start and end of contracts are its calendar
    days."""
    inclusive_ends: bool = False
    """True if `end_date` of contracts is the last day of the term, not the first day after it."""
    schema_name: str | None = Field(default=None, pattern=IDENTIFIER_PATTERN)
    """Database schema with the tables; empty: the default schema."""
    table_names: dict[str, str] = Field(default_factory=dict)
    """Names of tables in the database or folder, if they differ from the data contract."""
    current_state: dict[Literal["accounts", "contracts"], tuple[str, ...]] = Field(
        {"contracts": ("auto_renew",), "accounts": ("csm",)}
    )
    """Columns that contain only today's value in a table without versions: no model learns from them."""
    extracted_at: datetime | None = None
    """Time at which the tables were extracted (UTC); later facts are quarantined. Empty: not checked."""
    repeated_events: Literal["auto", "count", "deduplicate"] = "auto"
    """Meaning of equal rows of `usage_events` without an `event_id`: separate uses (count), one use delivered again
    (deduplicate), or decided from the table (auto: ADR 5)."""

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

    @field_validator("time_zone")
    @classmethod
    def _validate_time_zone(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"UTC|[A-Za-z_]+(/[A-Za-z0-9_+-]+)+", name):
            raise ValueError(
                "write it as Area/City, for example Asia/Shanghai, because abbreviations name several zones"
            )
        return name

    @field_validator("extracted_at")
    @classmethod
    def _convert_to_utc(cls, instant: datetime | None) -> datetime | None:
        return instant.astimezone(UTC).replace(tzinfo=None) if instant and instant.tzinfo else instant


class Quarantine(ConfigSection):
    """Share of a table's rows that may violate the data contract before the run stops."""

    limit: float = Field(default=0.01, ge=0, le=1)
    limits: dict[str, float] = Field(default_factory=dict)
    """Limits of single tables with another limit: `{tickets: 0.05}`."""
    duplicate_limit: float = Field(default=0.25, ge=0, le=1)
    """Limit for exact duplicates, which do no harm once they are quarantined."""
    allow_majority: tuple[str, ...] = ()
    """Tables of which more than half may be quarantined, if their limit allows it; all others are capped at one half.
    A list made from such a table carries a notice."""

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
        """Largest share of a table's rows that may violate the data contract."""
        return self._cap_limit(table, self.limits.get(table, self.limit))

    def duplicate_limit_of(self, table: str) -> float:
        """Largest share of a table's rows that may be exact duplicates."""
        return self._cap_limit(table, self.duplicate_limit)

    def _cap_limit(self, table: str, limit: float) -> float:
        return limit if table in self.allow_majority else min(limit, MAX_DEFAULT_SHARE)


def _limit_error_message(setting: str, tables: str) -> str:
    return (
        f"{setting} would quarantine most rows of a table; if this is intended, "
        f"also set quarantine.allow_majority={tables}"
    )


class AgeLimits(ConfigSection):
    """Limits on the number of whole days before the requested day without a row of a table; empty: not checked."""

    warn_days: int | None = Field(default=None, ge=1)
    """Number of days from which on the list carries a notice."""
    stop_days: int | None = Field(default=None, ge=1)
    """Number of days from which on the run stops."""

    @model_validator(mode="after")
    def _validate_thresholds(self) -> Self:
        if self.warn_days and self.stop_days and self.stop_days < self.warn_days:
            raise ValueError(
                f"stop_days ({self.stop_days}) must not be smaller than warn_days ({self.warn_days}). "
                "Set both, or null for one of them"
            )
        return self


class UsageAgeLimits(AgeLimits):
    """Limits on the number of days without any usage of the product."""

    warn_days: int | None = Field(default=7, ge=1)
    stop_days: int | None = Field(default=35, ge=1)


class TicketAgeLimits(AgeLimits):
    """Limits on the number of days without a new ticket."""

    warn_days: int | None = Field(default=35, ge=1)


class VolumeLimits(ConfigSection):
    """Limits on the number of rows of `usage_events`, as a share of the usual number."""

    warn: float = Field(default=0.80, ge=0)
    """Share below which the list carries a notice; 0: never."""
    stop: float = Field(default=0.50, ge=0)
    """Share below which the run stops; 0: never."""

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
"""Tables for which age is not checked, with the reason."""


class Freshness(ConfigSection):
    """Limits on the age of each table, and on the volume of usage events, at the requested day."""

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
    """Continue with a notice if the tables are too old or incomplete; `--allow-stale` sets it for one run."""

    @model_validator(mode="before")
    @classmethod
    def _reject_tables_without_age(cls, limits: Any) -> Any:
        for table in NEVER_STALE_TABLES.keys() & limits if isinstance(limits, dict) else ():
            raise ValueError(
                f"freshness cannot be checked for {table}: {NEVER_STALE_TABLES[table]}. Remove freshness.{table}"
            )
        return limits

    def age_limits_of(self, table: str) -> AgeLimits:
        """Age limits of a table; without limits if none are configured."""
        limits = getattr(self, table, None)
        return limits if isinstance(limits, AgeLimits) else AgeLimits()
