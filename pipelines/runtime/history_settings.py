"""Settings of `renewals history`: where the dated extracts are, and what they mean. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from renewals.features.policy import ConfigSection

HistoryTable = Literal["accounts", "contracts", "people"]

CHANGEABLE: Mapping[str, tuple[str, ...]] = {
    "accounts": ("industry", "region", "employee_count", "channel", "parent_account_id", "csm", "sales_owner"),
    "contracts": ("plan", "arr", "seats", "auto_renew", "notice_days", "sold_by"),
    "people": ("title", "role", "department", "tier"),
}
"""Columns of each table that can change, where a source declares none."""
FIXED: Mapping[str, tuple[str, ...]] = {
    "accounts": ("account_id", "created_at"),
    "contracts": ("contract_id", "account_id", "start_date", "end_date", "signed_at"),
    "people": ("user_id", "account_id"),
}
"""Columns that can never be declared as changeable: a row says nothing without them."""
LOAD_TIMES = ("_fivetran_synced", "_dlt_load_id", "_dlt_id", "_airbyte_extracted_at", "_sdc_batched_at", "_loaded_at")
"""Columns of loading tools that say when a row was copied, which is not when it became known."""


class ValueMap(ConfigSection):
    """Values of a column, by the value of a column of the source."""

    column: str
    """Column of the source."""
    values: dict[str, float | str]
    """Value for each text of that column; other texts give no value."""


class HistorySource(ConfigSection):
    """One set of dated extracts, and the table of the data contract that it becomes."""

    table: HistoryTable
    """Table of the data contract."""
    files: str = Field(min_length=1)
    """Folder or pattern of the files, such as `extracts/contracts_*.csv`; the day of a copy stands in its name."""
    format: Literal["copies", "dbt", "fivetran", "dlt"] = "copies"
    """`copies`: one file per day with all rows of that day; the others: files of rows with the time from and until
    which each was so."""
    key: tuple[str, ...] = Field(min_length=1)
    """Columns of the source that identify a row."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Column of the source for each column of the table that has another name there."""
    constants: dict[str, str | float | bool] = Field(default_factory=dict)
    """Columns of the table that have one value in all rows."""
    value_maps: dict[str, ValueMap] = Field(default_factory=dict)
    """Columns of the table whose value depends on a column of the source, such as the price of a tier."""
    multiply: dict[str, float] = Field(default_factory=dict)
    """Factor of each amount that is not a year's: `{arr: 12}` for amounts a month."""
    columns_from: dict[str, date] = Field(default_factory=dict)
    """Day from which a column of the source has its present meaning; in earlier copies it is not read."""
    changeable: tuple[str, ...] | None = None
    """Columns of the table that can change: unknown before the first copy. Empty: the usual ones of the table."""
    identity: tuple[str, ...] | None = None
    """Columns of the table that differ only if the key is used again for something else."""
    vanished: Literal["ended", "deleted"] = "ended"
    """Meaning of a row that is no longer there: it ended on that day, or it was deleted at the source."""
    presence: Literal["year", "month"] | None = None
    """For a list of who is there, without terms: length of the terms that the presence becomes."""
    unknown_start: date | None = None
    """Start of the terms of the first copy of such a list, which began earlier; empty: the day of the first copy."""
    first_day: date | None = None
    """Earlier copies are not read. For the other formats, day of the first snapshot: rows that held on it, or earlier,
    are those of the first copy."""

    @model_validator(mode="after")
    def _validate(self) -> Self:
        fixed = [name for name in self.changeable or () if name in FIXED[self.table]]
        if fixed:
            raise ValueError(f"changeable: {fixed[0]} cannot be unknown in a row of {self.table}")
        if self.presence and (self.table != "contracts" or self.vanished == "deleted"):
            raise ValueError("presence makes terms: it needs table: contracts and vanished: ended")
        if self.unknown_start and self.presence != "year":
            raise ValueError("unknown_start is the start of yearly terms by presence: set presence: year, or remove it")
        if self.vanished == "deleted" and self.table == "people":
            raise ValueError("people have no deleted_at: use vanished: ended")
        given = [*self.columns, *self.constants, *self.value_maps]
        if twice := [name for name in given if given.count(name) > 1]:
            raise ValueError(f"{twice[0]} is in two of columns, constants and value_maps: keep one of them")
        if load := [name for name in self.columns.values() if name.lower() in LOAD_TIMES]:
            raise ValueError(f"columns: {load[0]} is the time of a load, which is not when a row became known")
        return self

    @property
    def changeable_columns(self) -> tuple[str, ...]:
        """Columns that are unknown before the first copy."""
        return CHANGEABLE[self.table] if self.changeable is None else self.changeable

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Columns of the source that the settings name."""
        mapped = (value_map.column for value_map in self.value_maps.values())
        return tuple(dict.fromkeys((*self.key, *self.columns.values(), *mapped)))


class History(ConfigSection):
    """Dated extracts, from which `renewals history` rebuilds versions."""

    sources: dict[str, HistorySource] = Field(default_factory=dict)
    """Sets of extracts, by a name of your own; several may become one table."""
    stopped_share: float = Field(0.30, gt=0, le=1)
    """With a larger share of the rows gone at once, the source stopped: no row has vanished, the month is unknown."""
    reported_share: float = Field(0.05, ge=0, le=1)
    """Share of the rows gone at once from which on it is reported."""
    lapse_days: int = Field(90, ge=0)
    """An absence this many days after an anniversary or less means that the term was not renewed on it."""
