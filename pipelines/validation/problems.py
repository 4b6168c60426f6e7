"""Problems of the tables that stop a run, collected so that one run reports all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from renewals.pipelines.runtime.errors import DataContractError


@dataclass
class Problems:
    """What was found so far, by table."""

    messages: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def collect(self, table: str) -> Iterator[None]:
        """Keep the message of a `DataContractError` raised inside, and go on after the block."""
        try:
            yield
        except DataContractError as stop:
            self.messages.setdefault(table, []).append(str(stop))

    @property
    def lines(self) -> list[str]:
        """Every message, in the order in which the tables were read."""
        return [line for lines in self.messages.values() for line in lines]
