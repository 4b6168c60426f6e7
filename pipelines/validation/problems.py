"""Collect the table problems that stop a run, so that one run reports all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from renewals.pipelines.runtime.errors import DataContractError


@dataclass
class Problems:
    """Problems found so far, by table."""

    messages: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def collect(self, table: str) -> Iterator[None]:
        """Store the message of a `DataContractError` raised in the block, and continue after it."""
        try:
            yield
        except DataContractError as error:
            self.messages.setdefault(table, []).append(str(error))

    @property
    def lines(self) -> list[str]:
        """All messages, in the order in which the tables were read."""
        return [line for lines in self.messages.values() for line in lines]
