"""Where the raw tables come from and how many of their rows may be set aside. Light to import."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, field_validator

from features.policy import Section

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Source(Section):
    """How to read the raw tables."""

    encoding: str = "utf-8"
    """Encoding of CSV files, with or without a byte-order mark; declared, never guessed."""
    encodings: dict[str, str] = Field(default_factory=dict)
    """Encoding of single tables where it differs: `{accounts: gb18030}`."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    nulls: tuple[str, ...] = ("",)
    """What stands for "nothing" in a CSV cell; a region called NA is a region unless it is listed here."""
    schema_name: str | None = Field(default=None, pattern=IDENTIFIER)
    """The schema of a database that holds the tables; empty: its default."""
    names: dict[str, str] = Field(default_factory=dict)
    """What a table is called in the database or folder, where it is not its own name."""
    extract: datetime | None = None
    """When the tables were drawn (UTC): a fact later than this is set aside. Empty: not checked."""
    repeated_events: Literal["auto", "count", "set_aside"] = "auto"
    """What equal rows of `usage_events` without an `event_id` are: uses of their own (count), one use delivered again
    (set_aside), or whichever the table shows (auto: ADR 5)."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            codecs.lookup(name)
            "a".encode(name)
        except LookupError:
            raise ValueError(f"{name!r} is no text encoding that Python knows; try utf-8 or gb18030") from None
        return name

    @field_validator("encodings")
    @classmethod
    def _known_encodings(cls, names: dict[str, str]) -> dict[str, str]:
        return {table: cls._known_encoding(name) for table, name in names.items()}

    @field_validator("extract")
    @classmethod
    def _in_utc(cls, instant: datetime | None) -> datetime | None:
        return instant.astimezone(UTC).replace(tzinfo=None) if instant and instant.tzinfo else instant


class Quarantine(Section):
    """The share of a table's rows that may break the contract before the run stops."""

    limit: float = Field(default=0.01, ge=0, le=1)
    limits: dict[str, float] = Field(default_factory=dict)
    """Limits of single tables where they differ: `{tickets: 0.05}`."""
    duplicate_limit: float = Field(default=0.25, ge=0, le=1)
    """Exact duplicates have a limit of their own: once set aside, an event delivered twice does no harm."""

    def limit_of(self, table: str) -> float:
        """The largest share of a table's rows that may break a rule."""
        return self.limits.get(table, self.limit)
